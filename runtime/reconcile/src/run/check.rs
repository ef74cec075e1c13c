//! The stage after the proof: what the stack wants checked on a target before anybody goes
//! on from there. Asked again and again until it holds or its time is up.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use tidelock_model::check::{Probe, filled, not_allowed};
use tidelock_model::config::Config;
use tidelock_model::error::{Diagnostic, Place};
use tidelock_model::event::RunEvent;
use tidelock_model::name::Lane;

use super::leases::Leases;
use super::plan::Pass;
use crate::error::RunError;
use crate::runtime::Runtime;
use crate::select::{Rules, Selected};

/// How long one question may take, in ms.
const ONCE_MS: u64 = 5_000;

/// The pauses between questions, in ms: the first, and the longest.
const PAUSES_MS: (u64, u64) = (100, 2_000);

/// A check of one lane, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    probe: Probe,
    within_ms: u64,
}

impl Check {
    /// How long it may take to hold, in ms.
    pub(super) fn within_ms(&self) -> u64 {
        self.within_ms
    }
}

/// The checks of a lane, each compared with what the operator allows.
///
/// # Errors
/// `Rejected`: a check that cannot be read, or that no list allows.
pub(super) fn of_lane(config: &Config, selected: &Selected) -> Result<Vec<Check>, RunError> {
    let Selected { lane, stack } = selected;
    let mut checks = Vec::new();
    let mut problems = Vec::new();
    for (index, decl) in stack.decl.checks.iter().enumerate() {
        let at = format!("checks/{index}");
        let label = |key: &str| config.targets.get(&lane.target)?.labels.get(key).cloned();
        let read =
            decl.probe(|text| filled(text, lane.target.as_str(), label)).and_then(|probe| Ok((probe, decl.within()?)));
        let problem = match read {
            Ok((probe, within)) if is_allowed(config, selected, &probe)? => {
                checks.push(Check { probe, within_ms: u64::try_from(within.as_millis()).unwrap_or(0) });
                continue;
            }
            Ok((probe, _)) => {
                let fault = not_allowed(lane.source.as_str(), &probe);
                Diagnostic { hint: fault.hint, ..Diagnostic::error(format!("{at}: {}", fault.message), None) }
            }
            Err(message) => Diagnostic::error(format!("{at}: {message}"), None),
        };
        problems.push(Diagnostic { place: Some(Place::file(stack.file())), ..problem.at(format!("/{at}")) });
    }
    if problems.is_empty() { Ok(checks) } else { Err(RunError::Rejected(problems)) }
}

fn is_allowed(config: &Config, selected: &Selected, probe: &Probe) -> Result<bool, RunError> {
    let allow = config.sources.get(&selected.lane.source).map_or(&[][..], |decl| &decl.allow);
    for rule in Rules::of(allow, &selected.stack)?.on(&selected.lane.target) {
        if rule.checks.allows(probe)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is to be asked of the lanes of a pass.
pub(super) struct Checks(Vec<(Lane, Vec<Check>, bool)>);

impl Checks {
    /// The checks of the lanes of a pass that have some.
    pub(super) fn of(pass: &Pass) -> Self {
        let checks = |lane: &super::plan::PlannedLane| {
            let key = lane.rendered.desired.lane.clone();
            let revision = &pass.plan.revision_of(&key).id;
            let held = lane.record.as_ref().is_some_and(|record| record.checked.as_ref() == Some(revision));
            (!lane.checks.is_empty()).then(|| (key, lane.checks.clone(), held))
        };
        Self(pass.lanes.iter().filter_map(checks).collect())
    }

    /// Asks in each lane that is `meant`: where something was performed, and where there was
    /// nothing to do but the checks have not held at this revision yet; several lanes at once.
    /// Gives back those in which one does not hold, and why.
    pub(super) async fn ask<'m>(
        self,
        runtime: &Runtime,
        leases: &Leases,
        meant: impl Fn(&Lane) -> Meant<'m>,
    ) -> Result<BTreeMap<Lane, String>, RunError> {
        let mut asking = Vec::new();
        for (lane, checks, held) in &self.0 {
            let run = match meant(lane) {
                Meant::Performed(run) => Some(run),
                Meant::Nothing if !held => None,
                Meant::Nothing | Meant::Not => continue,
            };
            asking.push(in_lane(runtime, leases, lane, checks, run));
        }
        let answers: Vec<Result<Option<(Lane, String)>, RunError>> =
            stream::iter(asking).buffered(runtime.at_once()).collect().await;
        let mut failing = BTreeMap::new();
        for answer in answers {
            failing.extend(answer?);
        }
        Ok(failing)
    }
}

/// Asks the checks of one lane, in order, until one does not hold; gives that, and why.
async fn in_lane(
    runtime: &Runtime,
    leases: &Leases,
    lane: &Lane,
    checks: &[Check],
    run: Option<&str>,
) -> Result<Option<(Lane, String)>, RunError> {
    for check in checks {
        let why = leases.kept_while(runtime, asked(runtime, check)).await;
        let event = RunEvent::Checked { check: check.probe.to_string(), why: why.clone() };
        runtime.emit(run, Some(lane), &event)?;
        if let Some(why) = why {
            return Ok(Some((lane.clone(), format!("check {}: {why}", check.probe))));
        }
    }
    Ok(None)
}

/// Whether the checks of a lane are to be asked.
pub(super) enum Meant<'a> {
    /// Something was performed there, in this run.
    Performed(&'a str),
    /// There was nothing to do.
    Nothing,
    /// It waits, or failed already.
    Not,
}

/// Asks until it holds; why it does not, once its time is up.
async fn asked(runtime: &Runtime, check: &Check) -> Option<String> {
    let (mut waited, mut pause) = (0, PAUSES_MS.0);
    loop {
        let began = runtime.clock.now();
        let fault = match runtime.checks.ask(&check.probe, ONCE_MS.min(check.within_ms)).await {
            Ok(()) => return None,
            Err(fault) => fault,
        };
        if runtime.interrupt.asked() {
            return Some(format!("{} (ended early)", fault.message));
        }
        runtime.clock.sleep(pause).await;
        waited += u64::try_from(runtime.clock.now().duration_since(began).as_millis()).unwrap_or(0).max(pause);
        pause = (pause * 2).min(PAUSES_MS.1);
        if waited >= check.within_ms {
            return Some(fault.message);
        }
    }
}
