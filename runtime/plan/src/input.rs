//! What a plan of one lane rests on, gathered by the loop beforehand.
//!
//! The planner reads nothing else: no clock, no store, no target.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::desired::Desired;
use tidelock_model::inventory::{Claim, InventoryEntry};
use tidelock_model::kind::KindInfo;
use tidelock_model::name::{Identity, Kind, Lane, ResourceRef};
use tidelock_model::observation::Observation;
use tidelock_model::plan::Cause;
use tidelock_model::plugin::PluginRef;
use tidelock_model::port::LaneRecord;
use tidelock_model::run::Trigger;

/// Everything that the plan of one lane depends on.
#[derive(Debug, Clone)]
pub struct LaneInput<'a> {
    /// What should be.
    pub desired: &'a Desired,
    /// What was seen of every subject of [`crate::observe::subjects`].
    pub observed: &'a BTreeMap<Identity, Observation>,
    /// What is owned on the target, by any stack.
    pub inventory: &'a [InventoryEntry],
    /// What is claimed on the target, by any stack, and on other targets that are the same system.
    pub claims: &'a [Claim],
    /// The kinds in use.
    pub kinds: &'a BTreeMap<Kind, KindInfo>,
    /// What the store knows of the lane; `None` where it was never seen.
    pub record: Option<&'a LaneRecord>,
    /// Stacks that name the target and whose claims are not known: while there is one,
    /// nothing on the target is deleted or purged, because it may be theirs by now.
    pub unheard: &'a [String],
    /// Triggers that earlier runs left due.
    pub due: &'a [Trigger],
    /// Identities that a crash left in doubt and that wait for a person's word.
    pub open_unknown: &'a [Identity],
    /// The target's fingerprint.
    pub fingerprint: &'a str,
    /// Providers by name.
    pub plugins: BTreeMap<String, PluginRef>,
    /// What stands in for `revision` as a cause, such as `rollback`.
    pub cause_hint: Option<Cause>,
    /// Whether all that the lane owns is to go; nothing is desired then.
    pub destroys: bool,
    /// What a person keeps as it was before a change, whatever Git says.
    pub undone: &'a [Identity],
    /// Why a guard took something of the lane back, where what it took back is desired as it was before.
    pub taken_back: Option<&'a str>,
}

/// The input by what the planner looks things up by.
pub(crate) struct Index<'a> {
    pub(crate) input: &'a LaneInput<'a>,
    pub(crate) lane: &'a Lane,
    /// The desired resource by identity: its place in `desired.resources`.
    pub(crate) by_identity: BTreeMap<&'a Identity, usize>,
    /// The same by `kind/name`.
    pub(crate) by_ref: BTreeMap<&'a ResourceRef, usize>,
    /// What is owned, by any stack.
    pub(crate) owned: BTreeMap<&'a Identity, &'a InventoryEntry>,
    /// Who else claims an identity; this lane's own claims are left out, since its
    /// desired resources say better what it wants.
    pub(crate) rivals: BTreeMap<&'a Identity, &'a Claim>,
    /// What a person keeps as it was.
    pub(crate) undone: BTreeSet<&'a Identity>,
    /// What a crash left in doubt.
    pub(crate) doubtful: BTreeSet<&'a Identity>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(input: &'a LaneInput<'a>) -> Self {
        let lane = &input.desired.lane;
        let resources = &input.desired.resources;
        let mut rivals = BTreeMap::new();
        for claim in input.claims {
            if (&claim.source, &claim.stack, &claim.target) != (&lane.source, &lane.stack, &lane.target) {
                let first = rivals.entry(&claim.identity).or_insert(claim);
                // One of this target's own stands before one of another that is the same system.
                if (claim.target != lane.target, claim) < (first.target != lane.target, *first) {
                    *first = claim;
                }
            }
        }
        Self {
            input,
            lane,
            by_identity: resources.iter().enumerate().map(|(i, resource)| (&resource.identity, i)).collect(),
            by_ref: resources.iter().enumerate().map(|(i, resource)| (&resource.id, i)).collect(),
            owned: input
                .inventory
                .iter()
                .filter(|entry| entry.address.target == lane.target)
                .map(|entry| (&entry.identity, entry))
                .collect(),
            rivals,
            undone: input.undone.iter().collect(),
            doubtful: input.open_unknown.iter().collect(),
        }
    }

    /// Whether a claim is of another target that is the same system.
    pub(crate) fn twin(&self, claim: &Claim) -> bool {
        claim.target != self.lane.target
    }

    /// What this lane owns, in order of identity.
    pub(crate) fn own(&self) -> impl Iterator<Item = &'a InventoryEntry> {
        let lane = self.lane;
        self.owned.values().copied().filter(move |entry| is_of(entry, lane))
    }

    /// What stands in for drift and plugins as a cause, where the wish for something changed.
    pub(crate) fn wish(&self, identity: &Identity) -> Cause {
        let undone = self.undone.contains(identity).then_some(Cause::Undo);
        undone.or(self.input.cause_hint).unwrap_or(Cause::Revision)
    }

    pub(crate) fn info(&self, kind: &Kind) -> Option<&'a KindInfo> {
        self.input.kinds.get(kind)
    }
}

/// Whether an entry is the lane's own.
pub(crate) fn is_of(entry: &InventoryEntry, lane: &Lane) -> bool {
    entry.address.source == lane.source && entry.address.stack == lane.stack && entry.address.target == lane.target
}
