//! `stack.yaml`: a directory that is reconciled as one unit.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::Name;

/// What the loop does when it finds changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    pub from: Option<String>,
    /// Which targets.
    pub targets: Selector,
    /// Values files: the last wins, maps merge, lists replace, `?` at the end = may be missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The renderer's own settings.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub settings: Value,
    /// Stacks that must have converged first.
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
    /// The directory that is rendered.
    #[must_use]
    pub fn module(&self) -> String {
        match self.decl.from.as_deref() {
            None => self.dir.clone(),
            Some(from) => resolve(&self.dir, from),
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
    fn percentages_round_up() {
        assert_eq!(Amount::Percent(25).of(5), 2);
        assert_eq!(Amount::Count(3).of(100), 3);
        assert!(serde_json::from_str::<Amount>("\"101%\"").is_err());
        assert_eq!(serde_json::from_str::<Amount>("\"5%\"").unwrap(), Amount::Percent(5));
    }
}
