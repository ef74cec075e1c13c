//! The one door to the file: every read and every write of the store passes here.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tidelock_model::port::StoreError;

use crate::error::{Kept, Trouble, refusal};
use crate::flush::Flush;
use crate::open::{self, Opened};
use crate::stop_file;

/// What must survive a power cut by itself. After a mere crash of the process
/// everything that was committed is there, either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// On the disk when the method returns: the log is flushed after the commit, and with it
    /// all that was written before. Those who commit while one flushes are flushed together
    /// after it (`flush.rs`). For whatever the loop relies on before or after it touches a
    /// target: an intent that a power cut takes back would be an effect that nobody knows of.
    Now,
    /// On the disk with the next write of the other sort, at the latest. For what can be found out again, and for the stream of
    /// events, where a flush for each would cost more than the work that it tells of. A
    /// power cut takes the last of them, never one from the middle.
    Soon,
}

/// The store in a SQLite file. Cheap to share by reference between threads; writes
/// of one process wait for each other, reads only for other reads.
pub struct SqliteStore {
    path: Option<PathBuf>,
    reader: Option<Mutex<Connection>>,
    /// After the reader, since fields are closed in this order: the last connection to
    /// close writes the log back and removes it, and one that only reads could not.
    writer: Option<Mutex<Writer>>,
    flush: Flush,
}

struct Writer {
    connection: Connection,
}

impl SqliteStore {
    /// Opens the store at `path`, and makes it where there is none: mode 0600, missing
    /// directories above it 0700, since specs are in it. An older version is brought up
    /// to date.
    ///
    /// # Errors
    /// `newer` and `foreign`: the file is left as it is. `corrupt`, `busy`, `read-only`,
    /// `full`, `io`.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::from(Some(path), open::for_writing(path))
    }

    /// Opens a store that is there, for reading. Methods that write fail with `read-only`.
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; `io` where there is none.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        Self::from(Some(path), open::for_reading(path))
    }

    /// A store that ends with this value: for tests of other rooms.
    ///
    /// # Errors
    /// Memory is short.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::from(None, open::in_memory())
    }

    fn from(path: Option<&Path>, opened: Kept<Opened>) -> Result<Self, StoreError> {
        let Opened { writer, reader } = opened.map_err(|trouble| trouble.at(path))?;
        Ok(Self {
            path: path.map(Path::to_owned),
            writer: writer.map(|connection| Mutex::new(Writer { connection })),
            reader: reader.map(Mutex::new),
            flush: Flush::of(path),
        })
    }

    /// How long a write waits for another process that is writing; 5 s unless set.
    ///
    /// # Errors
    /// SQLite refuses.
    pub fn wait_at_most(&self, time: Duration) -> Result<(), StoreError> {
        let set = |connection: &Connection| {
            connection.busy_timeout(time).map_err(|error| Trouble::from(error).at(self.path.as_deref()))
        };
        if let Some(writer) = &self.writer {
            set(&lock(writer).connection)?;
        }
        if let Some(reader) = &self.reader {
            set(&lock(reader))?;
        }
        Ok(())
    }

    /// Where the stop file of this store lies; a store in memory has none.
    #[must_use]
    pub fn stop_file(&self) -> Option<PathBuf> {
        self.path.as_deref().map(stop_file::beside)
    }

    /// The store's own id, given when it was made. Another id is another memory.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn id(&self) -> Result<String, StoreError> {
        self.read(|connection| {
            Ok(connection.query_row("SELECT value FROM meta WHERE key = 'store'", [], |row| row.get(0))?)
        })
    }

    /// Reads the whole file and checks that it is sound. Takes as long as reading it.
    ///
    /// # Errors
    /// `corrupt`, saying where.
    pub fn check(&self) -> Result<(), StoreError> {
        self.read(sound)
    }

    /// Reads within one snapshot of the file.
    pub(crate) fn read<T>(&self, question: impl FnOnce(&Connection) -> Kept<T>) -> Result<T, StoreError> {
        let ask = |connection: &Connection| {
            let snapshot = connection.unchecked_transaction()?;
            question(&snapshot)
        };
        let answer = match (&self.reader, &self.writer) {
            (Some(reader), _) => ask(&lock(reader)),
            (None, Some(writer)) => ask(&lock(writer).connection),
            (None, None) => Err(Trouble::invalid("the store has no connection")),
        };
        answer.map_err(|trouble| trouble.at(self.path.as_deref()))
    }

    /// Uses the connection that reads, without a snapshot of its own.
    pub(crate) fn with_reader<T>(&self, ask: impl FnOnce(&Connection) -> Kept<T>) -> Kept<T> {
        match (&self.reader, &self.writer) {
            (Some(reader), _) => ask(&lock(reader)),
            (None, Some(writer)) => ask(&lock(writer).connection),
            (None, None) => Err(Trouble::invalid("the store has no connection")),
        }
    }

    /// Uses the connection that writes, outside of any transaction.
    pub(crate) fn with_writer<T>(&self, change: impl FnOnce(&mut Connection) -> Kept<T>) -> Result<T, StoreError> {
        let Some(writer) = &self.writer else { return Err(self.reads_only()) };
        let mut writer = lock(writer);
        change(&mut writer.connection).map_err(|trouble| trouble.at(self.path.as_deref()))
    }

    fn reads_only(&self) -> StoreError {
        let path = self.path.as_deref().unwrap_or(Path::new("")).display().to_string();
        refusal("read-only", format!("the store {path} was opened for reading only"), None)
    }

    /// Writes in one transaction that is on the disk when this returns.
    pub(crate) fn write_now<T>(&self, change: impl FnOnce(&Transaction<'_>) -> Kept<T>) -> Result<T, StoreError> {
        self.write(Durability::Now, change)
    }

    /// Writes in one transaction, which takes the file's write lock at its start: two
    /// writers wait for each other there, for a bounded time, and never fail half-way.
    pub(crate) fn write<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&Transaction<'_>) -> Kept<T>,
    ) -> Result<T, StoreError> {
        let Some(writer) = &self.writer else { return Err(self.reads_only()) };
        let written = || {
            let mut writer = lock(writer);
            let answer = writer.transact(change)?;
            // Counted before the next one may write.
            let commit = self.flush.committed();
            drop(writer);
            if durability == Durability::Now {
                self.flush.until(commit)?;
            }
            Ok(answer)
        };
        written().map_err(|trouble: Trouble| trouble.at(self.path.as_deref()))
    }
}

/// Reads a whole file and checks that it is sound.
pub(crate) fn sound(connection: &Connection) -> Kept<()> {
    let mut found = connection.prepare("PRAGMA integrity_check(5)")?;
    let lines = found.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    if lines != ["ok"] {
        return Err(Trouble::row("the file", &lines.join("; ")));
    }
    let mut found = connection.prepare("PRAGMA foreign_key_check")?;
    if found.exists([])? {
        return Err(Trouble::row("the file", &"a row points at another that is not there"));
    }
    Ok(())
}

impl Writer {
    fn transact<T>(&mut self, change: impl FnOnce(&Transaction<'_>) -> Kept<T>) -> Kept<T> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answer = change(&transaction)?;
        transaction.commit()?;
        Ok(answer)
    }
}

/// A panic while a lock is held has rolled its transaction back: the connection is sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tidelock_model::digest::Digest;
    use tidelock_model::port::Store;

    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_with_it() {
        let store = SqliteStore::in_memory().unwrap();
        let pages: i64 = {
            let writer = lock(store.writer.as_ref().unwrap());
            let pages: i64 = writer.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
            writer.connection.pragma_update_and_check(None, "max_page_count", pages + 20, |row| row.get(0)).unwrap()
        };
        let big = vec![7; usize::try_from(pages).unwrap() * 4096];
        let digest = Digest::of(&big);
        let error = store.put_blob(&digest, &big).unwrap_err();
        assert_eq!(error.code, "full");
        assert_eq!(store.blob(&digest).unwrap(), None);
        store.put_blob(&Digest::of(b"small"), b"small").unwrap();
        store.check().unwrap();
    }

    #[test]
    fn a_panic_in_the_middle_of_a_write_leaves_the_store_as_it_was() {
        let store = SqliteStore::in_memory().unwrap();
        let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            store.write::<()>(Durability::Now, |tx| {
                tx.execute("INSERT INTO meta (key, value) VALUES ('half', 'way')", [])?;
                panic!("in the middle");
            })
        }));
        assert!(broken.is_err());
        let half: i64 = store
            .read(|connection| {
                Ok(connection.query_row("SELECT count(*) FROM meta WHERE key = 'half'", [], |row| row.get(0))?)
            })
            .unwrap();
        assert_eq!(half, 0);
        store.put_blob(&Digest::of(b"next"), b"next").unwrap();
    }
}
