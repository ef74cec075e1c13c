//! Digests of lanes and plans: what an approval binds.
//!
//! They cover what decides and what is done: desired specs, plugins, settings, the
//! fingerprint, and each change with its effects and preconditions. They leave out
//! what only tells of it (reasons, causes, places, previews, summaries, warnings) and
//! what may differ between equal plans (times, commits, numbers of groups over lanes).

use serde::Serialize;
use serde_json::Value;
use tidelock_model::desired::{Desired, DesiredResource};
use tidelock_model::digest::{Digest, canonical_of};
use tidelock_model::effect::Effect;
use tidelock_model::name::{Address, Identity, ResourceRef};
use tidelock_model::plan::{Action, Change, FieldChange, Group, LanePlan, PlannedEffect};
use tidelock_model::plugin::PluginRef;
use tidelock_model::resource::{Notify, OnRemove};

/// The digest of a lane's part. `groups` are numbered from 1 within the lane.
#[must_use]
pub fn lane_digest(
    desired: &Desired,
    plugins: &[PluginRef],
    fingerprint: &str,
    changes: &[Change],
    groups: &[Group],
) -> Digest {
    let mut parts: Vec<Vec<u8>> = vec![
        b"tidelock lane 1".into(),
        desired.lane.to_string().into(),
        desired.settings.to_string().into(),
        fingerprint.into(),
    ];
    // Left out where there is none, so that what was approved before there were any stays so.
    parts.extend(desired.module.as_ref().map(|module| format!("module {} {}", module.path, module.revision.id).into()));
    let mut section = |name: &str, mut lines: Vec<Vec<u8>>, sort: bool| {
        if sort {
            lines.sort_unstable();
        }
        // The number of lines goes in too, so that sections cannot run together.
        parts.push(format!("{name} {}", lines.len()).into());
        parts.extend(lines);
    };
    section(
        "plugins",
        plugins.iter().map(|plugin| format!("{} {}", plugin.name, plugin.digest).into()).collect(),
        true,
    );
    section("desired", desired.resources.iter().map(|resource| line(&Wanted::from(resource))).collect(), true);
    section("changes", changes.iter().map(|change| line(&Done::from(change))).collect(), false);
    section("groups", groups.iter().map(|group| line(&Performed::from(group))).collect(), false);
    Digest::of_parts(parts.iter().map(Vec::as_slice))
}

/// The digest of the plan that holds one lane alone, by the lane's.
#[must_use]
pub fn alone(lane: &Digest) -> Digest {
    Digest::of_parts([lane.as_bytes().as_slice()])
}

/// The digest of a plan: of its lanes' digests, in any order.
#[must_use]
pub fn plan_digest(lanes: &[LanePlan]) -> Digest {
    let mut digests: Vec<Digest> = lanes.iter().map(|lane| lane.digest).collect();
    digests.sort_unstable();
    Digest::of_parts(digests.iter().map(|digest| digest.as_bytes().as_slice()))
}

fn line(value: &impl Serialize) -> Vec<u8> {
    canonical_of(value).expect("what a plan consists of has texts for keys")
}

/// What of a resource decides.
#[derive(Serialize)]
struct Wanted<'r> {
    id: &'r ResourceRef,
    identity: &'r Identity,
    provides: &'r [Identity],
    requires: &'r [Identity],
    needs: &'r [ResourceRef],
    spec: &'r Value,
    on_remove: Option<OnRemove>,
    protect: bool,
    ignore: &'r [String],
    notify: &'r [Notify],
}

impl<'r> From<&'r DesiredResource> for Wanted<'r> {
    fn from(resource: &'r DesiredResource) -> Self {
        Self {
            id: &resource.id,
            identity: &resource.identity,
            provides: &resource.provides,
            requires: &resource.requires,
            needs: &resource.needs,
            spec: &resource.spec,
            on_remove: resource.on_remove,
            protect: resource.protect,
            ignore: &resource.ignore,
            notify: &resource.notify,
        }
    }
}

/// What of a change is done.
#[derive(Serialize)]
struct Done<'c> {
    address: &'c Address,
    identity: &'c Identity,
    action: Action,
    moved_from: &'c Option<Address>,
    before: &'c Option<Value>,
    after: &'c Option<Value>,
    fields: &'c [FieldChange],
    unknown: &'c [String],
    sensitive: &'c [String],
    destructive: bool,
    group: Option<u32>,
}

impl<'c> From<&'c Change> for Done<'c> {
    fn from(change: &'c Change) -> Self {
        Self {
            address: &change.address,
            identity: &change.identity,
            action: change.action,
            moved_from: &change.moved_from,
            before: &change.before,
            after: &change.after,
            fields: &change.fields,
            unknown: &change.unknown,
            sensitive: &change.sensitive,
            destructive: change.destructive,
            group: change.group,
        }
    }
}

/// What of a group is performed.
#[derive(Serialize)]
struct Performed<'g> {
    id: u32,
    atomic: bool,
    after: &'g [u32],
    effects: Vec<One<'g>>,
}

#[derive(Serialize)]
struct One<'g> {
    effect: &'g Effect,
    destructive: bool,
}

impl<'g> From<&'g Group> for Performed<'g> {
    fn from(group: &'g Group) -> Self {
        let one = |planned: &'g PlannedEffect| One { effect: &planned.effect, destructive: planned.destructive };
        Self {
            id: group.id,
            atomic: group.atomic,
            after: &group.after,
            effects: group.effects.iter().map(one).collect(),
        }
    }
}
