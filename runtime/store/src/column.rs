//! How values of the model become columns, and come back.
//!
//! Words (`update`, `drift`) are the model's own serde names, so the store, the
//! plan and the command line say the same.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidelock_model::name::{Lane, Name};

use crate::error::{Kept, Trouble};

/// A value as compact JSON.
pub(crate) fn json<T: Serialize>(what: &str, value: &T) -> Kept<String> {
    serde_json::to_string(value).map_err(|error| Trouble::row(what, &error))
}

/// A value from JSON.
pub(crate) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Kept<T> {
    serde_json::from_str(text).map_err(|error| Trouble::row(what, &error))
}

/// The word of an enum without fields.
pub(crate) fn word<T: Serialize>(value: &T) -> Kept<String> {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => Ok(word),
        other => Err(Trouble::row("a word", &format!("{other:?}"))),
    }
}

/// The enum of a word.
pub(crate) fn from_word<T: DeserializeOwned>(what: &str, word: String) -> Kept<T> {
    serde_json::from_value(Value::String(word)).map_err(|error| Trouble::row(what, &error))
}

/// A value from its text form.
pub(crate) fn parse<T: std::str::FromStr<Err: ToString>>(what: &str, text: &str) -> Kept<T> {
    text.parse().map_err(|error: T::Err| Trouble::row(what, &error))
}

/// A time that may be missing.
pub(crate) fn maybe_time(what: &str, text: Option<String>) -> Kept<Option<Timestamp>> {
    text.map(|text| parse(what, &text)).transpose()
}

/// A lane from its three columns.
pub(crate) fn lane(source: String, stack: String, target: String) -> Kept<Lane> {
    let name = |text: String| Name::new(text).map_err(|error| Trouble::row("a lane", &error));
    Ok(Lane { source: name(source)?, stack: name(stack)?, target: name(target)? })
}

/// A number for SQLite, which has none above `i64::MAX`.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number that was never negative when it was written.
pub(crate) fn count(what: &str, value: i64) -> Kept<usize> {
    usize::try_from(value).map_err(|error| Trouble::row(what, &error))
}

/// A limit for SQL: -1 means none.
pub(crate) fn limit(limit: Option<usize>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

/// The condition on a run, written so that SQLite can use an index where one is given.
pub(crate) fn by_run(run: Option<&str>, column: &str) -> String {
    match run {
        Some(_) => format!("{column} = ?4"),
        None => "?4 IS NULL".to_owned(),
    }
}
