//! What `wit/` says, as Rust types and traits. Generated at compile time; nothing
//! here is written by hand, and only `capability`, `renderer`, `provider` and
//! `convert` need it.
//!
//! Guests call the host synchronously; the host answers on a fiber. Only what looks
//! at a target is `async`, since a disk or a command may keep it waiting.
#![allow(unreachable_pub, missing_docs, clippy::all, reason = "generated code")]

/// Bindings for a world of providers: all that they may know.
macro_rules! for_providers {
    ($($more:tt)*) => {
        wasmtime::component::bindgen!({
            path: [
                "../../wit/types",
                "../../wit/log",
                "../../wit/machine",
                "../../wit/sql",
                "../../wit/netlink",
                "../../wit/nft",
                "../../wit/dns",
                "../../wit/provider",
            ],
            $($more)*
        });
    };
}

/// The world of providers.
pub(crate) mod provider {
    for_providers! {
        world: "tidelock:provider/provider-plugin",
        imports: {
            "tidelock:machine/read@0.1.0": async | trappable,
            "tidelock:machine/propose@0.1.0": async | trappable,
            "tidelock:sql/read@0.1.0": async | trappable,
            "tidelock:sql/propose@0.1.0": async | trappable,
            "tidelock:netlink/read@0.1.0": async | trappable,
            "tidelock:netlink/propose@0.1.0": async | trappable,
            "tidelock:nft/read@0.1.0": async | trappable,
            "tidelock:nft/propose@0.1.0": async | trappable,
            "tidelock:dns/read@0.1.0": async | trappable,
            "tidelock:dns/propose@0.1.0": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "tidelock:sql/read.connection": crate::capability::Connection,
            "tidelock:sql/read.rows": crate::capability::Rows,
        },
    }
}

/// What a provider may export besides.
pub(crate) mod discover {
    for_providers! {
        inline: "
            package tidelock:discovering;
            world discovering {
                export tidelock:provider/discover@0.1.0;
            }
        ",
        world: "tidelock:discovering/discovering",
        exports: { default: async },
        with: { "tidelock:types/types@0.1.0": super::provider::tidelock::types::types },
    }
}

/// The world of renderers. Shares the types and the log with providers.
pub(crate) mod renderer {
    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/log", "../../wit/tree", "../../wit/renderer"],
        world: "tidelock:renderer/renderer-plugin",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "tidelock:types/types@0.1.0": super::provider::tidelock::types::types,
            "tidelock:log/log@0.1.0": super::provider::tidelock::log::log,
        },
    });
}

/// Interfaces that both worlds share, and those of targets.
pub(crate) use provider::tidelock::sql::{propose as sql_propose, read as sql_read};
pub(crate) use provider::tidelock::{dns, netlink, nft};
pub(crate) use provider::tidelock::{log::log, machine::propose, machine::read, types::types};
