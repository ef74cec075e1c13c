//! Settling what a dead process left open: intents without an outcome.
//!
//! Nothing is repeated blindly. What can be told by looking is told by looking; what
//! cannot is left open and named in the next plan, for a person to say yes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidelock_model::effect::AfterCrash;
use tidelock_model::event::RunEvent;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::kind::KindInfo;
use tidelock_model::name::{Identity, Kind, Lane};
use tidelock_model::observation::{Observation, Subject, commands};
use tidelock_model::plan::Action;
use tidelock_model::port::{Provider, Settled};
use tidelock_model::run::{Intent, IntentChange};

use crate::error::RunError;
use crate::run::{Leases, Snapshot, kinds_of, observe};
use crate::runtime::Runtime;
use crate::select::Selected;

/// Settles the open intents of these lanes.
pub(crate) async fn open_intents(runtime: &Runtime, leases: &Leases, selected: &[Selected]) -> Result<(), RunError> {
    for Selected { lane, .. } in selected {
        let open = runtime.store.open_intents(lane)?;
        if open.is_empty() {
            continue;
        }
        let effects: Vec<_> = open.iter().flat_map(|intent| intent.effects.clone()).collect();
        runtime.targets.target(&lane.target)?.sweep(&effects).await?;
        let (snapshot, kinds) = look(runtime, lane, &open).await?;
        let settled: Vec<Settled> = open
            .into_iter()
            .filter(|intent| !needs_a_person(intent))
            .map(|intent| settle(intent, &snapshot, &kinds))
            .collect();
        let mut by_run: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for one in &settled {
            let (done, not_done) = by_run.entry(one.intent.run.clone()).or_default();
            for (end, _) in &one.changes {
                *(if end == "done" { &mut *done } else { &mut *not_done }) += 1;
            }
        }
        runtime.store.settle(leases.of(lane)?, runtime.clock.now(), &settled)?;
        for (run, (done, not_done)) in by_run {
            runtime.emit(None, Some(lane), &RunEvent::Recovered { run, done, not_done })?;
        }
    }
    Ok(())
}

/// Identities whose last effects cannot be told by looking.
pub(crate) fn unknown(runtime: &Runtime, lane: &Lane) -> Result<Vec<Identity>, RunError> {
    let open = runtime.store.open_intents(lane)?;
    let unknown: BTreeSet<Identity> = open
        .iter()
        .filter(|intent| needs_a_person(intent))
        .flat_map(|intent| intent.changes.iter().map(|change| change.identity.clone()))
        .collect();
    Ok(unknown.into_iter().collect())
}

pub(crate) fn needs_a_person(intent: &Intent) -> bool {
    intent.effects.iter().any(|effect| effect.after_crash == AfterCrash::Ask)
}

async fn look(
    runtime: &Runtime,
    lane: &Lane,
    open: &[Intent],
) -> Result<(Snapshot, BTreeMap<Kind, KindInfo>), RunError> {
    let changes: Vec<&IntentChange> = open.iter().flat_map(|intent| &intent.changes).collect();
    let mut providers: BTreeMap<String, Arc<dyn Provider>> = BTreeMap::new();
    let mut subjects: BTreeMap<Identity, Subject> = BTreeMap::new();
    for change in changes {
        let kind = &change.address.resource.kind;
        if !providers.contains_key(kind.plugin()) {
            let provider = runtime.plugins.provider(kind.plugin(), &lane.target).await?;
            providers.insert(kind.plugin().to_owned(), provider);
        }
        let fields = change
            .entry
            .as_ref()
            .map(|entry| tidelock_plan::observe::managed(&entry.applied, None, &[]))
            .unwrap_or_default();
        subjects.entry(change.identity.clone()).or_insert_with(|| Subject {
            identity: change.identity.clone(),
            kind: kind.clone(),
            handle: change.entry.as_ref().and_then(|entry| entry.handle.clone()),
            fields,
            commands: change.entry.as_ref().map(|entry| commands(&entry.applied)).unwrap_or_default(),
        });
    }
    let subjects: Vec<Subject> = subjects.into_values().collect();
    let kinds = kinds_of(&providers).await?;
    Ok((observe(&providers, &subjects).await?, kinds))
}

/// What is now known of an intent, by looking.
fn settle(mut intent: Intent, snapshot: &Snapshot, kinds: &BTreeMap<Kind, KindInfo>) -> Settled {
    let changes = intent
        .changes
        .iter_mut()
        .map(|change| {
            let info = kinds.get(&change.address.resource.kind);
            told(change, snapshot.get(&change.identity), info)
        })
        .collect();
    Settled { intent, changes }
}

fn told(change: &mut IntentChange, seen: Option<&Observation>, info: Option<&KindInfo>) -> (String, Option<String>) {
    let end = |end: &str, why: &str| (end.to_owned(), Some(why.to_owned()));
    // That a command was run cannot be seen on its resource; what asked for it stays due.
    if change.action == Action::Trigger {
        return end("failed", "interrupted; it is to be done again");
    }
    match (seen, &mut change.entry) {
        (Some(Observation::Absent { .. }), None) => end("done", "interrupted; found done"),
        (Some(Observation::Absent { .. }), Some(_)) => end("not-begun", "interrupted; found not done"),
        (Some(Observation::Present { observed, .. }), Some(entry)) => {
            if tidelock_plan::diff::fields(&entry.applied, observed, info, &[]).is_empty() {
                return end("done", "interrupted; found done");
            }
            if !matches!(change.action, Action::Create | Action::Replace) {
                return end("not-begun", "interrupted; found not done");
            }
            // What was begun is ours, even half done: the next plan completes it as an update.
            partly(entry, observed);
            end("done", "interrupted; found partly done, to be completed")
        }
        (Some(Observation::Present { .. }), None) => end("not-begun", "interrupted; found not done"),
        _ => end("unknown", "interrupted; it could not be seen what came of it"),
    }
}

/// Brings the ledger's line to what is there, as far as the line goes.
fn partly(entry: &mut InventoryEntry, observed: &serde_json::Value) {
    if let (Some(applied), Some(observed)) = (entry.applied.as_object_mut(), observed.as_object()) {
        for (key, value) in applied.iter_mut() {
            if let Some(there) = observed.get(key) {
                *value = there.clone();
            }
        }
    }
}
