//! Who holds what: one query, whatever the number of grants. The server's own tables are asked
//! and not its views of them, for which a role holds what it has from others, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use tidelock_sdk::sql::{Rows, Server, Value, identity};
use tidelock_sdk::{Error, Machine};

use crate::name::{Who, literal, pattern, quoted};
use crate::privileges::{self, Level, Set};

/// What privileges are on, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct On {
    pub(super) level: Level,
    /// The database; empty for everything. A pattern where `like`.
    pub(super) database: String,
    pub(super) like: bool,
    /// The table or routine; empty for what lies in a database.
    pub(super) name: String,
}

impl On {
    /// Everything.
    pub(super) fn everything() -> Self {
        Self { level: Level::Global, database: String::new(), like: false, name: String::new() }
    }

    /// As a statement of a person names it.
    pub(super) fn statement(&self) -> String {
        let quoted = |name: &str| quoted('`', name);
        match self.level {
            Level::Global => "*.*".to_owned(),
            Level::Database => format!("{}.*", quoted(&self.kept())),
            Level::Table => format!("{}.{}", quoted(&self.database), quoted(&self.name)),
            level => {
                let word = level.word().to_ascii_uppercase();
                format!("{word} {}.{}", quoted(&self.database), quoted(&self.name))
            }
        }
    }

    /// The identity of a grant on it.
    pub(super) fn identity(&self, who: &Who) -> String {
        let (database, name) = (identity::part(&self.database), identity::part(&self.name));
        let rest = match self.level {
            Level::Global => "/system".to_owned(),
            Level::Database if self.like => format!("{database}/table/*/like"),
            Level::Database => format!("{database}/table/*"),
            level => format!("{database}/{}/{name}", level.word()),
        };
        format!("grant:{}/{rest}", who.part())
    }

    /// Reads what [`On::identity`] wrote. A table called `*` is the database, as in a statement.
    pub(super) fn of_identity(text: &str) -> Result<(Who, Self), Error> {
        let unknown = || Error::plugin(format!("{text:?} is no grant's identity"));
        let parts: Vec<&str> = text.strip_prefix("grant:").ok_or_else(unknown)?.split('/').collect();
        let plain = |part: &str| identity::plain(part);
        let (who, level, database, like, name) = match parts.as_slice() {
            [who, "", "system"] => (who, Level::Global, String::new(), false, String::new()),
            [who, database, "table", "*"] => (who, Level::Database, plain(database), false, String::new()),
            [who, database, "table", "*", "like"] => (who, Level::Database, plain(database), true, String::new()),
            [who, database, "table", name] => (who, Level::Table, plain(database), false, plain(name)),
            [who, database, "function", name] => (who, Level::Function, plain(database), false, plain(name)),
            [who, database, "procedure", name] => (who, Level::Procedure, plain(database), false, plain(name)),
            _ => return Err(unknown()),
        };
        Ok((Who::of_part(who), Self { level, database, like, name }))
    }

    /// The database as the server keeps it.
    fn kept(&self) -> String {
        if self.level == Level::Database && !self.like { pattern(&self.database) } else { self.database.clone() }
    }

    /// What a row is about.
    fn of_row(level: &str, database: String, name: String) -> Option<Self> {
        let level = match level {
            "global" => Level::Global,
            "database" => Level::Database,
            "table" => Level::Table,
            "function" => Level::Function,
            "procedure" => Level::Procedure,
            // A package, which no spec is about.
            _ => return None,
        };
        if level == Level::Database {
            return Some(match literal(&database) {
                Some(database) => Self { level, database, like: false, name },
                None => Self { level, database, like: true, name },
            });
        }
        Some(Self { level, database, like: false, name })
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Global => f.write_str("everything (*.*)"),
            Level::Database if self.like => write!(f, "databases like {}", self.database),
            Level::Database => write!(f, "the database {}", self.database),
            level => write!(f, "the {} {} of {}", level.word(), self.name, self.database),
        }
    }
}

/// Columns of the table of privileges on databases, and what they stand for.
const ON_DATABASES: &[(&str, &str)] = &[
    ("Select", "SELECT"),
    ("Insert", "INSERT"),
    ("Update", "UPDATE"),
    ("Delete", "DELETE"),
    ("Create", "CREATE"),
    ("Drop", "DROP"),
    ("Grant", "GRANT"),
    ("References", "REFERENCES"),
    ("Index", "INDEX"),
    ("Alter", "ALTER"),
    ("Create_tmp_table", "CREATE TEMPORARY TABLES"),
    ("Lock_tables", "LOCK TABLES"),
    ("Create_view", "CREATE VIEW"),
    ("Show_view", "SHOW VIEW"),
    ("Create_routine", "CREATE ROUTINE"),
    ("Alter_routine", "ALTER ROUTINE"),
    ("Execute", "EXECUTE"),
    ("Event", "EVENT"),
    ("Trigger", "TRIGGER"),
    ("Delete_history", "DELETE HISTORY"),
];

/// The column that servers have since 11.3.
const SINCE_11_3: (&str, &str) = ("Show_create_routine", "SHOW CREATE ROUTINE");

fn query(version: u32) -> String {
    let newer = (version >= 110_300).then_some(&SINCE_11_3);
    let columns = ON_DATABASES.iter().chain(newer);
    let columns: Vec<String> =
        columns.map(|(column, word)| format!("IF({column}_priv = 'Y', '{word}', NULL)")).collect();
    format!(
        "SELECT User, Host, 'global' AS level, '' AS db, '' AS name, '' AS col, \
         CONCAT_WS(' ', IFNULL(JSON_VALUE(Priv, '$.access'), '0'), JSON_VALUE(Priv, '$.version_id')) AS held \
         FROM mysql.global_priv \
         UNION ALL SELECT User, Host, 'database', Db, '', '', CONCAT_WS(',', {}) FROM mysql.db \
         UNION ALL SELECT User, Host, 'table', Db, Table_name, '', Table_priv FROM mysql.tables_priv \
         UNION ALL SELECT User, Host, 'table', Db, Table_name, Column_name, Column_priv FROM mysql.columns_priv \
         UNION ALL SELECT User, Host, LOWER(Routine_type), Db, Routine_name, '', Proc_priv FROM mysql.procs_priv",
        columns.join(", ")
    )
}

/// Privileges by grantee and thing.
pub(super) struct Held {
    rows: Rc<Rows>,
    accounts: BTreeSet<Who>,
    sets: BTreeMap<(Who, On), Set>,
}

static NOTHING: Set = Set::new();

impl Held {
    /// Asks for all, once per call.
    pub(super) fn of(machine: &Machine<'_>) -> Result<Rc<Self>, Error> {
        let server = Server::of(machine);
        server.home()?.query_as(&query(server.facts()?.number), &[], |rows| {
            let mut out = Self { rows: Rc::clone(rows), accounts: BTreeSet::new(), sets: BTreeMap::new() };
            for row in &**rows {
                let who = Who { name: row.get("User")?, host: row.get("Host")? };
                let (level, held): (String, String) = (row.get("level")?, row.get("held")?);
                let Some(on) = On::of_row(&level, row.get("db")?, row.get("name")?) else { continue };
                let set = match on.level {
                    Level::Global => {
                        out.accounts.insert(who.clone());
                        privileges::of_bits(&held)
                    }
                    _ => privileges::of_list(&held, &row.get::<String>("col")?),
                };
                out.sets.entry((who, on)).or_default().extend(set);
            }
            Ok(out)
        })
    }

    /// Whether there is an account.
    pub(super) fn has(&self, who: &Who) -> bool {
        // Everybody is always there, also where nothing was granted to them yet.
        self.accounts.contains(who) || who.is_public()
    }

    /// All accounts.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &Who> {
        self.accounts.iter()
    }

    /// What somebody holds on a thing.
    pub(super) fn get(&self, who: &Who, on: &On) -> &Set {
        self.sets.get(&(who.clone(), on.clone())).unwrap_or(&NOTHING)
    }

    /// All that anybody holds.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Who, &On, &Set)> {
        self.sets.iter().map(|((who, on), set)| (who, on, set))
    }

    /// A token for what somebody holds on a thing.
    pub(super) fn seen(&self, who: &Who, on: &On) -> Result<String, Error> {
        let kept = on.kept();
        let key = [&who.name, &who.host, on.level.word(), &kept, &on.name];
        self.rows.seen(&key.map(|part: &str| Value::from(part)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_come_back() {
        let who = Who { name: "a/b@c".into(), host: "%".into() };
        let on =
            |level, database: &str, like, name: &str| On { level, database: database.into(), like, name: name.into() };
        for (on, identity) in [
            (on(Level::Global, "", false, ""), "grant:a%2Fb%40c@%25//system"),
            (on(Level::Database, "my_app", false, ""), "grant:a%2Fb%40c@%25/my_app/table/*"),
            (on(Level::Database, "my_%", true, ""), "grant:a%2Fb%40c@%25/my_%25/table/*/like"),
            (on(Level::Table, "x", false, "t/u"), "grant:a%2Fb%40c@%25/x/table/t%2Fu"),
            (on(Level::Procedure, "x", false, "p"), "grant:a%2Fb%40c@%25/x/procedure/p"),
        ] {
            assert_eq!(on.identity(&who), identity);
            assert_eq!(On::of_identity(identity).unwrap(), (who.clone(), on));
        }
        assert!(On::of_identity("grant:x/y").is_err());
    }

    #[test]
    fn a_row_of_a_pattern_is_no_grant_on_one_database() {
        let of = |database: &str| On::of_row("database", database.into(), String::new()).unwrap();
        assert_eq!((of(r"my\_app").database.as_str(), of(r"my\_app").like), ("my_app", false));
        assert_eq!((of("my_app").database.as_str(), of("my_app").like), ("my_app", true));
        assert_eq!(of(r"my\_app").kept(), r"my\_app");
        assert_eq!(of("my_app").kept(), "my_app");
        assert!(On::of_row("package body", String::new(), String::new()).is_none());
    }
}
