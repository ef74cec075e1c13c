//! Networks: what they are made of, and typed writes on them, as data.
//!
//! The words here are those of a person who reads a plan; how the kernel spells them is
//! the target's to know.

mod effect;
mod grant;
mod object;
mod prefix;
mod wireguard;

pub use effect::NetworkEffect;
pub use grant::NetworkGrant;
pub use object::{
    Address, Hop, Link, MAIN, Object, ObjectName, Route, Rule, Sysctl, Table, default_metric, link_name, sysctl_name,
    table_name,
};
pub use prefix::Prefix;
pub use wireguard::{Key, Peer, Preshared, PresharedWord, Wireguard, wireguard_key};

/// The number of the routing protocol that marks routes and rules as made by us. Free for
/// administrators by the kernel's and iproute2's lists.
pub const PROTOCOL: u8 = 201;
