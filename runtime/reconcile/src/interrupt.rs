//! Ending early: a wish from outside of a pass, such as Ctrl-C.
//!
//! What is in hand ends and is recorded; nothing further begins. Whoever passes the wish
//! on learns whether there is anything in hand, and may leave at once where there is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Shared by a pass and by whoever may want it to end early. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    asked: AtomicBool,
    in_hand: AtomicUsize,
}

/// What a wish to end came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Something is being performed: it ends, is recorded, and the pass returns.
    Soon,
    /// Nothing is in hand, or this was wished before: there is nothing to wait for.
    Now,
}

/// Effects are being performed while this lives.
#[derive(Debug)]
pub(crate) struct InHand(Arc<State>);

impl Interrupt {
    /// Wishes that nothing further begins.
    #[must_use]
    pub fn ask(&self) -> Ending {
        let before = self.0.asked.swap(true, Ordering::SeqCst);
        if before || self.0.in_hand.load(Ordering::SeqCst) == 0 { Ending::Now } else { Ending::Soon }
    }

    /// Whether that was wished.
    #[must_use]
    pub fn asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Ends a pass that has nothing in hand, and leaves one that has to itself. Whether it
    /// has none: then it can be dropped, since it has not written and never will.
    pub(crate) fn cut(&self) -> bool {
        let writes = || self.0.in_hand.load(Ordering::SeqCst) > 0;
        if writes() {
            return false;
        }
        self.0.asked.store(true, Ordering::SeqCst);
        // What was taken in hand meanwhile ends with its next batch.
        !writes()
    }

    /// Takes something in hand; `None` where nothing may begin any more. Either the wish
    /// is seen here, or the one who wishes sees what is in hand: both look after they wrote.
    pub(crate) fn begin(&self) -> Option<InHand> {
        let in_hand = InHand(Arc::clone(&self.0));
        self.0.in_hand.fetch_add(1, Ordering::SeqCst);
        (!self.asked()).then_some(in_hand)
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.in_hand.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_hand_is_waited_for_once() {
        let interrupt = Interrupt::default();
        let in_hand = interrupt.begin().unwrap();
        assert_eq!(interrupt.ask(), Ending::Soon);
        assert!(interrupt.asked() && interrupt.begin().is_none());
        assert_eq!(interrupt.ask(), Ending::Now, "who asks twice does not want to wait");
        drop(in_hand);
        assert_eq!(interrupt.0.in_hand.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn with_nothing_in_hand_there_is_nothing_to_wait_for() {
        assert_eq!(Interrupt::default().ask(), Ending::Now);
    }

    #[test]
    fn what_only_looks_is_cut_and_what_writes_is_let_be() {
        let interrupt = Interrupt::default();
        let in_hand = interrupt.begin().unwrap();
        assert!(!interrupt.cut() && !interrupt.asked());
        drop(in_hand);
        assert!(interrupt.cut());
        assert!(interrupt.begin().is_none(), "what was cut never writes");
    }
}
