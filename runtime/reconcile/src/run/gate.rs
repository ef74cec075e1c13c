//! The fifth stage: from a plan to an approved plan. What decides is pure and lives in
//! `tidelock_plan::gate`; here the caller is asked, and the answer is kept.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::config::Config;
use tidelock_model::digest::Digest;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::event::RunEvent;
use tidelock_model::grant::glob;
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::{Change, FieldChange, LanePlan, Plan, Wait};
use tidelock_model::run::{Approval, Status};
use tidelock_model::stack::StackPolicy;
use tidelock_plan::gate::{self, ApprovedPlan, Decision, LanePolicy, LaneVerdict, Policy};

use super::leases::Leases;
use super::plan::{Pass, PlannedLane};
use super::{rules, shown};
use crate::error::RunError;
use crate::runtime::{Caller, Runtime, Yes};
use crate::{confirm, holds};

/// The code of a fault that is a plan beyond what was agreed to, in lanes that somebody else was ahead in.
pub(super) const NOT_AGREED: &str = "not-agreed";

/// What came of the gate.
pub(super) struct Passed {
    /// The lanes that go on.
    pub(super) approved: Option<ApprovedPass>,
    /// The lanes that do not, and why.
    pub(super) held: Held,
}

/// What the caller said yes to: once for a run, however many passes it takes.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Whether the caller was asked already.
    asked: bool,
    /// Lanes that have more to do than it was asked about.
    anew: BTreeSet<Lane>,
    /// The digests of the lanes that it said yes to.
    yes: BTreeMap<Lane, Digest>,
    /// Lanes that somebody else was ahead in, and what was agreed to there.
    overtaken: BTreeSet<Lane>,
    agreed: Vec<Change>,
}

impl Given {
    /// Has the caller asked about these lanes in the next pass: what is planned there now was
    /// not known when it was asked before.
    pub(super) fn ask_anew<'a>(&mut self, lanes: impl Iterator<Item = &'a Lane>) {
        self.anew = lanes.cloned().collect();
    }

    /// Lets nothing be done in these lanes in the next pass but what was planned in this one: what
    /// somebody else made of them meanwhile, nobody has seen.
    pub(super) fn no_more_than(&mut self, lanes: &BTreeSet<Lane>, plan: &Plan) {
        self.overtaken.clone_from(lanes);
        let of_them = plan.changes.iter().filter(|change| lanes.contains(&change.address.lane()));
        self.agreed = of_them.cloned().collect();
    }

    /// Whether a plan keeps to that.
    ///
    /// # Errors
    /// It would do something else ([`NOT_AGREED`]).
    pub(super) fn covers(&self, plan: &Plan) -> Result<(), Fault> {
        let of_them = |change: &&Change| change.is_change() && self.overtaken.contains(&change.address.lane());
        let beyond = |change: &&Change| !self.agreed.iter().any(|agreed| covers(agreed, change));
        match plan.changes.iter().filter(of_them).find(beyond) {
            None => Ok(()),
            Some(change) => {
                let message = format!(
                    "somebody else changed {} meanwhile, and what would be done about it now was not agreed to",
                    change.address
                );
                Err(Fault::new(NOT_AGREED, Blame::Target, message).hint("plan again, and apply that"))
            }
        }
    }
}

/// Whether a change does nothing that another one would not have: to each field the same, from the same.
fn covers(agreed: &Change, now: &Change) -> bool {
    let known = |field: &FieldChange| {
        let absent = agreed.before.is_none() && field.before.is_none();
        absent || agreed.fields.contains(field)
    };
    let same = agreed.address == now.address && agreed.identity == now.identity;
    if now.before.is_none() && now.after.is_none() {
        // It was to go, and is gone.
        return same && agreed.after.is_none();
    }
    same
        && (agreed.destructive || !now.destructive)
        && (now.after.is_some() || agreed.before == now.before)
        // What was there and is gone by now, somebody took away.
        && (agreed.before.is_none() || now.before.is_some())
        && now.fields.iter().all(known)
}

/// Lanes that are held up.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// What each waits for.
    pub(super) waits: Vec<(Lane, Wait)>,
    /// Whether there are some that no yes helps.
    pub(super) refused: bool,
}

/// An approved plan with the lanes that it came from.
pub(super) struct ApprovedPass {
    pub(super) approved: ApprovedPlan,
    pub(super) lanes: Vec<PlannedLane>,
}

/// Takes a plan through the gate, asking the caller where its yes is enough. In the loop
/// nobody is asked: what was approved beforehand, and the policies, decide. However long a person
/// reads, the lanes stay theirs.
pub(super) async fn pass(
    runtime: &Runtime,
    leases: &Leases,
    pass: Pass,
    caller: Caller<'_>,
    given: &mut Given,
) -> Result<(Plan, Passed), RunError> {
    let Pass { plan, ledger, lanes, policy, .. } = pass;
    let mut approvals = stored(runtime, &plan)?;
    let mut decision = gate::decide(&plan, &ledger, &policy, &approvals);
    // With what was said of it, for people: the gate itself counts every word.
    let told = (!approvals.is_empty()).then(|| {
        let mut told = plan.clone();
        say(runtime, &mut told, &approvals);
        told
    });
    let mut silent = Vec::new();
    if let Caller::Once(approver) = caller {
        let askable: Vec<Lane> =
            decision.lanes.iter().filter(|(_, verdict)| can_go_on(verdict)).map(|(lane, _)| lane.clone()).collect();
        // Where all of it was approved beforehand, nobody is asked again; else a caller is
        // asked about the whole, and a no is one to the whole.
        let said = |lane: &Lane| {
            let turn = |verdict: &LaneVerdict| {
                *verdict == LaneVerdict::Approved || verdict.waits().iter().all(|wait| wait.on.is_some())
            };
            approvals.iter().any(|word| word.yes && word.how == Approval::BEFOREHAND && word.lane == *lane)
                && decision.lanes.iter().any(|(of, verdict)| of == lane && turn(verdict))
        };
        let said_now =
            |lane: &Lane| plan.lanes.iter().any(|part| part.lane == *lane && given.yes.get(lane) == Some(&part.digest));
        let open: Vec<Lane> = askable.iter().filter(|lane| !said_now(lane)).cloned().collect();
        let askable = if open.iter().all(said) { vec![] } else { open };
        let (ask, mut unasked) = askable.into_iter().partition(|lane| !given.asked || given.anew.contains(lane));
        let ask: Vec<Lane> = ask;
        let yes = match ask.is_empty() {
            true => None,
            false => leases.kept_while(runtime, approver.approve(told.as_ref().unwrap_or(&plan), &ask)).await,
        };
        given.asked = true;
        if let Some(yes) = yes {
            // Whose yes it was is known for every change, asked for by a rule or not.
            approvals.extend(kept(runtime, &plan, &ask, &yes)?);
            let digests = plan.lanes.iter().filter(|part| ask.contains(&part.lane));
            given.yes.extend(digests.map(|part| (part.lane.clone(), part.digest)));
            decision = gate::decide(&plan, &ledger, &policy, &approvals);
        } else {
            unasked.extend(ask);
        }
        silent = unasked;
    }
    let mut held = Held {
        waits: waiting(&decision),
        refused: decision.lanes.iter().any(|(_, verdict)| matches!(verdict, LaneVerdict::Refused(_))),
    };
    let mut through: Vec<Lane> = decision
        .lanes
        .iter()
        .filter(|(lane, verdict)| *verdict == LaneVerdict::Approved && !silent.contains(lane))
        .map(|(lane, _)| lane.clone())
        .collect();
    let unasked =
        decision.lanes.iter().filter(|(lane, verdict)| *verdict == LaneVerdict::Approved && silent.contains(lane));
    held.waits.extend(unasked.map(|(lane, _)| (lane.clone(), nobody())));
    let late = holds::late(runtime, &plan, &through)?;
    through.retain(|lane| late.iter().all(|(held, _)| held != lane));
    held.waits.extend(late);
    let guarded = confirm::waits(runtime, &plan, &through, &approvals)?;
    through.retain(|lane| guarded.iter().all(|(held, _)| held != lane));
    held.waits.extend(guarded);
    tell(runtime, &decision, &held)?;
    let approved = decision.approved.filter(|_| !through.is_empty()).map(|approved| ApprovedPass {
        approved: approved.only(&through),
        lanes: lanes.into_iter().filter(|lane| through.contains(&lane.rendered.desired.lane)).collect(),
    });
    Ok((told.unwrap_or(plan), Passed { approved, held }))
}

/// Whether a caller's yes would let a lane go on.
fn can_go_on(verdict: &LaneVerdict) -> bool {
    match verdict {
        LaneVerdict::Approved => true,
        // Whose turn it is not yet goes on later in the run, under the same yes.
        LaneVerdict::Waits(waits) => waits.iter().all(|wait| wait.approvable || wait.on.is_some()),
        LaneVerdict::Nothing | LaneVerdict::Refused(_) => false,
    }
}

fn waiting(decision: &Decision) -> Vec<(Lane, Wait)> {
    decision
        .lanes
        .iter()
        .flat_map(|(lane, verdict)| verdict.waits().iter().map(|wait| (lane.clone(), wait.clone())))
        .collect()
}

/// One-shot, the caller's yes is asked for even where no rule holds the plan up.
fn nobody() -> Wait {
    let wait = Wait::new("no-yes", "nobody said yes to this apply").hint("answer at a terminal, or give `--yes`");
    Wait { approvable: true, ..wait }
}

/// Keeps a yes for each of these lanes of a plan.
fn kept(runtime: &Runtime, plan: &Plan, lanes: &[Lane], yes: &Yes) -> Result<Vec<Approval>, RunError> {
    let mut approvals = Vec::new();
    for lane in plan.lanes.iter().filter(|part| lanes.contains(&part.lane)) {
        let approval = Approval {
            yes: true,
            digest: lane.digest,
            lane: lane.lane.clone(),
            who: yes.who.clone(),
            at: runtime.clock.now(),
            how: yes.how.clone(),
            comment: yes.comment.clone(),
        };
        runtime.store.put_approval(&approval)?;
        let event = RunEvent::Approved { who: yes.who.clone(), how: yes.how.clone() };
        runtime.emit(None, Some(&lane.lane), &event)?;
        approvals.push(approval);
    }
    Ok(approvals)
}

fn tell(runtime: &Runtime, decision: &Decision, held: &Held) -> Result<(), RunError> {
    for (lane, verdict) in &decision.lanes {
        let reasons: Vec<String> =
            held.waits.iter().filter(|(of, _)| of == lane).map(|(_, wait)| wait.message.clone()).collect();
        if reasons.is_empty() {
            continue;
        }
        let refused = matches!(verdict, LaneVerdict::Refused(_));
        if runtime.looping && told_before(runtime, lane, &reasons)? {
            continue;
        }
        let event = if refused { RunEvent::Refused { reasons } } else { RunEvent::Waiting { reasons } };
        runtime.emit(None, Some(lane), &event)?;
    }
    Ok(())
}

/// Whether a lane waits for what it waited for at the last look: told then, and no news.
fn told_before(runtime: &Runtime, lane: &Lane, reasons: &[String]) -> Result<bool, RunError> {
    let told = |status| matches!(status, Status::Waiting | Status::Drifted | Status::Pending);
    let before = runtime.store.lane(lane)?.filter(|record| told(record.status));
    Ok(before
        .is_some_and(|record| reasons.iter().all(|reason| record.waits.iter().any(|wait| wait.message == *reason))))
}

/// Writes into a plan what people said of it beforehand.
pub(super) fn said(runtime: &Runtime, plan: &mut Plan) -> Result<(), RunError> {
    let approvals = stored(runtime, plan)?;
    if !approvals.is_empty() {
        say(runtime, plan, &approvals);
    }
    Ok(())
}

fn say(runtime: &Runtime, plan: &mut Plan, approvals: &[Approval]) {
    let (people, now) = (people(&runtime.config), runtime.clock.now());
    let revisions: Vec<_> = plan.lanes.iter().map(|part| plan.revision_of(&part.lane).clone()).collect();
    for (part, revision) in plan.lanes.iter_mut().zip(revisions) {
        gate::say(part, &revision, &people, approvals, now);
    }
}

/// What users are called as authors of commits.
fn people(config: &Config) -> BTreeMap<String, Vec<String>> {
    config.people.iter().map(|(user, names)| (user.clone(), names.0.clone())).collect()
}

fn stored(runtime: &Runtime, plan: &Plan) -> Result<Vec<Approval>, RunError> {
    let mut approvals = Vec::new();
    for lane in &plan.lanes {
        approvals.extend(runtime.store.approvals(&lane.digest)?.into_iter().filter(|a| a.lane == lane.lane));
    }
    Ok(approvals)
}

/// What the gate decides by, from the config, the stacks and what is remembered.
pub(super) fn policy(
    runtime: &Runtime,
    plan: &Plan,
    lanes: &[PlannedLane],
    before: &BTreeMap<Name, StackPolicy>,
) -> Result<Policy, RunError> {
    let mut policy = Policy { now: runtime.clock.now(), people: people(&runtime.config), ..Policy::default() };
    let in_force = runtime.store.revision(&plan.source)?.is_some_and(|revision| revision.id == plan.revision.id);
    for lane in lanes {
        let desired = &lane.rendered.desired;
        let mut accept_new = false;
        for pattern in &runtime.config.accept_new {
            accept_new |= glob(pattern, false)?.is_match(desired.lane.target.as_str());
        }
        let decl = &desired.stack.decl;
        let own = decl.policy();
        let revision = &plan.revision_of(&desired.lane).id;
        let before = match before.get(&decl.name) {
            Some(before) => Some(*before),
            None => shown::before(runtime, &desired.lane, revision, own, in_force)?,
        };
        let rules = LanePolicy {
            contacted: lane.record.as_ref().is_some_and(|record| record.contacted),
            plugins: lane.record.as_ref().map(|record| record.plugins.clone()).unwrap_or_default(),
            own,
            before,
            accept_new,
            owned: lane.owned,
            rules: rules::of(&runtime.config, &desired.stack.dir, &desired.lane.target)?,
            behind: vec![],
        };
        policy.lanes.insert(desired.lane.clone(), rules);
    }
    Ok(policy)
}

/// Whether a saved plan is what would be done now.
///
/// # Errors
/// `Stale` where something else would be done; `Forged` where the saved plan says the
/// right digest over other contents.
pub(super) fn same_as_saved(saved: &Plan, now: &Plan) -> Result<(), RunError> {
    if saved.format != now.format {
        return Err(RunError::Forged(format!("its format is {:?}; this version writes {}", saved.format, now.format)));
    }
    if saved.digest != now.digest {
        let mut why = Vec::new();
        for lane in &now.lanes {
            match saved.lanes.iter().find(|other| other.lane == lane.lane) {
                None => why.push(format!("{} was not in it", lane.lane)),
                Some(other) if other.digest != lane.digest => why.push(difference(saved, now, &lane.lane)),
                Some(_) => {}
            }
        }
        for lane in saved.lanes.iter().filter(|lane| !now.lanes.iter().any(|other| other.lane == lane.lane)) {
            why.push(format!("{} is not planned now", lane.lane));
        }
        if why.is_empty() {
            return Err(RunError::Forged("its digest is not that of its lanes".to_owned()));
        }
        return Err(RunError::Stale { why: why.join("; "), now: now.lanes.clone() });
    }
    // Where packets go may be another by now. What a reviewer was not warned of is not what was reviewed.
    let warned = |part: &LanePlan| {
        let saved = saved.lanes.iter().find(|other| other.lane == part.lane);
        saved.is_some_and(|saved| part.cuts.iter().all(|cut| saved.cuts.contains(cut)))
    };
    if let Some(part) = now.lanes.iter().find(|part| !warned(part)) {
        let why = format!("{} may cut the way to Git, which it did not say", part.lane);
        return Err(RunError::Stale { why, now: now.lanes.clone() });
    }
    let bare = |plan: &Plan| {
        let groups: Vec<_> = plan.groups.iter().map(|g| (g.id, &g.lane, g.atomic, &g.after)).collect();
        // Prose too: a reviewer reads it, and it follows from the rest.
        let effects: Vec<_> =
            plan.groups.iter().flat_map(|g| &g.effects).map(|e| (&e.effect, e.destructive, &e.summary)).collect();
        let changes: Vec<_> = plan
            .changes
            .iter()
            .map(|c| ((&c.address, c.action, c.cause), (&c.before, &c.after, &c.fields, c.group)))
            .collect();
        // What people and windows have to say may be another by now: the gate asks anew. A pin
        // came or went in between, perhaps: it says nothing of what would be done.
        let mut lanes = plan.lanes.clone();
        for lane in &mut lanes {
            lane.waits.retain(|wait| gate::refuses(wait) || !gate::holds_up(wait));
            lane.pinned = None;
            lane.approved.clear();
            lane.batch = None;
            lane.cuts.clear();
        }
        format!("{groups:?}{effects:?}{changes:?}{lanes:?}")
    };
    let previews = |plan: &Plan| -> Vec<String> {
        plan.groups.iter().flat_map(|group| &group.effects).map(|effect| effect.preview.text.clone()).collect()
    };
    // A plan may be saved without previews; one that has them has the true ones.
    let shown = previews(saved).into_iter().zip(previews(now)).all(|(saved, now)| saved.is_empty() || saved == now);
    if !shown || bare(saved) != bare(now) {
        return Err(RunError::Forged("its changes are not those of its digest".to_owned()));
    }
    let reasons = saved.changes.iter().zip(&now.changes).filter(|(saved, now)| saved.reason != now.reason);
    let mut others = reasons.peekable();
    let Some((_, first)) = others.peek().copied() else { return Ok(()) };
    if others.all(|(saved, now)| [saved, now].iter().any(|one| confirm::tells_of_a_return(one.reason.as_ref()))) {
        let why = format!("{} went back to what it was, or that is over, since it was saved", first.address.lane());
        return Err(RunError::Stale { why, now: now.lanes.clone() });
    }
    Err(RunError::Forged("its reasons are not those of its changes".to_owned()))
}

/// One sentence of how a lane's plan is not what it was.
fn difference(saved: &Plan, now: &Plan, lane: &Lane) -> String {
    let of = |plan: &Plan| -> Vec<(String, String)> {
        plan.changes_of(lane)
            .map(|c| (c.address.resource.to_string(), format!("{:?} {:?}", c.action, c.fields)))
            .collect()
    };
    let (before, after) = (of(saved), of(now));
    let changed: Vec<&str> = after
        .iter()
        .filter(|one| !before.contains(one))
        .chain(before.iter().filter(|one| !after.contains(one)))
        .map(|(address, _)| address.as_str())
        .collect();
    match changed.first() {
        Some(first) if changed.len() == 1 => format!("{lane}: {first} would be planned otherwise"),
        Some(first) => format!("{lane}: {first} and {} more would be planned otherwise", changed.len() - 1),
        None => format!("{lane}: what Git desires, a plugin or the target is not what it was"),
    }
}
