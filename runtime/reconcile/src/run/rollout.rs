//! Batches and needs: what the lanes of this pass wait for others to do first, and which
//! of them go on within the run. What decides is pure and lives in `tidelock_plan::rollout`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tidelock_model::hold::{Hold, HoldKind};
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::{Action, Cause, Plan, Wait};
use tidelock_model::port::{Fetched, LaneStanding};
use tidelock_model::run::Status;
use tidelock_model::stack::Stack;
use tidelock_plan::gate::Policy;
use tidelock_plan::rollout::{self, Standing};

use super::Applied;
use crate::error::RunError;
use crate::pins::Pins;
use crate::runtime::{Runtime, Selection};

/// Tells the gate what each lane that would change more than drift waits for, and the plan
/// which batch it goes with.
pub(super) fn put(
    runtime: &Runtime,
    fetched: &Fetched,
    stacks: &[Stack],
    pins: &Pins,
    plan: &mut Plan,
    policy: &mut Policy,
) -> Result<(), RunError> {
    let changing: BTreeSet<Lane> = plan
        .changes
        .iter()
        .filter(|change| change.group.is_some() && change.action != Action::Trigger)
        .filter(|change| change.cause != Some(Cause::Drift))
        .map(|change| change.address.lane())
        .collect();
    if changing.is_empty() {
        return Ok(());
    }
    let mut estate = Estate { runtime, fetched, pins, suspended: suspended(runtime)?, seen: BTreeMap::new() };
    for part in plan.lanes.iter_mut().filter(|part| changing.contains(&part.lane)) {
        let lane = &part.lane;
        let Some(stack) = stacks.iter().find(|stack| stack.decl.name == lane.stack) else { continue };
        let mut waits = Vec::new();
        // In one batch nobody waits for another: who stands where is not asked for.
        let all = estate.lanes(stack)?.len();
        if all > 1 && stack.decl.rollout.batch(all - 1, all) == 1 {
            part.batch = Some(1);
        } else if all > 1 {
            let siblings = estate.standings(stack)?;
            part.batch = Some(rollout::batch(&stack.decl.rollout, siblings, lane).0);
            waits.extend(rollout::behind(&stack.decl.rollout, siblings, lane));
        }
        for needed in &stack.decl.needs {
            // That it exists was made sure of when the stacks were read.
            if let Some(other) = stacks.iter().find(|stack| stack.decl.name == *needed) {
                waits.extend(rollout::needs(needed, estate.standings(other)?, lane));
            }
        }
        policy.lanes.entry(lane.clone()).or_default().behind = waits;
    }
    Ok(())
}

/// Says at the end of a run what its lanes still wait for others to do: what they waited for when they were
/// planned may have been done in it since. A lane that waits for nothing else keeps what it had.
pub(super) async fn told_anew(
    runtime: &Runtime,
    selection: &Selection,
    fetched: &Fetched,
    applied: &mut Applied,
) -> Result<(), RunError> {
    let done = applied.runs.iter().any(|run| run.counts.done > 0);
    if !done || applied.waits.iter().all(|(_, wait)| wait.on.is_none()) {
        return Ok(());
    }
    let lanes = super::source::lanes(runtime, selection, fetched).await?;
    let (mut plan, mut policy) = (applied.plan.clone(), Policy::default());
    put(runtime, fetched, &lanes.stacks, &lanes.pins, &mut plan, &mut policy)?;
    let held: BTreeSet<Lane> =
        applied.waits.iter().filter(|(_, wait)| wait.on.is_none()).map(|(lane, _)| lane.clone()).collect();
    let mut waits = Vec::new();
    for (lane, wait) in std::mem::take(&mut applied.waits) {
        let now = policy.lanes.get(&lane).map_or(&[][..], |rules| rules.behind.as_slice());
        let same = |one: &&Wait| one.code == wait.code;
        match (&wait.on, now.iter().find(same)) {
            (Some(_), Some(now)) => waits.push((lane, now.clone())),
            (Some(_), None) if held.contains(&lane) => {}
            _ => waits.push((lane, wait)),
        }
    }
    applied.waits = waits;
    Ok(())
}

fn suspended(runtime: &Runtime) -> Result<Vec<Hold>, RunError> {
    let mut holds = runtime.store.holds()?;
    holds.retain(|hold| hold.kind == HoldKind::Suspend);
    Ok(holds)
}

/// Where the lanes of a source stand, read once in a pass for each stack.
struct Estate<'a> {
    runtime: &'a Runtime,
    fetched: &'a Fetched,
    pins: &'a Pins,
    suspended: Vec<Hold>,
    seen: BTreeMap<&'a Name, Vec<(Lane, Standing)>>,
}

impl<'a> Estate<'a> {
    fn lanes(&self, stack: &Stack) -> Result<Arc<Vec<Lane>>, RunError> {
        let revision = &self.pins.files(&stack.decl.name, self.fetched).revision.id;
        self.runtime.siblings.of(&self.runtime.config, &self.fetched.revision.source, stack, revision)
    }

    fn standings(&mut self, stack: &'a Stack) -> Result<&[(Lane, Standing)], RunError> {
        let (source, name) = (&self.fetched.revision.source, &stack.decl.name);
        if !self.seen.contains_key(name) {
            let revision = &self.pins.files(name, self.fetched).revision.id;
            let lanes = self.lanes(stack)?;
            let rows = self.runtime.store.standings(source, name)?;
            let rows: BTreeMap<&Name, &LaneStanding> = rows.iter().map(|row| (&row.target, row)).collect();
            let now = self.runtime.clock.now();
            let standings = lanes
                .iter()
                .map(|lane| {
                    let row = rows.get(&lane.target).copied();
                    (lane.clone(), standing(row, stack, revision, self.left_out(lane, now)))
                })
                .collect();
            self.seen.insert(name, standings);
        }
        Ok(self.seen.get(name).map_or(&[], Vec::as_slice))
    }

    fn left_out(&self, lane: &Lane, now: Timestamp) -> bool {
        self.suspended.iter().any(|hold| hold.holds(lane, now))
    }
}

fn standing(row: Option<&LaneStanding>, stack: &Stack, revision: &str, left_out: bool) -> Standing {
    let at = |id: &Option<String>| id.as_deref() == Some(revision);
    match row {
        _ if left_out => Standing::LeftOut,
        Some(row) if matches!(row.status, Status::Failed | Status::Degraded) && at(&row.planned) => {
            Standing::Failed(row.why.clone().unwrap_or_else(|| "its last run failed".to_owned()))
        }
        Some(row) if at(&row.applied) && (stack.decl.checks.is_empty() || at(&row.checked)) => Standing::There,
        _ => Standing::Pending,
    }
}

/// The lanes of a run that waited for other lanes of it, where these are not held up themselves:
/// they go on in a further pass. Where those failed, that pass says whether the rollout stops.
pub(super) fn to_go_on(applied: &Applied) -> BTreeSet<Lane> {
    let held: BTreeSet<&Lane> =
        applied.waits.iter().filter(|(_, wait)| wait.on.is_none()).map(|(lane, _)| lane).collect();
    let planned = |lane: &Lane| applied.plan.lanes.iter().any(|part| part.lane == *lane);
    let behind: BTreeMap<&Lane, &Lane> =
        applied.waits.iter().filter_map(|(lane, wait)| Some((lane, wait.on.as_ref()?))).collect();
    // Whoever waits for one that waits: in the end for one that had its turn, or that has none.
    let gets_there = |lane: &Lane| {
        let mut on = lane;
        for _ in 0..=behind.len() {
            if held.contains(on) || !planned(on) {
                return false;
            }
            match behind.get(on) {
                Some(next) => on = *next,
                None => return true,
            }
        }
        false
    };
    behind.keys().filter(|lane| gets_there(lane)).map(|lane| (*lane).clone()).collect()
}
