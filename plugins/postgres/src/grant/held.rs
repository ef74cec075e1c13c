//! Who holds what: one query for each database, whatever the number of grants.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tidelock_sdk::sql::{Database, Rows, Server, Value};
use tidelock_sdk::{Error, Machine};

use crate::privileges::{self, Class, Set};

/// Privileges by grantee, and the objects that there are.
pub(super) struct Held {
    rows: Rc<Rows>,
    sets: BTreeMap<(String, String, String, String), Set>,
    /// By class, and by the schema they lie in; a schema by its own name.
    objects: BTreeMap<(String, String), BTreeSet<String>>,
    schemas: BTreeSet<String>,
}

static NOTHING: Set = Set::new();
static NONE: BTreeSet<String> = BTreeSet::new();

impl Held {
    /// Privileges on databases.
    pub(super) fn on_databases(machine: &Machine<'_>) -> Result<Rc<Self>, Error> {
        let objects = "SELECT 'database' AS class, '' AS schema, d.datname::text AS name, \
            coalesce(d.datacl, acldefault('d', d.datdba)) AS acl, '' AS col, d.datdba AS owner FROM pg_database d";
        Server::of(machine).home()?.query_as(&held(objects, "true"), &[], |rows| Self::read(rows, None))
    }

    /// Privileges of grantees on what is of some classes in a database.
    pub(super) fn within(
        database: &Database<'_>,
        classes: &BTreeSet<Class>,
        grantees: &BTreeSet<String>,
        schemas: &BTreeSet<String>,
    ) -> Result<Self, Error> {
        let list = |set: &BTreeSet<String>| Value::Texts(set.iter().cloned().collect());
        let (acls, names): (Vec<String>, Vec<String>) = classes.iter().map(|class| objects(*class)).unzip();
        let held = held(
            &acls.join(" UNION ALL "),
            "o.schema = ANY($1::text[] || ARRAY['']) AND coalesce(g.rolname::text, 'public') = ANY($2::text[])",
        );
        let rows = database.query(&held, &[list(schemas), list(grantees)])?;
        let names = database.query(&names.join(" UNION ALL "), &[list(schemas)])?;
        Self::read(&rows, Some(&names))
    }

    fn read(rows: &Rc<Rows>, names: Option<&Rows>) -> Result<Self, Error> {
        let mut out =
            Self { rows: Rc::clone(rows), sets: BTreeMap::new(), objects: BTreeMap::new(), schemas: BTreeSet::new() };
        for row in &**rows {
            let key = (row.get("grantee")?, row.get("class")?, row.get("schema")?, row.get("name")?);
            out.sets.insert(key, privileges::read(row, "privileges")?);
        }
        let named = names.unwrap_or(rows);
        for row in named {
            let (class, schema, name): (String, String, String) =
                (row.get("class")?, row.get("schema")?, row.get("name")?);
            out.schemas.insert(schema.clone());
            if class == "schema" {
                out.schemas.insert(name.clone());
            }
            // Of a class without objects there is a row without a name.
            if !name.is_empty() {
                let within = if class == "schema" { name.clone() } else { schema };
                out.objects.entry((class, within)).or_default().insert(name);
            }
        }
        Ok(out)
    }

    /// What a grantee holds on an object.
    pub(super) fn of(&self, role: &str, class: Class, schema: &str, object: &str) -> &Set {
        let schema = if class.in_schema() { schema } else { "" };
        let key = (role.to_owned(), class.word().to_owned(), schema.to_owned(), object.to_owned());
        self.sets.get(&key).unwrap_or(&NOTHING)
    }

    /// The objects of a class, in a schema where they lie in one; of schemas that one.
    pub(super) fn objects(&self, class: Class, schema: &str) -> &BTreeSet<String> {
        let within = if class.in_schema() || class == Class::Schema { schema } else { "" };
        self.objects.get(&(class.word().to_owned(), within.to_owned())).unwrap_or(&NONE)
    }

    /// Whether a schema is there.
    pub(super) fn has_schema(&self, schema: &str) -> bool {
        self.schemas.contains(schema)
    }

    /// Whether a grantee holds anything here, and so is there.
    pub(super) fn knows(&self, role: &str) -> bool {
        self.sets.keys().any(|(grantee, ..)| grantee == role)
    }

    /// A token for what a grantee holds on an object, or on all of a class and schema.
    pub(super) fn seen(&self, role: &str, class: Class, schema: &str, one: Option<&str>) -> Result<String, Error> {
        let schema = if class.in_schema() { schema } else { "" };
        let mut key = vec![Value::from(role), Value::from(class.word()), Value::from(schema)];
        key.extend(one.map(Value::from));
        self.rows.seen(&key)
    }
}

/// The databases that there are.
pub(super) fn databases(machine: &Machine<'_>) -> Result<BTreeSet<String>, Error> {
    let rows = Server::of(machine).home()?.query("SELECT d.datname FROM pg_database d", &[])?;
    rows.iter().map(|row| row.get("datname")).collect()
}

/// Privileges on objects with access lists, one row for each grantee and object.
fn held(objects: &str, condition: &str) -> String {
    format!(
        "SELECT coalesce(g.rolname::text, 'public') AS grantee, o.class, o.schema, o.name, \
         json_agg(json_build_array(a.privilege_type, a.is_grantable, o.col) \
         ORDER BY a.privilege_type, o.col, a.is_grantable) AS privileges \
         FROM ({objects}) o CROSS JOIN LATERAL aclexplode(o.acl) a LEFT JOIN pg_roles g ON g.oid = a.grantee \
         WHERE {condition} GROUP BY 1, 2, 3, 4"
    )
}

/// Queries for the objects of a class: with access lists and owners, and names alone. Each schema that is
/// asked about has a row without a name, so that an empty one is told from none.
pub(super) fn objects(class: Class) -> (String, String) {
    let word = class.word();
    let relations = |kinds: &str, letter: &str| {
        let from = format!(
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ({kinds}) AND n.nspname::text = ANY($1::text[])"
        );
        let named = format!("SELECT '{word}' AS class, n.nspname::text AS schema, c.relname::text AS name");
        (
            format!(
                "{named}, coalesce(c.relacl, acldefault('{letter}', c.relowner)) AS acl, '' AS col, c.relowner AS owner {from}"
            ),
            format!("{named} {from}"),
        )
    };
    let routines = |kinds: &str| {
        let from = format!(
            "FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
             WHERE p.prokind IN ({kinds}) AND n.nspname::text = ANY($1::text[])"
        );
        let named = format!(
            "SELECT '{word}' AS class, n.nspname::text AS schema, p.proname || '(' || coalesce((SELECT \
             string_agg(format_type(args.type, NULL), ', ' ORDER BY args.place) \
             FROM unnest(p.proargtypes) WITH ORDINALITY AS args (type, place)), '') || ')' AS name"
        );
        (
            format!(
                "{named}, coalesce(p.proacl, acldefault('f', p.proowner)) AS acl, '' AS col, p.proowner AS owner {from}"
            ),
            format!("{named} {from}"),
        )
    };
    let flat = |name: &str, acl: &str, letter: &str, owner: &str, table: &str| {
        let named = format!("SELECT '{word}' AS class, '' AS schema, x.{name}::text AS name");
        let from = format!("FROM {table} x");
        (
            format!(
                "{named}, coalesce(x.{acl}, acldefault('{letter}', x.{owner})) AS acl, '' AS col, x.{owner} AS owner {from}"
            ),
            format!("{named} {from}"),
        )
    };
    let (acls, names) = match class {
        Class::Table => {
            let (acls, names) = relations("'r', 'v', 'm', 'f', 'p'", "r");
            let columns = "SELECT 'table' AS class, n.nspname::text AS schema, c.relname::text AS name, t.attacl AS acl, \
                t.attname::text AS col, c.relowner AS owner FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid \
                JOIN pg_namespace n ON n.oid = c.relnamespace WHERE t.attacl IS NOT NULL AND NOT t.attisdropped \
                AND n.nspname::text = ANY($1::text[])";
            (format!("{acls} UNION ALL {columns}"), names)
        }
        Class::Sequence => relations("'S'", "s"),
        Class::Function => routines("'f', 'a', 'w'"),
        Class::Procedure => routines("'p'"),
        Class::Type => {
            let from = "FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
                WHERE n.nspname::text = ANY($1::text[]) AND t.typelem = 0 \
                AND (t.typrelid = 0 OR t.typrelid IN (SELECT c.oid FROM pg_class c WHERE c.relkind = 'c'))";
            let named = "SELECT 'type' AS class, n.nspname::text AS schema, t.typname::text AS name";
            (
                format!(
                    "{named}, coalesce(t.typacl, acldefault('T', t.typowner)) AS acl, '' AS col, t.typowner AS owner {from}"
                ),
                format!("{named} {from}"),
            )
        }
        Class::Schema => flat("nspname", "nspacl", "n", "nspowner", "pg_namespace"),
        Class::Language => flat("lanname", "lanacl", "l", "lanowner", "pg_language"),
        Class::ForeignServer => flat("srvname", "srvacl", "S", "srvowner", "pg_foreign_server"),
        Class::ForeignDataWrapper => flat("fdwname", "fdwacl", "F", "fdwowner", "pg_foreign_data_wrapper"),
        Class::Database => flat("datname", "datacl", "d", "datdba", "pg_database"),
    };
    let schemas = format!(
        "SELECT '{word}' AS class, n.nspname::text AS schema, '' AS name FROM pg_namespace n WHERE n.nspname::text = ANY($1::text[])"
    );
    (acls, format!("{names} UNION ALL {schemas}"))
}
