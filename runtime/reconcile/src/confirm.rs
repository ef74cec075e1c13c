//! Commit-confirm: a target that goes back by itself unless it is told that all is well.
//!
//! A guard stands on the target before the first effect of a lane (`arm`), and is told after
//! the proof and the checks (`settle`), or by a person (`confirm`). Until then nobody else
//! works on the target, and what was taken back is not tried again by the loop (`waits`).
//!
//! A guard tells nobody: what it took back is learned from what it left (`learn`), by whoever
//! comes next, before anything is planned on the ledger that it made untrue.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tidelock_model::desired::{Desired, DesiredResource};
use tidelock_model::digest::Digest;
use tidelock_model::effect::{Effect, EffectBody};
use tidelock_model::error::{Blame, Diagnostic, Fault, Place, Severity};
use tidelock_model::event::{RunEvent, StoredEvent};
use tidelock_model::hold::Scope;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::name::{Identity, Lane, Name, ResourceRef};
use tidelock_model::network::ObjectName;
use tidelock_model::plan::{Action, Cause, Change, Plan, Wait};
use tidelock_model::port::{Filter, Guard, GuardState, Guarded, Guards, LaneRecord, Store, StoreError, Target};
use tidelock_model::run::{Approval, Status};
use tidelock_plan::LanePart;

use crate::error::RunError;
use crate::run::Leases;
use crate::runtime::Runtime;
use crate::select::Selected;
use crate::undo;

/// Arms a guard for what a lane is about to do, where the stack or the caller wants one.
/// Gives its id.
pub(crate) async fn arm(
    runtime: &Runtime,
    plan: &Plan,
    lane: &Lane,
    run: &str,
    target: &dyn Target,
    of_stack: Option<u64>,
) -> Result<Option<String>, RunError> {
    let Some(within_ms) = runtime.confirm_within_ms.or(of_stack) else { return Ok(None) };
    let groups = plan.groups.iter().filter(|group| group.lane == *lane);
    let effects: Vec<_> = groups.flat_map(|group| &group.effects).map(|planned| planned.effect.clone()).collect();
    if !is_new(runtime, plan, lane) || !effects.iter().any(|effect| is_guarded(&effect.body)) {
        return Ok(None);
    }
    let within = jiff::SignedDuration::from_millis(i64::try_from(within_ms).unwrap_or(i64::MAX));
    let until = runtime.clock.now().checked_add(within).unwrap_or(Timestamp::MAX);
    // Somebody else's guard may have come to its end since the plan was made: it rests on what was before.
    if learned(runtime)?.contains(lane) {
        return Err(Fault::new("changed", Blame::Target, "the target went back meanwhile").retryable().into());
    }
    let tried = plan.changes_of(lane).map(tried).collect();
    let applied = runtime.store.lane(lane)?.and_then(|record| record.applied);
    let guard = Guard { id: run.to_owned(), lane: lane.clone(), within_ms, until, effects, tried, applied };
    target.arm(&guard).await?;
    runtime.emit(Some(run), Some(lane), &RunEvent::Guarded { until })?;
    Ok(Some(guard.id))
}

/// Whether a plan does more in a lane than put back what was there by a word of Git's that was confirmed before,
/// or needed no confirmation. To take that back would leave a machine that lost its network without one. A
/// person who wants a time to confirm has it all the same.
fn is_new(runtime: &Runtime, plan: &Plan, lane: &Lane) -> bool {
    let new = |change: &Change| change.cause != Some(Cause::Drift) && change.action != Action::Deferred;
    runtime.confirm_within_ms.is_some() || plan.changes_of(lane).any(new)
}

/// Whether a guard takes such an effect back.
fn is_guarded(body: &EffectBody) -> bool {
    matches!(body, EffectBody::Network(_) | EffectBody::Dns(_))
}

/// Whether a guard, where one stands, takes an effect back: also where it writes down for the next start
/// what a network should be.
pub(crate) fn takes_back(effect: &Effect) -> bool {
    is_guarded(&effect.body) || effect.identity.as_str().parse::<ObjectName>().is_ok()
}

/// Says of lanes that are to be confirmed, by hand or because their stack says so (`confirms`), what
/// of them goes back from here alone, and what does not.
pub(crate) fn shown(runtime: &Runtime, plan: &mut Plan, confirms: impl Fn(&Lane) -> bool) {
    let mut said = Vec::new();
    for lane in plan.lanes.iter().map(|part| &part.lane) {
        if runtime.confirm_within_ms.is_none() && !confirms(lane) || !is_new(runtime, plan, lane) {
            continue;
        }
        let groups = plan.groups.iter().filter(|group| group.lane == *lane);
        let effects: Vec<&Effect> = groups.flat_map(|group| &group.effects).map(|planned| &planned.effect).collect();
        let open: Vec<&Effect> = effects.iter().copied().filter(|effect| !takes_back(effect)).collect();
        if let Some(first) = open.first() {
            let number =
                if open.len() == 1 { "one effect stays".to_owned() } else { format!("{} effects stay", open.len()) };
            said.push(format!("{lane}: {number} where nobody confirms, such as `{}`", first.body.summary()));
        }
        if effects.iter().any(|effect| matches!(effect.body, EffectBody::Dns(_))) {
            said.push(format!(
                "{lane}: where nobody confirms, records go back from this machine, over the way to the server; a DNS \
                 server keeps no guard of its own"
            ));
        }
    }
    let warning = |text| Diagnostic { severity: Severity::Warning, ..Diagnostic::error(text, None) };
    plan.warnings.extend(said.into_iter().map(warning));
}

/// What a change tries, however the target looked before.
fn tried(change: &Change) -> Digest {
    let after = serde_json::to_vec(&change.after).unwrap_or_default();
    Digest::of_parts([change.identity.as_str().as_bytes(), &after])
}

/// What lanes wait for because of guards: one that stands on their target, and one that took
/// back what they would try again. A person's later yes ends the second.
pub(crate) fn waits(
    runtime: &Runtime,
    plan: &Plan,
    lanes: &[Lane],
    approvals: &[Approval],
) -> Result<Vec<(Lane, Wait)>, RunError> {
    let mut waits = Vec::new();
    let guards = runtime.targets.guards()?;
    for lane in lanes {
        waits.extend(guards.unread.get(&lane.target).map(|fault| (lane.clone(), unread(&lane.target, fault))));
        let standing = |one: &&Guarded| one.state != GuardState::Restored && one.guard.lane.target == lane.target;
        for Guarded { guard, .. } in guards.known.iter().filter(standing) {
            let message = format!(
                "what {} did on {} waits to be confirmed; else the target goes back at {}",
                guard.lane,
                lane.target,
                guard.until.strftime("%H:%M:%S UTC")
            );
            let wait = Wait::new("confirming", message).hint("`tidelock confirm`");
            waits.push((lane.clone(), Wait { until: Some(guard.until), ..wait }));
        }
        let changes: Vec<&Change> = plan.changes_of(lane).collect();
        let of_lane: Vec<&Approval> = approvals.iter().filter(|word| word.lane == *lane).collect();
        let held = WentBack::of(&guards.known, lane).filter(|back| back.is_held(runtime, &changes, &of_lane));
        if let Some(WentBack { why, .. }) = held {
            let wait = Wait::new("restored", format!("{} took this change back: {why}", lane.target)).hint(ANEW);
            waits.push((lane.clone(), Wait { approvable: true, ..wait }));
        }
    }
    Ok(waits)
}

/// What of a lane went back, and nobody tried since but beside it.
struct WentBack<'g> {
    tried: BTreeSet<&'g Digest>,
    /// Why, and when, the last of it did.
    why: &'g str,
    written_ms: i64,
}

impl<'g> WentBack<'g> {
    fn of(guards: &'g [Guarded], lane: &Lane) -> Option<Self> {
        let back = |one: &&Guarded| one.state == GuardState::Restored && one.guard.lane == *lane;
        let last = guards.iter().filter(back).max_by_key(|one| one.written_ms)?;
        let tried = guards.iter().filter(back).flat_map(|one| &one.guard.tried).collect();
        Some(Self { tried, why: &last.why, written_ms: last.written_ms })
    }

    /// Whether it went back with the rest. What somebody else changed since is not what went back.
    fn knows(&self, change: &Change) -> bool {
        change.cause != Some(Cause::Drift) && self.tried.contains(&tried(change))
    }

    /// Whether changes only try again what went back, and the loop leaves that: nobody said yes since.
    /// Drift beside it is no other wish; what Git says beside it is.
    fn is_held(&self, runtime: &Runtime, changes: &[&Change], approvals: &[&Approval]) -> bool {
        // What is only due anew, since what asked for it went back, is nothing that is tried again, and what is
        // put off is nothing that could be.
        let tries = || changes.iter().filter(|change| !matches!(change.action, Action::Trigger | Action::Deferred));
        let other = |change: &Change| change.cause != Some(Cause::Drift) && !self.knows(change);
        let again = tries().any(|change| self.knows(change)) && !tries().any(|change| other(change));
        let since = |word: &Approval| word.yes && word.at.as_millisecond() > self.written_ms;
        runtime.looping && again && !approvals.iter().any(|word| since(word))
    }
}

/// What the loop does not try again in a lane.
pub(crate) struct HeldBack {
    identities: BTreeSet<Identity>,
    /// Why it went back.
    pub(crate) why: String,
}

/// What of a lane went back and is not tried again, by what would be done about all of it. `None` where there is
/// no such thing.
pub(crate) fn held_back(runtime: &Runtime, part: &LanePart) -> Result<Option<HeldBack>, RunError> {
    if !runtime.looping || part.changes.is_empty() {
        return Ok(None);
    }
    let guards = runtime.targets.guards()?;
    let Some(back) = WentBack::of(&guards.known, &part.lane.lane) else { return Ok(None) };
    let changes: Vec<&Change> = part.changes.iter().collect();
    let approvals = runtime.store.approvals(&part.lane.digest)?;
    let of_lane: Vec<&Approval> = approvals.iter().filter(|word| word.lane == part.lane.lane).collect();
    if !back.is_held(runtime, &changes, &of_lane) {
        return Ok(None);
    }
    let held = part.changes.iter().filter(|change| back.knows(change));
    let identities = held.map(|change| change.identity.clone()).collect();
    Ok(Some(HeldBack { identities, why: back.why.to_owned() }))
}

impl HeldBack {
    /// What a lane should hold meanwhile: of what went back what was there before, so that it does not drift
    /// either, and of the rest what Git says.
    pub(crate) fn stand_in(&self, desired: &Desired, inventory: &[InventoryEntry]) -> Desired {
        let mut stood = desired.clone();
        let lane = &desired.lane;
        let before = |identity: &Identity| {
            inventory.iter().find(|entry| entry.identity == *identity && entry.address.lane() == *lane)
        };
        stood.resources.retain(|resource| !self.identities.contains(&resource.identity));
        for entry in self.identities.iter().filter_map(before) {
            let now = desired.resources.iter().find(|resource| resource.identity == entry.identity);
            let (ignore, notify) = now.map(|now| (now.ignore.clone(), now.notify.clone())).unwrap_or_default();
            let place = now.map_or_else(|| Place::file("(before)"), |now| now.place.clone());
            let needs = entry.needs.clone();
            stood.resources.push(DesiredResource {
                needs,
                ignore,
                notify,
                place,
                ..undo::as_declared(entry, &entry.applied)
            });
        }
        let there: BTreeSet<ResourceRef> = stood.resources.iter().map(|resource| resource.id.clone()).collect();
        for resource in &mut stood.resources {
            resource.needs.retain(|need| there.contains(need));
            resource.notify.retain(|notify| there.contains(&notify.to));
        }
        stood
    }
}

/// What everybody waits for where nobody knows what a guard would take back.
fn unread(target: &Name, why: &Fault) -> Wait {
    let message =
        format!("a guard stands over {target}, or stood, and nobody can read what it is for: {}", why.message);
    Wait::new("confirming", message).hint(format!("see that {target} is as it should be, then remove that file"))
}

/// How long it is told of a target that went back, in ms: 30 days. Events are kept for longer.
const TOLD_MS: i64 = 30 * 86_400_000;

/// Learns of each target that went back by itself, and tells of it, once: nobody was there to do so when
/// it did. The first pass that comes by does it, and whoever comes to confirm. Gives the lanes that
/// it is news of.
pub(crate) fn tell(runtime: &Runtime) -> Result<BTreeSet<Lane>, RunError> {
    let (guards, now) = (runtime.targets.guards()?.known, runtime.clock.now());
    let news = learn(runtime.store.as_ref(), &guards, now)?;
    for Guarded { guard, state, why, written_ms, .. } in guards {
        if state == GuardState::Restored && now.as_millisecond().saturating_sub(written_ms) <= TOLD_MS {
            say(runtime, &guard.id, &guard.lane, why)?;
        }
    }
    Ok(news)
}

fn say(runtime: &Runtime, run: &str, lane: &Lane, why: String) -> Result<(), RunError> {
    let of_run = Filter { run: Some(run.to_owned()), ..Filter::default() };
    let told = |stored: &StoredEvent| matches!(stored.event, RunEvent::TakenBack { .. });
    if !runtime.store.events(&of_run)?.iter().any(told) {
        runtime.emit(Some(run), Some(lane), &RunEvent::TakenBack { why })?;
    }
    Ok(())
}

/// Learns of it without a word, where nobody listens.
pub(crate) fn learned(runtime: &Runtime) -> Result<BTreeSet<Lane>, RunError> {
    Ok(learn(runtime.store.as_ref(), &runtime.targets.guards()?.known, runtime.clock.now())?)
}

/// Brings the ledger and where lanes stand to where guards took their targets. Gives the lanes
/// that it is news of.
///
/// # Errors
/// The store cannot be written.
pub fn learn(store: &dyn Store, guards: &[Guarded], now: Timestamp) -> Result<BTreeSet<Lane>, StoreError> {
    let mut news = BTreeSet::new();
    for Guarded { guard, state, why, left, written_ms } in guards {
        if *state != GuardState::Restored || store.take_back(now, &guard.id, left.as_deref(), why)? == 0 {
            continue;
        }
        news.insert(guard.lane.clone());
        let Some(mut record) = store.lane(&guard.lane)? else { continue };
        let of_run = Filter { run: Some(guard.id.clone()), limit: Some(1), ..Filter::default() };
        let Some(run) = store.runs(&of_run)?.pop().filter(|run| record.last_run.as_ref() == Some(&run.id)) else {
            continue;
        };
        // What is applied whole no more is nothing that others go on from.
        if record.applied.as_ref().is_some_and(|revision| revision.id == run.revision) {
            record.applied = guard.applied.clone().filter(|before| before.id != run.revision);
        }
        record.checked = record.checked.filter(|revision| *revision != run.revision);
        if let (Status::Converged, Some(wait)) = (record.status, back(*written_ms, why)) {
            (record.status, record.since) = (Status::Pending, wait.since);
            record.why = Some(wait.message.clone());
            record.waits = vec![wait];
        }
        store.put_lane(&record)?;
    }
    Ok(news)
}

/// What a lane waits for that went back.
fn back(written_ms: i64, why: &str) -> Option<Wait> {
    let at = Timestamp::from_millisecond(written_ms).ok()?;
    Some(Wait { since: Some(at), ..Wait::new("restored", went_back(written_ms, why)).hint(ANEW) })
}

/// Says of changes that only do again what a guard took back that this is why they are due: nobody
/// else changed the target. A later run of the lane makes that moot.
pub(crate) fn explained(runtime: &Runtime, plan: &mut Plan) -> Result<(), RunError> {
    for Guarded { guard, state, why, written_ms, .. } in runtime.targets.guards()?.known {
        if state != GuardState::Restored || !plan.lanes.iter().any(|part| part.lane == guard.lane) {
            continue;
        }
        let record = runtime.store.lane(&guard.lane)?;
        let last = record.and_then(|record| record.last_run).as_ref() == Some(&guard.id);
        let reason = went_back(written_ms, &why);
        for change in plan.changes.iter_mut().filter(|change| change.address.lane() == guard.lane) {
            // What a later run did, and is to be done once more, somebody else undid.
            if !guard.tried.contains(&tried(change)) || !last && change.cause == Some(Cause::Drift) {
                continue;
            }
            // That it is gone or differs says no more than this.
            let before = change.reason.take().filter(|_| change.cause != Some(Cause::Drift));
            change.reason = Some(before.map_or_else(|| reason.clone(), |before| format!("{before}; {reason}")));
        }
    }
    Ok(())
}

/// What ends it that a target went back.
const ANEW: &str = "change it in Git, or apply it by hand";

/// How the sentence begins that says so.
const WENT_BACK: &str = "the target went back";

/// Whether a reason says that the target went back: what was planned before it did says otherwise.
pub(crate) fn tells_of_a_return(reason: Option<&String>) -> bool {
    reason.is_some_and(|reason| reason.contains(WENT_BACK))
}

fn went_back(written_ms: i64, why: &str) -> String {
    let at = Timestamp::from_millisecond(written_ms).map(|at| at.strftime(" at %H:%M:%S UTC").to_string());
    format!("{WENT_BACK}{}: {why}", at.unwrap_or_default())
}

/// The guards that are gone: killed, or with their machine.
pub(crate) fn deserted(runtime: &Runtime) -> Result<Vec<Guarded>, RunError> {
    let mut guards = runtime.targets.guards()?.known;
    guards.retain(|guarded| guarded.state == GuardState::Gone);
    Ok(guards)
}

/// Does on these targets what guards should have done that are gone, before anybody looks at
/// them. Under the targets' leases: whoever armed such a guard has ended its work.
pub(crate) async fn relieve(runtime: &Runtime, leases: &Leases, lanes: &[Selected]) -> Result<(), RunError> {
    for Guarded { guard, .. } in deserted(runtime)? {
        let target = &guard.lane.target;
        if !lanes.iter().any(|one| one.lane.target == *target) {
            continue;
        }
        let hands = runtime.targets.target(target)?;
        leases.kept_while(runtime, hands.relieve(&guard.id)).await?;
        let why = "the guard that watched over it was gone".to_owned();
        tracing::warn!(lane = %guard.lane, "{why}; the target was taken back");
        runtime.emit(Some(&guard.id), Some(&guard.lane), &RunEvent::TakenBack { why })?;
    }
    Ok(())
}

/// Lets a guard go whose lane needs none any more. Says whether that was in time.
pub(crate) fn release(runtime: &Runtime, lane: &Lane, run: &str, id: &str) -> Result<bool, RunError> {
    let in_time = runtime.targets.confirm(&lane.target, id)?;
    if in_time {
        runtime.emit(Some(run), Some(lane), &RunEvent::Confirmed { who: None })?;
    }
    Ok(in_time)
}

/// Tells the guard of a lane what came of it: `why` is what went wrong, if anything did. Gives
/// why the target went back, where it did.
pub(crate) async fn settle(
    runtime: &Runtime,
    lane: &Lane,
    run: &str,
    id: &str,
    why: Option<&str>,
) -> Result<Option<String>, RunError> {
    let why = match why {
        None if release(runtime, lane, run, id)? => return Ok(None),
        None => "all was well, and that came too late for the guard".to_owned(),
        Some(why) => {
            runtime.targets.target(&lane.target)?.call_back(id, why).await?;
            why.to_owned()
        }
    };
    // One that is not done with it yet is learned of by the next pass.
    let guards: Vec<Guarded> = runtime.targets.guards()?.known.into_iter().filter(|one| one.guard.id == id).collect();
    // It says what of it could not be taken back, too.
    let done = guards.iter().find(|one| one.state == GuardState::Restored && one.why.starts_with(&why));
    let why = done.map_or(why, |one| one.why.clone());
    say(runtime, run, lane, why.clone())?;
    learn(runtime.store.as_ref(), &guards, runtime.clock.now())?;
    Ok(Some(why))
}

/// Tells how a lane stands that a guard waits over, or was taken back by one and not looked at
/// since. What is known of it is what its last look found, and that was before.
pub fn standing(record: &mut LaneRecord, guards: &Guards, now: Timestamp) -> Option<Wait> {
    if let Some(why) = guards.unread.get(&record.lane.target) {
        return Some(told(record, Status::Waiting, unread(&record.lane.target, why)));
    }
    let of_lane = || guards.known.iter().filter(|one| one.guard.lane == record.lane);
    let stands = of_lane().find(|one| one.state != GuardState::Restored);
    let Guarded { guard, state, why, written_ms, .. } =
        stands.or_else(|| of_lane().max_by_key(|one| one.written_ms))?;
    let (status, wait) = match state {
        GuardState::Armed => {
            let left = guard.until.duration_since(now).as_secs().max(0);
            let message = format!(
                "awaiting confirmation: {:#} left, until {}; else the target goes back",
                jiff::SignedDuration::from_secs(left),
                guard.until.strftime("%H:%M:%S UTC")
            );
            let wait = Wait::new("confirming", message).hint("`tidelock confirm`");
            (Status::Waiting, Wait { until: Some(guard.until), ..wait })
        }
        GuardState::Gone => {
            let message = "awaiting confirmation, and its guard is gone: the target goes back with the next pass";
            (Status::Waiting, Wait::new("confirming", message).hint("`tidelock confirm`"))
        }
        GuardState::Restored => {
            let wait = back(*written_ms, why)?;
            if record.status != Status::Converged || record.seen.zip(wait.since).is_some_and(|(seen, at)| seen >= at) {
                return None;
            }
            (Status::Pending, wait)
        }
    };
    Some(told(record, status, wait))
}

fn told(record: &mut LaneRecord, status: Status, wait: Wait) -> Wait {
    (record.status, record.why) = (status, Some(wait.message.clone()));
    record.waits.insert(0, wait.clone());
    wait
}

/// What waits for somebody's word.
///
/// # Errors
/// The guards cannot be read.
pub fn unconfirmed(runtime: &Runtime, scope: &Scope) -> Result<Vec<Guarded>, RunError> {
    let mut open = runtime.targets.guards()?.known;
    open.retain(|Guarded { guard, state, .. }| {
        matches!(state, GuardState::Armed | GuardState::Gone) && scope.covers(&guard.lane)
    });
    Ok(open)
}

/// Why what waits for a word should not have it: the server of its source does not answer from here any more.
///
/// # Errors
/// The guards cannot be read.
pub async fn cut_off(runtime: &Runtime, scope: &Scope) -> Result<Option<String>, RunError> {
    let sources: BTreeSet<Name> = unconfirmed(runtime, scope)?.into_iter().map(|one| one.guard.lane.source).collect();
    for source in sources {
        if let Err(why) = crate::run::way::holds(runtime, &source).await {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

/// Confirms what a person applied with a time to confirm it. Gives what was confirmed.
///
/// # Errors
/// A guard cannot be told; the store cannot be written.
pub fn confirm(runtime: &Runtime, scope: &Scope, who: &str) -> Result<Vec<Guarded>, RunError> {
    tell(runtime)?;
    let mut confirmed = Vec::new();
    for guarded in unconfirmed(runtime, scope)? {
        let Guarded { guard, .. } = &guarded;
        if runtime.targets.confirm(&guard.lane.target, &guard.id)? {
            runtime.emit(Some(&guard.id), Some(&guard.lane), &RunEvent::Confirmed { who: Some(who.to_owned()) })?;
            confirmed.push(guarded);
        }
    }
    Ok(confirmed)
}

#[cfg(test)]
mod tests {
    use tidelock_model::error::Blame;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000 + second).unwrap()
    }

    /// A lane that converged at second 0, under a guard until second 60.
    fn standing_in(state: GuardState, written: i64, seen: i64) -> (Status, Option<Wait>) {
        let name = |text: &str| Name::new(text).unwrap();
        let lane = Lane { source: name("infra"), stack: name("net"), target: name("router") };
        let (effects, tried) = (vec![], vec![]);
        let (id, until) = ("1".into(), at(60));
        let guard = Guard { id, lane: lane.clone(), within_ms: 60_000, until, effects, tried, applied: None };
        let (why, written_ms) = ("nobody confirmed it".to_owned(), at(written).as_millisecond());
        let guarded = Guarded { guard, state, why, left: Some(vec![]), written_ms };
        let known = LaneRecord::unknown(lane);
        let mut record = LaneRecord { status: Status::Converged, seen: Some(at(seen)), ..known };
        let wait = standing(&mut record, &Guards { known: vec![guarded], ..Guards::default() }, at(10));
        assert_eq!(record.waits.first(), wait.as_ref());
        (record.status, wait)
    }

    #[test]
    fn a_lane_under_a_guard_is_not_called_converged() {
        let (status, wait) = standing_in(GuardState::Armed, 0, 0);
        assert_eq!((status, wait.as_ref().and_then(|wait| wait.until)), (Status::Waiting, Some(at(60))));
        assert!(wait.unwrap().message.starts_with("awaiting confirmation: 50s left, until 00:17:40 UTC"));
        assert_eq!(standing_in(GuardState::Gone, 0, 0).0, Status::Waiting);
        let (status, wait) = standing_in(GuardState::Restored, 5, 0);
        assert_eq!(status, Status::Pending);
        assert!(wait.unwrap().message.ends_with("nobody confirmed it"));
        assert_eq!(standing_in(GuardState::Restored, 5, 7), (Status::Converged, None), "it was looked at since");
    }

    #[test]
    fn a_guard_that_nobody_can_read_holds_up_its_own_target() {
        let name = |text: &str| Name::new(text).unwrap();
        let fault = Fault::new("io", Blame::Target, "cannot read the guard g: it is cut off");
        let guards = Guards { unread: [(name("router"), fault)].into(), ..Guards::default() };
        let on = |target: &str| {
            let lane = Lane { source: name("infra"), stack: name("net"), target: name(target) };
            let mut record = LaneRecord { status: Status::Converged, ..LaneRecord::unknown(lane) };
            let wait = standing(&mut record, &guards, at(0));
            (record.status, wait.map(|wait| wait.message))
        };
        let (status, said) = on("router");
        assert!(status == Status::Waiting && said.is_some_and(|said| said.contains("cannot read the guard g")));
        assert_eq!(on("second"), (Status::Converged, None));
    }
}
