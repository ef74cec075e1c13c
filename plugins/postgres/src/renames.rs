//! What rests on something that is renamed in the same plan. Under the new name nothing is seen
//! yet, though it will be there, and under the old one nothing will be left: whatever is about
//! either is put off until the new name can be looked at.

use tidelock_sdk::spec::read;
use tidelock_sdk::{Action, Change, Error, Kind, Machine, Proposals, Step};

use crate::database::DatabaseSpec;
use crate::name;
use crate::role::RoleSpec;
use crate::schema::SchemaSpec;

/// Puts a change off whose kind says that it rests on something renamed.
pub(crate) fn first<K: Kind>(
    change: &Change<K::Spec>,
    machine: &Machine<'_>,
    propose: &Proposals<'_>,
) -> Result<Option<Step>, Error> {
    let renamed = machine.once("renames", || Ok(Renamed::of(propose)))?;
    if renamed.0.is_empty() {
        return Ok(None);
    }
    let rests = match (&change.desired, change.last_applied()) {
        (Some(spec), last) => {
            let mut rests = K::requires(spec);
            rests.extend(last.iter().flat_map(K::requires));
            rests
        }
        (None, last) => last.iter().flat_map(K::requires).collect(),
    };
    let mut others = renamed.0.iter().filter(|(id, ..)| *id != change.id);
    Ok(others.find_map(|(_, old, new)| {
        // Names of databases stand in the identities of what is in them.
        rests.iter().any(|identity| identity == old || identity == new).then(|| Step::Waits {
            on: new.clone(),
            why: format!("{old} is renamed first, and what rests on it is looked at under the new name"),
        })
    }))
}

/// Changes of a call that rename something: their numbers, and the old and the new identity.
struct Renamed(Vec<(u32, String, String)>);

impl Renamed {
    fn of(propose: &Proposals<'_>) -> Self {
        let made = propose.all_changes().iter().filter(|change| change.action == Action::Create);
        let renamed = made.filter_map(|change| {
            let (old, new) = names(&change.kind, change.desired.as_deref()?)?;
            Some((change.id, old, new))
        });
        Self(renamed.collect())
    }
}

/// The old and the new identity of what is renamed.
fn names(kind: &str, desired: &str) -> Option<(String, String)> {
    // Few specs have the word, and reading them takes longer than looking for it.
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
