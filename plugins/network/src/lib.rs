//! The provider `network`: links, addresses, routes, rules, settings, tables of nftables and
//! WireGuard, in the namespace of the target; and records of DNS servers.
//!
//! What all kinds share: the name of the object is its resource's identity, a field that
//! the spec leaves out is left alone, and what others made is theirs: routes and rules of
//! other protocols, tables of other names.

mod address;
mod dns_record;
mod domain;
mod kept;
mod link;
mod nftables;
mod route;
mod rule;
mod see;
mod spelling;
mod sysctl;
mod wireguard;

use tidelock_sdk::{Kinds, Provider};

pub use address::{Address, AddressSpec};
pub use dns_record::{DnsRecord, DnsRecordSpec};
pub use link::{Link, LinkSpec};
pub use nftables::{Nftables, NftablesSpec};
pub use route::{Route, RouteSpec};
pub use rule::{Rule, RuleSpec};
pub use sysctl::{Sysctl, SysctlSpec};
pub use wireguard::{Wireguard, WireguardSpec};

/// The provider.
pub struct Network;

impl Provider for Network {
    const NAME: &'static str = "network";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str =
        "Links, addresses, routes, rules, settings, nftables and WireGuard of a machine; records of DNS servers";

    fn kinds() -> Kinds {
        Kinds::new()
            .with::<Link>()
            .with::<Address>()
            .with::<Route>()
            .with::<Rule>()
            .with::<Sysctl>()
            .with::<Nftables>()
            .with::<Wireguard>()
            .with::<DnsRecord>()
    }
}

tidelock_sdk::register_provider!(Network);

#[cfg(test)]
mod tests;
