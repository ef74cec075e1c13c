//! Runs, intents and outcomes: what was about to happen, and what did.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::effect::Effect;
use crate::error::Fault;
use crate::inventory::InventoryEntry;
use crate::name::{Address, Identity, Lane, Name, ResourceRef};
use crate::plan::{Action, Cause};

/// Where a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As Git says.
    Converged,
    /// Git says something new.
    Pending,
    /// The target changed by itself.
    Drifted,
    /// Waits for a person, a window or another lane.
    Waiting,
    /// The last run failed.
    Failed,
    /// As Git says, but a resource is broken.
    Degraded,
    /// Left alone on purpose.
    Suspended,
    /// Its stack or target is gone.
    Orphaned,
    /// Never looked at.
    Unknown,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunEnd {
    /// Everything that was planned was done and seen to hold.
    Done,
    /// Nothing was to be done.
    Nothing,
    /// Some of it was done.
    Partly,
    /// None of it was done.
    Failed,
    /// Waits for approval.
    Waiting,
    /// The gate refused.
    Refused,
    /// Ended early: somebody asked for it, or the process died and the next one found that.
    Interrupted,
}

impl RunEnd {
    /// Whether something is left undone that was begun, or to be begun.
    #[must_use]
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Partly | Self::Failed | Self::Interrupted)
    }
}

/// How a pass of the loop over one lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PassEnd {
    /// Everything was as it should be.
    Unchanged,
    /// Something was done, all of it well.
    Done,
    /// Something is to be done, and waits.
    Waiting,
    /// The gate refused.
    Refused,
    /// It failed, in whole or in part, or was cut short.
    Failed,
    /// Somebody else was at work on the lane or its target.
    Busy,
}

/// One run over a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Unique, and in order of time.
    pub id: String,
    /// The lane.
    pub lane: Lane,
    /// When it began.
    pub began: Timestamp,
    /// When it ended; `None` while it goes on, or where the process died.
    pub ended: Option<Timestamp>,
    /// How.
    pub end: Option<RunEnd>,
    /// Who asked for it: a user, or `timer`.
    pub who: String,
    /// The commit.
    pub revision: String,
    /// The commit's author.
    pub author: String,
    /// Who signed it.
    pub signer: Option<String>,
    /// Who approved, and how.
    pub approver: Option<String>,
    /// The lane's digest.
    pub digest: Digest,
    /// Changes by what came of them.
    pub counts: RunCounts,
    /// What went wrong, where something did.
    pub fault: Option<String>,
}

impl Run {
    /// What went wrong with one that a guard took back.
    #[must_use]
    pub fn taken_back(why: &str) -> String {
        format!("taken back: {why}")
    }
}

/// Changes of a run by what came of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// Done.
    pub done: usize,
    /// Failed.
    pub failed: usize,
    /// Not tried, since something that they need failed.
    pub skipped: usize,
    /// Not known.
    pub unknown: usize,
}

/// Something is about to happen. Durable before its first effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The run.
    pub run: String,
    /// The group, unique in the run.
    pub group: u32,
    /// The changes that the group serves.
    pub changes: Vec<IntentChange>,
    /// What will be performed, in order.
    pub effects: Vec<Effect>,
    /// What the changes notify: made due with the intent.
    pub triggers: Vec<Trigger>,
}

/// A change that an intent serves, with what the ledger will say once it is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntentChange {
    /// Where.
    pub address: Address,
    /// What it is on its target.
    pub identity: Identity,
    /// What is to become of it.
    pub action: Action,
    /// Why.
    pub cause: Cause,
    /// The ledger's new line; `None` where the line goes.
    pub entry: Option<InventoryEntry>,
    /// For a move: where it was before.
    pub moved_from: Option<Address>,
    /// Whether a guard takes it back unless somebody confirms it: then the line from before is kept.
    #[serde(default)]
    pub guarded: bool,
}

/// Something that a change asks of another resource; due until it is done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Trigger {
    /// The resource that is asked.
    pub to: Address,
    /// What is asked.
    pub ask: String,
    /// Who asks.
    pub from: ResourceRef,
}

/// What came of one effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum EffectEnd {
    /// Performed.
    Done,
    /// Tried and failed; the target is as before, as far as its type can promise.
    Failed {
        /// Why.
        fault: Fault,
    },
    /// Not begun.
    NotReached,
    /// Begun, and not known how it ended.
    Unknown {
        /// Why it is not known.
        why: String,
    },
}

/// What came of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The run.
    pub run: String,
    /// The group.
    pub group: u32,
    /// One for each effect, in order.
    pub effects: Vec<EffectEnd>,
    /// What was lost by effects that do not mean it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
}

/// Something of others that an effect was to keep, and could not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The effect, by its place in the group.
    pub effect: usize,
    /// What, in a sentence.
    pub what: String,
}

impl Outcome {
    /// Whether every effect was performed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.effects.iter().all(|end| *end == EffectEnd::Done)
    }

    /// Whether no effect was begun.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.effects.iter().all(|end| matches!(end, EffectEnd::NotReached))
    }

    /// The first fault.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        self.effects.iter().find_map(|end| match end {
            EffectEnd::Failed { fault } => Some(fault),
            _ => None,
        })
    }
}

/// Someone's word on a plan: a yes, or a no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The lane's digest that it is about.
    pub digest: Digest,
    /// Whether it is a yes. A no stands until the same person says yes, or the digest changes.
    pub yes: bool,
    /// The lane.
    pub lane: Lane,
    /// Who.
    pub who: String,
    /// When.
    pub at: Timestamp,
    /// How: `terminal`, `--yes`, `approve`.
    pub how: String,
    /// What they said.
    pub comment: Option<String>,
}

impl Approval {
    /// How a yes is given that the operator's rules count.
    pub const BEFOREHAND: &str = "approve";

    /// The person, however they became the user that ran the command.
    #[must_use]
    pub fn person(&self) -> &str {
        self.who.strip_suffix(" (sudo)").unwrap_or(&self.who)
    }
}

/// One line of `history`: what was done to one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryLine {
    /// When the outcome was known.
    pub at: Timestamp,
    /// The run.
    pub run: String,
    /// Where.
    pub address: Address,
    /// What it is on its target.
    pub identity: Identity,
    /// What was done.
    pub action: Action,
    /// Why.
    pub cause: Cause,
    /// Whether it was: `done`, `failed`, `unknown`, `not-begun`; `taken-back` where a guard took back what
    /// was done.
    pub end: String,
    /// The commit.
    pub revision: String,
    /// Its author.
    pub author: String,
    /// Who signed it.
    pub signer: Option<String>,
    /// Who asked for the run.
    pub who: String,
    /// Who approved.
    pub approver: Option<String>,
    /// The plugin.
    pub plugin: Option<String>,
    /// Why it failed.
    pub fault: Option<String>,
}

impl HistoryLine {
    /// How it ended where a guard took back what was done. The line that says so comes after the one that
    /// says that it was done.
    pub const TAKEN_BACK: &str = "taken-back";

    /// Leaves of lines, newest first, what stands: not what a guard took back, nor the word of it.
    pub fn standing(lines: &mut Vec<Self>) {
        let mut back: BTreeSet<(String, Name, Identity, Action)> = BTreeSet::new();
        lines.retain(|line| {
            let key = (line.run.clone(), line.address.target.clone(), line.identity.clone(), line.action);
            match line.end.as_str() {
                Self::TAKEN_BACK => {
                    back.insert(key);
                    false
                }
                "done" => !back.contains(&key),
                _ => true,
            }
        });
    }
}
