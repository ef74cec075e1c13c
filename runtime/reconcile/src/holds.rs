//! What people put in the loop's way: stops and suspensions, from the store and from the
//! file beside it.
//!
//! **Invariant.** One function, [`barred`], answers whether another group may begin in a
//! lane; whoever performs asks it before each batch. A suspension holds up what is
//! planned from then on and lets a run that goes on end; a stop holds up both.

use jiff::Timestamp;
use tidelock_model::event::RunEvent;
use tidelock_model::hold::{Hold, HoldKind, Scope};
use tidelock_model::name::Lane;
use tidelock_model::plan::{LanePlan, Plan, Wait};
use tidelock_plan::holds::wait;

use crate::error::RunError;
use crate::runtime::Runtime;

/// Why nothing further was begun, where a signal is the reason.
const INTERRUPTED: &str = "the apply was ended early, as somebody asked";

/// Why no further group may begin in a lane; `None` where one may.
pub(crate) fn barred(runtime: &Runtime, lane: &Lane) -> Result<Option<String>, RunError> {
    if runtime.interrupt.asked() {
        return Ok(Some(INTERRUPTED.to_owned()));
    }
    let stop = on(runtime, lane)?.into_iter().find(|hold| hold.kind == HoldKind::Stop);
    Ok(stop.map(|stop| format!("ended early: {}", wait(&stop).message)))
}

/// Writes into a plan which of its lanes are held, for people and for the gate.
pub(crate) fn shown(runtime: &Runtime, plan: &mut Plan) -> Result<(), RunError> {
    for part in &mut plan.lanes {
        let holds = on(runtime, &part.lane)?;
        let waits: Vec<Wait> = holds.iter().filter(|hold| bites(part, hold)).map(wait).collect();
        part.waits.extend(waits);
    }
    Ok(())
}

/// What lanes that the gate let through wait for where somebody holds them by now: a person
/// may have taken long to say yes.
pub(crate) fn late(runtime: &Runtime, plan: &Plan, lanes: &[Lane]) -> Result<Vec<(Lane, Wait)>, RunError> {
    let mut late = Vec::new();
    for part in plan.lanes.iter().filter(|part| lanes.contains(&part.lane)) {
        let holds = on(runtime, &part.lane)?;
        late.extend(holds.iter().filter(|hold| bites(part, hold)).map(|hold| (part.lane.clone(), wait(hold))));
    }
    Ok(late)
}

/// A suspension keeps the loop away from a stack that a person destroys; a stop stops that too.
fn bites(part: &LanePlan, hold: &Hold) -> bool {
    !(part.destroys && hold.kind == HoldKind::Suspend)
}

/// Whether somebody suspended a lane.
pub(crate) fn suspended(runtime: &Runtime, lane: &Lane) -> Result<bool, RunError> {
    Ok(on(runtime, lane)?.iter().any(|hold| hold.kind == HoldKind::Suspend))
}

fn on(runtime: &Runtime, lane: &Lane) -> Result<Vec<Hold>, RunError> {
    let now = runtime.clock.now();
    Ok(runtime.store.holds()?.into_iter().filter(|hold| hold.holds(lane, now)).collect())
}

/// Ends what ran out of time, with notice. The first pass that comes by does it.
pub(crate) fn expire(runtime: &Runtime) -> Result<(), RunError> {
    crate::pins::expire(runtime)?;
    let now = runtime.clock.now();
    for hold in runtime.store.holds()? {
        if hold.until.is_some_and(|until| until <= now) && runtime.store.end_hold(hold.id, now, "its time was up")? {
            runtime.emit(None, None, &RunEvent::HoldEnded { hold, who: None })?;
        }
    }
    Ok(())
}

/// Stops or suspends what a scope covers, from now on and `until`, where that is given.
///
/// # Errors
/// The store cannot be written.
pub fn hold(
    runtime: &Runtime,
    kind: HoldKind,
    scope: Scope,
    until: Option<Timestamp>,
    reason: Option<String>,
    who: &str,
) -> Result<Hold, RunError> {
    let mut hold = Hold { id: 0, kind, scope, who: who.to_owned(), at: runtime.clock.now(), until, reason };
    hold.id = runtime.store.put_hold(&hold)?;
    runtime.emit(None, None, &RunEvent::Held { hold: hold.clone() })?;
    Ok(hold)
}

/// The holds that a word about a scope ends: those that lie within it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Within {
    /// They end.
    pub ends: Vec<Hold>,
    /// They go beyond the scope, or a file asks for them, and they go on holding a part of it.
    pub stays: Vec<Hold>,
}

/// What a word about a scope would end, and what would still hold it.
///
/// # Errors
/// The store cannot be read.
pub fn within(runtime: &Runtime, scope: &Scope) -> Result<Within, RunError> {
    let now = runtime.clock.now();
    let lanes: Vec<Lane> = runtime.store.lanes()?.into_iter().map(|record| record.lane).collect();
    let mut within = Within::default();
    for hold in runtime.store.holds()?.into_iter().filter(|hold| hold.until.is_none_or(|until| now < until)) {
        if hold.id != Hold::FILE && scope.holds(&hold.scope) {
            within.ends.push(hold);
        } else if scope.holds(&hold.scope)
            || hold.scope.holds(scope)
            || lanes.iter().any(|lane| hold.scope.covers(lane) && scope.covers(lane))
        {
            within.stays.push(hold);
        }
    }
    Ok(within)
}

/// Ends holds by a person's word.
///
/// # Errors
/// The store cannot be written.
pub fn end(runtime: &Runtime, holds: &[Hold], who: &str) -> Result<(), RunError> {
    for hold in holds {
        if runtime.store.end_hold(hold.id, runtime.clock.now(), who)? {
            let event = RunEvent::HoldEnded { hold: hold.clone(), who: Some(who.to_owned()) };
            runtime.emit(None, None, &event)?;
        }
    }
    Ok(())
}
