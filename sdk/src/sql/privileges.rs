//! Privileges as specs say them, and what lies between two sets of them.
//!
//! A privilege is one text: `SELECT`, or `UPDATE (price)` on a column. Whether it may be granted on
//! is said by the server's own words, in whatever way the server keeps it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::error::{Error, nearest};

/// A set of privileges.
pub type Privileges = BTreeSet<String>;

/// A privilege as a spec says it: `SELECT`, `ALL`, or `UPDATE: [price, note]` on columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Wanted {
    /// On the whole.
    Whole(String),
    /// On columns of a table.
    Columns(BTreeMap<String, Vec<String>>),
}

/// The set that a spec means by its field `privileges`. What a word stands for says `words`, which
/// is told whether it is about columns; `has_columns` says whether the thing has any.
///
/// # Errors
/// A word that is no privilege there; the field is that of the word.
pub fn expand(
    wanted: &[Wanted],
    has_columns: bool,
    words: impl Fn(&str, bool) -> Result<Vec<String>, Error>,
) -> Result<Privileges, Error> {
    let mut out = Privileges::new();
    for (at, wanted) in wanted.iter().enumerate() {
        let placed = |error: Error| error.at(format!("/privileges/{at}"));
        match wanted {
            Wanted::Whole(word) => out.extend(words(word, false).map_err(placed)?),
            Wanted::Columns(_) if !has_columns => {
                return Err(placed(Error::target("invalid", "only tables have privileges on columns")));
            }
            Wanted::Columns(columns) => {
                for (word, columns) in columns {
                    for word in words(word, true).map_err(placed)? {
                        out.extend(columns.iter().map(|column| format!("{word} ({column})")));
                    }
                }
            }
        }
    }
    Ok(out)
}

/// What a word stands for among the privileges that a server knows: itself, or `ALL` of them.
/// `there` says where, for the error.
///
/// # Errors
/// It is no privilege there.
pub fn expand_word(word: &str, known: &[&str], there: &str) -> Result<Vec<String>, Error> {
    let upper = word.trim().to_ascii_uppercase();
    match upper.as_str() {
        "ALL" | "ALL PRIVILEGES" => Ok(known.iter().map(ToString::to_string).collect()),
        word if known.contains(&word) => Ok(vec![upper]),
        word => {
            let hint = nearest(word, known.iter().copied()).map(|near| format!("; did you mean {near}?"));
            let hint = hint.unwrap_or_else(|| format!("; there are {}", known.join(", ")));
            Err(Error::target("invalid", format!("{word} is no privilege {there}{hint}")))
        }
    }
}

/// A set as an observed or desired spec has it: each privilege is a field of its own, so that a plan
/// names it and those of others stay out of the comparison.
#[must_use]
pub fn fields(set: &Privileges) -> Json {
    set.iter().map(|privilege| (privilege.clone(), json!(true))).collect::<Map<_, _>>().into()
}

/// What to take back and what to grant, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// What is to be taken back.
    pub revoke: Privileges,
    /// What is to be granted.
    pub grant: Privileges,
}

/// What lies between what is held and what is wanted. Of what is held and not wanted, what was
/// granted before (`last`) is taken back, and where the spec owns all, everything.
///
/// ```
/// use tidelock_sdk::sql::privileges::{Difference, Privileges, difference};
/// let set = |items: &[&str]| -> Privileges { items.iter().map(ToString::to_string).collect() };
/// let (held, wanted, last) = (set(&["SELECT", "DELETE", "UPDATE"]), set(&["SELECT", "INSERT"]), set(&["UPDATE"]));
/// let found = difference(&held, &wanted, &last, false);
/// assert_eq!(found, Difference { revoke: set(&["UPDATE"]), grant: set(&["INSERT"]) });
/// assert_eq!(difference(&held, &wanted, &last, true).revoke, set(&["DELETE", "UPDATE"]));
/// ```
#[must_use]
pub fn difference(held: &Privileges, wanted: &Privileges, last: &Privileges, all: bool) -> Difference {
    let surplus = held.iter().filter(|privilege| !wanted.contains(*privilege) && (all || last.contains(*privilege)));
    Difference { revoke: surplus.cloned().collect(), grant: wanted.difference(held).cloned().collect() }
}
