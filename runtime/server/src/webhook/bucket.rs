//! How often a source may be woken: a bucket of tokens that fills again with time.

use std::time::{Duration, Instant};

/// Tokens that a full bucket holds: pushes in a row that are all taken.
const FULL: f64 = 30.0;

/// Tokens that come back in a second.
const PER_SECOND: f64 = 1.0;

/// See the module.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: FULL, at: now }
    }

    /// Takes a token, or says how long it takes until there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed * PER_SECOND).min(FULL);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - self.tokens) / PER_SECOND))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_one_a_second() {
        let begun = Instant::now();
        let mut bucket = Bucket::new(begun);
        for _ in 0..30 {
            bucket.take(begun).unwrap();
        }
        let wait = bucket.take(begun).unwrap_err();
        assert!(wait > Duration::from_millis(900) && wait <= Duration::from_secs(1), "{wait:?}");
        bucket.take(begun + Duration::from_secs(1)).unwrap();
        assert!(bucket.take(begun + Duration::from_secs(1)).is_err());
        let later = begun + Duration::from_secs(3_600);
        assert_eq!((0..100).filter(|_| bucket.take(later).is_ok()).count(), 30, "it overflows");
        assert!(bucket.take(begun).is_err(), "a clock that goes back gives nothing");
    }
}
