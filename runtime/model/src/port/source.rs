//! Git, as the loop sees it: revisions and their files.

use std::sync::Arc;

use async_trait::async_trait;

use crate::digest::Digest;
use crate::revision::{Revision, SourceNotice};

/// What is wrong with a source, by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// A stable word: `unreachable`, `timeout`, `auth`, `host-key`, `ref-gone`, `rewritten`, `unverified`,
    /// `corrupt`, `too-large`, `path`, `symlink`, `submodule`, `lfs`, `not-found`, `limit`, `io`,
    /// `disk-full`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What mends it.
    pub hint: Option<String>,
    /// Whether the next poll may succeed.
    pub retryable: bool,
}

impl SourceError {
    /// An error that another try does not mend.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), hint: None, retryable: false }
    }

    /// Adds what mends it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Marks it as worth another try.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }
}

/// One name of a directory in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// The last part of the path.
    pub name: String,
    /// Stands for the content: Git's object id, or a digest of a work tree's file.
    pub id: String,
    /// Bytes; 0 for directories.
    pub size: u64,
    /// Whether it is a directory.
    pub dir: bool,
}

impl TreeEntry {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.dir
    }
}

/// The files of a revision. Paths are from the root, without a leading slash; "" is
/// the root. Every path component has been validated; links, submodules and LFS
/// pointers are errors. Cheap to ask again: directories are kept once read.
pub trait Tree: Send + Sync {
    /// What is at a path.
    ///
    /// # Errors
    /// Objects are missing or corrupt, or a rule of the source is broken there.
    fn entry(&self, path: &str) -> Result<Option<TreeEntry>, SourceError>;

    /// The names of a directory in byte order.
    ///
    /// # Errors
    /// As [`Tree::entry`].
    fn list(&self, path: &str) -> Result<Option<Vec<TreeEntry>>, SourceError>;

    /// A file's content.
    ///
    /// # Errors
    /// As [`Tree::entry`]; also `too-large` past the source's blob limit.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError>;

    /// SHA-256 and size of a file's content, without keeping it.
    ///
    /// # Errors
    /// As [`Tree::read`].
    fn digest(&self, path: &str) -> Result<Option<(Digest, u64)>, SourceError>;

    /// Files below `dir` that match a pattern, relative to `dir`, in byte order. Passes
    /// over nested stacks (a directory with a `stack.yaml`, other than `dir`) and names
    /// that start with a dot.
    ///
    /// # Errors
    /// As [`Tree::entry`]; `invalid` for a pattern that cannot be read.
    fn glob(&self, dir: &str, pattern: &str) -> Result<Vec<String>, SourceError>;

    /// Every directory that holds a file of this name, in byte order. Names that start
    /// with a dot are passed over.
    ///
    /// # Errors
    /// As [`Tree::entry`].
    fn holding(&self, file: &str) -> Result<Vec<String>, SourceError>;

    /// Every directory that holds a `stack.yaml`.
    ///
    /// # Errors
    /// As [`Tree::entry`].
    fn stacks(&self) -> Result<Vec<String>, SourceError> {
        self.holding("stack.yaml")
    }
}

/// What to take from a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// What the operator's config names.
    Configured,
    /// A branch, tag or commit, in the operator's stead.
    Rev(String),
    /// The files of the work tree, committed or not.
    Worktree,
}

/// A revision in force and its files.
#[derive(Clone)]
pub struct Fetched {
    /// The revision.
    pub revision: Revision,
    /// Its files.
    pub tree: Arc<dyn Tree>,
    /// What an operator should know.
    pub notices: Vec<SourceNotice>,
}

/// A Git repository and ref.
#[async_trait]
pub trait Source: Send + Sync {
    /// Fetches, verifies and opens. `last` is the revision in force, which stays in force
    /// when the tip does not verify or Git is out of reach.
    ///
    /// # Errors
    /// No revision can be had.
    async fn fetch(&self, want: &Want, last: Option<&Revision>) -> Result<Fetched, SourceError> {
        self.fetch_with(want, last, &[]).await
    }

    /// The same, and brings `tags` (full names) along in the same question: [`Source::tag`]
    /// tells what they stand for then. One that the server does not have is passed over.
    ///
    /// # Errors
    /// As [`Source::fetch`].
    async fn fetch_with(&self, want: &Want, last: Option<&Revision>, tags: &[String]) -> Result<Fetched, SourceError>;

    /// The id of the commit that a tag (its full name) stands for, as it was brought last;
    /// `None` where it never was. Asks no server.
    ///
    /// # Errors
    /// What is here cannot be read, or the tag is none of a commit.
    async fn tag(&self, name: &str) -> Result<Option<String>, SourceError>;

    /// Whether the commit `tip` is `base` or descends from it, by their ids. Asks no server:
    /// a commit that is not here descends from nothing.
    ///
    /// # Errors
    /// The history cannot be read.
    async fn descends(&self, tip: &str, base: &str) -> Result<bool, SourceError>;

    /// The host and port that are connected to for it: its proxy's, else its server's; an IPv6
    /// address without brackets. `None` for a repository of this machine, and for a proxy that
    /// the environment names.
    fn server(&self) -> Option<(String, u16)>;
}
