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

/// What hints may have looks cost: `burst` ms of look time at once, and in the long run one part in
/// `share` of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    burst: i64,
    share: i64,
}

/// What hints about one lane may cost: a hundred short looks in a row, then a twentieth of a
/// processor at most.
pub(super) const OF_A_LANE: Allowance = Allowance { burst: 10_000, share: 20 };

/// What hints about all lanes together may cost: half a processor.
pub(super) const OF_ALL: Allowance = Allowance { burst: 60_000, share: 2 };

/// The shortest rest between two looks that hints ask for, in ms. It is at least as long as the
/// look before it was, so that looks never fill more than half of the time.
const REST_MS: i64 = 100;

/// The least that a look counts, in ms: a short one has its price in bookkeeping.
const LEAST_MS: i64 = 100;

/// The most that a look counts, in ms. With the share of a lane it bounds the wait for the next
/// one: ten seconds after the last, however long that took on a busy machine.
const MOST_MS: i64 = 500;

/// What came of a look, as far as its price depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It found something to do.
    Useful,
    /// It found nothing: a neighbour is chatty. That counts double.
    Idle,
    /// It found nothing, after a pass that wrote: that pass's own writes may have asked for it.
    Echo,
}

/// Bounds how often hints of changes have lanes looked at: somebody may write all the time. Each
/// look takes its own time out of an [`Allowance`], which fills again as time goes by. Times are
/// ms since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hints {
    /// What was used up, at `at`.
    spent: i64,
    at: i64,
    /// Until when the last look is rested from.
    rest: i64,
}

impl Hints {
    /// When the next look may be: rested from the last one, and paid for.
    pub(super) fn next(self, allowance: Allowance, now: i64) -> i64 {
        // A clock that is set back holds nothing up for longer than a rest may be.
        self.paid(allowance, now).max(self.rest.min(now.saturating_add(MOST_MS)))
    }

    /// When the next look is paid for.
    pub(super) fn paid(self, allowance: Allowance, now: i64) -> i64 {
        let over = self.spent(allowance, now) - allowance.burst;
        now.saturating_add(over.max(0).saturating_mul(allowance.share))
    }

    /// Pays for a look that ended, and took so many ms.
    pub(super) fn pay(&mut self, allowance: Allowance, look: Look, took: i64, now: i64) {
        let price = match look {
            Look::Useful => took.clamp(LEAST_MS, MOST_MS),
            Look::Idle => took.saturating_mul(2).clamp(2 * LEAST_MS, MOST_MS),
            Look::Echo => 0,
        };
        (self.spent, self.at) = (self.spent(allowance, now).saturating_add(price), now);
    }

    /// Rests from a look that ended, and took so many ms.
    pub(super) fn rest(&mut self, took: i64, now: i64) {
        self.rest = now.saturating_add(took.clamp(REST_MS, MOST_MS));
    }

    fn spent(self, allowance: Allowance, now: i64) -> i64 {
        let back = now.saturating_sub(self.at).max(0) / allowance.share;
        self.spent.saturating_sub(back).max(0)
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

    /// Looks in `for_ms`, each of `took` ms, while hints come all the time.
    fn storm(look: Look, took: i64, for_ms: i64) -> Vec<i64> {
        let (mut hints, mut looks) = (Hints::default(), Vec::new());
        let mut now = 1_000_000;
        while now < 1_000_000 + for_ms {
            looks.push(now - 1_000_000);
            now += took;
            hints.pay(OF_A_LANE, look, took, now);
            hints.rest(took, now);
            now = hints.next(OF_A_LANE, now);
        }
        looks
    }

    #[test]
    fn a_storm_of_hints_asks_for_few_looks() {
        let looks = storm(Look::Idle, 10, 3_600_000);
        assert_eq!(looks[..3], [0, 110, 220], "the first ones soon");
        assert!(looks.len() < 1_000, "{} looks in an hour", looks.len());
        assert!(looks[200..].windows(2).all(|pair| pair[1] - pair[0] >= 3_900), "then one in four seconds");
        for took in [1, 50, 400, 2_000, 60_000] {
            let looks = storm(Look::Idle, took, 86_400_000);
            let busy = looks.len() as i64 * took;
            let waits = looks.windows(2).map(|pair| pair[1] - pair[0] - took).max().unwrap();
            assert!(busy < 86_400_000 / 20 + 20_000 || took > MOST_MS, "{busy} ms of a day in looks of {took} ms");
            assert!(waits <= 10_000, "{waits} ms after a look of {took} ms");
        }
    }

    #[test]
    fn what_is_changed_by_hand_again_and_again_is_looked_at_each_time() {
        let mut hints = Hints::default();
        let mut now = 0;
        for change in 0..60 {
            // Half a second later somebody changes the next thing; the look heals it, and hears of that.
            now += 500;
            for (look, took) in [(Look::Useful, 150), (Look::Echo, 50)] {
                let at = hints.next(OF_A_LANE, now);
                assert!(at - now <= 150, "change {change} waits {} ms", at - now);
                now = at + took;
                hints.pay(OF_A_LANE, look, took, now);
                hints.rest(took, now);
            }
        }
    }

    #[test]
    fn who_fights_for_a_setting_meets_the_same_bound() {
        let looks = storm(Look::Useful, 100, 3_600_000);
        assert!(looks.len() < 2_100, "{} looks in an hour", looks.len());
    }

    #[test]
    fn a_clock_that_is_set_back_holds_no_hint_up() {
        let mut hints = Hints::default();
        hints.pay(OF_A_LANE, Look::Idle, 100, 1_000_000_000);
        hints.rest(100, 1_000_000_000);
        assert!(hints.next(OF_A_LANE, 5_000) <= 5_000 + MOST_MS);
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
