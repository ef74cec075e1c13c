//! What is to be taken back and granted, from what is held now, what is wanted and what was
//! granted before.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tidelock_sdk::effect::Effect;
use tidelock_sdk::sql::statement::Grant as GrantStatement;
use tidelock_sdk::sql::{Database, Grantee, Privilege, Server, Value, grant, identity, revoke};
use tidelock_sdk::{Action, Change, Error, Machine, Proposals, Step, nearest};

use super::held::Held;
use super::others::Others;
use super::{GrantSpec, object};
use crate::name::{Name, Owns, together};
use crate::place::opened;
use crate::privileges::{Class, Difference, OPTION, Set, difference, statements};

const COLUMNS: &str = "SELECT c.relname::text AS table_name, t.attname::text AS column_name FROM pg_attribute t \
    JOIN pg_class c ON c.oid = t.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE NOT t.attisdropped AND n.nspname::text = $1 AND c.relname::text = ANY($2::text[])";

pub(super) fn steps(change: &Change<GrantSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
    let last = change.last_applied();
    let gone = change.action == Action::Delete;
    let Some(spec) = (if gone { last.as_ref() } else { change.desired.as_ref() }) else {
        // Nobody knows what was granted.
        return Ok(Step::Proposed);
    };
    let held = held(spec, machine, propose)?;
    let schema = spec.schema.as_ref().map_or("", Name::as_str);
    let version = Server::of(machine).facts()?.number;
    let wanted = if gone { Set::new() } else { spec.wanted(version)? };
    let all = !gone && spec.owns == Owns::All;
    let empty = Set::new();
    let held = held.as_deref();
    let of = |object: &str| held.map_or(&empty, |held| held.of(spec.role.as_str(), spec.on, schema, object));
    let none = BTreeSet::new();
    let there = held.map_or(&none, |held| held.objects(spec.on, schema));
    let mut differences: Vec<(Option<String>, Difference)> = Vec::new();
    if spec.all {
        let each = || there.iter().map(|object| of(object));
        let anywhere: Set = each().flatten().cloned().collect();
        let before = last.as_ref().map(|last| last.granted(None)).unwrap_or_default();
        let mut found = difference(&anywhere, &wanted, &before, all);
        found.grant = wanted.iter().filter(|privilege| !each().all(|set| set.contains(*privilege))).cloned().collect();
        if there.is_empty() && !gone {
            // What comes later is found by the next look; a schema that is not there yet is not.
            found.grant.clone_from(&wanted);
        }
        // What is on a column of one table is said of that table: the others have no such column.
        let (columns, whole): (Set, Set) = found.revoke.into_iter().partition(|one| one.contains(" ("));
        found.revoke = whole;
        differences.push((None, found));
        for object in there.iter().filter(|_| !columns.is_empty()) {
            let revoke: Set = of(object).intersection(&columns).cloned().collect();
            differences.push((Some(object.clone()), Difference { revoke, grant: Set::new() }));
        }
    } else {
        let mut names: BTreeSet<String> = if gone { BTreeSet::new() } else { spec.objects().into_iter().collect() };
        if let Some(missing) = names.iter().find(|name| looked_for(spec.on) && !there.contains(*name)) {
            return Ok(absent(spec, missing, there));
        }
        let listed = names.clone();
        names.extend(last.iter().flat_map(|last| last.objects.keys().cloned()));
        for name in names {
            let wanted = if listed.contains(&name) { &wanted } else { &empty };
            let before = last.as_ref().map(|last| last.granted(Some(&name))).unwrap_or_default();
            let new = if there.contains(&name) { Set::new() } else { from_the_start(spec, &name, version, propose) };
            let held = if there.contains(&name) { of(&name) } else { &new };
            let found = difference(held, wanted, &before, all && listed.contains(&name));
            differences.push((Some(name), found));
        }
    }
    if let Some(refused) = columns(spec, &differences, machine)? {
        return Ok(Step::Refused(refused));
    }
    if differences.iter().any(|(_, found)| !found.revoke.is_empty())
        && let Some(others) = others(spec, machine, propose)?
    {
        let bar = |(name, found): &(Option<String>, Difference)| others.bar(spec, name.as_deref(), &found.revoke);
        if let Some(refused) = differences.iter().find_map(bar) {
            return Ok(Step::Refused(refused));
        }
    }
    for (name, found) in &differences {
        add(spec, name.as_deref(), found, propose)?;
    }
    Ok(Step::Proposed)
}

/// Refuses privileges on columns that the table has not: the server would, and with them all else of
/// their transaction.
fn columns(
    spec: &GrantSpec,
    differences: &[(Option<String>, Difference)],
    machine: &Machine<'_>,
) -> Result<Option<Error>, Error> {
    let granted = |found: &Difference| found.grant.iter().any(|privilege| privilege.contains(" ("));
    if !differences.iter().any(|(_, found)| granted(found)) {
        return Ok(None);
    }
    let (Some(database), Some(schema)) = (opened(machine, spec.database.as_str())?, &spec.schema) else {
        return Ok(None);
    };
    let rows = database.query(COLUMNS, &[Value::from(schema.as_str()), Value::from(spec.objects())])?;
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in &*rows {
        known.entry(row.get("table_name")?).or_default().insert(row.get("column_name")?);
    }
    for (name, found) in differences {
        let Some((name, known)) = name.as_ref().and_then(|name| Some((name, known.get(name)?))) else { continue };
        let wanted = found.grant.iter().filter_map(|one| one.strip_suffix(OPTION).unwrap_or(one).split_once(" ("));
        let mut columns = wanted.map(|(_, column)| column.strip_suffix(')').unwrap_or(column));
        if let Some(wrong) = columns.find(|column| !known.contains(*column)) {
            let near = nearest(wrong, known.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let message = format!("the table {name} of {schema} has no column {wrong}{near}");
            return Ok(Some(Error::target("invalid", message).at("/privileges")));
        }
    }
    Ok(None)
}

/// What stands in the way of taking something back; none where the database is not there yet.
fn others(spec: &GrantSpec, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Option<Rc<Others>>, Error> {
    let acts_as = Server::of(machine).facts()?.acts_as;
    if spec.on == Class::Database {
        let home = Server::of(machine).home()?;
        let asked = || Others::of(&home, &BTreeSet::from([Class::Database]), &BTreeSet::new(), &acts_as);
        return machine.once("others on databases", asked).map(Some);
    }
    let Some(database) = opened(machine, spec.database.as_str())? else { return Ok(None) };
    let name = format!("others in {}", spec.database);
    let asked = || {
        let (classes, _, schemas) = spoken_of(spec.database.as_str(), propose);
        Others::of(&database, &classes, &schemas, &acts_as)
    };
    machine.once(&name, asked).map(Some)
}

/// What is held now on what a grant is on; none where the database is not there yet.
fn held(spec: &GrantSpec, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Option<Rc<Held>>, Error> {
    if spec.on == Class::Database {
        return Held::on_databases(machine).map(Some);
    }
    let Some(database) = opened(machine, spec.database.as_str())? else { return Ok(None) };
    // One question for all grants of the call.
    let name = format!("grants {}", spec.database);
    machine.once(&name, || asked(spec.database.as_str(), &database, propose)).map(Some)
}

/// What the grantees of all changes hold in a database.
fn asked(name: &str, database: &Database<'_>, propose: &Proposals<'_>) -> Result<Held, Error> {
    let (classes, grantees, schemas) = spoken_of(name, propose);
    Held::within(database, &classes, &grantees, &schemas)
}

/// Of which classes, grantees and schemas the grants among all changes speak in a database.
fn spoken_of(name: &str, propose: &Proposals<'_>) -> (BTreeSet<Class>, BTreeSet<String>, BTreeSet<String>) {
    let kind = change_kind();
    let (mut classes, mut grantees, mut schemas) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for change in propose.all_changes().iter().filter(|change| change.kind == kind) {
        let mut parts = identity::parts(&change.identity).into_iter();
        let (Some(role), Some(within), Some(class)) = (parts.next(), parts.next(), parts.next()) else { continue };
        if within == name && class != Class::Database.word() {
            grantees.insert(role);
            classes.extend(Class::of_word(&class));
            schemas.extend(parts.next());
        }
    }
    (classes, grantees, schemas)
}

/// What the server grants by itself on something that is not there yet: it is taken back in the
/// same plan that makes the thing.
fn from_the_start(spec: &GrantSpec, name: &str, version: u32, propose: &Proposals<'_>) -> Set {
    let owned = || will_own(spec, name, propose);
    let words: &[&str] = match (spec.role.as_str(), spec.on) {
        ("public", Class::Database) => &["CONNECT", "TEMPORARY"],
        ("public", Class::Schema) if name == "public" && version < 150_000 => &["CREATE", "USAGE"],
        ("public", Class::Schema) if name == "public" => &["USAGE"],
        ("public", Class::Language) => &["USAGE"],
        (_, Class::Database) if owned() => &["CONNECT", "CREATE", "TEMPORARY"],
        (_, Class::Schema) if owned() => &["CREATE", "USAGE"],
        _ => &[],
    };
    words.iter().map(ToString::to_string).collect()
}

/// Whether the plan makes a database or schema whose owner the grantee is.
fn will_own(spec: &GrantSpec, name: &str, propose: &Proposals<'_>) -> bool {
    let parts = match spec.on {
        Class::Database => vec![name.to_owned()],
        _ => vec![spec.database.to_string(), name.to_owned()],
    };
    let identity = identity::of(spec.on.word(), parts);
    let made = propose.all_changes().iter().find(|change| change.identity == identity);
    let desired = made.and_then(|change| change.desired.as_deref());
    let desired = desired.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    desired.is_some_and(|desired| desired["owner"] == spec.role.as_str())
}

fn change_kind() -> String {
    format!("postgres.{}", <super::Grant as tidelock_sdk::Kind>::NAME)
}

/// Whether things of a class must be there already: nobody in Git makes them.
fn looked_for(class: Class) -> bool {
    !matches!(class, Class::Database | Class::Schema | Class::Language)
}

/// The step of a grant on something that is not there. A function that is there with other types is no
/// matter of waiting.
fn absent(spec: &GrantSpec, name: &str, there: &BTreeSet<String>) -> Step {
    let bare = |signature: &str| signature.split('(').next().unwrap_or_default().to_owned();
    let routine = matches!(spec.on, Class::Function | Class::Procedure);
    let alike: Vec<&str> =
        there.iter().filter(|other| routine && bare(other) == bare(name)).map(String::as_str).collect();
    if alike.is_empty() {
        return waits(spec, name);
    }
    let message = format!(
        "there is no {} {name} in {}; there is {}: write it with the types of its arguments",
        spec.on.object(),
        spec.database,
        alike.join(", ")
    );
    Step::Refused(Error::target("invalid", message).at("/names"))
}

fn waits(spec: &GrantSpec, name: &str) -> Step {
    let mut parts = vec![spec.database.to_string()];
    parts.extend(spec.schema.iter().map(Name::to_string));
    let place = spec
        .schema
        .as_ref()
        .map_or_else(|| spec.database.to_string(), |schema| format!("{schema} of {}", spec.database));
    parts.extend(object(spec.on, name));
    Step::Waits {
        on: identity::of(spec.on.word(), parts),
        why: format!(
            "there is no {} {name} in {place} yet; what is granted on it follows once it is there",
            spec.on.object()
        ),
    }
}

/// Proposes what lies between; on an object, or on all of the schema.
fn add(spec: &GrantSpec, name: Option<&str>, found: &Difference, propose: &Proposals<'_>) -> Result<(), Error> {
    for (set, back) in [(&found.revoke, true), (&found.grant, false)] {
        for (with_option, privileges) in statements(set, back) {
            propose.add(statement(spec, name, privileges, back).with_option(with_option))?;
        }
    }
    Ok(())
}

fn statement(spec: &GrantSpec, name: Option<&str>, privileges: Vec<Privilege>, back: bool) -> Effect<GrantStatement> {
    let unfinished = if back { revoke(privileges) } else { grant(privileges) };
    let class = spec.on.object();
    let schema = spec.schema.as_ref().map(Name::to_string);
    let granted = match name {
        None => unfinished.on_all(class, schema.as_deref().unwrap_or_default()),
        Some(name) if matches!(spec.on, Class::Database | Class::Schema) => unfinished.on(class, [name]),
        Some(name) => unfinished.on(class, schema.into_iter().chain(object(spec.on, name))),
    };
    let grantee = match spec.role.as_str() {
        "public" => Grantee::Public,
        role => Grantee::from(role),
    };
    let effect = granted.to(grantee);
    match spec.on {
        Class::Database => effect.together(together::ON_DATABASES),
        _ => effect.within(spec.database.as_str()).together(together::within(spec.database.as_str())),
    }
}
