//! The files of a revision: one set of rules over two places to read from.
//!
//! [`Files`] holds the rules (names, links, limits, patterns); a [`Place`] only lists
//! directories and reads contents. So a work tree and a commit cannot differ in what
//! they let through.

mod committed;
mod directory;
mod uncommitted;
mod worktree;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use globset::{GlobBuilder, GlobMatcher};
use tidelock_model::config::SourceDecl;
use tidelock_model::digest::Digest;
use tidelock_model::error::tame;
use tidelock_model::port::{SourceError, Tree, TreeEntry};

pub(crate) use committed::Committed;
use directory::{Directory, Node, Raw};
pub(crate) use uncommitted::count_uncommitted;
pub(crate) use worktree::Worktree;

use crate::fault::{corrupt, limit};

/// The file that makes a directory a stack.
const STACK: &str = "stack.yaml";

/// How many links may lead to one file.
const MAX_HOPS: usize = 16;

/// The longest target of a link, in bytes.
const MAX_LINK: u64 = 4096;

/// The largest file that can be an LFS pointer, in bytes.
const MAX_POINTER: usize = 1024;

/// What a file is, known once it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Stands for the content.
    id: String,
    /// Bytes.
    size: u64,
}

/// Somewhere that files are read from. Paths have been validated.
pub(crate) trait Place: Send + Sync {
    /// What finds a file or directory again.
    type Key: Clone + Send + Sync;

    /// The root directory.
    fn root(&self) -> Self::Key;

    /// A directory's names, unchecked, in the order in which they are kept. At most `most`
    /// are wanted: one more is enough to tell that there are too many.
    fn names(&self, path: &str, key: &Self::Key, most: u64) -> Result<Vec<Raw<Self::Key>>, SourceError>;

    /// A directory's id; empty where there is none that stands for its content.
    fn directory_id(&self, key: &Self::Key) -> String;

    /// A file's id and size. `most` is the limit that a place has to keep if it reads.
    fn facts(&self, path: &str, key: &Self::Key, most: u64) -> Result<Facts, SourceError>;

    /// A file's content, which is what `facts` say or an error.
    fn content(&self, path: &str, key: &Self::Key, facts: &Facts) -> Result<Vec<u8>, SourceError>;

    /// Where a link points, as it is written.
    fn link(&self, path: &str, key: &Self::Key, most: u64) -> Result<Vec<u8>, SourceError>;
}

/// What the operator lets a source hold.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    symlinks: bool,
    submodules: bool,
    blob: u64,
    files: u64,
    depth: u64,
    total: u64,
}

impl Rules {
    /// The rules of a source.
    pub(crate) fn of(decl: &SourceDecl) -> Self {
        let limits = &decl.limits;
        Self {
            symlinks: decl.symlinks,
            submodules: decl.submodules,
            blob: limits.blob,
            files: limits.files,
            depth: limits.depth,
            total: limits.total,
        }
    }
}

/// The rules over a place. Directories are kept once read; contents never.
pub(crate) struct Files<P: Place> {
    place: P,
    rules: Rules,
    directories: RwLock<HashMap<String, Arc<Directory<P::Key>>>>,
    files: AtomicU64,
    total: AtomicU64,
}

/// What a path leads to, links followed.
enum Found<K> {
    Directory(String),
    File { path: String, parent: Arc<Directory<K>>, index: usize },
}

impl<P: Place> Files<P> {
    fn over(place: P, rules: Rules) -> Self {
        Self { place, rules, directories: RwLock::default(), files: AtomicU64::new(0), total: AtomicU64::new(0) }
    }

    /// A directory that was read before. Lets go of the lock at once: loading takes it again.
    fn known(&self, path: &str) -> Option<Arc<Directory<P::Key>>> {
        self.directories.read().unwrap_or_else(PoisonError::into_inner).get(path).map(Arc::clone)
    }

    /// A directory by its real path: no links on the way.
    fn directory(&self, path: &str) -> Result<Option<Arc<Directory<P::Key>>>, SourceError> {
        if let Some(known) = self.known(path) {
            return Ok(Some(known));
        }
        // From the root down, so that each directory on the way is checked and kept.
        let mut here = String::new();
        let mut directory = self.load("", &self.place.root())?;
        for part in path.split('/').filter(|_| !path.is_empty()) {
            let Some((_, entry)) = directory.get(part) else { return Ok(None) };
            let Node::Directory(key) = &entry.node else { return Ok(None) };
            let key = key.clone();
            join(&mut here, part);
            directory = self.load(&here, &key)?;
        }
        Ok(Some(directory))
    }

    fn load(&self, path: &str, key: &P::Key) -> Result<Arc<Directory<P::Key>>, SourceError> {
        if let Some(known) = self.known(path) {
            return Ok(known);
        }
        let depth = if path.is_empty() { 0 } else { path.split('/').count() as u64 };
        if depth > self.rules.depth {
            return Err(limit(
                "limit",
                &format!("{}: directories are {depth} deep", shown(path)),
                "depth",
                self.rules.depth,
            ));
        }
        let left = self.rules.files.saturating_sub(self.files.load(Ordering::Relaxed));
        let raw = self.place.names(path, key, left)?;
        // Directories count too: a tree of trees alone can be as large as one wants.
        let count = self.files.fetch_add(raw.len() as u64, Ordering::Relaxed).saturating_add(raw.len() as u64);
        if count > self.rules.files {
            return Err(limit(
                "limit",
                &format!("{}: the source holds more files", shown(path)),
                "files",
                self.rules.files,
            ));
        }
        let directory = Arc::new(Directory::check(path, key.clone(), raw)?);
        let mut known = self.directories.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(known.entry(path.to_owned()).or_insert(directory)))
    }

    /// Follows a path to a file or directory. A link on the way is an error unless the
    /// operator opted in; then it is resolved by name, within the root.
    fn find(&self, path: &str) -> Result<Option<Found<P::Key>>, SourceError> {
        // No file has an empty name; without this, `/a` could be answered as `a`.
        if !path.is_empty() && path.split('/').any(str::is_empty) {
            return Ok(None);
        }
        let mut path = path.to_owned();
        for _ in 0..MAX_HOPS {
            match self.walk(&path)? {
                Walked::Found(found) => return Ok(Some(found)),
                Walked::Nothing => return Ok(None),
                Walked::Link { at, key, rest } => {
                    if !self.rules.symlinks {
                        return Err(link_refused(&at));
                    }
                    path = self.follow(&at, &key, &rest)?;
                }
            }
        }
        Err(SourceError::new(
            "symlink",
            format!("{}: symbolic links lead in a circle, or through more than {MAX_HOPS} others", shown(&path)),
        )
        .hint("replace the link by the file"))
    }

    fn walk(&self, path: &str) -> Result<Walked<P::Key>, SourceError> {
        // The usual case: the parent is known, and has no links above it.
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut here = String::new();
        let mut directory = match self.known(parent) {
            Some(known) => {
                parent.clone_into(&mut here);
                known
            }
            None => self.load("", &self.place.root())?,
        };
        if path.is_empty() {
            return Ok(Walked::Found(Found::Directory(String::new())));
        }
        let mut rest = if here == parent { name } else { path };
        loop {
            let (part, after) = rest.split_once('/').map_or((rest, None), |(part, after)| (part, Some(after)));
            let Some((index, entry)) = directory.get(part) else { return Ok(Walked::Nothing) };
            let mut at = here.clone();
            join(&mut at, part);
            match &entry.node {
                Node::Link(key) => {
                    return Ok(Walked::Link { at, key: key.clone(), rest: after.unwrap_or_default().to_owned() });
                }
                Node::Submodule if self.rules.submodules => return Ok(Walked::Nothing),
                Node::Submodule => return Err(submodule_refused(&at)),
                Node::File(_) if after.is_some() => return Ok(Walked::Nothing),
                Node::File(_) => {
                    return Ok(Walked::Found(Found::File { path: at, parent: Arc::clone(&directory), index }));
                }
                Node::Directory(key) => {
                    let next = self.load(&at, &key.clone())?;
                    let Some(after) = after else { return Ok(Walked::Found(Found::Directory(at))) };
                    directory = next;
                    here = at;
                    rest = after;
                }
            }
        }
    }

    /// The path that a link stands for, with what followed it.
    fn follow(&self, at: &str, key: &P::Key, rest: &str) -> Result<String, SourceError> {
        let target = self.place.link(at, key, MAX_LINK)?;
        let outside = |why: &str| {
            Err(SourceError::new("symlink", format!("{}: the symbolic link {why}", shown(at)))
                .hint("links may lead to files and directories of the same source only"))
        };
        let Ok(target) = String::from_utf8(target) else { return outside("has a target that is not UTF-8") };
        if target.is_empty() || target.contains(['\\', '\0']) {
            return outside("has a target that is not a path");
        }
        if target.starts_with('/') {
            return outside("is absolute");
        }
        let mut parts: Vec<&str> = at.split('/').collect();
        parts.pop();
        for part in target.split('/').chain(rest.split('/')) {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        return outside("leads out of the source");
                    }
                }
                part => parts.push(part),
            }
        }
        Ok(parts.join("/"))
    }

    fn facts<'d>(&self, path: &str, directory: &'d Directory<P::Key>, index: usize) -> Result<&'d Facts, SourceError> {
        let entry = &directory.entries[index];
        if let Some(facts) = entry.facts.get() {
            return Ok(facts);
        }
        let Node::File(key) = &entry.node else { return Err(corrupt(format!("{} is not a file", shown(path)))) };
        let facts = self.place.facts(path, key, self.rules.blob)?;
        if facts.size > self.rules.blob {
            return Err(blob_too_large(path, facts.size, self.rules.blob));
        }
        let size = facts.size;
        if entry.facts.set(facts).is_ok() {
            let total = self.total.fetch_add(size, Ordering::Relaxed).saturating_add(size);
            if total > self.rules.total {
                return Err(limit(
                    "too-large",
                    &format!("{}: the source's files add up to more", shown(path)),
                    "total",
                    self.rules.total,
                ));
            }
        }
        entry.facts.get().ok_or_else(|| corrupt(format!("{} has no size", shown(path))))
    }

    fn content(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(Found::File { path, parent, index }) = self.find(path)? else { return Ok(None) };
        let facts = self.facts(&path, &parent, index)?;
        let Node::File(key) = &parent.entries[index].node else { return Ok(None) };
        let content = self.place.content(&path, key, facts)?;
        if content.len() <= MAX_POINTER && content.starts_with(b"version https://git-lfs") {
            return Err(SourceError::new(
                "lfs",
                format!("{} is a Git LFS pointer; its content is not in Git", shown(&path)),
            )
            .hint("commit the file itself: git lfs untrack it, and add it again"));
        }
        Ok(Some(content))
    }

    fn tree_entry(&self, name: &str, found: Found<P::Key>) -> Result<TreeEntry, SourceError> {
        Ok(match found {
            Found::Directory(path) => {
                let id = self.directory(&path)?.map(|directory| self.place.directory_id(&directory.key));
                TreeEntry { name: name.to_owned(), id: id.unwrap_or_default(), size: 0, dir: true }
            }
            Found::File { path, parent, index } => {
                let facts = self.facts(&path, &parent, index)?;
                TreeEntry { name: name.to_owned(), id: facts.id.clone(), size: facts.size, dir: false }
            }
        })
    }

    /// Calls `visit` for each directory at and below `dir`, with its path relative to
    /// `dir`; goes deeper where it says so. Dot names, links and submodules are passed over.
    fn descend(
        &self,
        dir: &str,
        mut visit: impl FnMut(&str, &Directory<P::Key>) -> Result<bool, SourceError>,
    ) -> Result<(), SourceError> {
        let mut waiting = vec![String::new()];
        while let Some(relative) = waiting.pop() {
            let mut path = dir.to_owned();
            join(&mut path, &relative);
            let Some(directory) = self.directory(&path)? else { continue };
            if !visit(&relative, &directory)? {
                continue;
            }
            for entry in directory.entries.iter().filter(|entry| !entry.name.starts_with('.')) {
                if matches!(entry.node, Node::Directory(_)) {
                    let mut below = relative.clone();
                    join(&mut below, &entry.name);
                    waiting.push(below);
                }
            }
        }
        Ok(())
    }
}

enum Walked<K> {
    Found(Found<K>),
    Nothing,
    Link { at: String, key: K, rest: String },
}

impl<P: Place> Tree for Files<P> {
    fn entry(&self, path: &str) -> Result<Option<TreeEntry>, SourceError> {
        let name = path.rsplit('/').next().unwrap_or_default();
        self.find(path)?.map(|found| self.tree_entry(name, found)).transpose()
    }

    fn list(&self, path: &str) -> Result<Option<Vec<TreeEntry>>, SourceError> {
        let Some(Found::Directory(path)) = self.find(path)? else { return Ok(None) };
        let Some(directory) = self.directory(&path)? else { return Ok(None) };
        let mut entries = Vec::with_capacity(directory.entries.len());
        for (index, entry) in directory.entries.iter().enumerate() {
            let mut at = path.clone();
            join(&mut at, &entry.name);
            let found = match &entry.node {
                Node::File(_) => Some(Found::File { path: at, parent: Arc::clone(&directory), index }),
                Node::Directory(_) => Some(Found::Directory(at)),
                // A link that leads nowhere is a name without a file.
                Node::Link(_) | Node::Submodule => self.find(&at)?,
            };
            if let Some(found) = found {
                entries.push(self.tree_entry(&entry.name, found)?);
            }
        }
        Ok(Some(entries))
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        self.content(path)
    }

    fn digest(&self, path: &str) -> Result<Option<(Digest, u64)>, SourceError> {
        Ok(self.content(path)?.map(|content| (Digest::of(&content), content.len() as u64)))
    }

    fn glob(&self, dir: &str, pattern: &str) -> Result<Vec<String>, SourceError> {
        let matcher = matcher(pattern)?;
        let deep = pattern.contains("**");
        let Some(Found::Directory(dir)) = self.find(dir)? else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        self.descend(&dir, |relative, directory| {
            if !relative.is_empty() && directory.holds_file(STACK) {
                return Ok(false);
            }
            for entry in directory.entries.iter().filter(|entry| !entry.name.starts_with('.')) {
                let mut below = relative.to_owned();
                join(&mut below, &entry.name);
                let matched = matcher.is_match(&below);
                let mut at = dir.clone();
                join(&mut at, &below);
                match &entry.node {
                    Node::File(_) if matched => files.push(below),
                    // Passed over in silence, a link could hide what somebody meant to deploy.
                    Node::Link(_) if matched => {
                        if let Some(Found::File { .. }) = self.find(&at)? {
                            files.push(below);
                        }
                    }
                    Node::Link(_) if deep && !self.rules.symlinks => return Err(link_refused(&at)),
                    Node::Submodule if (matched || deep) && !self.rules.submodules => {
                        return Err(submodule_refused(&at));
                    }
                    _ => {}
                }
            }
            Ok(true)
        })?;
        files.sort_unstable();
        Ok(files)
    }

    fn holding(&self, file: &str) -> Result<Vec<String>, SourceError> {
        let mut found = Vec::new();
        self.descend("", |path, directory| {
            if directory.holds_file(file) {
                found.push(path.to_owned());
            }
            Ok(true)
        })?;
        found.sort_unstable();
        Ok(found)
    }
}

fn matcher(pattern: &str) -> Result<GlobMatcher, SourceError> {
    GlobBuilder::new(pattern).literal_separator(true).build().map(|glob| glob.compile_matcher()).map_err(|error| {
        SourceError::new("invalid", format!("{:?} is not a pattern: {}", tame(pattern, 200), error.kind()))
            .hint("* stands for part of a name, ** for any directories, as in **/*.yaml")
    })
}

fn join(path: &mut String, part: &str) {
    if !path.is_empty() && !part.is_empty() {
        path.push('/');
    }
    path.push_str(part);
}

/// A path of a repository, fit for a terminal.
fn shown(path: &str) -> String {
    if path.is_empty() { "the root".to_owned() } else { tame(path, 500) }
}

fn link_refused(path: &str) -> SourceError {
    SourceError::new("symlink", format!("{} is a symbolic link", shown(path)))
        .hint("replace it by the file; or set symlinks = true on the source, which follows links within it")
}

fn submodule_refused(path: &str) -> SourceError {
    SourceError::new("submodule", format!("{} is a submodule, whose files are not in this repository", shown(path)))
        .hint("commit the files themselves; or set submodules = true on the source, which passes submodules over")
}

fn blob_too_large(path: &str, size: u64, most: u64) -> SourceError {
    limit("too-large", &format!("{} has {size} bytes", shown(path)), "blob", most)
}
