//! Names, addresses and lanes: how people and records point at things.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name, in bytes. Names end up in file names and columns of a terminal.
pub const MAX_NAME: usize = 200;

/// Why a text is not a name, kind or address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a name may not be empty")]
    Empty,
    /// Longer than [`MAX_NAME`].
    #[error("a name may have {MAX_NAME} bytes at most, this one has {0}")]
    TooLong(usize),
    /// A character that names may not hold.
    #[error("a name may not hold {0:?} (in {1:?}); `:`, `@`, `/`, spaces and control characters are not allowed")]
    Character(char, String),
    /// Not `<plugin>.<kind>`.
    #[error("{0:?} is not a kind; a kind is written <plugin>.<kind>, such as server.file")]
    Kind(String),
    /// Not `kind/name`.
    #[error("{0:?} is not an address; write kind/name, such as server.file/motd")]
    Address(String),
}

/// The name of a stack, target, source or resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// Empty, too long, or holding a character that addresses need.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong(text.len()));
        }
        match text.chars().find(|c| matches!(c, ':' | '@' | '/') || c.is_whitespace() || c.is_control()) {
            Some(c) => Err(NameError::Character(c, text)),
            None => Ok(Self(text.into_boxed_str())),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `<plugin>.<kind>`, such as `server.file`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(Box<str>);

impl Kind {
    /// Checks and takes a kind.
    ///
    /// # Errors
    /// Not two names with one dot between them.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let ok =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        match text.split_once('.') {
            Some((plugin, kind)) if ok(plugin) && ok(kind) => Ok(Self(text.into_boxed_str())),
            _ => Err(NameError::Kind(text)),
        }
    }

    /// The kind as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the dot: the provider that knows the kind.
    #[must_use]
    pub fn plugin(&self) -> &str {
        self.0.split_once('.').map_or("", |(plugin, _)| plugin)
    }

    /// The part after the dot.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, kind)| kind)
    }
}

/// `kind/name`: a resource within its stack.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceRef {
    /// The kind.
    pub kind: Kind,
    /// The name, unique per kind in a stack.
    pub name: Name,
}

/// The unit of a pass, lease, backoff, status and plan part: a stack on a target.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// The source that holds the stack.
    pub source: Name,
    /// The stack.
    pub stack: Name,
    /// The target.
    pub target: Name,
}

/// `source:stack:kind/name@target`: a resource anywhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The source that holds the stack.
    pub source: Name,
    /// The stack.
    pub stack: Name,
    /// The kind and name.
    pub resource: ResourceRef,
    /// The target.
    pub target: Name,
}

impl Address {
    /// The address of a resource in a lane.
    #[must_use]
    pub fn new(lane: &Lane, resource: ResourceRef) -> Self {
        Self { source: lane.source.clone(), stack: lane.stack.clone(), resource, target: lane.target.clone() }
    }

    /// The lane that the resource is in.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane { source: self.source.clone(), stack: self.stack.clone(), target: self.target.clone() }
    }
}

/// What a resource is on its target, whatever its name: `path:/etc/motd`.
/// Natural keys come from the spec, so a renamed resource keeps its identity.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity(String);

impl Identity {
    /// Takes an identity as a plugin gave it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What is at a path of a machine.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        Self(format!("path:{path}"))
    }

    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What sort of thing it is: the part before the first colon.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// The path of a `path:` identity.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.0.strip_prefix("path:")
    }
}

impl FromStr for ResourceRef {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (kind, name) = text.split_once('/').ok_or_else(|| NameError::Address(text.to_owned()))?;
        Ok(Self { kind: Kind::new(kind)?, name: Name::new(name)? })
    }
}

impl FromStr for Address {
    type Err = NameError;
    /// Reads the full form only; short forms are resolved against what exists.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::Address(text.to_owned());
        let (source, rest) = text.split_once(':').ok_or_else(bad)?;
        let (stack, rest) = rest.split_once(':').ok_or_else(bad)?;
        let (resource, target) = rest.rsplit_once('@').ok_or_else(bad)?;
        Ok(Self {
            source: Name::new(source)?,
            stack: Name::new(stack)?,
            resource: resource.parse()?,
            target: Name::new(target)?,
        })
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl FromStr for Kind {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}@{}", self.source, self.stack, self.resource, self.target)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.source, self.stack, self.target)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
as_text!(Name, Kind);

macro_rules! debug_and_serde_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.to_string())
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
debug_and_serde_as_text!(Name, Kind, ResourceRef, Address);

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_text() {
        let text = "infra:web-prod:server.file/motd@web-1";
        let address: Address = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
        assert_eq!(address.resource.kind.plugin(), "server");
        assert_eq!(address.lane().to_string(), "infra:web-prod@web-1");
    }

    #[test]
    fn names_leave_the_separators_alone() {
        for bad in ["", "a:b", "a@b", "a/b", "a b", "a\n"] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
        assert!(Name::new("x".repeat(MAX_NAME + 1)).is_err());
        assert!(Name::new("web-1.example").is_ok());
    }

    #[test]
    fn kinds_have_one_dot() {
        for bad in ["file", "server.", ".file", "a.b.c", "server.fi le"] {
            assert!(Kind::new(bad).is_err(), "{bad:?}");
        }
    }
}
