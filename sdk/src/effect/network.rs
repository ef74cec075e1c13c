//! Effects on a network. What is put is given as what it serialises to: `wit/netlink` says
//! which fields there are, and each must stand in the change's desired spec.

use serde::Serialize;

use super::{AfterCrash, Common, Effect, Proposable, effect, sealed};
use crate::error::Error;
use crate::host::ProposePort;

macro_rules! objects {
    ($($(#[$doc:meta])* $body:ident, $make:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $body {
            /// The object, as JSON.
            pub object: String,
        }

        $(#[$doc])*
        pub fn $make(object: &impl Serialize) -> Effect<$body> {
            // A spec that could be read can be written.
            let object = serde_json::to_string(object).unwrap_or_default();
            effect($body { object }, AfterCrash::Observe)
        }
    )*};
}

objects! {
    /// Makes a link, or sets what is given of one that is there.
    PutLink, put_link;
    /// Puts an address on a link.
    PutAddress, put_address;
    /// Puts a route, in place of the one of the same name.
    PutRoute, put_route;
    /// Puts a rule, in place of the one at its priority.
    PutRule, put_rule;
    /// Sets a setting.
    SetSysctl, set_sysctl;
    /// Sets the key and the peers of a WireGuard interface.
    SetWireguard, set_wireguard;
}

/// Removes a link, an address, a route or a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveObject {
    /// What it is called.
    pub name: String,
}

/// Removes a link, an address, a route or a rule, by its name.
pub fn remove_object(name: impl Into<String>) -> Effect<RemoveObject> {
    effect(RemoveObject { name: name.into() }, AfterCrash::Observe)
}

/// Puts a table of nftables in place of what is there under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplaceTable {
    /// `nftables:inet/filter`.
    pub name: String,
    /// As `normalise_table` gave it.
    pub ruleset: String,
}

/// Puts a table of nftables in place of what is there under its name, as one transaction.
pub fn replace_table(name: impl Into<String>, ruleset: impl Into<String>) -> Effect<ReplaceTable> {
    effect(ReplaceTable { name: name.into(), ruleset: ruleset.into() }, AfterCrash::Observe)
}

/// Removes a table of nftables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveTable {
    /// `nftables:inet/filter`.
    pub name: String,
}

/// Removes a table of nftables with all that it holds.
pub fn remove_table(name: impl Into<String>) -> Effect<RemoveTable> {
    effect(RemoveTable { name: name.into() }, AfterCrash::Observe)
}

proposable! {
    PutLink => put_link;
    PutAddress => put_address;
    PutRoute => put_route;
    PutRule => put_rule;
    SetSysctl => set_sysctl;
    SetWireguard => set_wireguard;
    RemoveObject => remove_object;
    ReplaceTable => replace_table;
    RemoveTable => remove_table;
}
