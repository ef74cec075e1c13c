//! What a change took along: a link that is made anew loses its addresses, and a database its schemas, though
//! nobody planned anything for them. After an apply what stands on something that was changed is looked at
//! too, so that it is never told as it was before.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::desired::DesiredResource;
use tidelock_model::kind::{KindInfo, covers};
use tidelock_model::name::{Address, Identity};
use tidelock_model::observation::{Observation, Readiness, Subject, commands};
use tidelock_model::plan::{Action, Plan};

use super::apply::Performed;
use super::observe::observe;
use super::plan::PlannedLane;
use crate::error::RunError;
use crate::runtime::Runtime;
use crate::secrets;

/// The resources of a lane that were as they should be before it was applied, stand on something that was
/// changed, and are not as they should be any more, with what took them along.
pub(super) async fn swept(
    runtime: &Runtime,
    lane: &PlannedLane,
    plan: &Plan,
    performed: &Performed,
) -> Result<Vec<(Address, String)>, RunError> {
    let desired = &lane.rendered.desired;
    let standing = standing_on_changes(&desired.resources, &changed(lane, plan, performed), plan, lane);
    let mut providers = BTreeMap::new();
    for (resource, _) in &standing {
        let plugin = resource.id.kind.plugin();
        if !providers.contains_key(plugin) {
            providers.insert(plugin.to_owned(), runtime.plugins.provider(plugin, &desired.lane.target).await?);
        }
    }
    let kinds = &lane.rendered.kinds;
    let subject = |resource: &DesiredResource| Subject {
        identity: resource.identity.clone(),
        kind: resource.id.kind.clone(),
        handle: None,
        fields: tidelock_plan::observe::managed(&resource.spec, kinds.get(&resource.id.kind), &resource.ignore),
        commands: commands(&resource.spec),
    };
    let subjects: Vec<Subject> = standing.iter().map(|(resource, _)| subject(resource)).collect();
    if subjects.is_empty() {
        return Ok(vec![]);
    }
    let mut seen = observe(&providers, &subjects).await?;
    let hands = runtime.targets.target(&desired.lane.target)?;
    secrets::compare(hands.as_ref(), desired, &lane.rendered.blobs, &mut seen).await;
    let gone = standing.into_iter().filter(|(resource, _)| {
        seen.get(&resource.identity).is_some_and(|seen| is_gone(resource, seen, kinds.get(&resource.id.kind)))
    });
    let address = |resource: &DesiredResource| Address {
        source: desired.lane.source.clone(),
        stack: desired.lane.stack.clone(),
        target: desired.lane.target.clone(),
        resource: resource.id.clone(),
    };
    Ok(gone.map(|(resource, by)| (address(resource), format!("it went along with {by}, which was changed"))).collect())
}

/// What was changed and was there before, by what others may stand on, with its name.
fn changed<'p>(lane: &'p PlannedLane, plan: &'p Plan, performed: &Performed) -> BTreeMap<Identity, &'p Address> {
    let desired = &lane.rendered.desired;
    let mut out = BTreeMap::new();
    let done = plan.changes_of(&desired.lane).filter(|change| performed.done.contains(&change.address));
    for change in done.filter(|change| matches!(change.action, Action::Update | Action::Replace | Action::TakeOver)) {
        out.insert(change.identity.clone(), &change.address);
        let of = desired.resources.iter().find(|resource| resource.identity == change.identity);
        let now = of.into_iter().flat_map(|of| &of.provides);
        let before = lane.provided.get(&change.identity).into_iter().flatten();
        out.extend(now.chain(before).map(|one| (one.clone(), &change.address)));
    }
    out
}

/// What stands on changes, or on what does, and had nothing to be done to.
fn standing_on_changes<'r>(
    resources: &'r [DesiredResource],
    changed: &BTreeMap<Identity, &Address>,
    plan: &Plan,
    lane: &PlannedLane,
) -> Vec<(&'r DesiredResource, String)> {
    if changed.is_empty() {
        return vec![];
    }
    // What was only put on record had nothing done to it either.
    let planned: BTreeSet<&Identity> = plan
        .changes_of(&lane.rendered.desired.lane)
        .filter(|change| !matches!(change.action, Action::Adopt | Action::Move))
        .map(|change| &change.identity)
        .collect();
    let mut by: BTreeMap<&Identity, Vec<&DesiredResource>> = BTreeMap::new();
    for resource in resources {
        // The other end of a veth is there by what its resource does not say.
        let on = resource.requires.iter().chain(std::iter::once(&resource.identity));
        on.for_each(|on| by.entry(on).or_default().push(resource));
    }
    let mut found: BTreeMap<&Identity, (&DesiredResource, String)> = BTreeMap::new();
    let mut open: Vec<(&Identity, String)> =
        changed.iter().map(|(identity, address)| (identity, address.resource.to_string())).collect();
    while let Some((on, name)) = open.pop() {
        for resource in by.get(on).into_iter().flatten() {
            if found.insert(&resource.identity, (resource, name.clone())).is_none() {
                let below = std::iter::once(&resource.identity).chain(&resource.provides);
                open.extend(below.map(|identity| (identity, name.clone())));
            }
        }
    }
    found.into_values().filter(|(resource, _)| !planned.contains(&resource.identity)).collect()
}

/// Whether it is not as it should be; what is not known, and lists of what else is there, say nothing.
fn is_gone(resource: &DesiredResource, seen: &Observation, info: Option<&KindInfo>) -> bool {
    match seen {
        Observation::Absent { .. } => true,
        // A service that somebody notified is on its way.
        Observation::Present { readiness: Readiness::Settling, .. } => false,
        Observation::Present { observed, unknown, .. } => {
            let apart = |path: &str| {
                info.is_some_and(|info| {
                    let of = info.fields.iter().filter(|field| covers(&field.path, path));
                    of.map(|field| &field.roles).any(|roles| roles.strays || roles.sensitive)
                }) || unknown.iter().any(|field| covers(field, path))
            };
            tidelock_plan::diff::fields(&resource.spec, observed, info, &resource.ignore)
                .iter()
                .any(|field| field.before.is_some() && !apart(&field.path))
        }
        Observation::Waits { .. } | Observation::Failed { .. } => false,
    }
}
