//! What is refused before anything is planned: mistakes that only Git can mend.
//!
//! Every mistake is reported at once, with its place. Must not look at what was
//! observed: the same files are right or wrong on every target.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::desired::{Desired, DesiredResource};
use tidelock_model::error::{Diagnostic, Place};
use tidelock_model::inventory::Claim;
use tidelock_model::name::{Identity, Name, ResourceRef};

use crate::edges::cycle;
use crate::input::{Index, is_of};

/// What a mistake of two stacks together says, in each of them.
const CLAIMED_TWICE: &str = " is claimed twice: ";

/// Leaves out what was said already: a mistake of two stacks is told once.
pub fn told_once(errors: &mut Vec<Diagnostic>) {
    let mut told = BTreeSet::new();
    errors.retain(|error| !error.message.contains(CLAIMED_TWICE) || told.insert(error.message.clone()));
}

/// The mistakes of a lane's desired state. Empty: it can be planned.
pub(crate) fn mistakes(index: &Index<'_>) -> Vec<Diagnostic> {
    let desired = index.input.desired;
    let mut out = twice(desired);
    for resource in &desired.resources {
        unknown_needs(index, resource, &mut out);
        unknown_notify(index, resource, &mut out);
        second_claimant(index, resource, &mut out);
        if !index.input.plugins.contains_key(resource.id.kind.plugin()) {
            let message =
                format!("{} needs the plugin {:?}, which is not loaded", resource.id, resource.id.kind.plugin());
            out.push(Diagnostic::error(message, Some(resource.place.clone())));
        }
    }
    // Edges are only sound once every name is.
    if out.is_empty() {
        out.extend(cycle(index).map(|cycle| named_cycle(desired, &cycle)));
    }
    out.sort_by(|a, b| (&a.place, &a.message).cmp(&(&b.place, &b.message)));
    out
}

fn twice(desired: &Desired) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    let mut identities: BTreeMap<&Identity, &DesiredResource> = BTreeMap::new();
    let mut refs: BTreeMap<&ResourceRef, &DesiredResource> = BTreeMap::new();
    for resource in &desired.resources {
        if let Some(first) = refs.insert(&resource.id, resource) {
            let message = format!("{} is declared twice: at {} and at {}", resource.id, first.place, resource.place);
            out.push(Diagnostic::error(message, Some(resource.place.clone())).hint("rename or remove one of them"));
        } else if let Some(first) = identities.insert(&resource.identity, resource) {
            let message = format!(
                "{} (at {}) and {} (at {}) are the same thing on the target: {}",
                first.id, first.place, resource.id, resource.place, resource.identity
            );
            out.push(Diagnostic::error(message, Some(resource.place.clone())).hint("keep one of them"));
        }
    }
    out
}

fn unknown_needs(index: &Index<'_>, resource: &DesiredResource, out: &mut Vec<Diagnostic>) {
    for need in resource.needs.iter().filter(|need| !index.by_ref.contains_key(need)) {
        let message = format!("{} needs {need}, which this stack does not declare for this target", resource.id);
        out.push(near(
            Diagnostic::error(message, Some(resource.place.clone())).at("/needs"),
            index,
            Some(&resource.id),
            need,
        ));
    }
}

fn unknown_notify(index: &Index<'_>, resource: &DesiredResource, out: &mut Vec<Diagnostic>) {
    for notify in &resource.notify {
        if !index.by_ref.contains_key(&notify.to) {
            let message =
                format!("{} notifies {}, which this stack does not declare for this target", resource.id, notify.to);
            out.push(near(
                Diagnostic::error(message, Some(resource.place.clone())).at("/notify"),
                index,
                None,
                &notify.to,
            ));
            continue;
        }
        let Some(info) = index.info(&notify.to.kind) else { continue };
        if !info.triggers.contains(&notify.ask) {
            let message = format!("{} asks {} to {:?}, which it cannot do", resource.id, notify.to, notify.ask);
            let hint = match info.triggers.as_slice() {
                [] => format!("{} takes no notifications", notify.to.kind),
                known => nearest(&notify.ask, known.iter().map(String::as_str))
                    .map_or_else(|| format!("it can: {}", known.join(", ")), |name| format!("did you mean {name:?}?")),
            };
            out.push(Diagnostic::error(message, Some(resource.place.clone())).at("/notify").hint(hint));
        }
    }
}

/// Two stacks want the same thing, or one wants it on two targets that are the same system. The one that
/// owns it goes on; the other does not, and where nobody owns it neither does.
fn second_claimant(index: &Index<'_>, resource: &DesiredResource, out: &mut Vec<Diagnostic>) {
    let lane = index.lane;
    for identity in std::iter::once(&resource.identity).chain(&resource.parts) {
        let Some(rival) = index.rivals.get(identity) else { continue };
        // Of a part nothing is on record but what it is a part of, unless it is a resource elsewhere.
        let owner = index.owned.get(identity).or_else(|| index.owned.get(&resource.identity));
        if !owner.is_some_and(|entry| is_of(entry, lane)) {
            out.push(claimed_twice(index, resource, identity, rival));
        }
    }
}

fn claimed_twice(index: &Index<'_>, resource: &DesiredResource, identity: &Identity, rival: &Claim) -> Diagnostic {
    let lane = index.lane;
    // Both of the two are refused with the same sentence.
    let on = |target: &Name| if index.twin(rival) { format!("@{target}") } else { String::new() };
    let mut both = [
        format!("{}:{}:{}{}", rival.source, rival.stack, rival.resource, on(&rival.target)),
        format!("{}:{}:{}{}", lane.source, lane.stack, resource.id, on(&lane.target)),
    ];
    both.sort();
    let mut targets = [&lane.target, &rival.target];
    targets.sort();
    let (on, hint) = match index.twin(rival) {
        true => (
            format!("{} and {}, which are the same system,", targets[0], targets[1]),
            "let it be declared for one of the two targets alone, or take the other target out of tidelock.toml",
        ),
        false => (lane.target.to_string(), "remove it from one of the two stacks; to move it, remove it there first"),
    };
    let message = format!("{identity} on {on}{CLAIMED_TWICE}by {} and by {}", both[0], both[1]);
    Diagnostic::error(message, Some(resource.place.clone())).hint(hint)
}

fn named_cycle(desired: &Desired, cycle: &[usize]) -> Diagnostic {
    let at = |i: &usize| &desired.resources[*i];
    let names: Vec<String> = cycle.iter().map(|i| at(i).id.to_string()).collect();
    let places: Vec<String> = cycle[..cycle.len() - 1].iter().map(|i| at(i).place.to_string()).collect();
    Diagnostic::error(
        format!("resources need each other in a circle: {} (at {})", names.join(" -> "), places.join(", ")),
        cycle.first().map(|i| at(i).place.clone()),
    )
    .hint("remove one of these `needs`, or what a provider derives from the specs")
}

/// Guesses what was meant, `never` excepted: nothing needs itself.
fn near(diagnostic: Diagnostic, index: &Index<'_>, never: Option<&ResourceRef>, wanted: &ResourceRef) -> Diagnostic {
    let wanted = wanted.to_string();
    // A large stack with many mistakes must stay linear enough to answer at once.
    let names: Vec<String> =
        index.by_ref.keys().filter(|name| Some(**name) != never).take(2_000).map(ToString::to_string).collect();
    match nearest(&wanted, names.iter().map(String::as_str)) {
        Some(name) => diagnostic.hint(format!("did you mean {name}?")),
        None => diagnostic.hint("declare it, or remove the name"),
    }
}

/// The known name that a misspelt one most likely meant.
pub(crate) fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(distance, name)| *distance <= 1 + wanted.len().min(name.len()) / 4)
        .min()
        .map(|(_, name)| name)
}

/// An error about something that was seen, at the place of the resource.
pub(crate) fn unseen(id: &ResourceRef, place: Option<Place>, why: &str, hint: Option<&str>) -> Diagnostic {
    let diagnostic = Diagnostic::error(format!("{id} could not be looked at: {why}"), place);
    match hint {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    }
}
