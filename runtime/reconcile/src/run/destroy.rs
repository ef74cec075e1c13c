//! Removing all that stacks own, because a person says so.
//!
//! A pass like any other, over lanes of which nothing is desired: the same looks, edges,
//! gate, intents and record. It takes a person's yes, whatever the policies say. Of several
//! stacks the ones go first that need others, in passes under the one yes.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::error::{Diagnostic, Severity};
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::Plan;
use tidelock_model::port::Fetched;
use tidelock_model::run::{RunEnd, Status};
use tidelock_model::stack::Stack;
use tidelock_plan::gate::Policy;

use super::source::Lanes;
use super::{Applied, ended, gate, orphans, pass, rollout, source};
use crate::error::RunError;
use crate::holds;
use crate::pins::{self, Pins};
use crate::read::{nearest, stack};
use crate::runtime::{Caller, Runtime, Selection};
use crate::select::{self, Selected, patterns};

/// Which stacks are to go.
#[derive(Debug, Clone, Copy)]
pub enum Leaving<'a> {
    /// These, by name.
    Stacks(&'a [Name]),
    /// Every lane of the source that is orphaned.
    Orphaned,
}

/// Plans the removal of all that stacks own on the targets that are meant, asks, and does it.
///
/// A stack that is still in Git would be made again by the next pass: it has to leave Git
/// or be suspended before. One that another one needs, which still owns something, waits for that.
///
/// # Errors
/// See [`RunError`].
pub async fn destroy(
    runtime: &Runtime,
    which: Leaving<'_>,
    selection: &Selection,
    who: &str,
    caller: Caller<'_>,
) -> Result<Applied, RunError> {
    holds::expire(runtime)?;
    crate::confirm::learned(runtime)?;
    let fetched = source::fetch(runtime, selection).await?;
    let (mut names, mut only) = match which {
        Leaving::Stacks(names) => (names.to_vec(), None),
        Leaving::Orphaned => {
            // One that waited for a yes to go does not read as orphaned until it is looked at again.
            let all = Selection { stacks: vec![], targets: vec![], ..selection.clone() };
            if let Ok(lanes) = source::lanes(runtime, &all, &fetched).await {
                orphans::orphaned(runtime, &fetched, &lanes)?;
            }
            let orphaned = orphaned(runtime, &fetched.revision.source)?;
            (stacks_of(&orphaned), Some(orphaned))
        }
    };
    let mut given = gate::Given::default();
    let mut applied: Option<Applied> = None;
    let mut open: Option<BTreeSet<Lane>> = None;
    loop {
        let lanes = leaving(runtime, &names, only.as_ref(), &selection.targets, &fetched).await?;
        let in_git: BTreeSet<Lane> =
            names.iter().flat_map(|name| wanted(runtime, &lanes.stacks, name, &fetched)).collect();
        let more = match (pass(runtime, &fetched, lanes, who, caller, None, &mut given).await, &applied) {
            (Ok(more), _) => more,
            (Err(error), Some(before)) => return Ok(ended::cut_short(before.clone(), error)),
            (Err(error), None) => return Err(error),
        };
        if more.runs.iter().any(|run| run.counts.done > 0) || matches!(more.end, RunEnd::Done | RunEnd::Nothing) {
            for part in &more.plan.lanes {
                close(runtime, &part.lane, in_git.contains(&part.lane), who)?;
            }
        }
        let left = rollout::to_go_on(&more);
        // Nobody got there: what is left waits for something else.
        let stuck = left.is_empty() || open.as_ref().is_some_and(|open| left.len() >= open.len());
        applied = Some(match (applied, &open) {
            (Some(before), Some(open)) => ended::further(before, more, open, &BTreeSet::new()),
            _ => more,
        });
        if let (true, Some(applied)) = (stuck, &applied) {
            return Ok(applied.clone());
        }
        (names, only) = (stacks_of(&left), Some(left.clone()));
        open = Some(left);
    }
}

fn stacks_of(lanes: &BTreeSet<Lane>) -> Vec<Name> {
    let stacks: BTreeSet<&Name> = lanes.iter().map(|lane| &lane.stack).collect();
    stacks.into_iter().cloned().collect()
}

/// Tells the gate what each lane has to wait for before it goes: lanes of stacks that need
/// it and still own something, on the same target where both have it, else on all of theirs.
pub(super) async fn put(runtime: &Runtime, lanes: &Lanes, plan: &Plan, policy: &mut Policy) -> Result<(), RunError> {
    let mut known: BTreeMap<Name, Stack> =
        lanes.selected.iter().map(|one| (one.lane.stack.clone(), one.stack.clone())).collect();
    let mut owning: BTreeMap<Name, BTreeSet<Lane>> = BTreeMap::new();
    for target in runtime.config.targets.keys() {
        for entry in runtime.store.inventory(target)? {
            let lane = entry.address.lane();
            if lane.source == plan.source {
                owning.entry(lane.stack.clone()).or_default().insert(lane);
            }
        }
    }
    for (name, on) in &owning {
        if let (false, Some(lane)) = (known.contains_key(name), on.first()) {
            // One whose last settings nobody can read any more has said nothing that could be kept to.
            if let Ok(stack) = settings(runtime, &lanes.stacks, lane).await {
                known.insert(name.clone(), stack);
            }
        }
    }
    for part in &plan.lanes {
        let lane = &part.lane;
        let here = owning.get(&lane.stack);
        let mut waits = Vec::new();
        for (name, stack) in known.iter().filter(|(_, stack)| stack.decl.needs.contains(&lane.stack)) {
            let Some(theirs) = owning.get(name) else { continue };
            let shares = |target: &Name| theirs.iter().any(|their| their.target == *target);
            let apart = !here.into_iter().flatten().any(|own| shares(&own.target));
            for their in theirs.iter().filter(|their| apart || their.target == lane.target) {
                let also = plan.lanes.iter().any(|part| part.lane == *their);
                waits.push(tidelock_plan::holds::needed(&stack.decl.name, their, also));
            }
        }
        policy.lanes.entry(lane.clone()).or_default().behind = waits;
    }
    Ok(())
}

/// A lane that owns nothing any more is forgotten, unless Git still asks for it.
fn close(runtime: &Runtime, lane: &Lane, in_git: bool, who: &str) -> Result<(), RunError> {
    let owns = runtime.store.inventory(&lane.target)?.iter().any(|entry| entry.address.lane() == *lane);
    if owns || !runtime.store.open_intents(lane)?.is_empty() {
        return Ok(());
    }
    if !in_git {
        return Ok(runtime.store.drop_lane(lane)?);
    }
    if let Some(mut record) = runtime.store.lane(lane)? {
        record.status = Status::Suspended;
        record.why = Some(format!("{who} destroyed it; it is still in Git, and `tidelock resume` makes it again"));
        runtime.store.put_lane(&record)?;
    }
    Ok(())
}

/// The lanes that go, with what is known of everybody else on their targets.
async fn leaving(
    runtime: &Runtime,
    names: &[Name],
    only: Option<&BTreeSet<Lane>>,
    targets: &[String],
    fetched: &Fetched,
) -> Result<Lanes, RunError> {
    let source = &fetched.revision.source;
    let pins = Pins::of(runtime, fetched).await?;
    let (mut stacks, errors) = stack::all(fetched.tree.as_ref())?;
    let mut unread: BTreeSet<String> =
        errors.iter().filter_map(|error| error.place.as_ref()).map(|place| place.file.clone()).collect();
    unread.extend(pins.put(&mut stacks));
    let mut warnings: Vec<Diagnostic> = errors.into_iter().map(warning).collect();
    let mut gone = Vec::new();
    for name in names {
        match lanes_of(runtime, source, name, targets, &mut warnings) {
            Ok(lanes) => gone.extend(lanes),
            // Nobody named it: what cannot be reached of it does not hold up the others.
            Err(RunError::Selection { message, hint }) if only.is_some() && names.len() > 1 => {
                warnings.push(warning(Diagnostic { hint, ..Diagnostic::error(message, None) }));
            }
            Err(error) => return Err(error),
        }
    }
    gone.retain(|lane| only.is_none_or(|only| only.contains(lane)));
    let still: BTreeSet<Lane> = names.iter().flat_map(|name| wanted(runtime, &stacks, name, fetched)).collect();
    for lane in gone.iter().filter(|lane| still.contains(lane)) {
        if !holds::suspended(runtime, lane)? {
            return Err(RunError::selection(
                format!("{lane} is still in Git: the next pass would make it again"),
                Some(format!(
                    "remove the stack from Git first, or keep it away from there: `tidelock suspend {}`",
                    lane.stack
                )),
            ));
        }
    }
    // Where a stack that could not be read may be this one, nobody knows what Git says of it.
    let in_git = |name: &Name| stacks.iter().any(|stack| stack.decl.name == *name);
    if let Some(name) = names.iter().find(|name| !unread.is_empty() && !in_git(name)) {
        let files: Vec<&str> = unread.iter().map(String::as_str).collect();
        return Err(RunError::selection(
            format!("it cannot be told whether {name} is still in Git: {} cannot be read", files.join(", ")),
            Some("mend that first".to_owned()),
        ));
    }
    let mut selected = Vec::new();
    for lane in gone {
        let stack = settings(runtime, &stacks, &lane).await?;
        selected.push(Selected { lane, stack });
    }
    let on: Vec<String> = selected.iter().map(|selected| selected.lane.target.to_string()).collect();
    let (mut others, _) = select::lanes(&runtime.config, source, &stacks, &[], &on, &|_| vec![])?;
    others.retain(|other| !selected.iter().any(|selected| selected.lane == other.lane));
    let unread = unread.into_iter().collect();
    Ok(Lanes { selected, others, stacks, destroys: true, unread, warnings, pins, ..Lanes::default() })
}

/// The lanes of a source that are orphaned.
fn orphaned(runtime: &Runtime, source: &Name) -> Result<BTreeSet<Lane>, RunError> {
    let records = runtime.store.lanes()?.into_iter();
    let orphaned: BTreeSet<Lane> = records
        .filter(|record| record.status == Status::Orphaned && record.lane.source == *source)
        .map(|record| record.lane)
        .collect();
    if orphaned.is_empty() {
        return Err(RunError::selection(
            "no lane is orphaned",
            Some("`tidelock plan` looks whether one is; `tidelock status` shows it".to_owned()),
        ));
    }
    Ok(orphaned)
}

/// The lanes that Git asks for.
fn wanted<'a>(
    runtime: &'a Runtime,
    stacks: &'a [Stack],
    name: &'a Name,
    fetched: &'a Fetched,
) -> impl Iterator<Item = Lane> + 'a {
    let of = stacks.iter().filter(move |stack| stack.decl.name == *name);
    of.flat_map(move |stack| {
        let targets = runtime.config.targets.iter();
        let meant = targets.filter(|(target, decl)| select::selects(&stack.decl.targets, target, decl));
        meant.map(|(target, _)| Lane {
            source: fetched.revision.source.clone(),
            stack: name.clone(),
            target: target.clone(),
        })
    })
}

/// The lanes of a stack that are known or own something. What cannot be reached is told.
fn lanes_of(
    runtime: &Runtime,
    source: &Name,
    name: &Name,
    targets: &[String],
    warnings: &mut Vec<Diagnostic>,
) -> Result<Vec<Lane>, RunError> {
    let globs = patterns(targets)?;
    let meant = |target: &Name| globs.is_empty() || globs.iter().any(|glob| glob.is_match(target.as_str()));
    let records = runtime.store.lanes()?;
    let mut known: BTreeMap<Lane, bool> = BTreeMap::new();
    for record in records.iter().filter(|record| record.lane.source == *source && record.lane.stack == *name) {
        known.insert(record.lane.clone(), runtime.config.targets.contains_key(&record.lane.target));
    }
    for target in runtime.config.targets.keys() {
        for entry in runtime.store.inventory(target)? {
            let lane = entry.address.lane();
            if lane.source == *source && lane.stack == *name {
                known.insert(lane, true);
            }
        }
    }
    known.retain(|lane, _| meant(&lane.target));
    let unreachable =
        known.iter().filter(|(_, declared)| !**declared).map(|(lane, _)| lane.clone()).collect::<Vec<_>>();
    for Lane { target, .. } in &unreachable {
        let message = format!("the config declares no target {target} any more: nothing is removed there");
        warnings.push(warning(
            Diagnostic::error(message, None)
                .hint(format!("declare it again, or let it be: `tidelock forget --target {target}`")),
        ));
    }
    known.retain(|_, declared| *declared);
    if known.is_empty() {
        let stacks = records.iter().map(|record| record.lane.stack.as_str());
        let hint = match unreachable.first() {
            Some(lane) => format!("target {0} left the config: `tidelock forget --target {0}`", lane.target),
            None => nearest(name.as_str(), stacks).filter(|near| *near != name.as_str()).map_or_else(
                || "`tidelock status` shows what is known".to_owned(),
                |near| format!("did you mean {near}?"),
            ),
        };
        return Err(RunError::selection(format!("nothing is known of a stack {name} there"), Some(hint)));
    }
    Ok(known.into_keys().collect())
}

/// What a stack says of itself, or said last: its gate and budgets hold to the end.
async fn settings(runtime: &Runtime, stacks: &[Stack], lane: &Lane) -> Result<Stack, RunError> {
    if let Some(stack) = stacks.iter().find(|stack| stack.decl.name == lane.stack) {
        return Ok(stack.clone());
    }
    let record = runtime.store.lane(lane)?;
    let last = record.and_then(|record| record.applied.or(record.planned));
    let lost = |why: String| {
        RunError::selection(
            format!("the last settings of {lane}, which its gate rests on, cannot be read: {why}"),
            Some(format!("to let its resources be: `tidelock forget {}`", lane.stack)),
        )
    };
    let Some(revision) = last else { return Err(lost("it was never planned".to_owned())) };
    let (_, stack) = pins::at(runtime, &revision, &lane.stack).await.map_err(|error| lost(error.to_string()))?;
    Ok(stack)
}

fn warning(diagnostic: Diagnostic) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, ..diagnostic }
}
