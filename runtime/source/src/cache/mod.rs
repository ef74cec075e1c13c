//! The cache of a source: repositories that were fetched, one generation after the other.
//!
//! ```text
//! NAME-KEY.lock     held by whoever fetches, judges and rebuilds: one at a time
//! NAME-KEY/1/       a generation, a bare repository; the highest number is the newest
//! NAME-KEY/1.held   locked, shared, by everyone who reads that generation
//! NAME-KEY/2.new/   one that is being built
//! NAME-KEY/1.gone/  one that is being removed
//! NAME-KEY/kept     commits that were in force, whatever became of their branch
//! ```
//!
//! Each fetch adds a pack. Where they have piled up, what is needed is copied into a
//! generation beside, which one rename puts in force; the old one goes when nobody reads it.
//!
//! **Invariant.** At every instant the newest generation is whole, so a kill loses nothing.
//! **Invariant.** What was in force stays readable: a rollback needs no server.

mod kept;
mod rebuild;

use std::fs::{File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tidelock_model::port::SourceError;

use crate::fault;
use crate::repository::Repository;

pub(crate) use rebuild::Needs;

/// How long between two tries for a lock.
const AGAIN: Duration = Duration::from_millis(10);

/// How often a reader looks for the newest generation anew, when it is swapped meanwhile.
const TRIES: u32 = 100;

/// Where a source's generations lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cache {
    dir: PathBuf,
}

/// The right to change the cache; others wait until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _lock: File,
}

/// Keeps a generation from being removed.
#[derive(Debug)]
pub(crate) struct Hold {
    _lock: File,
}

impl Cache {
    /// A cache in a folder, which need not be there yet.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Waits for the turn until `deadline`, and tidies up what a killed one left.
    ///
    /// # Errors
    /// `timeout`: another's lasts too long. `io`, `disk-full`.
    pub(crate) fn turn(&self, deadline: Instant, url: &str) -> Result<Turn, SourceError> {
        make(self.dir.parent().unwrap_or(&self.dir))?;
        let path = self.dir.with_extension("lock");
        let file = open_lock(&path)?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(AGAIN),
                Err(TryLockError::WouldBlock) => {
                    return Err(
                        SourceError::new("timeout", format!("another fetch of {url} is still going on")).retryable()
                    );
                }
                Err(TryLockError::Error(error)) => {
                    return Err(fault::io("cannot take the cache's lock", &path, &error));
                }
            }
        }
        make(&self.dir)?;
        let turn = Turn { _lock: file };
        self.tidy(&turn)?;
        Ok(turn)
    }

    /// The generation to fetch into; the first one need not be there yet.
    ///
    /// # Errors
    /// `io`, `disk-full`.
    pub(crate) fn generation(&self, _: &Turn) -> Result<PathBuf, SourceError> {
        let number = self.newest().unwrap_or(1);
        open_lock(&self.held(number))?;
        Ok(self.path(number))
    }

    /// Opens the newest generation to read; `None` where there is none that can be opened.
    pub(crate) fn open(&self, blob: u64) -> Option<Repository> {
        for _ in 0..TRIES {
            let number = self.newest()?;
            let path = self.path(number);
            if let Some(hold) = self.hold(number) {
                return Repository::open(&path, blob).ok().map(|repository| repository.held(hold));
            }
            std::thread::sleep(AGAIN);
        }
        None
    }

    /// `None` where the generation is being removed.
    fn hold(&self, number: u64) -> Option<Hold> {
        let file = File::open(self.held(number)).ok()?;
        file.try_lock_shared().ok()?;
        // Locked, but perhaps of a generation that went before we had the lock.
        self.path(number).exists().then_some(Hold { _lock: file })
    }

    fn newest(&self) -> Option<u64> {
        self.entries().filter_map(|(number, end)| end.is_empty().then_some(number)).max()
    }

    /// The number of a generation that was never used.
    fn next(&self) -> u64 {
        self.entries().map(|(number, _)| number).max().unwrap_or(0) + 1
    }

    /// What lies in the folder by number and ending.
    fn entries(&self) -> impl Iterator<Item = (u64, String)> {
        std::fs::read_dir(&self.dir).into_iter().flatten().flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let digits = name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len());
            Some((name[..digits].parse().ok()?, name[digits..].to_owned()))
        })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(number.to_string())
    }

    fn held(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number}.held"))
    }

    fn with_end(&self, number: u64, end: &str) -> PathBuf {
        self.dir.join(format!("{number}{end}"))
    }

    /// Removes what is half built or half removed, and old generations that nobody reads.
    fn tidy(&self, turn: &Turn) -> Result<(), SourceError> {
        let newest = self.newest();
        for (number, end) in self.entries().collect::<Vec<_>>() {
            match end.as_str() {
                ".new" | ".gone" => remove(&self.with_end(number, &end))?,
                "" if Some(number) < newest => self.retire(turn, number)?,
                ".held" if !self.path(number).exists() => remove(&self.held(number))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes a generation, unless somebody reads it: then a later turn does.
    fn retire(&self, _: &Turn, number: u64) -> Result<(), SourceError> {
        let lock = open_lock(&self.held(number))?;
        if lock.try_lock().is_err() {
            return Ok(());
        }
        // Renamed first: half a generation must not be taken for one.
        let (path, gone) = (self.path(number), self.with_end(number, ".gone"));
        std::fs::rename(&path, &gone).map_err(|error| fault::io("cannot set aside", &path, &error))?;
        remove(&gone)?;
        remove(&self.held(number))
    }
}

fn make(dir: &Path) -> Result<(), SourceError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| fault::io("cannot make the cache", dir, &error))
}

fn open_lock(path: &Path) -> Result<File, SourceError> {
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| fault::io("cannot open the cache's lock", path, &error))
}

/// Removes a file or a folder with all that is in it.
fn remove(path: &Path) -> Result<(), SourceError> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(fault::io("cannot remove from the cache", path, &error))
        }
        _ => Ok(()),
    }
}

/// Sees to it that what a folder lists outlives a power cut.
fn persist(dir: &Path) -> Result<(), SourceError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| fault::io("cannot write out", dir, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("git/infra-1"));
        (dir, cache)
    }

    fn turn(cache: &Cache) -> Turn {
        cache.turn(Instant::now() + Duration::from_secs(1), "x").unwrap()
    }

    /// A generation as a fetch makes it.
    fn made(cache: &Cache, number: u64) -> PathBuf {
        drop(open_lock(&cache.held(number)).unwrap());
        gix::init_bare(cache.path(number)).unwrap();
        cache.path(number)
    }

    #[test]
    fn a_kill_at_any_step_of_the_swap_leaves_the_newest_whole() {
        let (_dir, cache) = cache();
        drop(turn(&cache));
        assert!(cache.open(1).is_none());
        let first = made(&cache, 1);
        // While one was built.
        std::fs::create_dir_all(cache.with_end(2, ".new").join("objects")).unwrap();
        assert_eq!(cache.newest(), Some(1));
        drop(turn(&cache));
        assert!(!cache.with_end(2, ".new").exists() && first.exists());
        // Before the rename: the lock file alone.
        drop(open_lock(&cache.held(2)).unwrap());
        assert_eq!(cache.newest(), Some(1));
        drop(turn(&cache));
        assert!(!cache.held(2).exists());
        // After the rename.
        made(&cache, 2);
        assert_eq!(cache.newest(), Some(2));
        assert!(cache.open(1).is_some());
        // While the old one was removed.
        std::fs::rename(&first, cache.with_end(1, ".gone")).unwrap();
        std::fs::remove_file(cache.with_end(1, ".gone").join("HEAD")).unwrap();
        drop(turn(&cache));
        let mut left: Vec<_> = cache.entries().collect();
        left.sort();
        assert_eq!(left, [(2, String::new()), (2, ".held".to_owned())]);
    }

    #[test]
    fn a_generation_stays_while_somebody_reads_it() {
        let (_dir, cache) = cache();
        drop(turn(&cache));
        let first = made(&cache, 1);
        let reader = cache.open(1).unwrap();
        made(&cache, 2);
        drop(turn(&cache));
        assert!(first.exists(), "it is being read");
        drop(reader);
        drop(turn(&cache));
        assert!(!first.exists());
        assert_eq!(cache.next(), 3);
    }

    #[test]
    fn turns_are_taken_one_at_a_time() {
        let (_dir, cache) = cache();
        let first = turn(&cache);
        let error = cache.turn(Instant::now(), "http://host/x").unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), ("timeout", true));
        drop(first);
        drop(turn(&cache));
    }
}
