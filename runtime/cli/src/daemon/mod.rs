//! The daemon behind `tidelock run`, and how other commands reach it.
//!
//! The loop itself is `tidelock_reconcile::driver`; here is what belongs to the process:
//! signals ([`signals`]), the socket ([`socket`]), what systemd hears ([`notify`]), and what
//! goes to the log ([`heard`]), and what is shown over HTTP ([`http`]). Commands write what they have to say into the store, where
//! it counts whether a daemon runs or not, and then [`wake`] one if there is one.

mod client;
mod heard;
mod http;
mod notify;
mod signals;
mod socket;
mod wire;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tidelock_model::name::{Lane, Name};
use tidelock_model::port::{Lease, Store};
use tidelock_reconcile::Runtime;
use tidelock_reconcile::driver::{Driver, DriverOptions, Handle, Signal};
use tidelock_server::Server;
use tidelock_server::metrics::Metrics;
use tidelock_store::SqliteStore;
use tidelock_target::Watches;

pub(crate) use client::wake;

use crate::config::{self, Loaded};
use crate::context::Context;
use crate::error::{CliError, Kind};
use heard::Heard;
use notify::Systemd;

/// The lease that says which daemon is the one of a store.
const ALONE: &str = tidelock_reconcile::DAEMON;

/// How long that lease lasts without the daemon's pulse. A daemon that is known to be dead
/// does not hold it at all.
const ALONE_MS: u64 = 60_000;

/// Threads that passes run on, at most, where there are not as many processors.
const MOST_THREADS: usize = 16;

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Directories that are watched at most where the config does not say.
const WATCHES: u32 = 8192;

/// How long threads that hang may keep the process from ending.
const LEAVE: Duration = Duration::from_secs(2);

/// Runs until a signal ends it.
pub(crate) fn run(context: &Context) -> Result<(), CliError> {
    let loaded = load(context)?;
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let (told, watches) = watches(&loaded);
    let store = Arc::new(SqliteStore::open(&loaded.store())?);
    let runtime = crate::wire::over(&loaded, Arc::new(Heard(Arc::clone(&metrics))), store, watches.as_ref())?;
    let alone = Alone::take(&runtime, &loaded)?;
    let sources: Vec<&str> = loaded.config.sources.keys().map(Name::as_str).collect();
    tracing::info!(
        config = %loaded.file.display(), store = %loaded.store().display(), sources = sources.join(", "),
        targets = loaded.config.targets.len(), "looks after the sources of this config"
    );
    // Passes wait for the disk in calls that block; with as many threads they wait together.
    let threads = options(&loaded).lanes_at_once.clamp(processors(), MOST_THREADS.max(processors()));
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Kind::Io, format!("cannot start threads: {error}")))?;
    let parts = Parts { runtime, alone, metrics, told, watches };
    let ended = tokio.block_on(serve(context, &loaded, &parts));
    // A look that hangs on a dead file system must not keep us.
    tokio.shutdown_timeout(LEAVE);
    ended
}

/// What a daemon is made of.
struct Parts {
    runtime: Runtime,
    alone: Alone,
    metrics: Arc<Metrics>,
    /// Where the watches find the loop.
    told: Arc<OnceLock<Handle>>,
    watches: Option<Arc<Watches>>,
}

/// What watches machines between looks, where the config and the system let it.
fn watches(loaded: &Loaded) -> (Arc<OnceLock<Handle>>, Option<Arc<Watches>>) {
    let told: Arc<OnceLock<Handle>> = Arc::default();
    let most = loaded.config.daemon.watches.unwrap_or(WATCHES) as usize;
    if most == 0 {
        return (told, None);
    }
    let heard = Arc::clone(&told);
    let tell = move |lane: &Lane| {
        // Where many signals wait the hint is dropped: the next look finds what there is.
        if let Some(handle) = heard.get()
            && !handle.hint(Signal::Touched(lane.clone()))
        {
            tracing::debug!(%lane, "a change of files was passed over");
        }
    };
    match Watches::start(most, tell) {
        Ok(watches) => (told, Some(Arc::new(watches))),
        Err(error) => {
            tracing::warn!(%error, "files are not watched; what changes is found by the next look");
            (told, None)
        }
    }
}

async fn serve(context: &Context, loaded: &Loaded, parts: &Parts) -> Result<(), CliError> {
    let Parts { runtime, alone, metrics, told, .. } = parts;
    let systemd = Arc::new(Systemd::from_environment());
    let (driver, handle) = Driver::new(runtime, options(loaded));
    // Nobody else sets it.
    drop(told.set(handle.clone()));
    let http = http::open(loaded, runtime, &handle, Arc::clone(metrics)).await?.map(Arc::new);
    let socket = socket::listen(&loaded.socket(), handle.clone(), runtime)?;
    let mut driving = tokio::spawn(driver.run());
    let pulse = tokio::spawn(beating(handle.clone(), Arc::clone(&systemd), http.clone(), alone.clone()));
    let ended = tokio::select! {
        ended = &mut driving => ended,
        signalled = signals::follow(context, loaded, parts, &handle, &systemd, http.as_deref()) => {
            let mut ending = signalled?;
            tokio::select! {
                ended = &mut driving => ended,
                () = ending.told() => {
                    return Err(CliError::new(Kind::Io, "told to end a second time, and left at once")
                        .hint("what was under way is settled at the next start"));
                }
            }
        }
    };
    pulse.abort();
    systemd.stopping();
    drop((socket, http));
    match ended {
        Ok(ended) => Ok(ended?),
        Err(broken) => Err(CliError::new(Kind::Store, format!("the loop broke off, by a fault of ours: {broken}"))
            .hint("what was under way is settled at the next start; please report this with the log")),
    }
}

/// Hands the loop's pulse on: to systemd's watchdog, to whoever asks over HTTP, and to the
/// lease that keeps a second daemon away. A loop that hangs gives no pulse, and then all of
/// them notice.
async fn beating(mut handle: Handle, systemd: Arc<Systemd>, http: Option<Arc<Server>>, alone: Alone) {
    let mut ready = false;
    while let Some(pulse) = handle.beat().await {
        if !std::mem::replace(&mut ready, true) {
            systemd.ready();
        }
        systemd.alive(&pulse);
        if let Some(http) = &http {
            http.alive(&pulse);
        }
        if !alone.keep() {
            // Somebody else is the daemon of this store now; two must not act.
            handle.send(Signal::Drain).await;
        }
    }
}

/// Reads the config, and refuses one that lies in a repository that is planned.
fn load(context: &Context) -> Result<Loaded, CliError> {
    let loaded = context.config()?;
    for source in loaded.config.sources.values() {
        config::refuse_inside(&loaded, &source.url, context.global.trust_worktree, context.ci)?;
    }
    if loaded.config.sources.is_empty() {
        return Err(CliError::new(Kind::Config, format!("{} declares no source", loaded.file.display()))
            .hint("add one:\n[sources.infra]\nurl = \"https://git.example.com/infra.git\""));
    }
    Ok(loaded)
}

fn options(loaded: &Loaded) -> DriverOptions {
    let decl = &loaded.config.daemon;
    let usual = DriverOptions::default();
    let deadline = decl.deadline.as_ref().and_then(|text| text.parse::<jiff::SignedDuration>().ok());
    DriverOptions {
        lanes_at_once: decl.lanes_at_once.map_or(usual.lanes_at_once, usize::from),
        deadline_ms: deadline.and_then(|it| u64::try_from(it.as_millis()).ok()).unwrap_or(usual.deadline_ms),
        pid: std::process::id(),
    }
}

/// Being the one daemon of a store.
#[derive(Clone)]
struct Alone(Arc<Held>);

struct Held {
    store: Arc<dyn Store>,
    lease: Lease,
}

impl Alone {
    fn take(runtime: &Runtime, loaded: &Loaded) -> Result<Self, CliError> {
        let store = Arc::clone(&runtime.store);
        let lease = store.lease(ALONE, "tidelock run", ALONE_MS).map_err(|error| {
            if error.code != "busy" {
                return error.into();
            }
            let message = format!("a daemon runs on {} already: {}", loaded.store().display(), error.message);
            CliError::new(Kind::Store, message)
                .hint("one daemon looks after all lanes of a store; end that one, or give this one a store of its own")
        })?;
        Ok(Self(Arc::new(Held { store, lease })))
    }

    /// Keeps it for another while. False where it is somebody else's now.
    fn keep(&self) -> bool {
        match self.0.store.renew(&self.0.lease, ALONE_MS) {
            Err(error) if error.code == "fenced" => {
                tracing::error!(%error, "another daemon has this store now");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "the daemon's lease was not renewed");
                true
            }
            Ok(()) => true,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = self.store.release(&self.lease) {
            tracing::warn!(%error, "the daemon's lease was not given back");
        }
    }
}
