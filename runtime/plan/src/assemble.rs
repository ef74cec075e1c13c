//! Parts of lanes put together to one plan.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::inventory::Ownership;
use tidelock_model::name::Lane;
use tidelock_model::plan::{Action, FORMAT, LanePlan, Plan, Summary};
use tidelock_model::revision::Revision;

use crate::digest::plan_digest;
use crate::ledger::Ledger;
use crate::part::LanePart;

/// Puts the parts of lanes together, in order of lane, and numbers their groups anew.
#[must_use]
pub fn plan(revision: &Revision, mut parts: Vec<LanePart>) -> (Plan, Ledger) {
    parts.sort_by(|a, b| a.lane.lane.cmp(&b.lane.lane));
    let mut plan = Plan {
        format: FORMAT.to_owned(),
        source: revision.source.clone(),
        revision: revision.clone(),
        stacks: Vec::new(),
        lanes: Vec::new(),
        digest: plan_digest(&[]),
        ownership: Ownership::Known,
        complete: true,
        plugins: Vec::new(),
        changes: Vec::new(),
        groups: Vec::new(),
        summary: Summary::default(),
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let mut ledger = Ledger::default();
    let mut stacks = BTreeSet::new();
    let mut plugins = BTreeSet::new();
    for mut part in parts {
        let before = u32::try_from(plan.groups.len()).unwrap_or(u32::MAX);
        for group in &mut part.groups {
            group.id += before;
            group.after.iter_mut().for_each(|id| *id += before);
        }
        for change in &mut part.changes {
            change.group = change.group.map(|id| id + before);
        }
        stacks.insert(part.lane.lane.stack.clone());
        plugins.extend(part.plugins);
        if part.lane.ownership == Ownership::Unknown {
            plan.ownership = Ownership::Unknown;
        }
        plan.changes.extend(part.changes);
        plan.groups.extend(part.groups);
        plan.errors.extend(part.errors);
        plan.warnings.extend(part.warnings);
        plan.lanes.push(part.lane);
        ledger.merge(part.ledger);
    }
    plan.stacks = stacks.into_iter().collect();
    plan.plugins = plugins.into_iter().collect();
    plan.digest = plan_digest(&plan.lanes);
    plan.complete = plan.errors.is_empty() && plan.changes.iter().all(|change| change.action != Action::Deferred);
    plan.summary = summary(&plan);
    (plan, ledger)
}

/// The part of a plan that is about these lanes. Its groups keep their numbers.
#[must_use]
pub fn only(plan: &Plan, lanes: &[Lane]) -> Plan {
    let of = |lane: &Lane| lanes.contains(lane);
    let parts: Vec<LanePlan> = plan.lanes.iter().filter(|part| of(&part.lane)).cloned().collect();
    let stacks = plan.stacks.iter().filter(|stack| lanes.iter().any(|lane| lane.stack == **stack));
    // Field by field: a copy of the whole first would be of what is left out too.
    let mut part = Plan {
        format: plan.format.clone(),
        source: plan.source.clone(),
        revision: plan.revision.clone(),
        stacks: stacks.cloned().collect(),
        digest: plan_digest(&parts),
        lanes: parts,
        ownership: plan.ownership,
        complete: plan.complete,
        plugins: plan.plugins.clone(),
        changes: plan.changes.iter().filter(|change| of(&change.address.lane())).cloned().collect(),
        groups: plan.groups.iter().filter(|group| of(&group.lane)).cloned().collect(),
        summary: plan.summary.clone(),
        errors: plan.errors.clone(),
        warnings: plan.warnings.clone(),
    };
    part.summary = summary(&part);
    part
}

/// The same plan with its digest and numbers made anew.
pub(crate) fn summed(mut plan: Plan) -> Plan {
    plan.digest = plan_digest(&plan.lanes);
    plan.summary = summary(&plan);
    plan
}

/// The word for an action in plans.
#[must_use]
pub fn word(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Replace => "replace",
        Action::Delete => "delete",
        Action::Adopt => "adopt",
        Action::TakeOver => "take-over",
        Action::Move => "move",
        Action::Release => "release",
        Action::Trigger => "trigger",
        Action::None => "none",
        Action::Deferred => "deferred",
    }
}

fn summary(plan: &Plan) -> Summary {
    let mut actions: BTreeMap<String, usize> = BTreeMap::new();
    for change in &plan.changes {
        *actions.entry(word(change.action).to_owned()).or_default() += 1;
    }
    let effects = || plan.groups.iter().flat_map(|group| &group.effects);
    Summary {
        actions,
        unchanged: plan.lanes.iter().map(|lane| lane.unchanged).sum(),
        effects: effects().count(),
        destructive: effects().filter(|effect| effect.destructive).count(),
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::example::{Example, lane, revision};

    #[test]
    fn groups_are_numbered_over_lanes_and_lanes_are_sorted() {
        let part = |stack: &str| {
            let mut example = Example::new();
            example.lane = lane(stack);
            example.file("a", "/a", "0644").needs.push("server.file/b".parse().unwrap());
            example.file("b", "/b", "0644");
            example.part().unwrap()
        };
        let (plan, ledger) = crate::plan(&revision(), vec![part("web"), part("db")]);
        let lanes: Vec<&str> = plan.lanes.iter().map(|lane| lane.lane.stack.as_str()).collect();
        assert_eq!(lanes, ["db", "web"]);
        let groups: Vec<_> = plan.groups.iter().map(|group| (group.id, group.after.clone())).collect();
        assert_eq!(groups, [(1, vec![]), (2, vec![1]), (3, vec![]), (4, vec![3])]);
        for change in &plan.changes {
            let group = &plan.groups[change.group.unwrap() as usize - 1];
            assert_eq!(group.lane, change.address.lane());
            assert_eq!(group.effects[0].effect.resource, change.address.resource);
            assert!(ledger.get(change).is_some());
        }
        assert_eq!(plan.summary.actions["create"], 4);
        assert_eq!(plan.digest, crate::plan(&revision(), vec![part("db"), part("web")]).0.digest);
    }
}
