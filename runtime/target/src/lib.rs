//! Eyes and hands on targets: looking at a system, and performing effects on it.
//!
//! One module per kind of system. A target knows files, commands and the grants
//! that bound them; it knows nothing of plugins, plans or Git. Everything that
//! changes a system goes through [`tidelock_model::port::Target::perform`].

pub mod machine;

pub use machine::{Ended, Machine, MachineOptions, Stat};
