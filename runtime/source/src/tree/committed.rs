//! A commit's files, out of the object database.

use std::sync::Arc;

use gix::ObjectId;
use gix::objs::tree::EntryKind;
use gix::objs::{Kind, TreeRefIter};
use tidelock_model::port::SourceError;

use super::directory::{Node, Raw};
use super::{Facts, Files, Place, Rules, shown};
use crate::fault::{corrupt, limit};
use crate::repository::Repository;

/// Where a commit's files are read from.
pub(crate) struct Committed {
    repository: Arc<Repository>,
    root: ObjectId,
}

impl Committed {
    /// The files of a tree.
    pub(crate) fn files(repository: Arc<Repository>, root: ObjectId, rules: Rules) -> Files<Self> {
        Files::over(Self { repository, root }, rules)
    }
}

/// Adds the path to what the object database says.
fn at(path: &str) -> impl Fn(SourceError) -> SourceError {
    move |mut error| {
        error.message = format!("{}: {}", shown(path), error.message);
        error
    }
}

impl Place for Committed {
    type Key = ObjectId;

    fn root(&self) -> ObjectId {
        self.root
    }

    fn names(&self, path: &str, key: &ObjectId, most: u64) -> Result<Vec<Raw<ObjectId>>, SourceError> {
        let data = self.repository.read(*key, Kind::Tree).map_err(at(path))?;
        let mut names: Vec<Raw<ObjectId>> = Vec::new();
        let mut last: Vec<u8> = Vec::new();
        for entry in TreeRefIter::from_bytes(&data, key.kind()) {
            let entry = entry.map_err(|_| corrupt(format!("{}: the directory cannot be read", shown(path))))?;
            let id = entry.oid.to_owned();
            let node = match entry.mode.kind() {
                EntryKind::Tree => Node::Directory(id),
                EntryKind::Blob | EntryKind::BlobExecutable => Node::File(id),
                EntryKind::Link => Node::Link(id),
                EntryKind::Commit => Node::Submodule,
            };
            // Git orders a directory as if its name ended in a slash. Readers that search
            // by halves and readers that go through would see different files otherwise.
            let mut order = entry.filename.to_vec();
            if matches!(node, Node::Directory(_)) {
                order.push(b'/');
            }
            if order < last {
                let name = String::from_utf8_lossy(entry.filename);
                return Err(SourceError::new(
                    "path",
                    format!("in {}: the name {:?} is out of order", shown(path), shown(&name)),
                )
                .hint("the tree was not made by Git; `git fsck` names it"));
            }
            last = order;
            names.push(Raw { name: entry.filename.to_vec(), node });
            if names.len() as u64 > most {
                break;
            }
        }
        Ok(names)
    }

    fn directory_id(&self, key: &ObjectId) -> String {
        key.to_string()
    }

    fn facts(&self, path: &str, key: &ObjectId, _most: u64) -> Result<Facts, SourceError> {
        let (kind, size) = self.repository.header(*key).map_err(at(path))?;
        if kind != Kind::Blob {
            return Err(corrupt(format!("{}: object {key} is a {kind}, where a file is expected", shown(path))));
        }
        Ok(Facts { id: key.to_string(), size })
    }

    fn content(&self, path: &str, key: &ObjectId, _facts: &Facts) -> Result<Vec<u8>, SourceError> {
        self.repository.read(*key, Kind::Blob).map_err(at(path))
    }

    fn link(&self, path: &str, key: &ObjectId, most: u64) -> Result<Vec<u8>, SourceError> {
        let facts = self.facts(path, key, most)?;
        if facts.size > most {
            return Err(limit(
                "symlink",
                &format!("{}: the link's target has {} bytes", shown(path), facts.size),
                "blob",
                most,
            ));
        }
        self.content(path, key, &facts)
    }
}
