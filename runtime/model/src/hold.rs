//! What a person put in the loop's way: stops, suspensions and pins.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::inventory::InventoryEntry;
use crate::name::{Address, Identity, Lane, Name};
use crate::plan::Action;
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

    /// Whether all that `other` is on is meant here too, told from their words: a pattern
    /// holds itself and the names that it matches, and nothing else.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        let part = |mine: &Option<String>, theirs: &Option<String>| match (mine, theirs) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => {
                let name = !theirs.contains(['*', '?', '[', '{']);
                mine == theirs || name && crate::grant::glob(mine, false).is_ok_and(|glob| glob.is_match(theirs))
            }
        };
        (self.source.is_none() || self.source == other.source)
            && part(&self.stack, &other.stack)
            && part(&self.target, &other.target)
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

/// As a person would say it: `everything`, `stack web on target db-*`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.stack.as_ref().map(|stack| format!("stack {stack}")),
            self.target.as_ref().map(|target| format!("target {target}")),
            self.source.as_ref().map(|source| format!("source {source}")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { f.write_str("everything") } else { f.write_str(&parts.join(" on ")) }
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
    /// The id of a hold that a file asks for: only removing the file ends it.
    pub const FILE: u64 = 0;

    /// Whether it holds a lane at a time.
    #[must_use]
    pub fn holds(&self, lane: &Lane, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until) && self.scope.covers(lane)
    }
}

/// Who did what, when, until when and why, in a sentence.
impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.kind {
            HoldKind::Stop => "stopped",
            HoldKind::Suspend => "suspended",
        };
        write!(f, "{} {verb} {} at {}", self.who, self.scope, time(self.at))?;
        ending(f, self.until, self.reason.as_deref())
    }
}

fn time(at: Timestamp) -> impl fmt::Display {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn ending(f: &mut fmt::Formatter<'_>, until: Option<Timestamp>, reason: Option<&str>) -> fmt::Result {
    if let Some(until) = until {
        write!(f, ", until {}", time(until))?;
    }
    if let Some(reason) = reason {
        write!(f, ": {reason}")?;
    }
    Ok(())
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

/// Who pinned what, when, until when and why, in a sentence.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pinned {} to {} at {}", self.who, self.stack, self.revision.short(), time(self.at))?;
        ending(f, self.until, self.reason.as_deref())
    }
}

/// A resource that does not follow Git for now: kept as it was before a change, or let be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    /// The resource.
    pub address: Address,
    /// What it is on its target.
    pub identity: Identity,
    /// Whether it is let be: nobody looks at it, and it is not ours. Else it is kept as below.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub let_be: bool,
    /// The run whose change is taken back.
    pub run: String,
    /// What that change did.
    pub action: Action,
    /// What the resource is kept at; `None` where it is kept away.
    pub spec: Option<Value>,
    /// Digest of the spec that Git has for it, `None` where it has none: another one ends this.
    pub desired: Option<Digest>,
    /// How the resource was declared, where Git does not do that any more.
    pub entry: Option<InventoryEntry>,
    /// Who said so.
    pub who: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Option<String>,
}

impl Undo {
    /// The verb that began it, and ends it with `--end`.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        if self.let_be { "release" } else { "undo" }
    }
}

/// Who took what back, when and why, in a sentence.
impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.let_be {
            write!(f, "{} released {} at {}", self.who, self.address, time(self.at))?;
        } else {
            write!(f, "{} took back what run {} did to {} at {}", self.who, self.run, self.address, time(self.at))?;
        }
        ending(f, None, self.reason.as_deref())
    }
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
    fn a_scope_holds_what_lies_within_it() {
        let scope = |stack: Option<&str>, target: Option<&str>| Scope {
            source: None,
            stack: stack.map(str::to_owned),
            target: target.map(str::to_owned),
        };
        let web = scope(Some("web"), None);
        assert!(Scope::default().holds(&web) && web.holds(&web) && scope(Some("w*"), None).holds(&web));
        assert!(web.holds(&scope(Some("web"), Some("a"))) && scope(Some("w*"), None).holds(&scope(Some("w*"), None)));
        assert!(!web.holds(&Scope::default()) && !web.holds(&scope(Some("w*"), None)));
        assert!(!scope(Some("*"), None).holds(&Scope::default()), "what is not looked at yet is meant there too");
        assert_eq!(scope(Some("web"), Some("a*")).to_string(), "stack web on target a*");
        assert_eq!(Scope::default().to_string(), "everything");
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
