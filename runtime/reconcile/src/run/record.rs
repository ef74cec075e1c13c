//! The last stage: where each lane stands.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tidelock_model::event::RunEvent;
use tidelock_model::name::Lane;
use tidelock_model::plan::{Action, Cause, Change, LanePlan, Plan, Wait};
use tidelock_model::port::{Fetched, LaneRecord};
use tidelock_model::run::{Run, RunEnd, Status};
use tidelock_plan::gate;
use tidelock_plan::holds;

use super::Applied;
use super::apply::Performed;
use super::check::Meant;
use super::gate::{ApprovedPass, Held};
use super::leases::Leases;
use super::plan::Pass;
use super::prove::Proven;
use super::runs::begun;
use crate::error::RunError;
use crate::runtime::Runtime;

/// Notes where each lane stands after a plan. `told` is the plan with what people said of it. A plan of
/// another revision than the one in force is looked at, and says nothing of where lanes stand.
pub(super) fn planned(runtime: &Runtime, fetched: &Fetched, pass: &Pass, told: &Plan) -> Result<(), RunError> {
    let counts = super::plan::in_force(runtime, fetched)?;
    for lane in &pass.lanes {
        let key = &lane.rendered.desired.lane;
        let changes: Vec<_> = pass.plan.changes_of(key).collect();
        let digest = pass.plan.lanes.iter().find(|part| part.lane == *key).map(|part| part.digest.to_string());
        let event = RunEvent::Planned { changes: changes.len(), digest: digest.unwrap_or_default() };
        runtime.emit(None, Some(key), &event)?;
        if !counts {
            continue;
        }
        let part = told.lanes.iter().find(|part| part.lane == *key);
        let open: Vec<&Wait> = part.map_or(&[][..], |part| &part.waits).iter().filter(|w| gate::holds_up(w)).collect();
        let status = match (changes.is_empty(), open.is_empty()) {
            (true, _) => Status::Converged,
            (false, true) => pending(&pass.plan, key),
            (false, false) => waiting(&pass.plan, key, &open),
        };
        // A lane that never finished a run is not converged by being looked at.
        let contacted = lane.record.as_ref().is_some_and(|record| record.contacted);
        let status = if status == Status::Converged && !contacted { Status::Pending } else { status };
        let put_off = PutOff::of(changes.iter().copied()).filter(|put_off| put_off.count == changes.len());
        let (status, why) = match (put_off, open.first()) {
            _ if changes.is_empty() && status == Status::Converged => (status, None),
            _ if changes.is_empty() => {
                (status, Some("nothing is to be done, and that is not on record yet".to_owned()))
            }
            // What nobody could see is not merely due.
            (Some(put_off), _) if put_off.unseen => (Status::Failed, Some(put_off.why)),
            (_, Some(wait)) => (status, Some(wait.message.clone())),
            (Some(put_off), None) => (Status::Waiting, Some(put_off.why)),
            (None, None) => (status, Some(format!("{} change(s) planned", changes.len()))),
        };
        kept(runtime, &pass.plan, key)?;
        let waits = pass.plan.lanes.iter().find(|part| part.lane == *key).map_or(&[][..], |part| &part.waits);
        let (status, why) = held(waits, status, why);
        note(runtime, lane.record.as_ref(), key, &pass.plan, status, why, |_| {})?;
    }
    Ok(())
}

/// Keeps a lane's part of a plan by itself: what a person says yes or no to later, and what
/// was done is looked up by. The plan as a whole is nothing that anybody asks for.
fn kept(runtime: &Runtime, plan: &Plan, lane: &Lane) -> Result<(), RunError> {
    if plan.changes_of(lane).next().is_none() {
        return Ok(());
    }
    let at = runtime.clock.now();
    match plan.lanes.len() {
        1 => runtime.store.put_plan(at, plan)?,
        _ => runtime.store.put_plan(at, &tidelock_plan::only(plan, std::slice::from_ref(lane)))?,
    }
    Ok(())
}

/// Where a lane stands that has changes.
fn pending(plan: &Plan, lane: &Lane) -> Status {
    let drift = plan.changes_of(lane).all(|change| change.cause == Some(Cause::Drift));
    if drift { Status::Drifted } else { Status::Pending }
}

/// Where a lane stands that waits.
fn waiting(plan: &Plan, lane: &Lane, waits: &[&Wait]) -> Status {
    // Nobody is waited for: the stack wants to know, and no more.
    if waits.iter().all(|wait| wait.code == tidelock_plan::REPORTS) { pending(plan, lane) } else { Status::Waiting }
}

/// A lane that a person holds says so, whatever else is to be said of it.
fn held(waits: &[Wait], status: Status, why: Option<String>) -> (Status, Option<String>) {
    let holds = holds::status(waits, status);
    let said = waits.iter().find(|wait| holds != status && holds::is_hold(wait)).map(|wait| wait.message.clone());
    (holds, said.or(why))
}

pub(super) fn note(
    runtime: &Runtime,
    before: Option<&LaneRecord>,
    lane: &Lane,
    plan: &Plan,
    status: Status,
    why: Option<String>,
    change: impl FnOnce(&mut LaneRecord),
) -> Result<(), RunError> {
    let mut record = before.cloned().unwrap_or_else(|| LaneRecord::unknown(lane.clone()));
    let now = runtime.clock.now();
    if record.status != status || record.since.is_none() {
        record.since = Some(now);
    }
    let part = plan.lanes.iter().find(|part| part.lane == *lane);
    record.status = status;
    record.why = why;
    record.planned = Some(plan.revision_of(lane).clone());
    record.digest = part.map(|part| part.digest);
    record.waits = part.map(|part| part.waits.clone()).unwrap_or_default();
    record.seen = Some(now);
    change(&mut record);
    since(&mut record.waits, before.map_or(&[][..], |before| &before.waits), now);
    Ok(runtime.store.put_lane(&record)?)
}

/// Since when a lane waits for each thing: what it waited for at the last look keeps its time.
fn since(waits: &mut [Wait], before: &[Wait], now: Timestamp) {
    for wait in waits {
        let same = |other: &&Wait| other.code == wait.code && other.message == wait.message;
        // Who has approved so far, and when a window opens next, changes while it waits.
        let alike = |other: &&Wait| other.code == wait.code && gate::holds_up(other);
        let known = before.iter().find(same).or_else(|| before.iter().find(alike));
        wait.since = known.and_then(|known| known.since).or(Some(now));
    }
}

/// Whether the checks of a lane are to be asked, after what was performed.
pub(super) fn to_check<'a>(lane: &Lane, proven: Option<&'a Proven>, held: &Held) -> Meant<'a> {
    let Some(proven) = proven.filter(|proven| proven.performed.runs.has(lane)) else {
        return if held.waits.iter().any(|(of, _)| of == lane) { Meant::Not } else { Meant::Nothing };
    };
    let performed = &proven.performed;
    let here = |address: &tidelock_model::name::Address| address.lane() == *lane;
    let bad = performed.failures.iter().any(|(address, _)| here(address))
        || performed.skipped.iter().any(|(address, _)| here(address))
        || performed.unknown.iter().any(|(address, _)| here(address))
        || performed.early.contains_key(lane)
        || proven.swept.iter().any(|(address, _)| here(address))
        || proven.mismatches.iter().any(|mismatch| here(&mismatch.address));
    if bad { Meant::Not } else { Meant::Performed(performed.runs.id(lane)) }
}

/// Records a lane in which nothing was performed. The first time that a lane is seen to
/// be as Git says is a finished run too, and is given back.
pub(super) fn not_performed(
    runtime: &Runtime,
    plan: &Plan,
    part: &LanePlan,
    waits: &[(Lane, Wait)],
    unchecked: Option<&String>,
    who: &str,
) -> Result<Option<Run>, RunError> {
    let lane = &part.lane;
    let before = runtime.store.lane(lane)?;
    let waits: Vec<&Wait> = waits.iter().filter(|(of, _)| of == lane).map(|(_, wait)| wait).collect();
    let reason = waits.first().map(|wait| wait.message.clone());
    let nothing = reason.is_none();
    // What could not be seen is not taken for being as it should, nor what waits for something else.
    let put_off = PutOff::of(plan.changes_of(lane));
    let (unseen, awaited) = match put_off {
        Some(put_off) if put_off.unseen => (Some(put_off.why), None),
        put_off => (None, put_off.map(|put_off| put_off.why)),
    };
    let wrong = unchecked.cloned().or(unseen);
    let whole = nothing && wrong.is_none() && awaited.is_none();
    let status = if nothing && wrong.is_some() {
        Status::Failed
    } else if nothing && awaited.is_some() {
        Status::Waiting
    } else if nothing {
        Status::Converged
    } else {
        waiting(plan, lane, &waits)
    };
    let (status, reason) = held(&part.waits, status, reason.or(wrong).or(awaited));
    let first = before.as_ref().is_none_or(|record| !record.contacted);
    let run = if whole && first {
        let mut run = begun(runtime, plan, lane, part.digest, who, None);
        runtime.store.begin_run(&run)?;
        run.ended = Some(runtime.clock.now());
        run.end = Some(RunEnd::Nothing);
        runtime.store.end_run(&run)?;
        Some(run)
    } else {
        None
    };
    if !nothing {
        kept(runtime, plan, lane)?;
    }
    note(runtime, before.as_ref(), lane, plan, status, reason, |record| {
        if !nothing {
            // With what was said by now taken into account.
            record.waits = waits.iter().map(|wait| (*wait).clone()).collect();
        }
        if whole {
            record.contacted = true;
            record.applied = Some(plan.revision_of(lane).clone());
            record.plugins.clone_from(&plan.plugins);
            record.checked = Some(plan.revision_of(lane).id.clone());
        }
        if let Some(run) = &run {
            record.last_run = Some(run.id.clone());
        }
    })?;
    if nothing {
        runtime.store.put_fingerprint(&lane.target, &part.fingerprint)?;
    }
    if whole {
        settled(runtime, plan, part, before.as_ref())?;
    }
    Ok(run)
}

/// What was planned before and is no more to be done, spends what was said of it: a run did it
/// that could not say so, or drift went as it came. What was agreed to at another revision, which
/// may come into force yet, stays.
fn settled(runtime: &Runtime, plan: &Plan, part: &LanePlan, before: Option<&LaneRecord>) -> Result<(), RunError> {
    let lane = &part.lane;
    let Some((digest, planned)) = before.and_then(|before| before.digest.zip(before.planned.as_ref())) else {
        return Ok(());
    };
    let agreed = || runtime.store.approvals(&digest).map(|words| words.iter().any(|word| word.lane == *lane));
    if digest == part.digest || !agreed()? {
        return Ok(());
    }
    let drift = || -> Result<bool, RunError> {
        let was = runtime.store.plan(&tidelock_plan::alone(&digest))?;
        Ok(was.is_some_and(|was| was.changes_of(lane).all(|change| change.cause == Some(Cause::Drift))))
    };
    if planned.id == plan.revision_of(lane).id || drift()? {
        runtime.store.spend_approvals(lane, &digest)?;
    }
    Ok(())
}

/// What is put off in a lane.
struct PutOff {
    /// Changes.
    count: usize,
    /// Whether one of them could not be told, and does not merely wait for something that is not there yet.
    unseen: bool,
    /// Of which resource, and why.
    why: String,
}

impl PutOff {
    fn of<'c>(changes: impl Iterator<Item = &'c Change>) -> Option<Self> {
        let put_off: Vec<&Change> = changes.filter(|change| change.action == Action::Deferred).collect();
        let unseen = put_off.iter().find(|change| change.awaits.is_none());
        let told = unseen.or(put_off.first())?;
        let why = told.reason.as_deref().unwrap_or("it is not known what is to be done");
        let why = format!("{}: {why}", told.address.resource);
        Some(Self { count: put_off.len(), unseen: unseen.is_some(), why })
    }
}

/// Ends the runs and notes where each lane stands.
pub(super) fn finish(
    runtime: &Runtime,
    leases: &Leases,
    pass: &ApprovedPass,
    proven: Proven,
    unchecked: &BTreeMap<Lane, String>,
) -> Result<Applied, RunError> {
    // Whoever was frozen meanwhile must not say how a lane stands that is another's now.
    leases.renew(runtime)?;
    let Proven { performed, mismatches, swept } = proven;
    let Performed { runs, failures, skipped, unknown, early, .. } = performed;
    let plan = pass.approved.plan().clone();
    let mut ended = Vec::new();
    for lane in &pass.lanes {
        let key = &lane.rendered.desired.lane;
        let Some(part) = plan.lanes.iter().find(|part| part.lane == *key) else { continue };
        let of = |address: &tidelock_model::name::Address| address.lane() == *key;
        let wrong: Vec<String> = failures
            .iter()
            .filter(|(address, _)| of(address))
            .map(|(address, fault)| format!("{}: {}", address.resource, fault.message))
            .chain(unknown.iter().filter(|(address, _)| of(address)).map(|(a, why)| format!("{}: {why}", a.resource)))
            .chain(mismatches.iter().filter(|m| of(&m.address)).map(|m| format!("{}: {}", m.address.resource, m.why)))
            .chain(unchecked.get(key).cloned())
            .collect();
        // What was done is looked up by its lane's digest.
        kept(runtime, &plan, key)?;
        let run = runs.runs.get(key).cloned();
        let end = match &run {
            None => RunEnd::Nothing,
            Some(run) if wrong.is_empty() && run.counts.skipped == 0 => RunEnd::Done,
            Some(_) if wrong.is_empty() && early.contains_key(key) => RunEnd::Interrupted,
            Some(run) if run.counts.done > 0 => RunEnd::Partly,
            Some(_) => RunEnd::Failed,
        };
        let good = matches!(end, RunEnd::Done | RunEnd::Nothing);
        let along = swept.iter().find(|(address, _)| of(address));
        let put_off = PutOff::of(plan.changes_of(key));
        let complete = along.is_none() && put_off.is_none();
        let awaited = put_off.filter(|put_off| good && !put_off.unseen && along.is_none()).map(|put_off| put_off.why);
        let status = match (good, complete) {
            (true, true) => Status::Converged,
            (true, false) if awaited.is_some() => Status::Waiting,
            (true, false) => Status::Pending,
            (false, _) if end == RunEnd::Interrupted => Status::Pending,
            (false, _) => Status::Failed,
        };
        let along = along.map(|(address, why)| format!("{}: {why}", address.resource));
        let why = wrong.first().or_else(|| early.get(key)).cloned().or(along);
        let run = match run {
            Some(mut run) => {
                run.ended = Some(runtime.clock.now());
                run.end = Some(end);
                run.fault = wrong.first().or_else(|| early.get(key)).cloned();
                runtime.store.end_run(&run)?;
                runtime.emit(Some(&run.id), Some(key), &RunEvent::Ended { end, counts: run.counts })?;
                Some(run)
            }
            None => None,
        };
        note(runtime, lane.record.as_ref(), key, &plan, status, why.or(awaited), |record| {
            // A run that went to its end, be it with failures, is contact.
            record.contacted = true;
            // What held it up was agreed to, or is over: else there were no run.
            record.waits.retain(|wait| !gate::holds_up(wait));
            record.plugins.clone_from(&lane.rendered.desired.plugins);
            // What a guard took back, Git still says.
            if good && complete && !tidelock_plan::leaves_what_went_back(&part.waits) {
                record.applied = Some(plan.revision_of(key).clone());
                record.checked = Some(plan.revision_of(key).id.clone());
            }
            if let Some(run) = &run {
                record.last_run = Some(run.id.clone());
            }
        })?;
        runtime.store.put_fingerprint(&key.target, &part.fingerprint)?;
        ended.extend(run);
    }
    leases.renew(runtime)?;
    // How it ended over all lanes is said once what was not performed is known too.
    let end = RunEnd::Nothing;
    Ok(Applied {
        plan,
        runs: ended,
        end,
        failures,
        skipped,
        mismatches,
        unchecked: vec![],
        waits: vec![],
        deferred: swept,
        cut_short: vec![],
        overtaken: BTreeSet::new(),
    })
}
