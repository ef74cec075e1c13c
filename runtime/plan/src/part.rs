//! A lane's part of a plan: the draft with its effects, grouped and in order.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::error::Diagnostic;
use tidelock_model::name::{Address, ResourceRef};
use tidelock_model::plan::{Action, Change, Group, LanePlan};
use tidelock_model::plugin::PluginRef;
use tidelock_model::run::Trigger;

use crate::digest::lane_digest;
use crate::draft::Draft;
use crate::edges::order;
use crate::groups::{Grouped, form};
use crate::held::release_what_holds_more;
use crate::input::LaneInput;
use crate::item::{Asked, Item, Origin};
use crate::ledger::{Ledger, LedgerLine};

/// One lane's part of a plan, its groups numbered from 1.
#[derive(Debug, Clone)]
pub struct LanePart {
    /// The lane's line of the plan.
    pub lane: LanePlan,
    /// Every change but `none`, in order of groups.
    pub changes: Vec<Change>,
    /// The groups, in an order that respects their edges. Previews are empty: who can
    /// read the target may fill them in, since no digest covers them.
    pub groups: Vec<Group>,
    /// What the ledger gets when the changes are done.
    pub ledger: Ledger,
    /// The plugins that had a part, sorted.
    pub plugins: Vec<PluginRef>,
    /// What could not be planned, and why.
    pub errors: Vec<Diagnostic>,
    /// Remarks.
    pub warnings: Vec<Diagnostic>,
}

/// Orders a draft's effects and settles what is shown and recorded.
///
/// # Errors
/// Effects that a plugin wants in one group make a circle with the edges.
pub fn lane_plan(input: &LaneInput<'_>, mut draft: Draft) -> Result<LanePart, Vec<Diagnostic>> {
    for i in 0..draft.items.len() {
        if draft.items[i].asked == Asked::Wants {
            draft.refuse(i, "its plugin was asked for effects and gave no answer", None);
        }
    }
    draft.put_off_dependants();
    release_what_holds_more(&mut draft);
    join_triggers(&mut draft);
    draft.put_off_dependants();

    let unchanged =
        draft.items.iter().filter(|item| item.origin == Origin::Wanted && item.action == Action::None).count();
    let plugins = plugins(input, &draft.items);
    let ledger = record(&draft);
    let grouped = form(&draft.lane, &mut draft.items, &draft.before)?;
    let changes = changes(&draft.items, &grouped);
    sort_places(&mut draft.errors);
    sort_places(&mut draft.warnings);
    let digest = lane_digest(input.desired, &plugins, input.fingerprint, &changes, &grouped.groups);
    Ok(LanePart {
        lane: LanePlan {
            lane: draft.lane.clone(),
            digest,
            fingerprint: input.fingerprint.to_owned(),
            ownership: draft.ownership,
            settings: input.desired.settings,
            unchanged,
            waits: draft.waits,
            approved: vec![],
            cuts: vec![],
            pinned: None,
            module: input.desired.module.clone(),
            batch: None,
            destroys: input.destroys,
        },
        changes,
        groups: grouped.groups,
        ledger,
        plugins,
        errors: draft.errors,
        warnings: draft.warnings,
    })
}

/// Gives triggers their edges: after what they ask, and after all who ask. One that
/// nobody asks for any more is dropped.
fn join_triggers(draft: &mut Draft) {
    let mut askers: BTreeMap<(&ResourceRef, &str), Vec<usize>> = BTreeMap::new();
    for (i, item) in draft.items.iter().enumerate().filter(|(_, item)| item.has_effects() && item.trigger.is_none()) {
        for notify in &item.notify {
            askers.entry((&notify.to, &notify.ask)).or_default().push(i);
        }
    }
    let mut before: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut dropped = Vec::new();
    for ((to, ask), notified) in &draft.triggers {
        let mut edges = askers.get(&(to, ask.as_str())).cloned().unwrap_or_default();
        if edges.is_empty() && !notified.due {
            dropped.push(notified.item);
        }
        edges.push(notified.target);
        edges.sort_unstable();
        edges.dedup();
        before.push((notified.item, edges));
    }
    for item in dropped {
        draft.items[item].action = Action::None;
        draft.items[item].effects.clear();
    }
    draft.before.resize(draft.items.len(), Vec::new());
    for (item, edges) in before {
        draft.before[item] = edges;
    }
    draft.order = order(&draft.before);
}

fn plugins(input: &LaneInput<'_>, items: &[Item]) -> Vec<PluginRef> {
    let names: BTreeSet<&str> = items.iter().map(|item| item.address.resource.kind.plugin()).collect();
    let used = names.into_iter().filter_map(|name| input.plugins.get(name));
    let all: BTreeSet<&PluginRef> = input.desired.plugins.iter().chain(used).collect();
    all.into_iter().cloned().collect()
}

fn record(draft: &Draft) -> Ledger {
    let mut out = Ledger::default();
    for item in draft.items.iter().filter(|item| !matches!(item.action, Action::None | Action::Deferred)) {
        let triggers = if item.has_effects() && item.origin == Origin::Wanted {
            item.notify
                .iter()
                .map(|notify| Trigger {
                    to: Address::new(&draft.lane, notify.to.clone()),
                    ask: notify.ask.clone(),
                    from: item.address.resource.clone(),
                })
                .collect()
        } else {
            Vec::new()
        };
        let line = LedgerLine {
            identity: item.identity.clone(),
            entry: item.entry.clone(),
            moved_from: item.moved_from.clone(),
            triggers,
            cause: item.cause.unwrap_or(draft.revision_cause),
            action: item.action,
        };
        out.insert(item.address.clone(), line);
    }
    out
}

fn changes(items: &[Item], grouped: &Grouped) -> Vec<Change> {
    grouped
        .order
        .iter()
        .filter(|i| items[**i].action != Action::None)
        .map(|i| {
            let item = &items[*i];
            let group = grouped.of[*i];
            Change {
                address: item.address.clone(),
                target: item.address.target.clone(),
                kind: item.address.resource.kind.clone(),
                name: item.address.resource.name.clone(),
                identity: item.identity.clone(),
                action: item.action,
                cause: item.cause,
                reason: reason(item),
                awaits: item.awaits.clone(),
                moved_from: item.moved_from.clone(),
                before: item.before.clone(),
                after: item.after.clone(),
                fields: item.fields.clone(),
                unknown: item.unknown.clone(),
                sensitive: item.sensitive.clone(),
                destructive: grouped.destructive[*i]
                    || (group.is_some() && matches!(item.action, Action::Delete | Action::Replace)),
                group,
                place: item.place.clone(),
            }
        })
        .collect()
}

fn reason(item: &Item) -> Option<String> {
    match (&item.trigger, &item.reason) {
        (Some(ask), Some(reason)) if item.action == Action::Trigger => Some(format!("{ask}: {reason}")),
        (_, reason) => reason.clone(),
    }
}

/// Keeps equal plans equal: what was found is told in order of place.
fn sort_places(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by(|a, b| (&a.place, &a.message).cmp(&(&b.place, &b.message)));
}
