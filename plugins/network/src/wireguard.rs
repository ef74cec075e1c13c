//! `network.wireguard`: the key and the peers of a WireGuard interface.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tidelock_sdk::effect::network::{remove_object, set_wireguard};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::serde_json::{Map, Value};
use tidelock_sdk::spec::escape;
use tidelock_sdk::sql::Secret;
use tidelock_sdk::{
    Action, Change, Diagnostic, Error, Field, Kind, Machine, Observation, Present, Proposals, Readiness, SecretProbe,
    Seen, Step, Subject,
};

use crate::link;
use crate::spelling::{bad, prefix};

/// Characters of a key.
const KEY_LENGTH: usize = 44;

/// What a `network.wireguard` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WireguardSpec {
    /// The interface, a link of the type `wireguard`.
    link: String,
    /// Its private key, by the name of a secret: `{ $secret: vpn/key }`.
    private_key: Secret,
    /// The UDP port that it listens on. Left out, it is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    listen_port: Option<u16>,
    /// All of its peers, by public key. Others are removed.
    #[serde(default)]
    peers: BTreeMap<String, PeerSpec>,
    /// The public keys of all peers, so that one that somebody added is seen. Not written by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    exactly: Option<Vec<String>>,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerSpec {
    /// A key that both sides know beside their own: `{ $secret: vpn/psk }`, or `none`.
    #[serde(default)]
    preshared_key: Preshared,
    /// Where it is: `192.0.2.1:51820`. WireGuard follows a peer to wherever it is heard from, so
    /// one that moves has none here, or it would be put back each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// What it may send from, and what is sent to it.
    #[serde(default)]
    allowed_ips: Vec<String>,
    /// Seconds after which it is told that we are there; 0 for never.
    #[serde(default)]
    keepalive: u16,
}

/// A preshared key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    peers: &'s BTreeMap<String, PeerSpec>,
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
            Field::new("/peers/*/preshared_key").sensitive(),
        ]
    }

    fn identity(spec: &WireguardSpec) -> String {
        identity(&spec.link)
    }

    fn requires(spec: &WireguardSpec) -> Vec<String> {
        vec![link::identity(&spec.link)]
    }

    fn check(spec: &WireguardSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
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

    fn normalise(mut spec: WireguardSpec, _machine: &Machine<'_>) -> Result<WireguardSpec, Error> {
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
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let identities: Vec<String> = subjects.iter().map(|subject| subject.identity.clone()).collect();
        let seen = machine.network().look(&identities)?;
        Ok(subjects.iter().zip(seen).map(|(subject, seen)| observation(subject, seen)).collect())
    }

    fn steps(change: &Change<WireguardSpec>, _machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        if change.action == Action::Delete {
            propose.add(remove_object(&change.identity))?;
            return Ok(Step::Proposed);
        }
        let WireguardSpec { link, private_key, listen_port, peers, exactly: _ } = change.wanted()?;
        propose.add(set_wireguard(&Set { link, private_key, listen_port: *listen_port, peers }))?;
        Ok(Step::Proposed)
    }
}

fn identity(link: &str) -> String {
    format!("wireguard:{link}")
}

fn observation(subject: &Subject, seen: Seen) -> Observation {
    let (mut fields, seen) = match seen {
        Seen::Found { state: Value::Object(fields), seen } => (fields, seen),
        Seen::Found { .. } => return Observation::Failed(Error::plugin(format!("{} is no object", subject.identity))),
        Seen::Absent(seen) => return Observation::absent([seen]),
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
    Observation::Present(Present {
        observed: Value::Object(fields),
        unknown: Vec::new(),
        handle: None,
        readiness: Readiness::Ready,
        seen: vec![seen],
        probes,
    })
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
