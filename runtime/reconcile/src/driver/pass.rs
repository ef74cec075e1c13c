//! One pass over one lane, as the loop makes it: look, and where there is something to
//! do, apply with what policies and stored approvals allow. Nobody is asked.

use jiff::Timestamp;
use tidelock_model::event::RunEvent;
use tidelock_model::name::{Identity, Lane};
use tidelock_model::plan::Cause;
use tidelock_model::port::{LaneRecord, StoreError, Want};
use tidelock_model::run::{PassEnd, RunEnd, Status};

use super::schedule::Ended;
use crate::error::RunError;
use crate::run::{Applied, quiet};
use crate::runtime::{Caller, Runtime, Selection};

/// Who asks for the runs of the loop.
const WHO: &str = "timer";

/// What came of a pass.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) how: Ended,
    /// The same for who listens.
    pub(super) end: PassEnd,
    /// Resources whose drift it found and the pass before had not.
    pub(super) drifted: usize,
    /// Why it failed.
    pub(super) why: Option<String>,
    /// When something that it waits for ends by itself.
    pub(super) until: Option<Timestamp>,
    /// The lane that has to get there first.
    pub(super) on: Option<Lane>,
    /// Whether it found everything as it was, and wrote nothing down.
    pub(super) quiet: bool,
}

impl Passed {
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..Self::ended(Ended::Failed, PassEnd::Failed) }
    }

    fn ended(how: Ended, end: PassEnd) -> Self {
        Self { how, end, drifted: 0, why: None, until: None, on: None, quiet: false }
    }
}

/// A pass over a lane, at the revision in force.
#[tracing::instrument(name = "pass", skip_all, fields(lane = %lane))]
pub(super) async fn pass(runtime: &Runtime, lane: &Lane) -> Passed {
    // Before the look: what changes while it goes on is seen by it, or told.
    watch(runtime, lane).await;
    let passed = match at_revision_in_force(runtime, lane).await {
        Ok(passed) => passed,
        Err(error) => failed(&error),
    };
    Passed { until: passed.until.into_iter().chain(unpinned(runtime, lane)).min(), ..passed }
}

/// Has what the lane owns watched, compared with how it is now.
async fn watch(runtime: &Runtime, lane: &Lane) {
    let Some(watch) = runtime.watch.clone() else { return };
    let (store, lane) = (runtime.store.clone(), lane.clone());
    let watched = tokio::task::spawn_blocking(move || {
        let mut owned = store.identities(&lane)?;
        owned.extend(store.texts(&lane)?.iter().map(|path| Identity::new(format!("path:{path}"))));
        watch.watch(&lane, &owned);
        Ok::<_, StoreError>(())
    });
    match watched.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "not watched"),
        Err(error) => tracing::debug!(%error, "not watched"),
    }
}

async fn at_revision_in_force(runtime: &Runtime, lane: &Lane) -> Result<Passed, RunError> {
    let Some(revision) = runtime.store.revision(&lane.source)? else {
        return Ok(Passed::ended(Ended::Idle, PassEnd::Unchanged));
    };
    let selection = Selection {
        source: Some(lane.source.clone()),
        stacks: vec![lane.stack.to_string()],
        targets: vec![lane.target.to_string()],
        want: Want::Rev(revision.id),
    };
    if quiet(runtime, &selection, lane).await? {
        return Ok(Passed { quiet: true, ..Passed::ended(Ended::Idle, PassEnd::Unchanged) });
    }
    let before = runtime.store.lane(lane)?;
    let applied = crate::apply(runtime, &selection, WHO, Caller::Loop, None).await?;
    Ok(Passed { drifted: drifted(&applied, lane, before.as_ref()), ..came_of(&applied) })
}

/// Resources that drifted, where that is news: a lane that waits with the very plan that it
/// had before was counted then.
fn drifted(applied: &Applied, lane: &Lane, before: Option<&LaneRecord>) -> usize {
    let digest = applied.plan.lanes.iter().find(|part| part.lane == *lane).map(|part| part.digest);
    if before.is_some_and(|before| before.status != Status::Converged && before.digest == digest) {
        return 0;
    }
    applied.plan.changes_of(lane).filter(|change| change.cause == Some(Cause::Drift)).count()
}

/// When the lane's stack is no longer kept at an older revision.
fn unpinned(runtime: &Runtime, lane: &Lane) -> Option<Timestamp> {
    let pins = runtime.store.pins().unwrap_or_default();
    pins.into_iter().find(|pin| pin.source == lane.source && pin.stack == lane.stack)?.until
}

fn came_of(applied: &Applied) -> Passed {
    let why = applied
        .failures
        .iter()
        .map(|(address, fault)| format!("{}: {}", address.resource, fault.message))
        .chain(applied.mismatches.iter().map(|mismatch| format!("{}: {}", mismatch.address.resource, mismatch.why)))
        .chain(applied.unchecked.iter().map(|(_, why)| why.clone()))
        .chain(applied.plan.errors.iter().map(|error| error.message.clone()))
        .next();
    let well = || applied.runs.iter().all(|run| matches!(run.end, Some(RunEnd::Done | RunEnd::Nothing)));
    let how = match applied.end {
        _ if why.is_some() => Ended::Failed,
        // What was done may have made known what is left.
        RunEnd::Partly if !applied.deferred.is_empty() && well() => Ended::Again,
        RunEnd::Failed | RunEnd::Partly | RunEnd::Interrupted => Ended::Failed,
        RunEnd::Done => Ended::Well,
        RunEnd::Nothing | RunEnd::Waiting | RunEnd::Refused => Ended::Idle,
    };
    let end = match applied.end {
        _ if how == Ended::Failed => PassEnd::Failed,
        RunEnd::Waiting => PassEnd::Waiting,
        RunEnd::Refused => PassEnd::Refused,
        RunEnd::Nothing => PassEnd::Unchanged,
        _ => PassEnd::Done,
    };
    let until = applied.waits.iter().filter_map(|(_, wait)| wait.until).min();
    let on = applied.waits.iter().find_map(|(_, wait)| wait.on.clone());
    Passed { why, until, on, ..Passed::ended(how, end) }
}

fn failed(error: &RunError) -> Passed {
    // Fenced: it was frozen, and another process took the lane over, which says how it stands.
    if let RunError::Store(error) = error
        && matches!(error.code.as_str(), "busy" | "fenced")
    {
        return Passed::ended(Ended::Busy, PassEnd::Busy);
    }
    let failed = Passed::failed(error.sentence());
    match error.status() {
        Status::Waiting => Passed { end: PassEnd::Waiting, ..failed },
        _ => failed,
    }
}

/// Keeps a failure, or what is waited for, and when the next try is due, so that a restart does not forget it.
/// Told as an event where it is new, not at each try.
pub(super) fn keep_failure(
    runtime: &Runtime,
    lane: &Lane,
    why: &str,
    status: Status,
    attempts: u32,
    retry_at: Option<Timestamp>,
) -> Result<(), RunError> {
    let before = runtime.store.lane(lane)?;
    let news = before.as_ref().is_none_or(|record| record.attempts == 0 || record.why.as_deref() != Some(why));
    let mut record = before.unwrap_or_else(|| LaneRecord::unknown(lane.clone()));
    let now = runtime.clock.now();
    if record.status != status || record.since.is_none() {
        record.since = Some(now);
    }
    record.status = status;
    // What it was tried at: a rollout stops for what failed at the revision that it brings.
    if let Some(revision) = runtime.store.revision(&lane.source)? {
        record.planned = Some(revision);
    }
    record.why = Some(why.to_owned());
    record.attempts = attempts;
    record.retry_at = retry_at;
    runtime.store.put_lane(&record)?;
    if news && status == Status::Failed {
        let event = RunEvent::PassFailed { why: why.to_owned(), attempts };
        runtime.emit(None, Some(lane), &event)?;
    }
    Ok(())
}

/// Forgets earlier failures of a lane that ended well.
pub(super) fn forget_failures(runtime: &Runtime, lane: &Lane) -> Result<(), RunError> {
    if let Some(mut record) = runtime.store.lane(lane)?
        && (record.attempts > 0 || record.retry_at.is_some())
    {
        record.attempts = 0;
        record.retry_at = None;
        runtime.store.put_lane(&record)?;
    }
    Ok(())
}
