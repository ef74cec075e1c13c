//! What a pass runs on: the ports, and what the caller asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tidelock_model::config::Config;
use tidelock_model::event::RunEvent;
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::Plan;
use tidelock_model::port::{
    Checker, Clock, Listener, Plugins, Secrets, Source, Store, StoreError, Targets, Want, Watch,
};

use crate::driver::LANES_AT_ONCE;
use crate::interrupt::Interrupt;
use crate::select::Siblings;

/// Everything that a pass needs of the outside world.
#[derive(Clone)]
pub struct Runtime {
    /// The operator's config; shared, as each pass of thousands has a runtime of its own.
    pub config: Arc<Config>,
    /// Sources by name.
    pub sources: BTreeMap<Name, Arc<dyn Source>>,
    /// Plugins.
    pub plugins: Arc<dyn Plugins>,
    /// Targets.
    pub targets: Arc<dyn Targets>,
    /// Where the values of secrets come from; `None` where nothing may learn them.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// Who asks what stacks want checked.
    pub checks: Arc<dyn Checker>,
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who listens.
    pub listener: Arc<dyn Listener>,
    /// Says when nothing further is to begin.
    pub interrupt: Interrupt,
    /// Whether the loop makes these passes. It looks thousands of times a day, so what each
    /// look says anyway is told to the listener and not stored.
    pub looping: bool,
    /// How long a lease lasts without being renewed, in ms.
    pub lease_ms: u64,
    /// Who watches targets between looks, where somebody does.
    pub watch: Option<Arc<dyn Watch>>,
    /// How long a target waits for a person's word after an apply before it goes back by
    /// itself, in ms; for an apply by hand.
    pub confirm_within_ms: Option<u64>,
    /// The lanes of stacks, as they were listed last.
    pub siblings: Siblings,
}

impl Runtime {
    /// How many targets are worked on at once.
    pub(crate) fn at_once(&self) -> usize {
        self.config.daemon.lanes_at_once.map_or(LANES_AT_ONCE, usize::from)
    }

    /// Stores an event, then tells the listener. With [`Self::emit_all`] the one way in which a pass
    /// speaks.
    pub(crate) fn emit(&self, run: Option<&str>, lane: Option<&Lane>, event: &RunEvent) -> Result<(), StoreError> {
        let said_by_each_look = matches!(event, RunEvent::Observed { .. } | RunEvent::Rendered { cached: true, .. });
        if !(event.is_fleeting() || self.looping && said_by_each_look) {
            self.store.put_event(self.clock.now(), run, lane, event)?;
        }
        self.listener.event(run, lane, event);
        Ok(())
    }

    /// The same for what became known at once, none of it fleeting: a write of the store for each of
    /// a thousand changes takes longer than the changes do.
    pub(crate) fn emit_all(&self, run: &str, lane: &Lane, events: &[RunEvent]) -> Result<(), StoreError> {
        if !events.is_empty() {
            self.store.put_events(self.clock.now(), Some(run), Some(lane), events)?;
        }
        for event in events {
            self.listener.event(Some(run), Some(lane), event);
        }
        Ok(())
    }
}

/// Which lanes a caller means, and which files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The source; may be left out where there is one.
    pub source: Option<Name>,
    /// Names or globs of stacks; empty is all.
    pub stacks: Vec<String>,
    /// Names or globs of targets; empty is all.
    pub targets: Vec<String>,
    /// What to take from the source.
    pub want: Want,
}

/// How a plan is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Whether effects get their previews, which costs reading both sides.
    pub previews: bool,
}

/// A caller's yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Yes {
    /// Who.
    pub who: String,
    /// How: `terminal`, `--yes`, `saved plan`.
    pub how: String,
    /// What they said.
    pub comment: Option<String>,
}

/// Who started a pass.
#[derive(Clone, Copy)]
pub enum Caller<'a> {
    /// A person or a pipeline, for one pass: its yes counts where no rule asks for others.
    Once(&'a dyn Approver),
    /// The loop. Nobody is there to be asked.
    Loop,
}

/// Who is asked before effects are performed.
#[async_trait]
pub trait Approver: Send + Sync {
    /// Shows the plan, and asks for the lanes that a yes lets go on; `None` is a no.
    async fn approve(&self, plan: &Plan, lanes: &[Lane]) -> Option<Yes>;
}
