//! Writes on a network: an object is put as it should be, or removed.

use serde::{Deserialize, Serialize};

use super::{Link, Object, ObjectName, PROTOCOL};
use crate::secret::SecretName;

/// Who made a route: protocols whose routes a person set, and which may therefore be taken over. The
/// kernel's list: unspecified, `boot` (what `ip route` says by itself), and `static`.
const BY_HAND: [u8; 3] = [0, 3, STATIC];
/// The protocol of what the system's own files say.
const STATIC: u8 = 4;

/// One typed write on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum NetworkEffect {
    /// Makes an object, or changes it to be like this, in one operation of the kernel
    /// where there is one. Fields that are absent are left alone.
    Put {
        /// What it should be.
        object: Object,
    },
    /// Removes an object.
    Remove {
        /// What it is called.
        object: ObjectName,
    },
}

impl NetworkEffect {
    /// What it writes.
    #[must_use]
    pub fn object(&self) -> ObjectName {
        match self {
            Self::Put { object } => object.name(),
            Self::Remove { object } => object.clone(),
        }
    }

    /// The link that it makes where there is none of that name; `None` for what only sets one.
    #[must_use]
    pub fn makes_link(&self) -> Option<&Link> {
        match self {
            Self::Put { object: Object::Link(link) } if link.kind.is_some() => Some(link),
            _ => None,
        }
    }

    /// The links that the object would be joined to, beside itself.
    #[must_use]
    pub fn leans_on(&self) -> Vec<&str> {
        let names: [Option<&String>; 3] = match self {
            Self::Put { object: Object::Link(link) } => {
                [link.master.as_ref(), link.parent.as_ref(), link.peer.as_ref()]
            }
            Self::Put { object: Object::Route(route) } => [route.dev.as_ref(), None, None],
            _ => [None; 3],
        };
        let hops = match self {
            Self::Put { object: Object::Route(route) } => route.hops.as_slice(),
            _ => &[],
        };
        let hops = hops.iter().filter_map(|hop| hop.dev.as_ref());
        names.into_iter().flatten().chain(hops).map(String::as_str).filter(|name| !name.is_empty()).collect()
    }

    /// The word for it in plans.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match (self, self.object()) {
            (Self::Put { .. }, ObjectName::Link { .. }) => "put-link",
            (Self::Put { .. }, ObjectName::Address { .. }) => "put-address",
            (Self::Put { .. }, ObjectName::Route { .. }) => "put-route",
            (Self::Put { .. }, ObjectName::Rule { .. }) => "put-rule",
            (Self::Put { .. }, ObjectName::Sysctl { .. }) => "set-sysctl",
            (Self::Put { .. }, ObjectName::Table { .. }) => "replace-table",
            (Self::Put { .. }, ObjectName::Wireguard { .. }) => "set-wireguard",
            (Self::Remove { .. }, ObjectName::Link { .. }) => "remove-link",
            (Self::Remove { .. }, ObjectName::Address { .. }) => "remove-address",
            (Self::Remove { .. }, ObjectName::Route { .. }) => "remove-route",
            (Self::Remove { .. }, ObjectName::Rule { .. }) => "remove-rule",
            (Self::Remove { .. }, ObjectName::Sysctl { .. }) => "remove-sysctl",
            (Self::Remove { .. }, ObjectName::Table { .. }) => "remove-table",
            (Self::Remove { .. }, ObjectName::Wireguard { .. }) => "clear-wireguard",
        }
    }

    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Put { object } => put_summary(object),
            Self::Remove { object } => match object {
                ObjectName::Link { name } => format!("remove link {name}"),
                ObjectName::Address { link, address } => format!("remove address {address} from {link}"),
                ObjectName::Route { .. } => format!("remove route {}", after_colon(object)),
                ObjectName::Rule { family, priority } => format!("remove rule {priority} of IPv{family}"),
                ObjectName::Sysctl { name } => format!("leave {name} as it is"),
                ObjectName::Table { family, name } => format!("remove table {family} {name}"),
                ObjectName::Wireguard { link } => format!("take the key and all peers from wireguard {link}"),
            },
        }
    }

    /// Whether performing it loses something, told from its type and from what is there.
    #[must_use]
    pub fn destructive(&self) -> bool {
        matches!(self, Self::Remove { .. })
    }

    /// Why it must not touch what is there under its name: routes and rules of others stay as they are.
    /// `known`: it is just what was there when the effect was planned.
    #[must_use]
    pub fn not_ours(&self, now: &Object, known: bool) -> Option<String> {
        let protocol = match now {
            Object::Route(route) => route.protocol,
            Object::Rule(rule) => rule.protocol,
            _ => return None,
        };
        let may = protocol == Some(PROTOCOL)
            || match self {
                Self::Put { .. } => protocol.is_none_or(|protocol| BY_HAND.contains(&protocol)),
                // systemd-networkd marks all rules as it likes, those from our files too.
                Self::Remove { .. } => known && matches!(now, Object::Rule(_)) && protocol == Some(STATIC),
            };
        let whose = protocol.map_or("nobody".to_owned(), |protocol| format!("protocol {protocol}"));
        (!may).then(|| {
            format!("{} was made by {whose} and not by Tidelock (protocol {PROTOCOL}); it stays", self.object())
        })
    }

    /// What undoes it, given what was there. `None` where nothing does.
    #[must_use]
    pub fn inverse(&self, before: Option<&Object>) -> Option<Self> {
        match (self, before) {
            (Self::Put { object: Object::Sysctl(_) }, None) => None,
            (Self::Put { object }, None) => Some(Self::Remove { object: object.name() }),
            (Self::Remove { .. }, None) => None,
            // What a link was made as cannot be changed, so only what the effect sets is put back.
            (Self::Put { object: Object::Link(put) }, Some(Object::Link(before))) => {
                Some(Self::Put { object: Object::Link(what_was_set(put, before)) })
            }
            (_, Some(before)) => Some(Self::Put { object: before.clone() }),
        }
    }

    /// The secrets whose values it writes.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretName> {
        match self {
            Self::Put { object: Object::Wireguard(set) } => set.keys().map(|key| &key.name).collect(),
            _ => vec![],
        }
    }
}

/// The fields of a link that a write sets, as they were before.
fn what_was_set(put: &Link, before: &Link) -> Link {
    Link {
        name: before.name.clone(),
        mtu: put.mtu.and(before.mtu),
        mac: put.mac.as_ref().and(before.mac.clone()),
        up: put.up.and(before.up),
        master: put.master.as_ref().and(before.master.clone()),
        ..Link::default()
    }
}

fn put_summary(object: &Object) -> String {
    let mut out = match object {
        Object::Link(link) => format!("put link {}", link.name),
        Object::Address(address) => format!("put address {} on {}", address.address, address.link),
        Object::Route(_) => format!("put route {}", after_colon(&object.name())),
        Object::Rule(rule) => format!("put rule {} of IPv{}", rule.priority, rule.family),
        Object::Sysctl(sysctl) => return format!("set {} to {:?}", sysctl.name, sysctl.value),
        Object::Table(table) => return format!("replace table {} {} in one transaction", table.family, table.name),
        Object::Wireguard(set) => {
            let count = set.peers.len();
            let peers = if count == 1 { "1 peer".to_owned() } else { format!("{count} peers") };
            return format!("set wireguard {}, with {peers}", set.link);
        }
    };
    let mut word = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            out.push_str(&format!(" {name} {value}"));
        }
    };
    let text = |value: Option<&dyn ToString>| value.map(ToString::to_string);
    match object {
        Object::Link(link) => {
            word("type", link.kind.clone());
            word("peer", link.peer.clone());
            word("parent", link.parent.clone());
            word("mode", link.mode.clone());
            word("vni", text(link.vni.as_ref().map(|v| v as _)));
            word("remote", text(link.remote.as_ref().map(|v| v as _)));
            word("local", text(link.local.as_ref().map(|v| v as _)));
            word("port", text(link.port.as_ref().map(|v| v as _)));
            word("mtu", text(link.mtu.as_ref().map(|v| v as _)));
            word("mac", link.mac.clone());
            let master = link.master.as_ref();
            word("master", master.map(|master| if master.is_empty() { "none".to_owned() } else { master.clone() }));
            if let Some(up) = link.up {
                out.push_str(if up { ", up" } else { ", down" });
            }
        }
        Object::Route(route) => {
            word("type", Some(route.kind.clone()).filter(|kind| kind != "unicast"));
            word("via", text(route.via.as_ref().map(|v| v as _)));
            word("dev", route.dev.clone());
            for hop in &route.hops {
                let part = |name: &str, value: Option<String>| value.map(|value| format!(" {name} {value}"));
                let via = part("via", text(hop.via.as_ref().map(|v| v as _))).unwrap_or_default();
                let dev = part("dev", hop.dev.clone()).unwrap_or_default();
                word("hop", Some(format!("{} weight {}", format!("{via}{dev}").trim(), hop.weight)));
            }
            word("src", text(route.src.as_ref().map(|v| v as _)));
        }
        Object::Rule(rule) => {
            word("from", text(rule.from.as_ref().map(|v| v as _)));
            word("to", text(rule.to.as_ref().map(|v| v as _)));
            word("iif", rule.iif.clone());
            word("oif", rule.oif.clone());
            word("mark", text(rule.mark.as_ref().map(|v| v as _)));
            match rule.table {
                Some(table) => word("table", Some(table.to_string())),
                None => out.push_str(&format!(" {}", rule.action)),
            }
        }
        Object::Address(_) | Object::Sysctl(_) | Object::Table(_) | Object::Wireguard(_) => {}
    }
    out
}

fn after_colon(name: &ObjectName) -> String {
    let text = name.to_string();
    text.split_once(':').map_or(text.clone(), |(_, rest)| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Route, Sysctl};
    use super::*;

    fn route(via: &str) -> Object {
        Object::Route(Route {
            table: 254,
            to: "10.1.0.0/16".parse().unwrap(),
            metric: 0,
            kind: "unicast".into(),
            via: Some(via.parse().unwrap()),
            dev: None,
            hops: vec![],
            src: None,
            protocol: None,
        })
    }

    #[test]
    fn what_was_there_comes_back_and_what_was_not_goes() {
        let put = NetworkEffect::Put { object: route("10.0.0.2") };
        assert_eq!(put.summary(), "put route main/10.1.0.0/16 via 10.0.0.2");
        assert_eq!(put.inverse(None), Some(NetworkEffect::Remove { object: route("10.0.0.2").name() }));
        let before = route("10.0.0.1");
        assert_eq!(put.inverse(Some(&before)), Some(NetworkEffect::Put { object: before.clone() }));
        let remove = NetworkEffect::Remove { object: before.name() };
        assert!(remove.destructive() && !put.destructive());
        assert_eq!(remove.inverse(Some(&before)), Some(NetworkEffect::Put { object: before }));
        let set = Object::Sysctl(Sysctl { name: "net.ipv4.ip_forward".into(), value: "1".into() });
        assert_eq!(NetworkEffect::Put { object: set }.inverse(None), None);
    }

    #[test]
    fn of_a_link_what_was_set_is_put_back_and_nothing_else() {
        let link = |mtu, up| Link { name: "eth0".into(), mtu: Some(mtu), up: Some(up), ..Link::default() };
        let put = Object::Link(Link { name: "eth0".into(), mtu: Some(9000), ..Link::default() });
        let back = NetworkEffect::Put { object: put }.inverse(Some(&Object::Link(link(1500, true)))).unwrap();
        let only = Object::Link(Link { name: "eth0".into(), mtu: Some(1500), ..Link::default() });
        assert_eq!(back, NetworkEffect::Put { object: only });
    }
}
