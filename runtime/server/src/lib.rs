//! What a running daemon shows over HTTP: whether it is well, and figures of its work.
//!
//! ```text
//! listen     sockets: how many, how long, how much of a header
//! route      a request to its answer, without sockets
//! health     /healthz and /readyz
//! metrics    /metrics, counted from the events of the loop
//! webhook    /webhook/SOURCE, a hint that somebody has pushed
//! ```
//!
//! It reads the store through its port and decides nothing. Whoever is at the other end is
//! nobody that we know: what an answer says of trouble is one of our own sentences, and the
//! log has the rest.
//!
//! **Invariant.** Nothing that comes in over HTTP reaches a pass: not a revision, not a
//! lane, not a yes.

mod health;
mod listen;
pub mod metrics;
mod route;
mod webhook;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use tidelock_model::name::Name;
use tidelock_model::port::Store;
use tidelock_reconcile::driver::{Handle, Pulse, Signal};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::health::Life;
use crate::metrics::{Metrics, Watch};
use crate::webhook::Hooks;
pub use crate::webhook::{Hook, Secret};

/// What the listener reads.
pub struct Parts {
    /// Figures, which count whether anybody asks for them or not.
    pub metrics: Arc<Metrics>,
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// What waits to be confirmed.
    pub guards: Box<Watch>,
    /// The loop, which webhooks wake.
    pub handle: Handle,
    /// The sources of the config, each with its webhook where it has one.
    pub sources: BTreeMap<Name, Option<Hook>>,
}

/// An open listener. It closes when this is dropped.
pub struct Server {
    at: SocketAddr,
    site: Arc<Site>,
    accepting: JoinHandle<()>,
}

/// What requests are answered from.
pub(crate) struct Site {
    metrics: Arc<Metrics>,
    store: Arc<dyn Store>,
    guards: Box<Watch>,
    /// Asks the loop to poll a source now. False where it has much to do, or has ended.
    wake: Box<dyn Fn(&Name) -> bool + Send + Sync>,
    /// Whether this machine alone can reach us.
    loopback: bool,
    config: RwLock<Arc<Declared>>,
    life: Life,
}

/// What the config says of sources.
#[derive(Default)]
pub(crate) struct Declared {
    sources: Vec<Name>,
    hooks: Hooks,
}

impl Server {
    /// Opens the listener.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn open(at: SocketAddr, parts: Parts) -> std::io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let at = listener.local_addr()?;
        let site = Arc::new(Site::of(parts, at.ip().is_loopback()));
        let accepting = tokio::spawn(listen::accept(listener, Arc::clone(&site)));
        Ok(Self { at, site, accepting })
    }

    /// Where it listens; the port that was given where any would do.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// The loop has made a turn.
    pub fn alive(&self, pulse: &Pulse) {
        self.site.life.beat(pulse);
    }

    /// The config was read anew.
    pub fn set_sources(&self, sources: BTreeMap<Name, Option<Hook>>) {
        self.site.set_sources(sources);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Site {
    fn of(parts: Parts, loopback: bool) -> Self {
        let Parts { metrics, store, guards, handle, sources } = parts;
        let wake = Box::new(move |source: &Name| handle.hint(Signal::Poll(source.clone())));
        let (config, life) = (RwLock::default(), Life::default());
        let site = Self { metrics, store, guards, wake, loopback, config, life };
        site.set_sources(sources);
        site
    }

    fn set_sources(&self, sources: BTreeMap<Name, Option<Hook>>) {
        let names: Vec<Name> = sources.keys().cloned().collect();
        self.metrics.expect_sources(&names);
        let hooks = sources.into_iter().filter_map(|(name, hook)| Some((name, hook?))).collect();
        let declared = Arc::new(Declared { sources: names, hooks: Hooks::of(hooks) });
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = declared;
    }

    fn declared(&self) -> Arc<Declared> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }
}
