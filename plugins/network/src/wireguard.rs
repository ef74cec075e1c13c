//! `network.wireguard`: the key and the peers of a WireGuard interface.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize};
use tidelock_sdk::effect::network::{remove_object, set_wireguard};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::serde_json::{Map, Value, from_value};
use tidelock_sdk::spec::escape;
use tidelock_sdk::sql::Secret;
use tidelock_sdk::{
    Action, Change, Diagnostic, Error, Field, Kind, Machine, Observation, Present, Proposals, SecretProbe, Seen, Step,
    Subject,
};

use crate::kept::{self, Live, Persist};
use crate::link;
use crate::spelling::{bad, prefix};

/// Characters of a key.
const KEY_LENGTH: usize = 44;

/// What a `network.wireguard` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WireguardSpec {
    /// The interface, a link of the type `wireguard`.
    pub(crate) link: String,
    /// Its private key, by the name of a secret: `{ $secret: vpn/key }`.
    private_key: Secret,
    /// A file of the system that holds the same key, such as a `server.file` made of that secret; needed where the
    /// tunnel is kept for the next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) private_key_file: Option<String>,
    /// The UDP port that it listens on. Left out, it is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen_port: Option<u16>,
    /// All of its peers, by public key. Others are removed.
    #[serde(default)]
    pub(crate) peers: BTreeMap<String, PeerSpec>,
    /// The public keys of all peers, so that one that somebody added is seen. Not written by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    exactly: Option<Vec<String>>,
    /// `false`: not kept for the next start of the system, though the target's network is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    persist: Option<Persist>,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerSpec {
    /// A key that both sides know beside their own: `{ $secret: vpn/psk }`, or `none`.
    #[serde(default)]
    preshared_key: Preshared,
    /// A file of the system that holds the same key; needed where the tunnel is kept for the next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preshared_key_file: Option<String>,
    /// Where it is: `192.0.2.1:51820`. WireGuard follows a peer to wherever it is heard from, so
    /// one that moves has none here, or it would be put back each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// What it may send from, and what is sent to it.
    #[serde(default)]
    pub(crate) allowed_ips: Vec<String>,
    /// Seconds after which it is told that we are there; 0 for never.
    #[serde(default)]
    pub(crate) keepalive: u16,
}

impl PeerSpec {
    /// Whether both sides know a key beside their own.
    pub(crate) fn has_preshared_key(&self) -> bool {
        matches!(self.preshared_key, Preshared::Secret(_))
    }
}

/// A preshared key.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
enum Preshared {
    /// By its name.
    Secret(Secret),
    /// By a word.
    Word(Word),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Word {
    /// There is none.
    None,
}

impl<'de> Deserialize<'de> for Preshared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(word) if word == "none" => Ok(Self::Word(Word::None)),
            // What else stands there may be the key itself, and is not said.
            other => from_value(other).map(Self::Secret).map_err(serde::de::Error::custom),
        }
    }
}

impl Default for Preshared {
    fn default() -> Self {
        Self::Word(Word::None)
    }
}

/// What goes to the target.
#[derive(Serialize)]
struct Set<'s> {
    link: &'s str,
    private_key: &'s Secret,
    #[serde(skip_serializing_if = "Option::is_none")]
    listen_port: Option<u16>,
    peers: BTreeMap<&'s String, PeerSpec>,
}

/// `network.wireguard`.
pub struct Wireguard;

impl Kind for Wireguard {
    type Spec = WireguardSpec;
    const NAME: &'static str = "wireguard";
    const DOC: &'static str = "The private key, port and peers of a WireGuard interface, which a `network.link` of the \
        type `wireguard` makes. Keys are secrets, and no plugin sees one. Where the kernel has no WireGuard, \
        wireguard-go serves; its interfaces need names of their own on the whole machine.";

    fn fields() -> Vec<Field> {
        vec![
            Field::new("/link").immutable(),
            Field::new("/private_key").sensitive(),
            Field::new("/private_key_file").how(),
            Field::new("/peers/*/preshared_key").sensitive(),
            Field::new("/peers/*/preshared_key_file").how(),
        ]
    }

    fn identity(spec: &WireguardSpec) -> String {
        identity(&spec.link)
    }

    fn requires(spec: &WireguardSpec) -> Vec<String> {
        let files = spec.peers.values().filter_map(|peer| peer.preshared_key_file.as_ref());
        let files = spec.private_key_file.iter().chain(files).map(|file| format!("path:{file}"));
        [link::identity(&spec.link)].into_iter().chain(files).collect()
    }

    fn check(spec: &WireguardSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        let mut file = |at: String, file: Option<&String>| {
            if let Some(file) = file.filter(|file| !file.starts_with('/')) {
                remarks.push(Diagnostic::error(format!("{file:?} is no absolute path of a file")).at(at));
            }
        };
        file("/private_key_file".to_owned(), spec.private_key_file.as_ref());
        for (key, peer) in &spec.peers {
            file(format!("/peers/{}/preshared_key_file", escape(key)), peer.preshared_key_file.as_ref());
        }
        for (key, peer) in &spec.peers {
            let at = |field: &str| format!("/peers/{}{field}", escape(key));
            if !is_key(key) {
                let why = format!("{key:?} is no public key: 44 characters of base64, as `wg pubkey` prints");
                remarks.push(Diagnostic::error(why).at(at("")));
            }
            if let Some(endpoint) = &peer.endpoint
                && endpoint.parse::<SocketAddr>().is_err()
            {
                let why =
                    format!("{endpoint:?} is no address with a port, such as 192.0.2.1:51820 or [2001:db8::1]:51820");
                remarks.push(Diagnostic::error(why).at(at("/endpoint")));
            }
            for (i, text) in peer.allowed_ips.iter().enumerate() {
                match prefix(text, false) {
                    Err(why) => remarks.push(Diagnostic::error(why).at(at(&format!("/allowed_ips/{i}")))),
                    Ok(prefix) => {
                        if let Some(other) = taken.insert(prefix.clone(), key)
                            && other != key
                        {
                            let why = format!("{prefix} is {other}'s already; WireGuard sends to one peer alone");
                            remarks.push(Diagnostic::error(why).at(at(&format!("/allowed_ips/{i}"))));
                        }
                    }
                }
            }
        }
        remarks
    }

    fn normalise(mut spec: WireguardSpec, machine: &Machine<'_>) -> Result<WireguardSpec, Error> {
        for (key, peer) in &mut spec.peers {
            let at = |field: &str| format!("/peers/{}/{field}", escape(key));
            for text in &mut peer.allowed_ips {
                *text = prefix(text, false).map_err(|why| bad(&at("allowed_ips"), why))?;
            }
            peer.allowed_ips.sort_by_key(|text| order(text));
            peer.allowed_ips.dedup();
            if let Some(endpoint) = &mut peer.endpoint {
                let parsed = endpoint.parse::<SocketAddr>();
                *endpoint = parsed.map_err(|error| bad(&at("endpoint"), error.to_string()))?.to_string();
            }
        }
        spec.exactly = Some(spec.peers.keys().cloned().collect());
        spec.persist = kept::normalise(spec.persist.clone(), machine, |keeper| keeper.wireguard(&spec))?;
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let identities: Vec<String> = subjects.iter().map(|subject| subject.identity.clone()).collect();
        let seen = machine.network().look(&identities)?;
        Ok(subjects.iter().zip(seen).map(|(subject, seen)| observation(subject, seen, machine)).collect())
    }

    fn steps(change: &Change<WireguardSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        match change.action {
            _ if !kept::live_differs(change) => {}
            Action::Delete => propose.add(remove_object(&change.identity))?,
            _ => {
                let WireguardSpec { link, private_key, listen_port, peers, .. } = change.wanted()?;
                let live = |peer: &PeerSpec| PeerSpec { preshared_key_file: None, ..peer.clone() };
                let peers = peers.iter().map(|(key, peer)| (key, live(peer))).collect();
                propose.add(set_wireguard(&Set { link, private_key, listen_port: *listen_port, peers }))?;
            }
        }
        let persist = change.desired.as_ref().and_then(|spec| spec.persist.as_ref());
        kept::steps(change, persist, None, machine, propose)?;
        Ok(Step::Proposed)
    }
}

pub(crate) fn identity(link: &str) -> String {
    format!("wireguard:{link}")
}

fn observation(subject: &Subject, seen: Seen, machine: &Machine<'_>) -> Observation {
    let (mut fields, seen) = match seen {
        Seen::Found { state: Value::Object(fields), seen } => (fields, seen),
        Seen::Found { .. } => return Observation::Failed(Error::plugin(format!("{} is no object", subject.identity))),
        Seen::Absent(seen) => {
            let link = subject.identity.strip_prefix("wireguard:").unwrap_or_default();
            let fields = [("link".to_owned(), Value::from(link))].into_iter().collect();
            return kept::both(subject, Live::Gone(fields, seen), machine);
        }
        Seen::Failed(error) => return Observation::Failed(error),
    };
    let probe = |field: String, material: String| SecretProbe { field, method: "wireguard-key".to_owned(), material };
    let mut probes = vec![probe("/private_key".to_owned(), subject.identity.clone())];
    let mut peers = match fields.shift_remove("peers") {
        Some(Value::Object(peers)) => peers,
        _ => Map::new(),
    };
    for (key, peer) in &mut peers {
        let at = |field: &str| format!("/peers/{}/{field}", escape(key));
        let Some(peer) = peer.as_object_mut() else { continue };
        peer.shift_remove("heard");
        if peer.get("preshared_key").and_then(Value::as_str) == Some("hidden") {
            probes.push(probe(at("preshared_key"), format!("{} {key}", subject.identity)));
        }
    }
    let keys: Vec<Value> = peers.keys().cloned().map(Value::String).collect();
    fields.retain(|field, _| field == "link" || subject.manages(&format!("/{field}")));
    for (field, value) in [("peers", Value::Object(peers)), ("exactly", Value::Array(keys))] {
        if subject.manages(&format!("/{field}")) {
            fields.insert(field.to_owned(), value);
        }
    }
    probes.retain(|probe| subject.manages(&probe.field));
    match kept::both(subject, Live::There(fields, seen), machine) {
        Observation::Present(present) => Observation::Present(Present { probes, ..present }),
        other => other,
    }
}

/// Networks in the order of their bits, as the host has them.
fn order(text: &str) -> Option<(std::net::IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    Some((address.parse().ok()?, length.parse().ok()?))
}

fn is_key(text: &str) -> bool {
    let (most, end) = text.split_at_checked(KEY_LENGTH - 1).unwrap_or((text, ""));
    end == "=" && most.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/'))
}
