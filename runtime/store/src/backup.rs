//! A copy of the store while others write, and putting one back.
//!
//! **Invariants.** A copy is one snapshot: all of a transaction is in it or nothing. It is
//! never written over a file. A store that is in use is not replaced, and what is replaced
//! is kept beside; the change itself is one transaction, so whoever looks sees the one or
//! the other. Tokens of leases and numbers of events never fall back.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::backup::{Backup as Copying, StepResult};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use tidelock_model::event::RunEvent;
use tidelock_model::port::StoreError;

use crate::column::maybe_time;
use crate::door::{SqliteStore, sound};
use crate::error::{Kept, Trouble, refusal};
use crate::migrate::SCHEMA_VERSION;
use crate::open::{self, Found, PATIENCE};
use crate::{events, leases, migrate, process};

/// When a copy was made, in its own `meta`.
const TAKEN: &str = "taken";

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backup {
    /// The file; mode 0600.
    pub file: PathBuf,
    /// When it was made.
    pub taken: Timestamp,
    /// Its size, in bytes.
    pub bytes: u64,
    /// The store's id.
    pub store: String,
    /// The version of its schema.
    pub version: i64,
}

/// A copy that was put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The file that it was read from.
    pub from: PathBuf,
    /// When it was made; `None` where the file is not one that `backup` made.
    pub taken: Option<Timestamp>,
    /// The store's id.
    pub store: String,
    /// Where the store from before is kept; empty where there was none.
    pub kept: Vec<PathBuf>,
    /// Holds that are in force and were not in the copy: they stay in force.
    pub holds: usize,
}

impl SqliteStore {
    /// Copies the store to a new file while others read and write it.
    ///
    /// # Errors
    /// The file is there already (`io`), the store cannot be read, or the copy is not sound.
    pub fn backup(&self, to: &Path) -> Result<Backup, StoreError> {
        let taken = Timestamp::now();
        let made = made(to)?;
        let copied = self.with_reader(|source| {
            let copy = copy_to(source, to)?;
            copy.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
                params![TAKEN, taken.to_string()],
            )?;
            finished(copy, to)
        });
        copied.map_err(|trouble| trouble.at(Some(to)))?;
        let bytes = fs::metadata(to).map_err(|error| failed("read", to, &error))?.len();
        made.keep();
        Ok(Backup { file: to.to_owned(), taken, bytes, store: self.id()?, version: SCHEMA_VERSION })
    }
}

/// Puts a copy in the place of the store at `path`; `who` is told as the one who did.
///
/// # Errors
/// `newer`, `foreign`, `corrupt`: of the copy or, `corrupt` left aside, of the store. `busy`:
/// something uses the store. Nothing is changed then.
pub fn restore(from: &Path, path: &Path, who: &str) -> Result<Restored, StoreError> {
    let mut copy = Staged::of(from, path)?;
    let (mut kept, mut holds) = (Vec::new(), 0);
    let old = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed("read", path, &error)),
        Ok(_) => match SqliteStore::open(path).and_then(|store| store.check().map(|()| store)) {
            Ok(store) => Some(store),
            // What cannot be read is what a copy is put back for.
            Err(error) if error.code == "corrupt" => None,
            Err(error) => return Err(error),
        },
    };
    let aside = room(path)?.join(format!("{}.db", Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ")));
    match old {
        Some(store) => {
            let lease = store.write_now(|tx| leases::take_all(tx, who))?;
            let done = (|| {
                store.backup(&aside)?;
                kept.push(aside);
                holds = copy.adopt(Some(&store), who, &kept)?;
                store.replace_by(&copy.connection)
            })();
            // What was put in its place holds no lease of ours.
            if done.is_err() {
                store.write_now(|tx| leases::release(tx, &lease))?;
            }
            done?;
        }
        None => {
            if let Some(user) = process::user_of(path) {
                let message = format!("the store {} is in use by {user}", path.display());
                return Err(refusal("busy", message, Some("end it, then run this again")));
            }
            for suffix in ["", "-wal", "-shm", "-journal"] {
                let (file, to) = (beside(path, suffix), beside(&aside, suffix));
                match fs::rename(&file, &to) {
                    Ok(()) => kept.push(to),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed("set aside", &file, &error)),
                }
            }
            copy.adopt(None, who, &kept)?;
            copy.put_at(path)?;
        }
    }
    let taken = copy.taken;
    // Its own name goes before anybody opens it under the other.
    drop(copy);
    let store = SqliteStore::open(path)?;
    store.check()?;
    Ok(Restored { from: from.to_owned(), taken, store: store.id()?, kept, holds })
}

/// A copy beside the store, brought up to date and checked. Its file goes with it.
struct Staged {
    connection: Connection,
    taken: Option<Timestamp>,
    made: Made,
}

impl Staged {
    fn of(from: &Path, path: &Path) -> Result<Self, StoreError> {
        let about = fs::metadata(from).map_err(|error| failed("read", from, &error))?;
        if fs::metadata(path).is_ok_and(|store| (store.dev(), store.ino()) == (about.dev(), about.ino())) {
            return Err(refusal("invalid", format!("{} is the store itself", from.display()), None));
        }
        let source = match open::for_copying(from).map_err(|trouble| trouble.at(Some(from)))? {
            (Found::Ours { .. }, source) => source,
            (Found::Empty, _) => {
                let message = format!("{} is not a store of tidelock: it is empty", from.display());
                return Err(refusal("foreign", message, None));
            }
        };
        sound(&source).map_err(|trouble| trouble.at(Some(from)))?;
        let staged = room(path)?.join(format!("restoring-{}.db", std::process::id()));
        let made = made(&staged)?;
        let prepared = (|| {
            let mut copy = copy_to(&source, &staged)?;
            migrate::bring_up(&mut copy, &staged.display().to_string())?;
            sound(&copy)?;
            let taken =
                copy.query_row("SELECT value FROM meta WHERE key = ?1", [TAKEN], |row| row.get(0)).optional()?;
            Ok((copy, maybe_time("when the copy was made", taken)?))
        })();
        let (connection, taken) = prepared.map_err(|trouble: Trouble| trouble.at(Some(from)))?;
        Ok(Self { connection, taken, made })
    }

    /// Makes it a store that goes on from `old`: nobody holds a lease, no token or number is
    /// given out twice, and what holds the loop now still does. How many holds came over.
    fn adopt(&mut self, old: Option<&SqliteStore>, who: &str, kept: &[PathBuf]) -> Result<usize, StoreError> {
        let from = match old {
            Some(old) => Some(old.read(|connection| {
                let tokens = leases::tokens(connection)?;
                let last: i64 =
                    connection.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
                Ok((tokens, last, crate::holds::open(connection)?))
            })?),
            None => None,
        };
        let (tokens, last, held) = from.unwrap_or_default();
        let (now, taken) = (Timestamp::now(), self.taken);
        let adopted: Kept<usize> = (|| {
            let tx = self.connection.transaction()?;
            leases::free_all(&tx, &tokens)?;
            tx.execute("DELETE FROM meta WHERE key = ?1", [TAKEN])?;
            events::number_after(&tx, last)?;
            let open = crate::holds::open(&tx)?;
            let missing: Vec<_> = held
                .iter()
                .filter(|hold| hold.until.is_none_or(|until| now < until))
                .filter(|hold| !open.iter().any(|other| (&other.scope, other.at) == (&hold.scope, hold.at)))
                .collect();
            for hold in &missing {
                crate::holds::put(&tx, hold)?;
            }
            let kept = kept.first().map(|file| file.display().to_string());
            events::add(&tx, now, None, None, &RunEvent::Restored { who: who.to_owned(), taken, kept })?;
            let count = missing.len();
            tx.commit()?;
            Ok(count)
        })();
        adopted.map_err(|trouble| trouble.at(Some(&self.made.file)))
    }

    /// Puts it where no file is.
    fn put_at(&self, path: &Path) -> Result<(), StoreError> {
        let file = &self.made.file;
        File::open(file).and_then(|it| it.sync_all()).map_err(|error| failed("write", file, &error))?;
        // Unlike a rename, this never takes the place of another file.
        fs::hard_link(file, path).map_err(|error| failed("make", path, &error))?;
        synced(path)
    }
}

impl SqliteStore {
    /// Takes over all that another file holds, in one transaction.
    fn replace_by(&self, source: &Connection) -> Result<(), StoreError> {
        self.with_writer(|connection| {
            connection.pragma_update(None, "synchronous", "FULL")?;
            copy(source, connection)
        })
    }
}

/// A file that was made and goes again, unless it is kept.
struct Made {
    file: PathBuf,
    kept: bool,
}

impl Made {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_file(&self.file)
        {
            tracing::warn!(file = %self.file.display(), %error, "a copy that is not needed was not removed");
        }
    }
}

/// Makes a new file for its owner alone.
fn made(file: &Path) -> Result<Made, StoreError> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => Ok(Made { file: file.to_owned(), kept: false }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let message = format!("{} is there already, and is not overwritten", file.display());
            Err(refusal("io", message, Some("name another file, or move that one away")))
        }
        Err(error) => Err(failed("make", file, &error)),
    }
}

/// Copies a store into an empty file.
fn copy_to(source: &Connection, file: &Path) -> Kept<Connection> {
    let mut to = open::empty(file)?;
    copy(source, &mut to)?;
    // Alone in its file: no log and no index beside it that a person would forget to copy.
    to.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    Ok(to)
}

/// Copies all pages in one step: under one snapshot of the source, in one transaction of
/// the other file. In steps, each write to the source would begin it anew.
fn copy(source: &Connection, to: &mut Connection) -> Kept<()> {
    let until = Instant::now() + PATIENCE;
    let copying = Copying::new(source, to)?;
    loop {
        match copying.step(-1)? {
            StepResult::Done => return Ok(()),
            _ if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            _ => return Err(Trouble::Refused(refusal("busy", "a store is being written by another process", None))),
        }
    }
}

/// Closes a copy that is sound, and has it on the disk.
fn finished(copy: Connection, file: &Path) -> Kept<()> {
    sound(&copy)?;
    copy.close().map_err(|(_, error)| error)?;
    let written = File::open(file).and_then(|it| it.sync_all());
    written.map_err(|error| Trouble::Refused(failed("write", file, &error)))?;
    synced(file).map_err(Trouble::Refused)
}

/// Has a file's name on the disk.
fn synced(file: &Path) -> Result<(), StoreError> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|it| it.sync_all()).map_err(|error| failed("write", parent, &error))
}

/// The folder beside a store for what it was before.
fn room(path: &Path) -> Result<PathBuf, StoreError> {
    let room = beside(path, ".before");
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&room);
    made.map_err(|error| failed("make", &room, &error))?;
    Ok(room)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn failed(verb: &str, file: &Path, error: &io::Error) -> StoreError {
    refusal("io", format!("cannot {verb} {}: {error}", file.display()), None)
}
