//! When a generation is rebuilt, and how the new one comes into its place.

use std::path::{Path, PathBuf};

use gix::ObjectId;
use tidelock_model::port::SourceError;

use super::{Cache, Turn, open_lock, persist, remove};
use crate::fault;

/// How many packs may pile up in a small cache.
const PACKS: usize = 20;

/// How many may in any cache: each is asked for each object.
const MOST_PACKS: usize = 200;

/// How many objects may lie about without a pack.
const LOOSE: usize = 1000;

/// Up to this size, in bytes, copying is cheap enough to do it for the number alone.
const SMALL: u64 = 64 << 20;

/// What a new generation needs, and what it may take.
pub(crate) struct Needs {
    /// The generation to copy from.
    pub(crate) from: PathBuf,
    /// The folder to build in.
    pub(crate) into: PathBuf,
    /// Commits to copy with all that they lead to.
    pub(crate) kept: Vec<ObjectId>,
    /// Bytes of all packs.
    pub(crate) bytes: u64,
}

/// Whether packs of these sizes are to become one. A large cache is not copied for a few
/// small packs: the copy pays off once a quarter of it is new.
fn due(packs: &[u64], loose: usize, failed_at: usize) -> bool {
    let (number, all): (usize, u64) = (packs.len(), packs.iter().sum());
    let largest = packs.iter().copied().max().unwrap_or(0);
    // What failed once is not tried at every poll.
    if number <= failed_at.saturating_mul(2) && failed_at > 0 {
        return false;
    }
    let worth = all <= SMALL || (all - largest).saturating_mul(4) >= largest;
    loose > LOOSE || number > MOST_PACKS || number > PACKS && worth
}

impl Cache {
    /// Where packs have piled up: has `build` make a new generation of the old one, and
    /// puts it in force. A failure is no fault of the source: the old one stays, and the
    /// next try is a while off.
    pub(crate) fn upkeep(&self, turn: &Turn, build: impl FnOnce(&Needs) -> Result<(), SourceError>) {
        let Some(number) = self.newest() else { return };
        let from = self.path(number);
        let packs = packs(&from);
        let failed = self.dir.join("rebuild-failed");
        let failed_at = std::fs::read_to_string(&failed).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        if !due(&packs, loose(&from), failed_at) {
            return;
        }
        let next = self.next();
        let needs = Needs { from, into: self.with_end(next, ".new"), kept: self.kept(), bytes: packs.iter().sum() };
        match build(&needs).and_then(|()| self.swap(turn, number, next)) {
            Ok(()) => {
                tracing::info!(dir = %self.dir.display(), packs = packs.len(), "the cache was rebuilt");
                let _ = std::fs::remove_file(&failed);
            }
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "the cache was not rebuilt; the old one stays");
                let _ = std::fs::write(&failed, packs.len().to_string());
                let _ = remove(&needs.into);
            }
        }
    }

    /// Puts what was built in force: one rename. The old generation goes if nobody reads it.
    fn swap(&self, turn: &Turn, old: u64, new: u64) -> Result<(), SourceError> {
        let built = self.with_end(new, ".new");
        open_lock(&self.held(new))?;
        std::fs::rename(&built, self.path(new)).map_err(|error| fault::io("cannot put in force", &built, &error))?;
        persist(&self.dir)?;
        self.retire(turn, old)
    }
}

/// The sizes of a generation's packs.
fn packs(dir: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(dir.join("objects/pack")).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "pack"))
        .filter_map(|entry| entry.metadata().ok())
        .map(|about| about.len())
        .collect()
}

/// How many objects lie about; counted no further than is needed.
fn loose(dir: &Path) -> usize {
    let folders = std::fs::read_dir(dir.join("objects")).into_iter().flatten().flatten();
    folders
        .filter(|folder| folder.file_name().len() == 2)
        .flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten())
        .take(LOOSE + 1)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_pile_up_only_so_far() {
        const MB: u64 = 1 << 20;
        let small = |number: usize| vec![MB; number];
        assert!(!due(&[], 0, 0));
        assert!(!due(&small(20), 0, 0));
        assert!(due(&small(21), 0, 0));
        assert!(due(&small(1), 1001, 0));
        // Large: when a quarter is new, or when there are too many to look into.
        let large = |number: usize, each: u64| {
            let mut packs = vec![each; number];
            packs.push(1000 * MB);
            packs
        };
        assert!(!due(&large(30, MB), 0, 0));
        assert!(due(&large(30, 9 * MB), 0, 0));
        assert!(due(&large(200, 1), 0, 0));
        // Failed once: not at every poll.
        assert!(!due(&small(22), 0, 21));
        assert!(due(&small(43), 0, 21));
    }
}
