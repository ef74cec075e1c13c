//! What we own: the ledger that tells prune from strangers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::name::{Address, Identity, Name, ResourceRef};
use crate::plugin::PluginRef;
use crate::resource::OnRemove;

/// How a resource became ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// We made it.
    Created,
    /// It was there and equal.
    Adopted,
    /// It was there and differed.
    TookOver,
}

/// One owned resource. Unique on (target, identity).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InventoryEntry {
    /// Where in Git, and on which target.
    pub address: Address,
    /// What it is on the target.
    pub identity: Identity,
    /// The plugin that last wrote it.
    pub plugin: PluginRef,
    /// Version of the spec's shape, from the plugin's major version; 0 until one says.
    pub spec_version: u32,
    /// The target's own id.
    pub handle: Option<String>,
    /// The normalised spec that was last applied.
    pub applied: Value,
    /// JSON pointers of contents that were made of secrets, each with a digest of how.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub withheld: BTreeMap<String, Digest>,
    /// Identities that had to be there first; deletes go the other way.
    pub requires: Vec<Identity>,
    /// Identities that exist through it.
    pub provides: Vec<Identity>,
    /// Resources that it named in `needs`.
    pub needs: Vec<ResourceRef>,
    /// Never deleted or replaced while set. Kept here, so that it outlives the file.
    pub protect: bool,
    /// What happens when it leaves Git; `None` where nothing was said.
    pub on_remove: Option<OnRemove>,
    /// Whether its kind holds data, as the plugin said when it was written.
    pub holds_data: bool,
    /// How it became ours.
    pub origin: Origin,
    /// The run that last wrote it.
    pub run: String,
    /// The commit that was applied.
    pub revision: String,
}

impl InventoryEntry {
    /// What happens when it leaves Git, with the defaults filled in.
    #[must_use]
    pub fn removal(&self) -> OnRemove {
        self.on_remove.unwrap_or(if self.origin == Origin::Created && !self.holds_data {
            OnRemove::Delete
        } else {
            OnRemove::Release
        })
    }
}

/// A stack's word that an identity on a target is its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// The target.
    pub target: Name,
    /// The identity.
    pub identity: Identity,
    /// Who claims it.
    pub source: Name,
    /// Who claims it.
    pub stack: Name,
    /// Under which name.
    pub resource: ResourceRef,
}

/// Whether the store has ever known what is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ownership {
    /// The store is new: what is ours is not known, so nothing is deleted.
    Unknown,
    /// The store has finished a run for this lane.
    Known,
}
