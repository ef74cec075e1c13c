//! How long until the next time: jitter and backoff, as functions of what is given.
//! No clock and no randomness: who asks the same question twice gets the same answer.

use jiff::SignedDuration;
use tidelock_model::digest::Digest;

/// How often a source's server is asked where the config does not say, in ms.
const POLL_MS: u64 = 60_000;

/// How often a lane is looked at where the config does not say, in ms.
const LOOK_MS: u64 = 300_000;

/// The first wait after a failure, in ms; it doubles with each further one.
const FIRST_MS: u64 = 5_000;

/// The longest wait after failures, in ms.
const LONGEST_MS: u64 = 300_000;

/// The wait where somebody else holds a lease, in ms; it doubles up to [`BUSY_LONGEST_MS`].
const BUSY_MS: u64 = 250;

/// The longest wait for a lease, in ms.
const BUSY_LONGEST_MS: u64 = 5_000;

/// No interval is shorter, in ms: a config that says `1ms` does not make a busy loop.
pub(super) const SHORTEST_MS: u64 = 100;

/// What a source's `poll` means, in ms.
pub(super) fn poll_every(text: Option<&str>) -> u64 {
    every(text, POLL_MS)
}

/// What a target's `drift_every` means, in ms.
pub(super) fn look_every(text: Option<&str>) -> u64 {
    every(text, LOOK_MS)
}

/// A length of time as the config writes it. What cannot be read was refused when the
/// config was; here it means the default.
fn every(text: Option<&str>, default: u64) -> u64 {
    text.and_then(|text| text.parse::<SignedDuration>().ok())
        .and_then(|duration| u64::try_from(duration.as_millis()).ok())
        .unwrap_or(default)
        .max(SHORTEST_MS)
}

/// An interval, up to a tenth longer or shorter: by who waits and for the how many-th
/// time, so that a thousand lanes that began together do not stay together.
pub(super) fn jittered(ms: u64, who: &str, count: u64) -> u64 {
    let tenth = ms / 10;
    if tenth == 0 {
        return ms;
    }
    let digest = Digest::of_parts([who.as_bytes(), &count.to_le_bytes()]).short();
    let number = u64::from_str_radix(digest.get(..12).unwrap_or("0"), 16).unwrap_or(0);
    ms - tenth + number % (2 * tenth + 1)
}

/// Looks that changed files may ask for in a row.
const TOUCHES: i64 = 4;

/// After those, one in so many ms.
const TOUCH_MS: i64 = 5_000;

/// Bounds how often changed files have a lane looked at: somebody may write all the time. Times
/// are ms since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Touches {
    /// When all of it is free again.
    free: i64,
}

impl Touches {
    /// When the next look may be.
    pub(super) fn next(self, now: i64) -> i64 {
        now.max(self.free - (TOUCHES - 1) * TOUCH_MS)
    }

    /// One is taken, for that time.
    pub(super) fn take(&mut self, at: i64) {
        self.free = self.free.max(at) + TOUCH_MS;
    }
}

/// How long to wait after the `attempts`-th failure in a row.
pub(super) fn after_failure(attempts: u32, who: &str) -> u64 {
    doubled(FIRST_MS, LONGEST_MS, attempts, who)
}

/// How long to wait after a lease was another's for the `times`-th time in a row.
pub(super) fn after_busy(times: u32, who: &str) -> u64 {
    doubled(BUSY_MS, BUSY_LONGEST_MS, times, who)
}

fn doubled(first: u64, longest: u64, times: u32, who: &str) -> u64 {
    let doublings = times.saturating_sub(1).min(32);
    let ms = first.saturating_mul(1 << doublings).min(longest);
    jittered(ms, who, u64::from(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_what_the_config_says() {
        assert_eq!(poll_every(None), 60_000);
        assert_eq!(poll_every(Some("30s")), 30_000);
        assert_eq!(look_every(Some("1h")), 3_600_000);
        assert_eq!(look_every(Some("1ms")), SHORTEST_MS);
    }

    #[test]
    fn a_storm_of_touches_asks_for_few_looks() {
        let mut touches = Touches::default();
        let mut looks = Vec::new();
        for now in (1_000_000..1_060_000).step_by(10) {
            if touches.next(now) <= now {
                touches.take(now);
                looks.push(now - 1_000_000);
            }
        }
        assert_eq!(looks[..4], [0, 10, 20, 30], "the first ones at once");
        assert_eq!(looks.len(), 4 + 11, "then one in five seconds");
        assert_eq!(touches.next(2_000_000), 2_000_000, "and at once again after a while");
    }

    #[test]
    fn jitter_repeats_stays_within_a_tenth_and_spreads() {
        let mut seen = std::collections::BTreeSet::new();
        for count in 0..500 {
            let ms = jittered(60_000, "infra", count);
            assert_eq!(ms, jittered(60_000, "infra", count));
            assert!((54_000..=66_000).contains(&ms), "{ms}");
            seen.insert(ms);
        }
        assert!(seen.len() > 400, "only {} different waits", seen.len());
        assert!((0..50).any(|count| jittered(60_000, "infra", count) != jittered(60_000, "other", count)));
        assert_eq!(jittered(5, "infra", 1), 5);
    }

    #[test]
    fn failures_wait_longer_each_time_up_to_a_bound() {
        let waits: Vec<u64> = (1..12).map(|attempt| after_failure(attempt, "infra:web@a")).collect();
        assert!((4_500..=5_500).contains(&waits[0]), "{waits:?}");
        assert!(waits[..6].windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= 330_000), "{waits:?}");
        assert!(after_failure(u32::MAX, "x") <= 330_000);
        assert!(after_busy(1, "x") < 300 && after_busy(50, "x") <= 5_500);
    }
}
