//! Secrets: named in Git, held by the operator, and seen by nobody else.
//!
//! A spec says `{ $secret: NAME }`. Who renders, plans and reviews sees the name; the value
//! is read when a pass begins, compared and written by the host, and kept nowhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::pointer;

/// The key under which a spec names a secret.
pub const KEY: &str = "$secret";
/// The key under which the host adds a keyed digest of the value.
const MAC: &str = "mac";
/// The longest name, in bytes.
const MAX_NAME: usize = 512;

/// The name of a secret: `web/db-password`, which the operator's config explains; or, with a
/// leading slash, an encrypted file of the source: `/envs/prod/db.age`, and with a JSON
/// pointer one value of it: `/envs/prod/secrets.yaml#/db/password`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

impl SecretName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file of the source that holds it, without the leading slash, and the pointer to
    /// the value in it; `None` for a secret of the config.
    #[must_use]
    pub fn file(&self) -> Option<(&str, Option<&str>)> {
        let path = self.0.strip_prefix('/')?;
        Some(match path.split_once('#') {
            Some((path, pointer)) => (path, Some(pointer)),
            None => (path, None),
        })
    }
}

impl FromStr for SecretName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, pointer) = text.split_once('#').map_or((text, None), |(path, pointer)| (path, Some(pointer)));
        let relative = path.strip_prefix('/').unwrap_or(path);
        let parts_fit = relative.split('/').all(|part| {
            !matches!(part, "" | "." | "..")
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+'))
        });
        let pointer_fits = pointer.is_none_or(|pointer| {
            path.starts_with('/') && pointer.starts_with('/') && !pointer.chars().any(char::is_control)
        });
        if text.len() > MAX_NAME || !parts_fit || !pointer_fits {
            return Err(format!(
                "{text:?} cannot be the name of a secret: that is letters, digits and -_.@+ with slashes between, or a file of the source such as ./db.age or ./secrets.yaml#/db/password"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for SecretName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret's value. It cannot be printed or written down, and is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes a value in.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the call that compares or writes them.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A secret as it stands in the spec that plugins, plans and the ledger hold: its name, and
/// a keyed digest of its value, which tells a new value from an old one and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRef {
    /// Its name.
    pub name: SecretName,
    /// The keyed digest; empty where the value was not read.
    pub mac: String,
}

impl SecretRef {
    /// Reads a value of a spec; `None` where it is no secret.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        let Value::Object(map) = value else { return None };
        let name = map.get(KEY)?.as_str()?.parse().ok()?;
        let mac = map.get(MAC)?.as_str()?.to_owned();
        (map.len() == 2).then_some(Self { name, mac })
    }

    /// The value of a spec that stands for it.
    #[must_use]
    pub fn write(&self) -> Value {
        json!({ KEY: self.name, MAC: self.mac })
    }

    /// What stands for a value that was looked at and is another one.
    #[must_use]
    pub fn another(&self) -> Value {
        json!({ KEY: self.name, MAC: "another value" })
    }

    /// How plans show it.
    #[must_use]
    pub fn shown(&self) -> String {
        let mac: String = self.mac.chars().take(if self.mac.contains(' ') { usize::MAX } else { 8 }).collect();
        if mac.is_empty() {
            format!("secret {} (not read)", self.name)
        } else {
            format!("secret {} ({mac})", self.name)
        }
    }
}

/// Every secret of a spec, with its JSON pointer.
#[must_use]
pub fn refs(spec: &Value) -> Vec<(String, SecretRef)> {
    fn walk(value: &Value, at: &str, out: &mut Vec<(String, SecretRef)>) {
        if let Some(secret) = SecretRef::read(value) {
            out.push((at.to_owned(), secret));
            return;
        }
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    walk(value, &pointer::push(at, key), out);
                }
            }
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    walk(item, &format!("{at}/{i}"), out);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut out = Vec::new();
    walk(spec, "", &mut out);
    out
}

/// A spec without the digests of its secrets' values.
#[must_use]
pub fn without_macs(spec: &Value) -> Value {
    let mut out = spec.clone();
    for (at, secret) in refs(spec) {
        if let Some(value) = out.pointer_mut(&at) {
            *value = json!({ KEY: secret.name });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_lead_nowhere_else() {
        for good in ["db", "web/db-password", "/envs/prod/db.age", "/s.yaml#/db/password", "a@b+c_d.e"] {
            assert_eq!(good.parse::<SecretName>().unwrap().as_str(), good);
        }
        for bad in ["", "/", "a//b", "../x", "/a/../b", "a b", "db#/x", "/s.yaml#x", "$(id)", "a\nb", "ä"] {
            assert!(bad.parse::<SecretName>().is_err(), "{bad}");
        }
        let name: SecretName = "/envs/s.yaml#/db/password".parse().unwrap();
        assert_eq!(name.file(), Some(("envs/s.yaml", Some("/db/password"))));
        assert_eq!("db".parse::<SecretName>().unwrap().file(), None);
    }

    #[test]
    fn a_value_is_never_printed() {
        assert_eq!(format!("{:?}", SecretValue::new(b"hunter2".to_vec())), "(secret)");
    }

    #[test]
    fn secrets_of_a_spec_are_found_and_told_apart_by_name_alone() {
        let spec = |mac: &str| json!({"name": "app", "a/b": [{"password": {"$secret": "db", "mac": mac}}]});
        let found = refs(&spec("12"));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.as_str(), found[0].1.shown().as_str()), ("/a~1b/0/password", "secret db (12)"));
        assert_eq!(without_macs(&spec("12")), without_macs(&spec("34")));
        assert!(refs(&json!({"$secret": "db"})).is_empty(), "not yet read");
        assert!(refs(&json!({"$secret": "db", "mac": "1", "x": 1})).is_empty());
    }
}
