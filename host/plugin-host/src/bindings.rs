//! The only door to WIT types: what `bindgen!` makes of `wit/`, and the way from and to the
//! types of the call ([`convert`]).
//!
//! One world, `host`, has everything. A component exports some of it, so each exported
//! interface is looked up on its own (`GuestIndices`).

pub mod convert;

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "host",
    imports: {
        "gatepost:plugin/kv": async | trappable,
        "gatepost:plugin/http": async | trappable,
        "gatepost:plugin/secrets": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    additional_derives: [PartialEq],
});

pub use exports::gatepost::plugin::{connector, flow, provider, router};
pub use gatepost::plugin as imports;
pub use gatepost::plugin::types as wit;
