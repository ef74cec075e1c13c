//! Removing all that a stack owns, because a person says so.
//!
//! A pass like any other, over lanes of which nothing is desired: the same looks, edges,
//! gate, intents and record. It takes a person's yes, whatever the policies say.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::error::{Diagnostic, Severity};
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::Fetched;
use tidelock_model::run::{RunEnd, Status};
use tidelock_model::stack::Stack;

use super::source::Lanes;
use super::{Applied, gate, pass, source};
use crate::error::RunError;
use crate::holds;
use crate::pins::{self, Pins};
use crate::read::{nearest, stack};
use crate::runtime::{Caller, Runtime, Selection};
use crate::select::{self, Selected, patterns};

/// Plans the removal of all that a stack owns on the targets that are meant, asks, and does it.
///
/// A stack that is still in Git would be made again by the next pass: it has to leave Git
/// or be suspended before.
///
/// # Errors
/// See [`RunError`].
pub async fn destroy(
    runtime: &Runtime,
    name: &Name,
    selection: &Selection,
    who: &str,
    caller: Caller<'_>,
) -> Result<Applied, RunError> {
    holds::expire(runtime)?;
    let fetched = source::fetch(runtime, selection).await?;
    let lanes = leaving(runtime, name, &selection.targets, &fetched).await?;
    let in_git: BTreeSet<Lane> = wanted(runtime, &lanes.stacks, name, &fetched).collect();
    let applied = pass(runtime, &fetched, lanes, who, caller, None, &mut gate::Given::default()).await?;
    if matches!(applied.end, RunEnd::Done | RunEnd::Nothing | RunEnd::Partly) {
        for part in &applied.plan.lanes {
            close(runtime, &part.lane, in_git.contains(&part.lane), who)?;
        }
    }
    Ok(applied)
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

/// The lanes of a stack that go, with what is known of everybody else on their targets.
async fn leaving(runtime: &Runtime, name: &Name, targets: &[String], fetched: &Fetched) -> Result<Lanes, RunError> {
    let source = &fetched.revision.source;
    let pins = Pins::of(runtime, fetched).await?;
    let (mut stacks, errors) = stack::all(fetched.tree.as_ref())?;
    let mut unread: BTreeSet<String> =
        errors.iter().filter_map(|error| error.place.as_ref()).map(|place| place.file.clone()).collect();
    unread.extend(pins.put(&mut stacks));
    let mut warnings: Vec<Diagnostic> = errors.into_iter().map(warning).collect();
    let gone = lanes_of(runtime, source, name, targets, &mut warnings)?;
    let still: BTreeSet<Lane> = wanted(runtime, &stacks, name, fetched).collect();
    for lane in gone.iter().filter(|lane| still.contains(lane)) {
        if !holds::suspended(runtime, lane)? {
            return Err(RunError::selection(
                format!("{lane} is still in Git: the next pass would make it again"),
                Some(format!("remove the stack from Git first, or keep it away from there: `tidelock suspend {name}`")),
            ));
        }
    }
    // Where a stack that could not be read may be this one, nobody knows what Git says of it.
    if !unread.is_empty() && !stacks.iter().any(|stack| stack.decl.name == *name) {
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
    let (mut others, _) = select::lanes(&runtime.config, source, &stacks, &[], &on)?;
    others.retain(|other| !selected.iter().any(|selected| selected.lane == other.lane));
    let unread = unread.into_iter().collect();
    Ok(Lanes { selected, others, stacks, destroys: true, unread, warnings, pins, ..Lanes::default() })
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
