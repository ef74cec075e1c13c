//! The first stage: a revision in force, and the lanes that it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelock_model::error::{Diagnostic, Severity};
use tidelock_model::event::RunEvent;
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::{Fetched, LaneRecord, Source, Want};
use tidelock_model::revision::{Revision, Signature, SourceNotice};
use tidelock_model::snippet::Hidden;
use tidelock_model::stack::{Stack, StackPolicy};

use super::guess;
use crate::error::RunError;
use crate::pins::Pins;
use crate::read::resource::with_snippet;
use crate::read::stack;
use crate::runtime::{Runtime, Selection};
use crate::select::{self, Selected};
use crate::trouble;

/// The lanes of a pass, and what was wrong with stacks that are not among them.
#[derive(Default)]
pub(super) struct Lanes {
    pub(super) selected: Vec<Selected>,
    /// Further lanes on the same targets: not planned, but their claims count.
    pub(super) others: Vec<Selected>,
    /// Every stack that could be read.
    pub(super) stacks: Vec<Stack>,
    /// Whether they are all that the source has: nobody chose among stacks or targets.
    pub(super) whole: bool,
    /// Whether all that the selected lanes own is to go.
    pub(super) destroys: bool,
    /// Directories of stacks that could not be read: nobody knows what they claim.
    pub(super) unread: Vec<String>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) errors: Vec<Diagnostic>,
    /// Stacks that are read from an older revision.
    pub(super) pins: Pins,
    /// What counts beside what a stack says of itself: the policies of a base.
    pub(super) before: BTreeMap<Name, StackPolicy>,
}

impl Lanes {
    /// Whether a stack of this name could be read.
    pub(super) fn has(&self, name: &Name) -> bool {
        self.stacks.iter().any(|stack| stack.decl.name == *name)
    }

    /// The same pass over a part of its lanes. The claims of the others count on.
    pub(super) fn only(mut self, lanes: &BTreeSet<Lane>) -> Self {
        let (selected, left) = self.selected.into_iter().partition(|one| lanes.contains(&one.lane));
        self.selected = selected;
        self.others.extend(left);
        self
    }
}

/// What a poll of the loop brought: the revision in force, and the lanes that it has.
pub(crate) struct InForce {
    /// The revision.
    pub(crate) revision: Revision,
    /// Whether it is another one than before.
    pub(crate) new: bool,
    /// What an operator should know.
    pub(crate) notices: Vec<SourceNotice>,
    /// Its lanes, where they were asked for and can be told.
    pub(crate) lanes: Option<BTreeSet<Lane>>,
    /// What is wrong with its stacks, where they were asked for.
    pub(crate) problems: Vec<Diagnostic>,
}

/// Asks a source for the loop: puts its newest verified revision in force and, where that
/// is new or `all` are wanted, lists its lanes. `want` is what the config names, or the
/// revision that is in force already, for which no server is asked.
///
/// # Errors
/// No revision can be had.
pub(crate) async fn enforce(runtime: &Runtime, source: &Name, want: Want, all: bool) -> Result<InForce, RunError> {
    let selection = Selection { source: Some(source.clone()), stacks: vec![], targets: vec![], want };
    let (_, port) = chosen(runtime, &selection)?;
    let last = runtime.store.revision(source)?;
    let fetched = asked(runtime, source, port.as_ref(), &selection.want, last.as_ref()).await?;
    let revision = fetched.revision.clone();
    let new = last.as_ref().is_none_or(|last| last.id != revision.id);
    put_in_force(runtime, &selection, last.as_ref(), &revision)?;
    let (lanes, problems) = if new || all { listed(runtime, &selection, &fetched).await? } else { (None, vec![]) };
    Ok(InForce { revision, new, notices: fetched.notices, lanes, problems })
}

/// The lanes of a revision, and what is wrong with its stacks. Where none of them can be
/// read nobody knows which lanes there are, and the ones from before stay.
async fn listed(
    runtime: &Runtime,
    selection: &Selection,
    fetched: &Fetched,
) -> Result<(Option<BTreeSet<Lane>>, Vec<Diagnostic>), RunError> {
    match lanes(runtime, selection, fetched).await {
        Ok(lanes) => {
            super::orphans::orphaned(runtime, fetched, &lanes)?;
            super::module::mark_used(runtime, &fetched.revision.source, &lanes.stacks)?;
            Ok((Some(lanes.selected.into_iter().map(|selected| selected.lane).collect()), lanes.errors))
        }
        Err(RunError::Rejected(problems)) => Ok((None, problems)),
        Err(RunError::Selection { message, hint }) => {
            Ok((None, vec![Diagnostic { hint, ..Diagnostic::error(message, None) }]))
        }
        Err(error) => Err(error),
    }
}

/// Fetches the source that the selection means and puts its revision in force.
pub(super) async fn fetch(runtime: &Runtime, selection: &Selection) -> Result<Fetched, RunError> {
    let (name, source) = chosen(runtime, selection)?;
    let last = runtime.store.revision(&name)?;
    let answer = asked(runtime, &name, source.as_ref(), &selection.want, last.as_ref()).await;
    if selection.want == Want::Configured {
        match &answer {
            Ok(fetched) => trouble::answered(runtime, &name, &fetched.notices)?,
            Err(error) => drop(trouble::refused(runtime, &name, error)?),
        }
    }
    let fetched = answer?;
    told(runtime, &fetched)?;
    put_in_force(runtime, selection, last.as_ref(), &fetched.revision)?;
    Ok(fetched)
}

/// Fetches the source that the selection means, for a look that decides nothing: no revision comes into force.
pub(super) async fn glance(runtime: &Runtime, selection: &Selection) -> Result<Fetched, RunError> {
    let (name, source) = chosen(runtime, selection)?;
    let last = runtime.store.revision(&name)?;
    let fetched = asked(runtime, &name, source.as_ref(), &selection.want, last.as_ref()).await?;
    told(runtime, &fetched)?;
    Ok(fetched)
}

fn told(runtime: &Runtime, fetched: &Fetched) -> Result<(), RunError> {
    for notice in &fetched.notices {
        runtime.emit(None, None, &RunEvent::SourceNotice { notice: notice.clone() })?;
    }
    // A pass of the loop opens what is in force, and a poll says what is new.
    if !runtime.looping {
        tracing::info!(source = %fetched.revision.source, revision = %fetched.revision.short(), "fetched");
    }
    Ok(())
}

/// Asks a source. With what the config names come the tags that stacks take modules from, and
/// it is told which of them moved.
async fn asked(
    runtime: &Runtime,
    name: &Name,
    source: &dyn Source,
    want: &Want,
    last: Option<&Revision>,
) -> Result<Fetched, RunError> {
    if *want != Want::Configured {
        return Ok(source.fetch(want, last).await?);
    }
    let tags = super::module::tags(runtime, name)?;
    let mut fetched = source.fetch_with(want, last, &tags).await?;
    if !tags.is_empty() {
        fetched.notices.extend(super::module::moved(runtime, name, source).await?);
    }
    Ok(fetched)
}

/// A revision that a caller asked for is looked at; only the configured one comes into force.
fn put_in_force(
    runtime: &Runtime,
    selection: &Selection,
    last: Option<&Revision>,
    revision: &Revision,
) -> Result<(), RunError> {
    if selection.want == Want::Configured && last != Some(revision) {
        runtime.store.put_revision(revision)?;
        let (revision, subject, author) = (revision.id.clone(), revision.subject.clone(), revision.author.clone());
        runtime.emit(None, None, &RunEvent::Fetched { revision, subject, author })?;
    }
    Ok(())
}

fn chosen(runtime: &Runtime, selection: &Selection) -> Result<(Name, Arc<dyn Source>), RunError> {
    let names = || runtime.sources.keys().map(Name::as_str).collect::<Vec<_>>().join(", ");
    match &selection.source {
        Some(name) => match runtime.sources.get(name) {
            Some(source) => Ok((name.clone(), source.clone())),
            None => {
                Err(RunError::selection(format!("there is no source {name}"), Some(format!("declared: {}", names()))))
            }
        },
        None => match runtime.sources.len() {
            0 => Err(RunError::selection(
                "the config declares no source",
                Some("add one:\n\n[sources.infra]\nurl = \"https://git.example.com/infra.git\"".to_owned()),
            )),
            1 => Ok(runtime.sources.iter().next().map(|(name, source)| (name.clone(), source.clone())).expect("one")),
            _ => Err(RunError::selection(
                "the config declares several sources",
                Some(format!("say which with --source: {}", names())),
            )),
        },
    }
}

/// A work tree has no signature. Where the operator asks for them it may be planned,
/// and not applied.
pub(super) fn may_be_applied(runtime: &Runtime, fetched: &Fetched) -> Result<(), RunError> {
    let source = &fetched.revision.source;
    let verify = runtime.config.sources.get(source).is_some_and(|decl| decl.verify.is_some());
    if verify && fetched.revision.signature == Signature::Worktree {
        let message =
            format!("source {source} asks for signed commits; files that are not committed cannot be applied");
        return Err(RunError::selection(
            message,
            Some("commit and sign them; `plan --worktree` shows what they would do".to_owned()),
        ));
    }
    Ok(())
}

/// Reads the stacks of a revision, and of those that stacks are pinned to, and chooses the
/// lanes that are meant.
pub(super) async fn lanes(runtime: &Runtime, selection: &Selection, fetched: &Fetched) -> Result<Lanes, RunError> {
    let pins = Pins::of(runtime, fetched).await?;
    let (mut stacks, mut errors) = stack::all(fetched.tree.as_ref())?;
    let mut unread: BTreeSet<String> =
        errors.iter().filter_map(|error| error.place.as_ref()).map(|place| place.file.clone()).collect();
    unread.extend(pins.put(&mut stacks));
    errors.extend(pins.lost.iter().map(|(_, why)| why.clone()));
    let by_name = !selection.stacks.is_empty();
    let whole = selection.stacks.is_empty() && selection.targets.is_empty();
    // A pass of the loop is about one lane; the poll before it read them all.
    if pins.in_force && (whole || !runtime.looping) {
        as_a_whole(runtime, fetched, &stacks, &errors, whole)?;
    }
    let (selected, mut warnings) = match select::lanes(
        &runtime.config,
        &fetched.revision.source,
        &stacks,
        &selection.stacks,
        &selection.targets,
        &|stack| guess::kinds_in(fetched.tree.as_ref(), stack),
    ) {
        Ok(chosen) => chosen,
        // The stack that was named may be the one that cannot be read.
        Err(RunError::Selection { .. }) if !errors.is_empty() => return Err(RunError::Rejected(errors)),
        Err(error) => return Err(error),
    };
    if by_name {
        warnings.extend(errors.drain(..).map(|error| Diagnostic { severity: Severity::Warning, ..error }));
    }
    warnings.iter_mut().for_each(|warning| with_snippet(warning, fetched.tree.as_ref(), &Hidden::new()));
    errors.extend(warnings.extract_if(.., |one| one.severity == Severity::Error));
    if selected.is_empty() && !errors.is_empty() {
        // A target that left the config is wrong in Git from then on, and its lane is none any more.
        if unread.is_empty() {
            super::orphans::orphaned(runtime, fetched, &Lanes { stacks, pins, ..Lanes::default() })?;
        }
        return Err(RunError::Rejected(errors));
    }
    if stacks.is_empty() {
        super::orphans::orphaned(runtime, fetched, &Lanes { pins, ..Lanes::default() })?;
        let what = "a stack is a directory with a stack.yaml; `tidelock init` makes an example".to_owned();
        let left = super::orphans::left(runtime, &fetched.revision.source, &Lanes::default())?;
        let told = left.iter().map(|one| format!("{}; {}", one.message, one.hint.as_deref().unwrap_or_default()));
        return Err(RunError::selection(
            format!("revision {} holds no stack", fetched.revision.short()),
            Some(std::iter::once(what).chain(told).collect::<Vec<_>>().join("\n")),
        ));
    }
    let targets: Vec<String> = selected.iter().map(|selected| selected.lane.target.to_string()).collect();
    let (mut others, _) =
        select::lanes(&runtime.config, &fetched.revision.source, &stacks, &[], &targets, &|_| vec![])?;
    others.retain(|other| !selected.iter().any(|selected| selected.lane == other.lane));
    if targets.is_empty() {
        others.clear();
    }
    if !runtime.looping {
        let meant: BTreeSet<&str> = selected.iter().map(|one| one.stack.decl.name.as_str()).collect();
        let meant = stacks.iter().filter(|stack| meant.contains(stack.decl.name.as_str()));
        let beside = meant
            .filter_map(|stack| guess::beside(pins.files(&stack.decl.name, fetched).tree.as_ref(), stack, &stacks));
        warnings.extend(beside.collect::<Vec<_>>());
    }
    let unread: Vec<String> = unread.into_iter().collect();
    // A stack that cannot be read may be the one that they are for.
    if whole && !runtime.looping && unread.is_empty() {
        warnings.extend(guess::outside(fetched.tree.as_ref(), &stacks));
    }
    let before = BTreeMap::new();
    Ok(Lanes { selected, others, stacks, whole, destroys: false, unread, warnings, errors, pins, before })
}

/// Keeps what is wrong with the stacks of the revision in force, whichever are looked at now. Where that is not
/// the `whole`, notes the lanes that nobody ever looked at.
fn as_a_whole(
    runtime: &Runtime,
    fetched: &Fetched,
    stacks: &[Stack],
    errors: &[Diagnostic],
    whole: bool,
) -> Result<(), RunError> {
    let Revision { source, id, .. } = &fetched.revision;
    let (all, mut found) = select::lanes(&runtime.config, source, stacks, &[], &[], &|_| vec![])?;
    found.retain(|one| one.severity == Severity::Error);
    found.iter_mut().for_each(|one| with_snippet(one, fetched.tree.as_ref(), &Hidden::new()));
    trouble::read(runtime, source, id, errors.iter().cloned().chain(found).collect())?;
    for Selected { lane, .. } in all.into_iter().filter(|_| !whole) {
        if runtime.store.lane(&lane)?.is_none() {
            let why = Some("nobody looked at it yet".to_owned());
            let since = Some(runtime.clock.now());
            runtime.store.put_lane(&LaneRecord { why, since, ..LaneRecord::unknown(lane) })?;
        }
    }
    Ok(())
}
