//! Eyes and hands on targets: looking at a system, and performing effects on it.
//!
//! One module per kind of system, and `check` for what a stack wants checked. A target knows files, commands and the grants
//! that bound them; it knows nothing of plugins, plans or Git. Everything that
//! changes a system goes through [`tidelock_model::port::Target::perform`].

mod check;
pub mod machine;

pub use check::Checks;
pub use machine::{Ended, Machine, MachineOptions, Stat, Watches};
