//! Plugins by name and digest, and what their imports mean.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A plugin as it stands in plans and records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PluginRef {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// Digest of the component.
    pub digest: Digest,
}

/// What a plugin may do, told from its imports before it is compiled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Permission {
    /// The imported interface, with its version.
    pub import: String,
    /// What that means, in plain words.
    pub means: String,
}

/// `renderer` or `provider`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Files to resources.
    Renderer,
    /// Kinds of resources on targets.
    Provider,
}

/// Everything that can be said of a component without running it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginFacts {
    /// Name, version and digest.
    pub plugin: PluginRef,
    /// The contract that it was made for, such as `0.1.0`.
    pub api: String,
    /// What it is.
    pub role: Role,
    /// Where it was found: a path, or `embedded`.
    pub origin: String,
    /// Bytes.
    pub size: u64,
    /// What it may do.
    pub permissions: Vec<Permission>,
}
