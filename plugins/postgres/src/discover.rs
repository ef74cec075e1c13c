//! What a server has already, as the specs that a person would write: `tidelock import`.
//!
//! What the server made for itself is left out: predefined roles and the one that it was set
//! up with, templates, system schemas, what extensions brought, and privileges that are as
//! the server grants them from the start.

mod defaults;
mod grants;

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};
use tidelock_sdk::sql::{Database, Server};
use tidelock_sdk::{Error, Found, Machine};

pub(crate) use defaults::default_privileges;
pub(crate) use grants::grants;

use crate::settings::{Setting, Settings};

/// The role that the server was set up with. Its number is the same everywhere.
const BOOTSTRAP: &str = "SELECT r.rolname FROM pg_roles r WHERE r.oid = 10";

const OPEN: &str = "SELECT d.datname FROM pg_database d WHERE d.datallowconn AND NOT d.datistemplate ORDER BY 1";

/// Databases that every server has.
const SERVERS_OWN: [&str; 3] = ["postgres", "template0", "template1"];

/// A role, from all of its fields.
pub(crate) fn role(mut all: Map<String, Json>, machine: &Machine<'_>) -> Result<Option<Found>, Error> {
    let name = text(&all, "name");
    if name.starts_with("pg_") || bootstrap(machine)? == name {
        return Ok(None);
    }
    let new = json!({
        "login": false, "superuser": false, "createdb": false, "createrole": false, "inherit": true, "replication": false,
        "bypassrls": false, "connection_limit": -1, "valid_until": "infinity", "comment": "", "member_of": {}, "settings": {},
    });
    let signs_in = all.get("login") == Some(&json!(true));
    all.remove("exactly");
    without(&mut all, &new);
    let plain = json!({ "admin": false });
    if let Some(Json::Object(members)) = all.get("member_of")
        && members.values().all(|options| *options == plain)
    {
        let names: Vec<Json> = members.keys().cloned().map(Json::String).collect();
        all.insert("member_of".into(), Json::Array(names));
    }
    let remark = "if it has a password, that is left as it is; to manage it, add `password: { $secret: NAME }`";
    let remarks = if signs_in { vec![remark.to_owned()] } else { Vec::new() };
    Ok(Some(Found { name, spec: Json::Object(all), remarks }))
}

/// A database, from all of its fields.
pub(crate) fn database(mut all: Map<String, Json>) -> Option<Found> {
    let name = text(&all, "name");
    if SERVERS_OWN.contains(&name.as_str()) {
        return None;
    }
    if all.get("lc_collate") == all.get("lc_ctype") {
        all.remove("lc_ctype");
        let both = all.remove("lc_collate").unwrap_or_default();
        all.insert("locale".into(), both);
    }
    let new = json!({
        "locale_provider": "libc", "icu_locale": null, "tablespace": "pg_default", "connection_limit": -1,
        "allow_connections": true, "is_template": false, "comment": "", "settings": {},
    });
    without(&mut all, &new);
    // With another encoding or locale than the server's, only this one can be copied.
    all.insert("template".into(), json!("template0"));
    Some(Found { name, spec: Json::Object(all), remarks: Vec::new() })
}

/// What lies in each database that can be looked into, one after the other.
pub(crate) fn in_databases(
    machine: &Machine<'_>,
    mut look: impl FnMut(&str, &Database<'_>) -> Result<Vec<Found>, Error>,
) -> Result<Vec<Found>, Error> {
    let server = Server::of(machine);
    let names = server.home()?.query(OPEN, &[])?;
    let mut all = Vec::new();
    for row in names.iter() {
        let name: String = row.get("datname")?;
        match server.database(&name) {
            Ok(database) => all.extend(look(&name, &database)?),
            // The operator opened some of them to us.
            Err(failure) if failure.error.code == "denied" => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(all)
}

/// A schema, from all of its fields.
pub(crate) fn schema(mut all: Map<String, Json>) -> Option<Found> {
    let name = text(&all, "name");
    if name.starts_with("pg_") || matches!(name.as_str(), "information_schema" | "public") {
        return None;
    }
    without(&mut all, &json!({ "comment": "" }));
    Some(Found { name: format!("{}-{name}", text(&all, "database")), spec: Json::Object(all), remarks: Vec::new() })
}

/// An extension, from all of its fields. Its version is left to packages and to whoever says one.
pub(crate) fn extension(mut all: Map<String, Json>) -> Option<Found> {
    let name = text(&all, "name");
    if name == "plpgsql" {
        return None;
    }
    all.remove("version");
    without(&mut all, &json!({ "schema": "public" }));
    Some(Found { name: format!("{}-{name}", text(&all, "database")), spec: Json::Object(all), remarks: Vec::new() })
}

/// Settings of a role in one database. Those of a role or a database alone stand in its own spec.
pub(crate) fn settings(role: &str, database: &str, all: &Settings) -> Vec<Found> {
    if role.is_empty() || database.is_empty() {
        return Vec::new();
    }
    let one = |(name, value): (&String, &Setting)| Found {
        name: format!("{role}-{database}-{name}"),
        spec: json!({ "role": role, "database": database, "name": name, "value": value }),
        remarks: Vec::new(),
    };
    all.iter().map(one).collect()
}

/// A setting of the server that `ALTER SYSTEM` wrote.
pub(crate) fn server_setting(name: &str, value: &Setting) -> Found {
    Found { name: format!("server-{name}"), spec: json!({ "name": name, "value": value }), remarks: Vec::new() }
}

/// Settings of all roles, which no spec can say.
pub(crate) fn settings_of_all(all: &Settings) -> Option<Found> {
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    (!names.is_empty()).then(|| {
        Found::left_out(format!(
            "ALTER ROLE ALL has set {}: no kind keeps that, and it is left as it is",
            names.join(", ")
        ))
    })
}

/// The role that the server was set up with.
pub(crate) fn bootstrap(machine: &Machine<'_>) -> Result<String, Error> {
    let rows = Server::of(machine).home()?.query(BOOTSTRAP, &[])?;
    Ok(rows.iter().next().map(|row| row.get("rolname")).transpose()?.unwrap_or_default())
}

/// Takes out what is as a new one has it.
fn without(all: &mut Map<String, Json>, new: &Json) {
    all.retain(|key, value| new.get(key) != Some(value));
}

fn text(all: &Map<String, Json>, key: &str) -> String {
    all.get(key).and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// Privileges as a spec says them, where one spec can: words, columns, and whether they may be
/// granted on; with what it cannot say.
fn said(held: &BTreeSet<String>) -> (Vec<Json>, bool, Vec<String>) {
    const OPTION: &str = " WITH GRANT OPTION";
    let plain: Vec<&String> = held.iter().filter(|privilege| !privilege.ends_with(OPTION)).collect();
    let may = |privilege: &str| held.contains(&format!("{privilege}{OPTION}"));
    let all_may = !plain.is_empty() && plain.iter().all(|privilege| may(privilege));
    let mut remarks = Vec::new();
    if !all_may {
        let some: Vec<&str> =
            plain.iter().map(|privilege| privilege.as_str()).filter(|privilege| may(privilege)).collect();
        if !some.is_empty() {
            remarks.push(format!("{} may be granted on, and the others not; a spec says it of all", some.join(", ")));
        }
    }
    let mut words = Vec::new();
    let mut columns: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for privilege in plain {
        match privilege.split_once(" (").and_then(|(word, rest)| Some((word, rest.strip_suffix(')')?))) {
            Some((word, column)) => columns.entry(word).or_default().push(column),
            None => words.push(json!(privilege)),
        }
    }
    words.extend(columns.into_iter().map(|(word, columns)| json!({ word: columns })));
    (words, all_may, remarks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(items: &[&str]) -> BTreeSet<String> {
        items.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn privileges_are_said_as_a_person_would() {
        let (words, option, remarks) = said(&set(&["SELECT", "UPDATE (a)", "UPDATE (b)"]));
        assert_eq!((words, option), (vec![json!("SELECT"), json!({"UPDATE": ["a", "b"]})], false));
        assert!(remarks.is_empty());
        assert!(said(&set(&["SELECT", "SELECT WITH GRANT OPTION"])).1);
        let (_, option, remarks) = said(&set(&["SELECT", "SELECT WITH GRANT OPTION", "INSERT"]));
        assert!(!option && remarks[0].starts_with("SELECT may be granted on"));
    }

    #[test]
    fn what_is_as_a_new_one_is_not_said() {
        let all = json!({ "database": "app", "name": "sales", "owner": "app", "comment": "" });
        let found = schema(all.as_object().cloned().unwrap()).unwrap();
        assert_eq!(found.spec, json!({ "database": "app", "name": "sales", "owner": "app" }));
        assert_eq!(found.name, "app-sales");
    }
}
