//! Privileges that are not as the server grants them from the start.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use tidelock_sdk::sql::{Row, Rows, Server};
use tidelock_sdk::{Error, Found, Machine};

use super::{in_databases, said};
use crate::privileges::{self, Set};

/// Access lists that somebody set, beside those that the server would have: one row for each
/// grantee and object, on either side.
fn query(objects: &str) -> String {
    let side = |acl: &str, side: &str| {
        format!(
            "SELECT '{side}' AS side, coalesce(g.rolname::text, 'public') AS grantee, o.class, o.schema, o.name, \
             json_agg(json_build_array(a.privilege_type, a.is_grantable, o.col) ORDER BY a.privilege_type, o.col, a.is_grantable) \
             AS privileges FROM ({objects}) o CROSS JOIN LATERAL aclexplode(o.{acl}) a \
             LEFT JOIN pg_roles g ON g.oid = a.grantee GROUP BY 1, 2, 3, 4, 5"
        )
    };
    format!("{} UNION ALL {}", side("acl", "held"), side("dacl", "new"))
}

const DATABASES: &str = "SELECT 'database' AS class, '' AS schema, d.datname::text AS name, d.datacl AS acl, \
    acldefault('d', d.datdba) AS dacl, '' AS col FROM pg_database d WHERE d.datacl IS NOT NULL AND NOT d.datistemplate";

/// What lies in a database. What the server and extensions brought began with the privileges that they gave
/// it, which the catalog keeps.
fn within(version: u32) -> String {
    let ours = "left(n.nspname::text, 7) <> 'pg_temp' AND left(n.nspname::text, 8) <> 'pg_toast'";
    let begun = |catalog: &str, oid: &str, part: &str| {
        format!(
            "LEFT JOIN pg_init_privs i ON i.objoid = {oid} AND i.classoid = '{catalog}'::regclass AND i.objsubid = {part}"
        )
    };
    let relations = |class: &str, kinds: &str, letter: &str| {
        format!(
            "SELECT '{class}' AS class, n.nspname::text AS schema, c.relname::text AS name, c.relacl AS acl, \
             coalesce(i.initprivs, acldefault('{letter}', c.relowner)) AS dacl, '' AS col \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace {} \
             WHERE c.relkind IN ({kinds}) AND c.relacl IS NOT NULL AND c.relacl IS DISTINCT FROM i.initprivs AND {ours}",
            begun("pg_class", "c.oid", "0")
        )
    };
    let routines = |class: &str, kinds: &str| {
        format!(
            "SELECT '{class}' AS class, n.nspname::text AS schema, p.proname || '(' || coalesce((SELECT \
             string_agg(format_type(args.type, NULL), ', ' ORDER BY args.place) \
             FROM unnest(p.proargtypes) WITH ORDINALITY AS args (type, place)), '') || ')' AS name, p.proacl AS acl, \
             coalesce(i.initprivs, acldefault('f', p.proowner)) AS dacl, '' AS col \
             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace {} \
             WHERE p.prokind IN ({kinds}) AND p.proacl IS NOT NULL AND p.proacl IS DISTINCT FROM i.initprivs AND {ours}",
            begun("pg_proc", "p.oid", "0")
        )
    };
    let columns = format!(
        "SELECT 'table' AS class, n.nspname::text AS schema, c.relname::text AS name, t.attacl AS acl, \
         i.initprivs AS dacl, t.attname::text AS col FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace {} \
         WHERE t.attacl IS NOT NULL AND t.attacl IS DISTINCT FROM i.initprivs AND NOT t.attisdropped AND {ours}",
        begun("pg_class", "c.oid", "t.attnum")
    );
    // The schema that every database begins with has more than a new one.
    let everybody = |acl: &str, privilege: &str| {
        format!("array_append({acl}, makeaclitem(0::oid, n.nspowner, '{privilege}', false))")
    };
    let own = "acldefault('n', n.nspowner)";
    let begins = everybody(own, "USAGE");
    let begins = if version < 150_000 { everybody(&begins, "CREATE") } else { begins };
    let schemas = format!(
        "SELECT 'schema' AS class, '' AS schema, n.nspname::text AS name, coalesce(n.nspacl, {own}) AS acl, \
         CASE WHEN n.nspname = 'public' THEN {begins} ELSE coalesce(i.initprivs, {own}) END AS dacl, \
         '' AS col FROM pg_namespace n {} WHERE {ours}",
        begun("pg_namespace", "n.oid", "0")
    );
    let types = format!(
        "SELECT 'type' AS class, n.nspname::text AS schema, t.typname::text AS name, t.typacl AS acl, \
         coalesce(i.initprivs, acldefault('T', t.typowner)) AS dacl, '' AS col \
         FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace {} \
         WHERE t.typacl IS NOT NULL AND t.typacl IS DISTINCT FROM i.initprivs AND {ours}",
        begun("pg_type", "t.oid", "0")
    );
    // Extensions bring languages and wrappers without a word about privileges: what is there was said by people.
    let flat = |class: &str, table: &str, column: &str, letter: &str| {
        format!(
            "SELECT '{class}' AS class, '' AS schema, x.{column}name::text AS name, x.{column}acl AS acl, \
             acldefault('{letter}', x.{column}owner) AS dacl, '' AS col FROM {table} x WHERE x.{column}acl IS NOT NULL"
        )
    };
    [
        relations("table", "'r', 'v', 'm', 'f', 'p'", "r"),
        columns,
        relations("sequence", "'S'", "s"),
        routines("function", "'f', 'a', 'w'"),
        routines("procedure", "'p'"),
        schemas,
        types,
        flat("language", "pg_language", "lan", "l"),
        flat("foreign-data-wrapper", "pg_foreign_data_wrapper", "fdw", "F"),
        flat("foreign-server", "pg_foreign_server", "srv", "S"),
    ]
    .join(" UNION ALL ")
}

/// Grants on databases and on what lies in them.
pub(crate) fn grants(machine: &Machine<'_>) -> Result<Vec<Found>, Error> {
    let rows = Server::of(machine).home()?.query(&query(DATABASES), &[])?;
    let mut found = Vec::new();
    for (key, pair) in pairs(&rows)? {
        found.extend(spec(&key.name, &key, &pair));
    }
    let inside = query(&within(Server::of(machine).facts()?.number));
    found.extend(in_databases(machine, |database, opened| {
        let rows = opened.query(&inside, &[])?;
        let all = pairs(&rows)?;
        Ok(all.iter().filter_map(|(key, pair)| spec(database, key, pair)).collect())
    })?);
    Ok(found)
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    class: String,
    schema: String,
    name: String,
    grantee: String,
}

/// What a grantee holds, and what it would hold of a new object.
#[derive(Default)]
struct Pair {
    held: Set,
    new: Set,
}

fn pairs(rows: &Rows) -> Result<BTreeMap<Key, Pair>, Error> {
    let mut pairs: BTreeMap<Key, Pair> = BTreeMap::new();
    for row in rows {
        let key = key(row)?;
        let set = privileges::read(row, "privileges")?;
        let pair = pairs.entry(key).or_default();
        let side = if row.get::<String>("side")? == "held" { &mut pair.held } else { &mut pair.new };
        side.extend(set);
    }
    pairs.retain(|_, pair| pair.held != pair.new);
    Ok(pairs)
}

fn key(row: &Row) -> Result<Key, Error> {
    Ok(Key {
        class: row.get("class")?,
        schema: row.get("schema")?,
        name: row.get("name")?,
        grantee: row.get("grantee")?,
    })
}

fn spec(database: &str, key: &Key, pair: &Pair) -> Option<Found> {
    let taken: BTreeSet<&String> = pair.new.difference(&pair.held).collect();
    let (privileges, option, remarks) = said(&pair.held);
    let mut spec = json!({ "role": key.grantee, "database": database, "on": key.class, "privileges": privileges });
    match key.class.as_str() {
        "database" => {}
        "schema" => spec["schema"] = json!(key.name),
        _ => {
            if !key.schema.is_empty() {
                spec["schema"] = json!(key.schema);
            }
            spec["names"] = json!([key.name]);
        }
    }
    if option && key.grantee != "public" {
        spec["grant_option"] = json!(true);
    }
    // Something that the server grants from the start was taken back, and is to stay so.
    if !taken.is_empty() {
        spec["owns"] = json!("all");
    }
    let place = [&key.schema, &key.name].into_iter().filter(|part| !part.is_empty() && *part != database);
    let name: Vec<&str> = [key.grantee.as_str(), database].into_iter().chain(place.map(String::as_str)).collect();
    (!pair.held.is_empty() || !taken.is_empty()).then(|| Found { name: name.join("-"), spec: ordered(spec), remarks })
}

/// Keys in the order in which people read them.
fn ordered(spec: Json) -> Json {
    let Json::Object(mut spec) = spec else { return spec };
    let keys = ["role", "database", "schema", "on", "names", "privileges", "grant_option", "owns"];
    Json::Object(keys.iter().filter_map(|key| Some(((*key).to_owned(), spec.remove(*key)?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(items: &[&str]) -> Set {
        items.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_taken_back_is_owned_whole() {
        let key = Key { class: "database".into(), schema: String::new(), name: "app".into(), grantee: "public".into() };
        let pair = Pair { held: set(&[]), new: set(&["CONNECT", "TEMPORARY"]) };
        let found = spec("app", &key, &pair).unwrap();
        assert_eq!(
            found.spec,
            json!({"role": "public", "database": "app", "on": "database", "privileges": [], "owns": "all"})
        );
        assert_eq!(found.name, "public-app");
    }

    #[test]
    fn what_was_granted_is_listed() {
        let key = Key { class: "table".into(), schema: "s".into(), name: "t".into(), grantee: "web".into() };
        let found = spec("app", &key, &Pair { held: set(&["SELECT"]), new: set(&[]) }).unwrap();
        let wanted = json!({"role": "web", "database": "app", "schema": "s", "on": "table", "names": ["t"], "privileges": ["SELECT"]});
        assert_eq!(found.spec, wanted);
        assert_eq!(found.name, "web-app-s-t");
        let key =
            Key { class: "foreign-server".into(), schema: String::new(), name: "far".into(), grantee: "web".into() };
        let found = spec("app", &key, &Pair { held: set(&["USAGE"]), new: set(&[]) }).unwrap();
        let wanted = json!({"role": "web", "database": "app", "on": "foreign-server", "names": ["far"], "privileges": ["USAGE"]});
        assert_eq!(found.spec, wanted, "it lies in no schema");
    }
}
