//! The ports: what the loop needs of the outside world. Adapters live in
//! `source`, `host`, `target` and `store`; fakes in tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::digest::Digest;
use crate::effect::Effect;
use crate::error::{Diagnostic, Fault};
use crate::event::{RunEvent, StoredEvent};
use crate::inventory::{Claim, InventoryEntry};
use crate::kind::{Checked, ProviderInfo, RendererInfo};
use crate::name::{Address, Identity, Kind, Lane, Name};
use crate::observation::{Observation, Subject};
use crate::plan::{Action, Group, Plan, Preview};
use crate::plugin::PluginRef;
use crate::reads::Read;
use crate::resource::RenderedDoc;
use crate::revision::{Revision, SourceNotice};
use crate::run::{Approval, HistoryLine, Intent, Outcome, Run, Status, Trigger};

// ---- source ---------------------------------------------------------------

/// What is wrong with a source, by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// A stable word: `unreachable`, `timeout`, `auth`, `ref-gone`, `rewritten`, `unverified`,
    /// `corrupt`, `too-large`, `path`, `symlink`, `submodule`, `lfs`, `not-found`, `limit`, `io`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What mends it.
    pub hint: Option<String>,
    /// Whether the next poll may succeed.
    pub retryable: bool,
}

impl SourceError {
    /// An error that another try does not mend.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), hint: None, retryable: false }
    }

    /// Adds what mends it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Marks it as worth another try.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }
}

/// One name of a directory in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// The last part of the path.
    pub name: String,
    /// Stands for the content: Git's object id, or a digest of a work tree's file.
    pub id: String,
    /// Bytes; 0 for directories.
    pub size: u64,
    /// Whether it is a directory.
    pub dir: bool,
}

impl TreeEntry {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.dir
    }
}

/// The files of a revision. Paths are from the root, without a leading slash; "" is
/// the root. Every path component has been validated; links, submodules and LFS
/// pointers are errors. Cheap to ask again: directories are kept once read.
pub trait Tree: Send + Sync {
    /// What is at a path.
    ///
    /// # Errors
    /// Objects are missing or corrupt, or a rule of the source is broken there.
    fn entry(&self, path: &str) -> Result<Option<TreeEntry>, SourceError>;

    /// The names of a directory in byte order.
    ///
    /// # Errors
    /// As [`Tree::entry`].
    fn list(&self, path: &str) -> Result<Option<Vec<TreeEntry>>, SourceError>;

    /// A file's content.
    ///
    /// # Errors
    /// As [`Tree::entry`]; also `too-large` past the source's blob limit.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError>;

    /// SHA-256 and size of a file's content, without keeping it.
    ///
    /// # Errors
    /// As [`Tree::read`].
    fn digest(&self, path: &str) -> Result<Option<(Digest, u64)>, SourceError>;

    /// Files below `dir` that match a pattern, relative to `dir`, in byte order. Passes
    /// over nested stacks (a directory with a `stack.yaml`, other than `dir`) and names
    /// that start with a dot.
    ///
    /// # Errors
    /// As [`Tree::entry`]; `invalid` for a pattern that cannot be read.
    fn glob(&self, dir: &str, pattern: &str) -> Result<Vec<String>, SourceError>;

    /// Every directory that holds a `stack.yaml`, in byte order. Names that start with
    /// a dot are passed over.
    ///
    /// # Errors
    /// As [`Tree::entry`].
    fn stacks(&self) -> Result<Vec<String>, SourceError>;
}

/// What to take from a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// What the operator's config names.
    Configured,
    /// A branch, tag or commit, in the operator's stead.
    Rev(String),
    /// The files of the work tree, committed or not.
    Worktree,
}

/// A revision in force and its files.
#[derive(Clone)]
pub struct Fetched {
    /// The revision.
    pub revision: Revision,
    /// Its files.
    pub tree: Arc<dyn Tree>,
    /// What an operator should know.
    pub notices: Vec<SourceNotice>,
}

/// A Git repository and ref.
#[async_trait]
pub trait Source: Send + Sync {
    /// Fetches, verifies and opens. `last` is the revision in force, which stays in force
    /// when the tip does not verify or Git is out of reach.
    ///
    /// # Errors
    /// No revision can be had.
    async fn fetch(&self, want: &Want, last: Option<&Revision>) -> Result<Fetched, SourceError>;
}

// ---- plugins ----------------------------------------------------------------

/// All that a render may depend on.
#[derive(Clone)]
pub struct RenderInputs {
    /// The files.
    pub tree: Arc<dyn Tree>,
    /// The module's directory.
    pub module: String,
    /// The stack's `settings:`; an object.
    pub settings: Value,
    /// The merged values.
    pub values: Value,
    /// The target's name.
    pub target: Name,
    /// The target's labels.
    pub labels: BTreeMap<String, String>,
    /// Facts that the operator's config names.
    pub facts: BTreeMap<String, Value>,
}

/// What a render gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// Resources, not yet read.
    pub docs: Vec<RenderedDoc>,
    /// Every question that was asked, once.
    pub reads: Vec<Read>,
}

/// Why a render or a plugin call gave nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PluginError {
    /// Git says something that cannot be rendered.
    #[error("{} problem(s) in the desired state", .0.len())]
    Problems(Vec<Diagnostic>),
    /// The call failed: a trap, a limit, a denial, or the plugin's own error.
    #[error("{0}")]
    Fault(Fault),
}

impl From<Fault> for PluginError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A renderer plugin.
#[async_trait]
pub trait Renderer: Send + Sync {
    /// Name, version and digest.
    fn plugin(&self) -> &PluginRef;

    /// Its description.
    ///
    /// # Errors
    /// The call failed.
    async fn describe(&self) -> Result<RendererInfo, Fault>;

    /// Renders. A pure function of `inputs`.
    ///
    /// # Errors
    /// Problems in the files, or the call failed.
    async fn render(&self, inputs: &RenderInputs) -> Result<Rendered, PluginError>;
}

/// A resource as it goes to a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// `kind/name`.
    pub address: String,
    /// The kind.
    pub kind: Kind,
    /// The spec, contents replaced and defaults filled in.
    pub spec: Value,
}

/// A change that a provider finds effects for.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRequest {
    /// Where.
    pub address: Address,
    /// What it is on its target.
    pub identity: Identity,
    /// The kind.
    pub kind: Kind,
    /// What is to become of it: create, update, replace, delete, take-over or trigger.
    pub action: Action,
    /// The normalised desired spec.
    pub desired: Option<Value>,
    /// The observed spec.
    pub observed: Option<Value>,
    /// What was last applied.
    pub last: Option<Value>,
    /// The target's own id.
    pub handle: Option<String>,
    /// Fields that differ.
    pub fields: Vec<String>,
    /// Tokens that `observe` gave.
    pub seen: Vec<String>,
    /// For a trigger: what is asked.
    pub trigger: Option<String>,
    /// Identities beneath this one that may go with it: the strays that the host let through.
    pub beneath: Vec<Identity>,
}

/// What a provider says to one change.
#[derive(Debug, Clone, PartialEq)]
pub enum StepAnswer {
    /// These effects, checked against grant, change and precondition.
    Effects(Vec<Effect>),
    /// These fields can only change with a new resource.
    NeedsReplace(Vec<String>),
    /// Not yet known.
    Waits {
        /// The identity that must be there first.
        on: Identity,
        /// Why.
        why: String,
    },
    /// It cannot be done.
    Refused(Fault),
}

/// A provider plugin, bound to one target and one pass: tokens that its reads gave
/// out are good for its own `steps` alone. Lists of any length may be given; the
/// adapter splits them.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Name, version and digest.
    fn plugin(&self) -> &PluginRef;

    /// Its description.
    ///
    /// # Errors
    /// The call failed.
    async fn describe(&self) -> Result<ProviderInfo, Fault>;

    /// Identities, edges and remarks; no reads. In the order of the question.
    ///
    /// # Errors
    /// The call failed, or the answer does not fit the question.
    async fn check(&self, resources: &[Declared]) -> Result<Vec<Checked>, Fault>;

    /// Spells each spec as the target would. In the order of the question.
    ///
    /// # Errors
    /// The call failed, or the answer does not fit the question.
    async fn normalise(&self, resources: &[Declared]) -> Result<Vec<Result<Value, Fault>>, Fault>;

    /// Looks. In the order of the question.
    ///
    /// # Errors
    /// The call failed, or the answer does not fit the question.
    async fn observe(&self, subjects: &[Subject]) -> Result<Vec<Observation>, Fault>;

    /// Proposes. In the order of the question.
    ///
    /// # Errors
    /// The call failed, a proposal was refused, or the answer does not fit the question.
    async fn steps(&self, changes: &[StepRequest]) -> Result<Vec<StepAnswer>, Fault>;
}

/// The room of plugins.
#[async_trait]
pub trait Plugins: Send + Sync {
    /// A renderer by the name that stacks use.
    ///
    /// # Errors
    /// Unknown, not accepted in the lock, or not loadable.
    async fn renderer(&self, name: &str) -> Result<Arc<dyn Renderer>, Fault>;

    /// A provider for one pass over a target.
    ///
    /// # Errors
    /// As [`Plugins::renderer`]; also where the target cannot be opened.
    async fn provider(&self, name: &str, target: &Name) -> Result<Arc<dyn Provider>, Fault>;
}

// ---- targets ----------------------------------------------------------------

/// Contents by digest.
pub trait Blobs: Send + Sync {
    /// The content with a digest.
    ///
    /// # Errors
    /// Not known, or not readable.
    fn read(&self, digest: &Digest) -> Result<Vec<u8>, Fault>;
}

/// Hands on one target.
#[async_trait]
pub trait Target: Send + Sync {
    /// What tells this system from another under the same name: its machine-id.
    ///
    /// # Errors
    /// The target is gone or unreadable.
    async fn fingerprint(&self) -> Result<String, Fault>;

    /// What an effect would look like. Reads only.
    ///
    /// # Errors
    /// The target or a content cannot be read.
    async fn preview(&self, effect: &Effect, blobs: &dyn Blobs) -> Result<Preview, Fault>;

    /// Performs groups that do not depend on each other; one outcome for each, in order,
    /// and all durable when it returns. Checks each effect's grant and precondition again.
    async fn perform(&self, run: &str, groups: &[Group], blobs: &dyn Blobs) -> Vec<Outcome>;

    /// Removes what an interrupted `perform` left beside the paths of these effects.
    ///
    /// # Errors
    /// The target cannot be read.
    async fn sweep(&self, effects: &[Effect]) -> Result<usize, Fault>;
}

/// The room of targets.
pub trait Targets: Send + Sync {
    /// A target by name, with all grants on it.
    ///
    /// # Errors
    /// Unknown, or a grant that cannot be read.
    fn target(&self, name: &Name) -> Result<Arc<dyn Target>, Fault>;
}

// ---- store ------------------------------------------------------------------

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
    /// At most so many, the newest.
    pub limit: Option<usize>,
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

    /// Writes what is known of a lane.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put_lane(&self, record: &LaneRecord) -> Result<(), StoreError>;

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

    /// What we own on a target, all stacks, sorted by identity.
    ///
    /// # Errors
    /// The store cannot be read.
    fn inventory(&self, target: &Name) -> Result<Vec<InventoryEntry>, StoreError>;

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

    /// Ends a run.
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

    /// Adds an event. Numbers have no gaps.
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

    /// Approvals of a lane's digest.
    ///
    /// # Errors
    /// The store cannot be read.
    fn approvals(&self, digest: &Digest) -> Result<Vec<Approval>, StoreError>;

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

// ---- everything else ----------------------------------------------------------

/// The time, so that tests own it.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Waits.
    fn sleep(&self, ms: u64) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Who listens to a run.
pub trait Listener: Send + Sync {
    /// Takes an event, as it happens. Must not block.
    fn event(&self, run: Option<&str>, lane: Option<&Lane>, event: &RunEvent);
}
