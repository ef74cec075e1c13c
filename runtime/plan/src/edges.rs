//! What must come before what.
//!
//! Edges come from `needs`, from what providers say a resource `requires` and
//! `provides`, and, for what is removed, from what the ledger recorded, the other way
//! round. Linear in resources and edges.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use tidelock_model::name::{Identity, ResourceRef};

use crate::input::Index;
use crate::item::{Item, Origin};

/// For each node, the nodes that come before it; sorted, once each.
pub(crate) type Before = Vec<Vec<usize>>;

/// Edges between desired resources, by their place in `desired.resources`.
pub(crate) fn desired_edges(index: &Index<'_>) -> Before {
    let resources = &index.input.desired.resources;
    let mut providers: BTreeMap<&Identity, usize> = BTreeMap::new();
    for (i, resource) in resources.iter().enumerate() {
        for identity in &resource.provides {
            // Of several, the first by name: the order of rendering must not matter.
            let best = providers.entry(identity).or_insert(i);
            if resources[i].id < resources[*best].id {
                *best = i;
            }
        }
    }
    // What is the thing itself goes before what merely brings it about.
    providers.extend(index.by_identity.iter().map(|(identity, i)| (*identity, *i)));
    resources
        .iter()
        .enumerate()
        .map(|(i, resource)| {
            let needs = resource.needs.iter().filter_map(|need| index.by_ref.get(need).copied());
            let requires = resource.requires.iter().filter_map(|identity| providers.get(identity).copied());
            // `needs: [itself]` stays, to be named as a circle; a directory that
            // "requires" what it provides itself is a provider's way of speaking.
            let mut before: Vec<usize> = needs.chain(requires.filter(|other| *other != i)).collect();
            before.sort_unstable();
            before.dedup();
            before
        })
        .collect()
}

/// A circle among the desired resources, its first node repeated at the end. Read
/// "needs": each needs the next.
pub(crate) fn cycle(index: &Index<'_>) -> Option<Vec<usize>> {
    let before = desired_edges(index);
    let resources = &index.input.desired.resources;
    // Start at the smallest name, so that the same circle is told the same way.
    let mut starts: Vec<usize> = (0..before.len()).collect();
    starts.sort_by(|a, b| resources[*a].id.cmp(&resources[*b].id));
    find_cycle(&before, &starts)
}

/// Any circle, by a walk with its own stack: chains may be as long as the stack is.
pub(crate) fn find_cycle(before: &Before, starts: &[usize]) -> Option<Vec<usize>> {
    const NEW: u8 = 0;
    const OPEN: u8 = 1;
    const DONE: u8 = 2;
    let mut colour = vec![NEW; before.len()];
    for start in starts {
        if colour[*start] != NEW {
            continue;
        }
        let mut path: Vec<(usize, usize)> = vec![(*start, 0)];
        colour[*start] = OPEN;
        while let Some((node, next)) = path.last_mut() {
            let Some(other) = before[*node].get(*next).copied() else {
                colour[*node] = DONE;
                path.pop();
                continue;
            };
            *next += 1;
            match colour[other] {
                NEW => {
                    colour[other] = OPEN;
                    path.push((other, 0));
                }
                OPEN => {
                    let from = path.iter().position(|(node, _)| *node == other).unwrap_or(0);
                    let mut cycle: Vec<usize> = path[from..].iter().map(|(node, _)| *node).collect();
                    cycle.push(other);
                    return Some(cycle);
                }
                _ => {}
            }
        }
    }
    None
}

/// Nodes in an order that respects the edges; of several that could come next the
/// smallest does. Nodes of a circle are left out.
pub(crate) fn order(before: &Before) -> Vec<usize> {
    let mut waiting: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); before.len()];
    for (node, before) in before.iter().enumerate() {
        for other in before {
            after[*other].push(node);
        }
    }
    let mut free: BinaryHeap<Reverse<usize>> =
        waiting.iter().enumerate().filter(|(_, n)| **n == 0).map(|(node, _)| Reverse(node)).collect();
    let mut out = Vec::with_capacity(before.len());
    while let Some(Reverse(node)) = free.pop() {
        out.push(node);
        for next in &after[node] {
            waiting[*next] -= 1;
            if waiting[*next] == 0 {
                free.push(Reverse(*next));
            }
        }
    }
    out
}

/// Edges between the items of a draft.
pub(crate) fn item_edges(index: &Index<'_>, items: &[Item]) -> Before {
    let wanted: BTreeMap<&Identity, usize> = nodes(items, Origin::Wanted);
    let removed: BTreeMap<&Identity, usize> = nodes(items, Origin::Left);
    let mut before: Before = vec![Vec::new(); items.len()];

    // Desired resources, from places in `desired.resources` to nodes.
    let resources = &index.input.desired.resources;
    let node_of: Vec<Option<usize>> =
        resources.iter().map(|resource| wanted.get(&resource.identity).copied()).collect();
    for (i, others) in desired_edges(index).into_iter().enumerate() {
        let Some(node) = node_of[i] else { continue };
        before[node].extend(others.into_iter().filter_map(|other| node_of[other]));
    }

    // A new identity under an old name is made before the old one goes; an identity
    // with a new kind is released before it is adopted.
    let by_address: BTreeMap<&ResourceRef, usize> =
        wanted.values().map(|node| (&items[*node].address.resource, *node)).collect();
    for (identity, node) in &removed {
        match wanted.get(*identity) {
            Some(adopts) => before[*adopts].push(*node),
            None => {
                let same_lane =
                    items[*node].address.stack == index.lane.stack && items[*node].address.source == index.lane.source;
                let successor = by_address.get(&items[*node].address.resource).filter(|_| same_lane);
                before[*node].extend(successor);
            }
        }
    }
    let recorded = recorded_edges(index, &wanted, &removed);
    for (user, gone) in recorded {
        before[gone].push(user);
    }
    for before in &mut before {
        before.sort_unstable();
        before.dedup();
    }
    break_old_circles(&mut before, &removed);
    before
}

fn nodes(items: &[Item], origin: Origin) -> BTreeMap<&Identity, usize> {
    items.iter().enumerate().filter(|(_, item)| item.origin == origin).map(|(i, item)| (&item.identity, i)).collect()
}

/// Pairs of (user, what it used), from the ledger: what used something is changed or
/// removed before that goes.
fn recorded_edges(
    index: &Index<'_>,
    wanted: &BTreeMap<&Identity, usize>,
    removed: &BTreeMap<&Identity, usize>,
) -> Vec<(usize, usize)> {
    let mut providers: BTreeMap<&Identity, usize> = BTreeMap::new();
    let mut by_ref: BTreeMap<&ResourceRef, usize> = BTreeMap::new();
    for entry in index.own() {
        if let Some(node) = removed.get(&entry.identity).filter(|_| !wanted.contains_key(&entry.identity)) {
            by_ref.insert(&entry.address.resource, *node);
            providers.extend(entry.provides.iter().map(|identity| (identity, *node)));
            providers.insert(&entry.identity, *node);
        }
    }
    let mut out = Vec::new();
    for entry in index.own() {
        let Some(user) = wanted.get(&entry.identity).or_else(|| removed.get(&entry.identity)) else { continue };
        let used = entry.requires.iter().filter_map(|identity| providers.get(identity));
        let used = used.chain(entry.needs.iter().filter_map(|need| by_ref.get(need)));
        out.extend(used.filter(|used| *used != user).map(|used| (*user, *used)));
    }
    out
}

/// Recorded edges may stem from different revisions and make a circle that nobody can
/// mend any more. What is in one is removed in order of address instead.
fn break_old_circles(before: &mut Before, removed: &BTreeMap<&Identity, usize>) {
    let reached = order(before);
    if reached.len() == before.len() {
        return;
    }
    let mut stuck = vec![true; before.len()];
    for node in reached {
        stuck[node] = false;
    }
    for node in removed.values().filter(|node| stuck[**node]) {
        before[*node].retain(|other| !stuck[*other]);
    }
}
