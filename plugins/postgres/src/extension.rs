//! `postgres.extension`: extensions of a database, their versions and schemas.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::{self, Row, Rows, Server, Value, alter, create, drop, identity};
use tidelock_sdk::{Action, Change, Error, Field, Found, Kind, Machine, Observation, Proposals, Step, Subject};

use crate::discover;
use crate::missing;
use crate::name::{self, Name, together};
use crate::place::{Place, by_database, managed, opened};

/// What a `postgres.extension` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtensionSpec {
    /// The database that it is in.
    database: Name,
    /// Its name: `pgcrypto`.
    name: Name,
    /// The schema that its objects are in. A new one's are in `public`, or where it insists on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<Name>,
    /// Its version, or `latest` for the newest that is installed on the server's machine. Left
    /// alone where absent; a new one gets the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// When it is made: whether the extensions that it needs are made too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cascade: bool,
    /// When it is deleted: whether what others made with it goes too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    drop_contents: bool,
}

/// `postgres.extension`.
pub struct Extension;

const EXTENSIONS: &str = "SELECT e.extname, n.nspname AS schema, e.extversion, e.extrelocatable \
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace";

const AVAILABLE: &str = "SELECT a.name, a.default_version, v.schema \
    FROM pg_available_extensions a LEFT JOIN pg_available_extension_versions v \
    ON v.name = a.name AND v.version = a.default_version";

const PATHS: &str = "SELECT p.source, p.target FROM pg_extension_update_paths($1) p WHERE p.path IS NOT NULL";

impl Kind for Extension {
    type Spec = ExtensionSpec;
    const NAME: &'static str = "extension";
    const DOC: &'static str = "An extension of a database. Its files come with a package of the server's machine.";
    const HOLDS_DATA: bool = true;
    const WHOLE_TARGET: bool = true;

    fn fields() -> Vec<Field> {
        ["/cascade", "/drop_contents"].map(|path| Field::new(path).how()).into()
    }

    fn identity(spec: &ExtensionSpec) -> String {
        identity::of("extension", [spec.database.as_str(), spec.name.as_str()])
    }

    fn requires(spec: &ExtensionSpec) -> Vec<String> {
        let schema = spec.schema.iter().map(|schema| name::schema(spec.database.as_str(), schema.as_str()));
        schema.chain([name::database(spec.database.as_str())]).collect()
    }

    fn normalise(mut spec: ExtensionSpec, machine: &Machine<'_>) -> Result<ExtensionSpec, Error> {
        if spec.version.as_deref() == Some("latest") {
            // Which versions there are is a matter of files, the same for all databases.
            let home = Server::of(machine).home()?;
            let rows = home.query(AVAILABLE, &[])?;
            let known = rows.by_key::<String>("name")?;
            let row = known.get(spec.name.as_str()).ok_or_else(|| unavailable(&spec.name))?;
            spec.version = Some(row.get("default_version")?);
        }
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        by_database(subjects, machine, 0, |database, opened, places| {
            let rows = extensions(opened)?;
            let known = rows.by_key::<String>("extname")?;
            let look = |place: &Place<'_>| {
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
            let rows = extensions(opened)?;
            let all = rows.iter().map(|row| fields(database, row)).collect::<Result<Vec<_>, _>>()?;
            Ok(all.into_iter().filter_map(discover::extension).collect())
        });
        found.map(Some)
    }

    fn steps(change: &Change<ExtensionSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        if let Some(waits) = crate::renames::first::<Extension>(change, machine, propose)? {
            return Ok(waits);
        }
        let rests_on = change.desired.as_ref().map(Self::requires).unwrap_or_default();
        if let Some(waits) = missing::first(change, &rests_on, machine, propose)? {
            return Ok(waits);
        }
        let parts = identity::parts(&change.identity);
        let [database, extension] = parts.as_slice() else {
            return Err(Error::plugin(format!("{:?} is no extension's identity", change.identity)));
        };
        let key = together::within(database);
        if change.action == Action::Delete {
            let gone = drop("extension", [extension]).within(database).together(key);
            let all = change.last_applied().is_some_and(|last| last.drop_contents);
            propose.add(if all { gone.text("CASCADE") } else { gone })?;
            return Ok(Step::Proposed);
        }
        let spec = change.wanted()?;
        let home = Server::of(machine).home()?;
        let available = home.query(AVAILABLE, &[])?;
        let available = available.by_key::<String>("name")?;
        let opened = opened(machine, database)?;
        let rows = opened.as_ref().map(extensions).transpose()?;
        let known = rows.as_ref().map(|rows| rows.by_key::<String>("extname")).transpose()?.unwrap_or_default();
        let Some(row) = known.get(extension.as_str()) else {
            let Some(row) = available.get(extension.as_str()) else {
                return Ok(Step::Refused(unavailable(&spec.name)));
            };
            let insists: Option<String> = row.get("schema")?;
            let mut made = create("extension", [extension]);
            // Without a word it would land wherever the session looks first.
            match (&spec.schema, insists) {
                (Some(schema), _) => made = made.text("SCHEMA").identifier([schema.as_str()]),
                (None, Some(_)) => {}
                (None, None) => made = made.text("SCHEMA").identifier(["public"]),
            }
            if let Some(version) = &spec.version {
                made = made.text("VERSION").literal(version);
            }
            if spec.cascade {
                made = made.text("CASCADE");
            }
            propose.add(made.within(database).together(key))?;
            return Ok(Step::Proposed);
        };
        let (schema, version): (String, String) = (row.get("schema")?, row.get("extversion")?);
        if let Some(wanted) = spec.schema.as_ref().filter(|wanted| wanted.as_str() != schema) {
            if !row.get::<bool>("extrelocatable")? {
                let message = format!("the extension {extension} is in the schema {schema} and cannot be moved");
                return Ok(Step::Refused(Error::target("refused", message).at("/schema")));
            }
            let moved = alter("extension", [extension]).text("SET SCHEMA").identifier([wanted.as_str()]);
            propose.add(moved.within(database).together(&key))?;
        }
        if let Some(wanted) = spec.version.as_ref().filter(|wanted| **wanted != version) {
            if let Some(error) = no_path(&home, extension, &version, wanted)? {
                return Ok(Step::Refused(error));
            }
            let updated = alter("extension", [extension]).text("UPDATE TO").literal(wanted);
            propose.add(updated.within(database).together(&key))?;
        }
        Ok(Step::Proposed)
    }
}

/// All fields of an extension.
fn fields(database: &str, row: &Row) -> Result<Map<String, Json>, Error> {
    let all = json!({
        "database": database,
        "name": row.get::<String>("extname")?,
        "schema": row.get::<String>("schema")?,
        "version": row.get::<String>("extversion")?,
    });
    Ok(all.as_object().cloned().unwrap_or_default())
}

fn extensions(database: &sql::Database<'_>) -> Result<Rc<Rows>, Error> {
    Ok(database.query(EXTENSIONS, &[])?)
}

fn unavailable(name: &Name) -> Error {
    let message = format!(
        "the server has no extension {name}; install the package that brings it on the server's machine \
         (`SELECT name FROM pg_available_extensions` lists what is there)"
    );
    Error::target("not-found", message).at("/name")
}

/// Why a version cannot be reached from another one.
fn no_path(home: &sql::Database<'_>, name: &str, from: &str, to: &str) -> Result<Option<Error>, Error> {
    let rows = home.query(PATHS, &[Value::from(name)])?;
    let mut reached = Vec::new();
    for row in &*rows {
        if row.get::<String>("source")? == from {
            reached.push(row.get::<String>("target")?);
        }
    }
    if reached.iter().any(|target| target == to) {
        return Ok(None);
    }
    let ways = if reached.is_empty() { "nowhere".to_owned() } else { format!("to {}", reached.join(", ")) };
    let message =
        format!("the extension {name} cannot be updated from {from} to {to}; its scripts lead from there {ways}");
    Ok(Some(Error::target("refused", message).at("/version")))
}
