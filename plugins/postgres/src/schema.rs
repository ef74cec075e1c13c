//! `postgres.schema`: schemas of a database.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::{self, Row, Rows, Value, alter, create, drop, identity, rename, set_comment};
use tidelock_sdk::{
    Action, Change, Diagnostic, Error, Field, Found, Kind, Machine, Observation, Proposals, Step, Subject,
};

use crate::discover;
use crate::missing;
use crate::name::{self, Name, together};
use crate::place::{by_database, managed, opened};

/// What a `postgres.schema` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaSpec {
    /// The database that it is in.
    pub(crate) database: Name,
    /// Its name, without quotes.
    pub(crate) name: Name,
    /// The role that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Name>,
    /// A comment; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    /// The name that it had. It is renamed, never dropped and created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) renamed_from: Option<Name>,
    /// When it is deleted: whether all that it holds goes with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    drop_contents: bool,
}

/// `postgres.schema`.
pub struct Schema;

const SCHEMAS: &str = "SELECT n.nspname, r.rolname AS owner, coalesce(obj_description(n.oid, 'pg_namespace'), '') AS comment \
    FROM pg_namespace n LEFT JOIN pg_roles r ON r.oid = n.nspowner";

/// What a schema holds, but for what belongs to an extension or a table.
const CONTENTS: &str = "SELECT c.relname::text AS name FROM pg_class c WHERE c.relnamespace = $1::text::regnamespace \
    AND c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S') \
    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'a', 'i')) \
    UNION ALL SELECT p.proname || '(...)' FROM pg_proc p WHERE p.pronamespace = $1::text::regnamespace \
    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') \
    UNION ALL SELECT t.typname::text FROM pg_type t WHERE t.typnamespace = $1::text::regnamespace \
    AND (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND t.typrelid IN (SELECT c.oid FROM pg_class c WHERE c.relkind = 'c')) \
    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e') \
    ORDER BY 1 LIMIT 21";

impl Kind for Schema {
    type Spec = SchemaSpec;
    const NAME: &'static str = "schema";
    const DOC: &'static str = "A schema of a database. One that holds anything is not dropped unless the spec says so.";
    const HOLDS_DATA: bool = true;
    const WHOLE_TARGET: bool = true;

    fn fields() -> Vec<Field> {
        ["/renamed_from", "/drop_contents"].map(|path| Field::new(path).how()).into()
    }

    fn identity(spec: &SchemaSpec) -> String {
        name::schema(spec.database.as_str(), spec.name.as_str())
    }

    fn requires(spec: &SchemaSpec) -> Vec<String> {
        let mut out = rests_on(spec);
        out.extend(spec.renamed_from.iter().map(|old| name::schema(spec.database.as_str(), old.as_str())));
        out
    }

    fn check(spec: &SchemaSpec) -> Vec<Diagnostic> {
        if spec.name.as_str().starts_with("pg_") || spec.name.as_str() == "information_schema" {
            return vec![Diagnostic::error(format!("{} belongs to the server", spec.name)).at("/name")];
        }
        Vec::new()
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        by_database(subjects, machine, 0, |database, opened, places| {
            let rows = schemas(opened)?;
            let known = rows.by_key::<String>("nspname")?;
            let look = |place: &crate::place::Place<'_>| {
                let seen = [rows.seen(&[Value::from(place.part(1))])?];
                let Some(row) = known.get(place.part(1)) else { return Ok(Observation::absent(seen)) };
                let all = fields(database, row)?;
                Ok(Observation::present(managed(place.subject, &["database", "name"], all), seen))
            };
            places.iter().map(look).collect()
        })
    }

    fn discover(machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        let found = discover::in_databases(machine, |database, opened| {
            let rows = schemas(opened)?;
            let all = rows.iter().map(|row| fields(database, row)).collect::<Result<Vec<_>, _>>()?;
            Ok(all.into_iter().filter_map(discover::schema).collect())
        });
        found.map(Some)
    }

    fn steps(change: &Change<SchemaSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        if let Some(waits) = crate::renames::first::<Schema>(change, machine, propose)? {
            return Ok(waits);
        }
        let rests_on = change.desired.as_ref().map(rests_on).unwrap_or_default();
        if let Some(waits) = missing::first(change, &rests_on, machine, propose)? {
            return Ok(waits);
        }
        let parts = identity::parts(&change.identity);
        let [database, schema] = parts.as_slice() else {
            return Err(Error::plugin(format!("{:?} is no schema's identity", change.identity)));
        };
        let key = together::within(database);
        let opened = opened(machine, database)?;
        if change.action == Action::Delete {
            let all = change.last_applied().is_some_and(|last| last.drop_contents);
            if let Some(opened) = opened.as_ref().filter(|_| !all) {
                let held = opened.query(CONTENTS, &[Value::from(sql_name(schema))])?;
                if !held.is_empty() {
                    return Ok(Step::Refused(still_holds(database, schema, &held)?));
                }
            }
            let gone = drop("schema", [schema]).within(database).together(key);
            propose.add(if all { gone.text("CASCADE") } else { gone })?;
            return Ok(Step::Proposed);
        }
        let spec = change.wanted()?;
        let rows = opened.as_ref().map(schemas).transpose()?;
        let known = rows.as_ref().map(|rows| rows.by_key::<String>("nspname")).transpose()?.unwrap_or_default();
        let mut there = known.get(schema.as_str()).copied();
        if let (None, Some(old), Some(rows)) = (there, &spec.renamed_from, &rows)
            && let Some(row) = known.get(old.as_str())
        {
            let seen = rows.seen(&[Value::from(old.as_str())])?;
            propose.add(rename("schema", [old.as_str()], schema).within(database).seen(seen).together(&key))?;
            there = Some(row);
        }
        let owner = there.map(|row| row.get::<Option<String>>("owner")).transpose()?.flatten();
        match (&spec.owner, there) {
            (wanted, None) => {
                let mut made = create("schema", [schema]);
                if let Some(owner) = wanted {
                    made = made.text("AUTHORIZATION").identifier([owner.as_str()]);
                }
                propose.add(made.within(database).together(&key))?;
            }
            (Some(wanted), Some(_)) if owner.as_deref() != Some(wanted.as_str()) => {
                let given = alter("schema", [schema]).text("OWNER TO").identifier([wanted.as_str()]);
                propose.add(given.within(database).together(&key))?;
            }
            _ => {}
        }
        let comment = there.map(|row| row.get::<String>("comment")).transpose()?.unwrap_or_default();
        if let Some(wanted) = spec.comment.as_ref().filter(|wanted| **wanted != comment) {
            let text = Some(wanted.as_str()).filter(|text| !text.is_empty());
            propose.add(set_comment("schema", [schema], text).within(database).together(&key))?;
        }
        Ok(Step::Proposed)
    }
}

/// What must be there before a schema can be as it is to be.
fn rests_on(spec: &SchemaSpec) -> Vec<String> {
    let owner = spec.owner.iter().map(|owner| name::role(owner.as_str()));
    [name::database(spec.database.as_str())].into_iter().chain(owner).collect()
}

/// All fields of a schema.
fn fields(database: &str, row: &Row) -> Result<Map<String, Json>, Error> {
    let all = json!({
        "database": database,
        "name": row.get::<String>("nspname")?,
        "owner": row.get::<Option<String>>("owner")?,
        "comment": row.get::<String>("comment")?,
    });
    Ok(all.as_object().cloned().unwrap_or_default())
}

fn schemas(database: &sql::Database<'_>) -> Result<Rc<Rows>, Error> {
    Ok(database.query(SCHEMAS, &[])?)
}

/// A name as the server reads one from a text.
fn sql_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn still_holds(database: &str, schema: &str, held: &Rows) -> Result<Error, Error> {
    let mut names = held.iter().map(|row| row.get::<String>("name")).collect::<Result<Vec<_>, _>>()?;
    let more = if names.len() > 20 { " and more" } else { "" };
    names.truncate(20);
    let message = format!(
        "the schema {schema} of {database} holds {}{more}; put `drop_contents: true` into its spec, apply, and then remove it",
        names.join(", ")
    );
    Ok(Error::target("refused", message))
}
