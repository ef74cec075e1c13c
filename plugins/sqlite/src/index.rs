//! `sqlite.index`: indexes. One that is to be another is dropped and made anew: it holds nothing
//! that its table does not.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::{Value, create, drop};
use tidelock_sdk::{
    Action, Change, Diagnostic, Error, Field, Found, Kind, Machine, Observation, Proposals, Step, Subject,
};

use crate::table::TOGETHER;
use crate::text::{self, Index as Parts};
use crate::{MAIN, identity, things};

/// What a `sqlite.index` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexSpec {
    /// The statement that makes it: `CREATE [UNIQUE] INDEX name ON table (...)`.
    sql: String,
    /// What it is, in parts. Not written by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    is: Option<Json>,
}

/// `sqlite.index`.
pub struct Index;

impl Kind for Index {
    type Spec = IndexSpec;
    const NAME: &'static str = "index";
    const DOC: &'static str = "An index, as the statement that makes it. Another text drops it and makes it anew.";
    const WHOLE_TARGET: bool = true;

    fn fields() -> Vec<Field> {
        vec![Field::new("/sql").how()]
    }

    fn identity(spec: &IndexSpec) -> String {
        identity("index", &text::index(&spec.sql).map(|parts| parts.name).unwrap_or_default())
    }

    fn requires(spec: &IndexSpec) -> Vec<String> {
        text::index(&spec.sql).map(|parts| identity("table", &parts.table)).into_iter().collect()
    }

    fn check(spec: &IndexSpec) -> Vec<Diagnostic> {
        text::index(&spec.sql).err().map(|why| Diagnostic::error(why).at("/sql")).into_iter().collect()
    }

    fn normalise(mut spec: IndexSpec, _: &Machine<'_>) -> Result<IndexSpec, Error> {
        spec.is = Some(is(&parts(&spec.sql)?));
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let rows = things(machine)?;
        let known = rows.by_key::<String>("known")?;
        let look = |subject: &Subject| {
            let name = tidelock_sdk::sql::identity::parts(&subject.identity).pop().unwrap_or_default();
            let seen = [rows.seen(&[Value::from(&name)])?];
            match known.get(&name) {
                Some(row) if row.get::<String>("type")? == "index" => {
                    let sql: String = row.get("sql")?;
                    Ok(Observation::present(json!({ "is": is(&parts(&sql)?) }), seen))
                }
                _ => Ok(Observation::absent(seen)),
            }
        };
        subjects.iter().map(look).collect()
    }

    fn discover(machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        let rows = things(machine)?;
        let mut all = Vec::new();
        for row in rows.iter() {
            if row.get::<String>("type")? == "index" {
                let spec = Map::from_iter([("sql".to_owned(), json!(row.get::<String>("sql")?))]);
                all.push(Found { name: row.get("name")?, spec: Json::Object(spec), remarks: Vec::new() });
            }
        }
        Ok(Some(all))
    }

    fn steps(change: &Change<IndexSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        let name = tidelock_sdk::sql::identity::parts(&change.identity).pop().unwrap_or_default();
        let there = things(machine)?.by_key::<String>("known")?.contains_key(&name);
        if there || change.action == Action::Delete {
            propose.add(drop("index", [&name]).within(MAIN).together(TOGETHER))?;
        }
        if change.action != Action::Delete {
            let wanted = parts(&change.wanted()?.sql)?;
            let made = create("index", [name]);
            let made = if wanted.unique { made.text("UNIQUE") } else { made };
            let made = made.text("ON").identifier([wanted.table]).text(&wanted.rest);
            propose.add(made.within(MAIN).together(TOGETHER))?;
        }
        Ok(Step::Proposed)
    }
}

fn parts(sql: &str) -> Result<Parts, Error> {
    text::index(sql).map_err(|why| Error::target("invalid", format!("{why}: {sql}")).at("/sql"))
}

fn is(parts: &Parts) -> Json {
    json!({ "unique": parts.unique, "table": parts.table.to_ascii_lowercase(), "on": parts.on })
}
