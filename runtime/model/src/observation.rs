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
