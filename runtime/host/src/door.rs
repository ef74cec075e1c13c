//! The one door: every function that a guest calls in the host comes by here first.
//! It counts the call, decides by the grant, records what was refused, and tells the
//! operator. A capability has no other way to say yes.

use std::sync::Arc;

use tidelock_model::error::{Blame, Fault, tame};
use tidelock_model::event::RunEvent;
use tidelock_model::grant::{Access, Grant, ungranted};
use tidelock_model::limits::Limits;
use tidelock_model::port::Listener;

use crate::meter::{self, Stop};

/// The longest line of a guest that is shown.
pub(crate) const MAX_LINE: usize = 4 << 10;
/// Refusals of one call that are told; further ones are refused in silence.
const MAX_TOLD: usize = 32;
/// What a log line counts beside its bytes, so that empty lines come to an end too.
const LINE_COST: u64 = 16;

/// The functions of a guest that the host calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Export {
    Describe,
    Render,
    Check,
    Normalise,
    Observe,
    Steps,
    Discover,
}

impl Export {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Render => "render",
            Self::Check => "check",
            Self::Normalise => "normalise",
            Self::Observe => "observe",
            Self::Steps => "steps",
            Self::Discover => "discover",
        }
    }

    /// Its wall clock in milliseconds, and the key of the config that holds it.
    pub(crate) fn clock(self, limits: &Limits) -> (u64, &'static str) {
        match self {
            Self::Render => (limits.render_ms, "render_ms"),
            Self::Normalise | Self::Observe | Self::Discover => (limits.observe_ms, "observe_ms"),
            Self::Describe | Self::Check | Self::Steps => (limits.steps_ms, "steps_ms"),
        }
    }

    /// Whether it may read at all: what a plugin says of itself and of a spec must
    /// not depend on what it sees.
    fn may_read(self) -> bool {
        !matches!(self, Self::Describe | Self::Check)
    }
}

/// The door of one call.
pub(crate) struct Door {
    pub(crate) plugin: Arc<str>,
    pub(crate) export: Export,
    pub(crate) limits: Arc<Limits>,
    listener: Arc<dyn Listener>,
    calls: u64,
    output: u64,
    log: u64,
    log_dropped: u64,
    told: usize,
    /// What the guest said just before it trapped.
    panic: Option<String>,
    /// Refusals of this call, to give their hints back when the guest passes one on.
    denials: Vec<Fault>,
    /// What guests were not told in full: what they were told, and the fault itself.
    kept_back: Vec<(String, Fault)>,
    /// A rule or limit that was broken; the call fails, whatever the guest answers.
    breach: Option<Fault>,
}

impl Door {
    pub(crate) fn new(plugin: &str, export: Export, limits: Arc<Limits>, listener: Arc<dyn Listener>) -> Self {
        Self {
            plugin: plugin.into(),
            export,
            limits,
            listener,
            calls: 0,
            output: 0,
            log: 0,
            log_dropped: 0,
            told: 0,
            panic: None,
            denials: vec![],
            kept_back: vec![],
            breach: None,
        }
    }

    /// Lets a call in. `weight` is 1, or the number of things that it asks for.
    pub(crate) fn enter(&mut self, function: &'static str, weight: usize) -> Result<(), Stop> {
        tracing::trace!(plugin = &*self.plugin, call = self.export.word(), function, weight);
        self.calls = self.calls.saturating_add(weight.max(1) as u64);
        if self.calls > self.limits.host_calls {
            return Err(self.over(
                "host_calls",
                "asks the host too often in one call",
                self.calls,
                self.limits.host_calls,
            ));
        }
        Ok(())
    }

    /// Lets a read in; refused where the export may not read.
    pub(crate) fn enter_read(&mut self, function: &'static str, weight: usize) -> Result<(), Stop> {
        self.enter(function, weight)?;
        if self.export.may_read() {
            return Ok(());
        }
        Err(self.broken(format!("called {function} during `{}`, which reads nothing", self.export.word())))
    }

    /// Decides by the grant. The refusal is recorded and goes to the guest.
    pub(crate) fn decide(&mut self, grant: Option<&Grant>, target: &str, access: Access<'_>) -> Result<(), Fault> {
        let verdict = match grant {
            Some(grant) => grant.decide(access),
            None => Err(ungranted(&self.plugin, target, |nothing| nothing.decide(as_other(access)))),
        };
        verdict.map_err(tamed).inspect_err(|fault| self.denied(fault))
    }

    /// Records a refusal.
    pub(crate) fn denied(&mut self, fault: &Fault) {
        if self.denials.len() < MAX_TOLD && !self.denials.contains(fault) {
            self.denials.push(fault.clone());
            self.tell_fault(fault);
        }
    }

    /// The hint of a refusal that the guest passes on, told from its sentence. Hints
    /// are the host's: a guest could tell an operator to run anything.
    pub(crate) fn hint_for(&self, message: &str) -> Option<String> {
        self.denials.iter().find(|denial| message.contains(&denial.message)).and_then(|denial| denial.hint.clone())
    }

    /// Keeps a fault of which the guest is told less.
    pub(crate) fn keep_back(&mut self, said: String, fault: Fault) {
        if self.kept_back.len() < MAX_TOLD && !self.kept_back.iter().any(|(known, _)| *known == said) {
            self.kept_back.push((said, tamed(fault)));
        }
    }

    /// The whole of a sentence that the guest passes on, and its hint: for the operator.
    pub(crate) fn in_full(&self, message: &str) -> Option<(String, Option<String>)> {
        let (said, fault) = self.kept_back.iter().find(|(said, _)| message.contains(said))?;
        Some((message.replacen(said, &fault.message, 1), fault.hint.clone()))
    }

    /// Counts what a guest hands over.
    pub(crate) fn hand_over(&mut self, bytes: usize) -> Result<(), Stop> {
        self.output = self.output.saturating_add(bytes as u64);
        if self.output > self.limits.output {
            return Err(self.over(
                "output",
                "hands over too much in one call (bytes)",
                self.output,
                self.limits.output,
            ));
        }
        Ok(())
    }

    /// A limit was met.
    pub(crate) fn over(&mut self, field: &str, what: &str, used: u64, allowed: u64) -> Stop {
        self.breach(meter::limit(&self.plugin, field, what, used, allowed))
    }

    /// A rule was broken.
    pub(crate) fn broken(&mut self, what: impl AsRef<str>) -> Stop {
        let message = format!("plugin {} broke a rule: it {}", self.plugin, tame(what.as_ref(), MAX_LINE));
        self.breach(Fault::new("rule", Blame::Plugin, message))
    }

    /// Ends the call with a fault, even if the guest lives on.
    pub(crate) fn breach(&mut self, fault: Fault) -> Stop {
        let first = self.breach.get_or_insert_with(|| tamed(fault));
        Stop::from(first.clone())
    }

    pub(crate) fn take_breach(&mut self) -> Option<Fault> {
        self.breach.take()
    }

    /// A line for the operator's log.
    pub(crate) fn say(&mut self, level: &'static str, message: &str) {
        let shown = tame(message, MAX_LINE);
        self.log = self.log.saturating_add(shown.len() as u64 + LINE_COST);
        if self.log > self.limits.log {
            self.log_dropped += 1;
            return;
        }
        self.event(&RunEvent::PluginLog { plugin: self.plugin.to_string(), level: level.to_owned(), message: shown });
    }

    /// What the guest said of its panic.
    pub(crate) fn panicked(&mut self, message: &str, file: &str, line: u32) {
        self.panic = Some(format!("{} at {}:{line}", tame(message, MAX_LINE), tame(file, 512)));
    }

    pub(crate) fn panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    /// Says how many lines were dropped. Called once, when the call is over.
    pub(crate) fn close(&mut self) {
        if self.log_dropped > 0 {
            let message = format!(
                "{} more lines were dropped: the limit limits.{}.log is {} bytes",
                self.log_dropped, self.plugin, self.limits.log
            );
            let level = "warn".to_owned();
            self.event(&RunEvent::PluginLog { plugin: self.plugin.to_string(), level, message });
        }
    }

    /// Tells that the plugin did what it may not.
    pub(crate) fn tell_fault(&mut self, fault: &Fault) {
        self.told += 1;
        if self.told > MAX_TOLD {
            return;
        }
        self.event(&RunEvent::PluginFault {
            plugin: self.plugin.to_string(),
            call: self.export.word().to_owned(),
            message: fault.message.clone(),
        });
    }

    fn event(&self, event: &RunEvent) {
        self.listener.event(None, None, event);
    }
}

/// What the target names itself is open to whoever has a grant, and nothing to whoever has none.
fn as_other(access: Access<'_>) -> Access<'_> {
    match access {
        Access::Database { maintenance: true, .. } => Access::Database { name: "app", maintenance: false },
        other => other,
    }
}

/// A fault that quotes what a guest gave, made fit for a terminal.
pub(crate) fn tamed(mut fault: Fault) -> Fault {
    fault.message = tame(&fault.message, MAX_LINE);
    fault.hint = fault.hint.map(|hint| tame(&hint, MAX_LINE));
    fault
}
