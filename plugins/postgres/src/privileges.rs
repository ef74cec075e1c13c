//! Privileges: which there are, how a spec says them, and what is to be granted and taken
//! back between two sets.
//!
//! A privilege is one text: `SELECT`, `UPDATE (price)` on a column, and
//! `SELECT WITH GRANT OPTION` beside `SELECT` where it may be granted on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tidelock_sdk::Error;
use tidelock_sdk::schemars::{self, JsonSchema};
pub(crate) use tidelock_sdk::sql::privileges::{Difference, Privileges as Set, Wanted, fields};
use tidelock_sdk::sql::{Privilege, Row, privileges};

/// What follows a privilege that may be granted on.
pub(crate) const OPTION: &str = " WITH GRANT OPTION";

/// What privileges are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Class {
    /// The database itself.
    Database,
    /// The schema itself.
    Schema,
    /// Tables, views, materialized views and foreign tables.
    Table,
    /// Sequences.
    Sequence,
    /// Functions and aggregates: `add(integer, text)`.
    Function,
    /// Procedures: `add(integer, text)`.
    Procedure,
    /// Types and domains.
    Type,
    /// Procedural languages.
    Language,
    /// Foreign servers.
    ForeignServer,
    /// Foreign data wrappers.
    ForeignDataWrapper,
}

impl Class {
    /// As identities and statements spell it, in lower case.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Schema => "schema",
            Self::Table => "table",
            Self::Sequence => "sequence",
            Self::Function => "function",
            Self::Procedure => "procedure",
            Self::Type => "type",
            Self::Language => "language",
            Self::ForeignServer => "foreign-server",
            Self::ForeignDataWrapper => "foreign-data-wrapper",
        }
    }

    /// As a statement's object has it.
    pub(crate) fn object(self) -> &'static str {
        match self {
            Self::ForeignServer => "foreign server",
            Self::ForeignDataWrapper => "foreign data wrapper",
            other => other.word(),
        }
    }

    /// Whether its objects lie in schemas.
    pub(crate) fn in_schema(self) -> bool {
        matches!(self, Self::Table | Self::Sequence | Self::Function | Self::Procedure | Self::Type)
    }

    /// The class of a word in an identity.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        serde_json::from_value(Json::String(word.to_owned())).ok()
    }

    /// All privileges that a server of a version knows.
    pub(crate) fn all(self, version: u32) -> Vec<&'static str> {
        match self {
            Self::Database => vec!["CREATE", "CONNECT", "TEMPORARY"],
            Self::Schema => vec!["CREATE", "USAGE"],
            Self::Table => {
                let mut all = vec!["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];
                if version >= 170_000 {
                    all.push("MAINTAIN");
                }
                all
            }
            Self::Sequence => vec!["USAGE", "SELECT", "UPDATE"],
            Self::Function | Self::Procedure => vec!["EXECUTE"],
            Self::Type | Self::Language | Self::ForeignServer | Self::ForeignDataWrapper => vec!["USAGE"],
        }
    }
}

/// Privileges that columns have of their own.
const ON_COLUMNS: &[&str] = &["SELECT", "INSERT", "UPDATE", "REFERENCES"];

/// The set that a spec means on a server of a version.
///
/// # Errors
/// A word that is no privilege of the class there; the field is that of the word.
pub(crate) fn expand(wanted: &[Wanted], option: bool, class: Class, version: u32) -> Result<Set, Error> {
    let all = class.all(version);
    let mut out = privileges::expand(wanted, class == Class::Table, |word, columns| {
        let word =
            if class == Class::Database && word.trim().eq_ignore_ascii_case("temp") { "TEMPORARY" } else { word };
        let there = format!("on a {} of this server", class.object());
        privileges::expand_word(word, if columns { ON_COLUMNS } else { &all }, &there)
    })?;
    if option {
        out.extend(out.clone().into_iter().map(|privilege| privilege + OPTION));
    }
    Ok(out)
}

/// Reads a column of `[privilege, whether it may be granted on, column]`.
pub(crate) fn read(row: &Row, column: &str) -> Result<Set, Error> {
    let json: Json = row.get(column)?;
    let mut out = Set::new();
    for item in json.as_array().into_iter().flatten() {
        let word = item.get(0).and_then(Json::as_str).unwrap_or_default();
        let text = match item.get(2).and_then(Json::as_str).unwrap_or_default() {
            "" => word.to_owned(),
            column => format!("{word} ({column})"),
        };
        if item.get(1).and_then(Json::as_bool).unwrap_or_default() {
            out.insert(format!("{text}{OPTION}"));
        }
        out.insert(text);
    }
    Ok(out)
}

/// What lies between what is held and what is wanted; see [`privileges::difference`]. Taken back
/// from the whole table, a privilege goes from its columns too.
pub(crate) fn difference(held: &Set, wanted: &Set, last: &Set, all: bool) -> Difference {
    let Difference { revoke, mut grant } = privileges::difference(held, wanted, last, all);
    for whole in revoke.iter().filter(|privilege| !privilege.contains(" (")) {
        let columns = format!("{whole} (");
        grant.extend(wanted.iter().filter(|privilege| privilege.starts_with(&columns)).cloned());
    }
    Difference { revoke, grant }
}

/// The statements that a set needs: whether it is about the option, and the privileges.
/// Granting with the option grants the privilege; taking the privilege back takes the option.
pub(crate) fn statements(set: &Set, revoke: bool) -> Vec<(bool, Vec<Privilege>)> {
    let mut plain: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut with: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for text in set {
        let bare = text.strip_suffix(OPTION);
        let covered = match bare {
            Some(bare) => revoke && set.contains(bare),
            None => !revoke && set.contains(&format!("{text}{OPTION}")),
        };
        if covered {
            continue;
        }
        let (word, column) = match bare.unwrap_or(text).split_once(" (") {
            Some((word, column)) => (word, Some(column.strip_suffix(')').unwrap_or(column).to_owned())),
            None => (bare.unwrap_or(text), None),
        };
        // On the whole and on columns are two privileges of one name.
        let key = if column.is_some() { &text[..word.len() + 2] } else { word };
        let list = if bare.is_some() { &mut with } else { &mut plain };
        list.entry(key).or_default().extend(column);
    }
    let out = |list: BTreeMap<&str, Vec<String>>| -> Vec<Privilege> {
        list.into_iter().map(|(word, columns)| Privilege::on_columns(word.trim_end_matches(" ("), columns)).collect()
    };
    [(false, out(plain)), (true, out(with))].into_iter().filter(|(_, privileges)| !privileges.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(items: &[&str]) -> Set {
        items.iter().map(ToString::to_string).collect()
    }

    fn shown(set: &Set, revoke: bool) -> Vec<String> {
        let one = |privilege: &Privilege| match privilege.columns.as_slice() {
            [] => privilege.name.clone(),
            columns => format!("{}({})", privilege.name, columns.join(",")),
        };
        statements(set, revoke)
            .iter()
            .map(|(with, list)| {
                format!("{}{}", list.iter().map(one).collect::<Vec<_>>().join(" "), if *with { "*" } else { "" })
            })
            .collect()
    }

    #[test]
    fn all_is_what_the_server_knows() {
        let all = |version| expand(&[Wanted::Whole("all".into())], false, Class::Table, version).unwrap();
        assert!(all(170_000).contains("MAINTAIN") && !all(150_000).contains("MAINTAIN"));
        let columns = Wanted::Columns(BTreeMap::from([("UPDATE".into(), vec!["a (b)".into(), "c".into()])]));
        assert_eq!(
            expand(std::slice::from_ref(&columns), true, Class::Table, 150_000).unwrap(),
            set(&["UPDATE (a (b))", "UPDATE (a (b)) WITH GRANT OPTION", "UPDATE (c)", "UPDATE (c) WITH GRANT OPTION"])
        );
        assert!(expand(&[columns], false, Class::Sequence, 150_000).is_err());
        let wrong = expand(&[Wanted::Whole("SELCT".into())], false, Class::Table, 150_000).unwrap_err();
        assert!(wrong.message.contains("did you mean SELECT?"), "{wrong}");
        assert_eq!(wrong.field.as_deref(), Some("/privileges/0"));
        assert_eq!(expand(&[Wanted::Whole("temp".into())], false, Class::Database, 1).unwrap(), set(&["TEMPORARY"]));
    }

    #[test]
    fn what_goes_from_a_table_and_stays_on_a_column_is_granted_there_anew() {
        let columns = difference(&set(&["UPDATE", "UPDATE (a)"]), &set(&["UPDATE (a)"]), &set(&["UPDATE"]), false);
        assert_eq!(columns, Difference { revoke: set(&["UPDATE"]), grant: set(&["UPDATE (a)"]) });
    }

    #[test]
    fn options_and_columns_are_said_in_as_few_statements_as_can_be() {
        let both = set(&["SELECT", "SELECT WITH GRANT OPTION", "UPDATE", "UPDATE (a)", "UPDATE (b)"]);
        assert_eq!(shown(&both, false), ["UPDATE UPDATE(a,b)", "SELECT*"]);
        assert_eq!(shown(&both, true), ["SELECT UPDATE UPDATE(a,b)"]);
        assert_eq!(shown(&set(&["SELECT WITH GRANT OPTION"]), true), ["SELECT*"]);
    }
}
