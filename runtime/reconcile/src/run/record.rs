//! The last stage: leases, runs, and where a lane stands.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tidelock_model::digest::Digest;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::event::RunEvent;
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::{Action, Cause, LanePlan, Plan, Wait};
use tidelock_model::port::{Fetched, LaneRecord, Lease, Until};
use tidelock_model::revision::{Revision, Signature};
use tidelock_model::run::{Approval, Run, RunCounts, RunEnd, Status};
use tidelock_plan::gate::{self, ApprovedPlan};
use tidelock_plan::holds;

use super::Applied;
use super::apply::Performed;
use super::check::Meant;
use super::gate::{ApprovedPass, Held};
use super::plan::Pass;
use super::prove::Proven;
use super::source::Lanes;
use crate::error::RunError;
use crate::runtime::Runtime;
use crate::select::Selected;

/// How long a command waits for a lease: longer than a pass of the loop that finds
/// something small to do, shorter than a person's patience.
const PATIENCE_MS: u64 = 10_000;

/// How often a command asks for a lease that is another's.
const ASK_AGAIN_MS: u64 = 100;

/// The leases of a pass; given back when it ends.
pub(crate) struct Leases {
    lanes: BTreeMap<Lane, Lease>,
    targets: BTreeMap<Name, Lease>,
    store: std::sync::Arc<dyn tidelock_model::port::Store>,
    until: Until,
}

impl Leases {
    /// Takes the leases of the lanes of a pass.
    pub(crate) fn take(runtime: &Runtime, selected: &[Selected], who: &str) -> Result<Self, RunError> {
        Self::of_lanes(runtime, selected.iter().map(|selected| &selected.lane), who)
    }

    /// The same for a command: a daemon that is at work there gets a while to end its pass.
    pub(crate) async fn wait(runtime: &Runtime, lanes: &[&Lane], who: &str) -> Result<Self, RunError> {
        let mut waited = 0;
        loop {
            match Self::of_lanes(runtime, lanes.iter().copied(), who) {
                Err(RunError::Store(error)) if error.code == "busy" && waited < PATIENCE_MS => {
                    runtime.clock.sleep(ASK_AGAIN_MS).await;
                    waited += ASK_AGAIN_MS;
                }
                taken => return taken,
            }
        }
    }

    /// Takes the leases of lanes and of their targets, in one order for everybody.
    pub(crate) fn of_lanes<'a>(
        runtime: &Runtime,
        lanes: impl IntoIterator<Item = &'a Lane>,
        who: &str,
    ) -> Result<Self, RunError> {
        // From before they are taken: the store counts from later on.
        let until = Until::at(runtime.clock.uptime().saturating_add(runtime.lease_ms));
        let mut leases = Self { lanes: BTreeMap::new(), targets: BTreeMap::new(), store: runtime.store.clone(), until };
        let lanes: BTreeSet<&Lane> = lanes.into_iter().collect();
        let targets: BTreeSet<&Name> = lanes.iter().map(|lane| &lane.target).collect();
        for target in targets {
            let lease = runtime.store.lease(&format!("target:{target}"), who, runtime.lease_ms)?;
            leases.targets.insert(target.clone(), lease);
        }
        for lane in lanes {
            let lease = runtime.store.lease(&format!("lane:{lane}"), who, runtime.lease_ms)?;
            leases.lanes.insert(lane.clone(), lease);
        }
        Ok(leases)
    }

    /// A lane's lease.
    pub(crate) fn of(&self, lane: &Lane) -> Result<&Lease, RunError> {
        self.lanes
            .get(lane)
            .ok_or_else(|| Fault::new("fenced", Blame::Host, format!("no lease is held for {lane}")).into())
    }

    /// Keeps all of them for another while.
    pub(crate) fn renew(&self, runtime: &Runtime) -> Result<(), RunError> {
        let until = runtime.clock.uptime().saturating_add(runtime.lease_ms);
        for lease in self.targets.values().chain(self.lanes.values()) {
            runtime.store.renew(lease, runtime.lease_ms)?;
        }
        self.until.set(until);
        Ok(())
    }

    /// Until when effects may be begun under them.
    pub(crate) fn until(&self) -> &Until {
        &self.until
    }

    /// Waits for something that may take longer than a lease lasts, and keeps them meanwhile.
    pub(crate) async fn kept_while<T>(&self, runtime: &Runtime, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = runtime.clock.sleep(runtime.lease_ms / 3) => {}
            }
            // What is under way ends all the same; what comes after it asks for the lease itself.
            if let Err(error) = self.renew(runtime) {
                tracing::warn!(%error, "a lease was not renewed");
            }
        }
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        for lease in self.targets.values().chain(self.lanes.values()) {
            // A lease that cannot be given back runs out by itself.
            if let Err(error) = self.store.release(lease) {
                tracing::warn!(lease = %lease.key, %error, "lease not given back");
            }
        }
    }
}

/// The runs of a pass, one for each lane that has something to do.
pub(super) struct Runs {
    runs: BTreeMap<Lane, Run>,
}

impl Runs {
    /// Begins a run in each lane that has changes.
    pub(super) fn begin(runtime: &Runtime, approved: &ApprovedPlan, who: &str) -> Result<Self, RunError> {
        let mut runs = BTreeMap::new();
        for lane in &approved.plan().lanes {
            if approved.plan().changes_of(&lane.lane).next().is_none() {
                continue;
            }
            let approver = approvers(approved, &lane.lane);
            let run = begun(runtime, approved.plan(), &lane.lane, lane.digest, who, approver);
            runtime.store.begin_run(&run)?;
            let before = runtime.store.lane(&lane.lane)?;
            // Stands until the run has ended: what a killed process leaves must not read as converged.
            let why = format!("run {} goes on, or was interrupted", run.id);
            note(runtime, before.as_ref(), &lane.lane, approved.plan(), Status::Pending, Some(why), |_| {})?;
            runs.insert(lane.lane.clone(), run);
        }
        Ok(Self { runs })
    }

    pub(super) fn has(&self, lane: &Lane) -> bool {
        self.runs.contains_key(lane)
    }

    pub(super) fn id(&self, lane: &Lane) -> &str {
        self.runs.get(lane).map_or("", |run| &run.id)
    }

    pub(super) fn count(&mut self, lane: &Lane, end: &str) {
        let Some(run) = self.runs.get_mut(lane) else { return };
        let counts = &mut run.counts;
        match end {
            "done" => counts.done += 1,
            "failed" => counts.failed += 1,
            "unknown" => counts.unknown += 1,
            _ => counts.skipped += 1,
        }
    }
}

/// Who approved: the people who did so beforehand, else the caller.
fn approvers(approved: &ApprovedPlan, lane: &Lane) -> Option<String> {
    let of: Vec<&Approval> = approved.approvals().iter().filter(|approval| approval.lane == *lane).collect();
    let beforehand: Vec<&str> =
        of.iter().filter(|one| one.how == Approval::BEFOREHAND).map(|one| one.who.as_str()).collect();
    if beforehand.is_empty() { of.first().map(|one| one.who.clone()) } else { Some(beforehand.join(", ")) }
}

fn begun(runtime: &Runtime, plan: &Plan, lane: &Lane, digest: Digest, who: &str, approver: Option<String>) -> Run {
    run_at(runtime, plan.revision_of(lane), lane, digest, who, approver)
}

/// A run that begins now, over a lane at a revision.
pub(crate) fn run_at(
    runtime: &Runtime,
    revision: &Revision,
    lane: &Lane,
    digest: Digest,
    who: &str,
    approver: Option<String>,
) -> Run {
    Run {
        revision: revision.id.clone(),
        author: revision.author.clone(),
        signer: match &revision.signature {
            Signature::Verified { signer, .. } => Some(signer.clone()),
            Signature::NotAsked | Signature::Worktree => None,
        },
        ..run_at_nothing(runtime, lane, digest, who, approver)
    }
}

/// The same where nothing is known of a revision.
pub(crate) fn run_at_nothing(
    runtime: &Runtime,
    lane: &Lane,
    digest: Digest,
    who: &str,
    approver: Option<String>,
) -> Run {
    let began = runtime.clock.now();
    let salt = Digest::of(format!("{lane}{digest}{}", began.as_nanosecond()).as_bytes()).short();
    Run {
        id: format!("{}-{}", began.strftime("%Y%m%dT%H%M%S%3f"), &salt[..6]),
        lane: lane.clone(),
        began,
        ended: None,
        end: None,
        who: who.to_owned(),
        revision: String::new(),
        author: String::new(),
        signer: None,
        approver,
        digest,
        counts: RunCounts::default(),
        fault: None,
    }
}

/// Notes which lanes there are no more: their stack left Git, or the operator's config their
/// target, or the stack does not go there any longer. Their resources stay until somebody says so.
pub(super) fn orphaned(runtime: &Runtime, fetched: &Fetched, lanes: &Lanes) -> Result<(), RunError> {
    let source = &fetched.revision.source;
    let in_force = runtime.store.revision(source)?.is_some_and(|revision| revision.id == fetched.revision.id);
    for mut record in runtime.store.lanes()? {
        let lane = &record.lane;
        let known = in_force && lanes.unread.is_empty();
        if in_force && !known && lane.source == *source && !lanes.has(&lane.stack) {
            unread(runtime, fetched, lanes, record)?;
            continue;
        }
        let why = if record.status == Status::Orphaned {
            None
        } else if !runtime.config.sources.contains_key(&lane.source) {
            Some(format!("the config declares no source {} any more", lane.source))
        } else if lane.source == *source && known {
            gone(runtime, fetched, lanes, lane)?
        } else {
            None
        };
        if let Some(why) = why {
            record.status = Status::Orphaned;
            record.why = Some(format!("{why}; its resources stay"));
            record.since = Some(runtime.clock.now());
            runtime.store.put_lane(&record)?;
        }
    }
    Ok(())
}

/// Notes that a lane's stack may have left, or be among those that cannot be read: nobody looks
/// at the lane meanwhile, so it must not read as it did before.
fn unread(runtime: &Runtime, fetched: &Fetched, lanes: &Lanes, mut record: LaneRecord) -> Result<(), RunError> {
    let why = format!(
        "no stack {} can be read at {}, and these cannot: {}",
        record.lane.stack,
        fetched.revision.short(),
        lanes.unread.join(", ")
    );
    if record.status == Status::Orphaned || record.why.as_ref() == Some(&why) {
        return Ok(());
    }
    if record.status != Status::Failed {
        record.since = Some(runtime.clock.now());
    }
    record.status = Status::Failed;
    record.why = Some(why);
    Ok(runtime.store.put_lane(&record)?)
}

/// Why a lane is none any more.
fn gone(runtime: &Runtime, fetched: &Fetched, lanes: &Lanes, lane: &Lane) -> Result<Option<String>, RunError> {
    let at = fetched.revision.short();
    let Some(stack) = lanes.stacks.iter().find(|stack| stack.decl.name == lane.stack) else {
        return Ok(Some(format!("the stack left Git at {at}")));
    };
    if !runtime.config.targets.contains_key(&lane.target) {
        return Ok(Some("the config declares its target no more".to_owned()));
    }
    let revision = &lanes.pins.files(&lane.stack, fetched).revision.id;
    let there = runtime.siblings.of(&runtime.config, &lane.source, stack, revision)?;
    Ok((!there.contains(lane)).then(|| format!("the stack does not go to {} any more, as of {at}", lane.target)))
}

/// Notes where each lane stands after a plan.
pub(super) fn planned(runtime: &Runtime, pass: &Pass) -> Result<(), RunError> {
    for lane in &pass.lanes {
        let key = &lane.rendered.desired.lane;
        let changes: Vec<_> = pass.plan.changes_of(key).collect();
        let digest = pass.plan.lanes.iter().find(|part| part.lane == *key).map(|part| part.digest.to_string());
        let event = RunEvent::Planned { changes: changes.len(), digest: digest.unwrap_or_default() };
        runtime.emit(None, Some(key), &event)?;
        let status = if changes.is_empty() { Status::Converged } else { pending(&pass.plan, key) };
        // A lane that never finished a run is not converged by being looked at.
        let contacted = lane.record.as_ref().is_some_and(|record| record.contacted);
        let status = if status == Status::Converged && !contacted { Status::Pending } else { status };
        let why = (!changes.is_empty()).then(|| format!("{} change(s) planned", changes.len()));
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

/// A lane that a person holds says so, whatever else is to be said of it.
fn held(waits: &[Wait], status: Status, why: Option<String>) -> (Status, Option<String>) {
    let holds = holds::status(waits, status);
    let said = waits.iter().find(|wait| holds != status && holds::is_hold(wait)).map(|wait| wait.message.clone());
    (holds, said.or(why))
}

fn note(
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
    });
    for part in &plan.lanes {
        let through = performed && applied.plan.lanes.iter().any(|done| done.lane == part.lane);
        if !through {
            applied.runs.extend(not_performed(runtime, &plan, part, &held.waits, unchecked.get(&part.lane), who)?);
        }
    }
    applied.waits = held.waits;
    applied.unchecked = unchecked.into_iter().collect();
    applied.plan = plan;
    applied.end = ended(&applied, held.refused);
    Ok(applied)
}

/// Puts a further pass of a run to the ones before: it was about what was `open` there.
pub(super) fn further(before: Applied, more: Applied, open: &BTreeSet<Lane>) -> Applied {
    let refused = [before.end, more.end].contains(&RunEnd::Refused);
    let mut all = before;
    all.waits.retain(|(lane, _)| !open.contains(lane));
    all.runs.extend(more.runs);
    all.failures.extend(more.failures);
    all.skipped.extend(more.skipped);
    all.mismatches.extend(more.mismatches);
    all.unchecked.extend(more.unchecked);
    all.waits.extend(more.waits);
    for error in more.plan.errors {
        if !all.plan.errors.contains(&error) {
            all.plan.errors.push(error);
        }
    }
    all.end = ended(&all, refused);
    all
}

/// How a run ended over all of its lanes.
fn ended(applied: &Applied, refused: bool) -> RunEnd {
    let done = applied.runs.iter().any(|run| run.counts.done > 0);
    match worst(&applied.runs, done && !applied.plan.errors.is_empty()) {
        end @ (RunEnd::Failed | RunEnd::Partly | RunEnd::Interrupted) => end,
        _ if !applied.unchecked.is_empty() => {
            if done {
                RunEnd::Partly
            } else {
                RunEnd::Failed
            }
        }
        _ if refused => RunEnd::Refused,
        _ if !applied.waits.is_empty() => RunEnd::Waiting,
        RunEnd::Nothing if !applied.plan.errors.is_empty() => RunEnd::Partly,
        end => end,
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
        || proven.mismatches.iter().any(|mismatch| here(&mismatch.address));
    if bad { Meant::Not } else { Meant::Performed(performed.runs.id(lane)) }
}

/// Records a lane in which nothing was performed. The first time that a lane is seen to
/// be as Git says is a finished run too, and is given back.
fn not_performed(
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
    // What could not be seen is not taken for being as it should.
    let unseen = plan.changes_of(lane).find(|change| change.action == Action::Deferred);
    let unseen = unseen.map(|change| {
        let why = change.reason.as_deref().unwrap_or("it is not known what is to be done");
        format!("{}: {why}", change.address.resource)
    });
    let wrong = unchecked.cloned().or(unseen);
    let status = if nothing && wrong.is_some() {
        Status::Failed
    } else if nothing {
        Status::Converged
    } else if waits.iter().all(|wait| wait.code == tidelock_plan::REPORTS) {
        // Nobody is waited for: the stack wants to know, and no more.
        pending(plan, lane)
    } else {
        Status::Waiting
    };
    let (status, reason) = held(&part.waits, status, reason.or_else(|| wrong.clone()));
    let first = before.as_ref().is_none_or(|record| !record.contacted);
    let run = if nothing && wrong.is_none() && first {
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
        if nothing && wrong.is_none() {
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
    Ok(run)
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
    let Proven { performed, mismatches } = proven;
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
        let complete = !plan.changes_of(key).any(|change| change.action == Action::Deferred);
        let status = match (good, complete) {
            (true, true) => Status::Converged,
            (true, false) => Status::Pending,
            (false, _) if end == RunEnd::Interrupted => Status::Pending,
            (false, _) => Status::Failed,
        };
        let why = wrong.first().or_else(|| early.get(key)).cloned();
        let run = match run {
            Some(mut run) => {
                run.ended = Some(runtime.clock.now());
                run.end = Some(end);
                run.fault.clone_from(&why);
                runtime.store.end_run(&run)?;
                runtime.emit(Some(&run.id), Some(key), &RunEvent::Ended { end, counts: run.counts })?;
                Some(run)
            }
            None => None,
        };
        note(runtime, lane.record.as_ref(), key, &plan, status, why, |record| {
            // A run that went to its end, be it with failures, is contact.
            record.contacted = true;
            record.plugins.clone_from(&lane.rendered.desired.plugins);
            if good && complete {
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
    Ok(Applied { plan, runs: ended, end, failures, skipped, mismatches, unchecked: vec![], waits: vec![] })
}

fn worst(runs: &[Run], errors: bool) -> RunEnd {
    let ends: Vec<RunEnd> = runs.iter().filter_map(|run| run.end).collect();
    let any = |end: RunEnd| ends.contains(&end);
    let done = any(RunEnd::Done) || any(RunEnd::Partly);
    match () {
        () if any(RunEnd::Interrupted) => RunEnd::Interrupted,
        () if any(RunEnd::Failed) && !done => RunEnd::Failed,
        () if any(RunEnd::Failed) || any(RunEnd::Partly) || errors => RunEnd::Partly,
        () if done => RunEnd::Done,
        () => RunEnd::Nothing,
    }
}
