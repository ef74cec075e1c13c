//! `/metrics`: figures of the loop's work, named as Prometheus names them.
//!
//! Counters are fed by [`RunEvent`]s, whether anybody scrapes or not; where lanes stand is
//! read from the store and the guards at each scrape, and what the process takes from the kernel.
//!
//! **Invariant.** The number of series is bounded by the config and by the lanes: sources,
//! stacks, targets and words of ours are labels. Resources, revisions and what a plugin or a
//! repository says are not.

mod lanes;
mod process;

use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::HeaderValue;
use jiff::Timestamp;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;
use tidelock_model::error::Fault;
use tidelock_model::event::RunEvent;
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::{Guards, Listener, Store, StoreError};
use tidelock_model::run::PassEnd;

use self::lanes::Lanes;
use crate::webhook::Came;

/// Reads the guards of this system.
pub type Watch = dyn Fn() -> Result<Guards, Fault> + Send + Sync;

/// What cannot be read of where lanes stand.
#[derive(Debug)]
pub(crate) enum Unread {
    Store(StoreError),
    Guards(Fault),
}

/// Names and values of labels.
type Labels = Vec<(&'static str, String)>;

/// Bounds of the buckets for the time of a pass, in seconds: a look takes milliseconds, an
/// apply with commands minutes.
const PASS_SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What a change can come to, as its event says.
const OUTCOMES: [&str; 4] = ["done", "failed", "skipped", "unknown"];

/// The form in which figures are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text, 0.0.4: what everything reads.
    Text,
    /// OpenMetrics text, 1.0.0: for those that ask for it.
    Open,
}

impl Format {
    /// The form that an `Accept` header asks for.
    pub(crate) fn wanted(accept: Option<&HeaderValue>) -> Self {
        let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accept.contains("application/openmetrics-text") { Self::Open } else { Self::Text }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The figures. They begin at nothing with each process, as counters may.
pub struct Metrics {
    registry: Registry,
    lanes: Arc<Lanes>,
    passes: Family<Labels, Counter>,
    pass_seconds: Histogram,
    drift: Counter,
    changes: Family<Labels, Counter>,
    fetches: Family<Labels, Counter>,
    fetched: Family<Labels, Gauge>,
    hooks: Family<Labels, Counter>,
    /// Held while figures are written: two scrapes would read the store twice at once.
    writing: Mutex<()>,
}

impl Metrics {
    /// Figures that all stand at nothing, of this version of Tidelock.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::default();
        // What the process takes has names that all programs share.
        registry.register_collector(Box::new(process::Process));
        let ours = registry.sub_registry_with_prefix("tidelock");
        let build: Labels = vec![("version", version.to_owned())];
        ours.register("build", "The version that runs", Info::new(build));
        let passes = Family::<Labels, Counter>::default();
        for end in ENDS {
            drop(passes.get_or_create(&vec![("outcome", word(&end))]));
        }
        ours.register("passes", "Passes over single lanes, by what came of them", passes.clone());
        let pass_seconds = Histogram::new(PASS_SECONDS);
        ours.register_with_unit("pass_duration", "How long passes took", Unit::Seconds, pass_seconds.clone());
        let drift = Counter::default();
        ours.register("drift_found", "Resources that were found changed by somebody else", drift.clone());
        let changes = Family::<Labels, Counter>::default();
        ours.register("changes", "Changes of resources, by action and by what came of them", changes.clone());
        let fetches = Family::<Labels, Counter>::default();
        ours.register("source_fetches", "Times that a source's server was asked", fetches.clone());
        let fetched = Family::<Labels, Gauge>::default();
        ours.register_with_unit(
            "source_last_fetch_timestamp",
            "When a source's server last answered",
            Unit::Seconds,
            fetched.clone(),
        );
        let hooks = Family::<Labels, Counter>::default();
        ours.register("webhooks", "Webhooks, by forge and by what came of them", hooks.clone());
        let lanes = Arc::new(Lanes::default());
        ours.register_collector(Box::new(lanes::Collect(Arc::clone(&lanes))));
        let writing = Mutex::default();
        Self { registry, lanes, passes, pass_seconds, drift, changes, fetches, fetched, hooks, writing }
    }

    /// Lets the counters of these sources stand at 0 until they count, so that a rise from
    /// nothing is one.
    pub(crate) fn expect_sources(&self, sources: &[Name]) {
        for source in sources {
            for good in [true, false] {
                drop(self.fetches.get_or_create(&fetch(source, good)));
            }
        }
    }

    /// Counts a webhook.
    pub(crate) fn hooked(&self, source: &Name, forge: &str, came: Came) {
        let labels = [("source", source.as_str()), ("forge", forge), ("result", came.word())];
        self.hooks.get_or_create(&labels.map(|(name, value)| (name, value.to_owned())).to_vec()).inc();
    }

    /// Writes all figures.
    ///
    /// # Errors
    /// The store or the guards cannot be read. Figures without lanes would say that there are none, and without
    /// guards that all is well.
    pub(crate) fn write(
        &self,
        store: &dyn Store,
        guards: &Watch,
        sources: &[Name],
        format: Format,
    ) -> Result<String, Unread> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.lanes.refresh(store, guards, sources)?;
        let mut out = String::new();
        let written = match format {
            Format::Text => prometheus_text::encode(&mut out, &self.registry),
            Format::Open => text::encode(&mut out, &self.registry),
        };
        // Writing to a string does not fail.
        debug_assert!(written.is_ok());
        Ok(out)
    }
}

const ENDS: [PassEnd; 6] =
    [PassEnd::Unchanged, PassEnd::Done, PassEnd::Waiting, PassEnd::Refused, PassEnd::Failed, PassEnd::Busy];

impl Listener for Metrics {
    fn event(&self, _run: Option<&str>, _lane: Option<&Lane>, event: &RunEvent) {
        match event {
            RunEvent::PassEnded { end, drifted, ms } => {
                self.passes.get_or_create(&vec![("outcome", word(end))]).inc();
                self.pass_seconds.observe(seconds(*ms));
                self.drift.inc_by(*drifted as u64);
            }
            RunEvent::Polled { source, good, .. } => {
                self.fetches.get_or_create(&fetch(source, *good)).inc();
                if *good {
                    let source = vec![("source", source.to_string())];
                    self.fetched.get_or_create(&source).set(Timestamp::now().as_second());
                }
            }
            RunEvent::ChangeEnded { action, end, .. } => {
                let outcome = OUTCOMES.into_iter().find(|outcome| outcome == end).unwrap_or("unknown");
                self.changes.get_or_create(&vec![("action", word(action)), ("outcome", outcome.to_owned())]).inc();
            }
            _ => {}
        }
    }
}

fn fetch(source: &Name, good: bool) -> Labels {
    vec![("source", source.to_string()), ("result", if good { "ok" } else { "failed" }.to_owned())]
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

/// The word that a value has in JSON.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests;
