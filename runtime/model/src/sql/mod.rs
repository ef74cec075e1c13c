//! Statements for database servers, as data: what a plugin proposes, a person reviews and a
//! target performs. The words are a plugin's; the statement is written here (`render`), and so
//! is what it touches (`identity`) and destroys (`loss`). Nothing here talks to a server.

mod identity;
mod leans;
mod loss;
mod reach;
mod render;
mod reserved;
mod words;

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;

pub use self::identity::{covers, part};
pub use self::leans::is_privilege;
pub(crate) use self::reach::EVERYTHING;
pub use self::reach::Reach;
pub(crate) use self::render::granted_classes;
pub use self::render::{Piece, SECRET_OPEN};
pub use self::words::Known;

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MariaDb,
    /// MySQL.
    MySql,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// Whether statements that define things can be part of a transaction.
    #[must_use]
    pub fn transactional(self) -> bool {
        matches!(self, Self::Postgres | Self::Sqlite)
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mariadb",
            Self::MySql => "mysql",
            Self::Sqlite => "sqlite",
        }
    }
}

/// One typed statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlEffect {
    /// What the server speaks.
    pub dialect: Dialect,
    /// The database in which it is performed; `None` for what belongs to the whole server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// What it does.
    pub act: Act,
    /// Whether free text in it could not be read: it counts as destructive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
}

/// What a statement does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Creates, alters, drops, comments, ...
    Execute(Statement),
    /// Gives an object another name.
    Rename {
        /// The object under its old name.
        object: Object,
        /// The new name, without what it lies in.
        to: String,
    },
    /// Gives a setting a value, or takes it back.
    Set(Setting),
    /// Grants something, or takes it back.
    Grant(Grant),
}

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// `role`, `database`, `table`, ...
    pub class: String,
    /// The parts of its name, outermost first, without the database. An account has its host
    /// as the last one, a function the types of its arguments.
    pub name: Vec<String>,
}

impl Object {
    /// The part of its name that a rename changes; `None` where it has no name.
    #[must_use]
    pub fn own_name(&self) -> Option<&str> {
        self.name.get(self.own_place()).map(String::as_str)
    }

    /// The object under another name, where it lies now.
    #[must_use]
    pub fn renamed(&self, to: &str) -> Self {
        let mut new = self.clone();
        if let Some(name) = new.name.get_mut(self.own_place()) {
            to.clone_into(name);
        }
        new
    }

    fn own_place(&self) -> usize {
        let behind = usize::from(matches!(self.class.as_str(), "user" | "function" | "procedure" | "routine"));
        self.name.len().saturating_sub(1 + behind)
    }
}

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// `CREATE`
    Create,
    /// `ALTER`
    Alter,
    /// `DROP`
    Drop,
    /// `COMMENT ON`
    Comment,
    /// `REASSIGN OWNED BY`
    Reassign,
    /// Makes changed settings count.
    Reload,
}

/// A statement of a verb, an object and parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// What is done.
    pub verb: Verb,
    /// To what.
    pub object: Object,
    /// The rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// A part of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Words as they are.
    Text(String),
    /// A name, quoted.
    Identifier(Vec<String>),
    /// A text, quoted.
    Literal(String),
    /// A number.
    Integer(i64),
    /// A secret's value, put in when it is performed.
    Secret {
        /// The secret's name.
        name: String,
        /// How it enters.
        form: SecretForm,
    },
}

/// How a secret's value enters a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretForm {
    /// What the server keeps instead of a password.
    Verifier,
    /// The value, as a literal.
    Plain,
}

/// A setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Whose: class `system`, `database` or `role`.
    pub object: Object,
    /// For a role: in which database alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_database: Option<String>,
    /// Its name.
    pub name: String,
    /// Its value, or several; `None` resets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Vec<String>>,
}

/// A grant, or taking one back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Whether it is taken back.
    #[serde(default)]
    pub revoke: bool,
    /// What.
    pub granted: Granted,
    /// To whom, or from whom.
    pub grantee: Grantee,
    /// With the option to grant it on; of a revoke, the option alone.
    #[serde(default)]
    pub with_option: bool,
    /// Options of a membership.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<(String, bool)>,
    /// In whose name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_by: Option<String>,
    /// Whether what was granted on from it goes too.
    #[serde(default)]
    pub cascade: bool,
}

impl Grant {
    /// Whether it is on all databases whose names are like the one that it names.
    #[must_use]
    pub fn is_on_pattern(&self) -> bool {
        matches!(&self.granted, Granted::Privileges(_, object) if object.name.get(1).is_some_and(|like| like == render::LIKE)
            && object.name.first().is_some_and(|all| all == "*"))
    }
}

/// What is granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granted {
    /// Privileges on an object.
    Privileges(Vec<Privilege>, Object),
    /// Privileges on all of a class in a schema, whose name the object has.
    AllInSchema(Vec<Privilege>, Object),
    /// Membership in a role.
    Membership(String),
    /// Privileges on what a role will make.
    Defaults(Defaults),
}

/// Default privileges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defaults {
    /// The role that will make it.
    pub owner: String,
    /// In which schema alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// `table`, `sequence`, `function`, `type` or `schema`.
    pub class: String,
    /// Which privileges.
    pub privileges: Vec<Privilege>,
}

/// A privilege, on some columns or on all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privilege {
    /// Its name: `SELECT`.
    pub name: String,
    /// The columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// Who is granted something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grantee {
    /// Everybody.
    Public,
    /// A role.
    Role(String),
    /// An account: name and host.
    User(String, String),
}

/// The text of a query. Cheap to clone: each effect that rests on an answer has the text of its question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryText(Arc<str>);

impl Deref for QueryText {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for QueryText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for QueryText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Serialize for QueryText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for QueryText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// A query and what a key of it had, to be asked again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Look {
    /// The database that was asked; `None` for the one that the operator named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The query, as it was sent.
    pub query: QueryText,
    /// Its parameters, as text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Option<String>>,
    /// The first columns of the rows that count, as text; empty for all rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<Option<String>>,
    /// How many rows have the key.
    pub count: u32,
    /// Digest of them.
    pub rows: Digest,
}
