//! From staged to in place: make durable, validate, compare what is there, rename.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::time::Duration;

use tidelock_model::effect::{Effect, EffectBody};
use tidelock_model::error::Fault;
use tidelock_model::grant::Access;
use tidelock_model::run::EffectEnd;

use super::durable::Late;
use super::undo::Undo;
use super::{Performer, Queued, Work};
use crate::machine::command::{self, Order};
use crate::machine::fault::{fault, io};
use crate::machine::folder::{Entry, EntryKind, Folder as _, Opened};
use crate::machine::temporary;
use crate::machine::walk::split;

impl Performer<'_> {
    /// Brings the queues of groups to their end.
    pub(super) fn settle(&mut self, works: &mut [Work<'_>]) {
        self.staged = 0;
        self.staged_bytes = 0;
        self.staged_folders.clear();
        // Handles from before may be of directories that were moved since.
        self.looker.walker().forget();
        let mut places = vec![];
        let mut files = vec![];
        for (w, work) in works.iter().enumerate() {
            for (q, queued) in work.queue.iter().enumerate() {
                if let Some(staged) = &queued.staged {
                    places.push((w, q));
                    files.push((staged.path.as_str(), staged.temporary.as_os_str()));
                }
            }
        }
        let mut faults: BTreeMap<usize, BTreeMap<usize, Fault>> = BTreeMap::new();
        for (i, fault) in self.flush_staged(&files) {
            let (w, q) = places[i];
            faults.entry(w).or_default().insert(q, fault);
        }
        for (w, work) in works.iter_mut().enumerate().filter(|(_, work)| !work.queue.is_empty()) {
            self.commit(work, faults.remove(&w).unwrap_or_default());
        }
    }

    /// Performs a group's queue in order, as far as it goes. `faults` are those of staged
    /// files that could not be made durable, by their place in the queue.
    fn commit(&mut self, work: &mut Work<'_>, mut faults: BTreeMap<usize, Fault>) {
        if self.right.is_over() {
            self.fail(work, None);
            return;
        }
        let effects = &work.job.effects;
        let sets = validate_sets(effects, &work.queue);
        self.compare_ahead(work, &sets, &mut faults);
        for set in &sets {
            // Files of which one is known to be refused are not worth a question.
            if set.members.iter().any(|q| faults.contains_key(q)) || work.is_cut_short(set.argv) {
                continue;
            }
            if let Err(fault) = self.validate(set, &work.queue) {
                faults.extend(set.members.iter().map(|q| (*q, fault.clone())));
            }
        }
        let stop = if work.job.atomic && !faults.is_empty() { Some(0) } else { first_stop(work, &sets, &faults) };
        let mut culprit = faults.first_key_value().map(|(q, fault)| (work.queue[*q].index, fault.clone()));
        let mut stopped = false;
        for (q, queued) in work.take_queue().into_iter().enumerate() {
            let index = queued.index;
            // Asked before each: whoever was frozen in between must not go on.
            stopped |= stop.is_some_and(|stop| stop <= q) || self.right.is_anothers();
            if !stopped {
                match self.put(work, &queued, &effects[index]) {
                    Ok(()) => {
                        work.ends[index] = EffectEnd::Done;
                        continue;
                    }
                    Err(fault) => {
                        stopped = true;
                        culprit = Some((index, fault.clone()));
                        faults.insert(q, fault);
                    }
                }
            }
            if let Some(fault) = faults.remove(&q) {
                work.ends[index] = EffectEnd::Failed { fault };
            }
            if let Some(staged) = &queued.staged {
                staged.discard();
            }
        }
        // A fault from before the queue was complete comes after all that the queue holds.
        let culprit = culprit.or_else(|| work.culprit.take());
        if stopped || culprit.is_some() {
            self.fail(work, culprit);
        }
    }

    /// Compares preconditions before anything is renamed, where a late refusal would leave
    /// half of what belongs together.
    fn compare_ahead(&mut self, work: &mut Work<'_>, sets: &[Set<'_>], faults: &mut BTreeMap<usize, Fault>) {
        let together: Vec<usize> = if work.job.atomic {
            (0..work.queue.len()).collect()
        } else {
            sets.iter().flat_map(|set| set.members.iter().copied()).collect()
        };
        for q in together {
            let queued = &mut work.queue[q];
            if std::mem::take(&mut queued.check)
                && !faults.contains_key(&q)
                && let Err(fault) = self.check(&work.job.effects[queued.index])
            {
                faults.insert(q, fault);
            }
        }
    }

    /// Asks a command about staged files.
    fn validate(&mut self, set: &Set<'_>, queue: &[Queued]) -> Result<(), Fault> {
        let real = &*self.machine.real;
        let staged: Vec<String> = set
            .members
            .iter()
            .filter_map(|q| queue[*q].staged.as_ref())
            .map(|staged| {
                let folder = split(&staged.path).map_or("", |(folder, _)| folder.trim_matches('/'));
                real.join(folder).join(&staged.temporary).to_string_lossy().into_owned()
            })
            .collect();
        let mut words = vec![];
        for word in set.argv {
            if word.contains("%s") {
                words.extend(staged.iter().map(|path| word.replace("%s", path)));
            } else {
                words.push(word.clone());
            }
        }
        let start = self.machine.root().start_path().unwrap_or_else(|| real.clone());
        let report = command::run(Order {
            argv: &words,
            env: &[],
            root: &real.to_string_lossy(),
            start,
            timeout: Duration::from_millis(self.machine.options.validate_ms.into()),
            looks: false,
            cancel: None,
            output: self.machine.options.output,
        })?;
        report.check(&words).map_err(|refused| {
            let paths: Vec<&str> =
                set.members.iter().filter_map(|q| queue[*q].staged.as_ref()).map(|staged| &*staged.path).collect();
            fault(
                "validate",
                format!("{} did not validate and nothing was put in place: {}", paths.join(", "), refused.message),
            )
        })
    }

    /// Performs one queued effect.
    fn put(&mut self, work: &mut Work<'_>, queued: &Queued, effect: &Effect) -> Result<(), Fault> {
        if queued.check {
            self.check(effect)?;
        }
        let (Some(staged), EffectBody::PutFile { backup, .. }) = (&queued.staged, &effect.body) else {
            return self.act(work, queued.index, effect);
        };
        let path = staged.path.as_str();
        let (folder, name) = self.looker.walker().existing_parent(path)?;
        let failed = |error: std::io::Error| io("put", path, &error);
        if !folder.look(&staged.temporary).map_err(failed)?.is_some_and(|found| found.same_file(&staged.entry)) {
            return Err(fault("changed", format!("the staged file of {path} was taken away or replaced")));
        }
        let old = folder.look(name).map_err(failed)?;
        if old.is_some_and(|old| old.kind == EntryKind::Directory) {
            return Err(fault("exists", format!("cannot put a file at {path}: a directory is there")));
        }
        if let (Some(suffix), Some(old)) = (backup, &old) {
            let suffix = self.free_suffix(&folder, name, suffix, path, &effect.plugin)?;
            keep_backup(&folder, name, old, &suffix, path, self.machine.options.fsync)?;
        }
        self.replace(work, queued.index, &folder, name, path, &staged.temporary, &staged.entry)?;
        Ok(())
    }

    /// The suffix itself, or the first of `suffix.1`, `suffix.2`, ... under which nothing
    /// is: a backup never takes the place of a file, be it an older backup.
    fn free_suffix(
        &self,
        folder: &Opened,
        name: &OsStr,
        suffix: &str,
        path: &str,
        plugin: &str,
    ) -> Result<String, Fault> {
        let numbered = (1..=MAX_BACKUPS).map(|number| format!("{suffix}.{number}"));
        for candidate in std::iter::once(suffix.to_owned()).chain(numbered) {
            let mut kept = name.to_os_string();
            kept.push(&candidate);
            let shown = format!("{path}{candidate}");
            if folder.look(&kept).map_err(|error| io("look at", &shown, &error))?.is_none() {
                let grant = self.machine.grant(plugin);
                grant.map_or(Ok(()), |grant| grant.decide(Access::Write(&shown)))?;
                return Ok(candidate);
            }
        }
        Err(fault("exists", format!("{path} has {MAX_BACKUPS} backups under {suffix:?}; take some away")))
    }

    /// Renames over what is there. An atomic group keeps that under another name.
    #[expect(clippy::too_many_arguments, reason = "a rename has two ends, and the effect that it is for")]
    pub(super) fn replace(
        &mut self,
        work: &mut Work<'_>,
        index: usize,
        folder: &Opened,
        name: &OsStr,
        path: &str,
        temporary: &OsStr,
        entry: &Entry,
    ) -> Result<(), Fault> {
        let failed = |error: std::io::Error| io("put", path, &error);
        let undo = if !work.job.atomic {
            None
        } else if folder.look(name).map_err(failed)?.is_some() {
            let keep = temporary::beside(name)?;
            // Not every file system has second names; moving leaves a moment without the file.
            folder.second_name(name, &keep).or_else(|_| folder.rename(name, &keep)).map_err(failed)?;
            Some(Undo::Restore { index, path: path.to_owned(), keep })
        } else {
            Some(Undo::Unlink { index, path: path.to_owned(), entry: *entry })
        };
        if let Err(error) = folder.rename(temporary, name) {
            if let Some(Undo::Restore { keep, .. }) = &undo {
                let _ = folder.rename(keep, name);
                // A rename between two names of one file does nothing.
                let _ = folder.remove_file(keep);
            }
            return Err(failed(error));
        }
        work.undo.extend(undo);
        let above = split(path).map_or("/", |(above, _)| above);
        self.later(work.id, index, Late::Folder(above.to_owned()));
        Ok(())
    }
}

/// Backups of one file under one suffix.
const MAX_BACKUPS: usize = 99;

/// Queued files that one command must pass.
struct Set<'e> {
    argv: &'e [String],
    /// Places in the queue, in order.
    members: Vec<usize>,
}

fn validate_sets<'e>(effects: &'e [Effect], queue: &[Queued]) -> Vec<Set<'e>> {
    let mut sets: Vec<Set<'_>> = vec![];
    for (q, queued) in queue.iter().enumerate() {
        if let Some(argv) = validation(&effects[queued.index]) {
            match sets.iter_mut().find(|set| set.argv == argv) {
                Some(set) => set.members.push(q),
                None => sets.push(Set { argv, members: vec![q] }),
            }
        }
    }
    sets
}

fn validation(effect: &Effect) -> Option<&[String]> {
    match &effect.body {
        EffectBody::PutFile { validate, .. } => validate.as_deref(),
        _ => None,
    }
}

/// The place in the queue from which nothing is performed. None of a set is renamed
/// unless all of it can be, so a set fails where it begins.
fn first_stop(work: &Work<'_>, sets: &[Set<'_>], faults: &BTreeMap<usize, Fault>) -> Option<usize> {
    let of_sets = sets
        .iter()
        .filter(|set| work.is_cut_short(set.argv) || set.members.iter().any(|q| faults.contains_key(q)))
        .map(|set| set.members[0]);
    faults.keys().copied().chain(of_sets).min()
}

impl Work<'_> {
    /// Whether files that a command was to judge together with the queued ones were never
    /// staged.
    fn is_cut_short(&self, argv: &[String]) -> bool {
        self.culprit
            .as_ref()
            .is_some_and(|(index, _)| self.job.effects[*index..].iter().any(|effect| validation(effect) == Some(argv)))
    }
}

/// Keeps what is there under a suffix.
fn keep_backup(folder: &Opened, name: &OsStr, old: &Entry, suffix: &str, path: &str, fsync: bool) -> Result<(), Fault> {
    let mut kept = name.to_os_string();
    kept.push(suffix);
    let shown = format!("{path}{suffix}");
    let failed = |error: std::io::Error| io("keep a backup at", &shown, &error);
    let temporary = temporary::beside(&kept)?;
    let result = folder
        .second_name(name, &temporary)
        .or_else(|error| if old.kind == EntryKind::File { copy(folder, name, &temporary, fsync) } else { Err(error) })
        .and_then(|()| folder.rename(&temporary, &kept));
    // After a rename between two names of one file the temporary one is still there.
    let _ = folder.remove_file(&temporary);
    result.map_err(failed)
}

/// Copies a file with its owner and mode.
fn copy(folder: &Opened, from: &OsStr, to: &OsStr, fsync: bool) -> std::io::Result<()> {
    let mut source = folder.open_file(from)?;
    let entry = crate::machine::cap::entry_of(&source)?;
    let mut file = folder.create_file(to)?;
    std::io::copy(&mut source, &mut file)?;
    std::os::unix::fs::fchown(&file, Some(entry.uid), Some(entry.gid))?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(entry.mode))?;
    if fsync { file.sync_all() } else { Ok(()) }
}
