//! What a network is made of: links, addresses, routes, rules, settings, tables of
//! nftables and what WireGuard is set to; and what each is called, whatever a stack calls it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Prefix, Wireguard};

/// The kernel's number of the routing table `main`.
pub const MAIN: u32 = 254;
/// The metric that the kernel gives an IPv6 route which names none.
const DEFAULT_METRIC_V6: u32 = 1024;

/// A link: a network interface. A field that is `None` is left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its name, 15 bytes at most.
    pub name: String,
    /// `veth`, `bridge`, `vxlan`, `macvlan`, `wireguard`, or whatever else is seen. Fixed once it is there.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// For a veth: the other end, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// For a macvlan or vxlan: the link that it stands on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// For a macvlan: `bridge`, `private`, `vepa` or `passthru`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// For a vxlan: the network's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// For a vxlan: where to send what nobody said a place for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<IpAddr>,
    /// For a vxlan: the address to send from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// For a vxlan: the UDP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Bytes of the largest packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The hardware address, `02:00:00:00:00:01`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Whether it is switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// The bridge that it is a port of; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
}

/// An address of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The link.
    pub link: String,
    /// The address and the length of its network.
    pub address: Prefix,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The routing table's number.
    pub table: u32,
    /// Where to. All is `0.0.0.0/0` or `::/0`.
    pub to: Prefix,
    /// Which of several is chosen: the lowest.
    pub metric: u32,
    /// `unicast`, `blackhole`, `unreachable` or `prohibit`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Several next hops, among which packets are divided, in the order of [`Hop`]; instead of
    /// `via` and `dev`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<Hop>,
    /// The address that packets of this machine's own have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
    /// Who made it: the number of a routing protocol. Seen, never asked for: ours is
    /// [`PROTOCOL`](super::PROTOCOL).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
}

/// One of several next hops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hop {
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The link, where there is no address, or one that means something on a link alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Its share of the packets: 1 to 256.
    pub weight: u16,
}

impl Hop {
    /// Whether the link is part of what it is, and does not follow from the address.
    #[must_use]
    pub fn names_its_link(via: Option<IpAddr>) -> bool {
        match via {
            Some(IpAddr::V6(via)) => via.is_unicast_link_local(),
            Some(IpAddr::V4(_)) => false,
            None => true,
        }
    }
}

/// A rule of which table is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `4` or `6`.
    pub family: u8,
    /// Its place: rules are asked from the lowest on. One rule of a family for each.
    pub priority: u32,
    /// Packets from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Prefix>,
    /// Packets to there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Prefix>,
    /// Packets that came in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iif: Option<String>,
    /// Packets of sockets bound to there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oif: Option<String>,
    /// Packets with this mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// `table`, `blackhole`, `unreachable` or `prohibit`.
    pub action: String,
    /// The table to ask, for `table`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Who made it. As [`Route::protocol`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
}

/// A setting of the kernel's network, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    /// `net.ipv4.ip_forward`. A dot within a part is written as a slash.
    pub name: String,
    /// Its value, with one space where the kernel has a tab.
    pub value: String,
}

/// A whole table of nftables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// `inet`, `ip`, `ip6`, `arp`, `bridge` or `netdev`.
    pub family: String,
    /// Its name.
    pub name: String,
    /// All of it as nft prints it, without counters, and without elements that run out or
    /// that packets added.
    pub ruleset: String,
}

/// Anything of the above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "object", rename_all = "kebab-case")]
pub enum Object {
    /// A link.
    Link(Link),
    /// An address.
    Address(Address),
    /// A route.
    Route(Route),
    /// A rule.
    Rule(Rule),
    /// A setting.
    Sysctl(Sysctl),
    /// A table of nftables.
    Table(Table),
    /// What a WireGuard interface is set to.
    Wireguard(Wireguard),
}

impl Object {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> ObjectName {
        match self {
            Self::Link(link) => ObjectName::Link { name: link.name.clone() },
            Self::Address(address) => ObjectName::Address { link: address.link.clone(), address: address.address },
            Self::Route(route) => ObjectName::Route { table: route.table, to: route.to, metric: route.metric },
            Self::Rule(rule) => ObjectName::Rule { family: rule.family, priority: rule.priority },
            Self::Sysctl(sysctl) => ObjectName::Sysctl { name: sysctl.name.clone() },
            Self::Table(table) => ObjectName::Table { family: table.family.clone(), name: table.name.clone() },
            Self::Wireguard(set) => ObjectName::Wireguard { link: set.link.clone() },
        }
    }

    /// Without what changes by itself.
    #[must_use]
    pub fn lasting(&self) -> Self {
        match self {
            Self::Wireguard(set) => Self::Wireguard(set.lasting()),
            other => other.clone(),
        }
    }
}

/// What an object is called: the identity of a resource that stands for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// `link:eth0`.
    Link {
        /// The link.
        name: String,
    },
    /// `address:eth0/10.0.0.1/24`.
    Address {
        /// The link.
        link: String,
        /// The address.
        address: Prefix,
    },
    /// `route:main/10.1.0.0/16`, with `+100` where its metric is not the kernel's own choice.
    Route {
        /// The table.
        table: u32,
        /// Where to.
        to: Prefix,
        /// The metric.
        metric: u32,
    },
    /// `rule:4/1000`.
    Rule {
        /// `4` or `6`.
        family: u8,
        /// Its place.
        priority: u32,
    },
    /// `sysctl:net.ipv4.ip_forward`.
    Sysctl {
        /// The setting.
        name: String,
    },
    /// `nftables:inet/filter`.
    Table {
        /// The family.
        family: String,
        /// The table.
        name: String,
    },
    /// `wireguard:wg0`.
    Wireguard {
        /// The link.
        link: String,
    },
}

impl ObjectName {
    /// What sort of object it is, in one word.
    #[must_use]
    pub fn sort(&self) -> &'static str {
        match self {
            Self::Link { .. } => "link",
            Self::Address { .. } => "address",
            Self::Route { .. } => "route",
            Self::Rule { .. } => "rule",
            Self::Sysctl { .. } => "sysctl",
            Self::Table { .. } => "nftables",
            Self::Wireguard { .. } => "wireguard",
        }
    }
}

/// The metric that a route to there has when it names none.
#[must_use]
pub fn default_metric(to: &Prefix) -> u32 {
    if to.address().is_ipv4() { 0 } else { DEFAULT_METRIC_V6 }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.sort())?;
        match self {
            Self::Link { name } | Self::Sysctl { name } | Self::Wireguard { link: name } => f.write_str(name),
            Self::Address { link, address } => write!(f, "{link}/{address}"),
            Self::Route { table, to, metric } => {
                match *table {
                    MAIN => write!(f, "main/{to}")?,
                    number => write!(f, "{number}/{to}")?,
                }
                if *metric != default_metric(to) {
                    write!(f, "+{metric}")?;
                }
                Ok(())
            }
            Self::Rule { family, priority } => write!(f, "{family}/{priority}"),
            Self::Table { family, name } => write!(f, "{family}/{name}"),
        }
    }
}

impl Serialize for ObjectName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for ObjectName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let not = || format!("{text:?} names no object of a network");
        let (sort, rest) = text.split_once(':').ok_or_else(not)?;
        let name = match sort {
            "link" => Self::Link { name: link_name(rest)? },
            "wireguard" => Self::Wireguard { link: link_name(rest)? },
            "sysctl" => Self::Sysctl { name: sysctl_name(rest)? },
            "address" => {
                let (link, address) = rest.split_once('/').ok_or_else(not)?;
                Self::Address { link: link_name(link)?, address: address.parse()? }
            }
            "route" => {
                let (table, rest) = rest.split_once('/').ok_or_else(not)?;
                let table = if table == "main" { MAIN } else { table.parse().map_err(|_| not())? };
                let (to, metric) = match rest.split_once('+') {
                    Some((to, metric)) => (to.parse::<Prefix>()?, metric.parse().map_err(|_| not())?),
                    None => {
                        let to = rest.parse()?;
                        (to, default_metric(&to))
                    }
                };
                Self::Route { table, to, metric }
            }
            "rule" => {
                let (family, priority) = rest.split_once('/').ok_or_else(not)?;
                let family = family.parse().ok().filter(|family| matches!(family, 4 | 6)).ok_or_else(not)?;
                Self::Rule { family, priority: priority.parse().map_err(|_| not())? }
            }
            "nftables" => {
                let (family, name) = rest.split_once('/').ok_or_else(not)?;
                table_name(family, name)?;
                Self::Table { family: family.to_owned(), name: name.to_owned() }
            }
            _ => return Err(not()),
        };
        // One object has one identity, or two resources could stand for it.
        if name.to_string() == text { Ok(name) } else { Err(format!("{text:?} is spelled {:?}", name.to_string())) }
    }
}

/// Checks the name of a link, as the kernel does.
///
/// # Errors
/// Empty, too long, or holding what no name of a link may.
pub fn link_name(name: &str) -> Result<String, String> {
    let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > 15 || matches!(name, "." | "..") || name.contains(odd) {
        return Err(format!("{name:?} cannot be the name of a link: it has 1 to 15 bytes without spaces, `/` and `:`"));
    }
    Ok(name.to_owned())
}

/// Checks the name of a setting: below `net`, since no other belongs to a network.
///
/// # Errors
/// Not below `net.`, or holding an empty or climbing part.
pub fn sysctl_name(name: &str) -> Result<String, String> {
    let good = |part: &str| {
        !part.is_empty()
            && !matches!(part, "/" | "//")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '@'))
    };
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() < 3 || parts[0] != "net" || !parts.iter().all(|part| good(part)) || name.len() > 200 {
        return Err(format!("{name:?} is no setting of the network, such as net.ipv4.ip_forward"));
    }
    Ok(name.to_owned())
}

/// Checks the family and name of a table.
///
/// # Errors
/// A family that nftables does not have, or a name that it would not take.
pub fn table_name(family: &str, name: &str) -> Result<(), String> {
    if !matches!(family, "inet" | "ip" | "ip6" | "arp" | "bridge" | "netdev") {
        return Err(format!("{family:?} is no family of nftables: inet, ip, ip6, arp, bridge or netdev"));
    }
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if !first || !rest || name.len() > 127 {
        return Err(format!(
            "{name:?} cannot be the name of a table: a letter, then letters, digits, `_`, `-` and `.`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_come_back_as_they_went() {
        for text in [
            "link:eth0",
            "address:eth0/10.0.0.1/24",
            "address:br-lan/2001:db8::1/64",
            "route:main/10.1.0.0/16",
            "route:main/10.1.0.0/16+100",
            "route:100/::/0",
            "route:main/2001:db8::/32+7",
            "rule:4/1000",
            "sysctl:net.ipv4.conf.eth0/100.rp_filter",
            "nftables:inet/filter",
            "wireguard:wg0",
        ] {
            assert_eq!(text.parse::<ObjectName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_has_a_second_spelling_or_climbs_is_refused() {
        for text in [
            "route:254/10.0.0.0/8",
            "route:main/10.0.0.0/8+0",
            "route:main/10.0.0.0/08",
            "link:",
            "link:a b",
            "link:..",
            "link:abcdefghijklmnop",
            "sysctl:kernel.core_pattern",
            "sysctl:net.ipv4../../kernel/core_pattern",
            "sysctl:net.ipv4...x",
            "sysctl:net",
            "nftables:inet/a b",
            "nftables:inet/a;flush",
            "nftables:x/filter",
            "rule:5/1",
            "path:/etc/motd",
        ] {
            assert!(text.parse::<ObjectName>().is_err(), "{text}");
        }
    }
}
