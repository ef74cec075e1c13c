//! Absolute paths, in one spelling, so that one path is one identity.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use tidelock_sdk::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tidelock_sdk::spec;

/// The longest path that Linux takes.
const LONGEST: usize = 4095;
/// The longest name in a directory.
const LONGEST_NAME: usize = 255;
/// What begins the identity of everything that has a path.
const PREFIX: &str = "path:";

/// An absolute path without `.`, `..`, empty parts or a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct AbsolutePath(String);

impl AbsolutePath {
    /// Reads a path and spells it in the one way.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("the path {text:?} does not begin with a slash"));
        }
        if text.chars().any(char::is_control) {
            return Err(format!("the path {text:?} holds a control character"));
        }
        let mut out = String::new();
        for part in text.split('/').filter(|part| !matches!(*part, "" | ".")) {
            if part == ".." {
                return Err(format!("the path {text:?} holds `..`"));
            }
            if part.len() > LONGEST_NAME {
                return Err(format!("a name in the path has {} bytes, {LONGEST_NAME} are possible", part.len()));
            }
            out.push('/');
            out.push_str(part);
        }
        match out.len() {
            0 => Err("the root directory itself cannot be managed".to_owned()),
            long if long > LONGEST => Err(format!("the path has {long} bytes, {LONGEST} are possible")),
            _ => Ok(Self(out)),
        }
    }

    /// The path of an identity; none of one that is no path's.
    pub(crate) fn of_identity(identity: &str) -> Option<Self> {
        Self::new(identity.strip_prefix(PREFIX)?).ok()
    }

    /// The path as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// `path:/etc/motd`.
    pub(crate) fn identity(&self) -> String {
        format!("{PREFIX}{self}")
    }

    /// Identities of all directories above it but the root, nearest last. Nobody has to
    /// provide them; where somebody does, that one comes first.
    pub(crate) fn parents(&self) -> Vec<String> {
        self.0.match_indices('/').skip(1).map(|(at, _)| format!("{PREFIX}{}", &self.0[..at])).collect()
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        spec::from_text(deserializer, |text| Self::new(&text))
    }
}

impl JsonSchema for AbsolutePath {
    fn schema_name() -> Cow<'static, str> {
        "AbsolutePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^/", "description": "An absolute path." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_spelling() {
        for (text, path) in [("/etc/motd", "/etc/motd"), ("//etc/./motd/", "/etc/motd"), ("/ä b/'c", "/ä b/'c")] {
            assert_eq!(AbsolutePath::new(text).unwrap().as_str(), path);
        }
    }

    #[test]
    fn hostile_paths_are_refused() {
        for text in [
            "",
            "etc",
            "/",
            "//./",
            "/etc/../root",
            "/..",
            "/a\0b",
            "/a\nb",
            &format!("/{}", "x".repeat(256)),
            &"/x".repeat(2049),
        ] {
            assert!(AbsolutePath::new(text).is_err(), "{text:?}");
        }
        assert_eq!(AbsolutePath::of_identity("command:/bin/x"), None);
        assert_eq!(AbsolutePath::of_identity("path:relative"), None);
    }

    #[test]
    fn every_directory_above_is_required() {
        let path = AbsolutePath::new("/a/b/c.txt").unwrap();
        assert_eq!(path.parents(), ["path:/a", "path:/a/b"]);
        assert!(AbsolutePath::new("/top").unwrap().parents().is_empty());
    }
}
