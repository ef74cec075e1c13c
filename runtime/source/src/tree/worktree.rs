//! A work tree's files, committed or not: what a commit of everything would hold. The
//! ignored are left out, and links are never read through.
//!
//! The folder is the operator's own; a process that swaps directories for links while
//! they are read is not guarded against here.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gix::bstr::{BStr, ByteSlice as _};
use gix::objs::Kind;
use gix::worktree::stack::state::ignore::Source;
use tidelock_model::port::SourceError;

use super::directory::{Node, Raw};
use super::{Facts, Files, Place, Rules, blob_too_large, shown};
use crate::fault::{self, chain, corrupt};
use crate::repository::Repository;

/// Where a work tree's files are read from.
pub(crate) struct Worktree {
    root: PathBuf,
    ignored: Ignored,
}

impl Worktree {
    /// The files below `root`, which holds `.git`.
    pub(crate) fn files(repository: Arc<Repository>, root: PathBuf, rules: Rules) -> Result<Files<Self>, SourceError> {
        let ignored = Ignored::new(repository)?;
        Ok(Files::over(Self { root, ignored }, rules))
    }

    fn open(&self, path: &str) -> Result<File, SourceError> {
        let full = self.root.join(path);
        OpenOptions::new()
            .read(true)
            // Neither a link that appeared since the directory was read, nor a pipe that never answers.
            .custom_flags((nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK).bits())
            .open(&full)
            .map_err(|error| fault::io("cannot read", &full, &error))
    }

    fn bytes(&self, path: &str, most: u64) -> Result<Vec<u8>, SourceError> {
        let mut content = Vec::new();
        let file = self.open(path)?;
        file.take(most.saturating_add(1))
            .read_to_end(&mut content)
            .map_err(|error| fault::io("cannot read", &self.root.join(path), &error))?;
        if content.len() as u64 > most {
            let size = std::fs::metadata(self.root.join(path)).map_or(content.len() as u64, |metadata| metadata.len());
            return Err(blob_too_large(path, size, most));
        }
        Ok(content)
    }
}

/// The id that Git gives a content: equal content has equal ids here and in a commit,
/// so a render of the one serves the other.
fn blob_id(path: &str, content: &[u8]) -> Result<String, SourceError> {
    gix::objs::compute_hash(gix::hash::Kind::Sha1, Kind::Blob, content)
        .map(|id| id.to_string())
        .map_err(|error| corrupt(format!("{}: {}", shown(path), chain(&error))))
}

impl Place for Worktree {
    type Key = ();

    fn root(&self) {}

    fn names(&self, path: &str, _key: &(), most: u64) -> Result<Vec<Raw<()>>, SourceError> {
        let full = self.root.join(path);
        let failed = |error| fault::io("cannot read", &full, &error);
        if !path.is_empty() && std::fs::symlink_metadata(&full).map_err(failed)?.is_symlink() {
            return Err(super::link_refused(path));
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&full).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name == ".git" && path.is_empty() {
                continue;
            }
            let kind = entry.file_type().map_err(failed)?;
            let mut below = path.as_bytes().to_vec();
            if !path.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(name.as_bytes());
            if self.ignored.is(below.as_bstr(), kind.is_dir())? {
                continue;
            }
            let node = if kind.is_symlink() {
                Node::Link(())
            } else if kind.is_dir() {
                if entry.path().join(".git").symlink_metadata().is_ok() { Node::Submodule } else { Node::Directory(()) }
            } else if kind.is_file() {
                Node::File(())
            } else {
                // Pipes, sockets and devices: Git does not see them either.
                continue;
            };
            names.push(Raw { name: name.into_vec(), node });
            if names.len() as u64 > most {
                break;
            }
        }
        Ok(names)
    }

    fn directory_id(&self, _key: &()) -> String {
        String::new()
    }

    fn facts(&self, path: &str, _key: &(), most: u64) -> Result<Facts, SourceError> {
        let content = self.bytes(path, most)?;
        Ok(Facts { id: blob_id(path, &content)?, size: content.len() as u64 })
    }

    fn content(&self, path: &str, _key: &(), facts: &Facts) -> Result<Vec<u8>, SourceError> {
        let content = self.bytes(path, facts.size)?;
        if blob_id(path, &content)? != facts.id {
            return Err(SourceError::new("io", format!("{} changed while it was read", shown(path)))
                .hint("run it again once nobody writes to the work tree")
                .retryable());
        }
        Ok(content)
    }

    fn link(&self, path: &str, _key: &(), most: u64) -> Result<Vec<u8>, SourceError> {
        let full = self.root.join(path);
        let target = std::fs::read_link(&full).map_err(|error| fault::io("cannot read", &full, &error))?;
        let target = target.into_os_string().into_vec();
        if target.len() as u64 > most {
            return Err(SourceError::new(
                "symlink",
                format!("{}: the link's target has {} bytes", shown(path), target.len()),
            ));
        }
        Ok(target)
    }
}

/// What `.gitignore` files leave out, as far as it is not tracked.
pub(super) struct Ignored {
    repository: Arc<Repository>,
    index: gix::worktree::Index,
    stack: Mutex<gix::worktree::Stack>,
}

impl Ignored {
    pub(super) fn new(repository: Arc<Repository>) -> Result<Self, SourceError> {
        let made = repository.with(|repo| {
            let index = repo.index_or_empty()?;
            let stack = repo.excludes(&index, None, Source::WorktreeThenIdMappingIfNotSkipped)?.detach();
            Ok((index, stack))
        });
        let (index, stack) =
            made.map_err(|error: gix::Error| corrupt(format!("the work tree's index: {}", chain(&error))))?;
        Ok(Self { repository, index, stack: Mutex::new(stack) })
    }

    pub(super) fn index(&self) -> &gix::index::State {
        &self.index
    }

    pub(super) fn is(&self, path: &BStr, dir: bool) -> Result<bool, SourceError> {
        let tracked = if dir { self.index.path_is_directory(path) } else { self.index.entry_by_path(path).is_some() };
        if tracked {
            return Ok(false);
        }
        let mode = if dir { gix::index::entry::Mode::DIR } else { gix::index::entry::Mode::FILE };
        let mut stack = self.stack.lock().unwrap_or_else(PoisonError::into_inner);
        self.repository
            .with(|repo| stack.at_entry(path, Some(mode), &repo.objects).map(|platform| platform.is_excluded()))
            .map_err(|error| {
                fault::io("cannot read .gitignore for", Path::new(&path.to_str_lossy().into_owned()), &error)
            })
    }
}
