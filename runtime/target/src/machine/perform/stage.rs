//! Writing a file beside its place: content, owner and mode, all before the rename, so
//! that nobody ever sees half a file or one with the wrong mode.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rustix::fs::{Gid, Mode, Uid};
use tidelock_model::effect::{Attributes, Effect, EffectBody};
use tidelock_model::error::Fault;

use super::durable::Late;
use super::undo::Undo;
use super::{Performer, Work};
use crate::machine::cap::entry_of;
use crate::machine::fault::{fault, io};
use crate::machine::folder::{Entry, EntryKind, Folder as _, Opened, Pinned as _};
use crate::machine::names::Who;
use crate::machine::temporary;
use crate::machine::walk::{parts, split};

/// The mode of a new file that asks for none. The process's umask has no say: equal
/// effects give equal files.
const FILE_MODE: u32 = 0o644;
/// The same where its content is made of a secret.
const SECRET_MODE: u32 = 0o600;
/// The mode of a directory that is made on the way.
const FOLDER_MODE: u32 = 0o755;

/// A file that stands beside its place.
pub(super) struct Staged {
    pub(super) path: String,
    pub(super) temporary: OsString,
    /// The directory that it was written to, wherever that is by now.
    pub(super) folder: Arc<Opened>,
    /// What was written: only this very file is renamed.
    pub(super) entry: Entry,
    pub(super) bytes: u64,
}

impl Staged {
    /// Removes a staged file that is not wanted any more: from the directory that it was
    /// written to, since by now its path may lead elsewhere, or nowhere.
    pub(super) fn discard(&self) {
        if let Err(error) = self.folder.remove_file(&self.temporary) {
            tracing::warn!(path = self.path, %error, "a staged file could not be removed");
        }
    }
}

/// Numbers for [`Attributes`].
pub(super) struct Numbers {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

impl Performer<'_> {
    /// Stages a [`EffectBody::PutFile`].
    pub(super) fn stage(
        &mut self,
        work: &mut Work<'_>,
        index: usize,
        effect: &Effect,
        content: &[u8],
        check: bool,
    ) -> Result<Staged, Fault> {
        let EffectBody::PutFile { path, attributes, parents, .. } = &effect.body else {
            return Err(fault("invalid", "only files are staged"));
        };
        if *parents && self.looker.walker().parent(path)?.0.is_none() {
            // Nothing at all is made for an effect that will be refused.
            if check {
                self.check(effect)?;
            }
            self.make_parents(work, path)?;
        }
        let numbers = self.numbers(attributes)?;
        let (folder, name) = self.looker.walker().existing_parent(path)?;
        let old = folder.look(name).map_err(|error| io("look at", path, &error))?;
        if old.is_some_and(|old| old.kind == EntryKind::Directory) {
            return Err(fault("exists", format!("cannot put a file at {path}: a directory is there")));
        }
        let old = old.filter(|old| old.kind == EntryKind::File);
        let is_secret = work.job.secret.get(index).is_some_and(|secret| *secret);
        let fresh = if is_secret { SECRET_MODE } else { FILE_MODE };
        let numbers = Numbers {
            mode: Some(numbers.mode.or(old.map(|old| old.mode)).unwrap_or(fresh)),
            uid: numbers.uid.or(old.map(|old| old.uid)),
            gid: numbers.gid.or(old.map(|old| old.gid)),
        };
        let temporary = temporary::beside(name)?;
        let entry = write(&folder, &temporary, path, content, &numbers).inspect_err(|_| {
            let _ = folder.remove_file(&temporary);
        })?;
        Ok(Staged { path: path.clone(), temporary, folder, entry, bytes: content.len() as u64 })
    }

    /// Makes the directories above a path that are missing. The grant covers them through
    /// the path that it covers.
    pub(super) fn make_parents(&mut self, work: &mut Work<'_>, path: &str) -> Result<(), Fault> {
        let Some((folder, _)) = split(path) else { return Ok(()) };
        let mut at = String::new();
        let mut above = self.machine.root();
        for part in parts(folder) {
            let before = if at.is_empty() { "/".to_owned() } else { at.clone() };
            at.push('/');
            at.push_str(part);
            let name = OsStr::new(part);
            if above.look(name).map_err(|error| io("look at", &at, &error))?.is_none() {
                let numbers = Numbers { mode: Some(FOLDER_MODE), uid: None, gid: None };
                make_folder(&above, name, &at, &numbers)?;
                if work.job.atomic {
                    work.undo.push(Undo::RemoveFolder { index: work.next - 1, path: at.clone() });
                }
                let index = work.next - 1;
                self.later(work.id, index, Late::Folder(before));
                self.later(work.id, index, Late::Folder(at.clone()));
            }
            above = match self.looker.walker().folder(&at)? {
                Some(folder) => folder,
                None => return Err(fault("not-a-directory", format!("cannot write {path}: {at} is no directory"))),
            };
        }
        Ok(())
    }

    /// Owner and group as numbers.
    pub(super) fn numbers(&self, attributes: &Attributes) -> Result<Numbers, Fault> {
        if let Some(mode) = attributes.mode.filter(|mode| *mode > 0o7777) {
            return Err(fault("invalid", format!("{mode:o} is not a mode; permission bits end at 7777")).at("/mode"));
        }
        let names = self.looker.names();
        Ok(Numbers {
            mode: attributes.mode,
            uid: attributes.owner.as_deref().map(|owner| names.required(Who::User, owner)).transpose()?,
            gid: attributes.group.as_deref().map(|group| names.required(Who::Group, group)).transpose()?,
        })
    }
}

/// Makes a directory with its attributes.
pub(super) fn make_folder(folder: &Arc<Opened>, name: &OsStr, path: &str, numbers: &Numbers) -> Result<(), Fault> {
    let failed = |error: std::io::Error| io("make directory", path, &error);
    folder.make_folder(name).map_err(failed)?;
    let pinned = folder.pin(name).map_err(failed)?;
    let made = pinned.look().map_err(failed)?;
    if made.kind != EntryKind::Directory || made.mode & 0o777 != 0o700 || made.uid != nix::unistd::geteuid().as_raw() {
        return Err(fault("changed", format!("{path} was swapped for something else while it was made")));
    }
    set(&pinned, &made, numbers).map_err(failed)
}

/// Sets attributes, owner first: chown(2) takes set-user-id bits away.
pub(super) fn set(
    pinned: &impl crate::machine::folder::Pinned,
    now: &Entry,
    numbers: &Numbers,
) -> Result<(), std::io::Error> {
    let (uid, gid) = (numbers.uid.filter(|uid| *uid != now.uid), numbers.gid.filter(|gid| *gid != now.gid));
    if uid.is_some() || gid.is_some() {
        pinned.set_owner(uid, gid)?;
    }
    // Always, where asked: bits that the file system adds by itself go too.
    numbers.mode.map_or(Ok(()), |mode| pinned.set_mode(mode))
}

/// Writes a new file.
fn write(folder: &Opened, name: &OsStr, path: &str, content: &[u8], numbers: &Numbers) -> Result<Entry, Fault> {
    let failed = |error: std::io::Error| io("write", path, &error);
    let mut file = folder.create_file(name).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    let made = entry_of(&file).map_err(failed)?;
    let (uid, gid) = (numbers.uid.filter(|uid| *uid != made.uid), numbers.gid.filter(|gid| *gid != made.gid));
    if uid.is_some() || gid.is_some() {
        rustix::fs::fchown(file.as_fd(), uid.map(Uid::from_raw), gid.map(Gid::from_raw))
            .map_err(|errno| io("give an owner to", path, &errno.into()))?;
    }
    if let Some(mode) = numbers.mode {
        rustix::fs::fchmod(file.as_fd(), Mode::from_raw_mode(mode))
            .map_err(|errno| io("set the mode of", path, &errno.into()))?;
    }
    Ok(made)
}
