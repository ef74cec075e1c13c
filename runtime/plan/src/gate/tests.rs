//! What the gate lets through, and for whom.

use serde_json::json;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::plan::Plan;
use tidelock_model::revision::Signature;
use tidelock_model::run::Approval;
use tidelock_model::stack::{self, Amount, Budget, StackPolicy};
use tidelock_model::window::Window;

use super::{Decision, LanePolicy, LaneVerdict, Policy, Rule, decide, waits};
use crate::Ledger;
use crate::tests::example::{Example, lane, plugin};

/// A lane that was applied before and may go on by itself.
fn settled() -> LanePolicy {
    LanePolicy { contacted: true, own: LETS, ..LanePolicy::default() }
}

/// A stack that lets everything be applied.
const LETS: StackPolicy = StackPolicy {
    budget: Budget { destroy: None, take_over: None },
    on_commit: stack::Policy::Apply,
    on_drift: stack::Policy::Apply,
};

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
    let one = |approvals: &[Approval]| verdict(&decide(&plan, &ledger, &policy(rules.clone()), approvals));
    format!("{}; with a yes: {}", one(&[]), one(&[yes(&plan)]))
}

/// The verdict on the only lane of a plan.
fn verdict(decision: &Decision) -> String {
    assert_eq!(decision.lanes.len(), 1);
    let said = said(&decision.lanes[0].1);
    assert_eq!(decision.approved.is_some(), said == "approved");
    said
}

fn said(verdict: &LaneVerdict) -> String {
    let codes =
        |waits: &[tidelock_model::plan::Wait]| waits.iter().map(|wait| wait.code.clone()).collect::<Vec<_>>().join(" ");
    match verdict {
        LaneVerdict::Nothing => "nothing".to_owned(),
        LaneVerdict::Approved => "approved".to_owned(),
        LaneVerdict::Waits(waits) => format!("waits for {}", codes(waits)),
        LaneVerdict::Refused(waits) => format!("refused for {}", codes(waits)),
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
fn what_a_first_contact_created_before_it_was_cut_short_may_be_updated_under_the_same_yes() {
    let mut example = Example::new();
    example.contacted = false;
    example.have("a", "/a", "0600");
    example.file("a", "/a", "0644");
    let new = LanePolicy { contacted: false, accept_new: true, ..settled() };
    assert_eq!(check(&example, &new), "approved; with a yes: approved");
    let asks = LanePolicy { own: StackPolicy { on_commit: stack::Policy::Ask, ..LETS }, ..new.clone() };
    let drifts = LanePolicy { own: StackPolicy { on_drift: stack::Policy::Ask, ..asks.own }, ..new.clone() };
    assert!(check(&example, &drifts).starts_with("waits for on-"), "{}", check(&example, &drifts));
    let unasked = LanePolicy { accept_new: false, ..new };
    assert_eq!(check(&example, &unasked), "waits for first-contact; with a yes: approved");
}

#[test]
fn a_lane_that_nobody_spoke_for_is_a_first_contact() {
    let (plan, ledger) = created().plan();
    assert_eq!(verdict(&decide(&plan, &ledger, &Policy::default(), &[])), "waits for first-contact");
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
    assert_eq!(
        check(&example, &LanePolicy { own: StackPolicy { budget, ..LETS }, ..settled() }),
        "approved; with a yes: approved"
    );
}

#[test]
fn destruction_waits_past_the_budget() {
    let mut example = created();
    for id in ["x", "y"] {
        example.have(id, &format!("/{id}"), "0644");
    }
    let with = |destroy: Amount| LanePolicy {
        own: StackPolicy { budget: Budget { destroy: Some(destroy), take_over: None }, ..LETS },
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
    assert_eq!(verdict(&decide(&plan, &ledger, &accepted, &[])), "approved");
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
    let says = |on_commit, on_drift| LanePolicy { own: StackPolicy { on_commit, on_drift, ..LETS }, ..settled() };
    let asks = says(stack::Policy::Ask, stack::Policy::Apply);
    let reports = says(stack::Policy::Apply, stack::Policy::Report);
    assert_eq!(check(&created(), &asks), "waits for on-commit; with a yes: approved");
    assert_eq!(check(&created(), &reports), "approved; with a yes: approved");
    let mut drifted = created();
    drifted.have("a", "/a", "0644");
    drifted.there("/a", "0777");
    assert_eq!(check(&drifted, &asks), "approved; with a yes: approved");
    assert_eq!(check(&drifted, &reports), "waits for reports; with a yes: approved");
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
    let ask = |approval: Approval| verdict(&decide(&plan, &ledger, &strict, &[approval]));
    assert_eq!(ask(yes(&plan)), "approved");
    let other_lane = Approval { lane: lane("db"), ..yes(&plan) };
    assert_eq!(ask(other_lane), "waits for first-contact");
    let mut other = example.clone();
    other.file("b", "/b", "0644");
    assert_eq!(ask(yes(&other.plan().0)), "waits for first-contact");
}

/// A plan over `web`, which may go on, and `db`, which nobody contacted.
fn two_lanes() -> (Plan, Ledger) {
    let web = created();
    let mut db = created();
    db.lane = lane("db");
    crate::plan(&web.revision, vec![web.part().unwrap(), db.part().unwrap()])
}

#[test]
fn one_lane_that_waits_holds_up_no_other() {
    let (plan, ledger) = two_lanes();
    let rules = policy(settled());
    let decision = decide(&plan, &ledger, &rules, &[]);
    let told: Vec<_> = decision.lanes.iter().map(|(lane, verdict)| (lane.clone(), said(verdict))).collect();
    assert_eq!(told, [(lane("db"), "waits for first-contact".into()), (lane("web"), "approved".into())]);
    assert_eq!(decision.lanes[0].1.waits(), [waits(&plan, &rules)[0].1.clone()]);

    let approved = decision.approved.unwrap();
    let part = approved.plan();
    assert_eq!(part.lanes.iter().map(|part| &part.lane).collect::<Vec<_>>(), [&lane("web")]);
    assert!(part.groups.iter().all(|group| group.lane == lane("web")) && !part.groups.is_empty());
    assert!(part.changes.iter().all(|change| change.address.lane() == lane("web")) && !part.changes.is_empty());
    assert!(approved.ledger().iter().all(|(address, _)| address.lane() == lane("web")));
    assert_eq!((part.summary.effects, plan.summary.effects), (1, 2));
    assert_ne!(part.digest, plan.digest, "another set of lanes is another plan");
}

#[test]
fn no_yes_ends_a_hold_and_it_refuses_nothing() {
    use tidelock_model::hold::{Hold, HoldKind, Scope};
    let stop = Hold {
        id: 1,
        kind: HoldKind::Stop,
        scope: Scope::default(),
        who: "ada".into(),
        at: jiff::Timestamp::UNIX_EPOCH,
        until: None,
        reason: None,
    };
    let (mut plan, ledger) = created().plan();
    plan.lanes[0].waits.push(crate::holds::wait(&stop));
    let strict = policy(LanePolicy::default());
    let said = |approvals: &[Approval]| verdict(&decide(&plan, &ledger, &strict, approvals));
    assert_eq!(said(&[]), "waits for stopped first-contact");
    assert_eq!(said(&[yes(&plan)]), "waits for stopped");
    plan.changes.clear();
    plan.groups.clear();
    assert_eq!(verdict(&decide(&plan, &ledger, &policy(settled()), &[])), "nothing");
}

#[test]
fn a_part_of_an_approved_plan_holds_its_lanes_alone() {
    let (plan, ledger) = two_lanes();
    let rules = Policy { lanes: [(lane("web"), settled()), (lane("db"), settled())].into(), ..Policy::default() };
    let whole = decide(&plan, &ledger, &rules, &[yes(&plan)]).approved.unwrap();
    assert_eq!(whole.plan(), &plan);
    let web = whole.only(&[lane("web")]);
    assert_eq!(web.plan().stacks, [lane("web").stack]);
    assert!(web.approvals().is_empty(), "the yes was for db");
    assert!(whole.only(&[]).plan().groups.is_empty());
}

#[test]
fn a_no_holds_until_the_same_person_says_yes() {
    let (plan, ledger) = created().plan();
    let no = Approval { yes: false, comment: Some("not today".into()), ..yes(&plan) };
    let ask = |words: &[Approval]| verdict(&decide(&plan, &ledger, &policy(settled()), words));
    assert_eq!(ask(&[]), "approved");
    assert_eq!(ask(std::slice::from_ref(&no)), "waits for rejected");
    let of_another = Approval { who: "grace".to_owned(), ..yes(&plan) };
    assert_eq!(ask(&[no.clone(), of_another]), "waits for rejected");
    assert_eq!(ask(&[no.clone(), yes(&plan)]), "approved");
    assert_eq!(ask(&[yes(&plan), no]), "waits for rejected", "the last word counts");
}

#[test]
fn what_moves_between_two_lanes_goes_under_both_gates() {
    let mut from = created();
    from.lane = lane("db");
    let mut to = created();
    to.there("/a", "0600");
    let entry: &mut InventoryEntry = to.owned_by("db", "server.file/a", "/a", "0600");
    entry.applied = json!({"path": "/a", "mode": "0600"});
    // `db` has changes of its own, which wait for its first contact.
    let (plan, ledger) = crate::plan(&to.revision, vec![from.part().unwrap(), to.part().unwrap()]);
    let rules = policy(settled());
    let agreed = Approval { lane: lane("web"), digest: plan.lanes[1].digest, ..yes(&plan) };
    let decision = decide(&plan, &ledger, &rules, &[agreed]);
    let told: Vec<String> = decision.lanes.iter().map(|(_, verdict)| said(verdict)).collect();
    assert_eq!(told, ["waits for first-contact", "waits for move-held"]);
    assert_eq!(decision.approved, None);
}

#[test]
fn an_approved_plan_holds_what_was_decided_and_by_whom() {
    let (plan, ledger) = created().plan();
    let approved = decide(&plan, &ledger, &policy(LanePolicy::default()), &[yes(&plan)]).approved.unwrap();
    assert_eq!((approved.plan(), approved.ledger()), (&plan, &ledger));
    assert_eq!(approved.approvals(), [yes(&plan)]);
}

#[test]
fn who_approved_beforehand_and_applies_with_a_yes_takes_nothing_back() {
    let (plan, ledger) = created().plan();
    let policy = policy(ruled(Rule { approvals: 1, ..Rule::default() }));
    let word = |how: &str| Approval { how: how.to_owned(), who: "grace".to_owned(), ..yes(&plan) };
    let verdict = |words: &[Approval]| decide(&plan, &ledger, &policy, words).lanes[0].1.clone();
    assert_eq!(verdict(&[word("approve"), word("--yes")]), LaneVerdict::Approved);
    assert!(matches!(verdict(&[word("--yes")]), LaneVerdict::Waits(_)));
    let no = Approval { yes: false, ..word("approve") };
    assert!(matches!(verdict(&[word("approve"), no]), LaneVerdict::Waits(_)), "a no does");
}

#[test]
fn what_a_commit_loosens_counts_from_the_next_one_on() {
    let strict = StackPolicy {
        budget: Budget { destroy: Some(Amount::Count(0)), take_over: None },
        on_commit: stack::Policy::Report,
        ..LETS
    };
    let loosened = LanePolicy { before: Some(strict), ..settled() };
    let said = waits(&created().plan().0, &policy(loosened.clone()));
    assert_eq!(said.len(), 1);
    assert_eq!(
        said[0].1.message,
        "the stack says `on_commit: report`; this commit loosens that, which counts from the next commit on, whatever \
         that one changes"
    );
    let tightened = LanePolicy { own: strict, before: Some(LETS), ..settled() };
    assert!(check(&created(), &tightened).starts_with("waits for reports"), "what is tightened counts at once");
    assert_eq!(check(&created(), &LanePolicy { before: Some(LETS), ..settled() }), "approved; with a yes: approved");
}

fn ruled(rule: Rule) -> LanePolicy {
    LanePolicy { rules: vec![rule], ..settled() }
}

fn beforehand(plan: &Plan, who: &str) -> Approval {
    Approval { who: who.to_owned(), how: Approval::BEFOREHAND.to_owned(), ..yes(plan) }
}

#[test]
fn no_yes_opens_a_window() {
    let windows = |texts: &[&str]| Rule {
        windows: texts.iter().map(|text| Window::parse(text).unwrap()).collect(),
        ..Rule::default()
    };
    // The policy's time is Thursday, 1970-01-01T00:00Z.
    let shut = "waits for window; with a yes: waits for window";
    assert_eq!(check(&created(), &ruled(windows(&["Fri 00:00-06:00 UTC"]))), shut);
    let either = windows(&["Fri 00:00-06:00 UTC", "Thu 00:00-06:00 UTC"]);
    assert_eq!(check(&created(), &ruled(either.clone())), "approved; with a yes: approved");
    let both = LanePolicy { rules: vec![either, windows(&["Thu 02:00-06:00 UTC"])], ..settled() };
    assert_eq!(check(&created(), &both), shut, "every rule counts");
    let (plan, _) = created().plan();
    let said = waits(&plan, &policy(both)).remove(0).1;
    assert!(said.message.contains("only in the window Thu 02:00-06:00 UTC"), "{}", said.message);
    assert_eq!(said.hint.unwrap(), "it opens next on Thu 1970-01-01 02:00 UTC");
}

#[test]
fn a_window_holds_up_nothing_that_has_no_effects() {
    let mut example = Example::new();
    example.there("/a", "0644");
    example.file("a", "/a", "0644");
    let rule = Rule { windows: vec![Window::parse("Fri 00:00-06:00 UTC").unwrap()], approvals: 1, ..Rule::default() };
    assert_eq!(check(&example, &ruled(rule)), "approved; with a yes: approved");
}

#[test]
fn the_strictest_budget_wins() {
    let mut example = created();
    example.have("x", "/x", "0644");
    let budgets = |own: Option<u32>, operators: Option<u32>| LanePolicy {
        own: StackPolicy { budget: Budget { destroy: own.map(Amount::Count), take_over: None }, ..LETS },
        ..ruled(Rule { budget: Budget { destroy: operators.map(Amount::Count), take_over: None }, ..Rule::default() })
    };
    let over = "waits for budget-destroy; with a yes: approved";
    assert_eq!(check(&example, &budgets(Some(5), Some(0))), over, "Git cannot raise it");
    assert_eq!(check(&example, &budgets(Some(0), Some(5))), over);
    assert_eq!(check(&example, &budgets(None, Some(0))), over);
    assert_eq!(check(&example, &budgets(Some(1), Some(5))), "approved; with a yes: approved");
    // A rule that says nothing of take-overs leaves the default, which is none.
    let mut taking = created();
    taking.there("/a", "0600");
    assert_eq!(check(&taking, &budgets(None, Some(5))), "waits for take-over; with a yes: approved");
}

#[test]
fn people_are_counted_once_each_and_only_those_whose_word_counts() {
    let (plan, ledger) = created().plan();
    let rule = |approvals, approvers: &[&str]| Rule {
        name: "the gate".to_owned(),
        approvals,
        approvers: approvers.iter().map(ToString::to_string).collect(),
        ..Rule::default()
    };
    let ask = |rule: Rule, words: &[Approval]| {
        let decision = decide(&plan, &ledger, &policy(ruled(rule)), words);
        let why = decision.lanes[0].1.waits().first().map(|wait| wait.message.clone()).unwrap_or_default();
        (verdict(&decision), why)
    };
    let say = |who: &str| beforehand(&plan, who);
    let open = |rule: Rule, words: &[Approval]| ask(rule, words).0 == "approved";
    let alone = Approval { who: "grace".to_owned(), ..yes(&plan) };
    assert_eq!(ask(rule(1, &[]), &[alone]).0, "waits for approvals", "the caller's own yes is none");
    assert!(open(rule(1, &[]), &[say("grace")]));
    assert!(!open(rule(2, &[]), &[say("grace")]));
    assert!(!open(rule(2, &[]), &[say("grace"), say("grace (sudo)")]), "one person, twice");
    assert!(open(rule(2, &[]), &[say("grace"), say("alan")]));
    let (_, why) = ask(rule(2, &["alan", "kay"]), &[say("grace"), say("kay")]);
    assert_eq!(
        why,
        "the gate asks for the approval of 2 people of alan, kay; so far: kay; not counted: grace, who is not among them"
    );
    let no = Approval { yes: false, ..say("alan") };
    assert_eq!(ask(rule(1, &[]), &[say("grace"), no]).0, "waits for rejected");
    let both = LanePolicy { rules: vec![rule(1, &["alan"]), rule(1, &["grace"])], ..settled() };
    let decision = decide(&plan, &ledger, &policy(both), &[say("grace")]);
    assert_eq!(verdict(&decision), "waits for approvals", "every rule counts");
}

#[test]
fn whoever_wrote_or_signed_the_commit_does_not_approve_it() {
    // The example's author is Ada <ada@example.com>.
    let (mut plan, ledger) = created().plan();
    plan.revision.signature = Signature::Verified { signer: "kay@example.com".into(), key: String::new() };
    let mut rules = policy(ruled(Rule { approvals: 1, ..Rule::default() }));
    rules.people.insert("lovelace".to_owned(), vec!["ADA@example.com".to_owned()]);
    for who in ["ada", "Ada", "ada@example.com", "lovelace", "lovelace (sudo)", "kay"] {
        let decision = decide(&plan, &ledger, &rules, &[beforehand(&plan, who)]);
        assert_eq!(verdict(&decision), "waits for approvals", "{who}");
        assert!(decision.lanes[0].1.waits()[0].message.contains("who wrote the commit"), "{who}");
    }
    assert_eq!(verdict(&decide(&plan, &ledger, &rules, &[beforehand(&plan, "grace")])), "approved");
}
