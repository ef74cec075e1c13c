//! `network.link`: a network interface, made here or there already.

use serde::{Deserialize, Serialize};
use tidelock_sdk::effect::network::{put_link, remove_object};
use tidelock_sdk::provider::AnyChange;
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::serde_json::{Value, from_str};
use tidelock_sdk::{Action, Change, Diagnostic, Error, Field, Kind, Machine, Observation, Proposals, Step, Subject};

use crate::kept::{self, Persist};
use crate::see;

/// What a `network.link` is to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// Its name, 15 bytes at most.
    pub(crate) name: String,
    /// `veth`, `bridge`, `vxlan`, `macvlan` or `wireguard`: it is made where it is not there. Left out for
    /// a device, or for the other end of a veth.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// The other end of a veth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
    /// The link that a macvlan or vxlan stands on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
    /// Of a macvlan: `bridge` (the default), `private`, `vepa` or `passthru`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    /// Of a vxlan: the network's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vni: Option<u32>,
    /// Of a vxlan: the address of the far end, or a multicast group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<String>,
    /// Of a vxlan: the address to send from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) local: Option<String>,
    /// Of a vxlan: the UDP port; 4789 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
    /// Bytes of the largest packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mtu: Option<u32>,
    /// The hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mac: Option<String>,
    /// Whether it is switched on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) up: Option<bool>,
    /// The bridge that it is a port of; empty for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) master: Option<String>,
    /// `false`: not kept for the next start of the system, though the target's network is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) persist: Option<Persist>,
}

/// A number of a vxlan has 24 bits (RFC 7348).
const MAX_VNI: u32 = (1 << 24) - 1;
/// The smallest packets that IPv4 works with (RFC 791), and the largest that any link of the kernel's takes.
const MIN_MTU: u32 = 68;
const MAX_MTU: u32 = 65_536;
/// Modes of a macvlan.
const MODES: [&str; 4] = ["bridge", "private", "vepa", "passthru"];

/// `network.link`.
pub struct Link;

impl Kind for Link {
    type Spec = LinkSpec;
    const NAME: &'static str = "link";
    const DOC: &'static str = "A network interface. With a `type` it is made, and goes with its resource; without one it \
        is there already, and only what the spec says of it is set.";

    fn fields() -> Vec<Field> {
        ["/name", "/type", "/peer", "/parent", "/mode", "/vni", "/remote", "/local", "/port"]
            .map(|field| Field::new(field).immutable())
            .into()
    }

    fn identity(spec: &LinkSpec) -> String {
        identity(&spec.name)
    }

    fn provides(spec: &LinkSpec) -> Vec<String> {
        // Both ends of a veth are made at once.
        let made = spec.kind.as_ref().and(spec.peer.as_ref());
        made.map(|peer| identity(peer)).into_iter().collect()
    }

    fn requires(spec: &LinkSpec) -> Vec<String> {
        let peer = spec.peer.as_ref().filter(|_| spec.kind.is_none());
        let names = [spec.master.as_ref(), spec.parent.as_ref(), peer];
        names.into_iter().flatten().filter(|name| !name.is_empty()).map(|name| identity(name)).collect()
    }

    fn check(spec: &LinkSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        let mut wrong = |field: &str, why: String| remarks.push(Diagnostic::error(why).at(field));
        let odd = |name: &str| name.len() > 15 || name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
        if spec.name.is_empty() || odd(&spec.name) {
            wrong("/name", format!("{:?} cannot be the name of a link: 1 to 15 bytes", spec.name));
        }
        let only = |field: &str, is_there: bool, kinds: &[&str]| {
            let fits = spec.kind.as_deref().is_some_and(|kind| kinds.contains(&kind));
            (is_there && !fits)
                .then(|| (format!("/{field}"), format!("`{field}` is for {} alone", kinds.join(" and "))))
        };
        match spec.kind.as_deref() {
            None | Some("bridge" | "wireguard") => {}
            Some("veth") if spec.peer.is_none() => wrong("/peer", "a veth needs `peer`, its other end".into()),
            Some("macvlan") if spec.parent.is_none() => wrong("/parent", "a macvlan needs `parent`".into()),
            Some("vxlan") if spec.vni.is_none() => wrong("/vni", "a vxlan needs `vni`".into()),
            Some("veth" | "macvlan" | "vxlan") => {}
            Some(other) => {
                wrong("/type", format!("{other:?} is no type of link: veth, bridge, vxlan, macvlan or wireguard"));
            }
        }
        let fields = [
            only("parent", spec.parent.is_some(), &["macvlan", "vxlan"]),
            only("mode", spec.mode.is_some(), &["macvlan"]),
            only("vni", spec.vni.is_some(), &["vxlan"]),
            only("remote", spec.remote.is_some(), &["vxlan"]),
            only("local", spec.local.is_some(), &["vxlan"]),
            only("port", spec.port.is_some(), &["vxlan"]),
        ];
        for (field, why) in fields.into_iter().flatten() {
            wrong(&field, why);
        }
        // What the kernel would refuse it refuses once the old link is gone.
        for (field, why) in values(spec) {
            wrong(field, why);
        }
        remarks
    }

    fn normalise(mut spec: LinkSpec, machine: &Machine<'_>) -> Result<LinkSpec, Error> {
        spec.mac = spec.mac.map(|mac| mac.to_ascii_lowercase());
        for address in [&mut spec.remote, &mut spec.local].into_iter().flatten() {
            if let Ok(parsed) = address.parse::<std::net::IpAddr>() {
                *address = parsed.to_string();
            }
        }
        spec.persist = kept::normalise(spec.persist.clone(), machine, |keeper| keeper.link(&spec))?;
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        see::objects(subjects, machine, &["name"])
    }

    fn steps(change: &Change<LinkSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        if is_let_go(change, propose) {
            return Ok(Step::Proposed);
        }
        let live = live_steps(change, propose)?;
        if live == Step::Proposed {
            let spec = change.desired.as_ref();
            // A link that was made goes with the file that says which it is.
            let goes = change.identity.strip_prefix("link:").filter(|_| change.action == Action::Delete);
            kept::steps(change, spec.and_then(|spec| spec.persist.as_ref()), goes, machine, propose)?;
        }
        Ok(live)
    }
}

/// Values that no link can have.
fn values(spec: &LinkSpec) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    if let Some(vni) = spec.vni.filter(|vni| *vni > MAX_VNI) {
        wrong.push(("/vni", format!("{vni} is no number of a network: 0 to {MAX_VNI}")));
    }
    if let Some(mtu) = spec.mtu.filter(|mtu| !(MIN_MTU..=MAX_MTU).contains(mtu)) {
        wrong.push(("/mtu", format!("{mtu} is no size of packets: {MIN_MTU} to {MAX_MTU} bytes")));
    }
    if spec.port == Some(0) {
        wrong.push(("/port", "0 is no port; left out it is 4789".to_owned()));
    }
    if spec.mac.is_some() && spec.mode.as_deref() == Some("passthru") {
        wrong.push(("/mac", "a macvlan of the mode `passthru` has the address of the link beneath".to_owned()));
    }
    if let Some(mode) = spec.mode.as_deref().filter(|mode| !MODES.contains(mode)) {
        wrong.push(("/mode", format!("{mode:?} is no mode of a macvlan: {}", MODES.join(", "))));
    }
    if let Some(mac) = spec.mac.as_deref() {
        let bytes: Option<Vec<u8>> =
            mac.split(':').map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2)).collect();
        match bytes.as_deref() {
            Some([first, rest @ ..]) if rest.len() == 5 => {
                if first & 1 == 1 || (*first == 0 && rest.iter().all(|byte| *byte == 0)) {
                    wrong.push(("/mac", format!("{mac} is an address of a group or of nobody, and no link's own")));
                }
            }
            _ => wrong.push(("/mac", format!("{mac:?} is no hardware address, such as 02:00:00:00:00:01"))),
        }
    }
    let ends = [("/remote", &spec.remote), ("/local", &spec.local)];
    let mut parsed = Vec::new();
    for (field, text) in ends {
        let Some(text) = text else { continue };
        match text.parse::<std::net::IpAddr>() {
            Ok(address) if address.is_unspecified() => {
                wrong.push((field, format!("{address} is nobody's address: leave `{}` out", &field[1..])));
            }
            Ok(address) => parsed.push(address),
            Err(_) => wrong.push((field, format!("{text:?} is no address, such as 192.0.2.1"))),
        }
    }
    if let [remote, local] = parsed[..]
        && remote.is_ipv4() != local.is_ipv4()
    {
        wrong.push(("/local", format!("{local} and `remote` {remote} are not of one family")));
    }
    for (field, other) in [("/peer", &spec.peer), ("/parent", &spec.parent), ("/master", &spec.master)] {
        if other.as_ref() == Some(&spec.name) {
            wrong.push((field, format!("{} cannot be its own {}", spec.name, &field[1..])));
        }
    }
    wrong
}

/// Whether a link that left Git stays: its resource gave it no `type`, so it did not make it. The other end of
/// a veth that leaves Git as well does not stay, and goes at once, for it is lost with its veth anyway.
fn is_let_go(change: &Change<LinkSpec>, propose: &Proposals<'_>) -> bool {
    let made = |last: &Value| last.get("type").is_some();
    if change.action != Action::Delete || kept::is_gone(change) || change.last.as_ref().is_some_and(made) {
        return false;
    }
    let makes = |other: &AnyChange| {
        let last = other.last.as_ref().and_then(|last| from_str::<Value>(last).ok()).unwrap_or_default();
        let peer = last.get("peer").and_then(Value::as_str).map(identity);
        other.action == Action::Delete && made(&last) && peer.as_ref() == Some(&change.identity)
    };
    !propose.all_changes().iter().any(makes)
}

/// What is to be done about the link that is there now.
fn live_steps(change: &Change<LinkSpec>, propose: &Proposals<'_>) -> Result<Step, Error> {
    if !kept::live_differs(change) {
        return Ok(Step::Proposed);
    }
    if change.action == Action::Delete {
        propose.add(remove_object(&change.identity))?;
        return Ok(Step::Proposed);
    }
    let spec = change.wanted()?;
    let absent = change.observed.is_none() || kept::is_gone(change);
    if absent && spec.kind.is_none() {
        // The other end of a veth comes with it, which is put before.
        if spec.peer.is_none() {
            let why = format!(
                "there is no link {}; give it a `type` to have it made, or name the other end in `peer` where it is that \
                 of a veth",
                spec.name
            );
            return Ok(Step::Refused(Error::target("not-found", why)));
        }
    }
    if change.action == Action::Replace && !absent {
        propose.add(remove_object(&change.identity))?;
    }
    if absent || change.action == Action::Replace {
        propose.add(put_link(&LinkSpec { persist: None, ..spec.clone() }))?;
        return Ok(Step::Proposed);
    }
    // What a link was made as cannot be set.
    let made = ["/type", "/peer", "/parent", "/mode", "/vni", "/remote", "/local", "/port"];
    let fixed: Vec<String> = made.into_iter().filter(|field| change.differs(field)).map(String::from).collect();
    if !fixed.is_empty() {
        return Ok(Step::NeedsReplace(fixed));
    }
    let set = LinkSpec {
        name: spec.name.clone(),
        mtu: spec.mtu.filter(|_| change.differs("/mtu")),
        mac: spec.mac.clone().filter(|_| change.differs("/mac")),
        up: spec.up.filter(|_| change.differs("/up")),
        master: spec.master.clone().filter(|_| change.differs("/master")),
        ..LinkSpec::default()
    };
    propose.add(put_link(&set))?;
    Ok(Step::Proposed)
}

pub(crate) fn identity(name: &str) -> String {
    format!("link:{name}")
}
