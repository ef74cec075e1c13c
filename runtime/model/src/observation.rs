//! What was seen of a target.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Fault;
use crate::name::{Identity, Kind};

/// Something to look at. Never holds desired values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What to look at.
    pub identity: Identity,
    /// Its kind.
    pub kind: Kind,
    /// The target's own id, where one was kept.
    pub handle: Option<String>,
    /// JSON pointers of the managed fields.
    pub fields: Vec<String>,
    /// Commands that stand in its spec: what may be run to look at it, where the operator
    /// grants that too. For the host alone; no plugin is told.
    #[serde(default)]
    pub commands: Vec<Vec<String>>,
}

/// Every command that stands in a spec: lists of words that begin with an absolute path.
#[must_use]
pub fn commands(spec: &Value) -> Vec<Vec<String>> {
    fn walk(spec: &Value, out: &mut Vec<Vec<String>>) {
        match spec {
            Value::Array(items) => {
                let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                match words {
                    Some(words) if words.first().is_some_and(|program| program.starts_with('/')) => {
                        out.push(words.into_iter().map(str::to_owned).collect());
                    }
                    _ => items.iter().for_each(|item| walk(item, out)),
                }
            }
            Value::Object(map) => map.values().for_each(|item| walk(item, out)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut out = Vec::new();
    walk(spec, &mut out);
    out
}

/// How far along a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// Serves its purpose.
    Ready,
    /// Not yet.
    Settling,
    /// Not, and will not by itself.
    Broken,
}

/// A field that the host compares in the plugin's stead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretProbe {
    /// JSON pointer of the field.
    pub field: String,
    /// How to compare.
    pub method: String,
    /// What the target gave to compare with.
    pub material: String,
}

/// What was seen of a subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Observation {
    /// It is there.
    Present {
        /// The observed spec.
        observed: Value,
        /// JSON pointers of fields that could not be known.
        unknown: Vec<String>,
        /// The target's own id.
        handle: Option<String>,
        /// How far along it is.
        readiness: Readiness,
        /// Tokens of the reads that this rests on; good for this pass only.
        seen: Vec<String>,
        /// Fields that the host compares.
        probes: Vec<SecretProbe>,
    },
    /// It is not there.
    Absent {
        /// Tokens of the reads that say so.
        seen: Vec<String>,
    },
    /// The answer depends on what a parent will hold.
    Waits {
        /// The parent.
        on: Identity,
        /// Why.
        why: String,
    },
    /// It could not be seen. Never taken for absent.
    Failed {
        /// Why.
        fault: Fault,
    },
}

impl Observation {
    /// The observed spec, where it is there.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Present { observed, .. } => Some(observed),
            _ => None,
        }
    }

    /// The tokens that go into effects as preconditions.
    #[must_use]
    pub fn seen(&self) -> &[String] {
        match self {
            Self::Present { seen, .. } | Self::Absent { seen } => seen,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::commands;

    #[test]
    fn commands_are_lists_of_words_that_begin_with_a_program() {
        let spec = json!({"argv": ["/bin/a", "b"], "names": ["a", "b"], "deep": [{"unless": ["/bin/c"]}, 3],
                          "mixed": ["/bin/d", 4], "empty": [], "text": "/bin/e"});
        assert_eq!(commands(&spec), [vec!["/bin/a", "b"], vec!["/bin/c"]]);
    }
}
