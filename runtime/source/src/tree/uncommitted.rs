//! How many files of a work tree are not as the commit has them, so that nobody waits
//! for an edit to be applied that was never committed.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use gix::bstr::{BString, ByteSlice as _};
use gix::index::entry::{Mode, Stage, Stat};
use gix::objs::Kind;
use gix::{ObjectId, index};
use tidelock_model::port::SourceError;

use super::worktree::Ignored;
use super::{Files, Node};
use crate::repository::Repository;
use crate::tree::Committed;

/// Counts files that were changed, added or removed since `commit`, staged or not.
/// Contents are read only where size and times do not settle it.
pub(crate) fn count_uncommitted(
    repository: &Arc<Repository>,
    root: &Path,
    commit: &Files<Committed>,
) -> Result<usize, SourceError> {
    let ignored = Ignored::new(Arc::clone(repository))?;
    let committed = flatten(commit)?;
    let mut count = 0;
    let mut staged: HashSet<&[u8]> = HashSet::new();
    let index = ignored.index();
    for entry in index.entries() {
        let path = entry.path(index);
        staged.insert(path);
        let same = entry.stage() == Stage::Unconflicted
            && committed.get(path.as_bytes()) == Some(&entry.id)
            && (entry.mode == Mode::COMMIT || unchanged(root, index, entry));
        count += usize::from(!same);
    }
    count += committed.keys().filter(|path| !staged.contains(path.as_slice())).count();
    Ok(count + untracked(root, &ignored)?)
}

type Flat = HashMap<Vec<u8>, ObjectId>;

/// Every file of a commit by path, without the rules: what is counted is not used.
fn flatten(commit: &Files<Committed>) -> Result<Flat, SourceError> {
    let mut flat = Flat::new();
    let mut waiting = vec![String::new()];
    while let Some(path) = waiting.pop() {
        let Some(directory) = commit.directory(&path)? else { continue };
        for entry in &directory.entries {
            let mut below = path.clone();
            super::join(&mut below, &entry.name);
            match &entry.node {
                Node::Directory(_) => waiting.push(below),
                Node::File(id) | Node::Link(id) => {
                    flat.insert(below.into_bytes(), *id);
                }
                Node::Submodule => {}
            }
        }
    }
    Ok(flat)
}

fn unchanged(root: &Path, index: &index::State, entry: &index::Entry) -> bool {
    let full = root.join(OsStr::from_bytes(entry.path(index)));
    let Ok(metadata) = index::fs::Metadata::from_path_no_follow(&full) else { return false };
    let Ok(stat) = Stat::from_fs(&metadata) else { return false };
    if stat.size != entry.stat.size {
        return false;
    }
    // A file that was written as late as the index may have changed since without its
    // times telling.
    if entry.stat.matches(&stat, index::entry::stat::Options::default())
        && !entry.stat.is_racy(index.timestamp(), index::entry::stat::Options::default())
    {
        return true;
    }
    let content = if metadata.is_symlink() {
        std::fs::read_link(&full).map(|target| target.as_os_str().as_bytes().to_vec())
    } else {
        std::fs::read(&full)
    };
    content.is_ok_and(|content| {
        gix::objs::compute_hash(entry.id.kind(), Kind::Blob, &content).is_ok_and(|id| id == entry.id)
    })
}

fn untracked(root: &Path, ignored: &Ignored) -> Result<usize, SourceError> {
    let index = ignored.index();
    let mut count = 0;
    let mut waiting = vec![BString::default()];
    while let Some(folder) = waiting.pop() {
        let full = root.join(OsStr::from_bytes(&folder));
        for entry in std::fs::read_dir(&full).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Ok(kind) = entry.file_type() else { continue };
            if name == ".git" {
                continue;
            }
            let mut below = folder.clone();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(name.as_bytes());
            if ignored.is(below.as_bstr(), kind.is_dir())? {
                continue;
            }
            if kind.is_dir() {
                // A repository of its own is not ours to look into.
                if entry.path().join(".git").symlink_metadata().is_err() {
                    waiting.push(below);
                }
            } else if (kind.is_file() || kind.is_symlink()) && index.entry_by_path(below.as_bstr()).is_none() {
                count += 1;
            }
        }
    }
    Ok(count)
}
