//! A directory and all below it: looked over before anything goes, then removed. Links
//! are removed and never followed; mount points end it before it begins.

use std::ffi::OsStr;

use rustix::io::Errno;
use tidelock_model::error::Fault;
use tidelock_model::grant::{Access, Grant};

use crate::machine::Machine;
use crate::machine::fault::{fault, io};
use crate::machine::folder::{EntryKind, Folder as _, Opened};
use crate::machine::walk::Walker;

/// Directories in directories. Each costs an open handle.
const DEPTH: usize = 200;

/// What lies below a directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::machine) struct Counts {
    pub(in crate::machine) files: u64,
    pub(in crate::machine) directories: u64,
    pub(in crate::machine) others: u64,
    pub(in crate::machine) bytes: u64,
}

/// Counts what a removal would take. Reads only.
pub(in crate::machine) fn count(machine: &Machine, path: &str) -> Result<Counts, Fault> {
    let mut counts = Counts::default();
    let (Some(folder), name) = Walker::new(machine.root()).parent(path)? else { return Ok(counts) };
    look_over(&enter(&folder, name, path)?, path, None, &mut counts, 0)?;
    Ok(counts)
}

/// Checks that all below a directory may be removed: by the grant, and since nothing is
/// mounted there.
pub(super) fn check(folder: &Opened, name: &OsStr, path: &str, grant: &Grant) -> Result<(), Fault> {
    look_over(&enter(folder, name, path)?, path, Some(grant), &mut Counts::default(), 0)
}

fn enter(folder: &Opened, name: &OsStr, path: &str) -> Result<Opened, Fault> {
    folder.enter_same_mount(name).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::XDEV) => fault("busy", format!("cannot remove {path}: another file system is mounted there"))
            .hint("unmount it first; what is mounted is never removed"),
        _ => io("open directory", path, &error),
    })
}

fn look_over(
    folder: &Opened,
    path: &str,
    grant: Option<&Grant>,
    counts: &mut Counts,
    depth: usize,
) -> Result<(), Fault> {
    if depth >= DEPTH {
        return Err(fault("limit", format!("{path} lies {DEPTH} directories deep; remove it by hand")));
    }
    for name in folder.names().map_err(|error| io("list", path, &error))? {
        let child = format!("{path}/{}", name.to_string_lossy());
        if let Some(grant) = grant {
            grant.decide(Access::Write(&child))?;
        }
        let Some(entry) = folder.look(&name).map_err(|error| io("look at", &child, &error))? else { continue };
        match entry.kind {
            EntryKind::Directory => {
                counts.directories += 1;
                look_over(&enter(folder, &name, &child)?, &child, grant, counts, depth + 1)?;
            }
            EntryKind::File => {
                counts.files += 1;
                counts.bytes += entry.size;
            }
            EntryKind::Symlink | EntryKind::Other => counts.others += 1,
        }
    }
    Ok(())
}

/// Removes a directory and all below it.
pub(in crate::machine) fn remove(folder: &Opened, name: &OsStr, path: &str) -> Result<(), Fault> {
    empty(&enter(folder, name, path)?, path, 0)?;
    folder.remove_folder(name).map_err(|error| io("remove", path, &error))
}

fn empty(folder: &Opened, path: &str, depth: usize) -> Result<(), Fault> {
    if depth >= DEPTH {
        return Err(fault("limit", format!("{path} lies {DEPTH} directories deep; remove it by hand")));
    }
    for name in folder.names().map_err(|error| io("list", path, &error))? {
        let child = format!("{path}/{}", name.to_string_lossy());
        let failed = |error: std::io::Error| io("remove", &child, &error);
        match folder.look(&name).map_err(failed)?.map(|entry| entry.kind) {
            None => {}
            Some(EntryKind::Directory) => {
                empty(&enter(folder, &name, &child)?, &child, depth + 1)?;
                folder.remove_folder(&name).map_err(failed)?;
            }
            Some(_) => folder.remove_file(&name).map_err(failed)?,
        }
    }
    Ok(())
}
