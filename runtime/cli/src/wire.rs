//! Puts the adapters behind the ports: Git, SQLite, machines and Wasm, as the config
//! says. The only place that knows them all.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tidelock_model::config::{OneOrMany, SourceDecl};
use tidelock_model::event::RunEvent;
use tidelock_model::name::{Identity, Lane, Name};
use tidelock_model::port::{Clock, Listener, Secrets, Source, Store, Watch};
use tidelock_reconcile::select::Siblings;
use tidelock_reconcile::{Interrupt, Runtime};
use tidelock_secret::OperatorSecrets;
use tidelock_source::{FetchHelper, GitSource};
use tidelock_store::SqliteStore;
use tidelock_target::{Checks, Watches};

use crate::commands::FETCH_CHILD;
use crate::config::{self, Loaded};
use crate::error::{CliError, Kind};
use crate::estate::{Estate, Opened};
use crate::plugins;

/// Everything that a pass runs on.
pub(crate) fn runtime(loaded: &Loaded, listener: Arc<dyn Listener>) -> Result<Runtime, CliError> {
    over(loaded, listener, Arc::new(SqliteStore::open(&loaded.store())?), None)
}

/// The same over a store that is open, and what watches machines between looks: a config that
/// is read anew changes neither.
pub(crate) fn over(
    loaded: &Loaded,
    listener: Arc<dyn Listener>,
    store: Arc<dyn Store>,
    watches: Option<&Arc<Watches>>,
) -> Result<Runtime, CliError> {
    let secrets = secrets(loaded);
    let estate = Arc::new(Estate::new(loaded, Arc::clone(&secrets)));
    let heard = PluginEvents { store: Arc::clone(&store), listener: Arc::clone(&listener) };
    let plugins = plugins::room(loaded, &estate, Arc::new(heard))?;
    let watching = |watches: &Arc<Watches>| -> Arc<dyn Watch> {
        Arc::new(Watching { watches: Arc::clone(watches), estate: Arc::clone(&estate) })
    };
    Ok(Runtime {
        watch: watches.map(watching),
        lease_ms: config::lease_ms(&loaded.config),
        config: Arc::new(loaded.config.clone()),
        sources: sources(loaded)?,
        plugins,
        targets: estate,
        secrets: Some(secrets),
        checks: Arc::new(Checks),
        store,
        clock: Arc::new(SystemClock),
        listener,
        interrupt: Interrupt::default(),
        looping: false,
        confirm_within_ms: None,
        siblings: Siblings::default(),
    })
}

/// The sources, none of them fetched yet.
pub(crate) fn sources(loaded: &Loaded) -> Result<BTreeMap<Name, Arc<dyn Source>>, CliError> {
    let program = std::env::current_exe().map_err(|error| {
        CliError::new(Kind::Io, format!("cannot find this program, which fetches for itself: {error}"))
    })?;
    let mut sources: BTreeMap<Name, Arc<dyn Source>> = BTreeMap::new();
    for (name, decl) in &loaded.config.sources {
        let helper = FetchHelper { program: program.clone(), args: vec![FETCH_CHILD.to_owned()] };
        let source = GitSource::new(name.clone(), decl, loaded.dir(), &loaded.cache(), helper)?;
        sources.insert(name.clone(), Arc::new(source));
    }
    Ok(sources)
}

/// Where the values of secrets come from, as the config says.
pub(crate) fn secrets(loaded: &Loaded) -> Arc<dyn Secrets> {
    let sources = loaded.config.sources.iter();
    let keys = |source: &SourceDecl| source.decrypt.iter().flat_map(OneOrMany::iter).cloned().collect();
    let decrypt = sources.map(|(name, source)| (name.clone(), keys(source))).collect();
    Arc::new(OperatorSecrets::new(loaded.config.secrets.clone(), decrypt, loaded.secrets_key()))
}

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, CliError> {
    Ok(threads()?.block_on(future))
}

/// The threads that futures run on.
pub(crate) fn threads() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Kind::Io, format!("cannot start threads: {error}")))
}

/// Has machines watched by their names.
struct Watching {
    watches: Arc<Watches>,
    estate: Arc<Estate>,
}

impl Watch for Watching {
    fn watch(&self, lane: &Lane, identities: &[Identity]) {
        match self.estate.open(&lane.target) {
            Ok(Opened::Machine(machine)) => self.watches.watch(lane, &machine, identities),
            // A server tells nobody of its changes; what cannot be opened is said by the look.
            Ok(Opened::Server(..) | Opened::Dns(_)) | Err(_) => self.watches.forget(lane),
        }
    }

    fn leave(&self, lane: &Lane, identities: &[Identity]) {
        self.watches.leave(lane, identities);
    }

    fn add(&self, lane: &Lane, identities: &[Identity]) {
        if let Ok(Opened::Machine(machine)) = self.estate.open(&lane.target) {
            self.watches.add(lane, &machine, identities);
        }
    }
}

/// What plugins say and do wrong: stored like the events of a pass, and logged.
struct PluginEvents {
    store: Arc<dyn Store>,
    listener: Arc<dyn Listener>,
}

impl Listener for PluginEvents {
    fn event(&self, run: Option<&str>, lane: Option<&Lane>, event: &RunEvent) {
        match event {
            RunEvent::PluginLog { plugin, level, message } => tracing::info!(%plugin, %level, "{message}"),
            // Whoever asked is told in the plan; an event keeps it.
            RunEvent::PluginFault { plugin, call, message } => tracing::info!(%plugin, %call, "{message}"),
            _ => {}
        }
        // A debug line is for the plugin's author, who reads the log.
        let kept = !matches!(event, RunEvent::PluginLog { level, .. } if level == "debug");
        if kept && let Err(error) = self.store.put_event(Timestamp::now(), run, lane, event) {
            tracing::warn!(%error, "an event of a plugin was not stored");
        }
        self.listener.event(run, lane, event);
    }
}

/// The clock on the wall.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn uptime(&self) -> u64 {
        tidelock_target::uptime()
    }

    fn sleep(&self, ms: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(Duration::from_millis(ms)))
    }
}
