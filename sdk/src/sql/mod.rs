//! Database servers: looking at one, and proposing statements for it.
//!
//! A plugin that reads with [`Server`] imports `tidelock:sql/read`; one that proposes the
//! [statements](statement) of this module imports the functions of `tidelock:sql/propose`
//! that it uses. Neither learns an address or a credential.
//!
//! Look at everything at once. One bulk query answers for all subjects of a call, and the
//! same question asked again in a call is answered from memory, so [`Kind::steps`] may ask it
//! for each change:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tidelock_sdk::sql::{Server, Value, create, drop, identity, set_comment};
//! use tidelock_sdk::{Action, Change, Error, Kind, Machine, Observation, Proposals, Step, Subject, schemars};
//!
//! #[derive(Serialize, Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct SchemaSpec {
//!     name: String,
//!     #[serde(default, skip_serializing_if = "Option::is_none")]
//!     comment: Option<String>,
//! }
//!
//! /// A schema of the operator's database.
//! struct Schema;
//! impl Kind for Schema {
//!     type Spec = SchemaSpec;
//!     const NAME: &'static str = "schema";
//!     const DOC: &'static str = "A schema.";
//!     const WHOLE_TARGET: bool = true;
//!
//!     fn identity(spec: &SchemaSpec) -> String {
//!         format!("schema:app/{}", identity::part(&spec.name))
//!     }
//!     fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
//!         let rows = Server::of(machine).database("app")?.query(
//!             "SELECT nspname, obj_description(oid, 'pg_namespace') AS comment FROM pg_namespace",
//!             &[],
//!         )?;
//!         let found = rows.by_key::<String>("nspname")?;
//!         let look = |subject: &Subject| {
//!             let name = identity::parts(&subject.identity).pop().unwrap_or_default();
//!             let seen = [rows.seen(&[Value::from(&name)])?];
//!             Ok(match found.get(&name) {
//!                 Some(row) => Observation::present(SchemaSpec { comment: row.get("comment")?, name }, seen),
//!                 None => Observation::absent(seen),
//!             })
//!         };
//!         subjects.iter().map(look).collect()
//!     }
//!     fn steps(change: &Change<SchemaSpec>, _: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
//!         let together = "postgres:app";
//!         if change.action == Action::Delete {
//!             let name = identity::parts(&change.identity).pop().unwrap_or_default();
//!             propose.add(drop("schema", [name]).within("app").together(together))?;
//!             return Ok(Step::Proposed);
//!         }
//!         let spec = change.wanted()?;
//!         if change.makes() {
//!             propose.add(create("schema", [&spec.name]).within("app").together(together))?;
//!         }
//!         if change.differs("/comment") || change.makes() {
//!             propose.add(set_comment("schema", [&spec.name], spec.comment.as_deref()).within("app").together(together))?;
//!         }
//!         Ok(Step::Proposed)
//!     }
//! }
//! ```
//!
//! [`Kind::steps`]: crate::Kind::steps

pub mod identity;
pub mod privileges;
mod read;
mod secret;
pub mod statement;
mod value;

pub use read::{Database, Row, Rows, Server};
pub use secret::Secret;
pub use statement::{
    Grantee, Object, Privilege, alter, create, drop, grant, grant_role, reassign_owned, reload, rename, reset, revoke,
    revoke_role, set, set_comment,
};
pub use value::{FromValue, Value};

use crate::error::Error;

/// What a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `postgres`, `mariadb`, `mysql` or `sqlite`.
    pub dialect: String,
    /// As the server says it: `15.20`.
    pub version: String,
    /// To compare: 150020 for 15.20, 101119 for 10.11.19.
    pub number: u32,
    /// The database that the operator named.
    pub database: String,
    /// The role or user that changes are made as.
    pub acts_as: String,
}

/// What went wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The error as any other: `denied`, `limit`, `invalid`, `not-found` (no such database),
    /// `unavailable` (retryable), `sql` (the server said no).
    pub error: Error,
    /// The server's five characters, where it gave them.
    pub sqlstate: Option<String>,
    /// The server's further words.
    pub detail: Option<String>,
    /// The server's hint.
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<u32>,
}

impl Failure {
    /// Whether there is no such database.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.error.code == "not-found"
    }
}

impl From<Failure> for Error {
    /// The sentence with what else the server said.
    fn from(failure: Failure) -> Self {
        let mut error = failure.error;
        for more in [failure.detail, failure.hint].into_iter().flatten().filter(|more| !more.is_empty()) {
            if !error.message.contains(&more) {
                error.message = format!("{}; {more}", error.message);
            }
        }
        error
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, sqlstate: None, detail: None, hint: None, position: None }
    }
}
