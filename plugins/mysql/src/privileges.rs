//! Privileges: which there are on what, how a spec says them, how the server keeps them, and
//! what lies between two sets.
//!
//! A privilege is one text: `SELECT`, or `UPDATE (price)` on a column. That those on a thing may
//! be granted on is one more of them, `GRANT OPTION`: the server keeps it for all together.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use tidelock_sdk::Error;
use tidelock_sdk::sql::Privilege;
use tidelock_sdk::sql::privileges;
pub(crate) use tidelock_sdk::sql::privileges::{Privileges as Set, Wanted, difference, fields};

/// That privileges may be granted on.
pub(crate) const OPTION: &str = "GRANT OPTION";

/// What privileges are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Everything.
    Global,
    /// A database, or those of a pattern.
    Database,
    /// A table or view, or columns of it.
    Table,
    /// A function.
    Function,
    /// A procedure.
    Procedure,
}

/// Global privileges in the order of the bits in which the server keeps them. None: the option.
const BITS: [&str; 40] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "RELOAD",
    "SHUTDOWN",
    "PROCESS",
    "FILE",
    OPTION,
    "REFERENCES",
    "INDEX",
    "ALTER",
    "SHOW DATABASES",
    "SUPER",
    "CREATE TEMPORARY TABLES",
    "LOCK TABLES",
    "EXECUTE",
    "REPLICATION SLAVE",
    "BINLOG MONITOR",
    "CREATE VIEW",
    "SHOW VIEW",
    "CREATE ROUTINE",
    "ALTER ROUTINE",
    "CREATE USER",
    "EVENT",
    "TRIGGER",
    "CREATE TABLESPACE",
    "DELETE HISTORY",
    "SET USER",
    "FEDERATED ADMIN",
    "CONNECTION ADMIN",
    "READ_ONLY ADMIN",
    "REPLICATION SLAVE ADMIN",
    "REPLICATION MASTER ADMIN",
    "BINLOG ADMIN",
    "BINLOG REPLAY",
    "SLAVE MONITOR",
    "SHOW CREATE ROUTINE",
];

/// Privileges on a database; what a table and a routine have is among them.
const ON_DATABASE: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "REFERENCES",
    "INDEX",
    "ALTER",
    "CREATE TEMPORARY TABLES",
    "LOCK TABLES",
    "CREATE VIEW",
    "SHOW VIEW",
    "CREATE ROUTINE",
    "ALTER ROUTINE",
    "EXECUTE",
    "EVENT",
    "TRIGGER",
    "DELETE HISTORY",
    "SHOW CREATE ROUTINE",
];
const ON_TABLE: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "REFERENCES",
    "INDEX",
    "ALTER",
    "CREATE VIEW",
    "SHOW VIEW",
    "TRIGGER",
    "DELETE HISTORY",
];
const ON_ROUTINE: &[&str] = &["EXECUTE", "ALTER ROUTINE", "SHOW CREATE ROUTINE"];
const ON_COLUMNS: &[&str] = &["SELECT", "INSERT", "UPDATE", "REFERENCES"];

/// Since when there is a privilege that tells of routines: 11.3.0.
const SHOW_CREATE_ROUTINE: u32 = 110_300;

/// Other names of privileges, beside those that the server itself writes.
const ALIASES: &[(&str, &str)] = &[
    ("REPLICATION CLIENT", "BINLOG MONITOR"),
    ("REPLICATION REPLICA", "REPLICATION SLAVE"),
    ("REPLICATION REPLICA ADMIN", "REPLICATION SLAVE ADMIN"),
    ("REPLICA MONITOR", "SLAVE MONITOR"),
    ("DELETE VERSIONING ROWS", "DELETE HISTORY"),
];

impl Level {
    /// As the query for what is held spells it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Database => "database",
            Self::Table => "table",
            Self::Function => "function",
            Self::Procedure => "procedure",
        }
    }

    /// All privileges that a server of a version knows on it.
    pub(crate) fn all(self, version: u32) -> Vec<&'static str> {
        let all: &[&'static str] = match self {
            Self::Global => &BITS,
            Self::Database => ON_DATABASE,
            Self::Table => ON_TABLE,
            Self::Function | Self::Procedure => ON_ROUTINE,
        };
        let known = |privilege: &&str| {
            *privilege != OPTION && (*privilege != "SHOW CREATE ROUTINE" || version >= SHOW_CREATE_ROUTINE)
        };
        all.iter().copied().filter(known).collect()
    }
}

/// The set that a spec means on a server of a version.
///
/// # Errors
/// A word that is no privilege there; the field is that of the word.
pub(crate) fn expand(wanted: &[Wanted], option: bool, level: Level, version: u32) -> Result<Set, Error> {
    let all = level.all(version);
    let mut out = privileges::expand(wanted, level == Level::Table, |word, columns| {
        words(word, if columns { ON_COLUMNS } else { &all })
    })?;
    if option {
        out.insert(OPTION.to_owned());
    }
    Ok(out)
}

fn words(word: &str, known: &[&'static str]) -> Result<Vec<String>, Error> {
    let upper = word.trim().to_ascii_uppercase();
    if upper == OPTION {
        let message = "that privileges may be granted on is said with `grant_option: true`";
        return Err(Error::target("invalid", message));
    }
    let named = ALIASES.iter().find(|(alias, _)| *alias == upper).map_or(upper.as_str(), |(_, name)| name);
    privileges::expand_word(named, known, "there")
}

/// The set that a number of the server's means, written by a version: `1027 101119`.
pub(crate) fn of_bits(text: &str) -> Set {
    let mut words = text.split(' ');
    let bits: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
    let version: u32 = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
    let mut out: Set =
        BITS.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, name)| (*name).to_owned()).collect();
    // Before 10.5.2 one privilege stood for those that were split off from it.
    if version < 100_502 && out.contains("SUPER") {
        out.extend(BITS[30..39].iter().map(|name| (*name).to_owned()));
    }
    out
}

/// The set that a list of the server's means: `Select,Create View,Grant`; of a column, where one
/// is given.
pub(crate) fn of_list(text: &str, column: &str) -> Set {
    let one = |word: &str| {
        let word = match word.to_ascii_uppercase().as_str() {
            "GRANT" => OPTION.to_owned(),
            "DELETE VERSIONING ROWS" => "DELETE HISTORY".to_owned(),
            other => other.to_owned(),
        };
        if column.is_empty() { word } else { format!("{word} ({column})") }
    };
    text.split(',').filter(|word| !word.is_empty()).map(one).collect()
}

/// A set as statements have it, without the option.
pub(crate) fn listed(set: &Set) -> Vec<Privilege> {
    let mut words: Vec<Privilege> = Vec::new();
    let mut columns: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for text in set.iter().filter(|text| *text != OPTION) {
        match text.split_once(" (") {
            Some((word, column)) => columns.entry(word).or_default().push(column.strip_suffix(')').unwrap_or(column)),
            None => words.push(text.into()),
        }
    }
    words.extend(columns.into_iter().map(|(word, columns)| Privilege::on_columns(word, columns)));
    words
}

/// A set as a person would write it, without the option: all of a level in one word.
pub(crate) fn said(set: &Set, level: Level, version: u32) -> Vec<Json> {
    let all = level.all(version);
    let mut words: Vec<Json> = Vec::new();
    let whole = all.iter().all(|privilege| set.contains(*privilege));
    if whole {
        words.push(json!("ALL"));
    }
    for privilege in listed(set) {
        match privilege.columns.as_slice() {
            [] if whole && all.contains(&privilege.name.as_str()) => {}
            [] => words.push(json!(privilege.name)),
            columns => words.push(json!({ privilege.name: columns })),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(items: &[&str]) -> Set {
        items.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn numbers_and_lists_of_the_server_are_read() {
        assert_eq!(of_bits("1027 101119"), set(&["SELECT", "INSERT", "GRANT OPTION"]));
        assert_eq!(of_bits("68719493120 101119"), set(&["SHOW DATABASES", "BINLOG ADMIN"]));
        let all = of_bits("549755813887 101119");
        assert_eq!(all.len(), 39);
        assert!(Level::Global.all(101_119).iter().all(|privilege| all.contains(*privilege)));
        assert_eq!(of_bits("18446744073709551615").len(), 40);
        assert!(of_bits("32768").contains("BINLOG ADMIN") && !of_bits("32768 101119").contains("BINLOG ADMIN"));
        assert_eq!(
            of_list("Select,Delete versioning rows,Grant", ""),
            set(&["SELECT", "DELETE HISTORY", "GRANT OPTION"])
        );
        assert_eq!(of_list("Update", "a (b)"), set(&["UPDATE (a (b))"]));
        assert!(of_list("", "x").is_empty());
    }

    #[test]
    fn all_is_what_the_level_and_version_know() {
        let all = |level, version| expand(&[Wanted::Whole("all".into())], false, level, version).unwrap();
        assert!(all(Level::Function, 110_300).contains("SHOW CREATE ROUTINE"));
        assert_eq!(all(Level::Function, 101_119), set(&["ALTER ROUTINE", "EXECUTE"]));
        assert!(!all(Level::Global, 101_119).contains(OPTION));
        let columns = Wanted::Columns(BTreeMap::from([("update".into(), vec!["a (b)".into(), "c".into()])]));
        let columns = std::slice::from_ref(&columns);
        assert_eq!(expand(columns, true, Level::Table, 1).unwrap(), set(&["UPDATE (a (b))", "UPDATE (c)", OPTION]));
        assert!(expand(columns, false, Level::Database, 1).is_err());
        let wrong = expand(&[Wanted::Whole("SELCT".into())], false, Level::Table, 1).unwrap_err();
        assert!(
            wrong.message.contains("did you mean SELECT?") && wrong.field.as_deref() == Some("/privileges/0"),
            "{wrong}"
        );
        let client = expand(&[Wanted::Whole("replication client".into())], false, Level::Global, 1).unwrap();
        assert_eq!(client, set(&["BINLOG MONITOR"]));
    }

    #[test]
    fn a_set_is_said_as_a_person_would() {
        let held = set(&["SELECT", "UPDATE (a)", "UPDATE (b)", OPTION]);
        assert_eq!(said(&held, Level::Table, 1), [json!("SELECT"), json!({ "UPDATE": ["a", "b"] })]);
        assert_eq!(said(&of_bits("549755813887 101119"), Level::Global, 101_119), [json!("ALL")]);
    }
}
