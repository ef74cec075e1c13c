//! Tokens of reads. A guest that relies on what it saw gives the token back; the
//! host knows from it what was there, and need not believe the guest.
//!
//! A token is an index and a MAC by a key that was made for one pass, so a token of
//! another pass, target or plugin is worth nothing, and none can be made up.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tidelock_model::digest::Digest;
use tidelock_model::effect::Precondition;
use tidelock_model::error::{Blame, Fault};

/// What one pass may look at: far above 100,000 resources, and still bounded.
const MAX_SEEN: usize = 1 << 19;
const MAC_SIZE: usize = 12;

/// Everything that one pass over a target has seen.
pub(crate) struct SeenTable {
    key: [u8; 32],
    max: usize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    entries: Vec<Precondition>,
    /// Equal answers have one token, however often they are asked for.
    index: HashMap<Digest, u32>,
}

impl SeenTable {
    pub(crate) fn new() -> Result<Self, Fault> {
        Self::bounded(MAX_SEEN)
    }

    fn bounded(max: usize) -> Result<Self, Fault> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)
            .map_err(|error| Fault::new("io", Blame::Host, format!("the system gives no randomness: {error}")))?;
        Ok(Self { key, max, seen: Mutex::default() })
    }

    /// Keeps what was seen and gives its token; `None` once the table is full.
    pub(crate) fn keep(&self, saw: Precondition) -> Option<String> {
        let key = Digest::of(&serde_json::to_vec(&saw).ok()?);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u32::try_from(seen.entries.len()).ok()?;
        let index = match seen.index.get(&key) {
            Some(index) => *index,
            None if seen.entries.len() < self.max => {
                seen.index.insert(key, next);
                seen.entries.push(saw);
                next
            }
            None => return None,
        };
        drop(seen);
        let mac = self.mac(index).finalize().into_bytes();
        Some(format!("{}{}", hex::encode(index.to_be_bytes()), hex::encode(&mac[..MAC_SIZE])))
    }

    /// What a token stands for; `None` for one that this table did not give out.
    pub(crate) fn resolve(&self, token: &str) -> Option<Precondition> {
        let mut bytes = [0; 4 + MAC_SIZE];
        hex::decode_to_slice(token, &mut bytes).ok()?;
        let (index, mac) = bytes.split_at(4);
        let index = u32::from_be_bytes(index.try_into().ok()?);
        self.mac(index).verify_truncated_left(mac).ok()?;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entries.get(index as usize).cloned()
    }

    fn mac(&self, index: u32) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(&index.to_be_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use tidelock_model::effect::PathState;

    use super::*;

    fn saw(path: &str, state: PathState) -> Precondition {
        Precondition::Path { path: path.to_owned(), state }
    }

    #[test]
    fn tokens_stand_for_what_was_seen_in_this_pass_alone() {
        let table = SeenTable::new().unwrap();
        let token = table.keep(saw("/etc/motd", PathState::Absent)).unwrap();
        assert_eq!(table.resolve(&token).unwrap(), saw("/etc/motd", PathState::Absent));
        assert_eq!(table.keep(saw("/etc/motd", PathState::Absent)).unwrap(), token);
        assert_ne!(table.keep(saw("/etc/motd", PathState::Other)).unwrap(), token);

        let other = SeenTable::new().unwrap();
        other.keep(saw("/etc/shadow", PathState::Absent)).unwrap();
        assert!(other.resolve(&token).is_none(), "a token of another pass");
    }

    #[test]
    fn tokens_cannot_be_made_up() {
        let table = SeenTable::new().unwrap();
        let token = table.keep(saw("/a", PathState::Absent)).unwrap();
        table.keep(saw("/b", PathState::Absent)).unwrap();
        let mut next = token.clone();
        next.replace_range(7..8, "1");
        let long = format!("{token}00");
        for bad in ["", "0", "zz", &next, &long, &token[..token.len() - 2], "00000000000000000000000000000000"] {
            assert!(table.resolve(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_flood_of_looks_comes_to_an_end() {
        let table = SeenTable::bounded(2).unwrap();
        assert!(table.keep(saw("/a", PathState::Absent)).is_some());
        assert!(table.keep(saw("/b", PathState::Absent)).is_some());
        assert!(table.keep(saw("/c", PathState::Absent)).is_none());
        assert!(table.keep(saw("/a", PathState::Absent)).is_some(), "what is known stays known");
    }
}
