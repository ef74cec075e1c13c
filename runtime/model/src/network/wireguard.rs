//! What a WireGuard interface is set to: its key, its port and its peers. Keys that are secret
//! stand here by their names; of what is there, only that they are.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Prefix;
use crate::secret::SecretName;

/// Characters of a key: 32 bytes in base64.
const KEY_LENGTH: usize = 44;

/// The settings of a WireGuard interface. What is put has a private key; without one the key
/// that is there stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wireguard {
    /// The link.
    pub link: String,
    /// Its private key. Never seen: what is there shows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<Key>,
    /// The UDP port that it listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<u16>,
    /// All of its peers, by public key.
    #[serde(default)]
    pub peers: BTreeMap<String, Peer>,
}

/// A secret key, by the secret's name and the keyed digest of its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The secret.
    #[serde(rename = "$secret")]
    pub name: SecretName,
    /// What tells its value from another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// A peer of a WireGuard interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The key that both sides know beside their own.
    pub preshared_key: Preshared,
    /// Where it is spoken to first. From then on WireGuard follows it to wherever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<SocketAddr>,
    /// What it may send from, and what is sent to it. In order.
    #[serde(default)]
    pub allowed_ips: Vec<Prefix>,
    /// Seconds after which it is told that we are there; 0 for never.
    #[serde(default)]
    pub keepalive: u16,
    /// Seen, never asked for: it was heard of a short while ago, so `endpoint` is where it is
    /// and not where it was looked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heard: bool,
}

/// A preshared key: none, one that is there and not told, or a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Preshared {
    /// By its name.
    Secret(Key),
    /// By a word.
    Word(PresharedWord),
}

/// What is told of a preshared key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PresharedWord {
    /// There is none.
    None,
    /// There is one.
    Hidden,
}

impl Wireguard {
    /// The secrets whose values are written.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        let peers = self.peers.values().filter_map(|peer| match &peer.preshared_key {
            Preshared::Secret(key) => Some(key),
            Preshared::Word(_) => None,
        });
        self.private_key.iter().chain(peers)
    }

    /// Without what changes by itself: where peers are. Two looks at what nobody set have equal
    /// values.
    #[must_use]
    pub fn lasting(&self) -> Self {
        let mut lasting = self.clone();
        for peer in lasting.peers.values_mut() {
            (peer.endpoint, peer.heard) = (None, false);
        }
        lasting
    }
}

/// Checks a key in base64, secret or public.
///
/// # Errors
/// It is no such key. Says nothing of the text.
pub fn wireguard_key(text: &str) -> Result<&str, &'static str> {
    let text = text.trim();
    let (most, end) = text.split_at_checked(KEY_LENGTH - 1).unwrap_or((text, ""));
    let good = most.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/'));
    // 32 bytes leave 2 bits of the last character empty.
    let last = most.ends_with(['A', 'E', 'I', 'M', 'Q', 'U', 'Y', 'c', 'g', 'k', 'o', 's', 'w', '0', '4', '8']);
    if good && last && end == "=" {
        return Ok(text);
    }
    Err("it is no key of WireGuard: 44 characters of base64, as `wg genkey` prints")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_32_bytes() {
        let key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
        assert_eq!(wireguard_key(&format!("{key}\n")), Ok(key));
        for bad in ["", "=", &key[1..], "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dh=", "é", &format!("{key}=")] {
            let why = wireguard_key(bad).unwrap_err();
            assert!(bad.len() < 4 || !why.contains(bad));
        }
    }

    #[test]
    fn a_preshared_key_is_a_secret_or_a_word() {
        let peer = |key: serde_json::Value| serde_json::from_value::<Peer>(json!({ "preshared_key": key }));
        assert_eq!(peer(json!("none")).unwrap().preshared_key, Preshared::Word(PresharedWord::None));
        let secret = json!({"$secret": "vpn/psk", "mac": "12"});
        let Preshared::Secret(key) = peer(secret.clone()).unwrap().preshared_key else { panic!() };
        assert_eq!(serde_json::to_value(&key).unwrap(), secret);
        assert!(peer(json!("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=")).is_err(), "a key itself stands nowhere");
    }

    #[test]
    fn where_peers_are_does_not_last() {
        let of = |port: u16, heard| {
            let peer = json!({"endpoint": format!("192.0.2.1:{port}"), "heard": heard, "preshared_key": "none"});
            let all = json!({"link": "wg0", "peers": {"a": peer}});
            serde_json::from_value::<Wireguard>(all).unwrap()
        };
        assert_ne!(of(1, false), of(2, true));
        assert_eq!(of(1, false).lasting(), of(2, true).lasting());
    }
}
