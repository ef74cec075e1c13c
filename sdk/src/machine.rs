//! Looking at a machine.

use std::any::{Any, TypeId};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::Error;
use crate::host::MachinePort;

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, itself: links are never followed.
    Symlink,
    /// A device, socket or pipe.
    Other,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What the path is.
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
    /// The owner's name, or the number where it has no name.
    pub owner: String,
    /// The group's name, or the number where it has no name.
    pub group: String,
    /// `sha256:<64 hex>` of the content, for files and where asked.
    pub digest: Option<String>,
    /// A symbolic link's text.
    pub link_target: Option<String>,
    /// Stands for this very answer; an effect's precondition.
    pub seen: String,
}

/// The answer for one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// Something is there.
    Found(Entry),
    /// Nothing is there; the token stands for that.
    Absent(String),
    /// It could not be read. Never to be taken for absent.
    Failed(Error),
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// The first bytes of standard output, as text.
    pub stdout: String,
    /// The first bytes of standard error, as text.
    pub stderr: String,
}

/// Eyes on the target of a call: a machine, or with [`sql::Server`](crate::sql::Server) a
/// database server. Only the reads that a plugin uses end up in its import list.
/// Answers about users and groups are kept for the call, so asking per resource is cheap.
pub struct Machine<'h> {
    port: MachinePort<'h>,
    users: RefCell<BTreeMap<String, Option<String>>>,
    groups: RefCell<BTreeMap<String, Option<String>>>,
    /// What a sort of target keeps for the call. Behind a pointer of no type, so that the
    /// imports of databases end up in those plugins alone that ask for one.
    pub(crate) kept: OnceCell<Rc<dyn Any>>,
    made: Made,
}

impl<'h> Machine<'h> {
    pub(crate) fn new(port: MachinePort<'h>) -> Self {
        Self {
            port,
            users: RefCell::default(),
            groups: RefCell::default(),
            kept: OnceCell::new(),
            made: Made::default(),
        }
    }

    pub(crate) fn port(&self) -> MachinePort<'h> {
        self.port
    }

    /// Looks at many paths in one call; answers are in the order of the question.
    ///
    /// # Errors
    /// The call as a whole failed.
    pub fn stat(&self, paths: &[String]) -> Result<Vec<Looked>, Error> {
        self.look(paths, false)
    }

    /// As [`Machine::stat`]; files come with the digest of their content, computed in
    /// the host.
    ///
    /// # Errors
    /// As [`Machine::stat`].
    pub fn digest(&self, paths: &[String]) -> Result<Vec<Looked>, Error> {
        self.look(paths, true)
    }

    fn look(&self, paths: &[String], digest: bool) -> Result<Vec<Looked>, Error> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let looked = self.port.stat(paths, digest)?;
        if looked.len() == paths.len() {
            return Ok(looked);
        }
        let message = format!("asked about {} paths, the host answered for {}", paths.len(), looked.len());
        Err(Error { blame: crate::Blame::Host, ..Error::target("invalid", message) })
    }

    /// The names in a directory, in byte order; none where there is no directory.
    ///
    /// # Errors
    /// It could not be read.
    pub fn list(&self, path: &str) -> Result<Option<Vec<String>>, Error> {
        self.port.list(path)
    }

    /// A file's content, up to `max` bytes; none where there is no file.
    ///
    /// # Errors
    /// It could not be read, or is longer (`limit`).
    pub fn content(&self, path: &str, max: u32) -> Result<Option<Vec<u8>>, Error> {
        self.port.content(path, max)
    }

    /// How a user is written on the target: the name for a number or a name.
    /// None where there is no such user.
    ///
    /// # Errors
    /// It could not be looked up.
    pub fn user(&self, name_or_number: &str) -> Result<Option<String>, Error> {
        kept(&self.users, name_or_number, |name| self.port.user(name))
    }

    /// How a group is written on the target.
    ///
    /// # Errors
    /// It could not be looked up.
    pub fn group(&self, name_or_number: &str) -> Result<Option<String>, Error> {
        kept(&self.groups, name_or_number, |name| self.port.group(name))
    }

    /// Makes something, once per call for the same name and type. What is worked out from all
    /// changes of a call would be worked out for each of them otherwise.
    ///
    /// # Errors
    /// What `make` finds.
    pub fn once<T: 'static>(&self, name: &str, make: impl FnOnce() -> Result<T, Error>) -> Result<Rc<T>, Error> {
        self.made.once(name.to_owned(), make)
    }

    /// Runs a command that only looks. The operator's `exec_read` must allow its words, and
    /// they must stand in a spec that the call is about.
    ///
    /// # Errors
    /// Not granted, not found, or out of time.
    pub fn probe(&self, argv: &[String], timeout_ms: u32) -> Result<Ended, Error> {
        self.port.probe(argv, timeout_ms)
    }
}

/// What was made once, by name and type.
#[derive(Default)]
pub(crate) struct Made(RefCell<BTreeMap<(String, TypeId), Rc<dyn Any>>>);

impl Made {
    pub(crate) fn once<T: 'static>(
        &self,
        name: String,
        make: impl FnOnce() -> Result<T, Error>,
    ) -> Result<Rc<T>, Error> {
        let key = (name, TypeId::of::<T>());
        if let Some(made) = self.0.borrow().get(&key).cloned().and_then(|made| made.downcast().ok()) {
            return Ok(made);
        }
        let made = Rc::new(make()?);
        self.0.borrow_mut().insert(key, Rc::<T>::clone(&made));
        Ok(made)
    }
}

type Kept = RefCell<BTreeMap<String, Option<String>>>;

fn kept(
    known: &Kept,
    name: &str,
    ask: impl FnOnce(&str) -> Result<Option<String>, Error>,
) -> Result<Option<String>, Error> {
    if let Some(answer) = known.borrow().get(name) {
        return Ok(answer.clone());
    }
    let answer = ask(name)?;
    known.borrow_mut().insert(name.to_owned(), answer.clone());
    Ok(answer)
}
