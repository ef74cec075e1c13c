//! Flushing the log for several writers at once.
//!
//! SQLite flushes for each commit by itself (`synchronous = FULL`), so a thousand lanes wait for
//! thousands of flushes, one after the other. Here it flushes where its own order needs that
//! (`NORMAL`: before the log is written back, and after), and whoever needs a commit on the
//! disk sees to it afterwards: one flushes, and all who had committed before it began are there.
//!
//! **Invariant.** Whoever returns from [`Flush::until`] without an error has its commit, and
//! every one before it, on the disk.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// See the module.
pub(crate) struct Flush {
    /// The log; `None` for a store in memory.
    log: Option<PathBuf>,
    /// Commits of this process so far.
    commits: AtomicU64,
    flushed: Mutex<Flushed>,
}

#[derive(Default)]
struct Flushed {
    /// The last commit that is on the disk.
    commit: u64,
    /// The log, open. It is one file for as long as a connection is: the last one to close
    /// removes it. SQLite takes no locks on it that our closing it could lose.
    file: Option<File>,
}

impl Flush {
    /// For the store at a path.
    pub(crate) fn of(path: Option<&Path>) -> Self {
        let log = path.map(|path| {
            let mut log = path.as_os_str().to_owned();
            log.push("-wal");
            PathBuf::from(log)
        });
        Self { log, commits: AtomicU64::new(0), flushed: Mutex::default() }
    }

    /// Counts a commit, whose writer must still hold the connection. Its number.
    pub(crate) fn committed(&self) -> u64 {
        self.commits.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Waits until a commit is on the disk.
    pub(crate) fn until(&self, commit: u64) -> io::Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        if flushed.commit >= commit {
            return Ok(());
        }
        let all = self.commits.load(Ordering::Acquire);
        let file = match flushed.file.take() {
            Some(file) => file,
            None => File::open(log)?,
        };
        file.sync_data()?;
        // After a failure it is opened anew: what the system says of an old handle then is not to be relied on.
        flushed.file = Some(file);
        flushed.commit = all;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flush_is_for_all_who_committed_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        std::fs::write(dir.path().join("a.db-wal"), "x").unwrap();
        let flush = Flush::of(Some(&path));
        let (first, second) = (flush.committed(), flush.committed());
        flush.until(first).unwrap();
        assert_eq!(flush.flushed.lock().unwrap().commit, second);
        std::fs::remove_file(dir.path().join("a.db-wal")).unwrap();
        flush.until(second).unwrap();
        flush.flushed.lock().unwrap().file = None;
        assert!(flush.until(flush.committed()).is_err(), "a log that is gone is no flushed one");
        Flush::of(None).until(9).unwrap();
    }
}
