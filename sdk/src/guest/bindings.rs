//! What wit-bindgen makes of the contract: one module per world. The renderer's world
//! shares `types` and `log` with the provider's.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code; the contract itself is documented")]

pub mod provider {
    wit_bindgen::generate!({
        world: "tidelock:provider/discovering-plugin",
        path: [
            "../wit/types",
            "../wit/log",
            "../wit/machine",
            "../wit/sql",
            "../wit/netlink",
            "../wit/nft",
            "../wit/dns",
            "../wit/provider",
        ],
        pub_export_macro: true,
        export_macro_name: "export_provider",
        default_bindings_module: "tidelock_sdk::guest::bindings::provider",
        generate_unused_types: true,
        generate_all,
    });
}

pub mod renderer {
    wit_bindgen::generate!({
        world: "tidelock:renderer/renderer-plugin",
        path: ["../wit/types", "../wit/log", "../wit/tree", "../wit/renderer"],
        pub_export_macro: true,
        export_macro_name: "export_renderer",
        default_bindings_module: "tidelock_sdk::guest::bindings::renderer",
        with: {
            "tidelock:types/types@0.1.0": crate::guest::bindings::provider::tidelock::types::types,
            "tidelock:log/log@0.1.0": crate::guest::bindings::provider::tidelock::log::log,
        },
        generate_all,
    });
}
