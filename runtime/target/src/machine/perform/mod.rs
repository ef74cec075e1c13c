//! Performing effects: the only module of a machine that writes.
//!
//! Groups do not depend on each other, so their files are written beside their places
//! (`stage`), made durable together (`durable`) and then renamed, group by group
//! (`commit`); what is not a file is done in its turn (`act`). A group that must happen
//! as a whole keeps what it replaced until its end (`undo`).
//!
//! All of it runs on a thread of its own. When nobody waits for the answer any more,
//! or the lease may be another's, nothing further is begun; what was begun ends, and files not
//! yet renamed are removed.

mod act;
mod commit;
mod durable;
mod stage;
pub(super) mod tree;
mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelock_model::digest::Digest;
use tidelock_model::effect::{Effect, EffectBody, PathState, Precondition};
use tidelock_model::error::{Blame, Fault, tame};
use tidelock_model::grant::{Access, Grant, ungranted};
use tidelock_model::network::ObjectName;
use tidelock_model::plan::Group;
use tidelock_model::port::{Blobs, Until};
use tidelock_model::run::{EffectEnd, Lost, Outcome};
use tokio::sync::mpsc;

use self::durable::Late;
use self::stage::Staged;
use self::undo::Undo;
use super::Machine;
use super::fault::fault;
use super::folder::Opened;
use super::look::Looker;
use crate::network::{Keys, Visit};
use crate::right::Right;

/// Contents on their way to the thread that writes.
const CONTENTS_AHEAD: usize = 8;
/// Staged bytes after which files are renamed, however few they are.
const BATCH_BYTES: u64 = 256 << 20;
/// Directories of staged files that are held open, after which files are renamed: far
/// below the 1024 handles that a process has where nobody allows it more.
const BATCH_FOLDERS: usize = 256;

/// A group without its words for people.
struct Job {
    atomic: bool,
    effects: Vec<Effect>,
    /// Of each effect, whether its content is made of a secret.
    secret: Vec<bool>,
}

/// A content, and the group and effect that it is for.
type Delivery = (usize, usize, Result<Vec<u8>, Fault>);

/// See [`tidelock_model::port::Target::perform`].
pub(super) async fn perform(
    machine: &Machine,
    run: &str,
    groups: &[Group],
    blobs: &dyn Blobs,
    until: &Until,
) -> Vec<Outcome> {
    let jobs: Vec<Job> = groups
        .iter()
        .map(|group| Job {
            atomic: group.atomic,
            effects: group.effects.iter().map(|planned| planned.effect.clone()).collect(),
            secret: group.effects.iter().map(|planned| holds_secret(&planned.effect.body, blobs)).collect(),
        })
        .collect();
    let (sender, receiver) = mpsc::channel(CONTENTS_AHEAD);
    let machine = machine.clone();
    let (right, _waiting) = Right::under(until);
    let keys = keys(groups, blobs);
    // A thread of its own: it may go into the machine's network, and stays there.
    let work = move || Performer::perform(&machine, &jobs, receiver, &keys, &right);
    let worker = tokio::task::spawn_blocking(|| {
        let joined = std::thread::scope(|scope| scope.spawn(work).join());
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    deliver(groups, blobs, sender).await;
    let ends = match worker.await {
        Ok(ends) => ends,
        Err(error) => {
            let why = format!("the thread that performed it ended early: {error}");
            let unknown = |group: &Group| vec![EffectEnd::Unknown { why: why.clone() }; group.effects.len()];
            groups.iter().map(|group| (unknown(group), vec![])).collect()
        }
    };
    let outcome =
        |(group, (effects, lost)): (&Group, _)| Outcome { run: run.to_owned(), group: group.id, effects, lost };
    groups.iter().zip(ends).map(outcome).collect()
}

fn holds_secret(body: &EffectBody, blobs: &dyn Blobs) -> bool {
    matches!(body, EffectBody::PutFile { content, .. } if blobs.is_secret(content))
}

/// The values of the secrets that effects on a network name.
fn keys(groups: &[Group], blobs: &dyn Blobs) -> Keys {
    let effects = groups.iter().flat_map(|group| &group.effects).map(|planned| &planned.effect.body);
    let named = effects.filter_map(|body| match body {
        EffectBody::Network(effect) => Some(effect.secrets()),
        _ => None,
    });
    named.flatten().map(|name| (name.clone(), blobs.secret(name))).collect()
}

/// Hands over contents in the order in which they are needed, a few ahead.
async fn deliver(groups: &[Group], blobs: &dyn Blobs, sender: mpsc::Sender<Delivery>) {
    for (g, group) in groups.iter().enumerate() {
        for (e, planned) in group.effects.iter().enumerate() {
            if let EffectBody::PutFile { content, .. } = &planned.effect.body
                && sender.send((g, e, blobs.read(content))).await.is_err()
            {
                return;
            }
        }
    }
}

/// A group under way.
struct Work<'j> {
    /// Its place in the call.
    id: usize,
    job: &'j Job,
    ends: Vec<EffectEnd>,
    /// What effects took along that they were to keep.
    lost: Vec<Lost>,
    /// The next effect to begin.
    next: usize,
    /// Nothing further is begun.
    over: bool,
    /// What ended it, while effects from before still wait to be performed.
    culprit: Option<(usize, Fault)>,
    /// Effects that wait for the files before them to be renamed, in order.
    queue: Vec<Queued>,
    /// The paths of the queue.
    queued_paths: BTreeSet<String>,
    /// Paths that this group wrote or is about to.
    written: BTreeSet<String>,
    /// Paths that this group removed or is about to.
    removed: BTreeSet<String>,
    /// Objects of the network that this group wrote.
    objects: BTreeSet<ObjectName>,
    /// What takes back what an atomic group did, in order of the doing.
    undo: Vec<Undo>,
}

/// An effect that waits for its turn.
struct Queued {
    index: usize,
    /// Whether its precondition is still to be compared.
    check: bool,
    /// The file that stands beside its place; `None` for effects that are no files.
    staged: Option<Staged>,
}

/// Performs the groups of one call.
struct Performer<'m> {
    machine: &'m Machine,
    looker: Looker<'m>,
    contents: mpsc::Receiver<Delivery>,
    keys: &'m Keys,
    right: &'m Right,
    /// What must be made durable before the end, and which effects rest on it.
    late: BTreeMap<Late, Vec<(usize, usize)>>,
    staged: usize,
    staged_bytes: u64,
    /// The directories that staged files hold open; neighbours share one.
    staged_folders: Vec<Arc<Opened>>,
    /// The visit to the network, once an effect is about it.
    visit: Option<Visit>,
}

impl<'m> Performer<'m> {
    fn perform(
        machine: &'m Machine,
        jobs: &[Job],
        contents: mpsc::Receiver<Delivery>,
        keys: &'m Keys,
        right: &'m Right,
    ) -> Vec<(Vec<EffectEnd>, Vec<Lost>)> {
        let mut works: Vec<Work<'_>> = jobs.iter().enumerate().map(|(id, job)| Work::new(id, job)).collect();
        match Looker::new(machine) {
            Ok(looker) => {
                let late = BTreeMap::new();
                let staged_folders = vec![];
                let (staged, staged_bytes, visit) = (0, 0, None);
                Performer { machine, looker, contents, keys, right, late, staged, staged_bytes, staged_folders, visit }
                    .run(&mut works);
            }
            Err(fault) => {
                for work in works.iter_mut().filter(|work| !work.ends.is_empty()) {
                    work.ends[0] = EffectEnd::Failed { fault: fault.clone() };
                }
            }
        }
        works.into_iter().map(|work| (work.ends, work.lost)).collect()
    }

    fn run(&mut self, works: &mut [Work<'_>]) {
        let mut first_pending = 0;
        for current in 0..works.len() {
            while !self.advance(&mut works[current]) {
                self.settle(&mut works[first_pending..=current]);
                first_pending = current;
            }
            if self.staged >= self.machine.options.batch
                || self.staged_bytes >= BATCH_BYTES
                || self.staged_folders.len() >= BATCH_FOLDERS
            {
                self.settle(&mut works[first_pending..=current]);
                first_pending = current + 1;
            }
        }
        self.settle(&mut works[first_pending..]);
        for work in works.iter_mut() {
            self.forget_undo(work);
        }
        self.flush_late(works);
    }

    /// Begins effects until the group's end (true), or until one must wait for the queue.
    fn advance(&mut self, work: &mut Work<'_>) -> bool {
        let effects = &work.job.effects;
        while !work.over && work.next < effects.len() {
            let (index, effect) = (work.next, &effects[work.next]);
            if self.right.is_over() {
                self.fail(work, None);
                break;
            }
            let waits = match &effect.body {
                // A command may rest on all before it.
                EffectBody::Exec { .. } | EffectBody::Network(_) => !work.queue.is_empty(),
                EffectBody::PutFile { path, .. } | EffectBody::MakeDirectory { path, .. } => work.is_queued_near(path),
                _ => false,
            };
            if waits {
                return false;
            }
            work.next += 1;
            if let Err(fault) = self.begin(work, index, effect) {
                if work.job.atomic || work.queue.is_empty() {
                    self.fail(work, Some((index, fault)));
                } else {
                    // In a sequence, what came before is still performed.
                    work.over = true;
                    work.culprit = Some((index, fault));
                }
            }
        }
        true
    }

    /// Stages a file, queues what must come after files, and performs anything else.
    fn begin(&mut self, work: &mut Work<'_>, index: usize, effect: &Effect) -> Result<(), Fault> {
        let content = match effect.body {
            EffectBody::PutFile { .. } => Some(self.content(work.id, index)),
            _ => None,
        };
        self.grant(effect)?;
        // What this group itself wrote is no longer as it was when it was looked at.
        let check = effect
            .precondition
            .as_ref()
            .is_some_and(|before| before.path().is_none_or(|(path, _)| !work.has_changed(path)));
        let staged = match (&effect.body, content) {
            (EffectBody::PutFile { content: digest, .. }, Some(content)) => {
                let content = content?;
                verify(digest, &content)?;
                Some(self.stage(work, index, effect, &content, check)?)
            }
            _ => None,
        };
        let queue_it = match &effect.body {
            EffectBody::PutFile { .. } => true,
            EffectBody::MakeDirectory { .. } | EffectBody::Exec { .. } | EffectBody::Network(_) => false,
            // In an atomic group everything waits until every file has been staged.
            _ => work.job.atomic || !work.queue.is_empty(),
        };
        work.note(&effect.body, queue_it);
        if queue_it {
            if let Some(staged) = &staged {
                self.staged += 1;
                self.staged_bytes += staged.bytes;
                if !self.staged_folders.last().is_some_and(|last| Arc::ptr_eq(last, &staged.folder)) {
                    self.staged_folders.push(Arc::clone(&staged.folder));
                }
            }
            work.queue.push(Queued { index, check, staged });
            return Ok(());
        }
        if check {
            self.check(effect)?;
        }
        self.act(work, index, effect)?;
        work.ends[index] = EffectEnd::Done;
        Ok(())
    }

    /// Ends a group: what is queued goes, and an atomic group is taken back.
    fn fail(&mut self, work: &mut Work<'_>, culprit: Option<(usize, Fault)>) {
        work.over = true;
        for queued in work.take_queue() {
            if let Some(staged) = queued.staged {
                staged.discard();
            }
        }
        let why = match &culprit {
            Some((index, fault)) => {
                format!("taken back, since `{}` failed: {}", work.job.effects[*index].body.summary(), fault.message)
            }
            None => "taken back, since the run was given up".to_owned(),
        };
        if let Some((index, fault)) = culprit {
            work.ends[index] = EffectEnd::Failed { fault };
        }
        if work.job.atomic && !self.right.is_anothers() {
            self.take_back(work, &why);
        }
    }

    /// The next content, which is the one for this effect: those of effects that were
    /// never begun are passed over.
    fn content(&mut self, group: usize, effect: usize) -> Result<Vec<u8>, Fault> {
        while let Some((g, e, content)) = self.contents.blocking_recv() {
            if (g, e) == (group, effect) {
                return content;
            }
        }
        Err(fault("cancelled", "the run was given up"))
    }

    fn grant(&self, effect: &Effect) -> Result<&'m Grant, Fault> {
        let grant = self.machine.grant(&effect.plugin).ok_or_else(|| {
            let target = self.machine.name().as_str();
            ungranted(&effect.plugin, target, |nothing| nothing.decide_effect(&effect.body))
        })?;
        grant.decide_effect(&effect.body)?;
        match &effect.precondition {
            Some(Precondition::Path { path, .. }) => grant.decide(Access::Read(path))?,
            Some(Precondition::Network { network, .. }) => grant.decide(Access::Network(network))?,
            Some(Precondition::Rows { .. } | Precondition::Records { .. }) | None => {}
        }
        Ok(grant)
    }

    /// The visit to the network, begun where there is none yet.
    fn visit(&mut self) -> Result<&mut Visit, Fault> {
        if self.visit.is_none() {
            self.visit = Some(self.machine.network.visit()?);
        }
        self.visit.as_mut().ok_or_else(|| fault("io", "the network cannot be reached"))
    }

    /// Compares a precondition with what is there now.
    fn check(&mut self, effect: &Effect) -> Result<(), Fault> {
        let Some(Precondition::Path { path, state }) = &effect.precondition else { return Ok(()) };
        let digest = matches!(state, PathState::File { digest: Some(_), .. });
        let now = self.looker.stat(path, digest)?.state;
        if now == *state || self.is_as_wanted(&effect.body)? {
            return Ok(());
        }
        let message =
            format!("{path} changed since it was looked at: expected {}, found {}", words(state), words(&now));
        Err(fault("changed", message).hint("plan again: the new plan starts from what is there now"))
    }
}

impl Performer<'_> {
    /// Whether a file is by now what an effect would make of it, so that putting it takes nothing
    /// of anybody's away: several resources may need one and the same file.
    fn is_as_wanted(&mut self, body: &EffectBody) -> Result<bool, Fault> {
        let EffectBody::PutFile { path, content, attributes, backup: None, .. } = body else { return Ok(false) };
        let PathState::File { digest, mode, owner, group, .. } = self.looker.stat(path, true)?.state else {
            return Ok(false);
        };
        let fits = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|wanted| wanted == is);
        Ok(digest == Some(*content)
            && attributes.mode.is_none_or(|wanted| wanted == mode)
            && fits(&attributes.owner, &owner)
            && fits(&attributes.group, &group))
    }
}

impl<'j> Work<'j> {
    fn new(id: usize, job: &'j Job) -> Self {
        Self {
            id,
            job,
            ends: vec![EffectEnd::NotReached; job.effects.len()],
            lost: vec![],
            next: 0,
            over: false,
            culprit: None,
            queue: vec![],
            queued_paths: BTreeSet::new(),
            written: BTreeSet::new(),
            removed: BTreeSet::new(),
            objects: BTreeSet::new(),
            undo: vec![],
        }
    }

    fn take_queue(&mut self) -> Vec<Queued> {
        self.queued_paths.clear();
        std::mem::take(&mut self.queue)
    }

    /// Whether an effect that waits is at, above or below a path.
    fn is_queued_near(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.queued_paths.contains(path)
            || ancestors(path).any(|folder| self.queued_paths.contains(folder))
            || self.queued_paths.range(below.clone()..).next().is_some_and(|queued| queued.starts_with(&below))
    }

    /// Whether an earlier effect of this group changed what a path holds.
    fn has_changed(&self, path: &str) -> bool {
        self.written.contains(path)
            || self.removed.contains(path)
            || ancestors(path).any(|folder| self.removed.contains(folder))
    }

    fn note(&mut self, body: &EffectBody, queued: bool) {
        let Some(path) = body.path() else { return };
        match body {
            EffectBody::Remove { .. } => self.removed.insert(path.to_owned()),
            _ => self.written.insert(path.to_owned()),
        };
        if queued {
            self.queued_paths.insert(path.to_owned());
        }
    }
}

/// The directories above a path, without `/`.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| &path[..at])
}

fn verify(digest: &Digest, content: &[u8]) -> Result<(), Fault> {
    let found = Digest::of(content);
    if found == *digest {
        return Ok(());
    }
    let message = format!("the content that was handed over is {} and not {}", found.short(), digest.short());
    Err(Fault::new("corrupt", Blame::Host, message))
}

/// What is at a path, in a few words.
fn words(state: &PathState) -> String {
    match state {
        PathState::Absent => "nothing".to_owned(),
        PathState::File { digest, mode, owner, group, size } => {
            let digest = digest.map(|digest| format!(" {}", digest.short())).unwrap_or_default();
            format!("a file{digest} of {size} bytes, mode {mode:04o}, {owner}:{group}")
        }
        PathState::Directory { mode, owner, group } => format!("a directory, mode {mode:04o}, {owner}:{group}"),
        PathState::Symlink { to } => format!("a symbolic link to {}", tame(to, 300)),
        PathState::Other => "a device, socket or pipe".to_owned(),
    }
}
