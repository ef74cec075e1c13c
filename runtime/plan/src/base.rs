//! What a revision changes against a base, for the eyes of whoever wrote it: the plan of an
//! untrusted pull request.
//!
//! **Invariant.** Of what is on a target, only what the base wants there is shown. Of
//! everything else the plan says that it exists, and neither what it holds nor whether that
//! is equal to what the revision wants: else a commit could ask for any file, or guess at it.
//! Nor does it say what lies on the way to Git: a commit can name any link and address.

use std::collections::BTreeSet;

use tidelock_model::digest::{Digest, canonical};
use tidelock_model::error::{Diagnostic, Severity};
use tidelock_model::name::{Identity, Name};
use tidelock_model::plan::{Action, Change, Group, Plan};

use crate::assemble;
use crate::report::CUTS;

/// What stands in the place of what is not shown.
const WITHHELD: &str = "exists; what is there is not shown, since the base does not want it";

/// The part of a revision's plan that the base's plan does not have too. `shown` is what the
/// base wants on each target.
#[must_use]
pub fn against(mut plan: Plan, base: Option<&Plan>, shown: &BTreeSet<(Name, Identity)>) -> Plan {
    let due = |change: &Change| {
        base.is_some_and(|base| {
            base.changes.iter().any(|other| other.address == change.address && alike(other, change))
        })
    };
    let before = plan.changes.len();
    plan.changes.retain(|change| !due(change));
    let left_out = before - plan.changes.len();
    let groups: BTreeSet<u32> = plan.changes.iter().filter_map(|change| change.group).collect();
    plan.groups.retain(|group| groups.contains(&group.id));
    for change in
        plan.changes.iter_mut().filter(|change| !shown.contains(&(change.target.clone(), change.identity.clone())))
    {
        withhold(change, &mut plan.groups);
    }
    if left_out > 0 {
        let message = format!("{left_out} more that the base has due as well, left out here");
        plan.warnings.push(Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message, None) });
    }
    // The digests cover what is withheld, and could be guessed at. Nothing is approved by these.
    for part in &mut plan.lanes {
        part.cuts.clear();
        part.waits.retain(|wait| wait.code != CUTS);
        let changes: Vec<&Change> = plan.changes.iter().filter(|change| change.address.lane() == part.lane).collect();
        let text = serde_json::to_value(changes).map(|value| canonical(&value)).unwrap_or_default();
        part.digest = Digest::of(text.as_bytes());
    }
    assemble::summed(plan)
}

/// Whether two changes come to the same, whatever their groups are called.
fn alike(one: &Change, other: &Change) -> bool {
    let strip = |change: &Change| Change {
        group: None,
        place: None,
        reason: None,
        cause: None,
        awaits: None,
        ..change.clone()
    };
    strip(one) == strip(other)
}

fn withhold(change: &mut Change, groups: &mut [Group]) {
    if change.before.is_none() {
        return;
    }
    // That it is equal would be an answer too.
    change.action = if change.action == Action::Adopt { Action::TakeOver } else { change.action };
    change.reason = Some(WITHHELD.to_owned());
    change.awaits = None;
    change.before = None;
    // What the revision ignores is taken from what is there, in here and in the effects.
    change.after = None;
    change.fields.clear();
    change.unknown.clear();
    for group in groups.iter_mut().filter(|group| Some(group.id) == change.group) {
        // By the resource that they serve: a purge names what lies in a directory.
        group.effects.retain(|planned| planned.effect.resource != change.address.resource);
    }
}

#[cfg(test)]
mod tests {
    use tidelock_model::plan::Cut;

    use super::*;
    use crate::cuts_the_way;
    use crate::tests::example::{Example, lane, path};

    /// A lane that would take over `/etc/shadow` as it is, and create `/etc/new`.
    fn hostile() -> Plan {
        let mut example = Example::new();
        example.file("shadow", "/etc/shadow", "0644").ignore.push("/mode".to_owned());
        example.there("/etc/shadow", "0640");
        example.file("new", "/etc/new", "0644");
        example.plan().0
    }

    #[test]
    fn of_what_the_base_does_not_want_nothing_is_shown_but_that_it_exists() {
        let plan = hostile();
        assert!(serde_json::to_string(&plan).unwrap().contains("0640"), "the plan itself has it");
        let told = against(plan.clone(), None, &BTreeSet::new());
        let text = serde_json::to_string(&told).unwrap();
        assert!(!text.contains("0640"), "{text}");
        let shadow = told.changes.iter().find(|change| change.identity.as_str() == "path:/etc/shadow").unwrap();
        assert_eq!((shadow.action, shadow.reason.as_deref()), (Action::TakeOver, Some(WITHHELD)));
        assert_ne!(told.lanes[0].digest, plan.lanes[0].digest, "a digest could be guessed at");
        assert_eq!(told.summary.actions["create"], 1);

        let shown = [(lane("web").target, path("/etc/shadow"))].into();
        let owned = against(plan, None, &shown);
        assert!(serde_json::to_string(&owned).unwrap().contains("0640"), "the base wants it there");
    }

    #[test]
    fn what_lies_on_the_way_to_git_is_not_told() {
        let mut plan = hostile();
        let cut = Cut { source: lane("web").source, server: "git".into(), effect: "remove link:eth3".into() };
        let wait = cuts_the_way(&plan.lanes[0].lane);
        plan.lanes[0].waits.push(wait);
        plan.lanes[0].cuts.push(cut);
        let others = plan.lanes[0].waits.len() - 1;
        let told = against(plan, None, &BTreeSet::new());
        assert_eq!((told.lanes[0].cuts.len(), told.lanes[0].waits.len()), (0, others));
    }

    #[test]
    fn what_the_base_has_due_too_is_left_out() {
        let plan = hostile();
        let told = against(plan.clone(), Some(&plan), &BTreeSet::new());
        assert!(told.changes.is_empty() && told.groups.is_empty(), "{:?}", told.changes);
        assert_eq!(told.warnings[0].message, "2 more that the base has due as well, left out here");
    }
}
