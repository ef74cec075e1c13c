//! What a person put in the loop's way: stops, suspensions and pins.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::{Lane, Name};
use crate::revision::Revision;

/// Which lanes a hold is on. What is left out means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Name>,
    /// Names or globs of stacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// Names or globs of targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl Scope {
    /// One lane alone.
    #[must_use]
    pub fn of(lane: &Lane) -> Self {
        let pattern = |name: &Name| Some(name.to_string());
        Self { source: Some(lane.source.clone()), stack: pattern(&lane.stack), target: pattern(&lane.target) }
    }

    /// Whether a lane is meant. A pattern that cannot be read means every lane: a hold
    /// errs on the side of holding.
    #[must_use]
    pub fn covers(&self, lane: &Lane) -> bool {
        let matches = |pattern: &Option<String>, name: &Name| {
            pattern.as_ref().is_none_or(|pattern| {
                crate::grant::glob(pattern, false).map_or(true, |glob| glob.is_match(name.as_str()))
            })
        };
        self.source.as_ref().is_none_or(|source| *source == lane.source)
            && matches(&self.stack, &lane.stack)
            && matches(&self.target, &lane.target)
    }
}

/// How a hold holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldKind {
    /// No new group begins, also in a run that goes on.
    Stop,
    /// Lanes are planned and reported, and nothing is applied, until it ends.
    Suspend,
}

/// A stop or a suspension in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Unique in the store.
    pub id: u64,
    /// How it holds.
    pub kind: HoldKind,
    /// What it is on.
    pub scope: Scope,
    /// Who said so.
    pub who: String,
    /// When.
    pub at: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
}

impl Hold {
    /// Whether it holds a lane at a time.
    #[must_use]
    pub fn holds(&self, lane: &Lane, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until) && self.scope.covers(lane)
    }
}

/// A stack that is kept at an older revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The source.
    pub source: Name,
    /// The stack.
    pub stack: Name,
    /// The revision that it is kept at; a verified ancestor.
    pub revision: Revision,
    /// Who said so.
    pub who: String,
    /// When.
    pub at: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(stack: &str, target: &str) -> Lane {
        let name = |text: &str| Name::new(text).unwrap();
        Lane { source: name("infra"), stack: name(stack), target: name(target) }
    }

    #[test]
    fn a_scope_that_says_nothing_means_everything() {
        assert!(Scope::default().covers(&lane("web", "web-1")));
    }

    #[test]
    fn each_part_of_a_scope_narrows_it() {
        let scope = Scope { source: None, stack: Some("web*".to_owned()), target: Some("prod-*".to_owned()) };
        assert!(scope.covers(&lane("web-1", "prod-1")));
        assert!(!scope.covers(&lane("web-1", "dev-1")));
        assert!(!scope.covers(&lane("db", "prod-1")));
    }

    #[test]
    fn a_pattern_that_cannot_be_read_holds() {
        let scope = Scope { stack: Some("[".to_owned()), ..Scope::default() };
        assert!(scope.covers(&lane("web", "web-1")));
    }

    #[test]
    fn a_suspension_ends_at_its_time() {
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let until: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let hold = Hold {
            id: 1,
            kind: HoldKind::Suspend,
            scope: Scope::default(),
            who: "ada".to_owned(),
            at,
            until: Some(until),
            reason: None,
        };
        assert!(hold.holds(&lane("web", "web-1"), at));
        assert!(!hold.holds(&lane("web", "web-1"), until));
    }
}
