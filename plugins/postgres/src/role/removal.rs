//! Dropping a role: only once nothing of it is left, or as the spec says.

use std::collections::BTreeMap;

use tidelock_sdk::provider::AnyChange;
use tidelock_sdk::sql::{Rows, Server, Value, drop, identity, reassign_owned};
use tidelock_sdk::{Action, Change, Error, Machine, Proposals, Step};

use super::RoleSpec;
use crate::name::together::ROLES_GONE;

/// How many owned things are named before the rest is counted.
const NAMED: usize = 20;

/// What rests on the role, by database: whether it is owned (`o`) or a privilege, and where.
/// What belongs to the whole server has no database.
const RESTS: &str = "SELECT r.rolname, coalesce(d.datname, '') AS datname, s.deptype::text AS deptype, \
    s.classid::regclass::text AS class, s.classid, s.objid, s.objsubid \
    FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid LEFT JOIN pg_database d ON d.oid = s.dbid \
    WHERE s.refclassid = 'pg_authid'::regclass";

/// What things are called, in the database that they lie in.
const NAMES: &str = "SELECT pg_describe_object(s.classid, s.objid, s.objsubid) AS name \
    FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid LEFT JOIN pg_database d ON d.oid = s.dbid \
    WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o' AND r.rolname = $1 \
    AND (d.datname = current_database() OR d.datname IS NULL AND $2::bool)";

/// What belongs to the whole server, of which `DROP OWNED` takes nothing.
const SHARED: &str = "SELECT pg_describe_object(s.classid, s.objid, s.objsubid) AS name \
    FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid \
    WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o' AND s.dbid = 0 AND r.rolname = $1 ORDER BY 1";

pub(super) fn steps(change: &Change<RoleSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
    let name = identity::parts(&change.identity).concat();
    let server = Server::of(machine);
    let facts = server.facts()?;
    if facts.acts_as == name {
        let message = format!("{name} is the role that Tidelock itself signs in as; it cannot drop itself");
        return Ok(Step::Refused(Error::target("refused", message)));
    }
    let rows = server.home()?.query(RESTS, &[])?;
    let owned = databases(&rows, &name, true)?;
    let any = databases(&rows, &name, false)?;
    let last = change.last_applied();
    let heir = last.as_ref().and_then(|last| last.reassign_owned_to.as_ref()).map(|heir| heir.as_str().to_owned());
    let dropped = last.as_ref().is_some_and(|last| last.drop_owned);
    // What it owns may go in the same plan: then it goes after that.
    let goes = |other: &&AnyChange| other.action == Action::Delete && !other.kind.ends_with(".role");
    if heir.is_none() && dropped && owned.contains_key("") {
        let database = |other: &&AnyChange| goes(other) && other.kind.ends_with(".database");
        if let Some(other) = propose.all_changes().iter().find(database) {
            let why = format!("{name} owns databases, and one may go with what leaves Git together with it");
            return Ok(Step::Waits { on: other.identity.clone(), why });
        }
        return Ok(Step::Refused(owns_shared(&name, server)?));
    }
    if !owned.is_empty() && heir.is_none() && !dropped {
        if let Some(other) = propose.all_changes().iter().find(goes) {
            let why = format!("{name} owns objects, and some may go with what leaves Git together with it");
            return Ok(Step::Waits { on: other.identity.clone(), why });
        }
        return Ok(Step::Refused(still_owns(&name, &owned, server)?));
    }
    if heir.is_none() && !dropped {
        // It is the same role; what else is known of it may change earlier in the plan.
        let roles = server.home()?.query("SELECT r.rolname, r.oid FROM pg_roles r", &[])?;
        let seen = roles.seen(&[Value::from(&name)])?;
        propose.add(drop("role", [&name]).seen(seen).together(ROLES_GONE))?;
        return Ok(Step::Proposed);
    }
    // What leaves Git together with it may rest on it: then it goes after that, judged by what is left.
    if let Some(other) = propose.all_changes().iter().find(goes).filter(|_| !any.is_empty()) {
        let why = format!("things rest on {name}, and some may go with what leaves Git together with it");
        return Ok(Step::Waits { on: other.identity.clone(), why });
    }
    // What rests on it now is what was judged: nothing that came later goes with it.
    let mut seen = Some(rows.seen(&[Value::from(&name)])?);
    let home = facts.database;
    for database in any.keys() {
        let within = if database.is_empty() { &home } else { database };
        if let Some(heir) = &heir {
            let given = reassign_owned(&name, heir).within(within);
            propose.add(match seen.take() {
                Some(seen) => given.seen(seen),
                None => given,
            })?;
        }
        if dropped {
            let gone = drop("owned", [&name]).within(within);
            propose.add(match seen.take() {
                Some(seen) => gone.seen(seen),
                None => gone,
            })?;
        }
    }
    propose.add(drop("role", [&name]))?;
    Ok(Step::Proposed)
}

/// How many things of each database rest on a role.
fn databases(rows: &Rows, role: &str, owned: bool) -> Result<BTreeMap<String, usize>, Error> {
    let mut out = BTreeMap::new();
    for row in rows {
        if row.get::<String>("rolname")? == role && (!owned || row.get::<String>("deptype")? == "o") {
            *out.entry(row.get("datname")?).or_default() += 1;
        }
    }
    Ok(out)
}

/// That a role owns what `DROP OWNED` leaves, and with it the role.
fn owns_shared(name: &str, server: Server<'_>) -> Result<Error, Error> {
    let rows = server.home()?.query(SHARED, &[Value::from(name)])?;
    let mut names = rows.iter().map(|row| row.get::<String>("name")).collect::<Result<Vec<_>, _>>()?;
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!(
        "the role {name} owns {}{more}, which `drop_owned` leaves as they are: PostgreSQL drops no database with a role; \
         give them another owner, or put `reassign_owned_to: ROLE` into its spec, apply, and then remove it",
        names.join(", ")
    );
    Ok(Error::target("refused", message))
}

fn still_owns(name: &str, owned: &BTreeMap<String, usize>, server: Server<'_>) -> Result<Error, Error> {
    let home = server.facts()?.database;
    let mut lines = Vec::new();
    let mut here = owned.clone();
    let shared = here.remove("").unwrap_or_default();
    if shared > 0 {
        here.entry(home.clone()).or_default();
    }
    for (database, count) in &here {
        let in_home = *database == home;
        let total = count + if in_home { shared } else { 0 };
        // A database that cannot be opened still says how much there is.
        let names = server
            .database(database)
            .and_then(|opened| opened.query(NAMES, &[Value::from(name), Value::Boolean(in_home)]));
        let Ok(names) = names else {
            lines.push(format!("{total} objects in {database}"));
            continue;
        };
        let mut named = names.iter().map(|row| row.get::<String>("name")).collect::<Result<Vec<_>, _>>()?;
        named.sort();
        let more = named.len().saturating_sub(NAMED);
        named.truncate(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("in {database}: {}{more}", named.join(", ")));
    }
    Ok(Error::target(
        "refused",
        format!(
            "the role {name} owns objects ({}); put `reassign_owned_to: ROLE` or `drop_owned: true` into its spec, apply, \
             and then remove it",
            lines.join("; ")
        ),
    ))
}
