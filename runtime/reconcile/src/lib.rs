//! The heart: one pass from a revision to a record, over ports alone.
//!
//! ```text
//! source --Revision--> render --Desired--> observe --Snapshot--> plan --Plan--> gate --ApprovedPlan--> apply --Outcome--> record
//! ```
//!
//! [`run`] holds one file per arrow; [`run::plan`] and [`run::apply`] read as the table
//! of contents of a pass. [`read`] turns what Git says into nouns, or into errors that
//! name file, line and field. [`select`] decides which stacks and targets are meant,
//! and whether the operator allows them. [`driver`] decides when.
//!
//! **Invariant.** This crate names no adapter: no Git, no Wasm, no SQL, no file system.
//! The whole loop runs in tests with fakes.

mod accept;
mod approve;
mod confirm;
mod contents;
mod counting;
mod discover;
pub mod driver;
mod error;
mod forget;
mod holds;
mod interrupt;
mod pins;
pub mod read;
mod recover;
mod resolve;
pub mod run;
mod runtime;
mod secrets;
pub mod select;
mod tail;
mod trouble;
mod undo;
mod why;

pub use accept::{
    MovedTag, Replaced, Rewritten, accept_source, accept_tag, accept_target, moved_tag, replaced, rewritten,
};
pub use approve::{Planned, approve, planned, reject};
pub use confirm::{confirm, cut_off, learn, standing, unconfirmed};
pub use counting::Counting;
pub use discover::{Discovered, Discovery, discover};
pub use error::RunError;
pub use forget::{Forget, Forgetting, forget, forgettable, is_stack};
pub use holds::{Within, end, hold, within};
pub use interrupt::{Ending, Interrupt};
pub use pins::{ancestor, pin, unpin};
pub use resolve::{Word, in_doubt, resolve};
pub use run::{Applied, Leaving, Mismatch, apply, destroy, plan, plan_against, render, values};
pub use runtime::{Approver, Caller, PlanOptions, Runtime, Selection, Yes};
pub use tail::Tail;
pub use trouble::problems;
pub use undo::{redo, release, undo};
pub use why::{Asked, DAEMON, LaneWhy, Meant, PlannedWhy, ResourceWhy, Why, why};
