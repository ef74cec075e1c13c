//! Bringing back what effects on this system took away: what they were about, by their inverses, and what
//! went along with that by itself. A link that is switched off takes its routes along, one that is removed
//! its addresses and what stands on it.
//!
//! What others removed meanwhile is theirs, and stays away. So it is looked, once the effects are
//! performed, what is missing by then ([`mark`]); of that, what hangs on links that an effect is about went
//! with the effects, and all that is missing later somebody else removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use tidelock_model::error::Fault;
use tidelock_model::name::{Identity, Name};
use tidelock_model::network::{Link, NetworkEffect, Object, ObjectName, Route, Wireguard};

use super::{Order, Place, Stuck, read, whole};
use crate::network::rtnetlink::Rtnetlink;
use crate::network::view::View;
use crate::network::{Namespace, Network, Session, WIREGUARD, fault};

/// How often what could not be taken back is tried again.
const ROUNDS: usize = 3;
/// The routing protocol of the kernel's own routes.
const KERNEL: u8 = 2;

/// What could go along with effects: links, addresses and routes, as they are before these. Those first that
/// others need.
pub(super) fn there(namespace: &Namespace) -> Result<Vec<Object>, Fault> {
    namespace.enter(|| {
        let mut view = View::new(Rtnetlink::open()?);
        let mut there: Vec<Object> = view.all_links()?.into_iter().map(Object::Link).collect();
        there.extend(view.all_addresses()?.into_iter().map(Object::Address));
        there.extend(view.all_routes()?.into_iter().map(Object::Route));
        Ok(there)
    })
}

/// Writes down beside a guard that stands what went with the effects, which were performed just now. Nothing
/// where it takes them back already.
///
/// # Errors
/// The guard's file cannot be read, or what is missing not be written down.
pub(crate) fn mark(folder: &Path, namespace: &Namespace, target: &Name, id: &str) -> Result<(), Fault> {
    let place = Place { folder, target, id };
    let path = place.file("armed");
    let order = match read(&path) {
        Ok(order) => order,
        Err(_) if !path.exists() => return Ok(()),
        Err(fault) => return Err(fault),
    };
    let touched = Touched::by(&order);
    let gone = missing(namespace, &order.there).into_iter().filter(|object| touched.holds(object));
    let names: Vec<String> = gone.map(|object| object.name().to_string()).collect();
    let io = |why: String| fault("io", format!("cannot write down what went with the effects: {why}"));
    let text = serde_json::to_vec(&names).map_err(|error| io(error.to_string()))?;
    whole(&place.file("swept"), &text).map(drop).map_err(|error| io(error.to_string()))
}

/// Takes out of an order what others removed. Asked once, before anything is taken back, which takes other
/// things along.
pub(super) fn sort_out(place: &Place<'_>, namespace: &Namespace, order: &mut Order) {
    // Without a mark nobody came to the end of the effects.
    let marked = std::fs::read(place.file("swept")).ok();
    let marked = marked.and_then(|text| serde_json::from_slice::<BTreeSet<String>>(&text).ok());
    let touched = Touched::by(order);
    let missing = missing(namespace, &order.there).into_iter();
    let others = missing.filter(|object| match &marked {
        Some(swept) => !swept.contains(&object.name().to_string()),
        None => !touched.holds(object),
    });
    let others: BTreeSet<String> = others.map(|object| object.name().to_string()).collect();
    order.there.retain(|object| !others.contains(&object.name().to_string()));
}

/// Which of these objects are not there.
fn missing<'o>(namespace: &Namespace, there: &'o [Object]) -> Vec<&'o Object> {
    let names: Vec<_> = there.iter().map(Object::name).collect();
    let looked = Network::new(namespace.clone()).look(&names);
    there.iter().zip(looked).filter(|(_, now)| matches!(now, Ok(None))).map(|(object, _)| object).collect()
}

/// What effects may take along.
#[derive(Debug, Default)]
struct Touched {
    /// Links that they are about, and what stands on these.
    links: BTreeSet<String>,
    /// Addresses that they are about: routes may have one as their source.
    addresses: BTreeSet<IpAddr>,
    /// A setting of all links is among them.
    all: bool,
}

impl Touched {
    fn by(order: &Order) -> Self {
        let mut touched = Self::default();
        for inverse in &order.inverses {
            let link = match inverse.object() {
                ObjectName::Link { name } => Some(name),
                ObjectName::Address { link, address } => {
                    touched.addresses.insert(address.address());
                    Some(link)
                }
                ObjectName::Sysctl { name } => of_link(&name),
                _ => None,
            };
            touched.all |= link.as_ref().is_some_and(|link| link == "all" || link == "default");
            touched.links.extend(link);
        }
        touched.links = with_what_stands_on(touched.links, &order.there);
        touched
    }

    fn holds(&self, object: &Object) -> bool {
        self.all
            || match object {
                Object::Link(link) => self.links.contains(&link.name),
                Object::Address(address) => self.links.contains(&address.link),
                Object::Route(route) => self.holds_route(route),
                _ => false,
            }
    }

    fn holds_route(&self, route: &Route) -> bool {
        let on = |dev: &Option<String>| dev.as_ref().is_some_and(|dev| self.links.contains(dev));
        let from = route.src.is_some_and(|src| self.addresses.contains(&src));
        // Most hops do not tell their links.
        let hops = !route.hops.is_empty() && !self.links.is_empty();
        on(&route.dev) || from || hops
    }
}

/// The link that a setting is about.
fn of_link(sysctl: &str) -> Option<String> {
    let rest = sysctl.strip_prefix("net.ipv4.conf.").or_else(|| sysctl.strip_prefix("net.ipv6.conf."))?;
    Some(rest.split('.').next()?.replace('/', "."))
}

/// Links, the other ends of veths among them, and links that stand on any of these.
fn with_what_stands_on(mut links: BTreeSet<String>, there: &[Object]) -> BTreeSet<String> {
    loop {
        let before = links.len();
        for object in there {
            let Object::Link(link) = object else { continue };
            let on = |below: &Option<String>| below.as_ref().is_some_and(|below| links.contains(below));
            if on(&link.parent) || on(&link.peer) {
                links.insert(link.name.clone());
            }
        }
        if links.len() == before {
            return links;
        }
    }
}

/// Brings back what was there; what could not be is said. One thing may need another first, a
/// route its link, so what fails is tried again after the others.
pub(super) fn restore(session: &Session, namespace: &Namespace, order: &Order) -> Stuck {
    let mut open: Vec<&NetworkEffect> = order.inverses.iter().collect();
    let (mut troubles, mut lost) = (Vec::new(), Vec::new());
    // What stands on a link by now goes on standing there: what others did meanwhile is theirs. What the effects
    // did is not.
    let ours: Vec<ObjectName> = order.inverses.iter().map(NetworkEffect::object).collect();
    for inverse in &order.inverses {
        let NetworkEffect::Remove { object: ObjectName::Link { name } } = inverse else { continue };
        if anew(order).any(|link| link.name == *name) {
            troubles.extend(session.made_anew(name, &ours).err().map(|fault| fault.message));
        }
    }
    for _ in 0..ROUNDS {
        troubles.clear();
        open.retain(|inverse| match session.perform(inverse) {
            Ok(told) => {
                lost.extend(told);
                false
            }
            // What is to be removed went with something else, or what it hangs on did.
            Err(fault) if fault.code == "not-found" && matches!(inverse, NetworkEffect::Remove { .. }) => false,
            Err(fault) => {
                troubles.push(fault.message);
                true
            }
        });
        troubles.extend(bring_back(session, namespace, order));
        if troubles.is_empty() {
            break;
        }
    }
    troubles.extend(lost);
    let left = open.iter().map(|inverse| Identity::new(inverse.object().to_string())).collect();
    Stuck { troubles, left }
}

/// Puts again what is gone, and sets again what was made anew.
fn bring_back(session: &Session, namespace: &Namespace, order: &Order) -> Vec<String> {
    let there = &order.there;
    let anew = made_anew(order);
    let names: Vec<_> = there.iter().map(Object::name).collect();
    let mut troubles = Vec::new();
    for (object, now) in there.iter().zip(Network::new(namespace.clone()).look(&names)) {
        let by_itself = match object {
            Object::Address(address) => is_link_local(address.address.address()),
            // Those of the kernel come with their address.
            Object::Route(route) => route.protocol == Some(KERNEL),
            _ => false,
        };
        let done = match (object, now) {
            (object, Ok(None)) if !by_itself => session.revive(object),
            (Object::Link(before), Ok(Some(Object::Link(now)))) => match lost(before, &now, &anew) {
                Some(set) => session.perform(&NetworkEffect::Put { object: Object::Link(set) }).map(drop),
                None => continue,
            },
            _ => continue,
        };
        troubles.extend(done.err().map(|fault| fault.message));
    }
    for inverse in &order.inverses {
        let NetworkEffect::Put { object: Object::Link(link) } = inverse else { continue };
        if link.kind.as_deref() == Some(WIREGUARD) {
            // Without a key: it gets those that are remembered of it.
            let keys =
                Wireguard { link: link.name.clone(), private_key: None, listen_port: None, peers: BTreeMap::new() };
            let put = NetworkEffect::Put { object: Object::Wireguard(keys) };
            troubles.extend(session.perform(&put).err().map(|fault| fault.message));
        }
    }
    troubles
}

/// The links that are made where effects are taken back.
fn anew(order: &Order) -> impl Iterator<Item = &Link> {
    order.inverses.iter().filter_map(NetworkEffect::makes_link)
}

/// These, with what stands on them.
fn made_anew(order: &Order) -> BTreeSet<String> {
    with_what_stands_on(anew(order).map(|link| link.name.clone()).collect(), &order.there)
}

/// What a link lost that was made anew, or whose bridge was: its settings, as they were.
fn lost(before: &Link, now: &Link, anew: &BTreeSet<String>) -> Option<Link> {
    let is_new = anew.contains(&before.name);
    let alone = now.master.as_ref().is_none_or(String::is_empty);
    let bridge = before.master.clone().filter(|bridge| alone && (is_new || anew.contains(bridge)));
    let set = Link {
        name: before.name.clone(),
        mtu: before.mtu.filter(|_| is_new && before.mtu != now.mtu),
        mac: before.mac.clone().filter(|_| is_new && before.mac != now.mac),
        up: before.up.filter(|_| is_new && before.up != now.up),
        master: bridge.filter(|bridge| !bridge.is_empty()),
        ..Link::default()
    };
    (set != Link { name: before.name.clone(), ..Link::default() }).then_some(set)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::super::tests::order;
    use super::*;

    fn link(name: &str, parent: Option<&str>) -> Object {
        Object::Link(Link { name: name.into(), parent: parent.map(Into::into), ..Link::default() })
    }

    fn route(dev: &str, src: Option<&str>) -> Object {
        let route = Route {
            table: 254,
            to: "10.1.0.0/16".parse().unwrap(),
            metric: 0,
            kind: "unicast".into(),
            via: None,
            dev: Some(dev.into()),
            hops: vec![],
            src: src.map(|src| src.parse().unwrap()),
            protocol: None,
        };
        Object::Route(route)
    }

    #[test]
    fn what_effects_may_take_along_hangs_on_what_they_are_about() {
        let touched = |names: &[&str]| {
            let mut order = order("router", "1");
            order.there = vec![link("mv0", Some("vx7")), link("vx7", Some("eth0")), link("eth0", None)];
            let remove = |name: &&str| NetworkEffect::Remove { object: name.parse().unwrap() };
            order.inverses = names.iter().map(remove).collect();
            Touched::by(&order)
        };
        let holds = |names: &[&str], object: Object| touched(names).holds(&object);
        assert!(holds(&["link:vx7"], route("mv0", None)), "it stands on that link");
        assert!(!holds(&["link:vx7"], route("eth0", None)));
        assert!(holds(&["address:lan/10.0.0.1/24"], route("eth0", Some("10.0.0.1"))));
        assert!(!holds(&["address:lan/10.0.0.1/24"], route("eth0", Some("10.0.0.2"))));
        assert!(holds(&["sysctl:net.ipv6.conf.eth0.disable_ipv6"], route("vx7", None)));
        assert!(holds(&["sysctl:net.ipv6.conf.all.disable_ipv6"], route("other", None)));
        assert!(!holds(&["sysctl:net.ipv4.ip_forward", "route:main/10.0.0.0/8"], route("eth0", None)));
    }

    #[test]
    fn what_a_link_that_was_made_anew_lost_is_set_again() {
        let before = Link { name: "v1".into(), mtu: Some(1400), up: Some(true), ..Link::default() };
        let now = Link { mtu: Some(1500), up: Some(true), master: Some(String::new()), ..before.clone() };
        let anew = |name: &str| BTreeSet::from([name.to_owned()]);
        let set = Link { name: "v1".into(), mtu: Some(1400), ..Link::default() };
        assert_eq!(lost(&before, &now, &anew("v1")), Some(set));
        assert_eq!(lost(&before, &now, &anew("br0")), None);
        let port = Link { master: Some("br0".into()), ..now.clone() };
        let set = Link { name: "v1".into(), master: Some("br0".into()), ..Link::default() };
        assert_eq!(lost(&port, &now, &anew("br0")), Some(set));
    }
}
