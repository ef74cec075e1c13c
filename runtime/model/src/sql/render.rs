//! Writes statements: quotes names and texts, puts the leading keywords. What a plan shows
//! and what a server gets come from the same pieces, and differ in the secrets alone.

use super::leans::words;
use super::{
    Act, Defaults, Dialect, Grant, Granted, Grantee, Known, Object, Part, Privilege, SecretForm, Setting, SqlEffect,
    Statement, Verb,
};

/// How a secret begins in what a plan shows.
pub const SECRET_OPEN: &str = "<secret ";

/// The longest name of anything, in bytes. PostgreSQL cuts longer ones without a word.
const MAX_NAME: usize = 63;
/// The most that one statement may have, in bytes.
const MAX_STATEMENT: usize = 1 << 20;

/// The most of a statement that stands in one line, in characters.
const MAX_SUMMARY: usize = 2_000;

/// What makes a pattern of a database's name in a grant.
pub(super) const LIKE: &str = "like";

const CLASSES: &[&str] = &[
    "role",
    "user",
    "database",
    "schema",
    "extension",
    "table",
    "index",
    "sequence",
    "view",
    "materialized view",
    "function",
    "procedure",
    "routine",
    "type",
    "domain",
    "language",
    "tablespace",
    "foreign server",
    "foreign data wrapper",
    "large object",
    "parameter",
    "system",
    "owned",
];

/// The classes that identities of things in databases begin with, as grants name them.
pub(crate) fn granted_classes() -> impl Iterator<Item = String> {
    let objects = CLASSES.iter().filter(|class| **class != "owned").map(|class| class.replace(' ', "-"));
    objects.chain(["membership", "grant", "default-privileges", "setting"].map(ToOwned::to_owned))
}

/// A stretch of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is sent and shown.
    Text(String),
    /// A secret, by name.
    Secret {
        /// Its name.
        name: String,
        /// How it enters.
        form: SecretForm,
    },
}

type Rendered = Result<String, String>;

impl SqlEffect {
    /// The statement in pieces.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with "it".
    pub fn pieces(&self) -> Result<Vec<Piece>, String> {
        let pieces = match &self.act {
            Act::Execute(statement) => self.statement(statement)?,
            Act::Rename { object, to } => vec![Piece::Text(self.rename(object, to)?)],
            Act::Set(setting) => vec![Piece::Text(self.set(setting)?)],
            Act::Grant(grant) => vec![Piece::Text(self.grant(grant)?)],
        };
        let size: usize = pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 }).sum();
        if size > MAX_STATEMENT {
            return Err(format!("has {size} bytes; a statement may have {MAX_STATEMENT}"));
        }
        Ok(pieces)
    }

    /// The statement as people see it: secrets by name.
    #[must_use]
    pub fn shown(&self) -> String {
        let Ok(pieces) = self.pieces() else { return "a statement that cannot be written".to_owned() };
        let show = |piece: Piece| match piece {
            Piece::Text(text) => text,
            Piece::Secret { name, .. } => format!("{SECRET_OPEN}{name}>"),
        };
        pieces.into_iter().map(show).collect()
    }

    /// One line for people: the statement, and where it is performed.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut line: String = self
            .shown()
            .chars()
            .take(MAX_SUMMARY)
            .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
            .collect();
        if line.chars().count() == MAX_SUMMARY {
            line.push_str(" ...");
        }
        match &self.database {
            Some(database) => format!("in {database}: {line}"),
            None => line,
        }
    }

    /// A text as the dialect quotes it.
    #[must_use]
    pub fn literal(&self, text: &str) -> String {
        let doubled = text.replace('\'', "''");
        match self.dialect {
            // With a backslash, a form that reads the same whatever the session's settings.
            Dialect::Postgres if text.contains('\\') => format!("E'{}'", doubled.replace('\\', r"\\")),
            Dialect::MariaDb | Dialect::MySql => format!("'{}'", doubled.replace('\\', r"\\")),
            Dialect::Postgres | Dialect::Sqlite => format!("'{doubled}'"),
        }
    }

    fn statement(&self, statement: &Statement) -> Result<Vec<Piece>, String> {
        let Statement { verb, object, parts } = statement;
        let mut parts = parts.as_slice();
        let head = match (verb, object.class.as_str()) {
            (Verb::Reload, "system") if self.dialect == Dialect::Postgres => {
                "SELECT pg_catalog.pg_reload_conf()".into()
            }
            (Verb::Reassign, "owned") => format!("REASSIGN OWNED BY {}", self.name(object)?),
            (Verb::Drop, "owned") => format!("DROP OWNED BY {}", self.name(object)?),
            (Verb::Reload | Verb::Reassign, _) | (_, "owned" | "system" | "parameter" | "large object") => {
                return Err(format!("does with a {} what cannot be done with one", object.class));
            }
            (Verb::Comment, class) => format!("COMMENT ON {} {} IS", keyword(class)?, self.name(object)?),
            (Verb::Alter, "user") if self.dialect == Dialect::MariaDb && is_default_role(parts) => {
                return self.default_role(object, parts);
            }
            (Verb::Create, "index") if is_unique(parts) => {
                parts = &parts[1..];
                format!("CREATE UNIQUE INDEX {}", self.name(object)?)
            }
            (verb, class) => {
                let verb = match verb {
                    Verb::Create => "CREATE",
                    Verb::Alter => "ALTER",
                    _ => "DROP",
                };
                format!("{verb} {} {}", keyword(class)?, self.name(object)?)
            }
        };
        if let Some(moves) = statement.moves_by_text(self.dialect) {
            return Err(format!(
                "has {moves} in its text; what is renamed, moved or given away is said by itself, with its name as a name"
            ));
        }
        let mut out = vec![Piece::Text(head)];
        // The word that a part stands after.
        let mut after = String::new();
        for part in parts {
            let text = match part {
                Part::Text(text) => {
                    let text = text.trim();
                    if statement.knows(self.dialect, text) == Known::No {
                        return Err(format!(
                            "has the words {text:?}, which are not known of a statement about a {}",
                            object.class
                        ));
                    }
                    if text.contains('\0') {
                        return Err("has a NUL in a text".into());
                    }
                    if let Some(last) = words(text).last() {
                        after = last;
                    }
                    text.to_owned()
                }
                Part::Identifier(names) => match (self.dialect, object.class.as_str(), names.as_slice()) {
                    // Where accounts have hosts, a name of two parts is that of an account.
                    (Dialect::MariaDb | Dialect::MySql, "role" | "user", [name, host]) => self.account(name, host)?,
                    _ => self.dotted(names)?,
                },
                Part::Literal(text) => {
                    if text.contains('\0') {
                        return Err("has a NUL in a text".into());
                    }
                    self.literal(text)
                }
                Part::Integer(number) => number.to_string(),
                Part::Secret { name, form } => {
                    if *form == SecretForm::Plain && self.dialect == Dialect::Postgres {
                        return Err(format!("would send the secret {name} itself; PostgreSQL gets a verifier"));
                    }
                    let password = matches!(object.class.as_str(), "role" | "user")
                        && matches!(verb, Verb::Create | Verb::Alter)
                        && matches!(after.as_str(), "PASSWORD" | "BY" | "USING" | "AS")
                        && (*form == SecretForm::Verifier || after == "BY");
                    if !password {
                        return Err(format!(
                            "has the secret {name} where no password stands; one follows PASSWORD, USING or AS of a role or \
                             user, and one that is sent itself follows BY"
                        ));
                    }
                    after.clear();
                    push(&mut out, " ");
                    out.push(Piece::Secret { name: name.clone(), form: *form });
                    continue;
                }
            };
            if !text.is_empty() {
                push(&mut out, " ");
                push(&mut out, &text);
            }
            if !matches!(part, Part::Text(_)) {
                after.clear();
            }
        }
        statement.named_in_full()?;
        Ok(out)
    }

    /// MariaDB says it with another verb.
    fn default_role(&self, object: &Object, parts: &[Part]) -> Result<Vec<Piece>, String> {
        let role = match parts.get(1) {
            Some(Part::Identifier(names)) => self.dotted(names)?,
            _ => "NONE".to_owned(),
        };
        Ok(vec![Piece::Text(format!("SET DEFAULT ROLE {role} FOR {}", self.name(object)?))])
    }

    fn rename(&self, object: &Object, to: &str) -> Rendered {
        let class = keyword(&object.class)?;
        match (self.dialect, object.class.as_str()) {
            (Dialect::Postgres | Dialect::Sqlite, _) => {
                Ok(format!("ALTER {class} {} RENAME TO {}", self.name(object)?, self.quoted(to)?))
            }
            (Dialect::MariaDb | Dialect::MySql, "user") => {
                Ok(format!("RENAME USER {} TO {}", self.name(object)?, self.name(&object.renamed(to))?))
            }
            (Dialect::MariaDb | Dialect::MySql, "table") => {
                Ok(format!("RENAME TABLE {} TO {}", self.name(object)?, self.name(&object.renamed(to))?))
            }
            _ => Err(format!("renames a {}, which {} cannot", object.class, self.dialect.word())),
        }
    }

    fn set(&self, setting: &Setting) -> Rendered {
        if self.dialect != Dialect::Postgres {
            return Err("sets what only PostgreSQL keeps in its catalog".into());
        }
        let Setting { object, in_database, name, value } = setting;
        let mut head = match object.class.as_str() {
            "system" => "ALTER SYSTEM".to_owned(),
            "role" if object.name.is_empty() => "ALTER ROLE ALL".to_owned(),
            "role" | "database" => format!("ALTER {} {}", keyword(&object.class)?, self.name(object)?),
            class => return Err(format!("sets a setting of a {class}; only servers, databases and roles have them")),
        };
        if let Some(database) = in_database {
            if object.class != "role" {
                return Err("is for one database, which only a role's setting can be".into());
            }
            head.push_str(&format!(" IN DATABASE {}", self.quoted(database)?));
        }
        let name = name.split('.').map(|part| self.quoted(part)).collect::<Result<Vec<_>, _>>()?.join(".");
        match value {
            None => Ok(format!("{head} RESET {name}")),
            Some(values) if values.is_empty() || values.iter().any(|value| value.contains('\0')) => {
                Err("has no value, or one that holds a NUL".into())
            }
            Some(values) => {
                let values: Vec<String> = values.iter().map(|value| self.literal(value)).collect();
                Ok(format!("{head} SET {name} TO {}", values.join(", ")))
            }
        }
    }

    fn grant(&self, grant: &Grant) -> Rendered {
        let Grant { revoke, granted, grantee, with_option, options, granted_by, cascade } = grant;
        let postgres = self.dialect == Dialect::Postgres;
        if !postgres && (granted_by.is_some() || *cascade || !options.is_empty()) {
            return Err("has what only PostgreSQL's grants have".into());
        }
        let to = match (grantee, postgres) {
            (Grantee::Public, _) => "PUBLIC".to_owned(),
            (Grantee::Role(role), _) => self.quoted(role)?,
            (Grantee::User(name, host), false) => self.account(name, host)?,
            (Grantee::User(..), true) => {
                return Err("grants to an account with a host, which PostgreSQL has not".into());
            }
        };
        let mut prefix = String::new();
        let (what, option) = match granted {
            Granted::Membership(role) => (self.quoted(role)?, "ADMIN OPTION"),
            Granted::Privileges(privileges, object) => {
                if !postgres && *revoke && *with_option {
                    let on = self.object_of_grant(object)?;
                    return Ok(format!("REVOKE GRANT OPTION ON {on} FROM {to}"));
                }
                (format!("{} ON {}", self.privileges(privileges)?, self.object_of_grant(object)?), "GRANT OPTION")
            }
            Granted::AllInSchema(privileges, object) => {
                let classes = plural(&object.class)?;
                let [schema] = object.name.as_slice() else { return Err("names no schema, or several parts".into()) };
                if !postgres {
                    return Err("grants on all of a schema, which only PostgreSQL can".into());
                }
                let privileges = self.privileges(privileges)?;
                (format!("{privileges} ON ALL {classes} IN SCHEMA {}", self.quoted(schema)?), "GRANT OPTION")
            }
            Granted::Defaults(Defaults { owner, schema, class, privileges }) => {
                if !postgres {
                    return Err("sets default privileges, which only PostgreSQL has".into());
                }
                prefix = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {} ", self.quoted(owner)?);
                if let Some(schema) = schema {
                    prefix.push_str(&format!("IN SCHEMA {} ", self.quoted(schema)?));
                }
                (format!("{} ON {}", self.privileges(privileges)?, plural(class)?), "GRANT OPTION")
            }
        };
        let mut out = if *revoke {
            let only = if *with_option { format!("{option} FOR ") } else { String::new() };
            if !options.is_empty() {
                return Err("takes back options of a membership together; grant them with another value".into());
            }
            format!("{prefix}REVOKE {only}{what} FROM {to}")
        } else {
            format!("{prefix}GRANT {what} TO {to}{}", with(*with_option, option, options)?)
        };
        if let Some(by) = granted_by {
            out.push_str(&format!(" GRANTED BY {}", self.quoted(by)?));
        }
        if *revoke && *cascade {
            out.push_str(" CASCADE");
        }
        Ok(out)
    }

    fn privileges(&self, privileges: &[Privilege]) -> Rendered {
        if privileges.is_empty() {
            return Err("names no privilege".into());
        }
        let one = |privilege: &Privilege| {
            let name = privilege.name.trim();
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphabetic() || c == ' ' || c == '_') {
                return Err(format!("names the privilege {name:?}, which is none"));
            }
            let mut out = name.to_ascii_uppercase();
            if !privilege.columns.is_empty() {
                let columns: Result<Vec<_>, _> = privilege.columns.iter().map(|column| self.quoted(column)).collect();
                out.push_str(&format!(" ({})", columns?.join(", ")));
            }
            Ok(out)
        };
        Ok(privileges.iter().map(one).collect::<Result<Vec<_>, String>>()?.join(", "))
    }

    fn object_of_grant(&self, object: &Object) -> Rendered {
        if self.dialect == Dialect::Postgres {
            let word = match object.class.as_str() {
                "view" | "materialized view" => "TABLE".to_owned(),
                "foreign server" => "FOREIGN SERVER".to_owned(),
                "parameter" => {
                    let name = object.name.join(".");
                    let parts = name.split('.').map(|part| self.quoted(part)).collect::<Result<Vec<_>, _>>()?;
                    return Ok(format!("PARAMETER {}", parts.join(".")));
                }
                class => keyword(class)?,
            };
            return Ok(format!("{word} {}", self.name(object)?));
        }
        let database = || self.database.as_deref().ok_or("is about a database that it does not name".to_owned());
        match (object.class.as_str(), object.name.as_slice()) {
            ("system", []) => Ok("*.*".to_owned()),
            ("table" | "view", [all]) if all == "*" => {
                // In this place alone, `_` and `%` of a name stand for any character.
                let pattern = database()?.replace('\\', r"\\").replace('_', r"\_").replace('%', r"\%");
                Ok(format!("{}.*", self.quoted(&pattern)?))
            }
            ("table", [all, like]) if all == "*" && like == LIKE => Ok(format!("{}.*", self.quoted(database()?)?)),
            ("table" | "view", [name]) => Ok(format!("{}.{}", self.quoted(database()?)?, self.quoted(name)?)),
            (class @ ("function" | "procedure"), [name, ..]) => {
                Ok(format!("{} {}.{}", keyword(class)?, self.quoted(database()?)?, self.quoted(name)?))
            }
            _ => Err(format!("grants on a {}, which {} cannot", object.class, self.dialect.word())),
        }
    }

    /// The object's name, quoted.
    fn name(&self, object: &Object) -> Rendered {
        match (object.class.as_str(), object.name.as_slice()) {
            ("user", [name, host]) => self.account(name, host),
            ("role" | "database" | "schema" | "extension" | "tablespace" | "owned" | "language", [name]) => {
                self.quoted(name)
            }
            ("function" | "procedure" | "routine", [names @ .., arguments]) if !names.is_empty() => {
                if self.dialect == Dialect::Postgres {
                    return Ok(format!("{}({})", self.dotted(names)?, types(arguments)?));
                }
                self.in_database(names)
            }
            ("large object", [number]) if number.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number.clone()),
            ("table" | "index" | "view" | "sequence", names) if !names.is_empty() => self.in_database(names),
            ("materialized view" | "type" | "domain" | "foreign server" | "foreign data wrapper", names)
                if !names.is_empty() =>
            {
                self.dotted(names)
            }
            (class, names) => Err(format!("names a {class} with {} parts", names.len())),
        }
    }

    /// MariaDB and MySQL name the database with what lies in it, as a session may be anywhere.
    fn in_database(&self, names: &[String]) -> Rendered {
        let name = self.dotted(names)?;
        match (&self.database, self.dialect) {
            (Some(database), Dialect::MariaDb | Dialect::MySql) => Ok(format!("{}.{name}", self.quoted(database)?)),
            _ => Ok(name),
        }
    }

    fn account(&self, name: &str, host: &str) -> Rendered {
        // An account of nobody is the anonymous one.
        let quoted = |text: &str| if text.is_empty() { Ok("``".to_owned()) } else { self.quoted(text) };
        Ok(format!("{}@{}", quoted(name)?, quoted(host)?))
    }

    fn dotted(&self, names: &[String]) -> Rendered {
        if names.is_empty() || names.len() > 3 {
            return Err(format!("has a name of {} parts", names.len()));
        }
        Ok(names.iter().map(|name| self.quoted(name)).collect::<Result<Vec<_>, _>>()?.join("."))
    }

    fn quoted(&self, name: &str) -> Rendered {
        let longest = if self.dialect == Dialect::Postgres { MAX_NAME } else { MAX_NAME * 4 };
        if name.is_empty() || name.contains('\0') || name.len() > longest {
            return Err(format!("has the name {name:?}; a name has 1 to {longest} bytes and no NUL"));
        }
        Ok(match self.dialect {
            Dialect::Postgres | Dialect::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
            Dialect::MariaDb | Dialect::MySql => format!("`{}`", name.replace('`', "``")),
        })
    }
}

fn push(out: &mut Vec<Piece>, text: &str) {
    match out.last_mut() {
        Some(Piece::Text(last)) => last.push_str(text),
        _ => out.push(Piece::Text(text.to_owned())),
    }
}

/// The word stands before the class, where no part can.
fn is_unique(parts: &[Part]) -> bool {
    matches!(parts.first(), Some(Part::Text(text)) if text.trim().eq_ignore_ascii_case("UNIQUE"))
}

fn is_default_role(parts: &[Part]) -> bool {
    let words = |part: Option<&Part>| match part {
        Some(Part::Text(text)) => text.trim().to_ascii_uppercase(),
        _ => String::new(),
    };
    match parts {
        [_, Part::Identifier(_)] => words(parts.first()) == "DEFAULT ROLE",
        [_] => words(parts.first()) == "DEFAULT ROLE NONE",
        _ => false,
    }
}

/// The keywords of a class.
fn keyword(class: &str) -> Rendered {
    if !CLASSES.contains(&class) {
        return Err(format!("is about a {class:?}, which is no class of objects"));
    }
    Ok(if class == "foreign server" { "SERVER".to_owned() } else { class.to_ascii_uppercase() })
}

fn plural(class: &str) -> Rendered {
    match class {
        "table" | "sequence" | "function" | "procedure" | "routine" | "type" | "schema" => {
            Ok(format!("{}S", class.to_ascii_uppercase()))
        }
        _ => Err(format!("is about all of a {class:?}, which cannot be said")),
    }
}

fn with(option: bool, word: &str, options: &[(String, bool)]) -> Rendered {
    if options.is_empty() {
        return Ok(if option { format!(" WITH {word}") } else { String::new() });
    }
    let mut all = vec![format!("ADMIN {}", truth(option))];
    for (name, value) in options {
        if !matches!(name.as_str(), "INHERIT" | "SET") {
            return Err(format!("has the option {name:?}; a membership has INHERIT and SET"));
        }
        all.push(format!("{name} {}", truth(*value)));
    }
    Ok(format!(" WITH {}", all.join(", ")))
}

fn truth(value: bool) -> &'static str {
    if value { "TRUE" } else { "FALSE" }
}

/// The arguments of a function, as the catalog writes them: names of types, quoted or not.
fn types(text: &str) -> Rendered {
    let mut quoted = false;
    let mut depth = 0_i32;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted && !c.is_control() => {}
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            _ if c.is_alphanumeric() || matches!(c, '_' | ' ' | ',' | '.' | '[' | ']') => {}
            _ => return Err(format!("has the arguments {text:?}, which are no names of types")),
        }
    }
    if quoted || depth != 0 {
        return Err(format!("has the arguments {text:?}, which are no names of types"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
