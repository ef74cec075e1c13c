//! The test kit: a machine and a tree in memory, so that a plugin is tested without
//! Wasm, by the very functions that its component exports.
//!
//! [`Machine`] holds files and answers reads as the host does. Its
//! [`converge`](Machine::converge) goes the whole way: check, normalise, observe, compare,
//! steps, perform, observe again. [`Machine::postgres`] is a real database server, for plugins
//! that use [`sql`](crate::sql). [`Tree`] holds a module and renders it.

mod circle;
mod dns;
pub(crate) mod host;
mod machine;
mod network;
mod perform;
mod sql;
mod tree;

pub use circle::{Circle, declared};
pub use machine::{Machine, Node, sha256};
pub use perform::{Body, Proposal};
pub use sql::Statement;
pub use tree::{Question, Tree};
