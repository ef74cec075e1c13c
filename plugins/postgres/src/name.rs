//! Names of roles, databases and what is in them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use tidelock_sdk::Diagnostic;
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::spec::from_text;

/// The longest name, in bytes. The server cuts longer ones without a word, so that two names
/// would mean one thing.
const LONGEST: usize = 63;

/// A name, as it is: quotes, capitals, spaces and dots belong to it, and nobody quotes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Name(#[schemars(length(min = 1, max = 63))] String);

impl Name {
    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: String) -> Result<Self, String> {
        if text.is_empty() || text.len() > LONGEST || text.contains('\0') {
            return Err(format!("{text:?} has {} bytes; a name has 1 to {LONGEST}, none of them NUL", text.len()));
        }
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, Self::parse)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&Name> for String {
    fn from(name: &Name) -> Self {
        name.0.clone()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What others added and the spec does not list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Owns {
    /// It is left alone.
    #[default]
    Listed,
    /// It is taken away.
    All,
}

impl Owns {
    pub(crate) fn is_listed(&self) -> bool {
        *self == Self::Listed
    }
}

/// What is wrong with a limit of connections, which the server would say only once it is applied.
pub(crate) fn connection_limit(limit: Option<i32>) -> Option<Diagnostic> {
    let limit = limit.filter(|limit| *limit < -1)?;
    let remark = Diagnostic::error(format!("{limit} is no number of connections; -1 for any number, else 0 and up"));
    Some(remark.at("/connection_limit"))
}

/// The identity of a role.
pub(crate) fn role(name: &str) -> String {
    tidelock_sdk::sql::identity::of("role", [name])
}

/// The identity of a database.
pub(crate) fn database(name: &str) -> String {
    tidelock_sdk::sql::identity::of("database", [name])
}

/// The identity of a schema.
pub(crate) fn schema(database: &str, name: &str) -> String {
    tidelock_sdk::sql::identity::of("schema", [database, name])
}

/// Keys of groups. What is in one database is one transaction. Roles are another one, made
/// before the databases that they own, and so are privileges on databases, granted after.
pub(crate) mod together {
    /// Roles that are made or changed, and their memberships.
    pub(crate) const ROLES: &str = "postgres:roles";
    /// Roles that go: after all that needed them.
    pub(crate) const ROLES_GONE: &str = "postgres:roles-gone";
    /// Privileges on databases.
    pub(crate) const ON_DATABASES: &str = "postgres:on-databases";

    /// Settings of databases and roles.
    pub(crate) const SETTINGS: &str = "postgres:settings";

    /// Whatever lies in a database.
    pub(crate) fn within(database: &str) -> String {
        format!("postgres:{database}")
    }
}
