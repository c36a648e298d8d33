//! What `wit-bindgen` makes of `wit/`: the imports once, and one world for each kind of
//! plugin, so that a component exports only the kinds that [`crate::export!`] names.
//! Authors use the types through the modules of the crate root.

pub mod imports {
    wit_bindgen::generate!({
        path: "../wit",
        world: "imports",
        additional_derives: [PartialEq],
        generate_unused_types: true,
    });
}

/// One world: its export, with the imports and types of [`imports`].
macro_rules! world {
    ($module:ident, $world:literal, $export:literal, $default:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../wit",
                world: $world,
                additional_derives: [PartialEq],
                generate_unused_types: true,
                pub_export_macro: true,
                export_macro_name: $export,
                default_bindings_module: $default,
                with: {
                    "gatepost:plugin/types@0.1.0": crate::bindings::imports::gatepost::plugin::types,
                    "gatepost:plugin/log@0.1.0": crate::bindings::imports::gatepost::plugin::log,
                    "gatepost:plugin/config@0.1.0": crate::bindings::imports::gatepost::plugin::config,
                    "gatepost:plugin/clock@0.1.0": crate::bindings::imports::gatepost::plugin::clock,
                    "gatepost:plugin/random@0.1.0": crate::bindings::imports::gatepost::plugin::random,
                    "gatepost:plugin/kv@0.1.0": crate::bindings::imports::gatepost::plugin::kv,
                    "gatepost:plugin/http@0.1.0": crate::bindings::imports::gatepost::plugin::http,
                    "gatepost:plugin/crypto@0.1.0": crate::bindings::imports::gatepost::plugin::crypto,
                    "gatepost:plugin/secrets@0.1.0": crate::bindings::imports::gatepost::plugin::secrets,
                },
            });
        }
    };
}

world!(
    connector,
    "connector-plugin",
    "export_connector",
    "gatepost_sdk::bindings::connector"
);
world!(
    flow,
    "flow-plugin",
    "export_flow",
    "gatepost_sdk::bindings::flow"
);
world!(
    provider,
    "provider-plugin",
    "export_provider",
    "gatepost_sdk::bindings::provider"
);
world!(
    router,
    "router-plugin",
    "export_router",
    "gatepost_sdk::bindings::router"
);
