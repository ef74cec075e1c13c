//! Files as they were before effects, for whoever takes those back without the runtime: a guard
//! keeps them with what else it knows, and puts them back by itself.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidelock_model::error::Fault;

use super::fault::{fault, io};
use super::folder::{EntryKind, Folder as _, Opened, Pinned as _};
use super::temporary;
use super::walk::Walker;

/// The largest file that is kept, in bytes. Files that say how a network is to be are far smaller.
const LARGEST: u64 = 4 << 20;

/// A file as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    /// Absolute, as the target sees it.
    path: String,
    /// What was there; `None` for nothing.
    file: Option<Held>,
}

/// What a file held, and who might do what with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    content: Vec<u8>,
    mode: u32,
    uid: u32,
    gid: u32,
}

/// Files below a root as they are now.
///
/// # Errors
/// What is there is no file, is too large, or cannot be read.
pub(crate) fn remember(root: &Path, paths: &[String]) -> Result<Vec<Before>, Fault> {
    let mut walker = walker(root)?;
    paths.iter().map(|path| Ok(Before { path: path.clone(), file: held(&mut walker, path)? })).collect()
}

/// Puts files below a root back; says what could not be.
pub(crate) fn put_back(root: &Path, files: &[Before]) -> Vec<String> {
    let mut walker = match walker(root) {
        Ok(walker) => walker,
        Err(fault) if !files.is_empty() => return vec![fault.message],
        Err(_) => return vec![],
    };
    files.iter().filter_map(|before| one(&mut walker, before).err().map(|fault| fault.message)).collect()
}

fn walker(root: &Path) -> Result<Walker, Fault> {
    let opened = Opened::open_root(root).map_err(|error| io("open the root", &root.to_string_lossy(), &error))?;
    Ok(Walker::new(Arc::new(opened)))
}

fn held(walker: &mut Walker, path: &str) -> Result<Option<Held>, Fault> {
    let (Some(folder), name) = walker.parent(path)? else { return Ok(None) };
    let failed = |error: std::io::Error| io("read", path, &error);
    let Some(entry) = folder.look(name).map_err(failed)? else { return Ok(None) };
    if entry.kind != EntryKind::File || entry.size > LARGEST {
        let message = format!("{path} is no file of {LARGEST} bytes at most, so nobody could put it back");
        return Err(fault("invalid", message));
    }
    let mut content = Vec::new();
    folder.open_file(name).and_then(|file| file.take(LARGEST).read_to_end(&mut content)).map_err(failed)?;
    Ok(Some(Held { content, mode: entry.mode, uid: entry.uid, gid: entry.gid }))
}

fn one(walker: &mut Walker, before: &Before) -> Result<(), Fault> {
    let path = before.path.as_str();
    let failed = |error: std::io::Error| io("put back", path, &error);
    if held(walker, path).is_ok_and(|now| now == before.file) {
        return Ok(());
    }
    let Some(file) = &before.file else {
        let (Some(folder), name) = walker.parent(path)? else { return Ok(()) };
        return folder.remove_file(name).and_then(|()| folder.flush()).map_err(failed);
    };
    let (folder, name) = walker.existing_parent(path)?;
    let beside = temporary::beside(name)?;
    let write = || -> std::io::Result<()> {
        let mut staged = folder.create_file(&beside)?;
        staged.write_all(&file.content)?;
        let pinned = folder.pin(&beside)?;
        pinned.set_owner(Some(file.uid), Some(file.gid))?;
        pinned.set_mode(file.mode)?;
        staged.sync_all()?;
        folder.rename(&beside, name)?;
        folder.flush()
    };
    write().map_err(failed).inspect_err(|_| {
        let _ = folder.remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_come_back_as_they_were_and_new_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/old"), "old").unwrap();
        let paths = ["/etc/old", "/etc/new", "/none/at/all"].map(String::from);
        let before = remember(dir.path(), &paths).unwrap();
        fs::write(dir.path().join("etc/old"), "new").unwrap();
        fs::write(dir.path().join("etc/new"), "new").unwrap();
        let text = serde_json::to_string(&before).unwrap();
        let before: Vec<Before> = serde_json::from_str(&text).unwrap();
        for _ in 0..2 {
            assert_eq!(put_back(dir.path(), &before), Vec::<String>::new());
            assert_eq!(fs::read_to_string(dir.path().join("etc/old")).unwrap(), "old");
            assert_eq!(fs::read_dir(dir.path().join("etc")).unwrap().count(), 1);
        }
        fs::remove_file(dir.path().join("etc/old")).unwrap();
        fs::create_dir(dir.path().join("etc/old")).unwrap();
        assert_eq!(put_back(dir.path(), &before).len(), 1, "what cannot be put back is said");
        assert!(remember(dir.path(), &paths).is_err(), "a directory is no file");
    }
}
