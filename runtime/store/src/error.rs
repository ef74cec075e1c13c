//! Turns what SQLite says into the port's errors: a stable word, a sentence that
//! names the file, and what mends it.
//!
//! Inside the crate every function returns [`Trouble`], which knows nothing of
//! files; the store adds the path once, at the door.

use std::path::Path;

use rusqlite::ErrorCode;
use tidelock_model::port::StoreError;

use crate::process;

/// What went wrong, before it is known in which file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// SQLite refused.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    /// A row is there and does not read as what it should be.
    #[error("{what} cannot be read: {why}")]
    Row {
        /// Which row.
        what: String,
        /// What the reader said.
        why: String,
    },
    /// What was committed may not outlive a power cut.
    #[error("what was written could not be flushed to the disk: {0}")]
    Unflushed(#[from] std::io::Error),
    /// The store itself refused: fenced, busy, invalid.
    #[error(transparent)]
    Refused(#[from] StoreError),
}

/// What functions inside the crate return.
pub(crate) type Kept<T> = Result<T, Trouble>;

impl Trouble {
    /// A row that does not read as what it should be.
    pub(crate) fn row(what: impl Into<String>, why: &dyn ToString) -> Self {
        Self::Row { what: what.into(), why: why.to_string() }
    }

    /// A request that cannot be right, whatever the store holds.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Refused(refusal("invalid", message, None))
    }

    /// The port's error, with the file named.
    pub(crate) fn at(self, path: Option<&Path>) -> StoreError {
        let store = path.map_or_else(|| "in memory".to_owned(), |path| path.display().to_string());
        match self {
            Self::Refused(error) => error,
            Self::Row { .. } => corrupt(&store, &self.to_string()),
            Self::Unflushed(_) => refusal("io", format!("the store {store} failed: {self}"), None),
            Self::Sql(error) => named(&error, &store, path),
        }
    }
}

/// An error of the port.
pub(crate) fn refusal(code: &str, message: impl Into<String>, hint: Option<&str>) -> StoreError {
    StoreError { code: code.to_owned(), message: message.into(), hint: hint.map(str::to_owned) }
}

/// A file that is ours and damaged.
pub(crate) fn corrupt(store: &str, why: &str) -> StoreError {
    refusal(
        "corrupt",
        format!("the store {store} is damaged: {why}"),
        Some(
            "stop every tidelock that uses it, keep a copy of the file with its -wal and -shm beside it, then put back \
             a backup; with a new store nothing is deleted until first contact is approved again",
        ),
    )
}

fn named(error: &rusqlite::Error, store: &str, path: Option<&Path>) -> StoreError {
    use ErrorCode as Code;
    let Some(code) = error.sqlite_error_code() else {
        // The value in a column is not of the type that every version of ours wrote.
        return corrupt(store, &error.to_string());
    };
    match code {
        Code::DatabaseBusy | Code::DatabaseLocked => busy(store, path),
        Code::DiskFull => refusal(
            "full",
            format!("the store {store} cannot grow: the disk is full"),
            Some("free some space on its file system; nothing of this step was written, so it can simply run again"),
        ),
        Code::ReadOnly => refusal(
            "read-only",
            format!("the store {store} may not be written: {error}"),
            Some("run as the user who owns it, or check that its file system is mounted for writing"),
        ),
        Code::DatabaseCorrupt | Code::NotADatabase => corrupt(store, &error.to_string()),
        Code::CannotOpen | Code::PermissionDenied => refusal(
            "io",
            format!("the store {store} cannot be opened: {error}"),
            Some("check that its directory exists, and that this user may read and write there"),
        ),
        Code::ConstraintViolation => refusal(
            "invalid",
            format!("the store {store} refused a write that does not fit what it holds: {error}"),
            Some("this is a fault of tidelock, not of yours: please report it"),
        ),
        _ => refusal("io", format!("the store {store} failed: {error}"), None),
    }
}

fn busy(store: &str, path: Option<&Path>) -> StoreError {
    let writer = path.and_then(process::writer_of);
    let message = match &writer {
        Some(writer) => format!("the store {store} is being written by {writer}"),
        None => format!("the store {store} is being written by another process"),
    };
    refusal("busy", message, Some("wait for it to end, then run this again"))
}
