//! The pure planner and the gate: from desired and observed to a plan, and from a plan
//! to a verdict.
//!
//! ```text
//! subjects -> (observe) -> draft -> (steps) -> lane_plan -> plan -> gate::decide
//! ```
//! What stands in brackets is the loop's business: this crate calls nobody.
//!
//! **Invariants.** No IO, no clock, no randomness, no environment, no async runtime.
//! Equal inputs give equal bytes, in whatever order they come. Work grows linearly
//! with resources and edges. Nothing that is claimed is ever deleted. Only
//! [`gate::decide`] makes a [`gate::ApprovedPlan`].

mod assemble;
mod base;
mod check;
pub mod diff;
mod digest;
pub mod display;
mod draft;
mod edges;
pub mod gate;
mod groups;
mod held;
pub mod holds;
mod input;
mod item;
mod ledger;
pub mod observe;
mod part;
mod prune;
mod report;
pub mod rollout;
mod spec;
mod strays;
mod wanted;

#[cfg(test)]
mod tests;

pub use assemble::{only, plan, word};
pub use base::against;
pub use check::told_once;
pub use digest::{alone, lane_digest, plan_digest};
pub use draft::{Draft, draft};
pub use input::LaneInput;
pub use ledger::{Ledger, LedgerLine};
pub use part::{LanePart, lane_plan};
pub use report::{REPORTS, cuts_the_way, leaves_what_went_back};
