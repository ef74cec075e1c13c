//! Effects that are no files: attributes, directories, links, removals, commands.

use std::path::Path;
use std::time::Duration;

use tidelock_model::effect::{Attributes, Effect, EffectBody, Precondition};
use tidelock_model::error::Fault;
use tidelock_model::network::{NetworkEffect, ObjectName};
use tidelock_model::run::Lost;

use super::durable::Late;
use super::stage::{make_folder, set};
use super::undo::Undo;
use super::{Performer, Work, tree};
use crate::machine::command::{self, Order};
use crate::machine::fault::{fault, io};
use crate::machine::folder::{EntryKind, Folder as _, Pinned as _};
use crate::machine::preview::not_here;
use crate::machine::temporary;
use crate::machine::walk::split;

/// The mode of a new directory that asks for none.
const FOLDER_MODE: u32 = 0o755;

impl Performer<'_> {
    /// Performs an effect at once.
    pub(super) fn act(&mut self, work: &mut Work<'_>, index: usize, effect: &Effect) -> Result<(), Fault> {
        match &effect.body {
            EffectBody::SetAttributes { path, attributes } => self.set_attributes(work, index, path, attributes),
            EffectBody::MakeDirectory { path, attributes, parents } => {
                self.make_directory(work, index, path, attributes, *parents)
            }
            EffectBody::Link { path, to } => self.link(work, index, path, to),
            EffectBody::Remove { path, tree } => self.remove(work, index, effect, path, *tree),
            EffectBody::Exec { argv, cwd, env, timeout_ms } => {
                self.exec(argv, cwd.as_deref(), env, Duration::from_millis((*timeout_ms).into()))
            }
            EffectBody::PutFile { path, .. } => Err(fault("invalid", format!("{path} was not staged"))),
            EffectBody::Sql(_) | EffectBody::Dns(_) => Err(not_here(effect)),
            EffectBody::Network(network) => self.network_effect(work, index, effect, network),
        }
    }

    fn network_effect(
        &mut self,
        work: &mut Work<'_>,
        index: usize,
        effect: &Effect,
        network: &NetworkEffect,
    ) -> Result<(), Fault> {
        // What this group itself wrote is no longer as it was when it was looked at.
        let fresh = work.objects.insert(network.object());
        let before = match &effect.precondition {
            Some(Precondition::Network { object, .. }) if fresh => Some(object),
            _ => None,
        };
        let keys = self.keys;
        let mut made = work.job.effects[index..].iter().filter_map(|later| match &later.body {
            EffectBody::Network(later) => later.makes_link(),
            _ => None,
        });
        if let NetworkEffect::Remove { object: ObjectName::Link { name } } = network
            && made.any(|link| link.name == *name)
        {
            self.visit()?.made_anew(name, &[])?;
        }
        let told = self.visit()?.perform(network, before, keys)?;
        work.lost.extend(told.into_iter().map(|what| Lost { effect: index, what }));
        if let (true, Some(EffectBody::Network(inverse))) = (work.job.atomic, effect.inverse.as_deref()) {
            work.undo.push(Undo::Network { index, inverse: inverse.clone() });
        }
        Ok(())
    }

    fn set_attributes(
        &mut self,
        work: &mut Work<'_>,
        index: usize,
        path: &str,
        attributes: &Attributes,
    ) -> Result<(), Fault> {
        let numbers = self.numbers(attributes)?;
        let (folder, name) = self.looker.walker().existing_parent(path)?;
        let failed = |error: std::io::Error| io("set the attributes of", path, &error);
        let pinned = folder.pin(name).map_err(failed)?;
        let entry = pinned.look().map_err(failed)?;
        if entry.kind == EntryKind::Symlink {
            return Err(fault("symlink", format!("{path} is a symbolic link; links have no attributes of their own")));
        }
        // Under another name the same file may lie outside of every grant: whoever may make
        // names here could have chosen it. Putting the file anew makes one of its own.
        if entry.kind != EntryKind::Directory && entry.links > 1 {
            let message =
                format!("{path} has {} names (hard links); setting its attributes would change all", entry.links);
            return Err(fault("hard-link", message).hint("put the file anew, which gives it a name of its own"));
        }
        if work.job.atomic {
            work.undo.push(Undo::Attributes { index, path: path.to_owned(), entry });
        }
        set(&pinned, &entry, &numbers).map_err(failed)?;
        let late = if entry.kind == EntryKind::Directory {
            Late::Folder(path.to_owned())
        } else {
            Late::File(path.to_owned())
        };
        self.later(work.id, index, late);
        Ok(())
    }

    fn make_directory(
        &mut self,
        work: &mut Work<'_>,
        index: usize,
        path: &str,
        attributes: &Attributes,
        parents: bool,
    ) -> Result<(), Fault> {
        let numbers = self.numbers(attributes)?;
        if parents && self.looker.walker().parent(path)?.0.is_none() {
            self.make_parents(work, path)?;
        }
        let (folder, name) = self.looker.walker().existing_parent(path)?;
        match folder.look(name).map_err(|error| io("look at", path, &error))?.map(|entry| entry.kind) {
            None => {}
            Some(EntryKind::Directory) => return self.set_attributes(work, index, path, attributes),
            Some(EntryKind::Symlink) => {
                return Err(fault("exists", format!("cannot make directory {path}: a symbolic link is there")));
            }
            Some(_) => return Err(fault("exists", format!("cannot make directory {path}: a file is there"))),
        }
        let numbers = super::stage::Numbers { mode: Some(numbers.mode.unwrap_or(FOLDER_MODE)), ..numbers };
        let made = make_folder(&folder, name, path, &numbers);
        if made.is_err() {
            // Only what is empty goes, so nothing of anybody else's.
            let _ = folder.remove_folder(name);
        }
        made?;
        if work.job.atomic {
            work.undo.push(Undo::RemoveFolder { index, path: path.to_owned() });
        }
        let above = split(path).map_or("/", |(above, _)| above);
        self.later(work.id, index, Late::Folder(above.to_owned()));
        self.later(work.id, index, Late::Folder(path.to_owned()));
        Ok(())
    }

    fn link(&mut self, work: &mut Work<'_>, index: usize, path: &str, to: &str) -> Result<(), Fault> {
        if to.is_empty() || to.contains('\0') || to.len() > 4095 {
            return Err(fault("invalid", format!("{to:?} cannot be the text of a link")).at("/to"));
        }
        let (folder, name) = self.looker.walker().existing_parent(path)?;
        let failed = |error: std::io::Error| io("make the link", path, &error);
        match folder.look(name).map_err(failed)?.map(|entry| entry.kind) {
            None | Some(EntryKind::Symlink) => {}
            Some(EntryKind::Directory) => {
                return Err(fault("exists", format!("cannot make the link {path}: a directory is there")));
            }
            Some(_) => return Err(fault("exists", format!("cannot make the link {path}: a file is there"))),
        }
        let temporary = temporary::beside(name)?;
        folder.make_link(&temporary, to).map_err(failed)?;
        let made = folder
            .look(&temporary)
            .map_err(failed)?
            .ok_or_else(|| fault("changed", format!("the staged link of {path} was taken away")).retryable())?;
        self.replace(work, index, &folder, name, path, &temporary, &made).inspect_err(|_| {
            let _ = folder.remove_file(&temporary);
        })
    }

    fn remove(
        &mut self,
        work: &mut Work<'_>,
        index: usize,
        effect: &Effect,
        path: &str,
        tree: bool,
    ) -> Result<(), Fault> {
        let (Some(folder), name) = self.looker.walker().parent(path)? else { return Ok(()) };
        let failed = |error: std::io::Error| io("remove", path, &error);
        let Some(entry) = folder.look(name).map_err(failed)? else { return Ok(()) };
        let directory = entry.kind == EntryKind::Directory;
        if directory && tree {
            tree::check(&folder, name, path, self.grant(effect)?)?;
        }
        if work.job.atomic {
            if directory && !tree && !folder.enter(name).and_then(|inside| inside.names()).map_err(failed)?.is_empty() {
                return Err(failed(rustix::io::Errno::NOTEMPTY.into()));
            }
            let keep = temporary::beside(name)?;
            folder.rename(name, &keep).map_err(failed)?;
            work.undo.push(Undo::Restore { index, path: path.to_owned(), keep });
        } else if directory && tree {
            tree::remove(&folder, name, path)?;
        } else if directory {
            folder.remove_folder(name).map_err(failed)?;
        } else {
            folder.remove_file(name).map_err(failed)?;
        }
        if directory {
            self.looker.walker().forget();
        }
        let above = split(path).map_or("/", |(above, _)| above);
        self.later(work.id, index, Late::Folder(above.to_owned()));
        Ok(())
    }

    fn exec(
        &mut self,
        argv: &[String],
        cwd: Option<&str>,
        env: &[(String, String)],
        timeout: Duration,
    ) -> Result<(), Fault> {
        let cwd = cwd.unwrap_or("/");
        let folder = self.looker.walker().folder(cwd)?;
        let folder =
            folder.ok_or_else(|| fault("not-found", format!("cannot start in {cwd}: no directory is there")))?;
        let real: &Path = &self.machine.real;
        let start = folder.start_path().unwrap_or_else(|| real.join(cwd.trim_start_matches('/')));
        let order = Order {
            argv,
            env,
            root: &real.to_string_lossy(),
            start,
            timeout,
            looks: false,
            cancel: None,
            output: self.machine.options.output,
        };
        let namespace = self.machine.network.namespace();
        let ended = namespace.enter(|| command::run(order)).and_then(|report| report.check(argv));
        // It may have moved directories and made users, also where it failed.
        self.looker.start_anew()?;
        ended
    }
}
