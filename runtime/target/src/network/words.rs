//! Addresses and routes in the kernel's own words, to be put again as they were, on whatever number their
//! links have by then. Ours would lose what they cannot say: sizes of packets, lifetimes, labels, ways of
//! encapsulation.

use std::collections::HashMap;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use tidelock_model::error::Fault;
use tidelock_model::network::{Object, ObjectName};

use super::fault;
use super::rtnetlink::Refused;
use super::view::{self, View};

/// What was there of a namespace, by name: addresses, and those routes of which our own words would not
/// tell all.
pub(super) struct Words {
    names: HashMap<u32, String>,
    addresses: HashMap<ObjectName, AddressMessage>,
    routes: HashMap<ObjectName, RouteMessage>,
}

impl Words {
    /// What is there now.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub(super) fn of(view: &mut View) -> Result<Self, Fault> {
        let names = view.names()?;
        let mut addresses = HashMap::new();
        for message in view.all_address_messages()? {
            let named = view::address(&message, &names).map(Object::Address);
            addresses.extend(named.map(|address| (address.name(), message)));
        }
        let mut routes = HashMap::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            for mut message in view.set_routes(family)?.into_iter().filter(says_more) {
                let Some((name, _)) = view::route(&message, &names) else { continue };
                unnumber(&mut message);
                routes.insert(name, message);
            }
        }
        Ok(Self { names, addresses, routes })
    }

    /// Gives a route that was put again in our own words the rest of what it said.
    pub(super) fn complete(&self, view: &mut View, name: &ObjectName) -> Result<(), Fault> {
        let Some(message) = self.routes.get(name) else { return Ok(()) };
        let mut message = message.clone();
        let number = |link: u32| view.index(self.names.get(&link)?).ok();
        if !renumber(&mut message, number) {
            return Ok(());
        }
        let put = view.rtnetlink().change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE);
        put.map_err(|refused| refused.while_doing(&format!("put back {name}")))
    }

    /// Puts what was there under a name; `None` where our own words tell all of it.
    pub(super) fn put(&self, view: &mut View, name: &ObjectName) -> Option<Result<(), Fault>> {
        if let (ObjectName::Address { link, .. }, Some(message)) = (name, self.addresses.get(name)) {
            return Some(view.index(link).and_then(|link| put_address(view, message.clone(), link)));
        }
        let mut message = self.routes.get(name)?.clone();
        let number = |link: u32| view.index(self.names.get(&link)?).ok();
        if !renumber(&mut message, number) {
            return Some(Err(fault("not-found", format!("{name}: a link that it leads over is not there"))));
        }
        Some(put_route(view, message).map_err(|refused| refused.while_doing(&format!("put back {name}"))))
    }
}

/// Whether a route has something that [`tidelock_model::network::Route`] does not tell.
fn says_more(message: &RouteMessage) -> bool {
    let told = |attribute: &RouteAttribute| {
        matches!(
            attribute,
            RouteAttribute::Destination(_)
                | RouteAttribute::Gateway(_)
                | RouteAttribute::Via(_)
                | RouteAttribute::PrefSource(_)
                | RouteAttribute::Oif(_)
                | RouteAttribute::Priority(_)
                | RouteAttribute::Table(_)
                | RouteAttribute::MultiPath(_)
                // Every route of IPv6 has one.
                | RouteAttribute::Preference(_)
        )
    };
    !message.header.flags.is_empty() || !message.attributes.iter().all(told)
}

/// A numbered hop goes with its link; where it led is told beside its number.
pub(super) fn unnumber(route: &mut RouteMessage) {
    route.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::NhId(_)));
}

/// Gives a route the numbers that its links have by now. Says whether all of them have one.
pub(super) fn renumber(route: &mut RouteMessage, mut now: impl FnMut(u32) -> Option<u32>) -> bool {
    let mut all = true;
    let mut renumber = |index: &mut u32| match now(*index) {
        Some(now) => *index = now,
        None => all = false,
    };
    for attribute in &mut route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => renumber(index),
            RouteAttribute::MultiPath(hops) => hops.iter_mut().for_each(|hop| renumber(&mut hop.interface_index)),
            _ => {}
        }
    }
    all
}

/// Puts a route, where none of its place is there: one with other hops may have stayed.
///
/// # Errors
/// The kernel refuses.
pub(super) fn put_route(view: &mut View, message: RouteMessage) -> Result<(), Refused> {
    match view.rtnetlink().change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL) {
        Err(Refused::Kernel(Errno::EXIST, _)) => Ok(()),
        put => put,
    }
}

/// Puts an address on the link of a number.
///
/// # Errors
/// The kernel refuses.
pub(super) fn put_address(view: &mut View, mut message: AddressMessage, link: u32) -> Result<(), Fault> {
    message.header.index = link;
    let kept = AddressFlags::Noprefixroute | AddressFlags::Managetempaddr;
    // It was found to be nobody else's when it was given; IPv6 routes may have it as their source at once.
    let known = match message.header.family {
        AddressFamily::Inet6 => AddressFlags::Nodad,
        _ => AddressFlags::empty(),
    };
    message.header.flags = AddressHeaderFlags::empty();
    for attribute in &mut message.attributes {
        if let AddressAttribute::Flags(flags) = attribute {
            *flags = (*flags & kept) | known;
        }
    }
    let put = view.rtnetlink().change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE);
    put.map_err(|refused| refused.while_doing("put back an address"))
}
