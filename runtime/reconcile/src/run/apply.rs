//! The sixth stage: performing what was approved.
//!
//! **Invariant.** Only an [`ApprovedPlan`] is performed, and only the gate makes one.
//! An intent is durable before its first effect; an outcome follows every intent.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use tidelock_model::effect::EffectBody;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::event::RunEvent;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::name::{Address, Lane, Name};
use tidelock_model::plan::{Action, Cause, Change, Group, Plan};
use tidelock_model::port::{Settled, Target};
use tidelock_model::run::{EffectEnd, Intent, IntentChange, Lost, Outcome};
use tidelock_model::stack::confirm_ms;
use tidelock_plan::Ledger;
use tidelock_plan::gate::ApprovedPlan;

use super::CHANGED;
use super::gate::ApprovedPass;
use super::leases::Leases;
use super::runs::Runs;
use super::way;
use crate::confirm;
use crate::contents::BlobSet;
use crate::error::RunError;
use crate::holds;
use crate::runtime::Runtime;
use crate::undo;

/// Groups of one batch: their intents are made durable, performed and settled together.
const BATCH: usize = 256;

/// What was performed.
pub(super) struct Performed {
    pub(super) runs: Runs,
    /// Changes that were done.
    pub(super) done: BTreeSet<Address>,
    pub(super) failures: Vec<(Address, Fault)>,
    pub(super) skipped: Vec<(Address, String)>,
    pub(super) unknown: Vec<(Address, String)>,
    /// Lanes in which groups were not begun any more, and why.
    pub(super) early: BTreeMap<Lane, String>,
    /// Lanes in which an effect was performed, or may have been.
    pub(super) wrote: BTreeSet<Lane>,
    /// Lanes that a guard stands over, and its id.
    pub(super) guarded: BTreeMap<Lane, String>,
    /// Sources whose way to Git it touches, and whose servers answered before.
    pub(super) answered: BTreeSet<Name>,
}

impl Performed {
    fn of(runs: Runs) -> Self {
        Self {
            runs,
            done: BTreeSet::new(),
            failures: vec![],
            skipped: vec![],
            unknown: vec![],
            early: BTreeMap::new(),
            wrote: BTreeSet::new(),
            guarded: BTreeMap::new(),
            answered: BTreeSet::new(),
        }
    }

    /// Whether a lane is as it was: the target refused all of it, since somebody else was ahead of what
    /// the plan relied on.
    pub(super) fn was_refused(&self, lane: &Lane) -> bool {
        let mut faults = self.failures.iter().filter(|(of, _)| of.lane() == *lane).map(|(_, fault)| fault).peekable();
        faults.peek().is_some() && faults.all(|fault| fault.code == CHANGED) && !self.wrote.contains(lane)
    }

    /// Puts what was performed on another target to it.
    fn add(&mut self, other: Self) {
        self.runs.add(other.runs);
        self.done.extend(other.done);
        self.failures.extend(other.failures);
        self.skipped.extend(other.skipped);
        self.unknown.extend(other.unknown);
        self.early.extend(other.early);
        self.wrote.extend(other.wrote);
        self.guarded.extend(other.guarded);
    }
}

/// Performs an approved plan: what goes to one target in order, several targets at once.
pub(super) async fn perform(
    runtime: &Runtime,
    leases: &Leases,
    pass: &ApprovedPass,
    blobs: &BlobSet,
    who: &str,
) -> Result<Performed, RunError> {
    let answered = way::answering(runtime, leases, pass.approved.plan()).await;
    let runs = Runs::begin(runtime, &pass.approved, who)?;
    let work = runs.by_target().into_values().map(|runs| on_target(runtime, leases, pass, blobs, runs));
    // One that cannot go on leaves the others to their end: what was begun is settled.
    let ends: Vec<Result<Performed, RunError>> = stream::iter(work).buffered(runtime.at_once()).collect().await;
    let mut all = Performed { answered, ..Performed::of(Runs::default()) };
    for end in ends {
        all.add(end?);
    }
    Ok(all)
}

/// Performs the lanes of one target, in the order of the plan.
async fn on_target(
    runtime: &Runtime,
    leases: &Leases,
    pass: &ApprovedPass,
    blobs: &BlobSet,
    runs: Runs,
) -> Result<Performed, RunError> {
    let approved = &pass.approved;
    let mut performed = Performed::of(runs);
    for lane in approved.plan().lanes.iter().map(|lane| &lane.lane) {
        if !performed.runs.has(lane) {
            continue;
        }
        let decl = pass.lanes.iter().find(|one| one.rendered.desired.lane == *lane);
        let confirm = decl.and_then(|one| one.rendered.desired.stack.decl.confirm.clone());
        let confirms = confirm.is_some() || runtime.confirm_within_ms.is_some();
        ledger_only(runtime, leases, approved, lane, confirms, &mut performed)?;
        groups(runtime, leases, approved, lane, confirm.as_deref(), blobs, &mut performed).await?;
    }
    Ok(performed)
}

/// Changes without effects: adopted, moved and released resources. Where somebody `confirms` the lane, what is let
/// go is owned again once a guard took the rest of its change back.
fn ledger_only(
    runtime: &Runtime,
    leases: &Leases,
    approved: &ApprovedPlan,
    lane: &Lane,
    confirms: bool,
    performed: &mut Performed,
) -> Result<(), RunError> {
    let silent = |change: &&Change| change.group.is_none() && !matches!(change.action, Action::None | Action::Deferred);
    let changes: Vec<&Change> = approved.plan().changes_of(lane).filter(silent).collect();
    if changes.is_empty() {
        return Ok(());
    }
    if let Some(why) = holds::barred(runtime, lane)? {
        ended(runtime, performed, lane, all(changes, "skipped", Some(&why)))?;
        performed.early.insert(lane.clone(), why);
        return Ok(());
    }
    let of_change = |change: &&Change| IntentChange {
        guarded: confirms && change.action == Action::Release,
        ..intent_change(performed.runs.id(lane), change, approved.ledger())
    };
    let intent = Intent {
        run: performed.runs.id(lane).to_owned(),
        group: 0,
        changes: changes.iter().map(of_change).collect(),
        effects: vec![],
        triggers: vec![],
    };
    let lease = leases.of(lane)?;
    runtime.store.put_intents(lease, std::slice::from_ref(&intent))?;
    let ends = changes.iter().map(|_| ("done".to_owned(), None)).collect();
    runtime.store.settle(lease, runtime.clock.now(), &[Settled { intent, changes: ends }])?;
    ended(runtime, performed, lane, all(changes, "done", None))
}

/// Performs a lane's groups. A target that cannot go on is its own lanes' failure: what others
/// did is recorded all the same.
#[tracing::instrument(name = "apply", skip_all, fields(lane = %lane))]
async fn groups(
    runtime: &Runtime,
    leases: &Leases,
    approved: &ApprovedPlan,
    lane: &Lane,
    confirm: Option<&str>,
    blobs: &BlobSet,
    performed: &mut Performed,
) -> Result<(), RunError> {
    let plan = approved.plan();
    let mut open: Vec<&Group> = plan.groups.iter().filter(|group| group.lane == *lane).collect();
    let effects = open.iter().map(|group| group.effects.len()).sum();
    let run = performed.runs.id(lane).to_owned();
    runtime.emit(Some(&run), Some(lane), &RunEvent::ApplyBegan { groups: open.len(), effects })?;
    // What cannot be read was refused with the stack.
    let of_stack = confirm.and_then(|text| confirm_ms(text).ok());
    let went = async {
        let target = runtime.targets.target(&lane.target)?;
        if effects > 0
            && let Some(guard) = confirm::arm(runtime, plan, lane, &run, target.as_ref(), of_stack).await?
        {
            performed.guarded.insert(lane.clone(), guard);
        }
        let went = waves(runtime, leases, approved, target.as_ref(), blobs, &mut open, performed).await;
        if let Some(guard) = performed.guarded.get(lane)
            && let Err(fault) = target.performed(guard).await
        {
            // It then goes by what the effects are about.
            tracing::warn!(%lane, %fault, "the guard does not know what went with the effects");
        }
        went
    };
    let went = went.await;
    match went {
        Err(RunError::Fault(fault)) if !open.is_empty() => given_up(runtime, plan, lane, &fault, &open, performed),
        went => went,
    }
}

/// What is still open of a lane whose target cannot go on was not begun: the first of it failed
/// by that, the rest was not tried.
fn given_up(
    runtime: &Runtime,
    plan: &Plan,
    lane: &Lane,
    fault: &Fault,
    open: &[&Group],
    performed: &mut Performed,
) -> Result<(), RunError> {
    let changes = by_group(plan, lane);
    let mut left = open.iter().flat_map(|group| changes.get(&group.id).into_iter().flatten().copied());
    let first = left.next();
    performed.failures.extend(first.map(|change| (change.address.clone(), fault.clone())));
    let why = Some(fault.message.as_str());
    ended(runtime, performed, lane, all(first, "failed", why).chain(all(left, "skipped", why)))
}

/// Performs what is `open` of one lane in waves: each wave holds groups that depend on none of
/// each other. What came of a group, or why it was not begun, is told before it is open no more.
async fn waves(
    runtime: &Runtime,
    leases: &Leases,
    approved: &ApprovedPlan,
    target: &dyn Target,
    blobs: &BlobSet,
    open: &mut Vec<&Group>,
    performed: &mut Performed,
) -> Result<(), RunError> {
    let plan = approved.plan();
    let Some(lane) = open.first().copied().map(|group| &group.lane) else { return Ok(()) };
    let lease = leases.of(lane)?;
    let run = performed.runs.id(lane).to_owned();
    let guarded = performed.guarded.contains_key(lane);
    let changes = by_group(plan, lane);
    let mut good: BTreeSet<u32> = BTreeSet::new();
    let mut bad: BTreeMap<u32, String> = BTreeMap::new();
    while !open.is_empty() {
        let told = |group: &&Group| group.after.iter().all(|id| good.contains(id) || bad.contains_key(id));
        let ready: Vec<&Group> = open.iter().copied().filter(told).collect();
        if ready.is_empty() {
            let ids: Vec<String> = open.iter().map(|group| group.id.to_string()).collect();
            let message = format!("groups {} wait for each other", ids.join(", "));
            return Err(Fault::new("invalid", Blame::Host, message).into());
        }
        let (doomed, ready): (Vec<&Group>, Vec<&Group>) =
            ready.into_iter().partition(|group| group.after.iter().any(|id| bad.contains_key(id)));
        for group in doomed {
            let why = group.after.iter().find_map(|id| bad.get(id)).cloned().unwrap_or_default();
            let left = changes.get(&group.id).into_iter().flatten().copied();
            ended(runtime, performed, lane, all(left, "skipped", Some(&format!("it needs {why}"))))?;
            bad.insert(group.id, why);
        }
        for batch in batches(&ready) {
            if let Some(why) = holds::barred(runtime, lane)? {
                let left = batch.iter().flat_map(|group| changes.get(&group.id).into_iter().flatten().copied());
                ended(runtime, performed, lane, all(left, "skipped", Some(&why)))?;
                performed.early.insert(lane.clone(), why);
                bad.extend(batch.iter().map(|group| (group.id, name_of(group, &changes))));
                continue;
            }
            let intents: Vec<Intent> =
                batch.iter().map(|group| intent(&run, group, guarded, &changes, approved.ledger())).collect();
            undo::keep(runtime, target, &batch, &plan.secret_identities(lane)).await?;
            leases.renew_when_due(runtime)?;
            runtime.store.put_intents(lease, &intents)?;
            let owned: Vec<Group> = batch.iter().copied().cloned().collect();
            let outcomes = leases.kept_while(runtime, target.perform(&run, &owned, blobs, leases.until())).await;
            let settled: Vec<Settled> =
                intents.into_iter().zip(&outcomes).map(|(intent, outcome)| settled(intent, outcome)).collect();
            runtime.store.settle(lease, runtime.clock.now(), &settled)?;
            let mut ends = Vec::new();
            let began = |end: &EffectEnd| matches!(end, EffectEnd::Done | EffectEnd::Unknown { .. });
            if outcomes.iter().flat_map(|outcome| &outcome.effects).any(began) {
                performed.wrote.insert(lane.clone());
            }
            for ((group, outcome), settled) in batch.iter().zip(&outcomes).zip(&settled) {
                if outcome.is_done() {
                    good.insert(group.id);
                } else {
                    bad.insert(group.id, name_of(group, &changes));
                }
                for (change, (end, why)) in changes.get(&group.id).into_iter().flatten().zip(&settled.changes) {
                    let fault = outcome.fault().filter(|_| end == "failed");
                    if let Some(fault) = fault {
                        performed.failures.push((change.address.clone(), fault.clone()));
                    }
                    ends.push((*change, end.as_str(), why.clone()));
                }
            }
            for (group, outcome) in batch.iter().zip(&outcomes) {
                lost(runtime, &run, lane, group, outcome, changes.get(&group.id))?;
            }
            ended(runtime, performed, lane, ends)?;
        }
        open.retain(|group| !good.contains(&group.id) && !bad.contains_key(&group.id));
    }
    Ok(())
}

/// Tells what effects of a group took along that they were to keep.
fn lost(
    runtime: &Runtime,
    run: &str,
    lane: &Lane,
    group: &Group,
    outcome: &Outcome,
    changes: Option<&Vec<&Change>>,
) -> Result<(), RunError> {
    for Lost { effect, what } in &outcome.lost {
        let Some(of) = group.effects.get(*effect).map(|planned| &planned.effect.resource) else { continue };
        let change = changes.into_iter().flatten().find(|change| change.address.resource == *of);
        let Some(address) = change.map(|change| change.address.clone()) else { continue };
        runtime.emit(Some(run), Some(lane), &RunEvent::Lost { address, what: what.clone() })?;
    }
    Ok(())
}

/// Groups that are performed together. What runs a command is a batch by itself: nobody
/// knows how long it takes, and neither what is in hand nor what a crash leaves in doubt
/// should be more than that.
fn batches<'g>(groups: &[&'g Group]) -> Vec<Vec<&'g Group>> {
    let mut batches: Vec<Vec<&Group>> = Vec::new();
    let mut open = false;
    for group in groups.iter().copied() {
        let slow = group.effects.iter().any(|planned| runs_a_command(&planned.effect.body));
        match batches.last_mut() {
            Some(batch) if open && !slow && batch.len() < BATCH => batch.push(group),
            _ => batches.push(vec![group]),
        }
        open = !slow;
    }
    batches
}

fn runs_a_command(body: &EffectBody) -> bool {
    matches!(body, EffectBody::Exec { .. } | EffectBody::PutFile { validate: Some(_), .. })
}

/// The resource that a group is told by.
fn name_of(group: &Group, changes: &BTreeMap<u32, Vec<&Change>>) -> String {
    let first = changes.get(&group.id).and_then(|changes| changes.first());
    first.map(|change| change.address.resource.to_string()).unwrap_or_default()
}

fn by_group<'a>(plan: &'a Plan, lane: &'a Lane) -> BTreeMap<u32, Vec<&'a Change>> {
    let mut changes: BTreeMap<u32, Vec<&Change>> = BTreeMap::new();
    for change in plan.changes_of(lane) {
        if let Some(group) = change.group {
            changes.entry(group).or_default().push(change);
        }
    }
    changes
}

fn intent(run: &str, group: &Group, guarded: bool, changes: &BTreeMap<u32, Vec<&Change>>, ledger: &Ledger) -> Intent {
    let changes = changes.get(&group.id).map_or(&[][..], Vec::as_slice);
    let goes_back = |change: &Change| {
        let mut effects =
            group.effects.iter().map(|planned| &planned.effect).filter(|one| one.identity == change.identity);
        guarded && effects.any(confirm::takes_back)
    };
    Intent {
        run: run.to_owned(),
        group: group.id,
        changes: changes
            .iter()
            .map(|change| IntentChange { guarded: goes_back(change), ..intent_change(run, change, ledger) })
            .collect(),
        effects: group.effects.iter().map(|planned| planned.effect.clone()).collect(),
        triggers: changes
            .iter()
            .filter_map(|change| ledger.get(change))
            .flat_map(|line| line.triggers.clone())
            .collect(),
    }
}

fn intent_change(run: &str, change: &Change, ledger: &Ledger) -> IntentChange {
    let line = ledger.get(change);
    // The planner knows what the ledger will say, and not in which run.
    let entry = line.and_then(|line| line.entry.clone()).map(|entry| InventoryEntry { run: run.to_owned(), ..entry });
    IntentChange {
        address: change.address.clone(),
        identity: change.identity.clone(),
        action: change.action,
        cause: change.cause.unwrap_or(Cause::Revision),
        entry,
        moved_from: line.and_then(|line| line.moved_from.clone()),
        guarded: false,
    }
}

/// What an outcome says of each change of its intent.
fn settled(intent: Intent, outcome: &Outcome) -> Settled {
    let changes = intent
        .changes
        .iter()
        .map(|change| {
            let mine: Vec<&EffectEnd> = intent
                .effects
                .iter()
                .zip(&outcome.effects)
                .filter(|(effect, _)| effect.resource == change.address.resource)
                .map(|(_, end)| end)
                .collect();
            of_change(&mine, outcome)
        })
        .collect();
    Settled { intent, changes }
}

fn of_change(mine: &[&EffectEnd], outcome: &Outcome) -> (String, Option<String>) {
    for end in mine {
        match end {
            EffectEnd::Failed { fault } => return ("failed".to_owned(), Some(fault.message.clone())),
            EffectEnd::Unknown { why } => return ("unknown".to_owned(), Some(why.clone())),
            EffectEnd::Done | EffectEnd::NotReached => {}
        }
    }
    if mine.iter().all(|end| **end == EffectEnd::Done) && !mine.is_empty() {
        return ("done".to_owned(), None);
    }
    let why = outcome.fault().map(|fault| format!("not reached: {}", fault.message));
    if mine.iter().all(|end| matches!(end, EffectEnd::NotReached)) {
        ("not-begun".to_owned(), why)
    } else {
        ("failed".to_owned(), why)
    }
}

/// The same end of all of these.
fn all<'c, 'w>(
    changes: impl IntoIterator<Item = &'c Change>,
    end: &'w str,
    why: Option<&'w str>,
) -> impl Iterator<Item = (&'c Change, &'w str, Option<String>)> {
    changes.into_iter().map(move |change| (change, end, why.map(str::to_owned)))
}

fn ended<'c, 'w>(
    runtime: &Runtime,
    performed: &mut Performed,
    lane: &Lane,
    ends: impl IntoIterator<Item = (&'c Change, &'w str, Option<String>)>,
) -> Result<(), RunError> {
    let mut events = Vec::new();
    for (change, end, why) in ends {
        let address = change.address.clone();
        match end {
            "done" => {
                performed.done.insert(address.clone());
            }
            "skipped" | "not-begun" => performed.skipped.push((address.clone(), why.clone().unwrap_or_default())),
            "unknown" => performed.unknown.push((address.clone(), why.clone().unwrap_or_default())),
            _ => {}
        }
        performed.runs.count(lane, end);
        events.push(RunEvent::ChangeEnded { address, action: change.action, end: end.to_owned(), why });
    }
    Ok(runtime.emit_all(performed.runs.id(lane), lane, &events)?)
}
