//! What a change rests on and is nowhere: not on the server, and made by nothing of the plan.
//! Statements that name it would fail, and take the rest of their transaction with them; so the
//! change waits, and says for what.

use std::collections::BTreeSet;
use std::rc::Rc;

use tidelock_sdk::sql::{Server, identity};
use tidelock_sdk::{Action, Change, Error, Machine, Proposals, Step, nearest};

use crate::place;

const ROLES: &str = "SELECT r.rolname FROM pg_roles r";
const SCHEMAS: &str = "SELECT n.nspname FROM pg_namespace n";

/// The step of a change that rests on a role, a database or a schema that is nowhere. Other
/// identities are passed over.
pub(crate) fn first<S>(
    change: &Change<S>,
    rests_on: &[String],
    machine: &Machine<'_>,
    propose: &Proposals<'_>,
) -> Result<Option<Step>, Error> {
    // Of a plan that the host had to split only a part is seen: another may make it.
    if change.action == Action::Delete || propose.all_changes().iter().any(|change| change.part) {
        return Ok(None);
    }
    let made = machine.once("made", || {
        let others = propose.all_changes().iter().filter(|change| change.action != Action::Delete);
        Ok(others.map(|change| change.identity.clone()).collect::<BTreeSet<String>>())
    })?;
    for wanted in rests_on.iter().filter(|wanted| !made.contains(*wanted)) {
        let parts = identity::parts(wanted);
        let (word, name, place, known) = match (wanted.split_once(':'), parts.as_slice()) {
            (Some(("role", _)), [name]) => ("role", name, String::new(), roles(machine)?),
            (Some(("database", _)), [name]) => ("database", name, String::new(), place::names(machine)?),
            (Some(("schema", _)), [database, name]) => {
                // Some extensions bring a schema of their own.
                let extensions = identity::of("extension", [database.as_str(), ""]);
                if made.iter().any(|made| made.starts_with(&extensions) && *made != change.identity) {
                    continue;
                }
                // Of a database that is nowhere that alone is said.
                let Some(known) = schemas(machine, database)? else { continue };
                ("schema", name, format!(" in {database}"), known)
            }
            _ => continue,
        };
        if known.contains(name) {
            continue;
        }
        // Nobody rests on themselves.
        let itself = change.identity.split_once(':').is_some_and(|(class, _)| class == word);
        let itself = if itself { identity::parts(&change.identity).pop() } else { None };
        let brought = made.iter().filter(|made| made.split_once(':').is_some_and(|(class, _)| class == word));
        let brought: Vec<String> = brought.filter_map(|made| identity::parts(made).pop()).collect();
        let meant = known.iter().chain(&brought).filter(|other| Some(*other) != itself.as_ref());
        let near = nearest(name, meant.map(String::as_str));
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let why = format!("there is no {word} {name}{place}, and nothing in this plan makes it{near}");
        return Ok(Some(Step::Waits { on: wanted.clone(), why }));
    }
    Ok(None)
}

/// The roles that there are.
pub(crate) fn roles(machine: &Machine<'_>) -> Result<Rc<BTreeSet<String>>, Error> {
    machine.once("names of roles", || {
        let rows = Server::of(machine).home()?.query(ROLES, &[])?;
        rows.iter().map(|row| row.get("rolname")).collect()
    })
}

/// The schemas of a database that is there.
fn schemas(machine: &Machine<'_>, database: &str) -> Result<Option<Rc<BTreeSet<String>>>, Error> {
    let Some(opened) = place::opened(machine, database)? else { return Ok(None) };
    let names = machine.once(&format!("names of schemas {database}"), || {
        let rows = opened.query(SCHEMAS, &[])?;
        rows.iter().map(|row| row.get("nspname")).collect()
    });
    names.map(Some)
}
