//! Lanes that wait for another one to get there, so that its end wakes them.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::name::Lane;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// By the lane that they wait for.
    waiting: BTreeMap<Lane, BTreeSet<Lane>>,
    /// After how many passes one over a lane last came to something.
    moved: BTreeMap<Lane, u64>,
    /// Passes that ended.
    passes: u64,
}

impl Behind {
    /// How many passes have ended by now: what a pass that begins is told by.
    pub(super) fn passes(&self) -> u64 {
        self.passes
    }

    /// A pass over a lane that began after `began` others has ended: it waits for the lane `on`, or for
    /// none. Where it came to something (`moved`) those that waited for it are given back, to
    /// be woken. A lane that moved after this one had asked for it wakes this one at once.
    pub(super) fn ended(&mut self, lane: &Lane, on: Option<&Lane>, moved: bool, began: u64) -> BTreeSet<Lane> {
        self.passes += 1;
        for waiting in self.waiting.values_mut() {
            waiting.remove(lane);
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        let mut woken = BTreeSet::new();
        if moved {
            self.moved.insert(lane.clone(), self.passes);
            woken = self.waiting.remove(lane).unwrap_or_default();
        }
        match on {
            Some(on) if self.moved.get(on).is_some_and(|at| *at > began) => {
                woken.insert(lane.clone());
            }
            Some(on) => {
                self.waiting.entry(on.clone()).or_default().insert(lane.clone());
            }
            None => {}
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_model::name::Name;

    fn lane(target: &str) -> Lane {
        let name = |text: &str| Name::new(text).unwrap();
        Lane { source: name("infra"), stack: name("web"), target: name(target) }
    }

    #[test]
    fn whoever_waits_is_woken_when_the_other_gets_there() {
        let mut behind = Behind::default();
        assert!(behind.ended(&lane("b"), Some(&lane("a")), false, 0).is_empty());
        assert!(behind.ended(&lane("c"), Some(&lane("a")), false, 0).is_empty());
        assert!(behind.ended(&lane("c"), None, false, 2).is_empty(), "it waits no more");
        assert!(behind.ended(&lane("a"), None, false, 2).is_empty(), "it found nothing to do");
        assert_eq!(behind.ended(&lane("a"), None, true, 4), [lane("b")].into());
        assert!(behind.ended(&lane("a"), None, true, 5).is_empty());
    }

    #[test]
    fn one_that_got_there_meanwhile_is_not_waited_for() {
        let mut behind = Behind::default();
        let began = behind.passes();
        behind.ended(&lane("a"), None, true, 0);
        assert_eq!(behind.ended(&lane("b"), Some(&lane("a")), false, began), [lane("b")].into());
        let began = behind.passes();
        assert!(behind.ended(&lane("b"), Some(&lane("a")), false, began).is_empty());
    }
}
