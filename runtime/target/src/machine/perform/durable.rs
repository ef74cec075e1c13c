//! Making things durable, many at a time: threads wait for the disk together, and it
//! writes its journal once for all of them.

use std::ffi::OsStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidelock_model::error::Fault;
use tidelock_model::run::EffectEnd;

use super::{Performer, Work};
use crate::machine::Machine;
use crate::machine::fault::io;
use crate::machine::folder::Folder as _;
use crate::machine::walk::{Walker, split};

/// Something to make durable before the call ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Late {
    /// The names in a directory, and its attributes.
    Folder(String),
    /// A file's attributes.
    File(String),
}

impl Performer<'_> {
    /// Notes something to make durable, for an effect that rests on it.
    pub(super) fn later(&mut self, work: usize, index: usize, late: Late) {
        if self.machine.options.fsync {
            self.late.entry(late).or_default().push((work, index));
        }
    }

    /// Makes staged files durable. Faults come with the place of their file in the list.
    pub(super) fn flush_staged(&self, files: &[(&str, &OsStr)]) -> Vec<(usize, Fault)> {
        if !self.machine.options.fsync {
            return vec![];
        }
        each(self.machine, files.len(), |walker, i| {
            let (path, temporary) = files[i];
            let (folder, _) = walker.existing_parent(path)?;
            let file = folder.open_file(temporary).map_err(|error| io("flush", path, &error))?;
            file.sync_all().map_err(|error| io("flush", path, &error))
        })
    }

    /// Makes all that was noted durable. What could not be is done, but not known to last.
    pub(super) fn flush_late(&mut self, works: &mut [Work<'_>]) {
        let late: Vec<_> = std::mem::take(&mut self.late).into_iter().collect();
        let faults = each(self.machine, late.len(), |walker, i| match &late[i].0 {
            Late::Folder(path) => match walker.folder(path)? {
                Some(folder) => folder.flush().map_err(|error| io("flush", path, &error)),
                None => Ok(()),
            },
            Late::File(path) => {
                let Some((folder, name)) = split(path) else { return Ok(()) };
                let Some(folder) = walker.folder(folder)? else { return Ok(()) };
                // A file that this process may not read is left to the file system.
                let Ok(file) = folder.open_file(OsStr::new(name)) else { return Ok(()) };
                file.sync_all().map_err(|error| io("flush", path, &error))
            }
        });
        for (i, fault) in faults {
            for (work, index) in &late[i].1 {
                let end = &mut works[*work].ends[*index];
                if *end == EffectEnd::Done {
                    *end = EffectEnd::Unknown { why: format!("done, but it may not outlast a power failure: {fault}") };
                }
            }
        }
    }
}

/// Does `count` pieces of work on a few threads.
fn each(
    machine: &Machine,
    count: usize,
    work: impl Fn(&mut Walker, usize) -> Result<(), Fault> + Sync,
) -> Vec<(usize, Fault)> {
    let next = AtomicUsize::new(0);
    let thread = || {
        let mut walker = Walker::new(machine.root());
        let mut faults = vec![];
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                return faults;
            }
            if let Err(fault) = work(&mut walker, i) {
                faults.push((i, fault));
            }
        }
    };
    let threads = machine.options.sync_threads.clamp(1, count.max(1));
    if threads == 1 {
        return thread();
    }
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(thread)).collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
