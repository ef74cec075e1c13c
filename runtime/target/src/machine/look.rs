//! Reads: what is at a path, what a directory and a file hold. Links are never
//! followed, devices and pipes are never opened, and what could not be read is an
//! error and never taken for absent.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use tidelock_model::digest::Digest;
use tidelock_model::effect::PathState;
use tidelock_model::error::Fault;
use tidelock_model::grant::well_formed;

use super::cap::entry_of;
use super::fault::{fault, io};
use super::folder::{Entry, EntryKind, Folder, Opened};
use super::names::{Names, Who};
use super::walk::{Walker, split};
use super::{Machine, Stat};

/// Paths that a thread takes at a time: enough to share parents, few enough to share the work.
const BLOCK: usize = 128;
/// Bytes read at a time.
const BUFFER: usize = 64 << 10;

/// Looks at one path after the other; neighbours share their parents' handles.
pub(super) struct Looker<'m> {
    machine: &'m Machine,
    walker: Walker,
    names: Names,
    buffer: Vec<u8>,
}

impl<'m> Looker<'m> {
    pub(super) fn new(machine: &'m Machine) -> Result<Self, Fault> {
        Ok(Self { machine, walker: Walker::new(machine.root()), names: Names::of(machine)?, buffer: vec![0; BUFFER] })
    }

    /// The walker that it looks by.
    pub(super) fn walker(&mut self) -> &mut Walker {
        &mut self.walker
    }

    /// Names for numbers, and back.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Forgets all that it knows of the system, after something that may have changed it.
    pub(super) fn start_anew(&mut self) -> Result<(), Fault> {
        self.walker.forget();
        self.names = Names::of(self.machine)?;
        Ok(())
    }

    /// What is at a path.
    pub(super) fn stat(&mut self, path: &str, digest: bool) -> Result<Stat, Fault> {
        well_formed(path)?;
        let absent = Stat { state: PathState::Absent, size: 0 };
        let Some((folder, name)) = split(path) else {
            let entry = self.machine.root().look_here().map_err(|error| io("look at", path, &error))?;
            return Ok(Stat { state: self.directory(&entry), size: 0 });
        };
        let Some(folder) = self.walker.folder(folder)? else { return Ok(absent) };
        let name = OsStr::new(name);
        let failed = |error: std::io::Error| io("look at", path, &error);
        let Some(entry) = folder.look(name).map_err(failed)? else { return Ok(absent) };
        match entry.kind {
            EntryKind::Directory => Ok(Stat { state: self.directory(&entry), size: 0 }),
            EntryKind::Other => Ok(Stat { state: PathState::Other, size: 0 }),
            EntryKind::Symlink => {
                let to = folder.link_text(name).map_err(failed)?.into_string().map_err(|text| {
                    fault("invalid", format!("the text of the link {path} is not UTF-8: {}", text.display()))
                })?;
                let size = to.len() as u64;
                Ok(Stat { state: PathState::Symlink { to }, size })
            }
            EntryKind::File if !digest => Ok(self.file(&entry, None, entry.size)),
            EntryKind::File => {
                let Some((file, entry)) = open_regular(&folder, name, path)? else { return Ok(absent) };
                let (digest, size) = self.digest(file, &entry, path)?;
                Ok(self.file(&entry, Some(digest), size))
            }
        }
    }

    fn file(&mut self, entry: &Entry, digest: Option<Digest>, size: u64) -> Stat {
        let owner = self.names.written(Who::User, entry.uid);
        let group = self.names.written(Who::Group, entry.gid);
        Stat { state: PathState::File { digest, mode: entry.mode, owner, group, size }, size }
    }

    fn directory(&mut self, entry: &Entry) -> PathState {
        PathState::Directory {
            mode: entry.mode,
            owner: self.names.written(Who::User, entry.uid),
            group: self.names.written(Who::Group, entry.gid),
        }
    }

    fn digest(&mut self, mut file: File, entry: &Entry, path: &str) -> Result<(Digest, u64), Fault> {
        let largest = self.machine.options.largest;
        let too_large = |size: u64| {
            fault("limit", format!("{path} has {size} bytes or more; files of up to {largest} bytes are digested"))
        };
        if entry.size > largest {
            return Err(too_large(entry.size));
        }
        let mut hasher = Sha256::new();
        let mut size = 0;
        loop {
            match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&self.buffer[..n]);
                    size += n as u64;
                    // A regular file's size is exact; only generated ones (/proc) say 0.
                    if size == entry.size {
                        break;
                    }
                    if size > largest {
                        return Err(too_large(size));
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io("read", path, &error)),
            }
        }
        Ok((Digest::from_bytes(hasher.finalize().into()), size))
    }
}

/// Opens a regular file. `None` where it is gone meanwhile.
fn open_regular(folder: &Opened, name: &OsStr, path: &str) -> Result<Option<(File, Entry)>, Fault> {
    let file = match folder.open_file(name) {
        Ok(file) => file,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(io("read", path, &error)),
    };
    let entry = entry_of(&file).map_err(|error| io("read", path, &error))?;
    if entry.kind != EntryKind::File {
        return Err(fault("changed", format!("{path} is no longer a file")).retryable());
    }
    Ok(Some((file, entry)))
}

impl Machine {
    /// What is at each path, in the order of the question. Digests the contents of files
    /// where asked. Blocking; long lists are shared among a few threads.
    #[must_use]
    pub fn stat(&self, paths: &[String], digest: bool) -> Vec<Result<Stat, Fault>> {
        // In order of paths, neighbours share their parents; answers go back to their places.
        let mut order: Vec<usize> = (0..paths.len()).collect();
        order.sort_unstable_by(|a, b| paths[*a].cmp(&paths[*b]));
        let blocks: Vec<&[usize]> = order.chunks(BLOCK).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut looker = Looker::new(self);
            let mut answers = Vec::new();
            while let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                for index in *block {
                    let answer = match &mut looker {
                        Ok(looker) => looker.stat(&paths[*index], digest),
                        Err(fault) => Err(fault.clone()),
                    };
                    answers.push((*index, answer));
                }
            }
            answers
        };
        let threads = self.options.threads.clamp(1, blocks.len().max(1));
        let mut answers = if threads == 1 {
            work()
        } else {
            std::thread::scope(|scope| {
                let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                handles
                    .into_iter()
                    .flat_map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            })
        };
        answers.sort_unstable_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// The names in a directory in byte order; `None` where there is no directory. Blocking.
    ///
    /// # Errors
    /// `symlink`; `invalid` for a name that is not UTF-8; it cannot be read.
    pub fn list(&self, path: &str) -> Result<Option<Vec<String>>, Fault> {
        well_formed(path)?;
        let Some(folder) = Walker::new(self.root()).folder(path)? else { return Ok(None) };
        let mut names = Vec::new();
        for name in folder.names().map_err(|error| io("list", path, &error))? {
            names.push(name.into_string().map_err(|name| {
                fault("invalid", format!("{path} holds a name that is not UTF-8: {}", name.display()))
                    .hint("rename or remove it by hand")
            })?);
        }
        names.sort_unstable();
        Ok(Some(names))
    }

    /// A file's content; `None` where nothing is there. Blocking.
    ///
    /// # Errors
    /// `limit` past `max` bytes; `symlink` for a link; `invalid` where something else is there.
    pub fn content(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, Fault> {
        let (Some(folder), name) = Walker::new(self.root()).parent(path)? else { return Ok(None) };
        match folder.look(name).map_err(|error| io("look at", path, &error))?.map(|entry| entry.kind) {
            None => return Ok(None),
            Some(EntryKind::File) => {}
            Some(EntryKind::Symlink) => {
                return Err(fault("symlink", format!("{path} is a symbolic link; links are not followed")));
            }
            Some(EntryKind::Directory | EntryKind::Other) => {
                return Err(fault("invalid", format!("{path} is not a file, so it has no content")));
            }
        }
        let Some((file, entry)) = open_regular(&folder, name, path)? else { return Ok(None) };
        let too_long = || fault("limit", format!("{path} is longer than {max} bytes"));
        if entry.size > max {
            return Err(too_long());
        }
        let mut content = Vec::with_capacity(usize::try_from(entry.size).unwrap_or(0));
        file.take(max.saturating_add(1)).read_to_end(&mut content).map_err(|error| io("read", path, &error))?;
        if content.len() as u64 > max { Err(too_long()) } else { Ok(Some(content)) }
    }

    /// How a user is written on the target, by name or number: the name, or the number
    /// where it has none. `None` where there is no such name. Blocking.
    ///
    /// # Errors
    /// The list of users cannot be read.
    pub fn user(&self, name_or_number: &str) -> Result<Option<String>, Fault> {
        self.written(Who::User, name_or_number)
    }

    /// How a group is written on the target, as [`Machine::user`]. Blocking.
    ///
    /// # Errors
    /// The list of groups cannot be read.
    pub fn group(&self, name_or_number: &str) -> Result<Option<String>, Fault> {
        self.written(Who::Group, name_or_number)
    }

    fn written(&self, who: Who, text: &str) -> Result<Option<String>, Fault> {
        let mut names = Names::of(self)?;
        Ok(names.number(who, text)?.map(|number| names.written(who, number)))
    }
}
