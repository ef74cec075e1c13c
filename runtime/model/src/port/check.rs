//! Checks, as the loop asks them.

use async_trait::async_trait;

use crate::check::Probe;
use crate::error::Fault;

/// Asks what a stack wants checked. It was compared with what the operator allows before.
#[async_trait]
pub trait Checker: Send + Sync {
    /// Asks once, for so many ms at most.
    ///
    /// # Errors
    /// It does not hold; the message says what came instead.
    async fn ask(&self, probe: &Probe, timeout_ms: u64) -> Result<(), Fault>;
}
