//! The planner on an example system, with outputs that can be read.

pub(crate) mod example;
mod identity;
mod order;
mod properties;
mod prune;
mod trigger;
mod unseen;

use example::{Example, outline};

/// Plans the example and tells what came of it.
fn check(example: &Example) -> String {
    outline(&example.part())
}
