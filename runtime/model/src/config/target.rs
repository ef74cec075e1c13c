//! `[targets.NAME]`: systems that may be reconciled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `[targets.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetDecl {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: TargetKind,
    /// For a machine: the folder that its paths lie below. Default `/`.
    #[serde(default)]
    pub root: Option<String>,
    /// Labels for stacks to choose by, and for renderers.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Facts for renderers.
    #[serde(default)]
    pub facts: BTreeMap<String, serde_json::Value>,
    /// How often to look for drift, such as `5m`.
    #[serde(default)]
    pub drift_every: Option<String>,
}

/// Kinds of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// A machine: files and commands.
    Machine,
}

impl TargetKind {
    /// The word for it in the config.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Machine => "machine",
        }
    }
}
