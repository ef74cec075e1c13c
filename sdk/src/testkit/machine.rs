//! A machine in memory: its paths, its users, its commands, and what was asked of it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::host::MachinePort;
use super::perform::Proposal;
use crate::content::Content;
use crate::error::Error;
use crate::machine::{Ended, Entry, EntryKind, Looked};

/// What is at a path of the fake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A file.
    File {
        /// What it holds.
        content: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: String,
        /// Group.
        group: String,
    },
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: String,
        /// Group.
        group: String,
    },
    /// A symbolic link.
    Symlink {
        /// Its text.
        to: String,
    },
    /// A device, socket or pipe.
    Other,
}

impl Node {
    /// A file of root's with mode 0644.
    pub fn file(content: impl Into<Vec<u8>>) -> Self {
        Self::File { content: content.into(), mode: 0o644, owner: "root".into(), group: "root".into() }
    }

    /// A directory of root's with mode 0755.
    #[must_use]
    pub fn directory() -> Self {
        Self::Directory { mode: 0o755, owner: "root".into(), group: "root".into() }
    }
}

/// A machine in memory. Has the root directory, the users `root` (0) and `www-data` (33)
/// and groups of the same names; commands that were not given an end are not found.
pub struct Machine {
    pub(super) nodes: RefCell<BTreeMap<String, Node>>,
    pub(super) contents: RefCell<BTreeMap<String, Vec<u8>>>,
    pub(super) proposals: RefCell<Vec<Proposal>>,
    pub(super) objects: RefCell<BTreeMap<String, serde_json::Value>>,
    pub(super) keeper: RefCell<Option<String>>,
    pub(super) seen_objects: RefCell<Vec<(String, Option<serde_json::Value>)>>,
    pub(super) tokens: RefCell<Vec<(String, Option<Node>)>>,
    pub(super) ran: RefCell<Vec<Vec<String>>>,
    pub(super) makes: RefCell<BTreeMap<Vec<String>, String>>,
    ends: RefCell<BTreeMap<Vec<String>, i32>>,
    unreadable: RefCell<BTreeSet<String>>,
    names: BTreeMap<&'static str, &'static str>,
    calls: Cell<usize>,
    /// How a database server is reached.
    pub(super) psql: Vec<String>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            nodes: RefCell::new(BTreeMap::from([("/".to_owned(), Node::directory())])),
            contents: RefCell::default(),
            proposals: RefCell::default(),
            objects: RefCell::default(),
            keeper: RefCell::default(),
            seen_objects: RefCell::default(),
            tokens: RefCell::default(),
            ran: RefCell::default(),
            makes: RefCell::default(),
            ends: RefCell::default(),
            unreadable: RefCell::default(),
            names: BTreeMap::from([("0", "root"), ("33", "www-data")]),
            calls: Cell::new(0),
            psql: Vec::new(),
        }
    }
}

impl Machine {
    /// An empty machine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the first token known, which stands for nothing.
    pub(super) fn keep_token(&self) {
        if self.tokens.borrow().is_empty() {
            self.tokens.borrow_mut().push((String::new(), None));
        }
    }

    /// Puts something at a path; missing parents are made.
    #[must_use]
    pub fn with(self, path: &str, node: Node) -> Self {
        self.put(path, node);
        self
    }

    /// Puts a file at a path; missing parents are made.
    #[must_use]
    pub fn file(self, path: &str, content: &str) -> Self {
        self.with(path, Node::file(content))
    }

    /// Makes a directory; missing parents are made.
    #[must_use]
    pub fn directory(self, path: &str) -> Self {
        self.with(path, Node::directory())
    }

    /// Makes a path fail to be read.
    #[must_use]
    pub fn unreadable(self, path: &str) -> Self {
        self.unreadable.borrow_mut().insert(path.to_owned());
        self
    }

    /// Says how a command ends.
    #[must_use]
    pub fn command<const N: usize>(self, argv: [&str; N], code: i32) -> Self {
        self.ends.borrow_mut().insert(argv.map(str::to_owned).to_vec(), code);
        self
    }

    /// Says which empty file a command makes when it is performed.
    #[must_use]
    pub fn command_makes<const N: usize>(self, argv: [&str; N], path: &str) -> Self {
        self.makes.borrow_mut().insert(argv.map(str::to_owned).to_vec(), path.to_owned());
        self
    }

    /// Puts something at a path, as somebody else would behind the plugin's back.
    pub fn put(&self, path: &str, node: Node) {
        let mut nodes = self.nodes.borrow_mut();
        for (at, _) in path.match_indices('/').skip(1) {
            nodes.entry(path[..at].to_owned()).or_insert_with(Node::directory);
        }
        nodes.insert(path.to_owned(), node);
    }

    /// What is at a path now.
    #[must_use]
    pub fn node(&self, path: &str) -> Option<Node> {
        self.nodes.borrow().get(path).cloned()
    }

    /// Every path but the root, in byte order.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.nodes.borrow().keys().filter(|path| *path != "/").cloned().collect()
    }

    /// Keeps a content, as the host does with what a spec holds, and names it.
    pub fn keep(&self, content: &[u8]) -> Content {
        let digest = sha256(content);
        self.contents.borrow_mut().insert(digest.clone(), content.to_owned());
        Content { digest, size: content.len() as u64 }
    }

    /// How many reads were asked for so far: a batch is one.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.get()
    }

    /// The commands that were performed, in order.
    #[must_use]
    pub fn ran(&self) -> Vec<Vec<String>> {
        self.ran.borrow().clone()
    }

    /// The eyes that a plugin gets.
    #[must_use]
    pub fn eyes(&self) -> crate::Machine<'_> {
        crate::Machine::new(MachinePort(self))
    }

    fn count(&self) {
        self.calls.set(self.calls.get() + 1);
    }

    pub(super) fn stat(&self, paths: &[String], digest: bool) -> Result<Vec<Looked>, Error> {
        self.count();
        Ok(paths.iter().map(|path| self.entry(path, digest)).collect())
    }

    fn entry(&self, path: &str, digest: bool) -> Looked {
        if self.unreadable.borrow().contains(path) {
            return Looked::Failed(Error::target("io", format!("{path} cannot be read")));
        }
        let node = self.node(path);
        let seen = self.token(path, node.clone());
        let Some(node) = node else { return Looked::Absent(seen) };
        let root = || "root".to_owned();
        let mut entry = Entry {
            kind: EntryKind::Other,
            size: 0,
            mode: 0o777,
            owner: root(),
            group: root(),
            digest: None,
            link_target: None,
            seen,
        };
        match node {
            Node::File { content, mode, owner, group } => {
                let size = content.len() as u64;
                let digest = digest.then(|| sha256(&content));
                entry = Entry { kind: EntryKind::File, size, mode, owner, group, digest, ..entry };
            }
            Node::Directory { mode, owner, group } => {
                entry = Entry { kind: EntryKind::Directory, mode, owner, group, ..entry };
            }
            Node::Symlink { to } => {
                entry = Entry { kind: EntryKind::Symlink, link_target: Some(to), ..entry };
            }
            Node::Other => {}
        }
        Looked::Found(entry)
    }

    fn token(&self, path: &str, node: Option<Node>) -> String {
        let mut tokens = self.tokens.borrow_mut();
        tokens.push((path.to_owned(), node));
        format!("seen-{}", tokens.len() - 1)
    }

    pub(super) fn list(&self, path: &str) -> Result<Option<Vec<String>>, Error> {
        self.count();
        if self.unreadable.borrow().contains(path) {
            return Err(Error::target("io", format!("{path} cannot be listed")));
        }
        if !matches!(self.node(path), Some(Node::Directory { .. })) {
            return Ok(None);
        }
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let nodes = self.nodes.borrow();
        let names = nodes.keys().filter_map(|below| below.strip_prefix(&prefix));
        Ok(Some(names.filter(|name| !name.is_empty() && !name.contains('/')).map(str::to_owned).collect()))
    }

    pub(super) fn content(&self, path: &str, max: u32) -> Result<Option<Vec<u8>>, Error> {
        self.count();
        match self.node(path) {
            Some(Node::File { content, .. }) if content.len() > max as usize => {
                Err(Error::target("limit", format!("{path} holds more than {max} bytes")))
            }
            Some(Node::File { content, .. }) => Ok(Some(content)),
            _ => Ok(None),
        }
    }

    pub(super) fn user(&self, name: &str) -> Option<String> {
        self.count();
        let known = self.names.get(name).or_else(|| self.names.values().find(|known| **known == name));
        known.map(ToString::to_string)
    }

    pub(super) fn group(&self, name: &str) -> Option<String> {
        self.user(name)
    }

    pub(super) fn probe(&self, argv: &[String]) -> Result<Ended, Error> {
        self.count();
        match self.ends.borrow().get(argv) {
            Some(code) => Ok(Ended { code: Some(*code), ..Ended::default() }),
            None => {
                Err(Error::target("not-found", format!("{} is not there", argv.first().map_or("", String::as_str))))
            }
        }
    }
}

/// A digest as the host writes it.
#[must_use]
pub fn sha256(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}
