//! The gate: whether a plan may be applied.
//!
//! The only door to an [`ApprovedPlan`], whose fields are private to this file: what
//! applies takes nothing else. The gate reads the plan, the operator's policy and the
//! approvals, and changes none of them.

mod later;
mod policy;
mod rule;

use tidelock_model::digest::Digest;
use tidelock_model::name::Lane;
use tidelock_model::plan::{Action, LanePlan, Plan, Wait};
use tidelock_model::run::Approval;

use crate::assemble;
use crate::holds::is_hold;
use crate::ledger::Ledger;
use crate::report;

pub use crate::report::{asks_for_people, awaits_approval, holds_up, refuses};
pub use later::{say, still};
pub use policy::{LanePolicy, Policy, waits};
pub use rule::{Rule, wrote};

/// What the gate says, lane by lane: one that is held up holds up no other.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The lanes that may go on, and nothing of the others; `None` where no lane may.
    pub approved: Option<ApprovedPlan>,
    /// Every lane of the plan, in its order.
    pub lanes: Vec<(Lane, LaneVerdict)>,
}

/// What the gate says to one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneVerdict {
    /// There is nothing to do.
    Nothing,
    /// Go on.
    Approved,
    /// A person's yes, or something else that the waits name, is missing.
    Waits(Vec<Wait>),
    /// Neither time nor a yes helps: Git or the operator has to change something.
    Refused(Vec<Wait>),
}

impl LaneVerdict {
    /// Why the lane does not go on.
    #[must_use]
    pub fn waits(&self) -> &[Wait] {
        match self {
            Self::Nothing | Self::Approved => &[],
            Self::Waits(waits) | Self::Refused(waits) => waits,
        }
    }
}

/// A plan that the gate let through. Made nowhere else.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovedPlan(Box<Inner>);

#[derive(Debug, Clone, PartialEq)]
struct Inner {
    plan: Plan,
    ledger: Ledger,
    approvals: Vec<Approval>,
}

impl ApprovedPlan {
    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// What the ledger gets.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// The approvals that bind this very plan, oldest first for each lane.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        &self.0.approvals
    }

    /// The part of it that is about these lanes.
    #[must_use]
    pub fn only(&self, lanes: &[Lane]) -> Self {
        let Inner { plan, ledger, approvals } = self.0.as_ref();
        Self::of(plan, ledger, approvals.iter().filter(|approval| lanes.contains(&approval.lane)), lanes)
    }

    /// The part of a plan that is about these lanes, with what approved it.
    fn of<'a>(plan: &Plan, ledger: &Ledger, approvals: impl Iterator<Item = &'a Approval>, lanes: &[Lane]) -> Self {
        let approvals = approvals.cloned().collect();
        Self(Box::new(Inner { plan: assemble::only(plan, lanes), ledger: ledger.only(lanes), approvals }))
    }
}

/// Decides. An approval counts for its lane, and only for the very digest that was
/// approved; it ends every wait that a yes can end, and none other. The last word of each
/// person counts, and one no holds the lane up. Where the operator's rules ask for people,
/// it takes theirs.
#[must_use]
pub fn decide(plan: &Plan, ledger: &Ledger, policy: &Policy, approvals: &[Approval]) -> Decision {
    let waits = waits(plan, policy);
    let words: Vec<&Approval> =
        plan.lanes.iter().flat_map(|part| last_words(&part.lane, &part.digest, approvals)).collect();
    let mut lanes: Vec<(Lane, LaneVerdict)> = plan
        .lanes
        .iter()
        .map(|part| {
            let of = |waits: &[(Lane, Wait)]| -> Vec<Wait> {
                waits.iter().filter(|(lane, _)| *lane == part.lane).map(|(_, wait)| wait.clone()).collect()
            };
            let words: Vec<&Approval> = words.iter().filter(|word| word.lane == part.lane).copied().collect();
            let waits = rule::counted(of(&waits), part, policy, &plan.revision, &words);
            (part.lane.clone(), verdict(plan, part, waits, &words))
        })
        .collect();
    both_sides_of_a_move(plan, &mut lanes);
    let through: Vec<Lane> =
        lanes.iter().filter(|(_, verdict)| *verdict == LaneVerdict::Approved).map(|(lane, _)| lane.clone()).collect();
    let approved = (!through.is_empty()).then(|| {
        let approvals = words.into_iter().filter(|word| word.yes && through.contains(&word.lane));
        ApprovedPlan::of(plan, ledger, approvals, &through)
    });
    Decision { approved, lanes }
}

/// The last word of each person on this very digest of a lane, oldest first.
fn last_words<'a>(lane: &Lane, digest: &Digest, approvals: &'a [Approval]) -> Vec<&'a Approval> {
    let mut words: Vec<&Approval> = Vec::new();
    for word in approvals.iter().filter(|word| word.lane == *lane && word.digest == *digest) {
        // Who approved beforehand and then applies with a yes takes nothing back.
        let twice = |before: &&Approval| before.yes && before.how == Approval::BEFOREHAND && word.yes;
        if words.iter().any(|before| before.person() == word.person() && twice(before)) {
            continue;
        }
        words.retain(|before| before.person() != word.person());
        words.push(word);
    }
    words
}

fn verdict(plan: &Plan, part: &LanePlan, waits: Vec<Wait>, words: &[&Approval]) -> LaneVerdict {
    let refused: Vec<Wait> = waits.iter().filter(|wait| refuses(wait)).cloned().collect();
    if !refused.is_empty() {
        return LaneVerdict::Refused(refused);
    }
    let does = |action| !matches!(action, Action::None | Action::Deferred);
    if !plan.changes_of(&part.lane).any(|change| does(change.action)) {
        // What stands aside is not forgotten where nothing else is to be said. A hold is in
        // nobody's way there.
        let aside: Vec<Wait> = waits.into_iter().filter(|wait| !is_hold(wait)).collect();
        return if aside.is_empty() { LaneVerdict::Nothing } else { LaneVerdict::Waits(aside) };
    }
    if let Some(no) = words.iter().find(|word| !word.yes) {
        return LaneVerdict::Waits(vec![report::rejected(no)]);
    }
    let yes = words.iter().any(|word| word.yes);
    let open: Vec<Wait> = waits.into_iter().filter(|wait| holds_up(wait) && !(yes && wait.approvable)).collect();
    if open.is_empty() { LaneVerdict::Approved } else { LaneVerdict::Waits(open) }
}

/// A resource that moves between two lanes of a plan moves under the gates of both.
fn both_sides_of_a_move(plan: &Plan, lanes: &mut [(Lane, LaneVerdict)]) {
    loop {
        let held = |lane: &Lane| {
            lanes
                .iter()
                .any(|(of, verdict)| of == lane && matches!(verdict, LaneVerdict::Waits(_) | LaneVerdict::Refused(_)))
        };
        let stuck = plan.changes.iter().find_map(|change| {
            let from = change.moved_from.as_ref()?.lane();
            let to = change.address.lane();
            let moves = from != to && held(&from) && lanes.contains(&(to.clone(), LaneVerdict::Approved));
            moves.then_some((from, to))
        });
        let Some((from, to)) = stuck else { return };
        for (lane, verdict) in lanes.iter_mut().filter(|(lane, _)| *lane == to) {
            *verdict = LaneVerdict::Waits(vec![report::held_by_the_other_side(lane, &from)]);
        }
    }
}

#[cfg(test)]
mod tests;
