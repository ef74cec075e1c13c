//! What a plan waits for, told from the stack's and the operator's words.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tidelock_model::digest::Digest;
use tidelock_model::name::Lane;
use tidelock_model::plan::{Action, Cause, Change, Plan, Wait};
use tidelock_model::plugin::PluginRef;
use tidelock_model::stack::{self, Amount, Budget, StackPolicy};

use super::Rule;
use crate::report;

/// What the gate decides by.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// By lane. A lane that is missing was never contacted and allows nothing.
    pub lanes: BTreeMap<Lane, LanePolicy>,
    /// Plugins that were accepted for all lanes, by digest.
    pub accepted: BTreeSet<Digest>,
    /// The time, for windows.
    pub now: Timestamp,
    /// What users are called as authors of commits, by user.
    pub people: BTreeMap<String, Vec<String>>,
}

/// What the gate decides by, for one lane.
#[derive(Debug, Clone)]
pub struct LanePolicy {
    /// Whether a run has finished here.
    pub contacted: bool,
    /// The plugins of the last finished run with effects.
    pub plugins: Vec<PluginRef>,
    /// What the stack says now.
    pub own: StackPolicy,
    /// What it said before the commit that changed it. The strictest counts, for as long as that
    /// commit is the newest: no commit loosens its own gate.
    pub before: Option<StackPolicy>,
    /// Whether the operator said yes beforehand to creates on first contact.
    pub accept_new: bool,
    /// How many resources the lane owns: what percentages are of.
    pub owned: usize,
    /// The operator's rules that match the lane: all of them count.
    pub rules: Vec<Rule>,
    /// What other lanes have to do first, before anything but drift is mended here.
    pub behind: Vec<Wait>,
}

impl Default for LanePolicy {
    fn default() -> Self {
        Self {
            contacted: false,
            plugins: Vec::new(),
            own: StackPolicy {
                budget: Budget::default(),
                on_commit: stack::Policy::Ask,
                on_drift: stack::Policy::Report,
            },
            before: None,
            accept_new: false,
            owned: 0,
            rules: Vec::new(),
            behind: Vec::new(),
        }
    }
}

/// Every reason to wait: those that the plan itself gives, and those of the policy. A
/// lane without effects has none of the latter.
#[must_use]
pub fn waits(plan: &Plan, policy: &Policy) -> Vec<(Lane, Wait)> {
    let fallback = LanePolicy::default();
    let tallies = tally(plan);
    let mut out = Vec::new();
    for lane in &plan.lanes {
        out.extend(lane.waits.iter().map(|wait| (lane.lane.clone(), wait.clone())));
        let Some(tally) = tallies.get(&lane.lane).filter(|tally| tally.effects > 0) else { continue };
        let rules = policy.lanes.get(&lane.lane).unwrap_or(&fallback);
        for wait in of_lane(&lane.lane, plan, tally, rules, policy) {
            // The loop may have written them into the plan already, for people to read.
            if !lane.waits.contains(&wait) {
                out.push((lane.lane.clone(), wait));
            }
        }
    }
    out
}

/// What a lane's part of a plan would do, counted once.
#[derive(Default)]
struct Tally {
    effects: usize,
    destructive: usize,
    take_over: usize,
    /// Whether anything but creates, updates of what was created, and what these trigger, is
    /// performed.
    beyond_creates: bool,
    /// Whether anything is updated: in a lane without a finished run, what one that was cut
    /// short has created.
    updates: bool,
    causes: BTreeSet<Cause>,
    moved_from: BTreeSet<Lane>,
}

fn tally(plan: &Plan) -> BTreeMap<Lane, Tally> {
    let mut out: BTreeMap<Lane, Tally> = BTreeMap::new();
    let mut by_group: BTreeMap<u32, Vec<&Change>> = BTreeMap::new();
    for change in &plan.changes {
        if let Some(group) = change.group {
            by_group.entry(group).or_default().push(change);
        }
    }
    for group in plan.groups.iter().filter(|group| !group.effects.is_empty()) {
        let tally = out.entry(group.lane.clone()).or_default();
        for planned in &group.effects {
            tally.effects += 1;
            tally.destructive += usize::from(planned.destructive);
        }
        for change in by_group.get(&group.id).into_iter().flatten() {
            // What is taken over as it is has no effects, and is adopted.
            tally.take_over += usize::from(change.action == Action::TakeOver);
            // What is updated is ours: of strangers it would be a take-over.
            tally.updates |= change.action == Action::Update;
            tally.beyond_creates |= !matches!(change.action, Action::Create | Action::Update | Action::Trigger);
            tally.causes.extend(change.cause.filter(|_| change.action != Action::Trigger));
            let from = change.moved_from.as_ref().map(tidelock_model::name::Address::lane);
            tally.moved_from.extend(from.filter(|from| *from != group.lane));
        }
    }
    out
}

fn of_lane(lane: &Lane, plan: &Plan, tally: &Tally, rules: &LanePolicy, policy: &Policy) -> Vec<Wait> {
    let accepted = &policy.accepted;
    let mut out = Vec::new();
    if !rules.contacted && (tally.beyond_creates || !rules.accept_new) {
        out.push(report::first_contact(lane));
    }
    if rules.contacted {
        for plugin in &plan.plugins {
            let was = rules.plugins.iter().find(|was| was.name == plugin.name);
            if let Some(was) = was.filter(|was| was.digest != plugin.digest && !accepted.contains(&plugin.digest)) {
                out.push(report::plugin_changed(&plugin.name, &was.digest.short(), &plugin.digest.short()));
            }
        }
    }
    for (number, of, told) in [
        (tally.take_over, take_over as fn(&Budget) -> Option<Amount>, report::take_over as fn(usize, usize) -> Wait),
        (tally.destructive, destroy, report::budget_destroy),
    ] {
        let amount = |budget: &Budget| of(budget).map(|amount| amount.of(rules.owned));
        let own = amount(&no_take_over(rules.own.budget));
        let before = rules.before.and_then(|before| amount(&no_take_over(before.budget)));
        let operators = rules.rules.iter().filter_map(|rule| amount(&rule.budget)).min();
        let Some(allowed) = [own, before, operators].into_iter().flatten().min().filter(|allowed| number > *allowed)
        else {
            continue;
        };
        let without = [own, operators].into_iter().flatten().min().is_none_or(|allowed| number <= allowed);
        out.push(report::loosening(told(number, allowed), without));
    }
    out.extend(tally.moved_from.iter().map(report::moved));
    // First contact asks already, and `accept_new` has answered it for creates.
    if rules.contacted || tally.updates {
        let drift = tally.causes.contains(&Cause::Drift);
        let other = tally.causes.iter().any(|cause| *cause != Cause::Drift);
        out.extend(ask("on-commit", rules, |own| own.on_commit).filter(|_| other));
        out.extend(ask("on-drift", rules, |own| own.on_drift).filter(|_| drift));
    }
    out.extend(rules.rules.iter().flat_map(|rule| rule.waits(policy.now)));
    if tally.causes.iter().any(|cause| *cause != Cause::Drift) {
        out.extend(rules.behind.iter().cloned());
    }
    out
}

fn take_over(budget: &Budget) -> Option<Amount> {
    budget.take_over
}

fn destroy(budget: &Budget) -> Option<Amount> {
    budget.destroy
}

/// A stack that says nothing of take-overs lets none be.
fn no_take_over(budget: Budget) -> Budget {
    Budget { take_over: Some(budget.take_over.unwrap_or(Amount::Count(0))), ..budget }
}

fn ask(on: &str, rules: &LanePolicy, of: fn(&StackPolicy) -> stack::Policy) -> Option<Wait> {
    let before = rules.before.as_ref().map(of).filter(|before| *before > of(&rules.own));
    let word = match before.unwrap_or(of(&rules.own)) {
        stack::Policy::Apply => return None,
        stack::Policy::Ask => "ask",
        stack::Policy::Report => "report",
    };
    Some(report::loosening(report::asks(on, word), before.is_some()))
}
