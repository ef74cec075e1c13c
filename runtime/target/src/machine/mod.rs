//! A machine: files and commands of the system that this process runs on, all of it
//! or the part below a root.
//!
//! Start at [`Machine::open`]. Reads are in `look`, `command` runs programs, and
//! `perform` is the only module that writes. `folder` is all that the others know of a
//! file system: directories as handles and one name at a time, so that no path, link
//! or race leads out of the root. Paths are absolute as the target sees them.

pub(crate) mod before;
mod cap;
mod command;
mod fault;
mod fingerprint;
mod folder;
mod look;
mod names;
mod perform;
mod preview;
mod sweep;
mod temporary;
mod walk;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::ToSocketAddrs as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidelock_model::config::TargetDecl;
use tidelock_model::effect::{Effect, EffectBody, PathState};
use tidelock_model::error::Fault;
use tidelock_model::grant::Grant;
use tidelock_model::name::Name;
use tidelock_model::network::NetworkEffect;
use tidelock_model::observation::SecretProbe;
use tidelock_model::plan::{Group, Preview};
use tidelock_model::port::{Blobs, Guard, Guards, Target, Until};
use tidelock_model::run::Outcome;
use tidelock_model::secret::SecretValue;

pub use self::command::Ended;
use self::command::Order;
use self::folder::{Folder as _, Opened};
pub use self::watch::Watches;
use crate::blocking;
use crate::network::{self, GuardHelper, Namespace, Network};

/// How a machine is looked at and written. Sizes are bytes, times milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineOptions {
    /// Whether `perform` returns only once all is durable. Off: faster, for tests and play.
    pub fsync: bool,
    /// Threads that look at long lists.
    pub threads: usize,
    /// Threads that wait for the disk. More than processors: the disk gathers them.
    pub sync_threads: usize,
    /// The largest file that is digested.
    pub largest: u64,
    /// What is kept of each output of a command.
    pub output: usize,
    /// The time that the command of `validate` may take.
    pub validate_ms: u32,
    /// Staged files that are renamed together; a larger atomic group is still one.
    pub batch: usize,
    /// How guards are started; without it there are none.
    pub guards: Option<GuardHelper>,
    /// A folder of Tidelock's own for what nft makes of rulesets; without it each run asks anew.
    pub rulesets: Option<PathBuf>,
}

impl Default for MachineOptions {
    fn default() -> Self {
        Self {
            fsync: true,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get().min(4)),
            sync_threads: 16,
            largest: 4 << 30,
            output: 64 << 10,
            validate_ms: 60_000,
            batch: 4096,
            guards: None,
            rulesets: None,
        }
    }
}

/// A machine with the grants on it. See the module. Cheap to clone.
#[derive(Clone)]
pub struct Machine {
    name: Name,
    root: Arc<Opened>,
    /// The root's path on this system, without links.
    real: Arc<PathBuf>,
    /// Whether there is a root other than `/`.
    below: bool,
    grants: Arc<BTreeMap<String, Grant>>,
    network: Network,
    options: MachineOptions,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub state: PathState,
    /// Bytes of a file or of a link's text, else 0.
    pub size: u64,
}

impl Machine {
    /// Opens a machine. Everything later happens below the directory that `root` names now.
    ///
    /// # Errors
    /// The root is missing, no directory, or not readable.
    pub fn open(
        name: &Name,
        decl: &TargetDecl,
        grants: Vec<Grant>,
        options: MachineOptions,
    ) -> Result<Arc<Self>, Fault> {
        let root = decl.root.as_deref().unwrap_or("/");
        let failed = |error: std::io::Error| {
            let message = format!("target {name}: {}", fault::io("open the root", root, &error).message);
            fault::fault("root", message)
                .hint(format!("make the directory {root}, or change `root` of [targets.{name}]"))
        };
        let real = std::fs::canonicalize(root).map_err(failed)?;
        let folder = Opened::open_root(&real).map_err(failed)?;
        let below = real != std::path::Path::new("/");
        let grants = Arc::new(grants.into_iter().map(|grant| (grant.plugin().to_owned(), grant)).collect());
        let namespace = match &decl.netns {
            Some(netns) => Namespace::named(netns).map_err(|mut fault| {
                fault.message = format!("target {name}: {}", fault.message);
                fault
            })?,
            None => Namespace::own(),
        };
        let notes = options.guards.as_ref().map(|helper| helper.folder.join("anew").join(name.as_str()));
        let network = Network::new(namespace).keeping(options.rulesets.clone()).noting(notes).kept_by(decl.persist);
        let (root, real) = (Arc::new(folder), Arc::new(real));
        Ok(Arc::new(Self { name: name.clone(), root, real, below, grants, network, options }))
    }

    /// The target's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What a plugin may do here; `None` where nothing was granted to it.
    #[must_use]
    pub fn grant(&self, plugin: &str) -> Option<&Grant> {
        self.grants.get(plugin)
    }

    /// Runs a command that only looks: unprivileged where this process may change who
    /// it is, with an environment of our own. The caller has decided on the grant. The
    /// whole process group is killed after `timeout_ms` and when the future is dropped.
    ///
    /// # Errors
    /// `not-found`; `timeout`; it cannot be started.
    pub async fn probe(&self, argv: &[String], timeout_ms: u32) -> Result<Ended, Fault> {
        let (cancel, alive) = std::io::pipe().map_err(|error| fault::fault("io", format!("no pipe: {error}")))?;
        let argv = argv.to_vec();
        let root = self.real.to_string_lossy().into_owned();
        let output = self.options.output;
        let namespace = self.network.namespace().clone();
        let report = blocking(move || {
            let order = Order {
                argv: &argv,
                env: &[],
                root: &root,
                start: PathBuf::from("/"),
                timeout: Duration::from_millis(timeout_ms.into()),
                looks: true,
                cancel: Some(cancel),
                output,
            };
            namespace.enter(|| command::run(order))
        })
        .await?;
        drop(alive);
        report.map(|report| report.ended)
    }

    /// Its network, in the namespace that the config names.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// What plugins may do here, by plugin.
    #[must_use]
    pub fn grants(&self) -> Arc<BTreeMap<String, Grant>> {
        Arc::clone(&self.grants)
    }

    fn guard_helper(&self) -> Result<GuardHelper, Fault> {
        let none = || fault::fault("unsupported", format!("target {} has no guards", self.name));
        self.options.guards.clone().ok_or_else(none)
    }

    fn root(&self) -> Arc<Opened> {
        Arc::clone(&self.root)
    }
}

/// Runs a check's command: without further privileges, and with nothing of a target's.
///
/// # Errors
/// It did not end with 0, or not in time.
pub(crate) fn check(argv: &[String], timeout: Duration) -> Result<(), Fault> {
    let (start, output) = (PathBuf::from("/"), MachineOptions::default().output);
    command::run(Order { argv, env: &[], root: "/", start, timeout, looks: true, cancel: None, output })?.check(argv)
}

/// Guards are the system's, and asked without any of its targets.
impl GuardHelper {
    /// See [`tidelock_model::port::Targets::guards`].
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn listed(&self) -> Result<Guards, Fault> {
        network::listed(&self.folder)
    }

    /// See [`tidelock_model::port::Targets::confirm`].
    ///
    /// # Errors
    /// The guard's file cannot be renamed.
    pub fn confirm(&self, target: &Name, id: &str) -> Result<bool, Fault> {
        network::confirm(&self.folder, target, id)
    }
}

#[async_trait]
impl Target for Machine {
    async fn fingerprint(&self) -> Result<String, Fault> {
        let machine = self.clone();
        blocking(move || fingerprint::read(&machine)).await?
    }

    async fn preview(&self, effect: &Effect, blobs: &dyn Blobs) -> Result<Preview, Fault> {
        let content = preview::content(effect, blobs)?;
        let (machine, effect) = (self.clone(), effect.clone());
        blocking(move || preview::preview(&machine, &effect, content.as_deref())).await?
    }

    async fn without_folder(&self, effects: &[Effect]) -> Result<Vec<(usize, String)>, Fault> {
        let (machine, effects) = (self.clone(), effects.to_vec());
        blocking(move || preview::without_folder(&machine, &effects)).await?
    }

    async fn matches(&self, asked: &[(&SecretProbe, &SecretValue)]) -> Vec<Result<Option<bool>, Fault>> {
        let network = self.network.clone();
        let asked: Vec<_> = asked.iter().map(|(probe, value)| ((*probe).clone(), (*value).clone())).collect();
        let number = asked.len();
        let answers = blocking(move || asked.iter().map(|(probe, value)| network.matches(probe, value)).collect());
        answers.await.unwrap_or_else(|fault| (0..number).map(|_| Err(fault.clone())).collect())
    }

    async fn replaced(&self, effect: &Effect, max: u64) -> Result<Option<Vec<u8>>, Fault> {
        let (machine, effect) = (self.clone(), effect.clone());
        blocking(move || preview::replaced_content(&machine, &effect, max)).await?
    }

    async fn perform(&self, run: &str, groups: &[Group], blobs: &dyn Blobs, until: &Until) -> Vec<Outcome> {
        perform::perform(self, run, groups, blobs, until).await
    }

    async fn touched(&self, effects: &[Effect], host: &str, port: u16) -> Result<Vec<usize>, Fault> {
        // What an effect takes away may be what the way rests on: a table that is replaced by one without
        // hooks, a link that leaves its bridge.
        let each = |effect: &'_ Effect| [Some(effect.body.clone()), effect.inverse.as_deref().cloned()];
        let bodies = effects.iter().enumerate().flat_map(|(place, effect)| each(effect).map(|body| (place, body)));
        let places: Vec<(usize, NetworkEffect)> = bodies
            .filter_map(|(place, body)| match body {
                Some(EffectBody::Network(effect)) => Some((place, effect)),
                _ => None,
            })
            .collect();
        if places.is_empty() {
            return Ok(vec![]);
        }
        let (namespace, host) = (self.network.namespace().clone(), host.to_owned());
        blocking(move || {
            let servers = (host.as_str(), port).to_socket_addrs();
            let unknown = |error| fault::fault("unreachable", format!("{host} has no address: {error}"));
            let servers = servers.map_err(unknown)?;
            let effects: Vec<&NetworkEffect> = places.iter().map(|(_, effect)| effect).collect();
            let mut touched = BTreeSet::new();
            for server in servers {
                touched.extend(network::touched(&namespace, &effects, server.ip())?);
            }
            let touched: BTreeSet<usize> = touched.iter().filter_map(|at| Some(places.get(*at)?.0)).collect();
            Ok(touched.into_iter().collect())
        })
        .await?
    }

    async fn arm(&self, guard: &Guard) -> Result<(), Fault> {
        let (helper, namespace, guard) = (self.guard_helper()?, self.network.namespace().clone(), guard.clone());
        let root = Arc::clone(&self.real);
        blocking(move || network::arm(&helper, &namespace, &root, &guard)).await?
    }

    async fn performed(&self, id: &str) -> Result<(), Fault> {
        let (helper, name, id) = (self.guard_helper()?, self.name.clone(), id.to_owned());
        let namespace = self.network.namespace().clone();
        blocking(move || network::mark(&helper.folder, &namespace, &name, &id)).await?
    }

    async fn call_back(&self, id: &str, why: &str) -> Result<(), Fault> {
        let (helper, name, id, why) = (self.guard_helper()?, self.name.clone(), id.to_owned(), why.to_owned());
        blocking(move || network::call(&helper.folder, &name, &id, &why, None)).await?
    }

    async fn relieve(&self, id: &str) -> Result<(), Fault> {
        let (helper, name, id) = (self.guard_helper()?, self.name.clone(), id.to_owned());
        blocking(move || network::relieve(&helper.folder, &name, &id, None)).await?
    }

    async fn sweep(&self, effects: &[Effect]) -> Result<usize, Fault> {
        let (machine, effects) = (self.clone(), effects.to_vec());
        blocking(move || sweep::sweep(&machine, &effects)).await?
    }
}
