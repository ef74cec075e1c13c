//! What becomes of a resource that Git wants: identity first, then name.
//!
//! The identity says whether something is new, known, renamed, another stack's or a
//! stranger's; only then are fields compared. Must not ask any plugin.

use serde_json::Value;
use tidelock_model::desired::DesiredResource;
use tidelock_model::error::Diagnostic;
use tidelock_model::inventory::{InventoryEntry, Origin as Became};
use tidelock_model::name::Address;
use tidelock_model::observation::{Observation, Readiness};
use tidelock_model::plan::{Action, Cause};
use tidelock_model::pointer;
use tidelock_model::secret;

use crate::check::unseen;
use crate::diff::{self, covering, same};
use crate::input::Index;
use crate::item::{Item, Origin};
use crate::spec::{comparable, effective, sensitive, shown, shown_before};
use crate::strays::{Spoken, sift};

/// What planning one resource gave.
pub(crate) struct Outcome {
    pub(crate) item: Item,
    /// Where the same thing, or a part of it, was owned as another kind.
    pub(crate) released: Vec<Item>,
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Plans one resource. `keep` says that its data is needed even where nothing
/// changes, since something may notify it.
pub(crate) fn plan(index: &Index<'_>, resource: &DesiredResource, spoken: Option<&Spoken>, keep: bool) -> Outcome {
    let owner = index.owned.get(&resource.identity).copied();
    let kept = owner.filter(|entry| entry.address.resource.kind == resource.id.kind);
    let address = Address::new(index.lane, resource.id.clone());
    let mut out = Outcome {
        released: owner
            .filter(|_| kept.is_none())
            .into_iter()
            .chain(parts_of_their_own(index, resource))
            .map(|entry| release_old_kind(index, entry, resource))
            .collect(),
        item: Item::new(Origin::Wanted, address, resource.identity.clone(), Action::None),
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let item = &mut out.item;
    item.place = Some(resource.place.clone());
    item.moved_from = kept.map(|entry| &entry.address).filter(|old| **old != item.address).cloned();
    item.last = kept.map(|entry| entry.applied.clone());
    item.handle = kept.and_then(|entry| entry.handle.clone());
    item.notify.clone_from(&resource.notify);
    item.protected = resource.protect || kept.is_some_and(|entry| entry.protect);
    item.cause = Some(cause(index, resource, kept));

    if index.doubtful.contains(&resource.identity) {
        item.defer(in_doubt(&item.address));
        return out;
    }
    match index.input.observed.get(&resource.identity) {
        Some(Observation::Present { .. }) => present(index, resource, kept, spoken, keep, &mut out),
        Some(Observation::Absent { .. }) => absent(index, resource, kept, &mut out.item),
        Some(Observation::Waits { on, why }) => item.await_for(on, why),
        Some(Observation::Failed { fault }) => {
            item.defer(format!("could not be looked at: {}", fault.message));
            out.errors.push(unseen(&resource.id, item.place.clone(), &fault.message, fault.hint.as_deref()));
        }
        None => {
            item.defer("was not looked at".to_owned());
            out.errors.push(unseen(&resource.id, item.place.clone(), "its provider gave no answer", None));
        }
    }
    // What was not seen has not been seen to drift.
    if out.item.action == Action::Deferred {
        out.item.cause = out.item.cause.filter(|cause| *cause != Cause::Drift);
    }
    finish(index, resource, kept, keep, &mut out.item);
    out
}

/// The sentence for something that a crash left in doubt.
pub(crate) fn in_doubt(address: &Address) -> String {
    format!("an earlier run ended before it was known what became of it; say `tidelock resolve {address} done|redo`")
}

/// Why it would change: Git first, then the plugin, and only then the target itself.
fn cause(index: &Index<'_>, resource: &DesiredResource, kept: Option<&InventoryEntry>) -> Cause {
    let revision = index.wish(&resource.identity);
    let Some(kept) = kept else { return revision };
    if !same(&kept.applied, &resource.spec) {
        return if same_but_values(kept, resource) { Cause::Secret } else { revision };
    }
    match index.input.plugins.get(resource.id.kind.plugin()) {
        Some(plugin) if plugin.digest != kept.plugin.digest => Cause::Plugin,
        _ => Cause::Drift,
    }
}

/// Whether Git says the same as before, and a secret has another value.
fn same_but_values(kept: &InventoryEntry, resource: &DesiredResource) -> bool {
    let plain = |spec: &Value| {
        let mut spec = secret::without_macs(spec);
        for at in resource.withheld.keys() {
            pointer::set(&mut spec, at, Value::Null);
        }
        spec
    };
    kept.withheld == resource.withheld && same(&plain(&kept.applied), &plain(&resource.spec))
}

fn absent(index: &Index<'_>, resource: &DesiredResource, kept: Option<&InventoryEntry>, item: &mut Item) {
    item.ask_for(Action::Create);
    item.desired = Some(effective(&resource.spec, None, index.info(&resource.id.kind), &[]));
    // What was made before and is gone is not made under its old handle.
    item.handle = None;
    if kept.is_some() {
        item.reason = Some("it is gone from the target".to_owned());
    }
}

fn present(
    index: &Index<'_>,
    resource: &DesiredResource,
    kept: Option<&InventoryEntry>,
    spoken: Option<&Spoken>,
    notified: bool,
    out: &mut Outcome,
) {
    let Some(Observation::Present { observed, unknown, handle, readiness, probes, .. }) =
        index.input.observed.get(&resource.identity)
    else {
        return;
    };
    let info = index.info(&resource.id.kind);
    let item = &mut out.item;
    item.handle = handle.clone().or(item.handle.take());
    let mut seen = observed.clone();
    if let Some(spoken) = spoken {
        item.beneath = sift(&mut seen, &resource.identity, info, spoken);
    }
    let last = kept.map(|entry| &entry.applied);
    let seen = comparable(seen, unknown, probes, &resource.spec, last, info);
    let ignore: Vec<String> = resource.ignore.iter().chain(&seen.unknown).cloned().collect();
    item.fields = diff::fields_since(&resource.spec, &seen.observed, last, info, &ignore);
    item.unknown.extend(seen.unknown.iter().chain(&seen.unverified).cloned());
    item.unknown.sort_unstable();
    item.unknown.dedup();
    for field in unknown {
        let message = format!("{}: {field} could not be read, so it is not known whether it differs", resource.id);
        out.warnings.push(warning(message, resource));
    }
    if *readiness == Readiness::Broken {
        out.warnings.push(warning(format!("{} is there, but broken", resource.id), resource));
    }
    let differs = !item.fields.is_empty();
    match (kept, differs) {
        (None, false) => {
            item.action = Action::Adopt;
            let runs = info.is_some_and(|info| !info.triggers.is_empty());
            item.reason = Some(match (runs, notified) {
                (false, _) => "it is there and equal".to_owned(),
                (true, true) => "it is not to run by itself now; it runs when it is notified".to_owned(),
                (true, false) => "it is not to run by itself now, and nothing notifies it".to_owned(),
            });
        }
        (None, true) => {
            item.ask_for(Action::TakeOver);
            item.reason = Some("it was there before and differs".to_owned());
        }
        (Some(_), true) => {
            item.ask_for(Action::Update);
            let fixed: Vec<&str> = item
                .fields
                .iter()
                .map(|field| field.path.as_str())
                .filter(|path| covering(info, path, |roles| roles.immutable))
                .collect();
            if !fixed.is_empty() {
                item.reason = Some(format!("{} cannot change in place", fixed.join(", ")));
                item.ask_for(Action::Replace);
            }
        }
        (Some(_), false) if item.moved_from.is_some() => item.action = Action::Move,
        (Some(kept), false) => {
            let stale = stale(kept, resource);
            if !stale.is_empty() {
                item.action = Action::Update;
                item.cause = Some(index.wish(&resource.identity));
                item.reason = Some(format!("only the record changes: {}", stale.join(", ")));
            }
        }
    }
    item.observed = Some(seen.observed);
}

/// What the ledger says otherwise than Git, though the target is as it should be.
fn stale(kept: &InventoryEntry, resource: &DesiredResource) -> Vec<&'static str> {
    let sorted = |list: &[tidelock_model::name::Identity]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    let needs = |list: &[tidelock_model::name::ResourceRef]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    [
        ("protect", kept.protect != resource.protect),
        ("on_remove", kept.on_remove != resource.on_remove),
        ("spec", !same(&kept.applied, &resource.spec)),
        ("needs", needs(&kept.needs) != needs(&resource.needs)),
        ("requires", sorted(&kept.requires) != sorted(&resource.requires)),
        ("provides", sorted(&kept.provides) != sorted(&resource.provides)),
    ]
    .into_iter()
    .filter_map(|(word, differs)| differs.then_some(word))
    .collect()
}

/// Fills in what is shown, asked and recorded.
fn finish(index: &Index<'_>, resource: &DesiredResource, kept: Option<&InventoryEntry>, keep: bool, item: &mut Item) {
    let info = index.info(&resource.id.kind);
    if item.action == Action::None {
        item.cause = None;
        item.entry = kept.cloned();
        if !keep {
            item.observed = None;
            item.last = None;
            item.entry = None;
            return;
        }
    }
    if item.desired.is_none() {
        item.desired = Some(effective(&resource.spec, item.observed.as_ref(), info, &resource.ignore));
    }
    if item.action != Action::Deferred {
        item.before = item.observed.as_ref().map(|seen| shown_before(&resource.spec, seen, info));
    }
    item.after = item.desired.as_ref().map(|spec| shown(spec, info));
    // What leaves a secret for something else still held it.
    let held = kept.into_iter().flat_map(|kept| kept.withheld.keys());
    item.sensitive = sensitive(&resource.spec, resource.withheld.keys().chain(held), info);
    item.seen = index.input.observed.get(&resource.identity).map(|seen| seen.seen().to_vec()).unwrap_or_default();
    if let (Some(old), Action::Move | Action::Update | Action::Create) = (&item.moved_from, item.action) {
        let was = if old.lane() == *index.lane { format!("was {}", old.resource) } else { format!("was {old}") };
        item.reason = Some(item.reason.take().map_or_else(|| was.clone(), |reason| format!("{was}; {reason}")));
        item.cause = Some(index.input.cause_hint.unwrap_or(Cause::Revision));
    }
    if item.action != Action::None {
        item.entry = entry(index, resource, kept, item);
    }
}

fn entry(
    index: &Index<'_>,
    resource: &DesiredResource,
    kept: Option<&InventoryEntry>,
    item: &Item,
) -> Option<InventoryEntry> {
    let plugin = index.input.plugins.get(resource.id.kind.plugin())?.clone();
    Some(InventoryEntry {
        address: item.address.clone(),
        identity: resource.identity.clone(),
        spec_version: plugin.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0),
        plugin,
        handle: item.handle.clone(),
        applied: resource.spec.clone(),
        withheld: resource.withheld.clone(),
        requires: resource.requires.clone(),
        provides: resource.provides.clone(),
        needs: resource.needs.clone(),
        protect: resource.protect,
        on_remove: resource.on_remove,
        holds_data: index.info(&resource.id.kind).is_some_and(|info| info.holds_data),
        origin: match (item.action, kept) {
            (Action::Adopt, _) => Became::Adopted,
            (Action::TakeOver, _) => Became::TookOver,
            (Action::Create, _) | (_, None) => Became::Created,
            (_, Some(kept)) => kept.origin,
        },
        run: String::new(),
        revision: index.input.desired.revision.id.clone(),
    })
}

/// What was a resource before, and is a part of another one now. Its removal must not take the part along.
fn parts_of_their_own<'i>(
    index: &'i Index<'_>,
    resource: &'i DesiredResource,
) -> impl Iterator<Item = &'i InventoryEntry> {
    let owned = resource.parts.iter().filter_map(|part| index.owned.get(part).copied());
    owned.filter(|entry| !index.by_identity.contains_key(&entry.identity))
}

fn release_old_kind(index: &Index<'_>, entry: &InventoryEntry, resource: &DesiredResource) -> Item {
    let mut item = Item::new(Origin::Left, entry.address.clone(), entry.identity.clone(), Action::Release);
    item.cause = Some(index.input.cause_hint.unwrap_or(Cause::Revision));
    item.reason = Some(match entry.identity == resource.identity {
        true => format!("{} manages it as {} from now on", resource.id, resource.id.kind),
        false => format!("{} speaks for it from now on", resource.id),
    });
    item.before = Some(shown(&entry.applied, index.info(&entry.address.resource.kind)));
    item
}

fn warning(message: String, resource: &DesiredResource) -> Diagnostic {
    Diagnostic {
        severity: tidelock_model::error::Severity::Warning,
        ..Diagnostic::error(message, Some(resource.place.clone()))
    }
}
