//! What of a network the operator gave. Part of [`Grant`](crate::grant::Grant), which asks.

use globset::GlobMatcher;

use super::{ObjectName, Prefix};
use crate::error::{Blame, Fault};
use crate::grant::{GrantDecl, about, glob};

/// The grants on a network.
#[derive(Debug, Clone, Default)]
pub struct NetworkGrant {
    links: Vec<(String, GlobMatcher)>,
    addresses: Vec<Prefix>,
    routes: Vec<Prefix>,
    rules: Vec<(u32, u32)>,
    sysctls: Vec<GlobMatcher>,
    tables: Vec<(GlobMatcher, GlobMatcher)>,
    wireguard: Vec<GlobMatcher>,
}

impl NetworkGrant {
    /// Adds what a declaration gives.
    ///
    /// # Errors
    /// A pattern that cannot be read; `field` is its key.
    pub(crate) fn add(&mut self, plugin: &str, decl: &GrantDecl) -> Result<(), Fault> {
        let bad = |key: &str, why: String| {
            Fault::new("invalid", Blame::Target, format!("grants.{plugin}.{key}: {why}")).at(key)
        };
        for pattern in &decl.links {
            self.links.push((pattern.clone(), glob(pattern, false).map_err(about("links"))?));
        }
        for (key, texts, into) in
            [("addresses", &decl.addresses, &mut self.addresses), ("routes", &decl.routes, &mut self.routes)]
        {
            for text in texts {
                let prefix: Prefix = text.parse().map_err(|why| bad(key, why))?;
                if prefix.network() != prefix {
                    return Err(bad(key, format!("{text} has bits beyond its length; write {}", prefix.network())));
                }
                into.push(prefix);
            }
        }
        for text in &decl.rules {
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            let (Ok(from), Ok(to)) = (from.parse(), to.parse()) else {
                return Err(bad("rules", format!("{text:?} is neither a priority nor two, such as 1000-1999")));
            };
            self.rules.push((from, to));
        }
        for pattern in &decl.sysctls {
            self.sysctls.push(glob(&turned(pattern), true).map_err(about("sysctls"))?);
        }
        for pattern in &decl.wireguard {
            self.wireguard.push(glob(pattern, false).map_err(about("wireguard"))?);
        }
        for text in &decl.tables {
            let [family, name] = text.split_whitespace().collect::<Vec<_>>()[..] else {
                return Err(bad("tables", format!("{text:?} is not a family and a name, such as `inet filter`")));
            };
            let one = |pattern| glob(pattern, false).map_err(about("tables"));
            self.tables.push((one(family)?, one(name)?));
        }
        Ok(())
    }

    /// Whether an object is open; else the key and the value that would open it.
    pub(crate) fn opens(&self, object: &ObjectName) -> Result<(), (&'static str, String)> {
        match object {
            ObjectName::Link { name } => self.link(name),
            ObjectName::Address { link, address } => {
                self.link(link)?;
                within(&self.addresses, address, "addresses")
            }
            ObjectName::Route { to, .. } => within(&self.routes, to, "routes"),
            ObjectName::Rule { priority, .. } => {
                let open = self.rules.iter().any(|(from, to)| (from..=to).contains(&priority));
                if open { Ok(()) } else { Err(("rules", priority.to_string())) }
            }
            ObjectName::Sysctl { name } => {
                let open = self.sysctls.iter().any(|pattern| pattern.is_match(turned(name)));
                if open { Ok(()) } else { Err(("sysctls", name.clone())) }
            }
            ObjectName::Wireguard { link } => {
                let open = self.wireguard.iter().any(|pattern| pattern.is_match(link));
                if open { Ok(()) } else { Err(("wireguard", globset::escape(link))) }
            }
            ObjectName::Table { family, name } => {
                let open =
                    self.tables.iter().any(|(families, names)| families.is_match(family) && names.is_match(name));
                if open { Ok(()) } else { Err(("tables", format!("{family} {name}"))) }
            }
        }
    }

    /// `lo` carries what the machine says to itself, the runtime included: it is opened by
    /// its name alone.
    fn link(&self, name: &str) -> Result<(), (&'static str, String)> {
        let open = self.links.iter().any(|(text, pattern)| text == name || (name != "lo" && pattern.is_match(name)));
        if open { Ok(()) } else { Err(("links", globset::escape(name))) }
    }
}

fn within(open: &[Prefix], wanted: &Prefix, key: &'static str) -> Result<(), (&'static str, String)> {
    let network = wanted.network();
    if open.iter().any(|prefix| prefix.contains(&network)) { Ok(()) } else { Err((key, network.to_string())) }
}

/// Dots become slashes, at which `*` stops, and slashes the dots that they stand for.
fn turned(name: &str) -> String {
    let turn = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    name.chars().map(turn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::EffectBody;
    use crate::grant::{Access, Grant};
    use crate::network::{Link, NetworkEffect, Object, Route};

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    fn grant() -> Grant {
        let decl = GrantDecl {
            links: words(&["veth*", "br0"]),
            addresses: words(&["10.0.0.0/8", "2001:db8::/32"]),
            routes: words(&["10.0.0.0/8", "192.0.2.0/24"]),
            rules: words(&["1000-1999", "7"]),
            sysctls: words(&["net.ipv4.*", "net.ipv6.conf.**"]),
            tables: words(&["inet filter", "ip tidelock-*"]),
            wireguard: words(&["wg*"]),
            ..GrantDecl::default()
        };
        Grant::new("network", "router-1", [&decl], vec![]).unwrap()
    }

    fn seen(name: &str) -> Result<(), Fault> {
        grant().decide(Access::Network(&name.parse().unwrap()))
    }

    #[test]
    fn what_is_granted_is_open_and_nothing_beside_it() {
        for name in [
            "link:veth0",
            "wireguard:wg0",
            "link:br0",
            "address:br0/10.0.0.1/24",
            "address:veth1/2001:db8::1/64",
            "route:main/10.1.0.0/16",
            "route:100/192.0.2.0/24",
            "rule:4/1000",
            "rule:6/7",
            "sysctl:net.ipv4.ip_forward",
            "sysctl:net.ipv6.conf.all.forwarding",
            "nftables:inet/filter",
            "nftables:ip/tidelock-nat",
        ] {
            seen(name).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        }
        for (name, line) in [
            ("link:eth0", "links = [\"eth0\"]"),
            ("link:br01", "links = [\"br01\"]"),
            ("link:lo", "links = [\"lo\"]"),
            ("address:eth0/10.0.0.1/24", "links = [\"eth0\"]"),
            ("address:br0/192.0.2.1/24", "addresses = [\"192.0.2.0/24\"]"),
            ("address:br0/10.0.0.1/4", "addresses = [\"0.0.0.0/4\"]"),
            ("route:main/0.0.0.0/0", "routes = [\"0.0.0.0/0\"]"),
            ("route:main/192.0.2.0/23", "routes = [\"192.0.2.0/23\"]"),
            ("route:main/::/0", "routes = [\"::/0\"]"),
            ("rule:4/999", "rules = [\"999\"]"),
            ("rule:4/2000", "rules = [\"2000\"]"),
            ("sysctl:net.ipv4.conf.all.rp_filter", "sysctls = [\"net.ipv4.conf.all.rp_filter\"]"),
            ("sysctl:net.core.somaxconn", "sysctls = [\"net.core.somaxconn\"]"),
            ("nftables:ip/filter", "tables = [\"ip filter\"]"),
            ("nftables:inet/docker", "tables = [\"inet docker\"]"),
        ] {
            let fault = seen(name).unwrap_err();
            assert!(fault.code == "denied" && fault.hint.as_ref().unwrap().ends_with(line), "{name}: {fault:?}");
        }
        let all = GrantDecl { links: words(&["*"]), ..GrantDecl::default() };
        let all = Grant::new("network", "router-1", [&all], vec![]).unwrap();
        assert!(all.decide(Access::Network(&"link:lo".parse().unwrap())).is_err(), "no glob opens lo");
    }

    #[test]
    fn an_effect_joins_no_link_that_is_not_granted() {
        let link = |master: Option<&str>, parent: Option<&str>, peer: Option<&str>| {
            let name = |name: Option<&str>| name.map(ToOwned::to_owned);
            let link = Link {
                name: "veth0".into(),
                master: name(master),
                parent: name(parent),
                peer: name(peer),
                ..Link::default()
            };
            grant().decide_effect(&EffectBody::Network(NetworkEffect::Put { object: Object::Link(link) }))
        };
        assert!(link(Some("br0"), None, Some("veth9")).is_ok());
        assert!(link(Some(""), None, None).is_ok(), "out of a bridge");
        for (master, parent, peer) in
            [(Some("eth0"), None, None), (None, Some("eth0"), None), (None, None, Some("eth0"))]
        {
            assert_eq!(link(master, parent, peer).unwrap_err().code, "denied", "{master:?} {parent:?} {peer:?}");
        }
        let route = Route {
            table: 254,
            to: "10.1.0.0/16".parse().unwrap(),
            metric: 0,
            kind: "unicast".into(),
            via: None,
            dev: Some("eth0".into()),
            hops: vec![],
            src: None,
            protocol: None,
        };
        let route = EffectBody::Network(NetworkEffect::Put { object: Object::Route(route) });
        assert_eq!(grant().decide_effect(&route).unwrap_err().code, "denied");
    }

    #[test]
    fn a_grant_that_says_more_than_it_seems_is_refused() {
        for decl in [
            GrantDecl { routes: words(&["10.0.0.1/8"]), ..GrantDecl::default() },
            GrantDecl { addresses: words(&["10.0.0.1"]), ..GrantDecl::default() },
            GrantDecl { rules: words(&["all"]), ..GrantDecl::default() },
            GrantDecl { tables: words(&["filter"]), ..GrantDecl::default() },
        ] {
            assert_eq!(Grant::new("network", "r", [&decl], vec![]).unwrap_err().code, "invalid", "{decl:?}");
        }
    }
}
