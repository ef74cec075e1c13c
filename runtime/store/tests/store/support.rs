//! Values to store, and stores to put them in.

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use tidelock_model::digest::Digest;
use tidelock_model::effect::{AfterCrash, Effect, EffectBody};
use tidelock_model::inventory::{InventoryEntry, Origin};
use tidelock_model::name::{Address, Identity, Lane, Name};
use tidelock_model::plan::{Action, Cause};
use tidelock_model::plugin::PluginRef;
use tidelock_model::port::{Lease, Settled, Store, StoreError};
use tidelock_model::revision::{Revision, Signature};
use tidelock_model::run::{Intent, IntentChange, Run, RunCounts, Trigger};
use tidelock_store::SqliteStore;

/// A folder with room for a store, removed at the end.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) path: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tidelock.db");
        Self { dir, path }
    }

    pub(crate) fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path).unwrap()
    }

    /// The file as another program sees it, to change what the port would not.
    pub(crate) fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(&self.path).unwrap()
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn lane(text: &str) -> Lane {
    let (source, rest) = text.split_once(':').unwrap();
    let (stack, target) = rest.split_once('@').unwrap();
    Lane { source: name(source), stack: name(stack), target: name(target) }
}

pub(crate) fn address(text: &str) -> Address {
    text.parse().unwrap()
}

pub(crate) fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub(crate) fn plugin() -> PluginRef {
    PluginRef { name: "server".into(), version: "0.1.0".into(), digest: Digest::of(b"component") }
}

pub(crate) fn revision(id: &str) -> Revision {
    Revision {
        source: name("infra"),
        id: id.to_owned(),
        wanted: "main".into(),
        author: "Ann <ann@example.com>".into(),
        committer: "Ben <ben@example.com>".into(),
        at: at(0),
        subject: "greet the moon".into(),
        signature: Signature::Verified { signer: "ann@example.com".into(), key: "SHA256:abc".into() },
    }
}

pub(crate) fn run(id: &str, lane: &Lane) -> Run {
    Run {
        id: id.to_owned(),
        lane: lane.clone(),
        began: at(1),
        ended: None,
        end: None,
        who: "ann".into(),
        revision: "c0ffee".into(),
        author: "Ann <ann@example.com>".into(),
        signer: Some("ann@example.com".into()),
        approver: None,
        digest: Digest::of(id.as_bytes()),
        counts: RunCounts::default(),
        fault: None,
    }
}

pub(crate) fn entry(address: &Address, identity: &str, run: &str) -> InventoryEntry {
    InventoryEntry {
        address: address.clone(),
        identity: Identity::new(identity),
        plugin: plugin(),
        spec_version: 0,
        handle: None,
        applied: json!({ "path": identity, "content": { "sha256": Digest::of(identity.as_bytes()), "size": 12 }, "mode": "0644" }),
        withheld: std::collections::BTreeMap::new(),
        requires: vec![Identity::new("path:/etc")],
        provides: vec![],
        needs: vec![],
        protect: false,
        on_remove: None,
        holds_data: false,
        origin: Origin::Created,
        run: run.to_owned(),
        revision: "c0ffee".into(),
    }
}

/// A change that leaves `entry` behind, or nothing.
pub(crate) fn change(address: &Address, identity: &str, action: Action, entry: Option<InventoryEntry>) -> IntentChange {
    IntentChange {
        address: address.clone(),
        identity: Identity::new(identity),
        action,
        cause: Cause::Revision,
        entry,
        moved_from: None,
        guarded: false,
    }
}

pub(crate) fn effect(address: &Address, identity: &str) -> Effect {
    Effect {
        resource: address.resource.clone(),
        identity: Identity::new(identity),
        plugin: "server".into(),
        body: EffectBody::Remove { path: identity.trim_start_matches("path:").into(), tree: false },
        precondition: None,
        after_crash: AfterCrash::Observe,
        together: None,
        inverse: None,
        inside: vec![],
    }
}

/// An intent for one change, with one effect.
pub(crate) fn intent(run: &str, group: u32, change: IntentChange) -> Intent {
    let effects = vec![effect(&change.address, change.identity.as_str())];
    Intent { run: run.to_owned(), group, changes: vec![change], effects, triggers: vec![] }
}

/// An intent to create a file with the number `n`.
pub(crate) fn create(run: &str, lane: &Lane, n: u32) -> Intent {
    let address = address(&format!("{}:{}:server.file/f{n}@{}", lane.source, lane.stack, lane.target));
    let identity = format!("path:/srv/f{n:05}");
    let entry = entry(&address, &identity, run);
    intent(run, n, change(&address, &identity, Action::Create, Some(entry)))
}

pub(crate) fn trigger(to: &Address, from: &str) -> Trigger {
    Trigger { to: to.clone(), ask: "run".into(), from: from.parse().unwrap() }
}

/// What is now known of an intent: the same of each of its changes.
pub(crate) fn settled(intent: &Intent, outcome: &str) -> Settled {
    Settled { intent: intent.clone(), changes: vec![(outcome.to_owned(), None); intent.changes.len()] }
}

/// A lane with a run that has begun, under a lease.
pub(crate) fn begin(store: &SqliteStore, run_id: &str, lane: &Lane) -> Lease {
    store.begin_run(&run(run_id, lane)).unwrap();
    store.lease(&format!("lane:{lane}"), "a test", 60_000).unwrap()
}

/// Puts and settles intents in one go.
pub(crate) fn apply(store: &SqliteStore, lease: &Lease, intents: &[Intent], outcome: &str) {
    store.put_intents(lease, intents).unwrap();
    let known: Vec<Settled> = intents.iter().map(|intent| settled(intent, outcome)).collect();
    store.settle(lease, at(2), &known).unwrap();
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    result.unwrap_err().code
}

/// This test binary, to run one of its own tests in another process.
pub(crate) fn again(test: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command
}

/// Runs one of our tests as a process of its own, after `mounts` has changed what `dir`
/// is, in a mount namespace that ends with it. `None` where this user may not do that.
pub(crate) fn again_with_mounts(test: &str, dir: &std::path::Path, mounts: &str) -> Option<std::process::Output> {
    let unshare = || {
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c"]).env("TIDELOCK_TEST_DIR", dir);
        command
    };
    let probe = unshare().arg("mount -t tmpfs tmpfs \"$TIDELOCK_TEST_DIR\"").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let child = again(test);
    let script = format!("{mounts} && exec \"$@\"");
    Some(unshare().arg(script).arg("sh").arg(child.get_program()).args(child.get_args()).output().unwrap())
}
