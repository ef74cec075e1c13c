//! `stack.yaml`: a directory that is reconciled as one unit.

use indexmap::IndexMap;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::check::CheckDecl;
use crate::name::Name;

/// What the loop does when it finds changes. In order of strictness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Apply, once the gate passes.
    Apply,
    /// Plan, and wait for a yes.
    Ask,
    /// Plan, and say so.
    Report,
}

/// How many effects of a sort a plan may hold: a number or a part of the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BudgetText", into = "BudgetText")]
pub enum Amount {
    /// At most so many.
    Count(u32),
    /// At most so many percent of the lane's inventory, rounded up.
    Percent(u8),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum BudgetText {
    Count(u32),
    Percent(String),
}

impl TryFrom<BudgetText> for Amount {
    type Error = String;
    fn try_from(text: BudgetText) -> Result<Self, String> {
        match text {
            BudgetText::Count(count) => Ok(Self::Count(count)),
            BudgetText::Percent(text) => text
                .strip_suffix('%')
                .and_then(|digits| digits.parse().ok())
                .filter(|percent| *percent <= 100)
                .map(Self::Percent)
                .ok_or_else(|| format!("{text:?} is neither a number nor a percentage such as 25%")),
        }
    }
}

impl From<Amount> for BudgetText {
    fn from(amount: Amount) -> Self {
        match amount {
            Amount::Count(count) => Self::Count(count),
            Amount::Percent(percent) => Self::Percent(format!("{percent}%")),
        }
    }
}

impl Amount {
    /// The number that it allows of `owned` resources.
    #[must_use]
    pub fn of(self, owned: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => (owned * usize::from(percent)).div_ceil(100),
        }
    }
}

/// Limits on what one plan may do without more being said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Effects that destroy something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroy: Option<Amount>,
    /// Take-overs of what was there before. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_over: Option<Amount>,
}

/// What a stack says of itself and Git can loosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackPolicy {
    /// Its budget.
    pub budget: Budget,
    /// What it says of new revisions.
    pub on_commit: Policy,
    /// What it says of drift.
    pub on_drift: Policy,
}

/// How a change reaches the targets of a stack, a batch after the other. A batch begins once
/// every target before it is as Git says, and the stack's checks hold there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rollout {
    /// Targets of the first batch, a number or a part of all. Default 1.
    pub first: Amount,
    /// Targets of each further batch. Default 25%.
    pub then: Amount,
    /// So many targets that failed stop it. Default 1: the first that fails does.
    pub max_failures: u32,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { first: Amount::Count(1), then: Amount::Percent(25), max_failures: 1 }
    }
}

impl Rollout {
    /// The batch, from 1, of the target in this place, from 0, among `all`.
    #[must_use]
    pub fn batch(&self, place: usize, all: usize) -> usize {
        let first = self.first.of(all).max(1);
        match place.checked_sub(first) {
            None => 1,
            Some(beyond) => 2 + beyond / self.then.of(all).max(1),
        }
    }
}

/// Which targets a stack is for: names and globs, or labels that must all be equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Selector {
    /// One name or glob.
    One(String),
    /// Names or globs.
    Names(Vec<String>),
    /// Labels.
    Labels(IndexMap<String, String>),
}

/// Where a stack's module is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ModuleDecl {
    /// A directory of the stack's own revision.
    Here(String),
    /// A directory at another revision of the same source.
    At(ModuleRev),
}

/// A module at a revision that does not move by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleRev {
    /// The directory. A leading `/` is the source's root.
    pub path: String,
    /// A tag, or a commit's full id.
    pub rev: String,
}

/// What a `rev` of a module means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fixed {
    /// A commit, by its full id.
    Commit(String),
    /// A tag, by its full name, `refs/tags/...`.
    Tag(String),
}

impl Fixed {
    /// Reads a `rev`.
    ///
    /// # Errors
    /// It names neither a tag nor a commit.
    pub fn parse(rev: &str) -> Result<Self, String> {
        let hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let name = rev.strip_prefix("refs/tags/").unwrap_or(rev);
        if rev.len() == 40 && hex(rev) {
            return Ok(Self::Commit(rev.to_ascii_lowercase()));
        }
        if name.is_empty() || name.starts_with("refs/") || name.contains([' ', '~', '^', ':', '?', '*', '[', '\\']) {
            return Err(format!("{rev:?} is neither a tag nor a commit's full id; a branch would move by itself"));
        }
        Ok(Self::Tag(format!("refs/tags/{name}")))
    }

    /// The commit's id or the tag's full name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Commit(name) | Self::Tag(name) => name,
        }
    }
}

/// What `stack.yaml` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackDecl {
    /// The stack's name, unique in its source.
    pub name: Name,
    /// The renderer. Default `yaml`.
    #[serde(default = "yaml")]
    pub renderer: String,
    /// The module to render; default this directory. A leading `/` is the source's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ModuleDecl>,
    /// Which targets.
    pub targets: Selector,
    /// Values files: the last wins, maps merge, lists replace, `?` at the end = may be missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The renderer's own settings.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub settings: Value,
    /// Stacks of the source that must be as Git says first: on the same target where they
    /// have it, else on all of theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Name>,
    /// On a new revision. Default ask.
    #[serde(default = "ask")]
    pub on_commit: Policy,
    /// On drift. Default report.
    #[serde(default = "report")]
    pub on_drift: Policy,
    /// Limits on one plan.
    #[serde(default)]
    pub budget: Budget,
    /// How a change reaches several targets.
    #[serde(default)]
    pub rollout: Rollout,
    /// What must hold on a target before the rollout goes on, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckDecl>,
    /// How long a target waits to be told that all is well before it goes back by itself, such
    /// as `30s`. For what changes networks. Default: it does not go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

/// The shortest and the longest time to confirm.
const CONFIRM: (SignedDuration, SignedDuration) = (SignedDuration::from_secs(2), SignedDuration::from_hours(1));

/// Reads a time to confirm, in ms.
///
/// # Errors
/// It is none, or too short or too long to be of use.
pub fn confirm_ms(text: &str) -> Result<u64, String> {
    match text.parse::<SignedDuration>() {
        Ok(within) if within >= CONFIRM.0 && within <= CONFIRM.1 => {
            Ok(u64::try_from(within.as_millis()).unwrap_or(u64::MAX))
        }
        Ok(_) => Err(format!("{text} is not between 2s and 1h")),
        Err(_) => Err(format!("{text:?} is not a duration such as 30s")),
    }
}

impl StackDecl {
    /// What it says of itself and Git can loosen.
    #[must_use]
    pub fn policy(&self) -> StackPolicy {
        StackPolicy { budget: self.budget, on_commit: self.on_commit, on_drift: self.on_drift }
    }
}

fn yaml() -> String {
    "yaml".to_owned()
}
fn ask() -> Policy {
    Policy::Ask
}
fn report() -> Policy {
    Policy::Report
}

/// A stack and the directory that holds its `stack.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// What `stack.yaml` says.
    #[serde(flatten)]
    pub decl: StackDecl,
    /// The directory, from the source's root, without slashes at its ends; "" is the root.
    pub dir: String,
}

impl Stack {
    /// The path of its `stack.yaml`, from the source's root.
    #[must_use]
    pub fn file(&self) -> String {
        if self.dir.is_empty() { "stack.yaml".to_owned() } else { format!("{}/stack.yaml", self.dir) }
    }

    /// The directory that is rendered.
    #[must_use]
    pub fn module(&self) -> String {
        match &self.decl.from {
            None => self.dir.clone(),
            Some(ModuleDecl::Here(path) | ModuleDecl::At(ModuleRev { path, .. })) => resolve(&self.dir, path),
        }
    }

    /// What it says of the revision of its module, where that is not its own.
    #[must_use]
    pub fn module_rev(&self) -> Option<&str> {
        match &self.decl.from {
            Some(ModuleDecl::At(at)) => Some(&at.rev),
            Some(ModuleDecl::Here(_)) | None => None,
        }
    }
}

/// A path of a source, from the root: absolute ones start at the root, others at `dir`.
/// Parts `.` and `..` are resolved and cannot leave the root.
#[must_use]
pub fn resolve(dir: &str, path: &str) -> String {
    let mut parts: Vec<&str> = if path.starts_with('/') { vec![] } else { dir.split('/').collect() };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_resolve_within_the_root() {
        assert_eq!(resolve("envs/prod", "motd.txt"), "envs/prod/motd.txt");
        assert_eq!(resolve("envs/prod", "/modules/web"), "modules/web");
        assert_eq!(resolve("envs/prod", "../../../../etc/passwd"), "etc/passwd");
        assert_eq!(resolve("", "a/./b/../c"), "a/c");
    }

    #[test]
    fn a_module_is_fixed_by_a_tag_or_a_whole_commit() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(Fixed::parse(id), Ok(Fixed::Commit(id.to_owned())));
        for tag in ["v1.2", "refs/tags/v1.2"] {
            assert_eq!(Fixed::parse(tag), Ok(Fixed::Tag("refs/tags/v1.2".to_owned())));
        }
        for bad in ["", "refs/heads/main", "refs/tags/", "main~1", "v*"] {
            assert!(Fixed::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn targets_fall_into_batches() {
        let batches = |first, then, all: usize| -> Vec<usize> {
            let rollout = Rollout { first, then, max_failures: 1 };
            (0..all).map(|place| rollout.batch(place, all)).collect()
        };
        assert_eq!(batches(Amount::Count(1), Amount::Percent(25), 6), [1, 2, 2, 3, 3, 4]);
        assert_eq!(batches(Amount::Percent(50), Amount::Percent(50), 4), [1, 1, 2, 2]);
        assert_eq!(batches(Amount::Count(0), Amount::Percent(0), 3), [1, 2, 3], "a batch has a target at least");
        assert_eq!(batches(Amount::Percent(100), Amount::Count(1), 3), [1, 1, 1]);
    }

    #[test]
    fn percentages_round_up() {
        assert_eq!(Amount::Percent(25).of(5), 2);
        assert_eq!(Amount::Count(3).of(100), 3);
        assert!(serde_json::from_str::<Amount>("\"101%\"").is_err());
        assert_eq!(serde_json::from_str::<Amount>("\"5%\"").unwrap(), Amount::Percent(5));
    }
}
