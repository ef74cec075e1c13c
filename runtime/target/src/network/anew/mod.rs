//! A link that is made anew under its name, since what it was made as cannot be set: the kernel takes all
//! that stands on the old one along. What did is remembered before, and put on the new one, whoever had put
//! it on the old one: nobody's address goes because a link gets another number.
//!
//! Links that stood on the old one (a macvlan of it) go with it, and are made again with what stood on them.
//! What the kernel makes by itself comes by itself: routes of addresses, and addresses that a router told.
//! Entries of bridges and neighbours that somebody set are gone: nothing here makes them.
//!
//! Between the removal and its end it stands in a file too (`note`), for whoever goes on where this
//! process was killed.

mod note;
mod options;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol};
use tidelock_model::error::Fault;
use tidelock_model::network::{Link, Object, ObjectName, Sysctl};

pub(super) use self::note::{Note, Notes};
use super::view::{self, View};
use super::{WIREGUARD, put, sysctl, words};

/// How often a route is tried: one may be reached through another.
const ROUNDS: usize = 2;

/// How many links stand on each other: the kernel allows 8 (`MAX_NEST_DEV`).
const STOREYS: usize = 8;

/// What stood on a link.
#[derive(Debug, PartialEq)]
pub(super) struct Stood {
    link: Link,
    number: u32,
    /// What else it had, as far as it can be set again.
    options: LinkMessage,
    settings: Vec<Sysctl>,
    addresses: Vec<AddressMessage>,
    routes: Vec<RouteMessage>,
    /// Links that stand on it, with what stands on these.
    above: Vec<Stood>,
}

impl Stood {
    /// What stands on a link now, but what is called like `except`; nothing where it is not there.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub(super) fn on(view: &mut View, name: &str, except: &[ObjectName]) -> Result<Option<Self>, Fault> {
        Self::below(view, name, except, STOREYS)
    }

    fn below(view: &mut View, name: &str, except: &[ObjectName], storeys: usize) -> Result<Option<Self>, Fault> {
        let Some(Object::Link(link)) = view.find(&ObjectName::Link { name: name.to_owned() })? else {
            return Ok(None);
        };
        let number = view.index(name)?;
        let mut addresses = view.address_messages(number)?;
        let names = view.names()?;
        let stays = |name: &ObjectName| !except.contains(name);
        let its_own =
            |message: &AddressMessage| view::address(message, &names).map(|found| Object::Address(found).name());
        addresses
            .retain(|message| !comes_by_itself(message, &link) && its_own(message).is_none_or(|name| stays(&name)));
        let mut routes = view.set_routes(AddressFamily::Inet)?;
        routes.extend(view.set_routes(AddressFamily::Inet6)?);
        routes.retain(|route| route.header.protocol != RouteProtocol::Ra && goes_over(route, number));
        routes.retain(|route| view::route(route, &names).is_none_or(|(name, _)| stays(&name)));
        routes.iter_mut().for_each(words::unnumber);
        let mut above = Vec::new();
        for other in view.all_links()? {
            let on_it = other.name != name && other.parent.as_deref() == Some(name);
            if storeys > 0 && on_it && stays(&ObjectName::Link { name: other.name.clone() }) {
                above.extend(Self::below(view, &other.name, except, storeys - 1)?);
            }
        }
        let mut settings = sysctl::of_link(name);
        settings.retain(|setting| stays(&ObjectName::Sysctl { name: setting.name.clone() }));
        let options = view.link_message(number)?.as_ref().map(options::of).unwrap_or_default();
        Ok(Some(Self { options, settings, link, number, addresses, routes, above }))
    }

    /// The link.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// What is to be made of a link: as it is asked for, and as it was where that says nothing.
    pub(super) fn completed(&self, asked: &Link) -> Link {
        let before = &self.link;
        // A bridge has the hardware address of one of its ports, a macvlan may have that of the link beneath,
        // and another type of link perhaps none.
        let shared = |link: &Link| link.kind.as_deref() == Some("bridge") || link.mode.as_deref() == Some("passthru");
        let own_mac = before.kind == asked.kind && !shared(before) && !shared(asked);
        // Another link beneath may have no room for it.
        let alike = before.kind == asked.kind && before.parent == asked.parent;
        Link {
            mtu: asked.mtu.or_else(|| before.mtu.filter(|_| alike)),
            mac: asked.mac.clone().or_else(|| before.mac.clone().filter(|_| own_mac)),
            up: asked.up.or(before.up),
            master: asked.master.clone().or_else(|| before.master.clone()),
            ..asked.clone()
        }
    }

    /// Puts it on the link that was made anew. Gives what could not be put back.
    pub(super) fn put_back(&self, view: &mut View) -> Vec<String> {
        let (mut lost, mut numbers) = (Vec::new(), BTreeMap::new());
        self.put_up(view, &mut numbers, &mut lost);
        // A route may lead over several of the links.
        let mut routes = Vec::new();
        self.collect(&mut routes);
        for route in &mut routes {
            let _ = words::renumber(route, |link| Some(numbers.get(&link).copied().unwrap_or(link)));
        }
        lost.extend(put_routes(view, routes));
        lost
    }

    /// Settings and addresses of the link, then the links above it. `numbers` are those of before with those of now.
    fn put_up(&self, view: &mut View, numbers: &mut BTreeMap<u32, u32>, lost: &mut Vec<String>) {
        for setting in &self.settings {
            if sysctl::read(&setting.name).is_ok_and(|now| now.is_some_and(|now| now.value != setting.value)) {
                lost.extend(sysctl::write(setting).err().map(|fault| fault.message));
            }
        }
        view.forget(&ObjectName::Link { name: self.link.name.clone() });
        let number = match view.index(&self.link.name) {
            Ok(number) => number,
            Err(fault) => return lost.push(fault.message),
        };
        numbers.insert(self.number, number);
        lost.extend(options::put(view, &self.options, &self.link, number));
        for message in &self.addresses {
            lost.extend(words::put_address(view, message.clone(), number).err().map(|fault| fault.message));
        }
        for above in &self.above {
            match above.make(view) {
                Ok(()) => above.put_up(view, numbers, lost),
                Err(why) => lost.push(why),
            }
        }
    }

    /// Makes a link again that stood on another.
    fn make(&self, view: &mut View) -> Result<(), String> {
        let Link { name, kind, .. } = &self.link;
        let kind = kind.as_deref().unwrap_or_default();
        let not_again =
            |why: &str| format!("{name}, a link of the type {kind:?} that stood on it, is not made again: {why}");
        // One whose keys nobody remembers is no tunnel.
        if view::kind(kind).is_none() || kind == WIREGUARD {
            return Err(not_again("links of that type are not made here"));
        }
        let object = Object::Link(self.link.clone());
        view.forget(&object.name());
        let made = match view.find(&object.name()) {
            // Somebody made it meanwhile.
            Ok(Some(_)) => Ok(()),
            Ok(None) => put::put(view, &object, None),
            Err(fault) => Err(fault),
        };
        made.map_err(|fault| not_again(&fault.message))
    }

    /// Its routes, and those of the links above it. One that leads over several is there for each of them, and is
    /// put once: where it is, that is no error.
    fn collect(&self, routes: &mut Vec<RouteMessage>) {
        routes.extend(self.routes.iter().cloned());
        self.above.iter().for_each(|above| above.collect(routes));
    }
}

/// Puts routes of links that are there. Gives which could not be.
fn put_routes(view: &mut View, mut open: Vec<RouteMessage>) -> Option<String> {
    let mut refused = None;
    for _ in 0..ROUNDS {
        refused = None;
        open.retain(|route| match words::put_route(view, route.clone()) {
            Ok(()) => false,
            Err(why) => {
                refused.get_or_insert((why, route.clone()));
                true
            }
        });
    }
    let (why, first) = refused?;
    let name = view.names().ok().and_then(|names| view::route(&first, &names)).map(|(name, _)| name.to_string());
    let first = name.unwrap_or_else(|| "one that has no name here".to_owned());
    let doing = match open.len() {
        1 => format!("put back {first}"),
        number => format!("put back {number} routes, {first} the first of them"),
    };
    Some(why.while_doing(&doing).message)
}

/// Whether the kernel gives a link an address by itself: its own of the link, or one that a router told.
fn comes_by_itself(message: &AddressMessage, link: &Link) -> bool {
    let told =
        message.header.family == AddressFamily::Inet6 && !message.header.flags.contains(AddressHeaderFlags::Permanent);
    let own = link.mac.as_deref().and_then(link_local);
    let of_mac = |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Address(IpAddr::V6(address)) if own == Some(*address));
    told || message.attributes.iter().any(of_mac)
}

/// The address that a link has of its hardware's (RFC 4291, appendix A).
fn link_local(mac: &str) -> Option<Ipv6Addr> {
    let bytes: Option<Vec<u8>> = mac.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    let [a, b, c, d, e, f] = bytes?[..] else { return None };
    let pair = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    Some(Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f)))
}

fn goes_over(route: &RouteMessage, link: u32) -> bool {
    route.attributes.iter().any(|attribute| match attribute {
        RouteAttribute::Oif(index) => *index == link,
        RouteAttribute::MultiPath(hops) => hops.iter().any(|hop| hop.interface_index == link),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_hardware_is_told_from_others() {
        assert_eq!(link_local("02:00:00:00:00:01"), "fe80::ff:fe00:1".parse().ok());
        assert_eq!(link_local("aa:bb:cc:dd:ee:ff"), "fe80::a8bb:ccff:fedd:eeff".parse().ok());
        assert_eq!(link_local("02:00"), None);
    }
}
