//! What a file of SOPS holds, in its order, whatever the file is written in.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Refusal;

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Null,
    Text(String),
    /// A number or a boolean, as SOPS writes it where it makes the MAC.
    Plain(String),
    List(Vec<Node>),
    /// Keys stand once.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// A map.
    ///
    /// # Errors
    /// The key that stands there twice.
    pub(super) fn map(members: Vec<(String, Self)>) -> Result<Self, String> {
        let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(format!("the key {} stands there twice", twice[0])),
            None => Ok(Self::Map(members)),
        }
    }

    /// A boolean as SOPS counts it.
    pub(super) fn boolean(value: bool) -> Self {
        Self::Plain(if value { "True" } else { "False" }.to_owned())
    }

    /// A number that is no integer, as SOPS counts it: the fewest digits that say it, without
    /// an exponent.
    pub(super) fn float(value: f64) -> Self {
        Self::Plain(match value {
            _ if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
            _ => value.to_string(),
        })
    }

    /// The member of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// What it says, where that is a text.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// What a JSON pointer (RFC 6901) leads to.
pub(super) fn member<'n>(root: &'n Node, pointer: &str) -> Result<&'n Node, Refusal> {
    let mut at = root;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if let Node::List(_) = at {
            return Err(Refusal::new(format!(
                "{pointer} is in a list, and SOPS does not prove which place of it has what"
            ))
            .hint("give the value a key of its own: sops edit"));
        }
        let missing = || Refusal::new(format!("the file has nothing at {pointer}: {}", there(at)));
        at = at.get(&part).ok_or_else(missing)?;
    }
    match at {
        Node::Map(_) | Node::List(_) => Err(Refusal::new(format!("{pointer} is no single value: {}", there(at)))),
        Node::Null => Err(Refusal::new(format!("{pointer} is empty"))),
        Node::Text(text) if text.is_empty() => Err(Refusal::new(format!("{pointer} is empty"))),
        _ => Ok(at),
    }
}

/// What stands where something was looked for. Keys are no secrets: SOPS keeps them in the clear.
fn there(node: &Node) -> String {
    match node {
        Node::Map(members) => {
            let keys: Vec<&str> = members.iter().take(10).map(|(key, _)| key.as_str()).collect();
            let more = if members.len() > keys.len() { ", ..." } else { "" };
            format!("there is {}{more}", keys.join(", "))
        }
        Node::List(_) => "it is a list".to_owned(),
        _ => "what comes before is a single value".to_owned(),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Json)
    }
}

/// Reads JSON. SOPS takes each number for one with a fraction.
struct Json;

impl<'de> Visitor<'de> for Json {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::boolean(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "as SOPS does, which knows no integers in JSON")]
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::float(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "as SOPS does, which knows no integers in JSON")]
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::float(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element()? {
            out.push(item);
        }
        Ok(Node::List(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut out: Vec<(String, Node)> = Vec::new();
        while let Some((key, value)) = members.next_entry::<String, Node>()? {
            out.push((key, value));
        }
        Node::map(out).map_err(A::Error::custom)
    }
}
