//! What a lane should be: resources as their provider spells them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::error::{Diagnostic, Place};
use crate::name::{Identity, Kind, Lane, ResourceRef};
use crate::plugin::PluginRef;
use crate::resource::{Notify, OnRemove};
use crate::revision::Revision;
use crate::stack::Stack;

/// One resource of a lane, checked and normalised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredResource {
    /// `kind/name`.
    pub id: ResourceRef,
    /// What it is on its target.
    pub identity: Identity,
    /// Identities that exist once this one does.
    pub provides: Vec<Identity>,
    /// Identities that must exist before.
    pub requires: Vec<Identity>,
    /// Identities of what it speaks for besides its own, and another resource could: claimed with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Identity>,
    /// Resources of the stack that must be there before.
    pub needs: Vec<ResourceRef>,
    /// The spec, defaults filled in, contents replaced, spelled as the target would.
    pub spec: Value,
    /// JSON pointers of contents that were made of secrets, each with a digest of how: nobody is
    /// shown them, and what was there is not kept. Secrets that are values of their own stand in
    /// the spec by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub withheld: BTreeMap<String, Digest>,
    /// What happens when it leaves Git; `None` where nothing was said.
    pub on_remove: Option<OnRemove>,
    /// Never deleted or replaced while set.
    pub protect: bool,
    /// JSON pointers that are left alone.
    pub ignore: Vec<String>,
    /// Whom a change notifies.
    pub notify: Vec<Notify>,
    /// Where Git said so.
    pub place: Place,
}

/// The text that stands in a spec under a path: a file that its provider writes itself. The
/// path, absolute, is the name of the field.
#[must_use]
pub fn text_under<'s>(spec: &'s Value, path: &str) -> Option<&'s str> {
    match spec {
        Value::Object(map) => {
            let here = map.get(path).filter(|_| path.starts_with('/')).and_then(Value::as_str);
            here.or_else(|| map.values().find_map(|value| text_under(value, path)))
        }
        Value::Array(items) => items.iter().find_map(|item| text_under(item, path)),
        _ => None,
    }
}

/// The module of a stack, read from another revision than the stack itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModuleAt {
    /// The directory, from the source's root.
    pub path: String,
    /// The tag or commit that the stack names.
    pub rev: String,
    /// The revision that it stands for.
    pub revision: Revision,
}

/// Everything that a lane should hold at a revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// The lane.
    pub lane: Lane,
    /// The stack.
    pub stack: Stack,
    /// The revision.
    pub revision: Revision,
    /// Its module, where that is of another revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleAt>,
    /// In the order of rendering; identities and ids are unique.
    pub resources: Vec<DesiredResource>,
    /// The plugins that had a part: renderer first.
    pub plugins: Vec<PluginRef>,
    /// Digest of the stack's settings, values and policies that the plan rests on.
    pub settings: Digest,
    /// Warnings to show with the plan.
    pub warnings: Vec<Diagnostic>,
}

impl Desired {
    /// Resources by identity.
    #[must_use]
    pub fn by_identity(&self) -> BTreeMap<&Identity, &DesiredResource> {
        self.resources.iter().map(|resource| (&resource.identity, resource)).collect()
    }

    /// Kinds in use.
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.resources.iter().map(|resource| &resource.id.kind)
    }
}
