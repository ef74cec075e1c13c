//! The way of this process's packets to a server, where it leads through a namespace of a
//! target: which effects there touch it. Reads only.
//!
//! The kernel is asked for the route in our own namespace, and from there in the one that has
//! the next hop's address, until the target's is reached or the way goes where nobody here can
//! see. What may touch it is judged by what an effect is about, not by what it does: a ruleset is
//! not interpreted, so each table that hooks into packets counts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use tidelock_model::error::Fault;
use tidelock_model::network::{NetworkEffect, Object, ObjectName, Prefix};

use super::Namespace;
use super::rtnetlink::Rtnetlink;
use super::view::View;

/// Namespaces that a way is followed through.
const HOPS: usize = 16;
/// Settings that decide whether packets go on, by the last part of their names.
const SETTINGS: [&str; 8] = [
    "ip_forward",
    "forwarding",
    "rp_filter",
    "disable_ipv6",
    "accept_local",
    "route_localnet",
    "arp_ignore",
    "arp_filter",
];

/// Where a way passes a namespace.
#[derive(Debug)]
struct Passage {
    /// Links that its packets come in and go out by, and what these stand on.
    links: BTreeSet<String>,
    /// Addresses that it rests on: the server's, those of the hops around, our own.
    addresses: BTreeSet<IpAddr>,
}

/// Which of these effects in a namespace touch the way to an address, by their places.
///
/// # Errors
/// The kernel cannot be asked.
pub(crate) fn touched(namespace: &Namespace, effects: &[&NetworkEffect], to: IpAddr) -> Result<Vec<usize>, Fault> {
    let Some(passage) = passage(namespace, to)? else { return Ok(vec![]) };
    let touches = |effect: &NetworkEffect| passage.is_touched_by(effect);
    Ok(effects.iter().enumerate().filter(|(_, effect)| touches(effect)).map(|(place, _)| place).collect())
}

fn passage(namespace: &Namespace, to: IpAddr) -> Result<Option<Passage>, Fault> {
    let (mut here, mut entry) = (Namespace::own(), None);
    let mut source = None;
    for _ in 0..HOPS {
        let found = here.enter(|| View::new(Rtnetlink::open()?).way(to))?;
        let Some(route) = found else { return Ok(None) };
        source = source.or(route.src);
        if here.is(namespace) {
            let mut addresses = BTreeSet::from([to]);
            addresses.extend([entry, route.via, source].into_iter().flatten());
            let links = here.enter(|| View::new(Rtnetlink::open()?).around(route.dev.as_deref(), &addresses))?;
            return Ok(Some(Passage { links, addresses }));
        }
        if route.local {
            return Ok(None);
        }
        let next = route.via.unwrap_or(to);
        let Some(there) = whose(next, &here)? else { return Ok(None) };
        (here, entry) = (there, Some(next));
    }
    Ok(None)
}

/// The namespace of this machine that has an address.
fn whose(address: IpAddr, but: &Namespace) -> Result<Option<Namespace>, Fault> {
    for there in Namespace::all()? {
        // One that goes away meanwhile has nothing.
        let has = || there.enter(|| View::new(Rtnetlink::open()?).has(address));
        if !there.is(but) && has().unwrap_or(false) {
            return Ok(Some(there));
        }
    }
    Ok(None)
}

impl Passage {
    fn is_touched_by(&self, effect: &NetworkEffect) -> bool {
        let leads = |to: &Prefix| self.addresses.iter().any(|address| holds(to, *address));
        match effect {
            NetworkEffect::Put { object: Object::Link(link) } => {
                self.links.contains(&link.name)
                    || link.master.as_ref().is_some_and(|master| self.links.contains(master))
            }
            NetworkEffect::Put { object: Object::Table(table) } => table.ruleset.contains("hook "),
            NetworkEffect::Put { object } => self.is_about(&object.name(), leads),
            NetworkEffect::Remove { object } => self.is_about(object, leads),
        }
    }

    fn is_about(&self, object: &ObjectName, leads: impl Fn(&Prefix) -> bool) -> bool {
        match object {
            ObjectName::Link { name } | ObjectName::Wireguard { link: name } => self.links.contains(name),
            ObjectName::Address { address, .. } => leads(address),
            ObjectName::Route { to, .. } => leads(to),
            ObjectName::Rule { family, .. } => {
                self.addresses.iter().any(|address| if *family == 6 { address.is_ipv6() } else { address.is_ipv4() })
            }
            ObjectName::Sysctl { name } => name.rsplit('.').next().is_some_and(|last| SETTINGS.contains(&last)),
            ObjectName::Table { .. } => true,
        }
    }
}

fn holds(network: &Prefix, address: IpAddr) -> bool {
    let most = if address.is_ipv4() { 32 } else { 128 };
    Prefix::new(address, most).is_ok_and(|address| network.network().contains(&address))
}

#[cfg(test)]
mod tests {
    use tidelock_model::network::{Link, Table};

    use super::*;

    #[test]
    fn what_an_effect_is_about_decides() {
        let passage = Passage {
            links: ["up0".to_owned(), "br0".to_owned()].into(),
            addresses: ["192.0.2.1", "10.0.0.254", "10.0.0.1"].map(|text| text.parse().unwrap()).into(),
        };
        for (name, touches) in [
            ("link:up0", true),
            ("link:up1", false),
            ("wireguard:up0", true),
            ("address:up0/10.0.0.1/24", true),
            ("address:up0/10.1.0.1/24", false),
            ("route:main/0.0.0.0/0", true),
            ("route:100/192.0.2.0/24", true),
            ("route:main/198.51.100.0/24", false),
            ("route:main/::/0", false),
            ("rule:4/1000", true),
            ("rule:6/1000", false),
            ("sysctl:net.ipv4.ip_forward", true),
            ("sysctl:net.ipv6.conf.eth0/100.forwarding", true),
            ("sysctl:net.ipv4.conf.up0.mc_forwarding", false),
            ("sysctl:net.ipv4.tcp_syncookies", false),
            ("nftables:inet/filter", true),
        ] {
            let effect = NetworkEffect::Remove { object: name.parse().unwrap() };
            assert_eq!(passage.is_touched_by(&effect), touches, "{name}");
        }
        let put = |object| passage.is_touched_by(&NetworkEffect::Put { object });
        let link = |name: &str, master: &str| {
            Object::Link(Link { name: name.into(), master: Some(master.into()), ..Link::default() })
        };
        assert!(put(link("v0", "br0")) && !put(link("v0", "br1")));
        let table = |text: &str| {
            Object::Table(Table {
                family: "inet".into(),
                name: "t".into(),
                ruleset: format!("table inet t {{{text}}}"),
            })
        };
        assert!(
            put(table("chain c { type filter hook input priority 0; }")) && !put(table("set s { type ipv4_addr; }"))
        );
    }
}
