//! Digests of lanes and plans: what an approval binds.
//!
//! They cover what decides and what is done: desired specs, plugins, settings, the
//! fingerprint, and each change with its effects and preconditions. They leave out
//! what only tells of it (reasons, causes, places, previews, summaries, warnings) and
//! what may differ between equal plans (times, commits, numbers of groups over lanes).

use serde_json::{Value, json};
use tidelock_model::desired::{Desired, DesiredResource};
use tidelock_model::digest::{Digest, canonical};
use tidelock_model::plan::{Change, Group, LanePlan};
use tidelock_model::plugin::PluginRef;

/// The digest of a lane's part. `groups` are numbered from 1 within the lane.
#[must_use]
pub fn lane_digest(
    desired: &Desired,
    plugins: &[PluginRef],
    fingerprint: &str,
    changes: &[Change],
    groups: &[Group],
) -> Digest {
    let mut parts = vec![
        "tidelock lane 1".to_owned(),
        desired.lane.to_string(),
        desired.settings.to_string(),
        fingerprint.to_owned(),
    ];
    // Left out where there is none, so that what was approved before there were any stays so.
    parts.extend(desired.module.as_ref().map(|module| format!("module {} {}", module.path, module.revision.id)));
    let mut section = |name: &str, mut lines: Vec<String>, sort: bool| {
        if sort {
            lines.sort_unstable();
        }
        // The number of lines goes in too, so that sections cannot run together.
        parts.push(format!("{name} {}", lines.len()));
        parts.extend(lines);
    };
    section("plugins", plugins.iter().map(|plugin| format!("{} {}", plugin.name, plugin.digest)).collect(), true);
    section("desired", desired.resources.iter().map(|resource| canonical(&wanted(resource))).collect(), true);
    section("changes", changes.iter().map(|change| canonical(&done(change))).collect(), false);
    section("groups", groups.iter().map(|group| canonical(&performed(group))).collect(), false);
    Digest::of_parts(parts.iter().map(String::as_bytes))
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

fn wanted(resource: &DesiredResource) -> Value {
    json!({
        "id": resource.id,
        "identity": resource.identity,
        "provides": resource.provides,
        "requires": resource.requires,
        "needs": resource.needs,
        "spec": resource.spec,
        "on_remove": resource.on_remove,
        "protect": resource.protect,
        "ignore": resource.ignore,
        "notify": resource.notify,
    })
}

fn done(change: &Change) -> Value {
    json!({
        "address": change.address,
        "identity": change.identity,
        "action": change.action,
        "moved_from": change.moved_from,
        "before": change.before,
        "after": change.after,
        "fields": change.fields,
        "unknown": change.unknown,
        "sensitive": change.sensitive,
        "destructive": change.destructive,
        "group": change.group,
    })
}

fn performed(group: &Group) -> Value {
    let effects: Vec<Value> = group
        .effects
        .iter()
        .map(|planned| json!({"effect": planned.effect, "destructive": planned.destructive}))
        .collect();
    json!({"id": group.id, "atomic": group.atomic, "after": group.after, "effects": effects})
}
