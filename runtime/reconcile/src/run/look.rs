//! A look that takes no lease and leaves no trace: whether a lane is as it should be.
//!
//! Most of what the loop does is this, thousands of times a day. Where the answer is no,
//! or anything is in doubt, the pass begins again from its top, under leases.

use tidelock_model::name::Lane;
use tidelock_model::run::Status;

use super::{plan, source};
use crate::error::RunError;
use crate::runtime::{Runtime, Selection};

/// Whether a lane that was converged at this revision still is: nothing to do, nothing
/// in doubt, nothing to record but that it was looked at.
///
/// # Errors
/// See [`RunError`].
pub(crate) async fn quiet(runtime: &Runtime, selection: &Selection, lane: &Lane) -> Result<bool, RunError> {
    crate::confirm::learned(runtime)?;
    let Some(record) = runtime.store.lane(lane)? else { return Ok(false) };
    let converged = record.status == Status::Converged && record.contacted && record.attempts == 0;
    if !converged || !runtime.store.open_intents(lane)?.is_empty() {
        return Ok(false);
    }
    if crate::confirm::deserted(runtime)?.iter().any(|gone| gone.guard.lane.target == lane.target) {
        return Ok(false);
    }
    let fetched = source::fetch(runtime, selection).await?;
    let revision = Some(&fetched.revision.id);
    let at = |known: &Option<tidelock_model::revision::Revision>| known.as_ref().map(|known| &known.id) == revision;
    if !at(&record.applied) || !at(&record.planned) {
        return Ok(false);
    }
    let lanes = source::lanes(runtime, selection, &fetched).await?;
    let pass = plan::pass(runtime, &fetched, lanes).await?;
    let as_before = pass.lanes.iter().all(|planned| planned.rendered.desired.plugins == record.plugins);
    Ok(pass.plan.changes.iter().all(|change| !change.is_change())
        && pass.plan.errors.is_empty()
        && pass.plan.lanes.iter().all(|part| part.waits.is_empty())
        && as_before)
}
