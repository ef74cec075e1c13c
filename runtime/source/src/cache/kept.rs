//! Commits that were in force. A server may take a branch back to before them; what was
//! applied from them is rolled back to all the same, so they are kept whole.

use std::io::Write as _;

use gix::ObjectId;
use tidelock_model::port::SourceError;

use super::{Cache, Turn, persist};
use crate::fault;
use crate::repository::Repository;

impl Cache {
    /// The commits that were in force; their ancestors, which were as well, go without saying.
    pub(crate) fn kept(&self) -> Vec<ObjectId> {
        let text = std::fs::read_to_string(self.dir.join("kept")).unwrap_or_default();
        text.lines().filter_map(|line| ObjectId::from_hex(line.as_bytes()).ok()).collect()
    }

    /// Notes that a commit is in force. Those that it descends from need no line of their
    /// own any more.
    ///
    /// # Errors
    /// `io`, `disk-full`; `corrupt`, where the history cannot be read.
    pub(crate) fn keep(&self, _: &Turn, repository: &Repository, id: ObjectId) -> Result<(), SourceError> {
        let before = self.kept();
        let mut after = Vec::with_capacity(before.len() + 1);
        for kept in before {
            if repository.has(kept) && repository.descends(kept, id)? {
                return Ok(());
            }
            if !repository.descends(id, kept)? {
                after.push(kept);
            }
        }
        after.push(id);
        let (path, new) = (self.dir.join("kept"), self.dir.join("kept.new"));
        let text: String = after.iter().map(|id| format!("{id}\n")).collect();
        let written = std::fs::File::create(&new).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written
            .and_then(|()| std::fs::rename(&new, &path))
            .map_err(|error| fault::io("cannot note what is in force in", &path, &error))?;
        persist(&self.dir)
    }
}
