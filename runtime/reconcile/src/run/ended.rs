//! How an apply ended over all of its lanes and passes.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::error::{Diagnostic, Fault, Place};
use tidelock_model::name::{Address, Lane};
use tidelock_model::plan::{Action, Change, Plan};
use tidelock_model::run::{Run, RunEnd};

use super::gate::Held;
use super::record::not_performed;
use super::{Applied, CHANGED, INTERRUPTED};
use crate::error::RunError;
use crate::runtime::Runtime;

/// Puts together what was performed and what was not: records the lanes that had nothing
/// to perform, or may not, and says how it ended over all of them.
pub(super) fn together(
    runtime: &Runtime,
    plan: Plan,
    done: Option<Applied>,
    held: Held,
    unchecked: BTreeMap<Lane, String>,
    who: &str,
) -> Result<Applied, RunError> {
    let performed = done.is_some();
    let mut applied = done.unwrap_or_else(|| Applied {
        plan: plan.clone(),
        runs: vec![],
        end: RunEnd::Nothing,
        failures: vec![],
        skipped: vec![],
        mismatches: vec![],
        unchecked: vec![],
        waits: vec![],
        deferred: vec![],
        cut_short: vec![],
        overtaken: BTreeSet::new(),
    });
    for part in &plan.lanes {
        let through = performed && applied.plan.lanes.iter().any(|done| done.lane == part.lane);
        if !through {
            applied.runs.extend(not_performed(runtime, &plan, part, &held.waits, unchecked.get(&part.lane), who)?);
        }
    }
    applied.waits = held.waits;
    applied.unchecked = unchecked.into_iter().collect();
    applied.deferred.extend(deferred(&plan));
    applied.deferred.retain(|(of, _)| applied.waits.iter().all(|(lane, _)| *lane != of.lane()));
    applied.plan = plan;
    applied.end = ended(&applied, held.refused);
    Ok(applied)
}

/// Puts a further pass of a run to the ones before: it was about what was `open` there, and of what
/// had gone wrong in lanes that were `overtaken` nothing is left but what it says.
pub(super) fn further(before: Applied, more: Applied, open: &BTreeSet<Lane>, overtaken: &BTreeSet<Lane>) -> Applied {
    let refused = [before.end, more.end].contains(&RunEnd::Refused);
    let mut all = before;
    all.failures.retain(|(of, _)| !overtaken.contains(&of.lane()));
    all.skipped.retain(|(of, _)| !overtaken.contains(&of.lane()));
    all.mismatches.retain(|one| !overtaken.contains(&one.address.lane()));
    let left_behind = all.runs.iter().filter(|run| overtaken.contains(&run.lane)).map(|run| run.id.clone());
    all.overtaken.extend(left_behind);
    all.waits.retain(|(lane, _)| !open.contains(lane));
    all.deferred.retain(|(of, _)| !open.contains(&of.lane()));
    // What could not be seen there was looked at again, and is told again where it still cannot.
    let unseen = |change: &&Change| change.action == Action::Deferred && open.contains(&change.address.lane());
    let again: Vec<&Place> =
        all.plan.changes.iter().filter(unseen).filter_map(|change| change.place.as_ref()).collect();
    all.plan.errors.retain(|error| !error.place.as_ref().is_some_and(|place| again.contains(&place)));
    all.runs.extend(more.runs);
    all.failures.extend(more.failures);
    all.skipped.extend(more.skipped);
    all.mismatches.extend(more.mismatches);
    all.unchecked.extend(more.unchecked);
    all.waits.extend(more.waits);
    all.deferred.extend(more.deferred);
    for error in more.plan.errors {
        if !all.plan.errors.contains(&error) {
            all.plan.errors.push(error);
        }
    }
    all.end = ended(&all, refused);
    all
}

/// No further pass can be made: what those before it did stands, and is told with the reason.
pub(super) fn cut_short(before: Applied, error: RunError) -> Applied {
    let mut all = before;
    let interrupted = matches!(&error, RunError::Fault(fault) if fault.code == INTERRUPTED);
    all.end = match all.end {
        RunEnd::Failed => RunEnd::Failed,
        _ if interrupted => RunEnd::Interrupted,
        _ => RunEnd::Partly,
    };
    all.cut_short.extend(match error {
        RunError::Rejected(problems) => problems,
        RunError::Fault(Fault { message, hint, .. }) => vec![Diagnostic { hint, ..Diagnostic::error(message, None) }],
        error => vec![Diagnostic::error(error.to_string(), None)],
    });
    all
}

/// What could not be planned yet, and why.
fn deferred(plan: &Plan) -> impl Iterator<Item = (Address, String)> + '_ {
    let open = plan.changes.iter().filter(|change| change.action == Action::Deferred);
    open.map(|change| {
        let why = change.reason.as_deref().unwrap_or("it is not known what is to be done");
        (change.address.clone(), why.to_owned())
    })
}

/// The lanes in which all that was known is done and something is left that was not, with how
/// much of it: what was done may have made it known. In a further pass there must be less of it
/// than `before`, or it goes on for ever.
pub(super) fn rest(applied: &Applied, before: Option<&BTreeMap<Lane, usize>>) -> BTreeMap<Lane, usize> {
    let went_well = |lane: &Lane| {
        let mut runs = applied.runs.iter().filter(|run| run.lane == *lane);
        runs.any(|run| run.end == Some(RunEnd::Done)) && applied.unchecked.iter().all(|(of, _)| of != lane)
    };
    let mut rest: BTreeMap<Lane, usize> = BTreeMap::new();
    for (address, _) in &applied.deferred {
        *rest.entry(address.lane()).or_default() += 1;
    }
    rest.retain(|lane, left| {
        went_well(lane) && before.and_then(|before| before.get(lane)).is_none_or(|before| *left < *before)
    });
    rest
}

/// The lanes in which nothing is wrong but that somebody else changed what the plan relied on: the
/// target refused that, and planned anew it may go.
pub(super) fn overtaken(applied: &Applied) -> BTreeSet<Lane> {
    let is_behind = |fault: &Fault| fault.code == CHANGED && fault.retryable;
    let mut lanes: BTreeSet<Lane> =
        applied.failures.iter().filter(|(_, fault)| is_behind(fault)).map(|(of, _)| of.lane()).collect();
    lanes.retain(|lane| {
        applied.failures.iter().all(|(of, fault)| of.lane() != *lane || is_behind(fault))
            && applied.runs.iter().all(|run| run.lane != *lane || run.counts.unknown == 0)
            && applied.unchecked.iter().all(|(of, _)| of != lane)
    });
    lanes
}

/// How a run ended over all of its lanes.
fn ended(applied: &Applied, refused: bool) -> RunEnd {
    let done = applied.runs.iter().any(|run| run.counts.done > 0);
    let count = |run: &&Run| !applied.overtaken.contains(&run.id);
    match worst(applied.runs.iter().filter(count), done, done && !applied.plan.errors.is_empty()) {
        end @ (RunEnd::Failed | RunEnd::Partly | RunEnd::Interrupted) => end,
        _ if !applied.unchecked.is_empty() && done => RunEnd::Partly,
        _ if !applied.unchecked.is_empty() => RunEnd::Failed,
        _ if refused => RunEnd::Refused,
        _ if !applied.waits.is_empty() => RunEnd::Waiting,
        RunEnd::Done if !applied.deferred.is_empty() => RunEnd::Partly,
        RunEnd::Nothing if !applied.plan.errors.is_empty() => RunEnd::Partly,
        end => end,
    }
}

fn worst<'r>(runs: impl Iterator<Item = &'r Run>, done: bool, errors: bool) -> RunEnd {
    let ends: Vec<RunEnd> = runs.filter_map(|run| run.end).collect();
    let any = |end: RunEnd| ends.contains(&end);
    let done = done || any(RunEnd::Done) || any(RunEnd::Partly);
    match () {
        () if any(RunEnd::Interrupted) => RunEnd::Interrupted,
        () if any(RunEnd::Failed) && !done => RunEnd::Failed,
        () if any(RunEnd::Failed) || any(RunEnd::Partly) || errors => RunEnd::Partly,
        () if done => RunEnd::Done,
        () => RunEnd::Nothing,
    }
}
