//! `mysql.database`: databases, with the character set and collation that new tables have.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::{Row, Rows, Server, Value, alter, create, drop, identity};
use tidelock_sdk::{
    Action, Change, Diagnostic, Error, Field, Found, Kind, Machine, Observation, Proposals, Step, Subject, nearest,
};

use crate::accounts::{managed, understood};
use crate::name::{self, Name};

/// What a `mysql.database` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSpec {
    /// Its name, without quotes.
    name: Name,
    /// The character set of new tables: `utf8mb4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    charset: Option<String>,
    /// How new tables sort and compare: `utf8mb4_unicode_ci`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    collation: Option<String>,
    /// A comment; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

/// `mysql.database`.
pub struct Database;

/// Databases that every server has.
const SERVERS_OWN: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];

const DATABASES: &str = "SELECT SCHEMA_NAME AS name, DEFAULT_CHARACTER_SET_NAME AS charset, \
    DEFAULT_COLLATION_NAME AS collation, SCHEMA_COMMENT AS comment FROM information_schema.schemata";

const CHARSETS: &str = "SELECT CHARACTER_SET_NAME AS charset FROM information_schema.character_sets";

/// The longest comment, in characters.
const COMMENT: usize = 1024;

impl Kind for Database {
    type Spec = DatabaseSpec;
    const NAME: &'static str = "database";
    const DOC: &'static str = "A database. Its character set and collation are those that new tables get; tables that are \
        there keep theirs.";
    const HOLDS_DATA: bool = true;
    const WHOLE_TARGET: bool = true;

    fn fields() -> Vec<Field> {
        Vec::new()
    }

    fn identity(spec: &DatabaseSpec) -> String {
        name::database(spec.name.as_str())
    }

    fn check(spec: &DatabaseSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        if SERVERS_OWN.iter().any(|own| own.eq_ignore_ascii_case(spec.name.as_str())) {
            remarks.push(Diagnostic::error(format!("{} belongs to the server", spec.name)).at("/name"));
        }
        if let (Some(charset), Some(collation)) = (&spec.charset, &spec.collation) {
            let (charset, collation) = (spelled(charset), spelled(collation));
            if collation != charset && !collation.starts_with(&format!("{charset}_")) {
                let remark = Diagnostic::error(format!("the collation {collation} is none of {charset}"));
                remarks.push(remark.at("/collation"));
            }
        }
        if spec.comment.as_ref().is_some_and(|comment| comment.chars().count() > COMMENT) {
            remarks.push(Diagnostic::error(format!("a comment has {COMMENT} characters at most")).at("/comment"));
        }
        remarks
    }

    fn normalise(mut spec: DatabaseSpec, machine: &Machine<'_>) -> Result<DatabaseSpec, Error> {
        spec.charset = spec.charset.as_deref().map(spelled);
        spec.collation = spec.collation.as_deref().map(spelled);
        if let Some(charset) = &spec.charset {
            let rows = Server::of(machine).home()?.query(CHARSETS, &[])?;
            let known = rows.iter().map(|row| Ok(spelled(&row.get::<String>("charset")?)));
            let known = known.collect::<Result<Vec<_>, Error>>()?;
            if !known.contains(charset) {
                let near = nearest(charset, known.iter().map(String::as_str));
                let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                let message = format!("the server has no character set {charset}{hint}");
                return Err(Error::target("invalid", message).at("/charset"));
            }
        }
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let rows = databases(machine)?;
        let known = rows.by_key::<String>("name")?;
        let look = |subject: &Subject| {
            let name = identity::parts(&subject.identity).concat();
            let seen = [rows.seen(&[Value::from(&name)])?];
            Ok(match known.get(&name) {
                Some(row) => Observation::present(managed(subject, &["name"], fields(row)?), seen),
                None => Observation::absent(seen),
            })
        };
        subjects.iter().map(look).collect()
    }

    fn discover(machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        let mut all = Vec::new();
        for row in &*databases(machine)? {
            let mut spec = fields(row)?;
            let name: String = row.get("name")?;
            if SERVERS_OWN.contains(&name.as_str()) {
                continue;
            }
            if spec.get("comment") == Some(&json!("")) {
                spec.remove("comment");
            }
            all.push(Found { name, spec: Json::Object(spec), remarks: Vec::new() });
        }
        Ok(Some(all))
    }

    fn steps(change: &Change<DatabaseSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        let name = identity::parts(&change.identity).concat();
        if change.action == Action::Delete {
            propose.add(drop("database", [name]))?;
            return Ok(Step::Proposed);
        }
        let spec = change.wanted()?;
        let rows = databases(machine)?;
        let known = rows.by_key::<String>("name")?;
        let found = known.get(&name).map(|row| fields(row)).transpose()?;
        let held = |field: &str| found.as_ref().and_then(|found| found.get(field)).and_then(Json::as_str);
        let mut statement = if found.is_some() { alter("database", [name]) } else { create("database", [name]) };
        if let Some(charset) = spec.charset.as_deref().filter(|charset| held("charset") != Some(charset)) {
            statement = statement.text("CHARACTER SET").literal(charset);
            // It brings its own collation, also where the wanted one stood there before.
            if let Some(collation) = &spec.collation {
                statement = statement.text("COLLATE").literal(collation);
            }
        } else if let Some(collation) = spec.collation.as_deref().filter(|wanted| held("collation") != Some(wanted)) {
            statement = statement.text("COLLATE").literal(collation);
        }
        if let Some(comment) = spec.comment.as_deref().filter(|comment| held("comment").unwrap_or_default() != *comment)
        {
            statement = statement.text("COMMENT").literal(comment);
        }
        if found.is_none() || !statement.is_bare() {
            propose.add(statement)?;
        }
        Ok(Step::Proposed)
    }
}

/// A character set or collation as the server spells it: what it calls `utf8` has had another name
/// since 10.6.
fn spelled(word: &str) -> String {
    let word = word.trim().to_ascii_lowercase();
    match word.strip_prefix("utf8") {
        Some("") => "utf8mb3".to_owned(),
        Some(rest) if rest.starts_with('_') => format!("utf8mb3{rest}"),
        _ => word,
    }
}

/// All databases, one row each; asked once per call.
fn databases(machine: &Machine<'_>) -> Result<Rc<Rows>, Error> {
    understood(machine)?;
    Ok(Server::of(machine).home()?.query(DATABASES, &[])?)
}

/// All fields of a database.
fn fields(row: &Row) -> Result<Map<String, Json>, Error> {
    let all = json!({
        "name": row.get::<String>("name")?,
        "charset": spelled(&row.get::<String>("charset")?),
        "collation": spelled(&row.get::<String>("collation")?),
        "comment": row.get::<String>("comment")?,
    });
    Ok(all.as_object().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn character_sets_have_one_spelling() {
        for (written, is) in
            [("UTF8", "utf8mb3"), ("utf8_bin", "utf8mb3_bin"), ("utf8mb4", "utf8mb4"), ("latin1", "latin1")]
        {
            assert_eq!(spelled(written), is);
        }
    }
}
