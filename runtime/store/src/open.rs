//! Opens the file: looks before it touches, makes it for its owner alone, refuses
//! what is not ours or is newer than this build.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tidelock_model::port::StoreError;

use crate::error::{Kept, Trouble, refusal};
use crate::migrate::{self, APPLICATION_ID, SCHEMA_VERSION};

/// How long a write waits for another process before it gives up. Transactions are
/// short: whoever holds the file for longer is stuck, and a person should know.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// One file is opened at a time in this process. A new file is made by hand, to be
/// private from its first byte, and closing that handle would drop the locks that
/// another connection of this process had on the same file by then.
static OPENING: Mutex<()> = Mutex::new(());

/// What a file holds, if it is one that this build may use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing yet.
    Empty,
    /// A store of this version or an older one.
    Ours {
        /// The version.
        version: i64,
    },
}

/// A connection that writes, and one that only reads, so that a long read holds up no write.
pub(crate) struct Opened {
    pub(crate) writer: Option<Connection>,
    pub(crate) reader: Option<Connection>,
}

/// Opens a store for writing; makes it where there is none.
pub(crate) fn for_writing(path: &Path) -> Kept<Opened> {
    let _one = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    let file = path.display().to_string();
    prepare(path)?;
    look(path, &file)?;
    let mut writer = connect(path, Access::Write)?;
    write_ahead(&writer)?;
    migrate::bring_up(&mut writer, &file)?;
    let reader = connect(path, Access::Read)?;
    Ok(Opened { writer: Some(writer), reader: Some(reader) })
}

/// Opens a store that stays as it is.
pub(crate) fn for_reading(path: &Path) -> Kept<Opened> {
    let _one = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    let file = path.display().to_string();
    if !path.exists() {
        return Err(Trouble::Refused(refusal(
            "io",
            format!("there is no store at {file}"),
            Some("the first `tidelock plan` or `apply` makes it; check --config and [store] url in tidelock.toml"),
        )));
    }
    match look(path, &file)? {
        Found::Ours { version: SCHEMA_VERSION } => {}
        Found::Ours { version } => return Err(Trouble::Refused(older(&file, version))),
        Found::Empty => return Err(Trouble::Refused(foreign(&file, "it is empty"))),
    }
    // SQLite opens late: only a question shows whether it can.
    let ask = |access| connect(path, access).and_then(|it| identify(&it, &file).map(|_| it));
    let reader = ask(Access::Read).or_else(|error| match log_of(path) {
        // A file system without writing has no room for the shared index of a log; with
        // no log there is none to index.
        0 => ask(Access::Still),
        _ => Err(error),
    })?;
    Ok(Opened { writer: None, reader: Some(reader) })
}

/// Opens a store that ends with the process.
pub(crate) fn in_memory() -> Kept<Opened> {
    let mut writer = Connection::open_in_memory()?;
    tune(&writer)?;
    migrate::bring_up(&mut writer, "in memory")?;
    Ok(Opened { writer: Some(writer), reader: None })
}

/// Opens a store that is only copied, of this version or an older one, and tells which.
pub(crate) fn for_copying(path: &Path) -> Kept<(Found, Connection)> {
    let _one = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    let found = look(path, &path.display().to_string())?;
    let access = if log_of(path) == 0 { Access::Still } else { Access::Read };
    Ok((found, connect(path, access)?))
}

/// Opens a file that was just made, to be filled with a copy.
pub(crate) fn empty(path: &Path) -> Kept<Connection> {
    connect(path, Access::Write)
}

/// Makes the file and the directories above it for their owner alone. What is there
/// already keeps its modes, except that the store of a careless copy is closed to
/// strangers.
fn prepare(path: &Path) -> Kept<()> {
    let io = |what: &str, error: &io::Error| {
        Trouble::Refused(refusal(
            "io",
            format!("the store {} cannot be {what}: {error}", path.display()),
            Some("check [store] url in tidelock.toml, and that this user may write there"),
        ))
    };
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            return Err(Trouble::Refused(foreign(&path.display().to_string(), "it is not a regular file")));
        }
        Ok(found) => {
            let mode = found.permissions().mode();
            if mode & 0o007 != 0 {
                fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o770))
                    .map_err(|error| io("closed to other users", &error))?;
                tracing::warn!(store = %path.display(), "other users could read the store; its mode was tightened");
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(|error| io("made", &error))?;
            }
            let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            match made {
                Ok(_) => {}
                // Another process was faster; its file is looked at like any other.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io("made", &error)),
            }
        }
        Err(error) => return Err(io("opened", &error)),
    }
    Ok(())
}

/// Tells what a file is, without changing it.
///
/// With a log beside it, SQLite must read both, under its locks. Without one the
/// file is read as it lies, which leaves no trace: a plain read-only connection
/// would leave an index and an empty log behind.
fn look(path: &Path, file: &str) -> Kept<Found> {
    let seen = |access| connect(path, access).and_then(|connection| identify(&connection, file));
    let mut found = if log_of(path) == 0 { seen(Access::Still) } else { seen(Access::Read) };
    if is(&found, ErrorCode::DatabaseCorrupt) && log_of(path) > 0 {
        // A log may have come up since, and is just being written back.
        found = seen(Access::Read);
    }
    if is(&found, ErrorCode::NotADatabase) {
        return Err(Trouble::Refused(foreign(file, "it is not a SQLite database")));
    }
    found
}

/// Whether SQLite refused with a code.
fn is<T>(found: &Kept<T>, code: ErrorCode) -> bool {
    matches!(found, Err(Trouble::Sql(error)) if error.sqlite_error_code() == Some(code))
}

/// Bytes of the write-ahead log beside a store.
fn log_of(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(Path::new(&log)).map_or(0, |found| found.len())
}

/// Tells what an open file is.
pub(crate) fn identify(connection: &Connection, file: &str) -> Kept<Found> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    if application == APPLICATION_ID {
        if version > SCHEMA_VERSION {
            return Err(Trouble::Refused(newer(file, version)));
        }
        return Ok(Found::Ours { version });
    }
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application == 0 && version == 0 && tables == 0 {
        return Ok(Found::Empty);
    }
    Err(Trouble::Refused(foreign(file, "it is the SQLite database of another program")))
}

fn newer(file: &str, version: i64) -> StoreError {
    refusal(
        "newer",
        format!(
            "the store {file} has version {version}, and this tidelock knows versions up to {SCHEMA_VERSION}; it was \
             left as it is"
        ),
        Some("use the tidelock that wrote it, or a later one"),
    )
}

fn older(file: &str, version: i64) -> StoreError {
    refusal(
        "read-only",
        format!(
            "the store {file} has the older version {version}, and may not be changed by a command that only reads"
        ),
        Some("run `tidelock plan` once as the user who owns it: that brings it up to date"),
    )
}

fn foreign(file: &str, why: &str) -> StoreError {
    refusal(
        "foreign",
        format!("{file} is not a store of tidelock: {why}; it was left as it is"),
        Some("check [store] url in tidelock.toml"),
    )
}

#[derive(Clone, Copy)]
enum Access {
    /// Reads and writes.
    Write,
    /// Reads what others write.
    Read,
    /// Reads a file that nobody writes meanwhile; takes no locks and leaves no trace.
    Still,
}

fn connect(path: &Path, access: Access) -> Kept<Connection> {
    let common = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = match access {
        Access::Write => Connection::open_with_flags(uri(path, "mode=rw"), common | OpenFlags::SQLITE_OPEN_READ_WRITE)?,
        Access::Read => Connection::open_with_flags(uri(path, "mode=ro"), common | OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        Access::Still => {
            Connection::open_with_flags(uri(path, "mode=ro&immutable=1"), common | OpenFlags::SQLITE_OPEN_READ_ONLY)?
        }
    };
    // SQLite opens what it may not write for reading, without a word.
    if matches!(access, Access::Write) && connection.is_readonly("main")? {
        return Err(Trouble::Refused(refusal(
            "read-only",
            format!("the store {} may not be written by this user, or its file system is read-only", path.display()),
            Some("run as the user who owns it; commands that only look can read it as it is"),
        )));
    }
    tune(&connection)?;
    Ok(connection)
}

/// A path as SQLite's URI: whatever bytes it holds, they mean the file.
fn uri(path: &Path, query: &str) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push('?');
    uri.push_str(query);
    uri
}

/// What holds for each connection and is not kept in the file.
fn tune(connection: &Connection) -> Kept<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "foreign_keys", true)?;
    // Text of a damaged file must not become code or confuse the schema's reader.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    // What must be on the disk by itself is flushed by `flush.rs`.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(())
}

/// Turns the write-ahead log on: readers and the writer do not wait for each other.
/// SQLite does not wait by itself when two processes do this to one new file.
fn write_ahead(connection: &Connection) -> Kept<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mode = connection
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
            .map_err(Trouble::from);
        match mode {
            Ok(mode) if mode == "wal" => break,
            Ok(mode) => {
                return Err(Trouble::Refused(refusal(
                    "io",
                    format!("the store's file system cannot hold a write-ahead log (SQLite stays with {mode:?})"),
                    Some("keep the store on a local disk"),
                )));
            }
            Err(Trouble::Sql(error))
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < until =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(trouble) => return Err(trouble),
        }
    }
    // A log that one huge transaction has blown up is cut again.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_means_itself() {
        assert_eq!(uri(Path::new("/a b/50%?x#y.db"), "mode=ro"), "file:/a%20b/50%25%3Fx%23y.db?mode=ro");
    }
}
