//! What becomes of a resource that Git no longer wants.
//!
//! The careful half of the planner: nothing that anybody claims, protects or still
//! stands on is deleted, nothing is deleted for an empty render, and nothing of other
//! lanes is ever touched.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::error::{Diagnostic, Severity};
use tidelock_model::inventory::{InventoryEntry, Ownership};
use tidelock_model::name::Identity;
use tidelock_model::observation::Observation;
use tidelock_model::plan::{Action, Wait};
use tidelock_model::resource::OnRemove;

use crate::check::unseen;
use crate::input::{Index, is_of};
use crate::item::{Item, Origin};
use crate::report;
use crate::spec::{sensitive, shown, shown_before};
use crate::strays::{Spoken, listed_by, sift};
use crate::wanted::in_doubt;

/// What pruning gave.
#[derive(Default)]
pub(crate) struct Pruned {
    pub(crate) items: Vec<Item>,
    pub(crate) waits: Vec<Wait>,
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Whether the store knows what the lane owns.
pub(crate) fn ownership(index: &Index<'_>) -> Ownership {
    let contacted = index.input.record.is_some_and(|record| record.contacted);
    if contacted || index.own().next().is_some() { Ownership::Known } else { Ownership::Unknown }
}

/// What is to become of an entry that Git no longer wants.
#[derive(Clone, PartialEq)]
enum Fate {
    Delete,
    Release(String),
    /// Stays in the ledger.
    Stays,
}

/// Plans what is to be removed.
pub(crate) fn plan(index: &Index<'_>, spoken: Option<&Spoken>) -> Pruned {
    let mut out = Pruned::default();
    // What is a part of something now is released there.
    let parts: BTreeSet<&Identity> = index.input.desired.resources.iter().flat_map(|one| &one.parts).collect();
    let wanted =
        |entry: &&InventoryEntry| index.by_identity.contains_key(&entry.identity) || parts.contains(&entry.identity);
    let left: Vec<&InventoryEntry> = index.own().filter(|entry| !wanted(entry)).collect();
    // What another stack claims by now has moved, and is not lost with this one.
    let lost = left
        .iter()
        .filter(|entry| !index.rivals.contains_key(&entry.identity) && !index.undone.contains(&entry.identity))
        .count();
    if index.input.destroys && lost > 0 {
        out.waits.push(report::destroys(index.lane, lost));
    } else if index.input.desired.resources.is_empty() && lost > 0 {
        out.waits.push(report::empty_render(index.lane, lost));
        return out;
    }
    let mut fates: Vec<Fate> = left.iter().map(|entry| fate(index, entry, &mut out)).collect();
    spare_what_others_stand_on(index, &left, &mut fates, &mut out.waits);
    for (entry, fate) in left.into_iter().zip(fates) {
        let (action, reason) = match fate {
            Fate::Stays => continue,
            Fate::Delete => (Action::Delete, gone(index, entry).to_owned()),
            Fate::Release(reason) => (Action::Release, reason),
        };
        let item = removal(index, entry, action, reason, spoken, &mut out.errors);
        out.items.push(item);
    }
    out
}

fn fate(index: &Index<'_>, entry: &InventoryEntry, out: &mut Pruned) -> Fate {
    if let Some(rival) = index.rivals.get(&entry.identity).filter(|rival| index.twin(rival)) {
        return Fate::Release(format!(
            "{}, and {}:{} claims it on {}, which is the same system",
            gone(index, entry),
            rival.source,
            rival.stack,
            rival.target
        ));
    }
    if let Some(rival) = index.rivals.get(&entry.identity) {
        let message = format!(
            "{} left this stack and is claimed by {}:{} as {}; it moves there when that stack is applied",
            entry.address.resource, rival.source, rival.stack, rival.resource
        );
        out.warnings.push(Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message, None) });
        return Fate::Stays;
    }
    if entry.protect {
        let destroys = index.input.destroys;
        let wait = if destroys { report::protected_destroy } else { report::protected };
        out.waits.push(wait(&entry.address));
        return Fate::Stays;
    }
    let gone = gone(index, entry);
    match entry.removal() {
        OnRemove::Delete if !index.input.unheard.is_empty() => {
            out.waits.push(report::unheard(&entry.address, index.input.unheard));
            Fate::Stays
        }
        OnRemove::Delete => Fate::Delete,
        OnRemove::Release if entry.on_remove.is_some() => {
            Fate::Release(format!("{gone}, and `on_remove` says release"))
        }
        OnRemove::Release if entry.holds_data => {
            Fate::Release(format!("{gone}, and holds data; `on_remove: delete` would delete it"))
        }
        OnRemove::Release => {
            Fate::Release(format!("{gone}, and was there before us; `on_remove: delete` would delete it"))
        }
    }
}

/// Why what is left goes.
fn gone(index: &Index<'_>, entry: &InventoryEntry) -> &'static str {
    match () {
        () if index.input.destroys => "its stack is destroyed",
        () if index.undone.contains(&entry.identity) => "its creation was taken back",
        () => "it is no longer in Git",
    }
}

/// What stays may stand on what would go: a file in a directory. Then that is only
/// released, and so on downwards. Each entry is looked at once.
///
/// What merely brings about what others need (the network of an address, for a route) stays ours
/// instead, since something else may bring it about one day: then it goes.
fn spare_what_others_stand_on(index: &Index<'_>, left: &[&InventoryEntry], fates: &mut [Fate], waits: &mut Vec<Wait>) {
    let mut holders: BTreeMap<&Identity, (usize, bool)> = BTreeMap::new();
    for (i, entry) in left.iter().enumerate() {
        holders.extend(entry.provides.iter().map(|identity| (identity, (i, true))));
    }
    holders.extend(left.iter().enumerate().map(|(i, entry)| (&entry.identity, (i, false))));
    let brought: BTreeSet<&Identity> =
        index.input.desired.resources.iter().flat_map(|resource| &resource.provides).collect();

    let wanted = index.input.desired.resources.iter().map(|one| (&one.requires, one.id.to_string()));
    let others = index.owned.values().filter(|entry| !is_of(entry, index.lane));
    let others = others.map(|entry| (&entry.requires, entry.address.to_string()));
    let kept = left.iter().zip(fates.iter()).filter(|(_, fate)| **fate != Fate::Delete);
    let kept = kept.map(|(entry, _)| (&entry.requires, entry.address.resource.to_string()));
    let mut stands: Vec<Stands<'_>> = Vec::new();
    for (requires, user) in wanted.chain(others).chain(kept) {
        // Of several that would do, such as networks around one neighbour, one is enough.
        let has: BTreeSet<&str> =
            requires.iter().filter(|identity| brought.contains(*identity)).map(Identity::scheme).collect();
        for identity in requires {
            let Some((holder, merely)) = holders.get(identity).copied() else { continue };
            if !(merely && has.contains(identity.scheme())) {
                stands.push(Stands { identity, user: user.clone(), holder, stays: merely && !index.input.destroys });
            }
        }
    }
    // The reason names the same user whatever the order of the input.
    stands.sort_unstable();
    while let Some(Stands { user, holder, stays, .. }) = stands.pop() {
        if fates[holder] != Fate::Delete {
            continue;
        }
        let entry = left[holder];
        let why = format!("{}, but {user} still stands on it", gone(index, entry));
        fates[holder] = if stays {
            waits.push(report::still_needed(entry, &why));
            Fate::Stays
        } else {
            Fate::Release(why)
        };
        let user = entry.address.resource.to_string();
        let below = entry.requires.iter().filter_map(|identity| Some((identity, holders.get(identity)?.0)));
        stands.extend(below.map(|(identity, holder)| Stands { identity, user: user.clone(), holder, stays }));
    }
}

/// Somebody who needs what would go.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Stands<'e> {
    identity: &'e Identity,
    user: String,
    /// The entry that is, or brings about, what is needed.
    holder: usize,
    /// Whether that entry stays ours.
    stays: bool,
}

fn removal(
    index: &Index<'_>,
    entry: &InventoryEntry,
    action: Action,
    reason: String,
    spoken: Option<&Spoken>,
    errors: &mut Vec<Diagnostic>,
) -> Item {
    let info = index.info(&entry.address.resource.kind);
    let mut item = Item::new(Origin::Left, entry.address.clone(), entry.identity.clone(), action);
    item.cause = Some(index.wish(&entry.identity));
    item.reason = Some(reason);
    item.last = Some(entry.applied.clone());
    item.handle = entry.handle.clone();
    item.sensitive = sensitive(&entry.applied, entry.withheld.keys(), info);
    if action == Action::Release {
        item.before = Some(shown(&entry.applied, info));
        return item;
    }
    if index.doubtful.contains(&entry.identity) {
        item.defer(in_doubt(&entry.address));
        return item;
    }
    match index.input.observed.get(&entry.identity) {
        Some(Observation::Present { observed, handle, seen, .. }) => {
            let mut observed = observed.clone();
            if let Some(spoken) = spoken {
                let purges = sift(&mut observed, &entry.identity, info, spoken);
                // Strays go with a directory only where it was ours to purge.
                item.beneath = if listed_by(info) && purged(entry, info) { purges } else { Vec::new() };
            }
            item.before = Some(shown_before(&entry.applied, &observed, info));
            item.observed = Some(observed);
            item.handle = handle.clone().or(item.handle.take());
            item.seen.clone_from(seen);
            item.ask_for(Action::Delete);
            if !index.input.plugins.contains_key(entry.address.resource.kind.plugin()) {
                let why = format!("the plugin {:?} is not loaded", entry.address.resource.kind.plugin());
                errors.push(unseen(&entry.address.resource, None, &why, None));
                item.defer(why);
            }
        }
        Some(Observation::Absent { .. }) => {
            item.reason = Some(format!("{}, and already gone from the target", gone(index, entry)));
        }
        Some(Observation::Waits { on, why }) => item.await_for(on, why),
        Some(Observation::Failed { fault }) => {
            errors.push(unseen(&entry.address.resource, None, &fault.message, fault.hint.as_deref()));
            item.defer(format!("could not be looked at: {}", fault.message));
        }
        None => {
            errors.push(unseen(&entry.address.resource, None, "its provider gave no answer", None));
            item.defer("was not looked at".to_owned());
        }
    }
    item
}

fn purged(entry: &InventoryEntry, info: Option<&tidelock_model::kind::KindInfo>) -> bool {
    info.is_some_and(|info| {
        info.fields.iter().any(|field| {
            field.roles.strays && (entry.applied.pointer(&field.path).is_some() || field.default.is_some())
        })
    })
}
