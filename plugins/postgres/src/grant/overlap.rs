//! Two grants to one role that speak of the same thing, of which one owns all: it would take back at
//! each pass what the other one grants.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_sdk::provider::Declared;
use tidelock_sdk::{Diagnostic, Kind};

use super::{Grant, GrantSpec};
use crate::name::Owns;
use crate::privileges::{Class, Set};

/// What a grant says, as far as another one may say it too.
struct Said<'r> {
    at: usize,
    address: &'r str,
    /// None for all that the schema holds.
    objects: Option<BTreeSet<String>>,
    owns_all: bool,
    wanted: Set,
}

/// An error for each grant that owns all and would undo another one.
pub(crate) fn grants(resources: &[Declared]) -> Vec<(usize, Diagnostic)> {
    let kind = format!("postgres.{}", Grant::NAME);
    let mut groups: BTreeMap<(String, String, Class, String), Vec<Said<'_>>> = BTreeMap::new();
    for (at, declared) in resources.iter().enumerate().filter(|(_, declared)| declared.kind == kind) {
        // What cannot be read is refused elsewhere, and a word that is no privilege where the server is known.
        let Ok(spec) = serde_json::from_str::<GrantSpec>(&declared.spec) else { continue };
        let Ok(wanted) = spec.wanted(u32::MAX) else { continue };
        let key = (
            spec.role.to_string(),
            spec.database.to_string(),
            spec.on,
            spec.schema.as_ref().map(ToString::to_string).unwrap_or_default(),
        );
        let objects = (!spec.all).then(|| spec.objects().into_iter().collect());
        let owns_all = spec.owns == Owns::All;
        groups.entry(key).or_default().push(Said { at, address: &declared.address, objects, owns_all, wanted });
    }
    let mut out = Vec::new();
    for ((role, _, on, _), group) in &groups {
        for owner in group.iter().filter(|said| said.owns_all) {
            for other in group.iter().filter(|other| other.at != owner.at) {
                let Some(object) = shared(owner, other) else { continue };
                let undone: Vec<&str> = other.wanted.difference(&owner.wanted).map(String::as_str).collect();
                if undone.is_empty() {
                    continue;
                }
                let message = format!(
                    "{} owns all that {role} has on {object}, and would take back at each pass what {} grants there: {}",
                    owner.address,
                    other.address,
                    undone.join(", ")
                );
                let hint =
                    format!("list it in both, or write `owns: listed`; or leave the {} to one of them", on.object());
                out.push((owner.at, Diagnostic::error(message).at("/owns").hint(hint)));
            }
        }
    }
    out
}

/// What both speak of, in words.
fn shared(one: &Said<'_>, other: &Said<'_>) -> Option<String> {
    match (&one.objects, &other.objects) {
        (Some(one), Some(other)) => one.intersection(other).next().cloned(),
        (Some(names), None) | (None, Some(names)) => names.iter().next().cloned(),
        (None, None) => Some("all of the schema".to_owned()),
    }
}
