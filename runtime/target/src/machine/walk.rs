//! From a path to the open directory that holds its last part. Each part is opened
//! from the one before it and no link is followed, so a path means one place only.

use std::ffi::OsStr;
use std::sync::Arc;

use rustix::io::Errno;
use tidelock_model::error::Fault;
use tidelock_model::grant::well_formed;

use super::fault::{fault, io};
use super::folder::{EntryKind, Folder, Opened};

/// The parts of a path; none for `/`.
pub(super) fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// A path's directory and last part. `/` has none.
pub(super) fn split(path: &str) -> Option<(&str, &str)> {
    match path.rsplit_once('/')? {
        (_, "") => None,
        ("", name) => Some(("/", name)),
        (folder, name) => Some((folder, name)),
    }
}

/// Walks to directories and keeps the way to the last one open, so that neighbours
/// cost nothing. Good for one call: a handle outlives what is renamed or removed.
pub(super) struct Walker {
    root: Arc<Opened>,
    way: Vec<(String, Arc<Opened>)>,
}

impl Walker {
    pub(super) fn new(root: Arc<Opened>) -> Self {
        Self { root, way: Vec::new() }
    }

    /// Closes what is kept open, after something that may have moved directories.
    pub(super) fn forget(&mut self) {
        self.way.clear();
    }

    /// The directory at a path; `None` where it, or a directory above it, is not there
    /// or is no directory.
    ///
    /// # Errors
    /// `symlink` where a part is a symbolic link; `permission` and the like.
    pub(super) fn folder(&mut self, path: &str) -> Result<Option<Arc<Opened>>, Fault> {
        let wanted: Vec<&str> = parts(path).collect();
        let kept = self.way.iter().zip(&wanted).take_while(|((name, _), want)| name == *want).count();
        self.way.truncate(kept);
        for (depth, part) in wanted.iter().enumerate().skip(kept) {
            let here = self.way.last().map_or(&self.root, |(_, folder)| folder);
            match here.enter(OsStr::new(part)) {
                Ok(folder) => self.way.push(((*part).to_owned(), Arc::new(folder))),
                Err(error) => {
                    let at = format!("/{}", wanted[..=depth].join("/"));
                    return refused(here, part, &at, path, &error);
                }
            }
        }
        Ok(Some(self.way.last().map_or_else(|| Arc::clone(&self.root), |(_, folder)| Arc::clone(folder))))
    }

    /// The directory that holds the last part of a path, and that part.
    ///
    /// # Errors
    /// As [`Walker::folder`]; `invalid` for a path that is not well formed, or `/`.
    pub(super) fn parent<'p>(&mut self, path: &'p str) -> Result<(Option<Arc<Opened>>, &'p OsStr), Fault> {
        well_formed(path)?;
        let Some((folder, name)) = split(path) else {
            return Err(fault("invalid", "the root of a target is not written itself"));
        };
        Ok((self.folder(folder)?, OsStr::new(name)))
    }

    /// As [`Walker::parent`], for writing.
    ///
    /// # Errors
    /// As [`Walker::parent`]; `not-found` where the directory is missing.
    pub(super) fn existing_parent<'p>(&mut self, path: &'p str) -> Result<(Arc<Opened>, &'p OsStr), Fault> {
        match self.parent(path)? {
            (Some(folder), name) => Ok((folder, name)),
            (None, _) => {
                let folder = split(path).map_or("/", |(folder, _)| folder);
                Err(fault("not-found", format!("cannot write {path}: the directory {folder} is not there"))
                    .hint("declare the directory, or let the parents be made (`parents: true`)"))
            }
        }
    }
}

/// Tells why a directory could not be entered.
fn refused(
    here: &Opened,
    part: &str,
    at: &str,
    path: &str,
    error: &std::io::Error,
) -> Result<Option<Arc<Opened>>, Fault> {
    let errno = Errno::from_io_error(error);
    if errno == Some(Errno::NOENT) {
        return Ok(None);
    }
    if matches!(errno, Some(Errno::NOTDIR | Errno::LOOP)) {
        match here.look(OsStr::new(part)) {
            Ok(Some(entry)) if entry.kind == EntryKind::Symlink => {
                let to = here.link_text(OsStr::new(part)).unwrap_or_default();
                let to = tidelock_model::error::tame(&to.to_string_lossy(), 300);
                return Err(fault(
                    "symlink",
                    format!("{at} is a symbolic link (to {to}); paths are not followed through links"),
                )
                .hint(format!("name the directory itself instead of {at} in {path}")));
            }
            Ok(Some(entry)) if entry.kind == EntryKind::Directory => {
                return Err(fault("changed", format!("{at} changed while it was opened")).retryable());
            }
            Ok(_) => return Ok(None),
            Err(_) => {}
        }
    }
    Err(io("open directory", at, error))
}
