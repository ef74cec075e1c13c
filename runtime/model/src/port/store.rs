//! What the loop remembers.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::Rendered;
use crate::digest::Digest;
use crate::event::{RunEvent, StoredEvent};
use crate::hold::{Hold, Pin, Undo};
use crate::inventory::{Claim, InventoryEntry};
use crate::name::{Identity, Lane, Name};
use crate::plan::{Plan, Wait};
use crate::plugin::PluginRef;
use crate::revision::{Revision, Stale, Trouble};
use crate::run::{Approval, HistoryLine, Intent, Run, Status, Trigger};

/// What is wrong with the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// A stable word: `newer`, `foreign`, `busy`, `fenced`, `corrupt`, `full`, `read-only`,
    /// `invalid` (a write that cannot be right: a fault of ours), `io`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What mends it.
    pub hint: Option<String>,
}

/// The right to apply to a lane or a target, for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is for: `lane:...` or `target:...`.
    pub key: String,
    /// Grows with each holder. Writes under an old one are refused.
    pub token: u64,
}

/// Who has a lease, or had it when their process died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// What it is for: `lane:...`, `target:...`, `daemon`, ...
    pub key: String,
    /// Who took it.
    pub who: String,
    /// Their process.
    pub pid: u64,
    /// Whether the process id means something here: the same machine, boot and container.
    pub here: bool,
    /// Whether it is certain that the process is gone.
    pub dead: bool,
    /// Since when.
    pub since: Timestamp,
    /// When it ends, unless it is renewed.
    pub until: Timestamp,
}

impl Holder {
    /// Whether the lease still counts.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> bool {
        !self.dead && now < self.until
    }
}

/// Who, which process, and where.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.here { "" } else { " of another machine or container" };
        write!(f, "{} (process {}{place})", self.who, self.pid)
    }
}

/// What the store knows of a lane.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneRecord {
    /// The lane.
    pub lane: Lane,
    /// Where it stands.
    pub status: Status,
    /// Why, in a sentence.
    pub why: Option<String>,
    /// The last revision that was applied whole.
    pub applied: Option<Revision>,
    /// The last revision that was planned.
    pub planned: Option<Revision>,
    /// The plugins of the last finished run with effects.
    pub plugins: Vec<PluginRef>,
    /// Whether a run has finished here.
    pub contacted: bool,
    /// When it was last looked at.
    pub seen: Option<Timestamp>,
    /// The last run.
    pub last_run: Option<String>,
    /// Since when `status` is what it is.
    pub since: Option<Timestamp>,
    /// Digest of the last plan: what an approval binds.
    pub digest: Option<Digest>,
    /// Why the last plan waits, one for each reason.
    pub waits: Vec<Wait>,
    /// Passes that failed one after the other, up to now.
    pub attempts: u32,
    /// When the next try is due, after a failure.
    pub retry_at: Option<Timestamp>,
    /// Id of the revision at which the stack's checks last passed here.
    pub checked: Option<String>,
}

impl LaneRecord {
    /// A lane that nothing is known of yet.
    #[must_use]
    pub fn unknown(lane: Lane) -> Self {
        Self {
            lane,
            status: Status::Unknown,
            why: None,
            applied: None,
            planned: None,
            plugins: vec![],
            contacted: false,
            seen: None,
            last_run: None,
            since: None,
            digest: None,
            waits: vec![],
            attempts: 0,
            retry_at: None,
            checked: None,
        }
    }
}

/// Where a lane stands, in short: what others of its stack wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStanding {
    /// The target.
    pub target: Name,
    /// Where it stands.
    pub status: Status,
    /// Why, in a sentence.
    pub why: Option<String>,
    /// Id of the last revision that was applied whole.
    pub applied: Option<String>,
    /// Id of the last revision that was planned or tried.
    pub planned: Option<String>,
    /// Id of the revision at which the stack's checks last passed.
    pub checked: Option<String>,
}

/// What a tag or commit stood for when a stack's module was last read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownModule {
    /// A tag's full name, or a commit's id.
    pub rev: String,
    /// What it stood for.
    pub revision: Revision,
    /// The commit that the tag was seen to stand for since, where that is another one.
    pub moved: Option<String>,
}

/// A filter for events and history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this stack.
    pub stack: Option<String>,
    /// Only on this target.
    pub target: Option<String>,
    /// Only addresses that hold this text.
    pub address: Option<String>,
    /// Only of this run.
    pub run: Option<String>,
    /// At most so many, the newest; of events after a number, the oldest.
    pub limit: Option<usize>,
    /// Only events after the one with this number.
    pub after: Option<u64>,
}

/// What a run remembers. Each method is one transaction. Blocking; calls are short.
pub trait Store: Send + Sync {
    /// Takes a lease, or says who holds it. A holder that is known to be dead, or whose
    /// time is up, does not count.
    ///
    /// # Errors
    /// `busy`, naming the holder and since when.
    fn lease(&self, key: &str, who: &str, ttl_ms: u64) -> Result<Lease, StoreError>;

    /// Keeps a lease for another while.
    ///
    /// # Errors
    /// `fenced`: somebody else has it now.
    fn renew(&self, lease: &Lease, ttl_ms: u64) -> Result<(), StoreError>;

    /// Gives a lease back. One that is already another's is left alone.
    ///
    /// # Errors
    /// The store cannot be written.
    fn release(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Leases that were not given back, sorted by key; those of the dead, and those whose
    /// time is up, too.
    ///
    /// # Errors
    /// The store cannot be read.
    fn holders(&self) -> Result<Vec<Holder>, StoreError>;

    /// What is known of a lane.
    ///
    /// # Errors
    /// The store cannot be read.
    fn lane(&self, lane: &Lane) -> Result<Option<LaneRecord>, StoreError>;

    /// Every lane, sorted.
    ///
    /// # Errors
    /// The store cannot be read.
    fn lanes(&self) -> Result<Vec<LaneRecord>, StoreError>;

    /// Where the lanes of a stack stand.
    ///
    /// # Errors
    /// The store cannot be read.
    fn standings(&self, source: &Name, stack: &Name) -> Result<Vec<LaneStanding>, StoreError>;

    /// Writes what is known of a lane.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_lane(&self, record: &LaneRecord) -> Result<(), StoreError>;

    /// Keeps that lanes were looked at, and nothing new was seen; in one write for many.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_seen(&self, lanes: &[Lane], at: Timestamp) -> Result<(), StoreError>;

    /// Forgets a lane, its claims, and what is kept of it as it was. What it owns stays in
    /// the inventory.
    ///
    /// # Errors
    /// The store cannot be written.
    fn drop_lane(&self, lane: &Lane) -> Result<(), StoreError>;

    /// The fingerprint that was last seen of a target.
    ///
    /// # Errors
    /// The store cannot be read.
    fn fingerprint(&self, target: &Name) -> Result<Option<String>, StoreError>;

    /// Keeps a target's fingerprint.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_fingerprint(&self, target: &Name, fingerprint: &str) -> Result<(), StoreError>;

    /// Forgets a target's fingerprint: the next system under its name is the first.
    ///
    /// # Errors
    /// The store cannot be written.
    fn drop_fingerprint(&self, target: &Name) -> Result<(), StoreError>;

    /// The revision in force for a source.
    ///
    /// # Errors
    /// The store cannot be read.
    fn revision(&self, source: &Name) -> Result<Option<Revision>, StoreError>;

    /// Keeps the revision in force for a source.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_revision(&self, revision: &Revision) -> Result<(), StoreError>;

    /// The revisions that modules of a source's stacks are read from, sorted; with `used`
    /// only those that a stack names now.
    ///
    /// # Errors
    /// The store cannot be read.
    fn modules(&self, source: &Name, used: bool) -> Result<Vec<KnownModule>, StoreError>;

    /// Keeps what a module's revision stands for, and that a stack names it.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_module(&self, source: &Name, module: &KnownModule) -> Result<(), StoreError>;

    /// Notes which of them stacks name now.
    ///
    /// # Errors
    /// The store cannot be written.
    fn use_modules(&self, source: &Name, revs: &[String]) -> Result<(), StoreError>;

    /// Since when a source cannot be asked, where that is so.
    ///
    /// # Errors
    /// The store cannot be read.
    fn stale(&self, source: &Name) -> Result<Option<Stale>, StoreError>;

    /// Keeps since when a source cannot be asked; `None` where it answers.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_stale(&self, source: &Name, stale: Option<&Stale>) -> Result<(), StoreError>;

    /// What the last looks at a source found wrong; empty where nobody looked.
    ///
    /// # Errors
    /// The store cannot be read.
    fn trouble(&self, source: &Name) -> Result<Trouble, StoreError>;

    /// Keeps what the last looks at a source found wrong.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_trouble(&self, source: &Name, trouble: &Trouble) -> Result<(), StoreError>;

    /// Drops what is older or more than the store keeps, a part of it at each call: events,
    /// plans, and of runs that ended what is not needed any more. Whether something is left.
    ///
    /// # Errors
    /// The store cannot be written.
    fn tidy(&self, now: Timestamp) -> Result<bool, StoreError>;

    /// What we own on a target, all stacks, sorted by identity.
    ///
    /// # Errors
    /// The store cannot be read.
    fn inventory(&self, target: &Name) -> Result<Vec<InventoryEntry>, StoreError>;

    /// The identities that a lane owns, sorted.
    ///
    /// # Errors
    /// The store cannot be read.
    fn identities(&self, lane: &Lane) -> Result<Vec<Identity>, StoreError>;

    /// The paths of files that resources of a lane put as texts of their own, sorted.
    ///
    /// # Errors
    /// The store cannot be read.
    fn texts(&self, lane: &Lane) -> Result<Vec<String>, StoreError>;

    /// Replaces the claims of some (source, stack, target) at a revision.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_claims(&self, lane: &Lane, revision: &str, claims: &[Claim]) -> Result<(), StoreError>;

    /// All claims on a target.
    ///
    /// # Errors
    /// The store cannot be read.
    fn claims(&self, target: &Name) -> Result<Vec<Claim>, StoreError>;

    /// Begins a run.
    ///
    /// # Errors
    /// The store cannot be written.
    fn begin_run(&self, run: &Run) -> Result<(), StoreError>;

    /// Ends a run. One that is done spends the approvals that [`spend_approvals`](Self::spend_approvals)
    /// would, with the same write.
    ///
    /// # Errors
    /// The store cannot be written.
    fn end_run(&self, run: &Run) -> Result<(), StoreError>;

    /// Makes intents durable, and the triggers that they notify due, under a lease.
    ///
    /// # Errors
    /// `fenced` where the lease is gone.
    fn put_intents(&self, lease: &Lease, intents: &[Intent]) -> Result<(), StoreError>;

    /// Settles intents: outcomes, the ledger's lines and history, in one transaction.
    /// `settled` names for each change of the intent what is now known: `done`, `failed`,
    /// `unknown` or `not-begun`. Only `done` changes the ledger; triggers of an intent
    /// that was `not-begun` are cancelled.
    ///
    /// # Errors
    /// `fenced` where the lease is gone.
    fn settle(&self, lease: &Lease, at: Timestamp, settled: &[Settled]) -> Result<(), StoreError>;

    /// Puts the ledger back to where it was before what a run did under a guard that took it back, in one
    /// transaction with history and with how the run ended; says how many changes that were, none where it
    /// is known already. What was struck out is ours again, and what was made is ours no more, unless it
    /// is among what is `left`, or nobody knows what is (`None`): then it may be there still. Lines that were
    /// written since stay.
    ///
    /// # Errors
    /// The store cannot be written.
    fn take_back(&self, at: Timestamp, run: &str, left: Option<&[Identity]>, why: &str) -> Result<usize, StoreError>;

    /// Intents of a lane that were never settled.
    ///
    /// # Errors
    /// The store cannot be read.
    fn open_intents(&self, lane: &Lane) -> Result<Vec<Intent>, StoreError>;

    /// Triggers that are due in a lane, sorted, once each.
    ///
    /// # Errors
    /// The store cannot be read.
    fn due_triggers(&self, lane: &Lane) -> Result<Vec<Trigger>, StoreError>;

    /// Runs, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    fn runs(&self, filter: &Filter) -> Result<Vec<Run>, StoreError>;

    /// What was done to resources, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    fn history(&self, filter: &Filter) -> Result<Vec<HistoryLine>, StoreError>;

    /// Adds an event. Numbers have no gaps, except where a copy of the store was put back.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_event(
        &self,
        at: Timestamp,
        run: Option<&str>,
        lane: Option<&Lane>,
        event: &RunEvent,
    ) -> Result<u64, StoreError>;

    /// Adds events that were told together, in their order: all of them or none.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_events(
        &self,
        at: Timestamp,
        run: Option<&str>,
        lane: Option<&Lane>,
        events: &[RunEvent],
    ) -> Result<(), StoreError>;

    /// Events, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    fn events(&self, filter: &Filter) -> Result<Vec<StoredEvent>, StoreError>;

    /// Keeps a plan by its digest.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_plan(&self, at: Timestamp, plan: &Plan) -> Result<(), StoreError>;

    /// A plan by its digest.
    ///
    /// # Errors
    /// The store cannot be read.
    fn plan(&self, digest: &Digest) -> Result<Option<Plan>, StoreError>;

    /// Keeps an approval.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_approval(&self, approval: &Approval) -> Result<(), StoreError>;

    /// Approvals of a lane's digest that count: neither spent nor revoked.
    ///
    /// # Errors
    /// The store cannot be read.
    fn approvals(&self, digest: &Digest) -> Result<Vec<Approval>, StoreError>;

    /// Spends what was said of a lane's digest, and of those under which a run of the lane has begun:
    /// what it was about is done, or no more to be done.
    ///
    /// # Errors
    /// The store cannot be written.
    fn spend_approvals(&self, lane: &Lane, digest: &Digest) -> Result<(), StoreError>;

    /// Revokes each yes to what was planned of a stack, on one target or on all. A no stands.
    ///
    /// # Errors
    /// The store cannot be written.
    fn revoke_approvals(&self, source: &Name, stack: &Name, target: Option<&Name>) -> Result<(), StoreError>;

    /// Holds that nobody ended, oldest first; those whose time is up too. Those of the
    /// file `STOP` beside the store come first, with the id [`Hold::FILE`].
    ///
    /// # Errors
    /// The store cannot be read.
    fn holds(&self) -> Result<Vec<Hold>, StoreError>;

    /// Keeps a hold, durably, and gives it its id; the one that it comes with does not count.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_hold(&self, hold: &Hold) -> Result<u64, StoreError>;

    /// Ends a hold, and says whether it was open. One that has ended is left as it is.
    ///
    /// # Errors
    /// The store cannot be written.
    fn end_hold(&self, id: u64, at: Timestamp, who: &str) -> Result<bool, StoreError>;

    /// Pins, sorted by source and stack; those whose time is up too.
    ///
    /// # Errors
    /// The store cannot be read.
    fn pins(&self) -> Result<Vec<Pin>, StoreError>;

    /// Pins a stack; an older pin of it is replaced.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_pin(&self, pin: &Pin) -> Result<(), StoreError>;

    /// Ends the pin of a stack, and says whether there was one.
    ///
    /// # Errors
    /// The store cannot be written.
    fn drop_pin(&self, source: &Name, stack: &Name) -> Result<bool, StoreError>;

    /// Resources that are kept as they were, sorted by address.
    ///
    /// # Errors
    /// The store cannot be read.
    fn undos(&self) -> Result<Vec<Undo>, StoreError>;

    /// Keeps a resource as it was; what was kept of it before is replaced.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_undo(&self, undo: &Undo) -> Result<(), StoreError>;

    /// Lets a resource follow Git again, and says whether it did not.
    ///
    /// # Errors
    /// The store cannot be written.
    fn drop_undo(&self, target: &Name, identity: &Identity) -> Result<bool, StoreError>;

    /// The ledger's newest line of an identity that is still known, also where it was
    /// struck out since; with `before`, the newest from before that run.
    ///
    /// # Errors
    /// The store cannot be read.
    fn last_entry(
        &self,
        target: &Name,
        identity: &Identity,
        before: Option<&str>,
    ) -> Result<Option<InventoryEntry>, StoreError>;

    /// What a stack's own policies were when they were last shown in a plan: the ones
    /// that count until a newer one was shown too.
    ///
    /// # Errors
    /// The store cannot be read.
    fn shown_policy(&self, lane: &Lane) -> Result<Option<Value>, StoreError>;

    /// Keeps the policies that a plan has shown.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_shown_policy(&self, lane: &Lane, policy: &Value) -> Result<(), StoreError>;

    /// A kept render by key: what it read, and what it gave.
    ///
    /// # Errors
    /// The store cannot be read.
    fn render(&self, key: &Digest) -> Result<Option<Rendered>, StoreError>;

    /// Keeps a render. The store bounds how many are kept.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_render(&self, key: &Digest, rendered: &Rendered) -> Result<(), StoreError>;

    /// Contents that are kept for undo.
    ///
    /// # Errors
    /// The store cannot be read.
    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps a content for undo.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_blob(&self, digest: &Digest, content: &[u8]) -> Result<(), StoreError>;
}

/// What is now known of an intent.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The intent.
    pub intent: Intent,
    /// One for each change of the intent: `done`, `failed`, `unknown`, `not-begun`, and why.
    pub changes: Vec<(String, Option<String>)>,
}
