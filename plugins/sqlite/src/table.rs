//! `sqlite.table`: tables, column by column.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::{Row, Value, alter, create, drop};
use tidelock_sdk::{
    Action, Change, Diagnostic, Error, Field, Found, Kind, Machine, Observation, Proposals, Step, Subject,
};

use crate::text::{self, Table as Parts};
use crate::{MAIN, identity, things};

/// What a `sqlite.table` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// The statement that makes it: `CREATE TABLE name (...)`.
    sql: String,
    /// Definitions by column. Not written by people.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(skip)]
    columns: Map<String, Json>,
    /// Constraints of the table. Not written by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    constraints: Option<Vec<String>>,
    /// `STRICT` and `WITHOUT ROWID`. Not written by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    options: Option<Vec<String>>,
}

/// `sqlite.table`.
pub struct Table;

/// The key of the group: what a pass does with a database is one transaction.
pub(crate) const TOGETHER: &str = "sqlite:main";

impl TableSpec {
    fn parts(&self) -> Result<Parts, Error> {
        text::table(&self.sql).map_err(|why| Error::target("invalid", format!("{why}: {}", self.sql)).at("/sql"))
    }
}

impl Kind for Table {
    type Spec = TableSpec;
    const NAME: &'static str = "table";
    const DOC: &'static str = "A table, as the statement that makes it. Columns that come are added; columns that leave the \
        text are dropped. What SQLite cannot change in place is refused.";
    const HOLDS_DATA: bool = true;
    const WHOLE_TARGET: bool = true;

    fn fields() -> Vec<Field> {
        vec![Field::new("/sql").how(), Field::new("/columns").owns_listed()]
    }

    fn identity(spec: &TableSpec) -> String {
        identity("table", &text::table(&spec.sql).map(|parts| parts.name).unwrap_or_default())
    }

    fn check(spec: &TableSpec) -> Vec<Diagnostic> {
        match text::table(&spec.sql) {
            Err(why) => vec![Diagnostic::error(why).at("/sql")],
            Ok(parts) if parts.name.to_ascii_lowercase().starts_with("sqlite_") => {
                vec![Diagnostic::error("names that begin with sqlite_ belong to SQLite").at("/sql")]
            }
            Ok(_) => Vec::new(),
        }
    }

    fn normalise(mut spec: TableSpec, _: &Machine<'_>) -> Result<TableSpec, Error> {
        let parts = spec.parts()?;
        spec.columns = columns(&parts);
        spec.constraints = Some(parts.constraints);
        spec.options = Some(parts.options);
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let rows = things(machine)?;
        let known = rows.by_key::<String>("known")?;
        let look = |subject: &Subject| {
            let name = tidelock_sdk::sql::identity::parts(&subject.identity).pop().unwrap_or_default();
            let seen = [rows.seen(&[Value::from(&name)])?];
            let Some(row) = known.get(&name).filter(|row| is_table(row)) else { return Ok(Observation::absent(seen)) };
            Ok(match read(row) {
                Ok(parts) => Observation::present(
                    json!({ "columns": columns(&parts), "constraints": parts.constraints, "options": parts.options }),
                    seen,
                ),
                Err(error) => Observation::Failed(error),
            })
        };
        subjects.iter().map(look).collect()
    }

    fn discover(machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        let rows = things(machine)?;
        let mut all = Vec::new();
        for row in rows.iter().filter(|row| is_table(row)) {
            let name: String = row.get("name")?;
            // A virtual table is another statement.
            if !name.starts_with("sqlite_") && read(row).is_ok() {
                let spec = Map::from_iter([("sql".to_owned(), json!(row.get::<String>("sql")?))]);
                all.push(Found { name, spec: Json::Object(spec), remarks: Vec::new() });
            }
        }
        Ok(Some(all))
    }

    fn steps(change: &Change<TableSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        let name = tidelock_sdk::sql::identity::parts(&change.identity).pop().unwrap_or_default();
        if change.action == Action::Delete {
            propose.add(drop("table", [name]).within(MAIN).together(TOGETHER))?;
            return Ok(Step::Proposed);
        }
        let wanted = change.wanted()?.parts()?;
        let rows = things(machine)?;
        let known = rows.by_key::<String>("known")?;
        let Some(row) = known.get(&name).filter(|row| is_table(row)) else {
            // The identity is in small letters, and so is the name in the statement: to SQLite it is the same.
            propose.add(create("table", [name]).text(&wanted.rest).within(MAIN).together(TOGETHER))?;
            return Ok(Step::Proposed);
        };
        let held = read(row)?;
        if let Some(error) = cannot(&wanted, &held) {
            return Ok(Step::Refused(error));
        }
        let before = change.last_applied().map(|last| last.columns).unwrap_or_default();
        for column in held.columns.keys().filter(|column| !wanted.columns.contains_key(*column)) {
            if before.contains_key(column) {
                let statement = alter("table", [&name]).text("DROP COLUMN").identifier([column]);
                propose.add(statement.within(MAIN).together(TOGETHER))?;
            }
        }
        for (column, (spelled, definition)) in &wanted.written {
            if !held.columns.contains_key(column) {
                let statement = alter("table", [&name]).text("ADD COLUMN").identifier([spelled]);
                let statement = if definition.is_empty() { statement } else { statement.text(definition) };
                propose.add(statement.within(MAIN).together(TOGETHER))?;
            }
        }
        Ok(Step::Proposed)
    }
}

/// What SQLite does not change in a table that is there.
fn cannot(wanted: &Parts, held: &Parts) -> Option<Error> {
    let refused = |what: String, field: &str| {
        let message = format!("{what}; SQLite changes that in no table: make another one and move the rows");
        Some(Error::target("refused", message).at(field))
    };
    for (column, definition) in &wanted.columns {
        match held.columns.get(column) {
            Some(there) if there != definition => {
                return refused(format!("the column {column} is {there} and would be {definition}"), "/sql");
            }
            Some(_) => {}
            None => {
                let says = |word: &str| definition.split(' ').any(|said| said == word);
                if says("PRIMARY") || says("UNIQUE") {
                    return refused(format!("the new column {column} would be a key"), "/sql");
                }
                if says("NOT") && says("NULL") && !says("DEFAULT") {
                    return refused(
                        format!("the new column {column} would have no value in rows that are there"),
                        "/sql",
                    );
                }
            }
        }
    }
    if wanted.constraints != held.constraints {
        return refused(format!("the constraints of {} would be others", held.name), "/sql");
    }
    if wanted.options != held.options {
        return refused(format!("the options of {} would be others", held.name), "/sql");
    }
    None
}

fn columns(parts: &Parts) -> Map<String, Json> {
    parts.columns.iter().map(|(name, definition)| (name.clone(), json!(definition))).collect()
}

fn is_table(row: &Row) -> bool {
    row.get::<String>("type").is_ok_and(|kind| kind == "table")
}

fn read(row: &Row) -> Result<Parts, Error> {
    let sql: String = row.get("sql")?;
    text::table(&sql)
        .map_err(|why| Error::target("unsupported", format!("a table is there that is not understood: {why}: {sql}")))
}
