//! One pass, stage by stage: [`plan`] and [`apply`] are its tables of contents.

mod apply;
mod base;
mod check;
mod destroy;
mod ended;
mod folders;
mod gate;
mod guess;
mod leases;
mod look;
mod module;
mod observe;
mod orphans;
mod plan;
mod prove;
mod record;
mod rejected;
mod render;
mod rollout;
mod rules;
mod runs;
mod shown;
mod source;
mod swept;
#[cfg(test)]
mod tests;
mod twins;
mod watched;
pub(crate) mod way;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use tidelock_model::error::{Blame, Diagnostic, Fault};
use tidelock_model::name::{Address, Lane};
use tidelock_model::plan::{Plan, Wait};
use tidelock_model::port::Fetched;
use tidelock_model::run::{Run, RunEnd};
use tidelock_model::snippet::Hidden;

use crate::contents::BlobSet;
use crate::error::RunError;
use crate::runtime::{Caller, PlanOptions, Runtime, Selection};

pub use base::plan_against;
pub use destroy::{Leaving, destroy};
pub(crate) use leases::Leases;
pub(crate) use look::quiet;
pub(crate) use observe::{Snapshot, observe};
pub(crate) use orphans::ends;
pub(crate) use render::kinds_of;
pub use render::{render, values};
pub(crate) use runs::{run_at, run_at_nothing};
pub(crate) use source::enforce;

/// The code of a fault that somebody's wish to end is.
const INTERRUPTED: &str = "interrupted";

/// The code of a fault that is somebody else's being ahead: what was relied on is not so any more, and
/// nothing was done.
const CHANGED: &str = "changed";

/// After an apply, something is not as the plan said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Where.
    pub address: Address,
    /// What differs, and who is to blame.
    pub why: String,
}

/// What came of an apply.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// What was planned.
    pub plan: Plan,
    /// One run for each lane that had something to do.
    pub runs: Vec<Run>,
    /// How it ended, the worst of the lanes.
    pub end: RunEnd,
    /// Changes that failed.
    pub failures: Vec<(Address, Fault)>,
    /// Changes that were not tried, and why.
    pub skipped: Vec<(Address, String)>,
    /// What was done and is not as planned.
    pub mismatches: Vec<Mismatch>,
    /// Lanes in which a check of the stack does not hold, and why.
    pub unchecked: Vec<(Lane, String)>,
    /// What it waits for, or was refused for, where it does.
    pub waits: Vec<(Lane, Wait)>,
    /// Changes that could not be planned yet when it ended, and what went along with one that was done; and why.
    pub deferred: Vec<(Address, String)>,
    /// Why it ended before a further pass, where one was due.
    pub cut_short: Vec<Diagnostic>,
    /// Those of `runs` that somebody else was ahead of: a later one planned their lanes anew.
    pub overtaken: BTreeSet<String>,
}

/// How often a lane is planned anew since somebody else changed what its plan relied on.
const OVERTAKEN: u32 = 4;
/// How long others are given before that, in ms; twice as long each time.
const OVERTAKEN_MS: u64 = 200;

/// Plans: what would be done, and nothing else.
///
/// # Errors
/// See [`RunError`]. What cannot be planned in one lane alone is in the plan's `errors`.
pub async fn plan(runtime: &Runtime, selection: &Selection, options: &PlanOptions) -> Result<Plan, RunError> {
    crate::holds::expire(runtime)?;
    crate::confirm::tell(runtime)?;
    let fetched = source::fetch(runtime, selection).await?;
    let lanes = source::lanes(runtime, selection, &fetched).await?;
    let pass = plan::pass(runtime, &fetched, lanes).await?;
    let mut pass = if options.previews { plan::with_previews(runtime, pass).await? } else { pass };
    folders::told(runtime, &mut pass.plan).await?;
    let mut told = pass.plan.clone();
    gate::said(runtime, &mut told)?;
    record::planned(runtime, &fetched, &pass, &told)?;
    Ok(told)
}

/// Applies: plans anew, asks the gate, performs, proves, checks and records.
///
/// A `saved` plan is evidence, never instruction: it is compared with what would be
/// done now, and only if they are equal is *that* done. What waits for other lanes of the
/// run goes on in further passes, at the same revision and under the same yes. What could
/// not be planned before the rest of its lane was done is planned then, and asks for a yes
/// of its own. What somebody else was ahead of is planned anew too, as long as nothing else comes of it
/// than what was agreed to; a saved plan is not.
///
/// # Errors
/// See [`RunError`]. Failures of single changes are in [`Applied`].
pub async fn apply(
    runtime: &Runtime,
    selection: &Selection,
    who: &str,
    caller: Caller<'_>,
    saved: Option<&Plan>,
) -> Result<Applied, RunError> {
    crate::holds::expire(runtime)?;
    crate::confirm::tell(runtime)?;
    let fetched = source::fetch(runtime, selection).await?;
    source::may_be_applied(runtime, &fetched)?;
    let mut given = gate::Given::default();
    let lanes = source::lanes(runtime, selection, &fetched).await?;
    let mut applied = pass(runtime, &fetched, lanes, who, caller, saved, &mut given).await?;
    if let Caller::Once(_) = caller {
        let (mut behind, mut rest) = (rollout::to_go_on(&applied), ended::rest(&applied, None));
        // Of a saved plan that very one is applied, or nothing.
        let ahead = |applied: &Applied| if saved.is_none() { ended::overtaken(applied) } else { BTreeSet::new() };
        let (mut overtaken, mut tries) = (ahead(&applied), 0);
        while !(behind.is_empty() && rest.is_empty() && overtaken.is_empty()) {
            if !overtaken.is_empty() {
                runtime.clock.sleep(OVERTAKEN_MS << tries).await;
                tries += 1;
            }
            given.ask_anew(rest.keys().chain(&overtaken));
            given.no_more_than(&overtaken, &applied.plan);
            let open: BTreeSet<Lane> = behind.iter().chain(rest.keys()).chain(&overtaken).cloned().collect();
            let more = match further(runtime, selection, &fetched, &open, who, caller, &mut given).await {
                Ok(more) => more,
                // What somebody else made of these is for a person to see. The others go on.
                Err(RunError::Fault(fault)) if fault.code == gate::NOT_AGREED => {
                    applied = ended::cut_short(applied, fault.into());
                    overtaken.clear();
                    continue;
                }
                Err(error) => return Ok(ended::cut_short(applied, error)),
            };
            let left = rollout::to_go_on(&more);
            // Nobody got there: what is left waits for something else.
            let stuck = rest.is_empty() && overtaken.is_empty() && left.len() >= behind.len();
            rest = ended::rest(&more, Some(&rest));
            let again = if tries < OVERTAKEN { ahead(&more) } else { BTreeSet::new() };
            applied = ended::further(applied, more, &open, &overtaken);
            if stuck && rest.is_empty() && again.is_empty() {
                break;
            }
            (behind, overtaken) = (left, again);
        }
        rollout::told_anew(runtime, selection, &fetched, &mut applied).await?;
    }
    Ok(applied)
}

/// A further pass of an apply, over the lanes that are still open.
async fn further(
    runtime: &Runtime,
    selection: &Selection,
    fetched: &Fetched,
    open: &BTreeSet<Lane>,
    who: &str,
    caller: Caller<'_>,
    given: &mut gate::Given,
) -> Result<Applied, RunError> {
    if runtime.interrupt.asked() {
        return Err(ended_early().into());
    }
    let lanes = source::lanes(runtime, selection, fetched).await?.only(open);
    pass(runtime, fetched, lanes, who, caller, None, given).await
}

/// Somebody asked for an end before the next thing was begun.
fn ended_early() -> Fault {
    Fault::new(INTERRUPTED, Blame::Host, "ended early, as somebody asked; nothing further was begun")
}

/// One pass of an apply over some lanes of a revision.
async fn pass(
    runtime: &Runtime,
    fetched: &Fetched,
    lanes: source::Lanes,
    who: &str,
    caller: Caller<'_>,
    saved: Option<&Plan>,
    given: &mut gate::Given,
) -> Result<Applied, RunError> {
    let leases = match caller {
        Caller::Once(_) => {
            Leases::wait(runtime, &lanes.selected.iter().map(|one| &one.lane).collect::<Vec<_>>(), who).await?
        }
        Caller::Loop => Leases::take(runtime, &lanes.selected, who)?,
    };
    let lanes = left_behind(runtime, fetched, &leases, lanes).await?;
    let pass = plan::pass(runtime, fetched, lanes).await?;
    let mut pass = plan::with_previews(runtime, pass).await?;
    if !runtime.looping {
        folders::told(runtime, &mut pass.plan).await?;
    }
    given.covers(&pass.plan)?;
    if let Some(saved) = saved {
        gate::same_as_saved(saved, &pass.plan)?;
    }
    let blobs: BlobSet = pass.blobs.clone();
    let checks = check::Checks::of(&pass);
    let (whole, gate::Passed { approved, held }) = gate::pass(runtime, &leases, pass, caller, given).await?;
    let proven = match &approved {
        Some(approved) => {
            let Some(_in_hand) = runtime.interrupt.begin() else {
                return Err(ended_early().into());
            };
            let written = watched::written(approved.approved.plan());
            watched::leave(runtime, &written).await;
            let performed = apply::perform(runtime, &leases, approved, &blobs, who).await;
            // Before it is proved: what changes from now on is seen by that, or told.
            watched::add(runtime, written).await;
            let performed = performed?;
            // A kind may take its time to settle.
            Some(leases.kept_while(runtime, prove::prove(runtime, approved, performed)).await?)
        }
        None => None,
    };
    let mut unchecked = checks.ask(runtime, &leases, |lane| record::to_check(lane, proven.as_ref(), &held)).await?;
    if let Some(proven) = &proven {
        confirmed(runtime, &leases, &whole, proven, &mut unchecked).await?;
    }
    let done = match (&approved, proven) {
        (Some(approved), Some(proven)) => Some(record::finish(runtime, &leases, approved, proven, &unchecked)?),
        _ => None,
    };
    ended::together(runtime, whole, done, held, unchecked, who)
}

/// Brings to an end what guards and runs left behind that are gone. A lane in which that cannot be done
/// is held up, and holds up no other.
async fn left_behind(
    runtime: &Runtime,
    fetched: &Fetched,
    leases: &Leases,
    mut lanes: source::Lanes,
) -> Result<source::Lanes, RunError> {
    let number = lanes.selected.len();
    let mut relieved = Vec::new();
    for selected in std::mem::take(&mut lanes.selected) {
        let ended = crate::confirm::relieve(runtime, leases, std::slice::from_ref(&selected)).await;
        relieved.push((selected, ended));
    }
    crate::confirm::learned(runtime)?;
    for (selected, ended) in relieved {
        let ended = match ended {
            Ok(()) => crate::recover::open_intents(runtime, leases, std::slice::from_ref(&selected)).await,
            error => error,
        };
        match ended {
            Ok(()) => lanes.selected.push(selected),
            Err(error) => {
                plan::hold(runtime, fetched, &selected, error, number, &mut lanes.errors, &Hidden::new())?;
                // What it claims is not for others to prune.
                lanes.others.push(selected);
            }
        }
    }
    Ok(lanes)
}

/// Tells the guards what came of their lanes, at once: none runs out of time while another is told.
/// One that took its lane back is why that lane is not as the plan said.
async fn confirmed(
    runtime: &Runtime,
    leases: &Leases,
    plan: &Plan,
    proven: &prove::Proven,
    unchecked: &mut BTreeMap<Lane, String>,
) -> Result<(), RunError> {
    let performed = &proven.performed;
    let mut open = Vec::new();
    for (lane, guard) in &performed.guarded {
        // Where nothing was written, nothing is to go back, and the lane is planned anew as without a guard.
        let released = match performed.was_refused(lane) {
            true => crate::confirm::release(runtime, lane, performed.runs.id(lane), guard),
            false => Ok(false),
        };
        match released {
            Ok(true) => {}
            Ok(false) | Err(RunError::Fault(_)) => open.push((lane, guard)),
            Err(error) => return Err(error),
        }
    }
    // By hand it is a person who says that all is well.
    if runtime.confirm_within_ms.is_some() {
        return Ok(());
    }
    let telling: Vec<_> = open
        .into_iter()
        .map(|(lane, guard)| told(runtime, leases, plan, proven, unchecked.get(lane), lane, guard))
        .collect();
    let ends: Vec<Result<Option<(Lane, String)>, RunError>> =
        stream::iter(telling).buffered(runtime.at_once()).collect().await;
    for end in ends {
        unchecked.extend(end?);
    }
    Ok(())
}

/// Tells the guard of one lane; gives why that was taken back, where it was.
async fn told(
    runtime: &Runtime,
    leases: &Leases,
    plan: &Plan,
    proven: &prove::Proven,
    unchecked: Option<&String>,
    lane: &Lane,
    guard: &str,
) -> Result<Option<(Lane, String)>, RunError> {
    let performed = &proven.performed;
    let of = |address: &Address| address.lane() == *lane;
    let failed = performed.failures.iter().find(|(address, _)| of(address)).map(|(_, fault)| fault.message.clone());
    let unlike = || proven.mismatches.iter().find(|one| of(&one.address)).map(|one| one.why.clone());
    // Nobody looks at what is made good later, and until then it may keep everybody out.
    let along = || {
        let of = proven.swept.iter().find(|(address, _)| of(address));
        of.map(|(address, why)| format!("{}: {why}", address.resource))
    };
    let wrong = failed.or_else(unlike).or_else(along);
    let why = wrong.or_else(|| unchecked.cloned()).or_else(|| performed.early.get(lane).cloned());
    let why = match why {
        Some(why) => Some(why),
        None => way::cut_off(runtime, leases, plan, &performed.answered, lane).await,
    };
    let told = crate::confirm::settle(runtime, lane, performed.runs.id(lane), guard, why.as_deref());
    let said = match leases.kept_while(runtime, told).await {
        // It goes back by itself: only when is not known, and what became of other lanes is recorded.
        Err(RunError::Fault(fault)) => Some(format!("its guard cannot be told: {}", fault.message)),
        back => back?.map(|why| Run::taken_back(&why)),
    };
    Ok(said.map(|said| (lane.clone(), said)))
}
