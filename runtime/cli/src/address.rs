//! Short forms of addresses: `motd`, `server.file/motd`, `motd@web-1`,
//! `web:server.file/motd`, or an identity such as `path:/etc/motd`.

use tidelock_model::name::{Address, Identity};

use crate::error::{CliError, Kind};

/// What a person typed to point at resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Short {
    text: String,
    /// Source and stack, or stack alone; outermost first.
    scope: Vec<String>,
    kind: Option<String>,
    name: String,
    target: Option<String>,
}

impl Short {
    /// Takes a short form apart.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        let bad = || {
            CliError::new(Kind::Usage, format!("{text:?} is not an address"))
                .hint("write kind/name, such as server.file/motd; stack: before it and @target behind it where needed")
        };
        let (rest, target) = match text.rsplit_once('@') {
            Some((rest, target)) => (rest, Some(target.to_owned())),
            None => (text, None),
        };
        let mut scope: Vec<String> = rest.split(':').map(str::to_owned).collect();
        let last = scope.pop().unwrap_or_default();
        let (kind, name) = match last.split_once('/') {
            Some((kind, name)) => (Some(kind.to_owned()).filter(|kind| !kind.is_empty()), name.to_owned()),
            None => (None, last),
        };
        let empty = name.is_empty() || scope.iter().any(String::is_empty) || target.as_deref() == Some("");
        // An identity has a shape of its own plugin's making: what is not an address may be one.
        if empty || (scope.len() > 2 && !text.contains('/')) {
            return Err(bad());
        }
        Ok(Self { text: text.to_owned(), scope, kind, name, target })
    }

    /// Text that every matching address holds, for a store to look for.
    pub(crate) fn needle(&self) -> Option<&str> {
        (!self.is_identity()).then_some(self.name.as_str())
    }

    /// Whether a resource is meant.
    pub(crate) fn matches(&self, address: &Address, identity: &Identity) -> bool {
        identity.as_str() == self.text || identity.path() == Some(self.text.as_str()) || self.names(address)
    }

    fn is_identity(&self) -> bool {
        self.text.starts_with('/') || self.name.contains('/')
    }

    fn names(&self, address: &Address) -> bool {
        let scope = match self.scope.as_slice() {
            [] => true,
            [stack] => address.stack.as_str() == stack,
            [source, stack] => address.source.as_str() == source && address.stack.as_str() == stack,
            _ => false,
        };
        let kind = self
            .kind
            .as_deref()
            .is_none_or(|kind| kind == address.resource.kind.as_str() || kind == address.resource.kind.short());
        let target = self.target.as_deref().is_none_or(|target| target == address.target.as_str());
        scope && kind && target && self.name == address.resource.name.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(text: &str) -> bool {
        let address = "infra:web:server.file/motd@web-1".parse().unwrap();
        Short::parse(text).unwrap().matches(&address, &Identity::new("path:/etc/motd"))
    }

    #[test]
    fn short_forms_of_one_address() {
        for text in [
            "motd",
            "file/motd",
            "server.file/motd",
            "server.file/motd@web-1",
            "motd@web-1",
            "web:motd",
            "web:server.file/motd",
            "infra:web:server.file/motd@web-1",
            "path:/etc/motd",
            "/etc/motd",
        ] {
            assert!(meant(text), "{text}");
        }
        for text in ["mot", "db:motd", "motd@web-2", "server.link/motd", "other:web:motd", "path:/etc/mot", "/etc"] {
            assert!(!meant(text), "{text}");
        }
    }

    #[test]
    fn a_store_is_asked_for_the_name_and_never_for_an_identity() {
        assert_eq!(Short::parse("web:server.file/motd@web-1").unwrap().needle(), Some("motd"));
        assert_eq!(Short::parse("path:/etc/motd").unwrap().needle(), None);
        assert_eq!(Short::parse("/motd").unwrap().needle(), None);
    }

    #[test]
    fn what_points_nowhere_is_refused() {
        for text in ["", ":motd", "motd@", "server.file/", "a:b:c:d"] {
            assert_eq!(Short::parse(text).unwrap_err().exit().code(), 64, "{text:?}");
        }
    }
}
