//! Plans: immutable values that can be printed, compared, stored and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::desired::ModuleAt;
use crate::digest::Digest;
use crate::effect::Effect;
use crate::error::{Diagnostic, Place};
use crate::hold::Pin;
use crate::inventory::Ownership;
use crate::name::{Address, Identity, Kind, Lane, Name};
use crate::plugin::PluginRef;
use crate::revision::Revision;
use crate::run::Approval;

/// The format that this version writes.
pub const FORMAT: &str = "tidelock.plan/1";

/// What is to become of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Make it.
    Create,
    /// Change it.
    Update,
    /// Remove it and make it anew.
    Replace,
    /// Remove it.
    Delete,
    /// It is there and equal: own it from now on.
    Adopt,
    /// It is there and differs: overwrite it and own it.
    TakeOver,
    /// It has another name or stack now; nothing is done to it.
    Move,
    /// It stays and is no longer ours.
    Release,
    /// Do what a `notify` asks.
    Trigger,
    /// Nothing.
    None,
    /// Not known before something else is done.
    Deferred,
}

/// Why a change is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Git says something new.
    Revision,
    /// The target changed by itself.
    Drift,
    /// A plugin changed.
    Plugin,
    /// A secret changed.
    Secret,
    /// The operator's config changed.
    Config,
    /// An older revision is wanted back.
    Rollback,
    /// A person took the last change of the resource back.
    Undo,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// JSON pointer.
    pub path: String,
    /// What was seen; `None` where there was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What should be; `None` where nothing should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Whether both are withheld.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
}

/// One planned action on one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Where.
    pub address: Address,
    /// The target: also in the address, here for programs.
    pub target: Name,
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: Name,
    /// What it is on its target.
    pub identity: Identity,
    /// What is to become of it.
    pub action: Action,
    /// Why; `None` for `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// One sentence of why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What has to be there first, where it is put off for that alone: it went not unseen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<Identity>,
    /// For a move: where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<Address>,
    /// The managed part of what was seen; `None` where it was absent.
    pub before: Option<Value>,
    /// What should be; `None` where it should go.
    pub after: Option<Value>,
    /// Fields that differ, in order of their pointers.
    pub fields: Vec<FieldChange>,
    /// Fields that could not be seen.
    pub unknown: Vec<String>,
    /// Fields that are withheld.
    pub sensitive: Vec<String>,
    /// Whether it loses something.
    pub destructive: bool,
    /// The group that performs it; `None` where nothing is performed.
    pub group: Option<u32>,
    /// Where Git said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl Change {
    /// Whether anything comes of it, be it only in the ledger.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.action != Action::None
    }
}

/// What an effect looks like to a person. Not part of any digest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// A unified diff, or a few lines. Empty where the summary says it all.
    pub text: String,
    /// Whether it was cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// An effect with its words for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedEffect {
    /// The effect.
    #[serde(flatten)]
    pub effect: Effect,
    /// One line.
    pub summary: String,
    /// What it looks like.
    #[serde(default)]
    pub preview: Preview,
    /// Whether it loses something, told from its type and from what is there.
    pub destructive: bool,
}

/// Effects that belong together: the unit of apply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Unique in the plan, from 1, in an order that respects `after`.
    pub id: u32,
    /// The lane.
    pub lane: Lane,
    /// Whether all of it happens or none.
    pub atomic: bool,
    /// Groups that must be done before.
    pub after: Vec<u32>,
    /// What is performed, in order.
    pub effects: Vec<PlannedEffect>,
}

/// Why a lane does not go on: data for `why`, one per reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// A stable word: `first-contact`, `take-over`, `budget-destroy`, `plugin-changed`, `empty-render`, ...
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What ends it.
    pub hint: Option<String>,
    /// Whether a caller's yes ends it; else it takes something else, or nothing does.
    pub approvable: bool,
    /// When it ends by itself, where that is known: a window opens, a hold runs out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The lane that has to get there first, where that ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Lane>,
    /// Since when, where a lane's record tells it. A plan's own waits have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Whose approval it takes, where it takes somebody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub people: Option<People>,
}

impl Wait {
    /// A wait that no yes ends, with its sentence alone.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code: code.to_owned(),
            message,
            hint: None,
            approvable: false,
            until: None,
            on: None,
            since: None,
            people: None,
        }
    }

    /// The same with what ends it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// The people whose approval a rule of the operator's asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    /// What the rule is called.
    pub rule: String,
    /// How many have to approve.
    pub wanted: usize,
    /// Who may; anybody where there is none.
    pub of: Vec<String>,
    /// Who did.
    pub said: Vec<String>,
}

/// A lane's part of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LanePlan {
    /// The lane.
    pub lane: Lane,
    /// Covers desired, plugins, settings, fingerprint, and each change but `none`.
    pub digest: Digest,
    /// The target's fingerprint.
    pub fingerprint: String,
    /// Whether the lane has a finished run in this store.
    pub ownership: Ownership,
    /// Digest of the settings, values and policies that it rests on.
    pub settings: Digest,
    /// Resources that are as they should be.
    pub unchanged: usize,
    /// Why it waits, as far as the plan itself says.
    pub waits: Vec<Wait>,
    /// Who said yes to it beforehand, and counts. Said of it, and nothing of what it does: no digest
    /// covers it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved: Vec<Approval>,
    /// Effects that may cut the way to Git. A look at where packets go now; no digest covers it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<Cut>,
    /// The pin that keeps its stack at an older revision, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pin>,
    /// The module that it is rendered from, where that is of another revision than the stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleAt>,
    /// The batch of the rollout that the lane goes with, from 1, where its stack has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Whether somebody asked for all that the lane owns to be removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destroys: bool,
}

/// An effect that may cut the way to Git.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The source.
    pub source: Name,
    /// The host that is connected to for it.
    pub server: String,
    /// The effect, in one line.
    pub effect: String,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.source, self.server, self.effect)
    }
}

/// Numbers of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Changes by action, `none` left out.
    pub actions: BTreeMap<String, usize>,
    /// Resources that are as they should be.
    pub unchanged: usize,
    /// Effects.
    pub effects: usize,
    /// Effects that lose something.
    pub destructive: usize,
}

/// What would be done, and nothing else: what is applied is exactly this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`FORMAT`].
    pub format: String,
    /// The source.
    pub source: Name,
    /// The revision.
    pub revision: Revision,
    /// The stacks, sorted.
    pub stacks: Vec<Name>,
    /// The lanes, sorted.
    pub lanes: Vec<LanePlan>,
    /// Hash of the lanes' digests.
    pub digest: Digest,
    /// `unknown` where any lane's is.
    pub ownership: Ownership,
    /// Whether nothing is deferred and nothing failed to be seen.
    pub complete: bool,
    /// The plugins that had a part.
    pub plugins: Vec<PluginRef>,
    /// Every change but `none`, in order of lane, then of groups.
    pub changes: Vec<Change>,
    /// The groups, in an order that respects their edges.
    pub groups: Vec<Group>,
    /// Numbers.
    pub summary: Summary,
    /// What could not be planned, and why.
    pub errors: Vec<Diagnostic>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Diagnostic>,
}

impl Plan {
    /// Whether anything would come of it.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.changes.iter().any(Change::is_change)
    }

    /// Whether any effect would be performed.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        self.groups.iter().any(|group| !group.effects.is_empty())
    }

    /// The revision that a lane is planned from: the plan's, unless its stack is pinned.
    #[must_use]
    pub fn revision_of(&self, lane: &Lane) -> &Revision {
        let pin = self.lanes.iter().find(|part| part.lane == *lane).and_then(|part| part.pinned.as_ref());
        pin.map_or(&self.revision, |pin| &pin.revision)
    }

    /// What of a lane holds something that is withheld, or held it: nobody is shown what it
    /// looks like, and nothing of it is kept.
    #[must_use]
    pub fn secret_identities<'a>(&'a self, lane: &'a Lane) -> BTreeSet<&'a Identity> {
        self.changes_of(lane).filter(|change| !change.sensitive.is_empty()).map(|change| &change.identity).collect()
    }

    /// The changes of a lane.
    pub fn changes_of<'a>(&'a self, lane: &'a Lane) -> impl Iterator<Item = &'a Change> {
        self.changes.iter().filter(move |change| {
            change.target == lane.target && change.address.stack == lane.stack && change.address.source == lane.source
        })
    }
}
