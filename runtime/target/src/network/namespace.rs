//! Working in a network namespace. The namespace belongs to a thread, and a thread that
//! went into one could not be trusted to be back; so each visit is a thread of its own,
//! which ends with the work.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use nix::sched::{CloneFlags, setns, unshare};
use tidelock_model::error::{Blame, Fault};

use super::fault;

/// Where named namespaces are, by the convention that `ip netns` set.
const FOLDER: &str = "/run/netns";

/// A network namespace: this process's own, or a named one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    name: Option<String>,
}

/// What tells a named namespace from another that has its name later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Which(u64, u64);

impl Namespace {
    /// The one that this process is in.
    #[must_use]
    pub fn own() -> Self {
        Self::default()
    }

    /// A named one. It is looked for anew at each visit: it may be made later.
    ///
    /// # Errors
    /// A name that cannot be a file's.
    pub fn named(name: &str) -> Result<Self, Fault> {
        if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '\0']) {
            return Err(fault("invalid", format!("{name:?} cannot be the name of a network namespace")));
        }
        Ok(Self { name: Some(name.to_owned()) })
    }

    /// All of this machine: this process's own, and the named ones.
    ///
    /// # Errors
    /// The folder of names cannot be read.
    pub(super) fn all() -> Result<Vec<Self>, Fault> {
        let mut all = vec![Self::own()];
        let names = match std::fs::read_dir(FOLDER) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(all),
            Err(error) => return Err(fault("io", format!("cannot list the network namespaces: {error}"))),
        };
        all.extend(names.flatten().filter_map(|entry| Self::named(entry.file_name().to_str()?).ok()));
        Ok(all)
    }

    /// The name; `None` for this process's own.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Which one a name stands for now; `None` where that is none, and for our own.
    pub(super) fn which(&self) -> Option<Which> {
        let about = std::fs::metadata(format!("{FOLDER}/{}", self.name.as_ref()?)).ok()?;
        Some(Which(about.dev(), about.ino()))
    }

    /// Whether both are one and the same now: a named one may be this process's own, too.
    pub(super) fn is(&self, other: &Self) -> bool {
        self == other || self.inode().is_some_and(|inode| other.inode() == Some(inode))
    }

    fn inode(&self) -> Option<Which> {
        if self.name.is_some() {
            return self.which();
        }
        let about = std::fs::metadata("/proc/self/ns/net").ok()?;
        Some(Which(about.dev(), about.ino()))
    }

    /// Whether it is there now.
    ///
    /// # Errors
    /// There is no such namespace, or it cannot be opened.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        self.name.as_deref().map_or(Ok(()), |name| open(name).map(drop))
    }

    /// Does something there. What it starts is there too. Blocking.
    ///
    /// # Errors
    /// There is no such namespace, this process may not enter it, or the work's own.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T, Fault> + Send) -> Result<T, Fault> {
        if self.name.is_none() {
            return work();
        }
        on_a_thread(move || {
            self.stay()?;
            work()
        })
    }

    /// Takes this thread there, for the rest of its life.
    ///
    /// # Errors
    /// There is no such namespace, or this process may not enter it.
    pub(super) fn stay(&self) -> Result<(), Fault> {
        let Some(name) = &self.name else { return Ok(()) };
        let namespace = open(name)?;
        setns(&namespace, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| fault("permission", format!("cannot enter the network namespace {name}: {errno}")))
    }

    /// Does something in a new namespace, which ends with the work.
    ///
    /// # Errors
    /// This process may not make one, or the work's own.
    pub(super) fn fresh<T: Send>(work: impl FnOnce() -> Result<T, Fault> + Send) -> Result<T, Fault> {
        on_a_thread(move || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| {
                fault("permission", format!("cannot make a network namespace to try rules in: {errno}"))
            })?;
            work()
        })
    }
}

fn open(name: &str) -> Result<File, Fault> {
    File::open(format!("{FOLDER}/{name}")).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => fault("not-found", format!("there is no network namespace {name}"))
            .hint(format!("make it with `ip netns add {name}`, or change `netns` of the target")),
        _ => fault("io", format!("cannot open the network namespace {name}: {error}")),
    })
}

/// Does something on a thread of its own, in the namespace of this one.
pub(super) fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T, Fault> + Send) -> Result<T, Fault> {
    std::thread::scope(|scope| {
        let panicked = |_| Err(Fault::new("panic", Blame::Host, "work in a network namespace panicked"));
        scope.spawn(work).join().unwrap_or_else(panicked)
    })
}
