//! The gate: whether a plan may be applied.
//!
//! The only door to an [`ApprovedPlan`], whose fields are private to this file: what
//! applies takes nothing else. The gate reads the plan, the operator's policy and the
//! approvals, and changes none of them.

mod policy;

use tidelock_model::name::Lane;
use tidelock_model::plan::{Action, Plan, Wait};
use tidelock_model::run::Approval;

use crate::ledger::Ledger;
use crate::report::holds_up;

pub use policy::{LanePolicy, Policy, waits};

/// What the gate says.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// There is nothing to do.
    Nothing,
    /// Go on.
    Approved(ApprovedPlan),
    /// A person's yes, or something else that the waits name, is missing.
    Waits(Vec<(Lane, Wait)>),
    /// No yes helps.
    Refused(Vec<(Lane, Wait)>),
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

    /// The approvals that bind this very plan, one per lane at most.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        &self.0.approvals
    }
}

/// Decides. An approval counts for its lane, and only for the very digest that was
/// approved; it ends every wait that a yes can end, and none other.
#[must_use]
pub fn decide(plan: Plan, ledger: Ledger, policy: &Policy, approvals: &[Approval]) -> Verdict {
    let waits = waits(&plan, policy);
    let approvals: Vec<Approval> = plan
        .lanes
        .iter()
        .filter_map(|lane| {
            approvals.iter().find(|approval| approval.lane == lane.lane && approval.digest == lane.digest).cloned()
        })
        .collect();
    let refused: Vec<(Lane, Wait)> =
        waits.iter().filter(|(_, wait)| holds_up(wait) && !wait.approvable).cloned().collect();
    if !refused.is_empty() {
        return Verdict::Refused(refused);
    }
    let approved = |lane: &Lane| approvals.iter().any(|approval| approval.lane == *lane);
    let open: Vec<(Lane, Wait)> =
        waits.iter().filter(|(lane, wait)| holds_up(wait) && !approved(lane)).cloned().collect();
    if !open.is_empty() {
        return Verdict::Waits(open);
    }
    let does = |action| !matches!(action, Action::None | Action::Deferred);
    if !plan.changes.iter().any(|change| does(change.action)) {
        // What stands aside is not forgotten where nothing else is to be said.
        return if waits.is_empty() { Verdict::Nothing } else { Verdict::Waits(waits) };
    }
    Verdict::Approved(ApprovedPlan(Box::new(Inner { plan, ledger, approvals })))
}

#[cfg(test)]
mod tests;
