//! Resources as a stack declares them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Place;
use crate::name::{Kind, Name, ResourceRef};

/// What happens to a resource that leaves Git.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRemove {
    /// It is deleted.
    Delete,
    /// It stays, and is no longer ours.
    Release,
}

/// What a change asks of another resource, once it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Whom: `kind/name` in the same stack.
    pub to: ResourceRef,
    /// What: one of the kind's triggers.
    #[serde(rename = "do")]
    pub ask: String,
}

/// A resource as it was rendered: the fields that a resource file may hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceDecl {
    /// `<plugin>.<kind>`.
    pub kind: Kind,
    /// Unique per kind in the stack.
    pub name: Name,
    /// `kind/name` in the stack that must be there first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<ResourceRef>,
    /// Default: release for what was adopted and for kinds that hold data, else delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_remove: Option<OnRemove>,
    /// Never deleted or replaced while set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protect: bool,
    /// JSON pointers into the spec that are left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Whom a change of this resource notifies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Notify>,
    /// The only target that it is for; else all of the stack's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Name>,
    /// The provider's own fields.
    pub spec: Value,
}

impl ResourceDecl {
    /// `kind/name`.
    #[must_use]
    pub fn id(&self) -> ResourceRef {
        ResourceRef { kind: self.kind.clone(), name: self.name.clone() }
    }
}

/// A resource with the place that it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// What the file said, contents replaced by digests.
    #[serde(flatten)]
    pub decl: ResourceDecl,
    /// Where it said so.
    pub place: Place,
}

/// A resource as a renderer handed it over: not yet read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RenderedDoc {
    /// The whole resource as a JSON object.
    pub document: String,
    /// Where it came from; `$file` is relative to this file's directory.
    pub place: Place,
}
