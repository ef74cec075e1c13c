//! The right to begin effects: whoever performs has it as long as somebody waits for the answer
//! and the lease is not over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidelock_model::port::Until;

/// The right to begin effects, and to confirm what was done in a transaction.
#[derive(Clone)]
pub(crate) struct Right {
    given_up: Arc<AtomicBool>,
    until: Until,
}

/// Whoever waits for the answer: with its end, which is that of the future that holds it, the
/// right ends too.
pub(crate) struct Waiting(Arc<AtomicBool>);

impl Right {
    /// The right under a lease, and what it ends with.
    pub(crate) fn under(until: &Until) -> (Self, Waiting) {
        let given_up = Arc::new(AtomicBool::new(false));
        (Self { given_up: Arc::clone(&given_up), until: until.clone() }, Waiting(given_up))
    }

    /// Whether nothing further may be begun.
    pub(crate) fn is_over(&self) -> bool {
        self.given_up.load(Ordering::Acquire) || self.is_anothers()
    }

    /// Whether somebody else may be at work on the target: then nothing is taken back either.
    pub(crate) fn is_anothers(&self) -> bool {
        self.until.is_over(crate::uptime())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_whoever_waits_and_with_the_lease() {
        let until = Until::at(u64::MAX);
        let (right, waiting) = Right::under(&until);
        assert!(!right.is_over());
        drop(waiting);
        assert!(right.is_over() && !right.is_anothers());
        let (right, _waiting) = Right::under(&until);
        until.set(0);
        assert!(right.is_over() && right.is_anothers());
    }
}
