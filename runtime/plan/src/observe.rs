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
use tidelock_model::observation::{Subject, commands};
use tidelock_model::pointer;

use crate::diff::{covering, missing_defaults};
use crate::input::is_of;

/// What to look at: the desired resources and what the lane owns, once each, sorted
/// by identity. `inventory` is all of the target's.
#[must_use]
pub fn subjects(desired: &Desired, inventory: &[InventoryEntry], kinds: &BTreeMap<Kind, KindInfo>) -> Vec<Subject> {
    let mut out: BTreeMap<Identity, Subject> = BTreeMap::new();
    for entry in inventory.iter().filter(|entry| is_of(entry, &desired.lane)) {
        let kind = entry.address.resource.kind.clone();
        let fields = managed(&entry.applied, kinds.get(&kind), &[]);
        let handle = entry.handle.clone();
        let commands = commands(&entry.applied);
        out.insert(
            entry.identity.clone(),
            Subject { identity: entry.identity.clone(), kind, handle, fields, commands },
        );
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
            commands: commands(&resource.spec),
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
    let how = |at: &str| covering(info, at, |roles| roles.how);
    fields.retain(|field| !field.is_empty() && !pointer::covered(ignore, field) && !how(field));
    fields.sort_unstable();
    fields.dedup();
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::subjects;
    use crate::tests::example::{Example, kinds, path};

    #[test]
    fn what_is_wanted_and_what_is_owned_is_looked_at_once() {
        let mut example = Example::new();
        example.have("a", "/a", "0644").handle = Some("17".to_owned());
        example.have("left", "/left", "0644");
        example.owned_by("db", "server.file/theirs", "/theirs", "0644");
        example.owned_by("db", "server.table/other-kind", "/z", "").handle = Some("18".to_owned());
        let spec = json!({"path": "/a", "mode": "0600", "list": [{"x": 1}], "deep": {"b": 1, "a": {}}});
        example.want("server.file/a", &spec).ignore.push("/mode".to_owned());
        example.file("z", "/z", "0644");
        let seen = subjects(&example.desired(), &example.inventory, &kinds());
        let identities: Vec<_> = seen.iter().map(|subject| subject.identity.clone()).collect();
        assert_eq!(identities, [path("/a"), path("/left"), path("/z")]);
        assert_eq!(seen[0].fields, ["/deep/a", "/deep/b", "/list", "/path"]);
        assert_eq!(seen[0].handle.as_deref(), Some("17"));
        assert_eq!(seen[2].handle, None, "a handle of another kind means nothing");
        assert!(!format!("{seen:?}").contains("0600"), "desired values never reach observe");
    }
}
