//! Registration: [`crate::export!`], the manifest inside the component, the panic hook.

use std::cell::Cell;

/// Registers the plugin: `export!(Type as kind, …)` with the kinds `router`, `flow`,
/// `provider` and `connector`, each at most once.
///
/// After a `;` come the things that the manifest asks the host for:
/// * `capabilities`: `kv`, `http:HOST`, `secret:NAME` (use by reference),
///   `secret-read:NAME`. What is not asked for here is denied, whatever the tenant grants.
/// * `headers`: the SIP headers to be passed in `call-info.headers`.
///
/// ```
/// use gatepost_sdk::prelude::*;
///
/// struct Screen;
///
/// impl Router for Screen {
///     fn on_invite(call: CallInfo) -> Result<Decision, Failure> {
///         match call.header("X-Spam-Score") {
///             Some(_) => Ok(Decision::reject(603, "looks like spam")),
///             None => Ok(Decision::Next),
///         }
///     }
/// }
///
/// gatepost_sdk::export!(Screen as router; headers: ["X-Spam-Score"]);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($($type:ident as $kind:ident),+ $(,)? $(; $($field:ident: [$($value:literal),* $(,)?]),* $(,)?)?) => {
        $( $crate::__export_kind!($kind, $type); )+
        const _: () = {
            const TEXT: &str = concat!(
                "{\"name\":\"", env!("CARGO_PKG_NAME"),
                "\",\"version\":\"", env!("CARGO_PKG_VERSION"),
                "\",\"kinds\":", $crate::__json_names!($($kind),+),
                $($( ",\"", $crate::__manifest_field!($field), "\":", $crate::__json_list!($($value),*), )*)?
                "}"
            );
            $crate::__private::check_manifest(TEXT);
            #[cfg_attr(target_arch = "wasm32", unsafe(link_section = "gatepost:manifest"))]
            #[used]
            static MANIFEST: [u8; TEXT.len()] = $crate::__private::bytes_of(TEXT);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_kind {
    (router, $type:ident) => {
        const _: () = {
            #[allow(dead_code, reason = "on other targets than wasm32 only its existence is checked")]
            type Exported = $crate::router::Adapter<$type>;
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::router::export_router!(Exported with_types_in $crate::bindings::router);
            $crate::__private::is_router::<$type>();
        };
    };
    (flow, $type:ident) => {
        const _: () = {
            #[allow(dead_code, reason = "on other targets than wasm32 only its existence is checked")]
            type Exported = $crate::flow::Adapter<$type>;
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::flow::export_flow!(Exported with_types_in $crate::bindings::flow);
            $crate::__private::is_flow::<$type>();
        };
    };
    (provider, $type:ident) => {
        const _: () = {
            #[allow(dead_code, reason = "on other targets than wasm32 only its existence is checked")]
            type Exported = $crate::provider::Adapter<$type>;
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::provider::export_provider!(Exported with_types_in $crate::bindings::provider);
            $crate::__private::is_provider::<$type>();
        };
    };
    (connector, $type:ident) => {
        const _: () = {
            #[allow(dead_code, reason = "on other targets than wasm32 only its existence is checked")]
            type Exported = $crate::connector::Adapter<$type>;
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::connector::export_connector!(Exported with_types_in $crate::bindings::connector);
            $crate::__private::is_connector::<$type>();
        };
    };
    ($other:ident, $type:ident) => {
        compile_error!(concat!("`", stringify!($other), "` is no kind of plugin; the kinds are router, flow, provider, connector"));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __manifest_field {
    (capabilities) => {
        "capabilities"
    };
    (headers) => {
        "headers"
    };
    ($other:ident) => {
        compile_error!(concat!(
            "`",
            stringify!($other),
            "` is no field of the manifest; it has capabilities and headers"
        ))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __json_names {
    ($first:ident $(, $more:ident)*) => { concat!("[\"", stringify!($first), "\"", $(",\"", stringify!($more), "\"",)* "]") };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __json_list {
    () => { "[]" };
    ($first:literal $(, $more:literal)*) => { concat!("[\"", $first, "\"", $(",\"", $more, "\"",)* "]") };
}

/// What the macros above need and nobody else.
#[doc(hidden)]
pub mod private {
    /// The text as an array, so that a static of it lies in its own link section.
    pub const fn bytes_of<const N: usize>(text: &str) -> [u8; N] {
        let bytes = text.as_bytes();
        let mut array = [0; N];
        let mut at = 0;
        while at < N {
            array[at] = bytes[at];
            at += 1;
        }
        array
    }

    /// A backslash in a name of the manifest would need escaping that no real name needs.
    pub const fn check_manifest(text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            assert!(
                bytes[at] != b'\\' && bytes[at] >= b' ',
                "a manifest has neither backslashes nor control characters"
            );
            at += 1;
        }
    }

    pub const fn is_router<T: crate::router::Router>() {}
    pub const fn is_flow<T: crate::flow::Flow>() {}
    pub const fn is_provider<T: crate::provider::Provider>() {}
    pub const fn is_connector<T: crate::connector::Connector>() {}
}

/// To be called at each way into the guest. A panic on this target says nothing by itself:
/// the hook writes message and place to the plugin's log before the trap.
pub(crate) fn enter() {
    thread_local!(static HOOKED: Cell<bool> = const { Cell::new(false) });
    if cfg!(target_arch = "wasm32") && !HOOKED.replace(true) {
        std::panic::set_hook(Box::new(|panic| {
            let message = panic.payload_as_str().unwrap_or("a panic without text");
            match panic.location() {
                Some(place) => crate::log::error(&format!("panic at {place}: {message}")),
                None => crate::log::error(&format!("panic: {message}")),
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_lists_of_the_manifest_are_json() {
        assert_eq!(__json_names!(router, flow), r#"["router","flow"]"#);
        assert_eq!(__json_list!(), "[]");
        assert_eq!(
            __json_list!("kv", "http:example.com"),
            r#"["kv","http:example.com"]"#
        );
    }
}
