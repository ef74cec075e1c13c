//! Watching targets between two looks.

use crate::name::{Identity, Lane};

/// Watches what lanes own, and wakes the loop when something of it may have changed. A hint:
/// whoever is woken looks, and what is missed the next look finds.
pub trait Watch: Send + Sync {
    /// Watches this for a lane from now on, compared with how it is now, and nothing else.
    /// What cannot be watched is passed over. Blocking, like the others; short.
    fn watch(&self, lane: &Lane, identities: &[Identity]);

    /// Watches this no more for a lane, which is about to write it.
    fn leave(&self, lane: &Lane, identities: &[Identity]);

    /// Watches this too, compared with how it is now.
    fn add(&self, lane: &Lane, identities: &[Identity]);
}
