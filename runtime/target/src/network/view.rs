//! What the kernel shows of its network, in the words of `tidelock_model::network`. Each
//! sort of object is asked for once, when it is first looked for.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteProtocol, RouteType,
    RouteVia,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use tidelock_model::error::Fault;
use tidelock_model::network::{Address, Hop, Link, Object, ObjectName, PROTOCOL, Prefix, Route, Rule};

use super::rtnetlink::Rtnetlink;
use super::{WIREGUARD, fault, wireguard};

/// The mode of a macvlan by its number.
pub(super) const MACVLAN_MODES: [(&str, MacVlanMode); 4] = [
    ("private", MacVlanMode::Private),
    ("vepa", MacVlanMode::Vepa),
    ("bridge", MacVlanMode::Bridge),
    ("passthru", MacVlanMode::Passthrough),
];

/// One look at a namespace.
pub(super) struct View {
    rtnetlink: Rtnetlink,
    links: Option<Vec<(u32, Link)>>,
    addresses: Option<HashMap<ObjectName, Object>>,
    routes: Option<HashMap<ObjectName, Object>>,
    rules: Option<HashMap<ObjectName, Vec<(Object, RuleMessage)>>>,
    /// Routes that were changed since all were asked for.
    stale: HashSet<ObjectName>,
    /// Routes of ours that stand behind others' at the same place.
    behind: HashSet<ObjectName>,
}

/// The kernel's choice of a way.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// The next hop.
    pub(super) via: Option<IpAddr>,
    /// The link.
    pub(super) dev: Option<String>,
    /// The address that packets of our own have.
    pub(super) src: Option<IpAddr>,
    /// Whether it ends here.
    pub(super) local: bool,
}

impl View {
    pub(super) fn new(rtnetlink: Rtnetlink) -> Self {
        let (stale, behind) = (HashSet::new(), HashSet::new());
        Self { rtnetlink, links: None, addresses: None, routes: None, rules: None, stale, behind }
    }

    /// The socket, to change things over.
    pub(super) fn rtnetlink(&mut self) -> &mut Rtnetlink {
        &mut self.rtnetlink
    }

    /// Forgets what a change may have touched: links take addresses and routes with them, and
    /// an address brings a route along.
    pub(super) fn forget(&mut self, changed: &ObjectName) {
        match changed {
            ObjectName::Route { .. } => {
                self.stale.insert(changed.clone());
            }
            ObjectName::Rule { .. } => self.rules = None,
            ObjectName::Address { .. } => (self.addresses, self.routes) = (None, None),
            _ => (self.links, self.addresses, self.routes, self.rules) = (None, None, None, None),
        }
    }

    /// All links, those first that others were made upon.
    pub(super) fn all_links(&mut self) -> Result<Vec<Link>, Fault> {
        Ok(self.links()?.iter().map(|(_, link)| link.clone()).collect())
    }

    /// The names of all links.
    pub(super) fn link_names(&mut self) -> Result<Vec<String>, Fault> {
        Ok(self.links()?.iter().map(|(_, link)| link.name.clone()).collect())
    }

    /// The number of a link.
    pub(super) fn index(&mut self, name: &str) -> Result<u32, Fault> {
        let found = self.links()?.iter().find(|(_, link)| link.name == name).map(|(index, _)| *index);
        found.ok_or_else(|| fault("not-found", format!("there is no link {name}")))
    }

    /// What is there under a name.
    pub(super) fn find(&mut self, name: &ObjectName) -> Result<Option<Object>, Fault> {
        match name {
            ObjectName::Link { name } => {
                let link = self.links()?.iter().find(|(_, link)| link.name == *name);
                Ok(link.map(|(_, link)| Object::Link(link.clone())))
            }
            ObjectName::Address { .. } => Ok(self.addresses()?.get(name).cloned()),
            ObjectName::Route { .. } => {
                if self.stale.contains(name) {
                    self.routes = None;
                }
                Ok(self.routes()?.get(name).cloned())
            }
            ObjectName::Rule { .. } => Ok(self.rule(name)?.map(|(rule, _)| rule)),
            ObjectName::Sysctl { .. } | ObjectName::Table { .. } | ObjectName::Wireguard { .. } => Ok(None),
        }
    }

    /// All routes that can be put again, without the kernel's own in the table `local`.
    pub(super) fn all_routes(&mut self) -> Result<Vec<Route>, Fault> {
        let routes = self.routes()?.values().filter_map(|route| match route {
            Object::Route(route) => Some(route.clone()),
            _ => None,
        });
        Ok(routes.collect())
    }

    /// All addresses.
    pub(super) fn all_addresses(&mut self) -> Result<Vec<Address>, Fault> {
        let addresses = self.addresses()?.values().filter_map(|address| match address {
            Object::Address(address) => Some(address.clone()),
            _ => None,
        });
        Ok(addresses.collect())
    }

    /// The way that packets of this namespace take to an address; `None` where there is none.
    pub(super) fn way(&mut self, to: IpAddr) -> Result<Option<Way>, Fault> {
        let names = self.names()?;
        let mut question = RouteMessage::default();
        (question.header.address_family, question.header.destination_prefix_length) = match to {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        question.attributes.push(RouteAttribute::Destination(to.into()));
        let answer = self.rtnetlink.ask(RouteNetlinkMessage::GetRoute(question))?;
        let Some(RouteNetlinkMessage::NewRoute(message)) = answer else { return Ok(None) };
        let mut way = Way { local: message.header.kind == RouteType::Local, ..Way::default() };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Gateway(address) => way.via = plain(address),
                RouteAttribute::Via(RouteVia::Inet6(address)) => way.via = Some((*address).into()),
                RouteAttribute::PrefSource(address) => way.src = plain(address),
                RouteAttribute::Oif(index) => way.dev = names.get(index).cloned(),
                _ => {}
            }
        }
        Ok(Some(way))
    }

    /// Whether an address is one of this namespace's own.
    pub(super) fn has(&mut self, address: IpAddr) -> Result<bool, Fault> {
        Ok(self.all_addresses()?.iter().any(|own| own.address.address() == address))
    }

    /// A link, those in whose networks these addresses are, and what they all stand on: ports of
    /// bridges, and links beneath.
    pub(super) fn around(
        &mut self,
        dev: Option<&str>,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<BTreeSet<String>, Fault> {
        let mut around: BTreeSet<String> = dev.map(ToOwned::to_owned).into_iter().collect();
        for own in self.all_addresses()? {
            let within = |address: &IpAddr| {
                let host = Prefix::new(*address, if address.is_ipv4() { 32 } else { 128 });
                host.is_ok_and(|host| own.address.network().contains(&host))
            };
            if addresses.iter().any(within) {
                around.insert(own.link);
            }
        }
        loop {
            let before = around.len();
            for (_, link) in self.links()? {
                if link.master.as_ref().is_some_and(|master| around.contains(master)) {
                    around.insert(link.name.clone());
                }
                if around.contains(&link.name) {
                    around.extend(link.parent.clone().into_iter().chain(link.peer.clone()));
                }
            }
            if around.len() == before {
                return Ok(around);
            }
        }
    }

    /// Whether a route of ours stands behind another one of its name: what replaces one replaces the first.
    pub(super) fn is_behind(&mut self, route: &ObjectName) -> Result<bool, Fault> {
        self.routes()?;
        Ok(self.behind.contains(route))
    }

    /// The rule that is meant by a priority, with the kernel's own words: ours, where there are several.
    ///
    /// # Errors
    /// Several stand there, of which none or more than one is ours.
    pub(super) fn rule(&mut self, name: &ObjectName) -> Result<Option<(Object, RuleMessage)>, Fault> {
        let mut rules = self.rules(name)?;
        if rules.len() > 1 {
            rules.retain(|(rule, _)| is_ours(rule));
        }
        match rules.len() {
            0 if self.rules(name)?.is_empty() => Ok(None),
            1 => Ok(rules.pop()),
            _ => Err(fault("invalid", format!("{name}: several rules stand at this priority"))
                .hint("give the resource a priority of its own, or remove the others by hand")),
        }
    }

    /// The rules at a priority, with the kernel's own words for each.
    fn rules(&mut self, name: &ObjectName) -> Result<Vec<(Object, RuleMessage)>, Fault> {
        if self.rules.is_none() {
            let mut rules: HashMap<ObjectName, Vec<(Object, RuleMessage)>> = HashMap::new();
            for family in [AddressFamily::Inet, AddressFamily::Inet6] {
                let mut question = RuleMessage::default();
                question.header.family = family;
                for answer in self.rtnetlink.dump(&RouteNetlinkMessage::GetRule(question))? {
                    if let RouteNetlinkMessage::NewRule(message) = answer {
                        let object = Object::Rule(rule(&message));
                        rules.entry(object.name()).or_default().push((object, message));
                    }
                }
            }
            self.rules = Some(rules);
        }
        Ok(self.rules.as_ref().and_then(|rules| rules.get(name)).cloned().unwrap_or_default())
    }

    fn links(&mut self) -> Result<&[(u32, Link)], Fault> {
        if self.links.is_none() {
            let mut messages = Vec::new();
            for answer in self.rtnetlink.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))? {
                if let RouteNetlinkMessage::NewLink(message) = answer {
                    messages.push(message);
                }
            }
            let names: HashMap<u32, String> =
                messages.iter().map(|message| (message.header.index, link_name(message))).collect();
            let mut links: Vec<(u32, Link)> =
                messages.iter().map(|message| (message.header.index, link(message, &names))).collect();
            links.sort_by_key(|(index, _)| *index);
            self.links = Some(links);
        }
        Ok(self.links.as_deref().unwrap_or_default())
    }

    /// The names of links by their numbers.
    pub(super) fn names(&mut self) -> Result<HashMap<u32, String>, Fault> {
        Ok(self.links()?.iter().map(|(index, link)| (*index, link.name.clone())).collect())
    }

    /// The link of this number, as the kernel tells it.
    pub(super) fn link_message(&mut self, link: u32) -> Result<Option<LinkMessage>, Fault> {
        let mut question = LinkMessage::default();
        question.header.index = link;
        Ok(match self.rtnetlink.ask(RouteNetlinkMessage::GetLink(question))? {
            Some(RouteNetlinkMessage::NewLink(message)) => Some(message),
            _ => None,
        })
    }

    /// The addresses of the link of this number, as the kernel tells them.
    pub(super) fn address_messages(&mut self, link: u32) -> Result<Vec<AddressMessage>, Fault> {
        let mut messages = self.all_address_messages()?;
        messages.retain(|message| message.header.index == link);
        Ok(messages)
    }

    /// Those of all links.
    pub(super) fn all_address_messages(&mut self) -> Result<Vec<AddressMessage>, Fault> {
        let answers = self.rtnetlink.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        let messages = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => Some(message),
            _ => None,
        });
        Ok(messages.collect())
    }

    /// The routes of a family that somebody set, in the kernel's own words, as they can be set again: those
    /// come first that others are reached through.
    pub(super) fn set_routes(&mut self, family: AddressFamily) -> Result<Vec<RouteMessage>, Fault> {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        let answers = self.rtnetlink.dump(&RouteNetlinkMessage::GetRoute(question))?;
        let set = |answer| match answer {
            RouteNetlinkMessage::NewRoute(message) if message.header.protocol != RouteProtocol::Kernel => Some(message),
            _ => None,
        };
        let mut messages: Vec<RouteMessage> = answers.into_iter().filter_map(set).collect();
        for message in &mut messages {
            // How it stands now is the kernel's to say anew.
            message.header.flags &= RouteFlags::Onlink;
            message.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::CacheInfo(_)));
            for attribute in &mut message.attributes {
                if let RouteAttribute::MultiPath(hops) = attribute {
                    hops.iter_mut().for_each(|hop| hop.flags &= RouteNextHopFlags::Onlink);
                }
            }
        }
        messages.sort_by_key(|message| std::cmp::Reverse(u8::from(message.header.scope)));
        Ok(messages)
    }

    fn addresses(&mut self) -> Result<&HashMap<ObjectName, Object>, Fault> {
        if self.addresses.is_none() {
            let names = self.names()?;
            let mut addresses = HashMap::new();
            for answer in self.rtnetlink.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))? {
                if let RouteNetlinkMessage::NewAddress(message) = answer
                    && let Some(address) = address(&message, &names)
                {
                    let object = Object::Address(address);
                    addresses.insert(object.name(), object);
                }
            }
            self.addresses = Some(addresses);
        }
        Ok(self.addresses.get_or_insert_default())
    }

    fn routes(&mut self) -> Result<&HashMap<ObjectName, Object>, Fault> {
        if self.routes.is_none() {
            let names = self.names()?;
            let (mut routes, mut behind) = (HashMap::new(), HashSet::new());
            for family in [AddressFamily::Inet, AddressFamily::Inet6] {
                let mut question = RouteMessage::default();
                question.header.address_family = family;
                for answer in self.rtnetlink.dump(&RouteNetlinkMessage::GetRoute(question))? {
                    if let RouteNetlinkMessage::NewRoute(message) = answer
                        && let Some((name, found)) = route(&message, &names)
                    {
                        match routes.entry(name) {
                            Entry::Vacant(place) => drop(place.insert(found)),
                            // Of several at one place ours is the one that is meant, and else the first, by which
                            // packets go.
                            Entry::Occupied(mut place) if is_ours(&found) && !is_ours(place.get()) => {
                                behind.insert(place.key().clone());
                                place.insert(found);
                            }
                            Entry::Occupied(_) => {}
                        }
                    }
                }
            }
            self.stale.clear();
            self.behind = behind;
            self.routes = Some(routes);
        }
        Ok(self.routes.get_or_insert_default())
    }
}

/// Whether Tidelock made it: a route or rule of its protocol.
fn is_ours(object: &Object) -> bool {
    match object {
        Object::Route(Route { protocol, .. }) => *protocol == Some(PROTOCOL),
        Object::Rule(Rule { protocol, .. }) => *protocol == Some(PROTOCOL),
        _ => false,
    }
}

fn link_name(message: &LinkMessage) -> String {
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    name.unwrap_or_default()
}

fn link(message: &LinkMessage, names: &HashMap<u32, String>) -> Link {
    let mut link = Link {
        name: link_name(message),
        up: Some(message.header.flags.contains(LinkFlags::Up)),
        // Nothing is said of a link that is the port of nothing.
        master: Some(String::new()),
        ..Link::default()
    };
    let mut below = None;
    // A number of another namespace means nothing here.
    let mut abroad = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => link.mtu = Some(*mtu),
            LinkAttribute::Address(bytes) if bytes.len() == 6 => link.mac = Some(mac(bytes)),
            LinkAttribute::Controller(index) => link.master = Some(names.get(index).cloned().unwrap_or_default()),
            LinkAttribute::Link(index) => below = names.get(index).cloned(),
            LinkAttribute::LinkNetNsId(_) => abroad = true,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
                        LinkInfo::Data(data) => data_of(&mut link, data, names),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let below = below.filter(|_| !abroad);
    match link.kind.as_deref() {
        Some("veth") => link.peer = below,
        Some("macvlan") => link.parent = below,
        // The kernel cannot know whose device it is.
        Some("tun") if wireguard::serves(&link.name) => link.kind = Some(WIREGUARD.to_owned()),
        _ => {}
    }
    link
}

fn data_of(link: &mut Link, data: &InfoData, names: &HashMap<u32, String>) {
    match data {
        InfoData::MacVlan(infos) => {
            for info in infos {
                if let InfoMacVlan::Mode(mode) = info {
                    let word = MACVLAN_MODES.iter().find(|(_, known)| known == mode);
                    link.mode = Some(word.map_or("other", |(word, _)| word).to_owned());
                }
            }
        }
        InfoData::Vxlan(infos) => {
            for info in infos {
                match info {
                    InfoVxlan::Id(id) => link.vni = Some(*id),
                    InfoVxlan::Group(address) => link.remote = Some((*address).into()),
                    InfoVxlan::Group6(address) => link.remote = Some((*address).into()),
                    InfoVxlan::Local(address) => link.local = Some((*address).into()),
                    InfoVxlan::Local6(address) => link.local = Some((*address).into()),
                    InfoVxlan::Port(port) => link.port = Some(*port),
                    InfoVxlan::Link(index) => link.parent = names.get(index).cloned(),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// The kind of a link by its word; other words are seen and cannot be asked for.
pub(super) fn kind(word: &str) -> Option<InfoKind> {
    [InfoKind::Veth, InfoKind::Bridge, InfoKind::Vxlan, InfoKind::MacVlan, InfoKind::Wireguard]
        .into_iter()
        .find(|kind| kind.to_string() == word)
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// An address, by the numbers of links.
pub(super) fn address(message: &AddressMessage, names: &HashMap<u32, String>) -> Option<Address> {
    let mut local = None;
    let mut other = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            _ => {}
        }
    }
    // Where both are there, `local` is ours and the other one that of the far end.
    let address = Prefix::new(local.or(other)?, message.header.prefix_len).ok()?;
    Some(Address { link: names.get(&message.header.index)?.clone(), address })
}

/// A route that can be put again, by the numbers of links; `None` for the kernel's own, and for what has no name of ours.
pub(super) fn route(message: &RouteMessage, names: &HashMap<u32, String>) -> Option<(ObjectName, Object)> {
    let header = &message.header;
    if header.tos != 0 {
        return None;
    }
    let all = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let mut to = all;
    let mut route = Route {
        table: header.table.into(),
        to: Prefix::new(all, 0).ok()?,
        metric: 0,
        kind: match header.kind {
            RouteType::Unicast => "unicast".to_owned(),
            RouteType::BlackHole => "blackhole".to_owned(),
            RouteType::Unreachable => "unreachable".to_owned(),
            RouteType::Prohibit => "prohibit".to_owned(),
            // Local, broadcast and multicast routes are the kernel's own.
            _ => return None,
        },
        via: None,
        dev: None,
        hops: vec![],
        src: None,
        protocol: Some(header.protocol.into()),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = plain(address)?,
            RouteAttribute::Gateway(address) => route.via = plain(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => route.via = Some((*address).into()),
            RouteAttribute::Via(RouteVia::Inet6(address)) => route.via = Some((*address).into()),
            RouteAttribute::PrefSource(address) => route.src = plain(address),
            RouteAttribute::Oif(index) => route.dev = names.get(index).cloned(),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::MultiPath(hops) => route.hops = hops.iter().map(|each| hop(each, names)).collect(),
            _ => {}
        }
    }
    if route.kind != "unicast" {
        // The kernel hangs an IPv6 route that leads nowhere on `lo`.
        route.dev = None;
    }
    route.hops.sort();
    route.to = Prefix::new(to, header.destination_prefix_length).ok()?;
    let object = Object::Route(route);
    let name = object.name();
    Some((name, object))
}

fn hop(each: &RouteNextHop, names: &HashMap<u32, String>) -> Hop {
    let via = each.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => plain(address),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    });
    let dev = names.get(&each.interface_index).filter(|_| Hop::names_its_link(via)).cloned();
    Hop { via, dev, weight: u16::from(each.hops) + 1 }
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn rule(message: &RuleMessage) -> Rule {
    let header = &message.header;
    let mut rule = Rule {
        family: if header.family == AddressFamily::Inet6 { 6 } else { 4 },
        priority: 0,
        from: None,
        to: None,
        iif: None,
        oif: None,
        mark: None,
        action: match header.action {
            RuleAction::ToTable => "table",
            RuleAction::Blackhole => "blackhole",
            RuleAction::Unreachable => "unreachable",
            RuleAction::Prohibit => "prohibit",
            _ => "other",
        }
        .to_owned(),
        table: None,
        protocol: None,
    };
    let mut table = u32::from(header.table);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Source(address) => rule.from = Prefix::new(*address, header.src_len).ok(),
            RuleAttribute::Destination(address) => rule.to = Prefix::new(*address, header.dst_len).ok(),
            RuleAttribute::Iifname(name) => rule.iif = Some(name.clone()),
            RuleAttribute::Oifname(name) => rule.oif = Some(name.clone()),
            RuleAttribute::FwMark(mark) => rule.mark = Some(*mark).filter(|mark| *mark != 0),
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Protocol(protocol) => rule.protocol = Some((*protocol).into()),
            _ => {}
        }
    }
    rule.table = (rule.action == "table").then_some(table);
    rule
}
