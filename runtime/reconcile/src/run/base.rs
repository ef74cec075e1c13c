//! The plan of a revision that nobody has agreed to yet, such as a pull request: what it
//! changes against a base, with the policies of that base, and nothing of what is on a
//! target that the base does not want there. It leaves no trace in any lane.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::name::{Identity, Name};
use tidelock_model::plan::Plan;
use tidelock_model::port::Want;
use tidelock_model::stack::StackPolicy;

use super::plan::{self, Pass};
use super::source;
use crate::error::RunError;
use crate::runtime::{PlanOptions, Runtime, Selection};

/// Plans what a selection changes against the revision `base` of its source.
///
/// # Errors
/// See [`RunError`]. A base that cannot be planned is one that has nothing due.
pub async fn plan_against(
    runtime: &Runtime,
    selection: &Selection,
    base: &str,
    options: &PlanOptions,
) -> Result<Plan, RunError> {
    // Who asks for a plan of it is not who may have a secret read, or one compared with a target.
    let runtime = &Runtime { secrets: None, ..runtime.clone() };
    let fetched = source::glance(runtime, selection).await?;
    let mut lanes = source::lanes(runtime, selection, &fetched).await?;
    let from = Selection { want: Want::Rev(base.to_owned()), ..selection.clone() };
    let (due, before) = of_base(runtime, &from).await?;
    lanes.before = before;
    let pass = plan::pass(runtime, &fetched, lanes).await?;
    let pass = if options.previews { plan::with_previews(runtime, pass).await? } else { pass };
    let shown = due.as_ref().map(wanted).unwrap_or_default();
    Ok(tidelock_plan::against(pass.plan, due.as_ref().map(|due| &due.plan), &shown))
}

/// What the base has due, and what its stacks say of themselves.
async fn of_base(runtime: &Runtime, from: &Selection) -> Result<(Option<Pass>, BTreeMap<Name, StackPolicy>), RunError> {
    let fetched = source::glance(runtime, from).await?;
    let lanes = match source::lanes(runtime, from, &fetched).await {
        Ok(lanes) => lanes,
        // The stack that is meant is new, or the base is broken: then all of it is new.
        Err(RunError::Selection { .. } | RunError::Rejected(_)) => return Ok((None, BTreeMap::new())),
        Err(error) => return Err(error),
    };
    let before = lanes.stacks.iter().map(|stack| (stack.decl.name.clone(), stack.decl.policy())).collect();
    match plan::pass(runtime, &fetched, lanes).await {
        Ok(pass) => Ok((Some(pass), before)),
        Err(RunError::Rejected(_) | RunError::Fault(_)) => Ok((None, before)),
        Err(error) => Err(error),
    }
}

/// What a revision wants on each target.
fn wanted(pass: &Pass) -> BTreeSet<(Name, Identity)> {
    let of_lane = |lane: &plan::PlannedLane| {
        let desired = &lane.rendered.desired;
        let target = desired.lane.target.clone();
        desired.resources.iter().map(|resource| (target.clone(), resource.identity.clone())).collect::<Vec<_>>()
    };
    pass.lanes.iter().flat_map(of_lane).collect()
}
