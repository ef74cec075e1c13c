//! Taking back what an atomic group did, newest first, and saying honestly what could
//! not be taken back.

use std::ffi::OsString;

use tidelock_model::effect::EffectBody;
use tidelock_model::error::Fault;
use tidelock_model::network::NetworkEffect;
use tidelock_model::run::EffectEnd;

use super::durable::Late;
use super::stage::{Numbers, set};
use super::{Performer, Work, tree};
use crate::machine::fault::{fault, io};
use crate::machine::folder::{Entry, EntryKind, Folder as _, Pinned as _};
use crate::machine::walk::split;
use crate::network::Keys;

/// What takes one step of an effect back.
pub(super) enum Undo {
    /// What was there stands under another name.
    Restore { index: usize, path: String, keep: OsString },
    /// Nothing was there.
    Unlink { index: usize, path: String, entry: Entry },
    /// No directory was there.
    RemoveFolder { index: usize, path: String },
    /// Other attributes were there.
    Attributes { index: usize, path: String, entry: Entry },
    /// Another object of the network was there, or none.
    Network { index: usize, inverse: NetworkEffect },
}

impl Undo {
    fn index(&self) -> usize {
        match self {
            Self::Restore { index, .. }
            | Self::Unlink { index, .. }
            | Self::RemoveFolder { index, .. }
            | Self::Attributes { index, .. }
            | Self::Network { index, .. } => *index,
        }
    }

    fn path(&self) -> Option<&str> {
        match self {
            Self::Network { .. } => None,
            Self::Restore { path, .. }
            | Self::Unlink { path, .. }
            | Self::RemoveFolder { path, .. }
            | Self::Attributes { path, .. } => Some(path),
        }
    }
}

impl Performer<'_> {
    /// Takes back what a failed atomic group did. A command stays `done`: nothing undoes it.
    pub(super) fn take_back(&mut self, work: &mut Work<'_>, why: &str) {
        self.looker.walker().forget();
        for undo in std::mem::take(&mut work.undo).into_iter().rev() {
            let index = undo.index();
            let above = undo.path().map(|path| split(path).map_or("/", |(above, _)| above).to_owned());
            if let Err(fault) = self.take_back_one(&undo) {
                let why = format!("{why}; and it could not be taken back: {fault}");
                work.ends[index] = EffectEnd::Unknown { why };
            }
            if let Some(above) = above {
                self.later(work.id, index, Late::Folder(above));
            }
        }
        for (index, end) in work.ends.iter_mut().enumerate() {
            if *end == EffectEnd::Done && !matches!(work.job.effects[index].body, EffectBody::Exec { .. }) {
                *end = EffectEnd::Failed { fault: fault("undone", why) };
            }
        }
    }

    fn take_back_one(&mut self, undo: &Undo) -> Result<(), Fault> {
        let path = match undo {
            Undo::Network { inverse, .. } => {
                return self.visit()?.perform(inverse, None, &Keys::default()).map(drop);
            }
            undo => undo.path().unwrap_or("/"),
        };
        let (folder, name) = self.looker.walker().existing_parent(path)?;
        let failed = |error: std::io::Error| io("restore", path, &error);
        match undo {
            Undo::Restore { keep, .. } => folder.rename(keep, name).map_err(failed),
            Undo::Unlink { entry, .. } => match folder.look(name).map_err(failed)? {
                None => Ok(()),
                Some(now) if now.same_file(entry) => folder.remove_file(name).map_err(failed),
                Some(_) => Err(fault("changed", format!("{path} was replaced meanwhile"))),
            },
            Undo::RemoveFolder { .. } => folder.remove_folder(name).map_err(failed),
            Undo::Attributes { entry, .. } => {
                let pinned = folder.pin(name).map_err(failed)?;
                let now = pinned.look().map_err(failed)?;
                if !now.same_file(entry) {
                    return Err(fault("changed", format!("{path} was replaced meanwhile")));
                }
                let numbers = Numbers { mode: Some(entry.mode), uid: Some(entry.uid), gid: Some(entry.gid) };
                set(&pinned, &now, &numbers).map_err(failed)
            }
            Undo::Network { .. } => Ok(()),
        }
    }

    /// Removes what a group kept, once it has come to its end. What cannot be removed now
    /// is swept later.
    pub(super) fn forget_undo(&mut self, work: &mut Work<'_>) {
        for undo in std::mem::take(&mut work.undo) {
            let Undo::Restore { path, keep, .. } = undo else { continue };
            let Ok((folder, _)) = self.looker.walker().existing_parent(&path) else { continue };
            let kept = folder.look(&keep).ok().flatten().map(|entry| entry.kind);
            let gone = match kept {
                None => Ok(()),
                Some(EntryKind::Directory) => tree::remove(&folder, &keep, &path),
                Some(_) => folder.remove_file(&keep).map_err(|error| io("remove what was kept of", &path, &error)),
            };
            if let Err(fault) = gone {
                tracing::warn!(%fault, "a leftover stays until it is swept");
            }
        }
    }
}
