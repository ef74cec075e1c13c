//! What rests on something that is renamed in the same plan. Under the new name nothing is seen
//! yet, though it will be there, and under the old one nothing will be left: whatever is about
//! either is put off until the new name can be looked at.

use tidelock_sdk::spec::read;
use tidelock_sdk::{Action, Change, Kind, Proposals, Step};

use crate::database::DatabaseSpec;
use crate::name;
use crate::role::RoleSpec;
use crate::schema::SchemaSpec;

/// Puts a change off whose kind says that it rests on something renamed.
pub(crate) fn first<K: Kind>(change: &Change<K::Spec>, propose: &Proposals<'_>) -> Option<Step> {
    let rests = match (&change.desired, change.last_applied()) {
        (Some(spec), last) => {
            let mut rests = K::requires(spec);
            rests.extend(last.iter().flat_map(K::requires));
            rests
        }
        (None, last) => last.iter().flat_map(K::requires).collect(),
    };
    let others = propose.all_changes().iter().filter(|other| other.id != change.id && other.action == Action::Create);
    others.filter_map(|other| names(&other.kind, other.desired.as_deref()?)).find_map(|(old, new)| {
        // Names of databases stand in the identities of what is in them.
        rests.iter().any(|identity| *identity == old || *identity == new).then(|| Step::Waits {
            on: new.clone(),
            why: format!("{old} is renamed first, and what rests on it is looked at under the new name"),
        })
    })
}

/// The old and the new identity of what is renamed.
fn names(kind: &str, desired: &str) -> Option<(String, String)> {
    // Every change asks this of every other one, and few specs have the word.
    if !desired.contains("\"renamed_from\"") {
        return None;
    }
    match kind.strip_prefix("postgres.")? {
        "role" => {
            let spec: RoleSpec = read(desired).ok()?;
            Some((name::role(spec.renamed_from?.as_str()), name::role(spec.name.as_str())))
        }
        "database" => {
            let spec: DatabaseSpec = read(desired).ok()?;
            Some((name::database(spec.renamed_from?.as_str()), name::database(spec.name.as_str())))
        }
        "schema" => {
            let spec: SchemaSpec = read(desired).ok()?;
            let database = spec.database.as_str();
            Some((name::schema(database, spec.renamed_from?.as_str()), name::schema(database, spec.name.as_str())))
        }
        _ => None,
    }
}
