//! Looking: what to look at, and what was seen.

use serde::Serialize;
use serde_json::Value;

use crate::error::Error;

/// Something to look at. Never holds desired values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// What to look at.
    pub identity: String,
    /// Its kind: `server.file`.
    pub kind: String,
    /// The target's own id, where one was kept.
    pub handle: Option<String>,
    /// JSON pointers of the fields that somebody manages.
    pub fields: Vec<String>,
}

impl Subject {
    /// Whether somebody manages a field, or a part of it.
    #[must_use]
    pub fn manages(&self, pointer: &str) -> bool {
        self.fields.iter().any(|field| covers(pointer, field))
    }
}

/// Whether `field` is `pointer` or lies within it.
pub(crate) fn covers(pointer: &str, field: &str) -> bool {
    field.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// How far along a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Serves its purpose.
    Ready,
    /// Not yet, and getting there.
    Settling,
    /// Not, and will not by itself.
    Broken,
}

/// A field whose value the plugin must not see: the host compares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretProbe {
    /// JSON pointer of the field.
    pub field: String,
    /// How to compare: `sha256`, or `other`.
    pub method: String,
    /// What the target gave to compare with.
    pub material: String,
}

/// A resource that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    /// The observed spec, spelled as `normalise` spells it: the managed fields, and
    /// what identifies the resource.
    pub observed: Value,
    /// JSON pointers of fields that could not be known.
    pub unknown: Vec<String>,
    /// The target's own id.
    pub handle: Option<String>,
    /// How far along it is.
    pub readiness: Readiness,
    /// Tokens of the reads that this rests on; the first becomes the precondition of
    /// the change's effects unless an effect names another.
    pub seen: Vec<String>,
    /// Fields that the host compares.
    pub probes: Vec<SecretProbe>,
}

/// What was seen of a subject.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// It is there.
    Present(Present),
    /// It is not there, or its parent is not; tokens of the reads that say so.
    Absent(Vec<String>),
    /// The answer depends on what a parent will hold.
    Waits {
        /// The identity that must be there first.
        on: String,
        /// Why, for a person.
        why: String,
    },
    /// It could not be seen. Never taken for absent.
    Failed(Error),
}

impl Observation {
    /// It is there, ready, and looks like this.
    pub fn present(observed: impl Serialize, seen: impl IntoIterator<Item = String>) -> Self {
        match serde_json::to_value(observed) {
            Ok(observed) => Self::Present(Present {
                observed,
                unknown: Vec::new(),
                handle: None,
                readiness: Readiness::Ready,
                seen: seen.into_iter().collect(),
                probes: Vec::new(),
            }),
            Err(error) => Self::Failed(Error::plugin(format!("what was observed is not JSON: {error}"))),
        }
    }

    /// It is not there.
    pub fn absent(seen: impl IntoIterator<Item = String>) -> Self {
        Self::Absent(seen.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_managed_with_its_parts() {
        let subject = |field: &str| Subject {
            identity: "x:y".into(),
            kind: "a.b".into(),
            handle: None,
            fields: vec![field.to_owned()],
        };
        assert!(subject("/content").manages("/content"));
        assert!(subject("/content/digest").manages("/content"));
        assert!(!subject("/contents").manages("/content"));
        assert!(!subject("/mode").manages("/content"));
    }
}
