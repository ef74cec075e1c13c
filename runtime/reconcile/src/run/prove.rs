//! The proof: after an apply the host looks again, and compares what is there with
//! what the plan said would be. No plugin is exempt.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use serde_json::Value;
use tidelock_model::desired::DesiredResource;
use tidelock_model::event::RunEvent;
use tidelock_model::kind::{FieldInfo, KindInfo, covers};
use tidelock_model::name::{Address, Identity, Name};
use tidelock_model::network::{ObjectName, PROTOCOL};
use tidelock_model::observation::{Observation, Readiness, Subject, commands};
use tidelock_model::plan::{Action, Change, FieldChange};

use super::Mismatch;
use super::apply::Performed;
use super::gate::ApprovedPass;
use super::observe::observe;
use super::plan::PlannedLane;
use super::swept::swept;
use crate::error::RunError;
use crate::runtime::Runtime;
use crate::secrets;

/// What was performed, and what of it does not hold.
pub(super) struct Proven {
    pub(super) performed: Performed,
    pub(super) mismatches: Vec<Mismatch>,
    /// What was as it should be, and went along with something that was changed.
    pub(super) swept: Vec<(Address, String)>,
}

/// Looks again at what was done, and compares it with what the plan said would be. A kind with a
/// settle time is looked at until the time is up; several targets at once, as they were written.
pub(super) async fn prove(runtime: &Runtime, pass: &ApprovedPass, performed: Performed) -> Result<Proven, RunError> {
    let mut targets: BTreeMap<&Name, Vec<&PlannedLane>> = BTreeMap::new();
    for lane in &pass.lanes {
        targets.entry(&lane.rendered.desired.lane.target).or_default().push(lane);
    }
    let proofs: Vec<_> = targets.into_values().map(|lanes| on_target(runtime, pass, lanes, &performed)).collect();
    let proofs: Vec<Result<OnTarget, RunError>> = stream::iter(proofs).buffered(runtime.at_once()).collect().await;
    let (mut mismatches, mut swept) = (Vec::new(), Vec::new());
    for proof in proofs {
        let (unlike, along) = proof?;
        mismatches.extend(unlike);
        swept.extend(along);
    }
    Ok(Proven { performed, mismatches, swept })
}

type OnTarget = (Vec<Mismatch>, Vec<(Address, String)>);

/// Proves what was done in the lanes of one target, one after the other.
async fn on_target(
    runtime: &Runtime,
    pass: &ApprovedPass,
    lanes: Vec<&PlannedLane>,
    performed: &Performed,
) -> Result<OnTarget, RunError> {
    let (mut mismatches, mut along) = (Vec::new(), Vec::new());
    for lane in lanes {
        let key = &lane.rendered.desired.lane;
        let plan = pass.approved.plan();
        let mut open: Vec<&Change> = plan
            .changes_of(key)
            .filter(|change| change.group.is_some() && change.action != Action::Trigger)
            .filter(|change| performed.done.contains(&change.address))
            .collect();
        let mut waited = 0;
        let mut pause = 50;
        loop {
            let failing = match unlike(runtime, lane, &open).await {
                // A target that does not answer any more is the failure of its own lanes.
                Err(RunError::Fault(fault)) => {
                    let why = format!("it could not be looked at again: {}", fault.message);
                    open.iter().map(|change| (*change, why.clone())).collect()
                }
                failing => failing?,
            };
            let patience = |change: &Change| {
                lane.rendered.kinds.get(&change.kind).is_some_and(|info| u64::from(info.settle_ms) > waited)
            };
            let (patient, late): (Vec<_>, Vec<_>) = failing.into_iter().partition(|(change, _)| patience(change));
            for (change, why) in late {
                let mismatch = Mismatch { address: change.address.clone(), why };
                let event = RunEvent::Mismatch { address: mismatch.address.clone(), why: mismatch.why.clone() };
                runtime.emit(Some(performed.runs.id(key)), Some(key), &event)?;
                mismatches.push(mismatch);
            }
            if patient.is_empty() {
                break;
            }
            open = patient.into_iter().map(|(change, _)| change).collect();
            runtime.clock.sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(2_000);
        }
        match swept(runtime, lane, plan, performed).await {
            // A target that does not answer any more was told of above.
            Err(RunError::Fault(_)) => {}
            found => along.extend(found?),
        }
    }
    Ok((mismatches, along))
}

/// The changes that are not as planned, and how.
async fn unlike<'a>(
    runtime: &Runtime,
    lane: &PlannedLane,
    changes: &[&'a Change],
) -> Result<Vec<(&'a Change, String)>, RunError> {
    if changes.is_empty() {
        return Ok(vec![]);
    }
    let target = &lane.rendered.desired.lane.target;
    let mut providers = BTreeMap::new();
    for change in changes {
        let plugin = change.kind.plugin();
        if !providers.contains_key(plugin) {
            providers.insert(plugin.to_owned(), runtime.plugins.provider(plugin, target).await?);
        }
    }
    let subjects: Vec<Subject> = changes
        .iter()
        .map(|change| Subject {
            identity: change.identity.clone(),
            kind: change.kind.clone(),
            handle: None,
            // Of what was removed, what was managed of it is looked for.
            fields: change
                .after
                .as_ref()
                .or(change.before.as_ref())
                .map(|spec| tidelock_plan::observe::managed(spec, None, &[]))
                .unwrap_or_default(),
            commands: change.after.iter().chain(&change.before).flat_map(commands).collect(),
        })
        .collect();
    let mut seen = observe(&providers, &subjects).await?;
    let hands = runtime.targets.target(target)?;
    let desired = &lane.rendered.desired;
    secrets::compare(hands.as_ref(), desired, &lane.rendered.blobs, &mut seen).await;
    let resources: BTreeMap<&Identity, &DesiredResource> =
        desired.resources.iter().map(|resource| (&resource.identity, resource)).collect();
    let mut failing = Vec::new();
    for change in changes {
        let info = lane.rendered.kinds.get(&change.kind);
        let there = seen.get(&change.identity);
        let resource = resources.get(&change.identity);
        let secret = || secrets::unlike(&resource?.spec, there?.value()?);
        // What is ignored was left as it was, whatever a field that nobody wrote down would be.
        let ignore = resource.map_or(&[][..], |resource| &resource.ignore);
        if let Some(why) = differs(change, there, info, ignore).or_else(secret) {
            failing.push((*change, why));
        }
    }
    Ok(failing)
}

/// How what is there is not what the plan said would be; `None` where it is.
fn differs(change: &Change, seen: Option<&Observation>, info: Option<&KindInfo>, ignore: &[String]) -> Option<String> {
    match (&change.after, seen) {
        (None, Some(Observation::Absent { .. })) => None,
        (None, Some(Observation::Present { observed, .. })) if is_others(change, observed) => None,
        (None, Some(Observation::Present { .. })) => Some("it is still there".to_owned()),
        (Some(_), Some(Observation::Absent { .. })) => {
            Some(format!("it is not there: the plugin {} proposed effects that do not make it", change.kind.plugin()))
        }
        (Some(after), Some(Observation::Present { observed, readiness, .. })) => {
            let mut fields = tidelock_plan::diff::fields(after, observed, info, ignore);
            // Withheld values are words in a plan; what can be said of them says `secrets`.
            let withheld = |field: &FieldChange| {
                let covered = |known: &FieldInfo| known.roles.sensitive && covers(&known.path, &field.path);
                info.is_some_and(|info| info.fields.iter().any(covered))
            };
            fields.retain(|field| !spared(field, change, info) && !withheld(field));
            if let Some(field) = fields.first() {
                let plugin = change.kind.plugin();
                return Some(format!(
                    "{} is not as planned after the apply: the plugin {plugin} is wrong, or something else changes it",
                    field.path
                ));
            }
            match readiness {
                Readiness::Ready => None,
                Readiness::Settling => Some("it is not ready yet".to_owned()),
                Readiness::Broken => Some("it is there and broken".to_owned()),
            }
        }
        (_, Some(Observation::Failed { fault })) => Some(format!("it could not be seen: {}", fault.message)),
        (_, Some(Observation::Waits { why, .. })) => Some(format!("it waits: {why}")),
        (_, None) => Some("it was not looked at".to_owned()),
    }
}

/// Whether what stands at the place of a route or rule that is gone was always somebody else's: the kernel lets
/// several stand there.
fn is_others(change: &Change, observed: &Value) -> bool {
    let name = change.identity.as_str().parse();
    matches!(name, Ok(ObjectName::Route { .. } | ObjectName::Rule { .. }))
        && observed.get("protocol").is_some_and(|protocol| *protocol != PROTOCOL)
}

/// Whether a list of strays holds only what the plan let be: what others own is seen
/// beneath a purged directory, and stays.
fn spared(field: &FieldChange, change: &Change, info: Option<&KindInfo>) -> bool {
    let strays =
        info.is_some_and(|info| info.fields.iter().any(|known| known.roles.strays && known.path == field.path));
    let gone = change.before.as_ref().and_then(|before| before.pointer(&field.path)).and_then(Value::as_array);
    let there = field.before.as_ref().and_then(Value::as_array);
    strays && !there.into_iter().flatten().any(|stray| gone.is_some_and(|gone| gone.contains(stray)))
}
