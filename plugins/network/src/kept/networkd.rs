//! Files of systemd-networkd. Each link has one file that says which it is, the same whoever
//! writes it, and each resource a file of its own beside it, so that nothing is shared that says
//! anything.
//!
//! Their names begin with `90-`: of the files that mean a link the first one counts, so that
//! none of ours takes a link from a file of the operator's, and with it the way to the machine.

use std::fmt::Write as _;

use super::{Files, Unkept, header, key_files, links_of, plain_link, plain_word, stem};
use crate::route::Hop;
use crate::spelling::MAIN;
use crate::{AddressSpec, LinkSpec, RouteSpec, RuleSpec, WireguardSpec};

const FOLDER: &str = "/etc/systemd/network/90-tidelock-";
/// What needs no link is kept with this one, which is always there.
const LO: &str = "lo";
/// The routing protocol that marks routes as Tidelock's.
const OURS: u8 = 201;

/// Whether a file says which link is meant, and nothing else.
pub(super) fn is_shared(path: &str) -> bool {
    path.starts_with(FOLDER) && path.ends_with(".network")
}

/// Whether a file says that this link is meant.
pub(super) fn means(path: &str, link: &str) -> bool {
    path.strip_prefix(FOLDER).and_then(|rest| rest.strip_suffix(".network")) == Some(link)
}

/// The file of a link, and a further one beside it.
fn beside(link: &str, name: &str, text: String) -> Files {
    let path = format!("{FOLDER}{link}.network");
    let own = format!("{path}.d/{name}.conf");
    // Also where no cable is plugged in: so it is as it was set.
    let main = format!("{}[Match]\nName={link}\n\n[Network]\nConfigureWithoutCarrier=yes\n", header("The link"));
    Files::from([(path, main), (own, text)])
}

/// A section of a file, line by line.
struct Section(String);

impl Section {
    fn new(identity: &str, name: &str) -> Self {
        Self(format!("{}[{name}]\n", header(identity)))
    }

    fn section(&mut self, name: &str) {
        let _ = write!(self.0, "\n[{name}]\n");
    }

    fn line(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            let _ = writeln!(self.0, "{key}={}", value.to_string());
        }
    }
}

pub(super) fn link(spec: &LinkSpec) -> Result<Files, Unkept> {
    let name = plain_link("/name", &spec.name)?;
    plain_word("/mac", spec.mac.as_ref())?;
    plain_word("/remote", spec.remote.as_ref())?;
    plain_word("/local", spec.local.as_ref())?;
    let identity = crate::link::identity(name);
    let mut own = Section::new(&identity, "Link");
    own.line("MTUBytes", spec.mtu);
    own.line("MACAddress", spec.mac.as_ref());
    own.line("ActivationPolicy", spec.up.map(|up| if up { "up" } else { "down" }));
    // The start of the system waits for no link that has no cable.
    own.line("RequiredForOnline", spec.kind.as_ref().map(|_| "no"));
    if let Some(master) = spec.master.as_deref().filter(|master| !master.is_empty()) {
        own.section("Network");
        own.line("Bridge", Some(plain_link("/master", master)?));
    }
    let mut files = beside(name, "link", own.0);
    // networkd makes a tunnel from a file with its key alone, which is another resource's.
    let Some(kind) = spec.kind.as_deref().filter(|kind| *kind != "wireguard") else { return Ok(files) };
    let mut netdev = Section::new(&identity, "NetDev");
    netdev.line("Name", Some(name));
    netdev.line("Kind", Some(kind));
    netdev.line("MACAddress", spec.mac.as_ref());
    let parent = spec.parent.as_deref().map(|parent| plain_link("/parent", parent)).transpose()?;
    match kind {
        "veth" => {
            netdev.section("Peer");
            netdev.line("Name", spec.peer.as_deref().map(|peer| plain_link("/peer", peer)).transpose()?);
        }
        "vxlan" => {
            netdev.section("VXLAN");
            netdev.line("VNI", spec.vni);
            netdev.line("Remote", spec.remote.as_ref());
            netdev.line("Local", spec.local.as_ref());
            netdev.line("DestinationPort", Some(spec.port.unwrap_or(4789)));
            netdev.line("Independent", parent.is_none().then_some("yes"));
        }
        "macvlan" => {
            netdev.section("MACVLAN");
            netdev.line("Mode", Some(spec.mode.as_deref().unwrap_or("bridge")));
        }
        _ => {}
    }
    if let Some(parent) = parent {
        let mut on = Section::new(&identity, "Network");
        on.line(if kind == "vxlan" { "VXLAN" } else { "MACVLAN" }, Some(name));
        files.extend(beside(parent, &format!("with-{name}"), on.0));
    }
    files.insert(format!("{FOLDER}{name}.netdev"), netdev.0);
    Ok(files)
}

pub(super) fn address(spec: &AddressSpec) -> Result<Files, Unkept> {
    let link = plain_link("/link", &spec.link)?;
    let identity = format!("address:{link}/{}", spec.address);
    let mut own = Section::new(&identity, "Address");
    own.line("Address", Some(&spec.address));
    // As it is set: the kernel needs none.
    own.line("Broadcast", (!spec.address.contains(':')).then_some("no"));
    Ok(beside(link, &format!("address-{}", spec.address.replace('/', "-")), own.0))
}

pub(super) fn route(identity: &str, spec: &RouteSpec) -> Result<Files, Unkept> {
    let kind = spec.kind.as_deref().unwrap_or("unicast");
    let hops = spec.linked_hops();
    let link = match (&spec.dev, links_of(&hops)?.first()) {
        (Some(dev), _) => plain_link("/dev", dev)?,
        // networkd waits for the others.
        (None, Some(first)) => first,
        (None, None) if kind != "unicast" => LO,
        (None, None) => {
            let why = "a route is kept with its link, so name it: `dev`".to_owned();
            return Err(Unkept { field: "/dev", why });
        }
    };
    let mut own = Section::new(identity, "Route");
    own.line("Destination", Some(&spec.to));
    own.line("Gateway", spec.via.as_ref());
    for Hop { via, dev, weight } in &hops {
        let place = via.iter().zip(dev).map(|(via, dev)| format!("{via}@{dev} {weight}")).next();
        own.line("MultiPathRoute", place);
    }
    own.line("Type", Some(kind).filter(|kind| *kind != "unicast"));
    own.line("Table", spec.table.map(|table| table.0).filter(|table| *table != MAIN));
    own.line("Metric", spec.metric.filter(|metric| *metric != 0));
    own.line("PreferredSource", spec.src.as_ref());
    own.line("Protocol", Some(OURS));
    Ok(beside(link, &stem(identity), own.0))
}

pub(super) fn wireguard(spec: &WireguardSpec) -> Result<Files, Unkept> {
    let link = plain_link("/link", &spec.link)?;
    let (own_key, shared) = key_files(spec)?;
    let mut netdev = Section::new(&crate::wireguard::identity(link), "NetDev");
    netdev.line("Name", Some(link));
    netdev.line("Kind", Some("wireguard"));
    netdev.section("WireGuard");
    netdev.line("PrivateKeyFile", Some(own_key));
    netdev.line("ListenPort", spec.listen_port);
    for (key, peer) in &spec.peers {
        netdev.section("WireGuardPeer");
        netdev.line("PublicKey", Some(key));
        netdev.line("PresharedKeyFile", shared.get(key.as_str()));
        netdev.line("Endpoint", peer.endpoint.as_ref());
        netdev.line("AllowedIPs", Some(peer.allowed_ips.join(",")).filter(|all| !all.is_empty()));
        netdev.line("PersistentKeepalive", Some(peer.keepalive).filter(|seconds| *seconds != 0));
    }
    Ok(Files::from([(format!("{FOLDER}{link}.netdev"), netdev.0)]))
}

pub(super) fn rule(spec: &RuleSpec) -> Result<Files, Unkept> {
    plain_word("/iif", spec.iif.as_ref())?;
    plain_word("/oif", spec.oif.as_ref())?;
    let identity = format!("rule:{}/{}", spec.family, spec.priority);
    let mut own = Section::new(&identity, "RoutingPolicyRule");
    own.line("Family", Some(if spec.family == 6 { "ipv6" } else { "ipv4" }));
    own.line("Priority", Some(spec.priority));
    own.line("From", spec.from.as_ref());
    own.line("To", spec.to.as_ref());
    own.line("IncomingInterface", spec.iif.as_ref());
    own.line("OutgoingInterface", spec.oif.as_ref());
    own.line("FirewallMark", spec.mark);
    own.line("Table", spec.table.map(|table| table.0));
    own.line("Type", spec.action.as_deref().filter(|action| *action != "table"));
    Ok(beside(LO, &stem(&identity), own.0))
}
