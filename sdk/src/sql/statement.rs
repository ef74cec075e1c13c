//! Statements as effects. A plugin says what a statement does, to what, and its parts; the
//! host quotes, writes the leading keywords, and tells from the verb what is destroyed.
//!
//! ```
//! use tidelock_sdk::sql::{alter, create, grant, set};
//!
//! let role = create("role", ["app"]).text("LOGIN CONNECTION LIMIT").integer(5).together("postgres:roles");
//! let owner = alter("table", ["public", "orders"]).text("OWNER TO").identifier(["app"]).within("shop");
//! let read = grant(["SELECT"]).on("table", ["public", "orders"]).to("reports").within("shop");
//! let path = set("search_path", ["app", "public"]).of_role("app").in_database("shop");
//! # let _ = (role, owner, read, path);
//! ```

use super::Secret;
use crate::effect::{AfterCrash, Effect, effect};

/// What a statement is about: a class, such as `role` or `table`, and the parts of a name,
/// outermost first, without the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its class.
    pub class: String,
    /// The parts of its name. Functions have the types of their arguments as the last part.
    pub name: Vec<String>,
}

impl Object {
    /// An object.
    pub fn new(class: &str, name: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { class: class.to_owned(), name: name.into_iter().map(Into::into).collect() }
    }
}

/// How a secret's value enters a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretForm {
    /// What the server keeps instead of a password.
    Verifier,
    /// The value itself. Refused on PostgreSQL.
    Plain,
}

/// A part of a statement; parts are joined with single spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Keywords and punctuation.
    Text(String),
    /// A name, which the host quotes.
    Identifier(Vec<String>),
    /// A text, which the host quotes.
    Literal(String),
    /// A number.
    Integer(i64),
    /// A secret, by name.
    Secret {
        /// Its name, as the change's spec has it.
        name: String,
        /// How it enters.
        form: SecretForm,
    },
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `CREATE`.
    Create,
    /// `ALTER`.
    Alter,
    /// `DROP`.
    Drop,
    /// `COMMENT ON`.
    Comment,
    /// `REASSIGN OWNED BY`.
    Reassign,
    /// Makes changed settings count.
    Reload,
}

/// A statement made of parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execute {
    /// The database in which it is performed.
    pub database: Option<String>,
    /// What it does.
    pub verb: Verb,
    /// To what.
    pub object: Object,
    /// The rest of it.
    pub parts: Vec<Part>,
}

/// Renames an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The database in which it is performed.
    pub database: Option<String>,
    /// What has the old name.
    pub object: Object,
    /// The new name, its last part alone.
    pub to: String,
}

/// Sets or resets a setting of a server, database or role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Whose: class `system`, `database` or `role`.
    pub object: Object,
    /// For a role's: in which database.
    pub in_database: Option<String>,
    /// The setting's name.
    pub name: String,
    /// Its value, several for a list; none resets it.
    pub value: Option<Vec<String>>,
}

/// A privilege, on columns or on the whole object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privilege {
    /// `SELECT`.
    pub name: String,
    /// Its columns; none for all.
    pub columns: Vec<String>,
}

impl Privilege {
    /// A privilege on columns.
    pub fn on_columns(name: &str, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { name: name.to_owned(), columns: columns.into_iter().map(Into::into).collect() }
    }
}

impl From<&str> for Privilege {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), columns: Vec::new() }
    }
}

impl From<&String> for Privilege {
    fn from(name: &String) -> Self {
        name.as_str().into()
    }
}

/// Who is granted something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grantee {
    /// Everybody.
    Public,
    /// A role.
    Role(String),
    /// An account of MariaDB and MySQL: name and host.
    User(String, String),
}

impl From<&str> for Grantee {
    /// A role. For everybody say [`Grantee::Public`].
    fn from(role: &str) -> Self {
        Self::Role(role.to_owned())
    }
}

/// What is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// Privileges on an object.
    Privileges(Vec<Privilege>, Object),
    /// Privileges on all that a schema holds; the object's name is the schema's.
    AllInSchema(Vec<Privilege>, Object),
    /// Membership in a role.
    Membership(String),
    /// Privileges on what a role will make.
    Defaults {
        /// The role that will make it.
        owner: String,
        /// In which schema; none for all.
        schema: Option<String>,
        /// `table`, `sequence`, `function`, `type` or `schema`.
        class: String,
        /// Which privileges.
        privileges: Vec<Privilege>,
    },
}

/// A grant, or taking one back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The database in which it is performed.
    pub database: Option<String>,
    /// Whether it is taken back.
    pub revoke: bool,
    /// What.
    pub granted: Granted,
    /// To whom, or from whom.
    pub grantee: Grantee,
    /// With its option; a revoke takes back the option alone.
    pub with_option: bool,
    /// Options of a membership since PostgreSQL 16.
    pub options: Vec<(String, bool)>,
    /// In whose name; none for Tidelock's own.
    pub granted_by: Option<String>,
    /// Also takes back what was granted on from it.
    pub cascade: bool,
}

fn execute(verb: Verb, object: Object) -> Effect<Execute> {
    effect(Execute { database: None, verb, object, parts: Vec::new() }, AfterCrash::Observe)
}

/// `CREATE CLASS name ...`
pub fn create(class: &str, name: impl IntoIterator<Item = impl Into<String>>) -> Effect<Execute> {
    execute(Verb::Create, Object::new(class, name))
}

/// `ALTER CLASS name ...`
pub fn alter(class: &str, name: impl IntoIterator<Item = impl Into<String>>) -> Effect<Execute> {
    execute(Verb::Alter, Object::new(class, name))
}

/// `DROP CLASS name ...`; of class `owned`, all that a role owns in a database.
pub fn drop(class: &str, name: impl IntoIterator<Item = impl Into<String>>) -> Effect<Execute> {
    execute(Verb::Drop, Object::new(class, name))
}

/// `COMMENT ON CLASS name IS ...`; none takes it away.
pub fn set_comment(
    class: &str,
    name: impl IntoIterator<Item = impl Into<String>>,
    comment: Option<&str>,
) -> Effect<Execute> {
    let statement = execute(Verb::Comment, Object::new(class, name));
    match comment {
        Some(comment) => statement.literal(comment),
        None => statement.text("NULL"),
    }
}

/// Gives another role what a role owns in a database.
pub fn reassign_owned(from: &str, to: &str) -> Effect<Execute> {
    execute(Verb::Reassign, Object::new("owned", [from])).text("TO").identifier([to])
}

/// Makes changed settings of the server count.
pub fn reload() -> Effect<Execute> {
    execute(Verb::Reload, Object::new("system", [""; 0])).after_crash(AfterCrash::Repeat)
}

/// Renames an object; `to` is the last part of its new name.
pub fn rename(class: &str, name: impl IntoIterator<Item = impl Into<String>>, to: &str) -> Effect<Rename> {
    effect(Rename { database: None, object: Object::new(class, name), to: to.to_owned() }, AfterCrash::Observe)
}

fn setting(name: &str, value: Option<Vec<String>>) -> Effect<Set> {
    let body = Set { object: Object::new("system", [""; 0]), in_database: None, name: name.to_owned(), value };
    effect(body, AfterCrash::Observe)
}

/// Sets a setting, of the server unless more is said.
pub fn set(name: &str, value: impl IntoIterator<Item = impl Into<String>>) -> Effect<Set> {
    setting(name, Some(value.into_iter().map(Into::into).collect()))
}

/// Resets a setting, of the server unless more is said.
pub fn reset(name: &str) -> Effect<Set> {
    setting(name, None)
}

/// A grant, or taking one back, that does not say yet on what and to whom. Nothing that can
/// be added: it becomes an effect once both are said.
#[derive(Debug, Clone)]
#[must_use = "it says neither on what nor to whom"]
pub struct Unfinished<T> {
    revoke: bool,
    what: T,
}

/// Grants privileges: `grant(["SELECT"]).on("table", ["public", "orders"]).to("web")`.
pub fn grant(privileges: impl IntoIterator<Item = impl Into<Privilege>>) -> Unfinished<Vec<Privilege>> {
    Unfinished { revoke: false, what: privileges.into_iter().map(Into::into).collect() }
}

/// Takes privileges back.
pub fn revoke(privileges: impl IntoIterator<Item = impl Into<Privilege>>) -> Unfinished<Vec<Privilege>> {
    Unfinished { revoke: true, what: privileges.into_iter().map(Into::into).collect() }
}

/// Makes a role a member of another: `grant_role("staff").to("ada")`.
pub fn grant_role(role: &str) -> Unfinished<Granted> {
    Unfinished { revoke: false, what: Granted::Membership(role.to_owned()) }
}

/// Ends a membership.
pub fn revoke_role(role: &str) -> Unfinished<Granted> {
    Unfinished { revoke: true, what: Granted::Membership(role.to_owned()) }
}

impl Unfinished<Vec<Privilege>> {
    /// On an object.
    pub fn on(self, class: &str, name: impl IntoIterator<Item = impl Into<String>>) -> Unfinished<Granted> {
        Unfinished { revoke: self.revoke, what: Granted::Privileges(self.what, Object::new(class, name)) }
    }

    /// On all objects of a class that a schema holds now.
    pub fn on_all(self, class: &str, schema: &str) -> Unfinished<Granted> {
        Unfinished { revoke: self.revoke, what: Granted::AllInSchema(self.what, Object::new(class, [schema])) }
    }

    /// On what a role will make, in one schema or in all.
    pub fn by_default(self, owner: &str, schema: Option<&str>, class: &str) -> Unfinished<Granted> {
        let defaults = Granted::Defaults {
            owner: owner.to_owned(),
            schema: schema.map(str::to_owned),
            class: class.to_owned(),
            privileges: self.what,
        };
        Unfinished { revoke: self.revoke, what: defaults }
    }
}

impl Unfinished<Granted> {
    /// To whom; a text is a role.
    pub fn to(self, grantee: impl Into<Grantee>) -> Effect<Grant> {
        let body = Grant {
            database: None,
            revoke: self.revoke,
            granted: self.what,
            grantee: grantee.into(),
            with_option: false,
            options: Vec::new(),
            granted_by: None,
            cascade: false,
        };
        effect(body, AfterCrash::Observe)
    }

    /// From whom; a text is a role.
    pub fn from(self, grantee: impl Into<Grantee>) -> Effect<Grant> {
        self.to(grantee)
    }
}

impl Effect<Execute> {
    /// Keywords and punctuation: `WITH LOGIN CONNECTION LIMIT`.
    pub fn text(self, text: &str) -> Self {
        self.part(Part::Text(text.to_owned()))
    }

    /// A name, which the host quotes.
    pub fn identifier(self, name: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.part(Part::Identifier(name.into_iter().map(Into::into).collect()))
    }

    /// A text, which the host quotes.
    pub fn literal(self, text: &str) -> Self {
        self.part(Part::Literal(text.to_owned()))
    }

    /// A number.
    pub fn integer(self, number: i64) -> Self {
        self.part(Part::Integer(number))
    }

    /// What the server keeps instead of a secret's value.
    pub fn verifier(self, secret: &Secret) -> Self {
        self.part(Part::Secret { name: secret.name().to_owned(), form: SecretForm::Verifier })
    }

    fn part(mut self, part: Part) -> Self {
        self.body.parts.push(part);
        self
    }

    /// Whether nothing is said but the object.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.body.parts.is_empty()
    }
}

impl Effect<Set> {
    /// Of a database.
    pub fn of_database(mut self, database: &str) -> Self {
        self.body.object = Object::new("database", [database]);
        self
    }

    /// Of a role.
    pub fn of_role(mut self, role: &str) -> Self {
        self.body.object = Object::new("role", [role]);
        self
    }

    /// Of a role in one database.
    pub fn in_database(mut self, database: &str) -> Self {
        self.body.in_database = Some(database.to_owned());
        self
    }
}

impl Effect<Grant> {
    /// With the option to grant it on; with a revoke, that option alone.
    pub fn with_option(mut self, with: bool) -> Self {
        self.body.with_option = with;
        self
    }

    /// An option of a membership since PostgreSQL 16: `INHERIT`, `SET`.
    pub fn option(mut self, name: &str, value: bool) -> Self {
        self.body.options.push((name.to_owned(), value));
        self
    }

    /// In whose name.
    pub fn granted_by(mut self, role: &str) -> Self {
        self.body.granted_by = Some(role.to_owned());
        self
    }

    /// Also takes back what was granted on from it.
    pub fn cascade(mut self) -> Self {
        self.body.cascade = true;
        self
    }
}

macro_rules! within {
    ($($body:ty),*) => {$(
        impl Effect<$body> {
            /// The database in which it is performed. Without, it belongs to the whole server.
            pub fn within(mut self, database: &str) -> Self {
                self.body.database = Some(database.to_owned());
                self
            }
        }
    )*};
}
within!(Execute, Rename, Grant);
