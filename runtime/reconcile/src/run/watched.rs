//! What is watched while a pass writes: not what it writes itself, which is no news.

use std::collections::BTreeMap;

use tidelock_model::name::{Identity, Lane};
use tidelock_model::plan::Plan;

use crate::runtime::Runtime;

/// What a pass writes, by lane.
pub(super) type Written = BTreeMap<Lane, Vec<Identity>>;

/// What a plan would have written.
pub(super) fn written(plan: &Plan) -> Written {
    let mut written = Written::new();
    for change in plan.changes.iter().filter(|change| change.group.is_some()) {
        written.entry(change.address.lane()).or_default().push(change.identity.clone());
    }
    // Files that no identity tells of: what a system keeps of its network.
    for group in &plan.groups {
        let paths = group.effects.iter().filter_map(|planned| planned.effect.body.path());
        let paths = paths.map(|path| Identity::new(format!("path:{path}")));
        written.entry(group.lane.clone()).or_default().extend(paths);
    }
    written
}

/// Watches it no more.
pub(super) async fn leave(runtime: &Runtime, written: &Written) {
    let Some(watch) = runtime.watch.clone() else { return };
    let written = written.clone();
    done(tokio::task::spawn_blocking(move || written.iter().for_each(|(lane, all)| watch.leave(lane, all)))).await;
}

/// Watches it again, as it is now.
pub(super) async fn add(runtime: &Runtime, written: Written) {
    let Some(watch) = runtime.watch.clone() else { return };
    done(tokio::task::spawn_blocking(move || written.iter().for_each(|(lane, all)| watch.add(lane, all)))).await;
}

/// A watch is a hint: without it the next look finds what there is.
async fn done(task: tokio::task::JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::debug!(%error, "not watched");
    }
}
