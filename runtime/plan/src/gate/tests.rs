//! What the gate lets through, and for whom.

use serde_json::json;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::plan::Plan;
use tidelock_model::run::Approval;
use tidelock_model::stack::{self, Amount, Budget};

use super::{LanePolicy, Policy, Verdict, decide, waits};
use crate::Ledger;
use crate::tests::example::{Example, lane, plugin};

/// A lane that was applied before and may go on by itself.
fn settled() -> LanePolicy {
    LanePolicy {
        contacted: true,
        on_commit: stack::Policy::Apply,
        on_drift: stack::Policy::Apply,
        ..LanePolicy::default()
    }
}

fn policy(rules: LanePolicy) -> Policy {
    Policy { lanes: [(lane("web"), rules)].into(), ..Policy::default() }
}

fn yes(plan: &Plan) -> Approval {
    Approval {
        yes: true,
        digest: plan.lanes[0].digest,
        lane: plan.lanes[0].lane.clone(),
        who: "ada".to_owned(),
        at: jiff::Timestamp::UNIX_EPOCH,
        how: "--yes".to_owned(),
        comment: None,
    }
}

/// The verdict in a line: without approvals, then with a yes to this very plan.
fn check(example: &Example, rules: &LanePolicy) -> String {
    let (plan, ledger) = example.plan();
    let one =
        |approvals: &[Approval]| verdict(&decide(plan.clone(), ledger.clone(), &policy(rules.clone()), approvals));
    format!("{}; with a yes: {}", one(&[]), one(&[yes(&plan)]))
}

fn verdict(verdict: &Verdict) -> String {
    let codes = |waits: &[(tidelock_model::name::Lane, tidelock_model::plan::Wait)]| {
        waits.iter().map(|(_, wait)| wait.code.clone()).collect::<Vec<_>>().join(" ")
    };
    match verdict {
        Verdict::Nothing => "nothing".to_owned(),
        Verdict::Approved(_) => "approved".to_owned(),
        Verdict::Waits(waits) => format!("waits for {}", codes(waits)),
        Verdict::Refused(waits) => format!("refused for {}", codes(waits)),
    }
}

fn created() -> Example {
    let mut example = Example::new();
    example.file("a", "/a", "0644");
    example
}

#[test]
fn first_contact_waits_for_a_yes_unless_it_was_given_beforehand_for_creates() {
    let mut example = created();
    example.contacted = false;
    let new = LanePolicy { contacted: false, ..settled() };
    assert_eq!(check(&example, &new), "waits for first-contact; with a yes: approved");
    let accepts = LanePolicy { accept_new: true, ..new.clone() };
    assert_eq!(check(&example, &accepts), "approved; with a yes: approved");
    example.there("/a", "0600");
    assert_eq!(check(&example, &accepts), "waits for first-contact take-over; with a yes: approved");
}

#[test]
fn a_lane_that_nobody_spoke_for_is_a_first_contact() {
    let (plan, ledger) = created().plan();
    assert_eq!(verdict(&decide(plan, ledger, &Policy::default(), &[])), "waits for first-contact");
}

#[test]
fn a_plan_without_effects_never_waits() {
    let mut example = Example::new();
    example.contacted = false;
    example.there("/a", "0644");
    example.file("a", "/a", "0644");
    let strict = LanePolicy::default();
    assert_eq!(check(&example, &strict), "approved; with a yes: approved");
    let (plan, ledger) = example.plan();
    example.apply(&plan, &ledger);
    assert_eq!(check(&example, &strict), "nothing; with a yes: nothing");
}

#[test]
fn take_overs_wait_past_the_budget() {
    let mut example = created();
    example.there("/a", "0600");
    assert_eq!(check(&example, &settled()), "waits for take-over; with a yes: approved");
    let budget = Budget { take_over: Some(Amount::Count(1)), destroy: None };
    assert_eq!(check(&example, &LanePolicy { budget, ..settled() }), "approved; with a yes: approved");
}

#[test]
fn destruction_waits_past_the_budget() {
    let mut example = created();
    for id in ["x", "y"] {
        example.have(id, &format!("/{id}"), "0644");
    }
    let with = |destroy: Amount| LanePolicy {
        budget: Budget { destroy: Some(destroy), take_over: None },
        owned: 2,
        ..settled()
    };
    assert_eq!(check(&example, &with(Amount::Count(1))), "waits for budget-destroy; with a yes: approved");
    assert_eq!(check(&example, &with(Amount::Percent(50))), "waits for budget-destroy; with a yes: approved");
    assert_eq!(check(&example, &with(Amount::Count(2))), "approved; with a yes: approved");
    assert_eq!(check(&example, &settled()), "approved; with a yes: approved");
}

#[test]
fn another_plugin_waits_until_it_is_accepted() {
    let example = created();
    let before = LanePolicy { plugins: vec![plugin("older")], ..settled() };
    assert_eq!(check(&example, &before), "waits for plugin-changed; with a yes: approved");
    let (plan, ledger) = example.plan();
    let accepted = Policy { accepted: [plugin("plugin").digest].into(), ..policy(before) };
    assert_eq!(verdict(&decide(plan, ledger, &accepted, &[])), "approved");
    let same = LanePolicy { plugins: vec![plugin("plugin")], ..settled() };
    assert_eq!(check(&example, &same), "approved; with a yes: approved");
}

#[test]
fn an_empty_render_is_refused_whoever_says_yes() {
    let mut example = Example::new();
    example.have("a", "/a", "0644");
    assert_eq!(check(&example, &settled()), "refused for empty-render; with a yes: refused for empty-render");
}

#[test]
fn what_is_protected_does_not_hold_up_the_rest() {
    let mut example = created();
    example.have("guarded", "/guarded", "0644").protect = true;
    assert_eq!(check(&example, &settled()), "approved; with a yes: approved");
    let (plan, ledger) = example.plan();
    example.apply(&plan, &ledger);
    assert_eq!(check(&example, &settled()), "waits for protected; with a yes: waits for protected");
}

#[test]
fn the_stack_says_what_commits_and_drift_do() {
    let says = |on_commit, on_drift| LanePolicy { on_commit, on_drift, ..settled() };
    let asks = says(stack::Policy::Ask, stack::Policy::Apply);
    let reports = says(stack::Policy::Apply, stack::Policy::Report);
    assert_eq!(check(&created(), &asks), "waits for on-commit; with a yes: approved");
    assert_eq!(check(&created(), &reports), "approved; with a yes: approved");
    let mut drifted = created();
    drifted.have("a", "/a", "0644");
    drifted.there("/a", "0777");
    assert_eq!(check(&drifted, &asks), "approved; with a yes: approved");
    assert_eq!(check(&drifted, &reports), "waits for on-drift; with a yes: approved");
}

#[test]
fn a_move_that_changes_something_asks_for_the_other_stacks_sake() {
    let mut example = created();
    example.there("/a", "0600");
    let entry: &mut InventoryEntry = example.owned_by("db", "server.file/a", "/a", "0600");
    entry.applied = json!({"path": "/a", "mode": "0600"});
    assert_eq!(check(&example, &settled()), "waits for moved-between-stacks; with a yes: approved");
    example.there("/a", "0644");
    assert_eq!(check(&example, &settled()), "approved; with a yes: approved");
}

#[test]
fn a_yes_binds_one_lane_and_one_digest() {
    let example = created();
    let (plan, ledger) = example.plan();
    let strict = policy(LanePolicy::default());
    let ask = |approval: Approval| verdict(&decide(plan.clone(), ledger.clone(), &strict, &[approval]));
    assert_eq!(ask(yes(&plan)), "approved");
    let other_lane = Approval { lane: lane("db"), ..yes(&plan) };
    assert_eq!(ask(other_lane), "waits for first-contact");
    let mut other = example.clone();
    other.file("b", "/b", "0644");
    assert_eq!(ask(yes(&other.plan().0)), "waits for first-contact");
}

#[test]
fn one_lane_that_waits_holds_up_the_plan_and_is_named() {
    let web = created();
    let mut db = created();
    db.lane = lane("db");
    let (plan, ledger): (Plan, Ledger) = crate::plan(&web.revision, vec![web.part().unwrap(), db.part().unwrap()]);
    let rules = policy(settled());
    let Verdict::Waits(open) = decide(plan.clone(), ledger, &rules, &[]) else { panic!("expected to wait") };
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].0, lane("db"));
    assert_eq!(waits(&plan, &rules), open);
}

#[test]
fn an_approved_plan_holds_what_was_decided_and_by_whom() {
    let (plan, ledger) = created().plan();
    let Verdict::Approved(approved) =
        decide(plan.clone(), ledger.clone(), &policy(LanePolicy::default()), &[yes(&plan)])
    else {
        panic!("expected to go on")
    };
    assert_eq!((approved.plan(), approved.ledger()), (&plan, &ledger));
    assert_eq!(approved.approvals(), [yes(&plan)]);
}
