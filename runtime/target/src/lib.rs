//! Eyes and hands on targets: looking at a system, and performing effects on it.
//!
//! One module per kind of system, and `check` for what a stack wants checked. A target knows files, commands and the grants
//! that bound them; it knows nothing of plugins, plans or Git. Everything that
//! changes a system goes through [`tidelock_model::port::Target::perform`].

mod check;
pub mod dns;
pub mod machine;
pub mod network;
mod right;
pub mod sql;

pub use check::Checks;
pub use machine::{Ended, Machine, MachineOptions, Stat, Watches};
pub use network::{GuardHelper, Namespace, Network, NetworkWatches, guards_in, keep_guard};
use tidelock_model::error::{Blame, Fault};

/// How long the system has been up, in ms, with the time that it was suspended. Goes on while
/// this process is stopped.
#[must_use]
pub fn uptime() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec) * 1_000 + part(now.tv_nsec) / 1_000_000
}

/// Runs what may wait for a disk or a child away from the threads that serve others. It
/// is not stopped when the future is dropped.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Fault::new("panic", Blame::Host, format!("work on a target did not end: {error}")))
}
