//! What to look at before planning: everything wanted and everything owned.
//!
//! Hands out names of fields only. Desired values never reach `observe`, so a
//! provider cannot answer with what it was told.

use std::collections::BTreeMap;

use serde_json::Value;
use tidelock_model::desired::Desired;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::kind::KindInfo;
use tidelock_model::name::{Identity, Kind};
use tidelock_model::observation::Subject;

use crate::diff::missing_defaults;
use crate::input::is_of;
use crate::pointer;

/// What to look at: the desired resources and what the lane owns, once each, sorted
/// by identity. `inventory` is all of the target's.
#[must_use]
pub fn subjects(desired: &Desired, inventory: &[InventoryEntry], kinds: &BTreeMap<Kind, KindInfo>) -> Vec<Subject> {
    let mut out: BTreeMap<Identity, Subject> = BTreeMap::new();
    for entry in inventory.iter().filter(|entry| is_of(entry, &desired.lane)) {
        let kind = entry.address.resource.kind.clone();
        let fields = managed(&entry.applied, kinds.get(&kind), &[]);
        let handle = entry.handle.clone();
        out.insert(entry.identity.clone(), Subject { identity: entry.identity.clone(), kind, handle, fields });
    }
    let handles: BTreeMap<(&Identity, &Kind), &String> = inventory
        .iter()
        .filter_map(|entry| Some(((&entry.identity, &entry.address.resource.kind), entry.handle.as_ref()?)))
        .collect();
    for resource in &desired.resources {
        let kind = &resource.id.kind;
        let subject = Subject {
            identity: resource.identity.clone(),
            kind: kind.clone(),
            // A handle of another kind means nothing to this one.
            handle: handles.get(&(&resource.identity, kind)).copied().cloned(),
            fields: managed(&resource.spec, kinds.get(kind), &resource.ignore),
        };
        out.insert(resource.identity.clone(), subject);
    }
    out.into_values().collect()
}

/// Pointers of the fields that a spec manages, sorted.
pub fn managed(spec: &Value, info: Option<&KindInfo>, ignore: &[String]) -> Vec<String> {
    let content = |at: &str| {
        info.is_some_and(|info| info.fields.iter().any(|field| field.roles.content && pointer::names(&field.path, at)))
    };
    let mut fields = pointer::leaves(spec, &content);
    fields.extend(missing_defaults(spec, info).map(|(path, _)| path.to_owned()));
    fields.retain(|field| !field.is_empty() && !pointer::covered(ignore, field));
    fields.sort_unstable();
    fields.dedup();
    fields
}
