//! One pass, stage by stage: [`plan`] and [`apply`] are its tables of contents.

mod apply;
mod gate;
mod look;
mod observe;
mod plan;
mod prove;
mod record;
mod render;
mod rules;
mod source;
#[cfg(test)]
mod tests;

use tidelock_model::error::{Blame, Fault};
use tidelock_model::name::Address;
use tidelock_model::plan::Plan;
use tidelock_model::run::{Run, RunEnd};

use crate::contents::BlobSet;
use crate::error::RunError;
use crate::runtime::{Caller, PlanOptions, Runtime, Selection};

pub(crate) use look::quiet;
pub(crate) use observe::{Snapshot, observe};
pub(crate) use record::Leases;
pub(crate) use render::kinds_of;
pub use render::{render, values};
pub(crate) use source::enforce;

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
    /// What it waits for, or was refused for, where it does.
    pub waits: Vec<(tidelock_model::name::Lane, tidelock_model::plan::Wait)>,
}

/// Plans: what would be done, and nothing else.
///
/// # Errors
/// See [`RunError`]. What cannot be planned in one lane alone is in the plan's `errors`.
pub async fn plan(runtime: &Runtime, selection: &Selection, options: &PlanOptions) -> Result<Plan, RunError> {
    crate::holds::expire(runtime)?;
    let fetched = source::fetch(runtime, selection).await?;
    let lanes = source::lanes(runtime, selection, &fetched).await?;
    let pass = plan::pass(runtime, &fetched, lanes).await?;
    let pass = if options.previews { plan::with_previews(runtime, pass).await? } else { pass };
    record::planned(runtime, &pass)?;
    Ok(pass.plan)
}

/// Applies: plans anew, asks the gate, performs, proves and records.
///
/// A `saved` plan is evidence, never instruction: it is compared with what would be
/// done now, and only if they are equal is *that* done.
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
    let fetched = source::fetch(runtime, selection).await?;
    source::may_be_applied(runtime, &fetched)?;
    let lanes = source::lanes(runtime, selection, &fetched).await?;
    let leases = match caller {
        Caller::Once(_) => {
            record::Leases::wait(runtime, &lanes.selected.iter().map(|one| &one.lane).collect::<Vec<_>>(), who).await?
        }
        Caller::Loop => record::Leases::take(runtime, &lanes.selected, who)?,
    };
    crate::recover::open_intents(runtime, &leases, &lanes.selected).await?;
    let pass = plan::pass(runtime, &fetched, lanes).await?;
    let pass = plan::with_previews(runtime, pass).await?;
    if let Some(saved) = saved {
        gate::same_as_saved(saved, &pass.plan)?;
    }
    let blobs: BlobSet = pass.blobs.clone();
    let (whole, gate::Passed { approved, held }) = gate::pass(runtime, pass, caller).await?;
    let done = match &approved {
        Some(approved) => {
            let Some(_in_hand) = runtime.interrupt.begin() else {
                return Err(Fault::new("interrupted", Blame::Host, "ended before anything was begun").into());
            };
            let performed = apply::perform(runtime, &leases, approved, &blobs, who).await?;
            let proven = prove::prove(runtime, approved, performed).await?;
            Some(record::finish(runtime, &leases, approved, proven)?)
        }
        None => None,
    };
    record::together(runtime, whole, done, held, who)
}
