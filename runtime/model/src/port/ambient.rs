//! The time, and who listens.

use jiff::Timestamp;

use crate::event::RunEvent;
use crate::name::Lane;

/// The time, so that tests own it.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// How long the system has been up, in ms, with the time that it was suspended. Never set
    /// anew, and goes on while this process is stopped.
    fn uptime(&self) -> u64;

    /// Waits.
    fn sleep(&self, ms: u64) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Who listens to a run.
pub trait Listener: Send + Sync {
    /// Takes an event, as it happens. Must not block.
    fn event(&self, run: Option<&str>, lane: Option<&Lane>, event: &RunEvent);
}
