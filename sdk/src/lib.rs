//! Write plugins for Tidelock: renderers, which turn files into resources, and
//! providers, which know kinds of resources on targets.
//!
//! A plugin is a library crate for `wasm32-unknown-unknown` that implements [`Renderer`],
//! or [`Provider`] with a [`Kind`] for each sort of resource, and registers it with one
//! macro. It reads through [`Machine`], [`sql`] or [`Tree`] and [`Inputs`], and it *proposes*
//! [effects](effect); it cannot write. What it does not use of the contract does not
//! end up in its import list, and that list is its permissions.
//!
//! The same crate compiles natively, where [`testkit`] stands in for the host: the whole
//! circle of check, normalise, observe, steps and observe again runs in a unit test.
//!
//! Start with `README.md` beside this crate, which shows a whole plugin.
#![cfg_attr(not(target_arch = "wasm32"), doc = "\n# The README\n")]
#![cfg_attr(not(target_arch = "wasm32"), doc = include_str!("../README.md"))]

mod change;
mod content;
mod dns;
pub mod effect;
mod error;
mod field;
mod kind;
pub mod log;
mod machine;
mod network;
mod observation;
pub mod provider;
#[doc(hidden)]
pub mod register;
pub mod renderer;
pub mod spec;
pub mod sql;
mod tree;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
#[cfg(target_arch = "wasm32")]
use guest::host;

#[cfg(not(target_arch = "wasm32"))]
pub mod testkit;
#[cfg(not(target_arch = "wasm32"))]
use testkit::host;

pub use change::{Action, Change, Step};
pub use content::Content;
pub use dns::{Dns, Records};
pub use effect::{AfterCrash, Proposals};
pub use error::{Blame, Diagnostic, Error, Severity, nearest};
pub use field::{Field, Roles};
pub use kind::{Found, Kind, KindDescription, Kinds};
pub use machine::{Ended, Entry, EntryKind, Looked, Machine};
pub use network::{Network, Seen};
pub use observation::{Observation, Present, Readiness, SecretProbe, Subject};
pub use provider::Provider;
pub use renderer::{Output, Place, Problem, Problems, Renderer};
pub use tree::{Inputs, Tree, TreeEntry};

// So that a plugin needs no dependency but this one for its specs.
pub use {schemars, serde, serde_json};
