//! Letting resources be: they leave the ledger, and nothing is done to them.
//!
//! It takes the store alone, so what cannot be reached any more can be forgotten too.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::digest::Digest;
use tidelock_model::event::RunEvent;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::name::{Address, Identity, Lane, Name};
use tidelock_model::plan::{Action, Cause};
use tidelock_model::port::{LaneRecord, Settled, Store};
use tidelock_model::run::{Intent, IntentChange, Run, RunEnd, Status};

use crate::counting;
use crate::error::RunError;
use crate::read::nearest;
use crate::run::Leases;
use crate::runtime::Runtime;
use crate::select::patterns;
use crate::why::Meant;

/// What is to be forgotten.
#[derive(Clone, Copy)]
pub enum Forget<'a> {
    /// Resources, one by one.
    Resources(Meant<'a>),
    /// All that a stack owns, on targets that are meant by name or glob; empty is all.
    Stack(&'a Name, &'a [String]),
    /// All that is owned on a target, and what is known of it.
    Target(&'a Name),
}

/// A lane, and what of it is forgotten.
#[derive(Debug, Clone, PartialEq)]
pub struct Forgetting {
    /// The lane.
    pub lane: Lane,
    /// The lines of the ledger that go.
    pub entries: Vec<InventoryEntry>,
    /// Whether the lane itself is forgotten.
    pub whole: bool,
    /// Whether the next plan will look for them again: the lane is not orphaned.
    pub wanted: bool,
    record: Option<LaneRecord>,
}

/// What would be forgotten.
///
/// # Errors
/// Nothing is known of what is meant.
pub fn forgettable(runtime: &Runtime, what: Forget<'_>) -> Result<Vec<Forgetting>, RunError> {
    crate::confirm::learned(runtime)?;
    let store = runtime.store.as_ref();
    let records: BTreeMap<Lane, LaneRecord> =
        store.lanes()?.into_iter().map(|record| (record.lane.clone(), record)).collect();
    let mut owned: BTreeMap<Lane, Vec<InventoryEntry>> = BTreeMap::new();
    for target in known_targets(runtime, &records, what) {
        for entry in store.inventory(&target)? {
            owned.entry(entry.address.lane()).or_default().push(entry);
        }
    }
    for lane in records.keys() {
        owned.entry(lane.clone()).or_default();
    }
    let globs = match what {
        Forget::Stack(_, targets) => patterns(targets)?,
        _ => Vec::new(),
    };
    let mut out = Vec::new();
    for (lane, mut entries) in owned {
        let whole = match what {
            Forget::Resources(is_meant) => {
                entries.retain(|entry| is_meant(&entry.address, &entry.identity));
                false
            }
            Forget::Stack(name, _) => {
                let on = globs.is_empty() || globs.iter().any(|glob| glob.is_match(lane.target.as_str()));
                *name == lane.stack && on
            }
            Forget::Target(target) => *target == lane.target,
        };
        if !whole && (entries.is_empty() || !matches!(what, Forget::Resources(_))) {
            continue;
        }
        let record = records.get(&lane).cloned();
        let declared = runtime.config.targets.contains_key(&lane.target);
        let wanted = declared && record.as_ref().is_some_and(|record| record.status != Status::Orphaned);
        out.push(Forgetting { lane, entries, whole, wanted, record });
    }
    if out.is_empty() {
        return Err(nothing(what, &records));
    }
    Ok(out)
}

fn known_targets(runtime: &Runtime, records: &BTreeMap<Lane, LaneRecord>, what: Forget<'_>) -> BTreeSet<Name> {
    let mut targets: BTreeSet<Name> = runtime.config.targets.keys().cloned().collect();
    targets.extend(records.keys().map(|lane| lane.target.clone()));
    if let Forget::Target(target) = what {
        targets.insert(target.clone());
    }
    targets
}

fn nothing(what: Forget<'_>, records: &BTreeMap<Lane, LaneRecord>) -> RunError {
    let (message, near) = match what {
        Forget::Resources(_) => ("no such resource is ours".to_owned(), None),
        Forget::Stack(name, _) => {
            let stacks = records.keys().map(|lane| lane.stack.as_str());
            (format!("nothing is known of a stack {name} there"), nearest(name.as_str(), stacks))
        }
        Forget::Target(name) => {
            let targets = records.keys().map(|lane| lane.target.as_str());
            (format!("nothing is known of a target {name}"), nearest(name.as_str(), targets))
        }
    };
    let hint =
        near.map_or_else(|| "`tidelock status` shows what is known".to_owned(), |near| format!("did you mean {near}?"));
    RunError::selection(message, Some(hint))
}

/// Forgets, by a person's word: a run that releases and performs nothing.
///
/// # Errors
/// Somebody else is at work there, or the store cannot be written.
pub async fn forget(runtime: &Runtime, all: &[Forgetting], who: &str) -> Result<(), RunError> {
    let lanes: Vec<&Lane> = all.iter().map(|one| &one.lane).collect();
    let leases = Leases::wait(runtime, &lanes, who).await?;
    for one in all {
        if !one.entries.is_empty() {
            released(runtime, &leases, one, who)?;
        }
        if one.whole {
            runtime.store.drop_lane(&one.lane)?;
            still_there(runtime, one)?;
        } else {
            reopened(runtime, one)?;
        }
    }
    let targets: BTreeSet<&Name> = lanes.iter().map(|lane| &lane.target).collect();
    for target in targets {
        let left = runtime.store.lanes()?.iter().any(|record| record.lane.target == *target);
        if !left && runtime.store.inventory(target)?.is_empty() && !runtime.config.targets.contains_key(target) {
            runtime.store.drop_fingerprint(target)?;
        }
    }
    Ok(())
}

/// A lane that was forgotten, and that Git has as far as anybody knows, is one that nobody looked at.
fn still_there(runtime: &Runtime, one: &Forgetting) -> Result<(), RunError> {
    let Lane { source, target, .. } = &one.lane;
    let declared = runtime.config.sources.contains_key(source) && runtime.config.targets.contains_key(target);
    let was_there = one.record.as_ref().is_some_and(|record| record.status != Status::Orphaned);
    if declared && was_there {
        let why = Some("it was forgotten, and nobody looked since whether Git has it still".to_owned());
        let since = Some(runtime.clock.now());
        runtime.store.put_lane(&LaneRecord { why, since, ..LaneRecord::unknown(one.lane.clone()) })?;
    }
    Ok(())
}

/// What is ours no more may be wanted still, unless a person let it be.
fn reopened(runtime: &Runtime, one: &Forgetting) -> Result<(), RunError> {
    let undos = runtime.store.undos()?;
    let let_be = |entry: &InventoryEntry| {
        undos.iter().any(|undo| undo.let_be && undo.identity == entry.identity && undo.address == entry.address)
    };
    if one.entries.iter().all(let_be) {
        return Ok(());
    }
    counting::reopened(
        runtime,
        &one.lane,
        "what it owned was forgotten, and nobody looked since whether Git has it still",
    )
}

fn released(runtime: &Runtime, leases: &Leases, one: &Forgetting, who: &str) -> Result<(), RunError> {
    let lane = &one.lane;
    let mut run = begun(runtime, one, who);
    let changes: Vec<IntentChange> = one
        .entries
        .iter()
        .map(|entry| IntentChange {
            address: entry.address.clone(),
            identity: entry.identity.clone(),
            action: Action::Release,
            cause: Cause::Config,
            entry: None,
            moved_from: None,
            guarded: false,
        })
        .collect();
    runtime.store.begin_run(&run)?;
    let addresses: Vec<(Address, Identity)> =
        changes.iter().map(|change| (change.address.clone(), change.identity.clone())).collect();
    let intent = Intent { run: run.id.clone(), group: 0, changes, effects: vec![], triggers: vec![] };
    let lease = leases.of(lane)?;
    runtime.store.put_intents(lease, std::slice::from_ref(&intent))?;
    let ends = addresses.iter().map(|_| ("done".to_owned(), None)).collect();
    runtime.store.settle(lease, runtime.clock.now(), &[Settled { intent, changes: ends }])?;
    for (address, _) in addresses {
        run.counts.done += 1;
        let (action, end) = (Action::Release, "done".to_owned());
        runtime.emit(Some(&run.id), Some(lane), &RunEvent::ChangeEnded { address, action, end, why: None })?;
    }
    run.ended = Some(runtime.clock.now());
    run.end = Some(RunEnd::Done);
    runtime.store.end_run(&run)?;
    let event = RunEvent::Ended { end: RunEnd::Done, counts: run.counts };
    Ok(runtime.emit(Some(&run.id), Some(lane), &event)?)
}

/// A run at what was applied last. Where nothing is known of that any more, the ledger
/// still names the commit.
fn begun(runtime: &Runtime, one: &Forgetting, who: &str) -> Run {
    let lane = &one.lane;
    let ids: Vec<String> = one.entries.iter().map(|entry| entry.identity.to_string()).collect();
    let digest = Digest::of_parts(ids.iter().map(String::as_bytes));
    let last = one.record.as_ref().and_then(|record| record.applied.as_ref().or(record.planned.as_ref()));
    if let Some(revision) = last {
        return crate::run::run_at(runtime, revision, lane, digest, who, Some(who.to_owned()));
    }
    let revision = one.entries.first().map(|entry| entry.revision.clone()).unwrap_or_default();
    Run { revision, ..crate::run::run_at_nothing(runtime, lane, digest, who, Some(who.to_owned())) }
}

/// Whether a text is the name of a stack that is known.
///
/// # Errors
/// The store cannot be read.
pub fn is_stack(store: &dyn Store, text: &str) -> Result<bool, RunError> {
    Ok(store.lanes()?.iter().any(|record| record.lane.stack.as_str() == text))
}
