//! Runs Wasm plugins: the only crate that names wasmtime.
//!
//! A plugin is a component. [`Host`] finds it, reads from its bytes who it is and what
//! its imports would let it do (`inspect`), and compiles it once it is needed (`load`,
//! `aot`). [`PluginRoom`] hands out those that the operator accepted in the [`Lock`].
//! Each call has a store of its own within limits (`call`, `meter`); every function
//! that a guest calls goes through one `door`; `capability` holds what there is to
//! call, one file per interface.
//!
//! **Invariant.** Nothing here writes to a target: a plugin reads through
//! [`Eyes`], and what it proposes is data that `proposals` has held against the
//! change that it was asked about.
//!
//! **Invariant.** No text, JSON, identity or token of a guest leaves this crate
//! before it was capped and checked (`convert`, `json`, `answers`, `seen`).

mod answers;
mod aot;
mod bindings;
mod call;
mod capability;
mod convert;
mod discover;
mod door;
mod engine;
mod eyes;
mod inspect;
mod json;
mod load;
mod lock;
mod meter;
mod plugins;
mod proposals;
mod provider;
mod questions;
mod renderer;
mod seen;

pub use eyes::{Eyes, OpenEyes};
pub use load::{Host, HostOptions};
pub use lock::{Accepted, Lock};
pub use plugins::{Described, PluginRoom};
