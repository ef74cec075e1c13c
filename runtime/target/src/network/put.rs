//! Changes over netlink: one message for each object, so that the kernel does each as a
//! whole or not at all.

use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoMacVlan, InfoVeth, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use tidelock_model::error::Fault;
use tidelock_model::network::{Address, Hop, Link, Object, ObjectName, PROTOCOL, Prefix, Route, Rule};

use super::rtnetlink::Refused;
use super::view::{self, MACVLAN_MODES, View};
use super::{WIREGUARD, fault, wireguard, words};

/// The port that vxlan has by its standard; the kernel's own default is an older one.
const VXLAN_PORT: u16 = 4789;
/// How often, and with what pause, a route is put again whose address may be new: the kernel looks for
/// another owner of that for a second, and begins within a second (RFC 4861 and RFC 4862).
const TRIES: usize = 30;
const PAUSE: Duration = Duration::from_millis(100);

/// Puts an object; `now` is what is there under its name.
pub(super) fn put(view: &mut View, object: &Object, now: Option<&Object>) -> Result<(), Fault> {
    match object {
        Object::Link(link) => {
            let now = match now {
                Some(Object::Link(now)) => Some(now),
                _ => None,
            };
            put_link(view, link, now)
        }
        Object::Address(address) => put_address(view, address),
        Object::Route(route) => put_route(view, route),
        Object::Rule(rule) => put_rule(view, rule),
        Object::Sysctl(_) | Object::Table(_) | Object::Wireguard(_) => Err(no_netlink()),
    }
}

fn no_netlink() -> Fault {
    fault("invalid", "this is no object of netlink")
}

/// Removes an object; nothing to do where it is not there.
pub(super) fn remove(view: &mut View, name: &ObjectName, now: Option<&Object>) -> Result<(), Fault> {
    let Some(now) = now else { return Ok(()) };
    let doing = format!("remove {name}");
    let beside = match now {
        Object::Address(address) if address.address.address().is_ipv4() => Beside::of(view, address)?,
        _ => Beside::default(),
    };
    let change = match now {
        Object::Link(link) => {
            if link.kind.is_none() {
                return Err(fault("invalid", format!("link {} is a device, which cannot be removed", link.name)));
            }
            let mut message = LinkMessage::default();
            message.header.index = view.index(&link.name)?;
            RouteNetlinkMessage::DelLink(message)
        }
        Object::Address(address) => RouteNetlinkMessage::DelAddress(address_message(view, address)?),
        Object::Route(route) => without(route),
        Object::Rule(_) => {
            let found = view.rule(name)?;
            let (_, message) = found.ok_or_else(|| fault("changed", format!("{name} is gone")).retryable())?;
            RouteNetlinkMessage::DelRule(message)
        }
        Object::Sysctl(_) | Object::Table(_) | Object::Wireguard(_) => return Err(no_netlink()),
    };
    view.rtnetlink().change(change, 0).map_err(|refused| refused.while_doing(&doing))?;
    if let Object::Link(Link { name, kind: Some(kind), .. }) = now
        && kind == WIREGUARD
    {
        wireguard::gone(name);
    }
    if let Object::Address(address) = now {
        keep(view, address, beside)?;
    }
    Ok(())
}

/// What the kernel may take along with an address: where `promote_secondaries` is not set, the later
/// addresses of its network, whoever put them there, and with the last one of a link all routes through it.
#[derive(Default)]
struct Beside {
    /// What the link has.
    addresses: Vec<AddressMessage>,
    /// Routes that somebody set, if any could go.
    routes: Vec<RouteMessage>,
}

impl Beside {
    fn of(view: &mut View, address: &Address) -> Result<Self, Fault> {
        let addresses = ipv4(view, &address.link)?;
        let later = |message: &AddressMessage| message.header.flags.contains(AddressHeaderFlags::Secondary);
        let routes = if addresses.iter().any(later) { view.set_routes(AddressFamily::Inet)? } else { vec![] };
        Ok(Self { addresses, routes })
    }
}

/// Puts back what went with an address and should not have.
fn keep(view: &mut View, removed: &Address, before: Beside) -> Result<(), Fault> {
    let Beside { addresses, routes } = before;
    if addresses.len() < 2 {
        return Ok(());
    }
    let left = ipv4(view, &removed.link)?;
    for message in addresses {
        let is = |other: &AddressMessage| {
            other.header.prefix_len == message.header.prefix_len && local(other) == local(&message)
        };
        let own =
            local(&message) == Some(removed.address.address()) && message.header.prefix_len == removed.address.length();
        if own || left.iter().any(is) {
            continue;
        }
        // Which one is the first the kernel says anew.
        let link = message.header.index;
        words::put_address(view, message, link)?;
    }
    if routes.is_empty() {
        return Ok(());
    }
    let left = view.set_routes(AddressFamily::Inet)?;
    for message in routes.into_iter().filter(|message| !left.contains(message)) {
        let doing = format!("put back a route that went with {}", removed.address);
        match words::put_route(view, message) {
            // One that needs just this address, or whose neighbours were reached through it.
            Err(Refused::Kernel(Errno::INVAL | Errno::NETUNREACH, _)) => {}
            put => put.map_err(|refused| refused.while_doing(&doing))?,
        }
    }
    Ok(())
}

fn ipv4(view: &mut View, link: &str) -> Result<Vec<AddressMessage>, Fault> {
    let number = view.index(link)?;
    let mut messages = view.address_messages(number)?;
    messages.retain(|message| message.header.family == AddressFamily::Inet);
    Ok(messages)
}

fn local(message: &AddressMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    })
}

/// What a link was made as stays: one that is there as another is not taken for the one that is asked for.
fn is_made_as(link: &Link, now: &Link) -> Result<(), Fault> {
    let text = |value: Option<&dyn ToString>| value.map(ToString::to_string);
    let made = |link: &Link| {
        [
            ("type", link.kind.clone()),
            ("peer", link.peer.clone()),
            ("parent", link.parent.clone()),
            ("mode", link.mode.clone()),
            ("vni", text(link.vni.as_ref().map(|v| v as _))),
            ("remote", text(link.remote.as_ref().map(|v| v as _))),
            ("local", text(link.local.as_ref().map(|v| v as _))),
            ("port", text(link.port.as_ref().map(|v| v as _))),
        ]
    };
    for ((field, wanted), (_, is)) in made(link).into_iter().zip(made(now)) {
        let Some(wanted) = wanted.filter(|wanted| is.as_ref() != Some(wanted)) else { continue };
        let (name, is) = (&link.name, is.unwrap_or_else(|| "none".to_owned()));
        let message =
            format!("link {name} is there with {field} {is} and not {wanted}, which it keeps while it is there");
        return Err(fault("exists", message).hint("remove the link; it is made anew then").at(format!("/{field}")));
    }
    Ok(())
}

fn put_link(view: &mut View, link: &Link, now: Option<&Link>) -> Result<(), Fault> {
    now.map_or(Ok(()), |now| is_made_as(link, now))?;
    let is_there = now.is_some();
    let mut message = LinkMessage::default();
    if let Some(up) = link.up {
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Up;
    }
    let bridge_mtu = link.mtu.filter(|_| !is_there && link.kind.as_deref() == Some("bridge"));
    message.attributes.extend(link.mtu.filter(|_| bridge_mtu.is_none()).map(LinkAttribute::Mtu));
    if let Some(mac) = &link.mac {
        message.attributes.push(LinkAttribute::Address(mac_bytes(mac)?));
    }
    match link.master.as_deref() {
        None => {}
        Some("") if !is_there => {}
        Some("") => message.attributes.push(LinkAttribute::Controller(0)),
        Some(master) => message.attributes.push(LinkAttribute::Controller(view.index(master)?)),
    }
    let name = &link.name;
    if is_there {
        message.header.index = view.index(name)?;
        return view
            .rtnetlink()
            .change(RouteNetlinkMessage::SetLink(message), 0)
            .map_err(|refused| refused.while_doing(&format!("set link {name}")));
    }
    let word = link.kind.as_deref().ok_or_else(|| {
        fault("not-found", format!("there is no link {name}"))
            .hint("give it a `type` to have it made: veth, bridge, vxlan, macvlan or wireguard")
    })?;
    let kind = view::kind(word).ok_or_else(|| {
        fault("invalid", format!("links of the type {word:?} are not made: veth, bridge, vxlan, macvlan or wireguard"))
            .at("/type")
    })?;
    let set = message.clone();
    message.attributes.push(LinkAttribute::IfName(name.clone()));
    let mut infos = vec![LinkInfo::Kind(kind)];
    if let Some(parent) = link.parent.as_deref().filter(|_| word == "macvlan") {
        message.attributes.push(LinkAttribute::Link(view.index(parent)?));
    }
    infos.extend(made_of(view, link, word)?.map(LinkInfo::Data));
    message.attributes.push(LinkAttribute::LinkInfo(infos));
    let doing = format!("make the {word} {name}");
    match view.rtnetlink().change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL) {
        Err(Refused::Kernel(Errno::OPNOTSUPP, _)) if word == WIREGUARD => return make_wireguard(view, name, set),
        made => made.map_err(|refused| refused.while_doing(&doing))?,
    }
    bridge_mtu.map_or(Ok(()), |mtu| fix_mtu(view, name, mtu))
}

/// Where the kernel makes no WireGuard interface a program does, and what else the link is to
/// be is set on it.
fn make_wireguard(view: &mut View, name: &str, mut set: LinkMessage) -> Result<(), Fault> {
    wireguard::make(name)?;
    view.forget(&ObjectName::Link { name: name.to_owned() });
    set.header.index = view.index(name)?;
    view.rtnetlink()
        .change(RouteNetlinkMessage::SetLink(set), 0)
        .map_err(|refused| refused.while_doing(&format!("set link {name}")))
}

/// A bridge follows its ports' smallest packet size until one was set on it that differs from
/// what it had, however it was made.
fn fix_mtu(view: &mut View, bridge: &str, mtu: u32) -> Result<(), Fault> {
    let mut message = LinkMessage::default();
    view.forget(&ObjectName::Link { name: bridge.to_owned() });
    message.header.index = view.index(bridge)?;
    for step in [mtu.saturating_sub(1), mtu] {
        message.attributes = vec![LinkAttribute::Mtu(step)];
        view.rtnetlink()
            .change(RouteNetlinkMessage::SetLink(message.clone()), 0)
            .map_err(|refused| refused.while_doing(&format!("set the mtu of {bridge} to {mtu}")))?;
    }
    Ok(())
}

/// What a link is made as, and stays.
fn made_of(view: &mut View, link: &Link, kind: &str) -> Result<Option<InfoData>, Fault> {
    let needs = |what: &str| fault("invalid", format!("a {kind} needs `{what}`")).at(format!("/{what}"));
    Ok(match kind {
        "veth" => {
            let mut peer = LinkMessage::default();
            peer.attributes.push(LinkAttribute::IfName(link.peer.clone().ok_or_else(|| needs("peer"))?));
            Some(InfoData::Veth(InfoVeth::Peer(peer)))
        }
        "macvlan" => {
            link.parent.as_ref().ok_or_else(|| needs("parent"))?;
            let word = link.mode.as_deref().unwrap_or("bridge");
            let mode = MACVLAN_MODES.into_iter().find(|(known, _)| *known == word).map(|(_, mode)| mode);
            let odd = || fault("invalid", format!("a macvlan has no mode {word:?}")).at("/mode");
            Some(InfoData::MacVlan(vec![InfoMacVlan::Mode(mode.ok_or_else(odd)?)]))
        }
        "vxlan" => {
            let mut infos = vec![InfoVxlan::Id(link.vni.ok_or_else(|| needs("vni"))?)];
            infos.push(InfoVxlan::Port(link.port.unwrap_or(VXLAN_PORT)));
            infos.extend(link.remote.map(|address| match address {
                IpAddr::V4(address) => InfoVxlan::Group(address),
                IpAddr::V6(address) => InfoVxlan::Group6(address),
            }));
            infos.extend(link.local.map(|address| match address {
                IpAddr::V4(address) => InfoVxlan::Local(address),
                IpAddr::V6(address) => InfoVxlan::Local6(address),
            }));
            if let Some(parent) = &link.parent {
                infos.push(InfoVxlan::Link(view.index(parent)?));
            }
            Some(InfoData::Vxlan(infos))
        }
        _ => None,
    })
}

fn mac_bytes(text: &str) -> Result<Vec<u8>, Fault> {
    let parts: Option<Vec<u8>> =
        text.split(':').map(|part| (part.len() == 2).then(|| u8::from_str_radix(part, 16).ok()).flatten()).collect();
    parts.filter(|bytes| bytes.len() == 6).ok_or_else(|| {
        fault("invalid", format!("{text:?} is no hardware address, such as 02:00:00:00:00:01")).at("/mac")
    })
}

fn address_message(view: &mut View, address: &Address) -> Result<AddressMessage, Fault> {
    let mut message = AddressMessage::default();
    message.header.family = family(address.address.address());
    message.header.prefix_len = address.address.length();
    message.header.index = view.index(&address.link)?;
    message.attributes.push(AddressAttribute::Local(address.address.address()));
    message.attributes.push(AddressAttribute::Address(address.address.address()));
    Ok(message)
}

fn put_address(view: &mut View, address: &Address) -> Result<(), Fault> {
    let doing = format!("put address {} on {}", address.address, address.link);
    let message = address_message(view, address)?;
    view.rtnetlink()
        .change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
        .map_err(|refused| refused.while_doing(&doing))
}

fn put_route(view: &mut View, route: &Route) -> Result<(), Fault> {
    let name = Object::Route(route.clone()).name();
    let mut message = RouteMessage::default();
    destination(&mut message, route.to);
    table(&mut message, route.table);
    // One that is brought back is whose it was.
    message.header.protocol = RouteProtocol::from(route.protocol.unwrap_or(PROTOCOL));
    message.header.kind = match route.kind.as_str() {
        "unicast" => RouteType::Unicast,
        "blackhole" => RouteType::BlackHole,
        "unreachable" => RouteType::Unreachable,
        "prohibit" => RouteType::Prohibit,
        other => return Err(fault("invalid", format!("there is no type of route {other:?}")).at("/type")),
    };
    let direct = route.via.is_none() && route.dev.is_some() && route.hops.is_empty();
    message.header.scope = if direct && route.to.address().is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
    match route.via {
        Some(via) if via.is_ipv4() == route.to.address().is_ipv4() => {
            message.attributes.push(RouteAttribute::Gateway(via.into()));
        }
        Some(IpAddr::V6(via)) => message.attributes.push(RouteAttribute::Via(RouteVia::Inet6(via))),
        Some(IpAddr::V4(_)) => {
            return Err(fault("invalid", format!("{name}: an IPv6 route has no IPv4 next hop")).at("/via"));
        }
        None => {}
    }
    if let Some(dev) = &route.dev {
        message.attributes.push(RouteAttribute::Oif(view.index(dev)?));
    }
    if !route.hops.is_empty() {
        let hops: Result<Vec<_>, _> = route.hops.iter().map(|each| hop(view, &name, each)).collect();
        message.attributes.push(RouteAttribute::MultiPath(hops?));
    }
    message.attributes.extend(route.src.map(|src| RouteAttribute::PrefSource(src.into())));
    if route.metric != 0 {
        message.attributes.push(RouteAttribute::Priority(route.metric));
    }
    let change = RouteNetlinkMessage::NewRoute(message);
    if route.protocol.is_none_or(|protocol| protocol == PROTOCOL) && view.is_behind(&name)? {
        // What replaces would replace the one before it, which is not ours.
        let doing = format!("put {name} behind the one that somebody else put there");
        let said = |refused: Refused| refused.while_doing(&doing);
        view.rtnetlink().change(without(route), 0).map_err(said)?;
        return view.rtnetlink().change(change, NLM_F_CREATE | NLM_F_APPEND).map_err(said);
    }
    let mut put = view.rtnetlink().change(change.clone(), NLM_F_CREATE | NLM_F_REPLACE);
    for _ in 0..TRIES {
        let refused = matches!(put, Err(Refused::Kernel(Errno::INVAL | Errno::HOSTUNREACH | Errno::NETUNREACH, _)));
        if !refused || !may_settle(view, route)? {
            break;
        }
        std::thread::sleep(PAUSE);
        put = view.rtnetlink().change(change.clone(), NLM_F_CREATE | NLM_F_REPLACE);
    }
    put.map_err(|refused| refused.while_doing(&format!("put {name}")))
}

/// What removes a route of ours, and none of others' at its place.
fn without(route: &Route) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    destination(&mut message, route.to);
    table(&mut message, route.table);
    message.header.protocol = RouteProtocol::from(PROTOCOL);
    message.header.scope = RouteScope::NoWhere;
    if route.metric != 0 {
        message.attributes.push(RouteAttribute::Priority(route.metric));
    }
    RouteNetlinkMessage::DelRoute(message)
}

/// Whether what an IPv6 route needs is there and may be too new: an address can be no source before the kernel
/// has found that nobody else has it, and leads nowhere before its link has found its carrier.
fn may_settle(view: &mut View, route: &Route) -> Result<bool, Fault> {
    let (src, via) = (route.src.filter(IpAddr::is_ipv6), route.via.filter(IpAddr::is_ipv6));
    let reaches =
        |own: &Address, via: IpAddr| Prefix::new(via, 128).is_ok_and(|via| own.address.network().contains(&via));
    let own = view.all_addresses()?;
    Ok(own.iter().any(|own| src == Some(own.address.address()) || via.is_some_and(|via| reaches(own, via))))
}

fn hop(view: &mut View, name: &ObjectName, each: &Hop) -> Result<RouteNextHop, Fault> {
    let Hop { via, dev, weight } = each;
    let shares = weight.checked_sub(1).and_then(|more| u8::try_from(more).ok());
    let mut hop = RouteNextHop::default();
    hop.hops = shares.ok_or_else(|| fault("invalid", format!("{name}: a weight is 1 to 256")).at("/hops"))?;
    if let Some(dev) = dev {
        hop.interface_index = view.index(dev)?;
    }
    hop.attributes.extend(via.map(|via| RouteAttribute::Gateway(via.into())));
    Ok(hop)
}

fn put_rule(view: &mut View, rule: &Rule) -> Result<(), Fault> {
    let name = Object::Rule(rule.clone()).name();
    let old = view.rule(&name)?;
    let mut message = RuleMessage::default();
    message.header.family = if rule.family == 6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.action = match rule.action.as_str() {
        "table" => RuleAction::ToTable,
        "blackhole" => RuleAction::Blackhole,
        "unreachable" => RuleAction::Unreachable,
        "prohibit" => RuleAction::Prohibit,
        other => return Err(fault("invalid", format!("there is no action of a rule {other:?}")).at("/action")),
    };
    if let Some(number) = rule.table {
        message.header.table = u8::try_from(number).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
        message.attributes.push(RuleAttribute::Table(number));
    }
    message.attributes.push(RuleAttribute::Priority(rule.priority));
    message.attributes.push(RuleAttribute::Protocol(RouteProtocol::from(rule.protocol.unwrap_or(PROTOCOL))));
    if let Some(from) = rule.from {
        message.header.src_len = from.length();
        message.attributes.push(RuleAttribute::Source(from.address()));
    }
    if let Some(to) = rule.to {
        message.header.dst_len = to.length();
        message.attributes.push(RuleAttribute::Destination(to.address()));
    }
    message.attributes.extend(rule.iif.clone().map(RuleAttribute::Iifname));
    message.attributes.extend(rule.oif.clone().map(RuleAttribute::Oifname));
    message.attributes.extend(rule.mark.map(RuleAttribute::FwMark));
    let doing = format!("put {name}");
    // The new one first: between the two there is no moment without either.
    let add = |view: &mut View| {
        view.rtnetlink().change(RouteNetlinkMessage::NewRule(message.clone()), NLM_F_CREATE | NLM_F_EXCL)
    };
    let made = match add(view) {
        // One that says the same, and that somebody else made: it is made anew as ours.
        Err(Refused::Kernel(Errno::EXIST, _)) => false,
        made => made.map(|()| true).map_err(|refused| refused.while_doing(&doing))?,
    };
    if let Some((_, old)) = old {
        view.rtnetlink().change(RouteNetlinkMessage::DelRule(old), 0).map_err(|refused| refused.while_doing(&doing))?;
    }
    if made { Ok(()) } else { add(view).map_err(|refused| refused.while_doing(&doing)) }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn destination(message: &mut RouteMessage, to: Prefix) {
    message.header.address_family = family(to.address());
    message.header.destination_prefix_length = to.length();
    if to.length() > 0 {
        message.attributes.push(RouteAttribute::Destination(to.address().into()));
    }
}

fn table(message: &mut RouteMessage, number: u32) {
    // The header has one byte; the attribute says it whole.
    message.header.table = u8::try_from(number).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.attributes.push(RouteAttribute::Table(number));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_was_made_as_another_is_no_link_to_set() {
        let now = Link {
            name: "vx7".into(),
            kind: Some("vxlan".into()),
            vni: Some(7),
            port: Some(4789),
            mtu: Some(1450),
            ..Link::default()
        };
        let asked = |change: &dyn Fn(&mut Link)| {
            let mut link = Link { mtu: Some(1400), ..now.clone() };
            change(&mut link);
            is_made_as(&link, &now)
        };
        // What is not asked for, and what can be set, is no other link.
        asked(&|link| (link.kind, link.port) = (None, None)).unwrap();
        let fault = asked(&|link| link.vni = Some(8)).unwrap_err();
        assert_eq!((fault.code.as_str(), fault.field.as_deref()), ("exists", Some("/vni")));
        assert!(fault.message.contains("with vni 7 and not 8"), "{fault}");
        let fault = asked(&|link| link.remote = Some([10, 0, 0, 9].into())).unwrap_err();
        assert!(fault.message.contains("with remote none and not 10.0.0.9"), "{fault}");
        assert!(asked(&|link| link.kind = Some("bridge".into())).is_err());
    }
}
