//! The port, method by method, each with the durability that it needs.

use jiff::Timestamp;
use serde_json::Value;
use tidelock_model::digest::Digest;
use tidelock_model::event::{RunEvent, StoredEvent};
use tidelock_model::hold::{Hold, Pin, Undo};
use tidelock_model::inventory::{Claim, InventoryEntry};
use tidelock_model::name::{Identity, Lane, Name};
use tidelock_model::plan::Plan;
use tidelock_model::port::{
    Filter, Holder, KnownModule, LaneRecord, LaneStanding, Lease, Rendered, Settled, Store, StoreError,
};
use tidelock_model::revision::{Revision, Stale, Trouble};
use tidelock_model::run::{Approval, HistoryLine, Intent, Run, RunEnd, Trigger};

use crate::door::Durability::{Now, Soon};
use crate::{
    SqliteStore, approvals, claims, contents, events, history, holds, intents, inventory, known, leases, modules,
    plans, retention, runs, settle, sources, stop_file, taken_back, triggers, undos,
};

impl Store for SqliteStore {
    // A token that a power cut takes back would be given out twice.
    fn lease(&self, key: &str, who: &str, ttl_ms: u64) -> Result<Lease, StoreError> {
        self.write(Now, |tx| leases::take(tx, key, who, ttl_ms))
    }

    // After a power cut the holder is dead, whatever its time was.
    fn renew(&self, lease: &Lease, ttl_ms: u64) -> Result<(), StoreError> {
        self.write(Soon, |tx| leases::renew(tx, lease, ttl_ms))
    }

    fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.write(Soon, |tx| leases::release(tx, lease))
    }

    fn holders(&self) -> Result<Vec<Holder>, StoreError> {
        self.read(leases::holders)
    }

    fn lane(&self, lane: &Lane) -> Result<Option<LaneRecord>, StoreError> {
        self.read(|connection| known::lane(connection, lane))
    }

    fn lanes(&self) -> Result<Vec<LaneRecord>, StoreError> {
        self.read(known::lanes)
    }

    fn standings(&self, source: &Name, stack: &Name) -> Result<Vec<LaneStanding>, StoreError> {
        self.read(|connection| known::standings(connection, source, stack))
    }

    fn put_lane(&self, record: &LaneRecord) -> Result<(), StoreError> {
        self.write(Now, |tx| known::put_lane(tx, record))
    }

    // Nothing rests on it: after a power cut the lane is looked at anew.
    fn put_seen(&self, lanes: &[Lane], at: Timestamp) -> Result<(), StoreError> {
        self.write(Soon, |tx| known::put_seen(tx, lanes, at))
    }

    fn drop_lane(&self, lane: &Lane) -> Result<(), StoreError> {
        self.write(Now, |tx| known::drop_lane(tx, lane))
    }

    fn fingerprint(&self, target: &Name) -> Result<Option<String>, StoreError> {
        self.read(|connection| known::fingerprint(connection, target))
    }

    fn put_fingerprint(&self, target: &Name, fingerprint: &str) -> Result<(), StoreError> {
        self.write(Now, |tx| known::put_fingerprint(tx, target, fingerprint))
    }

    fn drop_fingerprint(&self, target: &Name) -> Result<(), StoreError> {
        self.write(Now, |tx| known::drop_fingerprint(tx, target))
    }

    fn revision(&self, source: &Name) -> Result<Option<Revision>, StoreError> {
        self.read(|connection| sources::revision(connection, source))
    }

    fn put_revision(&self, revision: &Revision) -> Result<(), StoreError> {
        self.write(Now, |tx| sources::put_revision(tx, revision))
    }

    fn stale(&self, source: &Name) -> Result<Option<Stale>, StoreError> {
        self.read(|connection| sources::stale(connection, source))
    }

    fn put_stale(&self, source: &Name, stale: Option<&Stale>) -> Result<(), StoreError> {
        self.write(Soon, |tx| sources::put_stale(tx, source, stale))
    }

    fn trouble(&self, source: &Name) -> Result<Trouble, StoreError> {
        self.read(|connection| sources::trouble(connection, source))
    }

    // The next look finds it again.
    fn put_trouble(&self, source: &Name, trouble: &Trouble) -> Result<(), StoreError> {
        self.write(Soon, |tx| sources::put_trouble(tx, source, trouble))
    }

    // What comes back after a power cut is dropped again.
    fn tidy(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.write(Soon, |tx| retention::tidy(tx, now))
    }

    fn identities(&self, lane: &Lane) -> Result<Vec<Identity>, StoreError> {
        self.read(|connection| inventory::identities(connection, lane))
    }

    fn texts(&self, lane: &Lane) -> Result<Vec<String>, StoreError> {
        self.read(|connection| inventory::texts(connection, lane))
    }

    fn inventory(&self, target: &Name) -> Result<Vec<InventoryEntry>, StoreError> {
        self.read(|connection| inventory::on(connection, target))
    }

    // Each pass gives them again.
    fn put_claims(&self, lane: &Lane, revision: &str, claims: &[Claim]) -> Result<(), StoreError> {
        self.write(Soon, |tx| claims::put(tx, lane, revision, claims))
    }

    fn claims(&self, target: &Name) -> Result<Vec<Claim>, StoreError> {
        self.read(|connection| claims::on(connection, target))
    }

    // The intents that rely on it flush it with them.
    fn begin_run(&self, run: &Run) -> Result<(), StoreError> {
        self.write(Soon, |tx| runs::begin(tx, run))
    }

    fn end_run(&self, run: &Run) -> Result<(), StoreError> {
        self.write(Now, |tx| {
            runs::end(tx, run)?;
            match run.end {
                Some(RunEnd::Done) => approvals::spend(tx, &run.lane, &run.digest),
                _ => Ok(()),
            }
        })
    }

    fn put_intents(&self, lease: &Lease, intents: &[Intent]) -> Result<(), StoreError> {
        self.write(Now, |tx| {
            leases::require_in_time(tx, lease)?;
            intents.iter().try_for_each(|intent| intents::put(tx, intent).map(|_| ()))
        })
    }

    fn settle(&self, lease: &Lease, at: Timestamp, settled: &[Settled]) -> Result<(), StoreError> {
        self.write(Now, |tx| {
            leases::require(tx, lease)?;
            settled.iter().try_for_each(|settled| settle::settle(tx, at, settled))
        })
    }

    // Asked by every look, and nearly always known already.
    fn take_back(&self, at: Timestamp, run: &str, left: Option<&[Identity]>, why: &str) -> Result<usize, StoreError> {
        if self.read(|connection| taken_back::open(connection, run, left))?.is_empty() {
            return Ok(0);
        }
        self.write(Now, |tx| taken_back::take_back(tx, at, run, left, why))
    }

    fn open_intents(&self, lane: &Lane) -> Result<Vec<Intent>, StoreError> {
        self.read(|connection| intents::open(connection, lane))
    }

    fn due_triggers(&self, lane: &Lane) -> Result<Vec<Trigger>, StoreError> {
        self.read(|connection| triggers::due(connection, lane))
    }

    fn runs(&self, filter: &Filter) -> Result<Vec<Run>, StoreError> {
        self.read(|connection| runs::list(connection, filter))
    }

    fn history(&self, filter: &Filter) -> Result<Vec<HistoryLine>, StoreError> {
        self.read(|connection| history::lines(connection, filter))
    }

    fn put_event(
        &self,
        at: Timestamp,
        run: Option<&str>,
        lane: Option<&Lane>,
        event: &RunEvent,
    ) -> Result<u64, StoreError> {
        self.write(Soon, |tx| events::add(tx, at, run, lane, event))
    }

    fn put_events(
        &self,
        at: Timestamp,
        run: Option<&str>,
        lane: Option<&Lane>,
        events: &[RunEvent],
    ) -> Result<(), StoreError> {
        self.write(Soon, |tx| events.iter().try_for_each(|event| events::add(tx, at, run, lane, event).map(|_| ())))
    }

    fn events(&self, filter: &Filter) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(|connection| events::list(connection, filter))
    }

    // Evidence, made again by each pass; an approval of it flushes it too.
    fn put_plan(&self, at: Timestamp, plan: &Plan) -> Result<(), StoreError> {
        self.write(Soon, |tx| plans::put(tx, at, plan))
    }

    fn plan(&self, digest: &Digest) -> Result<Option<Plan>, StoreError> {
        self.read(|connection| plans::get(connection, digest))
    }

    fn put_approval(&self, approval: &Approval) -> Result<(), StoreError> {
        self.write(Now, |tx| approvals::put(tx, approval))
    }

    fn approvals(&self, digest: &Digest) -> Result<Vec<Approval>, StoreError> {
        self.read(|connection| approvals::of(connection, digest))
    }

    fn spend_approvals(&self, lane: &Lane, digest: &Digest) -> Result<(), StoreError> {
        self.write(Now, |tx| approvals::spend(tx, lane, digest))
    }

    fn revoke_approvals(&self, source: &Name, stack: &Name, target: Option<&Name>) -> Result<(), StoreError> {
        self.write(Now, |tx| approvals::revoke(tx, source, stack, target))
    }

    fn holds(&self) -> Result<Vec<Hold>, StoreError> {
        let mut holds = self.stop_file().map(|file| stop_file::holds(&file)).unwrap_or_default();
        holds.extend(self.read(holds::open)?);
        Ok(holds)
    }

    fn put_hold(&self, hold: &Hold) -> Result<u64, StoreError> {
        self.write(Now, |tx| holds::put(tx, hold))
    }

    fn end_hold(&self, id: u64, at: Timestamp, who: &str) -> Result<bool, StoreError> {
        self.write(Now, |tx| holds::end(tx, id, at, who))
    }

    fn modules(&self, source: &Name, used: bool) -> Result<Vec<KnownModule>, StoreError> {
        self.read(|connection| modules::all(connection, source, used))
    }

    fn put_module(&self, source: &Name, module: &KnownModule) -> Result<(), StoreError> {
        self.write(Now, |tx| modules::put(tx, source, module))
    }

    // Asked for again at the next poll.
    fn use_modules(&self, source: &Name, revs: &[String]) -> Result<(), StoreError> {
        self.write(Soon, |tx| modules::mark_used(tx, source, revs))
    }

    fn pins(&self) -> Result<Vec<Pin>, StoreError> {
        self.read(holds::pins)
    }

    fn put_pin(&self, pin: &Pin) -> Result<(), StoreError> {
        self.write(Now, |tx| holds::put_pin(tx, pin))
    }

    fn drop_pin(&self, source: &Name, stack: &Name) -> Result<bool, StoreError> {
        self.write(Now, |tx| holds::drop_pin(tx, source, stack))
    }

    fn undos(&self) -> Result<Vec<Undo>, StoreError> {
        self.read(undos::all)
    }

    fn put_undo(&self, undo: &Undo) -> Result<(), StoreError> {
        self.write(Now, |tx| undos::put(tx, undo))
    }

    fn drop_undo(&self, target: &Name, identity: &Identity) -> Result<bool, StoreError> {
        self.write(Now, |tx| undos::end(tx, target, identity))
    }

    fn last_entry(
        &self,
        target: &Name,
        identity: &Identity,
        before: Option<&str>,
    ) -> Result<Option<InventoryEntry>, StoreError> {
        self.read(|connection| undos::last_entry(connection, target, identity, before))
    }

    fn shown_policy(&self, lane: &Lane) -> Result<Option<Value>, StoreError> {
        self.read(|connection| known::shown_policy(connection, lane))
    }

    fn put_shown_policy(&self, lane: &Lane, policy: &Value) -> Result<(), StoreError> {
        self.write(Now, |tx| known::put_shown_policy(tx, lane, policy))
    }

    fn render(&self, key: &Digest) -> Result<Option<Rendered>, StoreError> {
        self.read(|connection| contents::render(connection, key))
    }

    // A cache.
    fn put_render(&self, key: &Digest, rendered: &Rendered) -> Result<(), StoreError> {
        self.write(Soon, |tx| contents::put_render(tx, key, rendered))
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|connection| contents::blob(connection, digest))
    }

    // The intent that overwrites the content on the target flushes it too.
    fn put_blob(&self, digest: &Digest, content: &[u8]) -> Result<(), StoreError> {
        self.write(Soon, |tx| contents::put_blob(tx, digest, content))
    }
}

impl SqliteStore {
    /// The revision at which each lane on a target last gave its claims: a prune waits
    /// for lanes that are behind.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn claims_given_at(&self, target: &Name) -> Result<Vec<(Lane, String)>, StoreError> {
        self.read(|connection| claims::given_at(connection, target))
    }
}
