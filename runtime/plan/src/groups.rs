//! Groups: effects that are performed together, in an order that respects the edges.
//!
//! A change is performed by one group. Changes whose effects carry equal `together`
//! keys share one, and such a group is *atomic*: all of it happens or none. The
//! effects of a change without a key are a *sequence*, however many they are: whether
//! a target can undo them is not for the planner to promise.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::effect::EffectBody;
use tidelock_model::error::Diagnostic;
use tidelock_model::name::Lane;
use tidelock_model::plan::{Action, Group, PlannedEffect, Preview};

use crate::edges::{Before, find_cycle, order};
use crate::item::Item;

/// More groups than this are not handed on through something that does not change: a
/// group without effects stands for them, so that plans stay linear in size.
const HANDED_ON: usize = 32;

/// Groups, and the order of all items.
pub(crate) struct Grouped {
    pub(crate) groups: Vec<Group>,
    /// For each item, the group that performs it.
    pub(crate) of: Vec<Option<u32>>,
    /// For each item, whether any of its effects loses something.
    pub(crate) destructive: Vec<bool>,
    /// Items in order of groups.
    pub(crate) order: Vec<usize>,
}

/// Forms and orders the groups of a lane, with numbers from 1.
pub(crate) fn form(lane: &Lane, items: &mut [Item], before: &Before) -> Result<Grouped, Vec<Diagnostic>> {
    let together = Together::of(items);
    let position = positions(&order(before), items.len());
    let units = together.units(&position);
    let unit_of = &together.unit_of;
    let unit_before: Before = units
        .iter()
        .enumerate()
        .map(|(unit, members)| {
            let others = members.iter().flat_map(|member| &before[*member]).map(|other| unit_of[*other]);
            others.filter(|other| *other != unit).collect::<BTreeSet<_>>().into_iter().collect()
        })
        .collect();
    let unit_order = order(&unit_before);
    if unit_order.len() < units.len() {
        return Err(vec![circle(items, &units, &unit_before)]);
    }

    let mut needed = vec![false; units.len()];
    for other in unit_before.iter().flatten() {
        needed[*other] = true;
    }
    let mut out = Grouped {
        groups: Vec::new(),
        of: vec![None; items.len()],
        destructive: vec![false; items.len()],
        order: Vec::new(),
    };
    // For each unit, the groups that whatever comes after it must wait for.
    let mut hands_on: Vec<Vec<u32>> = vec![Vec::new(); units.len()];
    for unit in unit_order {
        let after: BTreeSet<u32> = unit_before[unit].iter().flat_map(|other| &hands_on[*other]).copied().collect();
        let after: Vec<u32> = after.into_iter().collect();
        let members = &units[unit];
        out.order.extend(members);
        let mut effects: Vec<PlannedEffect> = Vec::new();
        let mut performs: Vec<usize> = Vec::new();
        for member in members {
            let own = planned(&mut items[*member]);
            out.destructive[*member] = own.iter().any(|planned| planned.destructive);
            if !own.is_empty() {
                performs.push(*member);
            }
            effects.extend(own);
        }
        if effects.is_empty() && (after.len() <= HANDED_ON || !needed[unit]) {
            hands_on[unit] = after;
            continue;
        }
        let id = u32::try_from(out.groups.len()).unwrap_or(u32::MAX).saturating_add(1);
        for member in performs {
            out.of[member] = Some(id);
        }
        hands_on[unit] = vec![id];
        out.groups.push(Group { id, lane: lane.clone(), atomic: together.atomic[unit], after, effects });
    }
    Ok(out)
}

/// Which items are performed as one.
struct Together {
    unit_of: Vec<usize>,
    atomic: Vec<bool>,
    count: usize,
}

impl Together {
    fn of(items: &[Item]) -> Self {
        let mut parent: Vec<usize> = (0..items.len()).collect();
        let mut first: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut keyed = vec![false; items.len()];
        for (i, item) in items.iter().enumerate() {
            for effect in &item.effects {
                let Some(key) = effect.together.as_deref() else { continue };
                keyed[i] = true;
                let other = *first.entry((effect.plugin.as_str(), key)).or_insert(i);
                let (a, b) = (find(&mut parent, i), find(&mut parent, other));
                parent[a.max(b)] = a.min(b);
            }
        }
        // The root of a set is its smallest item, so units are numbered in their order.
        let mut unit_of = vec![0; items.len()];
        let mut atomic = Vec::new();
        for i in 0..items.len() {
            let root = find(&mut parent, i);
            if root == i {
                unit_of[i] = atomic.len();
                atomic.push(keyed[i]);
            } else {
                unit_of[i] = unit_of[root];
            }
        }
        Self { unit_of, count: atomic.len(), atomic }
    }

    /// Members of each unit, in the order of their edges.
    fn units(&self, position: &[usize]) -> Vec<Vec<usize>> {
        let mut units = vec![Vec::new(); self.count];
        for (i, unit) in self.unit_of.iter().enumerate() {
            units[*unit].push(i);
        }
        for members in &mut units {
            members.sort_by_key(|member| position[*member]);
        }
        units
    }
}

fn find(parent: &mut [usize], mut i: usize) -> usize {
    while parent[i] != i {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    i
}

fn positions(order: &[usize], count: usize) -> Vec<usize> {
    let mut out = vec![usize::MAX; count];
    for (position, node) in order.iter().enumerate() {
        out[*node] = position;
    }
    out
}

/// An item's effects with their words, taken out of the item.
fn planned(item: &mut Item) -> Vec<PlannedEffect> {
    let removes = matches!(item.ask, Action::Delete | Action::Replace);
    std::mem::take(&mut item.effects)
        .into_iter()
        .map(|effect| {
            // A command that serves a removal removes, whatever its words are.
            let destructive = effect.body.destructive(effect.precondition.as_ref())
                || (removes && matches!(effect.body, EffectBody::Exec { .. }));
            PlannedEffect { summary: effect.body.summary(), preview: Preview::default(), destructive, effect }
        })
        .collect()
}

fn circle(items: &[Item], units: &[Vec<usize>], before: &Before) -> Diagnostic {
    let starts: Vec<usize> = (0..units.len()).collect();
    let names: Vec<String> = find_cycle(before, &starts)
        .unwrap_or_default()
        .iter()
        .map(|unit| {
            let members: Vec<String> =
                units[*unit].iter().take(5).map(|member| items[*member].address.resource.to_string()).collect();
            let more = units[*unit].len().saturating_sub(5);
            match (members.len(), more) {
                (1, _) => members.concat(),
                (_, 0) => format!("({})", members.join(" with ")),
                (_, more) => format!("({} and {more} more)", members.join(" with ")),
            }
        })
        .collect();
    let message = format!(
        "what is performed together and what is needed first make a circle: {}; a plugin asked for effects in one group that cannot be in one",
        names.join(" -> ")
    );
    Diagnostic::error(message, None).hint("remove one of the `needs` between them")
}
