//! A small world for the loop: a tree of texts, a machine of paths, a provider that
//! puts files. Each fake is as strict as the real thing where the loop relies on it.

mod checks;
mod clock;
mod fleet;
mod machine;
mod plugins;
mod source;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use tidelock_model::config::Config;
use tidelock_model::event::RunEvent;
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::Plan;
use tidelock_model::port::{Listener, Source, Want};
use tidelock_store::SqliteStore;

use crate::{Applied, Approver, Caller, PlanOptions, RunError, Runtime, Selection, Yes};

use checks::FakeChecks;
use clock::Ticking;
pub(super) use fleet::Fleet;
use machine::FakeTargets;
pub(super) use machine::Machine;
use plugins::FakePlugins;
use source::{FakeSource, Files};

/// Everything that a test turns and looks at.
#[derive(Clone)]
pub(super) struct World {
    pub(super) files: Arc<Mutex<BTreeMap<String, String>>>,
    pub(super) machine: Arc<Machine>,
    pub(super) events: Arc<Mutex<Vec<RunEvent>>>,
    /// What was committed, oldest first.
    pub(super) history: Arc<Mutex<Vec<(String, Files)>>>,
    pub(super) checks: Arc<FakeChecks>,
    pub(super) runtime: Runtime,
    clock: Arc<Ticking>,
}

impl World {
    pub(super) fn new() -> Self {
        let files = Arc::new(Mutex::new(BTreeMap::new()));
        let machine = Arc::new(Machine::default());
        let checks = Arc::new(FakeChecks::default());
        let events = Arc::new(Mutex::new(Vec::new()));
        let config: Config = serde_json::from_value(json!({
            "sources": {"infra": {"url": "x", "allow": [{"targets": ["*"], "kinds": ["*"]}]}},
            "targets": {"local": {"type": "machine"}},
        }))
        .unwrap();
        let history = Arc::new(Mutex::new(Vec::new()));
        let source: Arc<dyn Source> = Arc::new(FakeSource { files: files.clone(), history: history.clone() });
        let clock = Arc::new(Ticking(Mutex::new(1_700_000_000)));
        let runtime = Runtime {
            config: Arc::new(config),
            sources: BTreeMap::from([(name("infra"), source)]),
            plugins: Arc::new(FakePlugins(machine.clone())),
            targets: Arc::new(FakeTargets(machine.clone())),
            secrets: None,
            checks: checks.clone(),
            store: Arc::new(SqliteStore::in_memory().unwrap()),
            clock: clock.clone(),
            listener: Arc::new(Hearing(events.clone())),
            interrupt: crate::Interrupt::default(),
            looping: false,
            watch: None,
            lease_ms: 60_000,
            confirm_within_ms: None,
            siblings: crate::select::Siblings::default(),
        };
        let world = Self { files, machine, events, history, checks, runtime, clock };
        world.write("stack.yaml", "name: web\ntargets: local\nrenderer: fake\n");
        world
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        self.files.lock().unwrap().insert(path.to_owned(), text.to_owned());
    }

    /// A resource file with a path and a content.
    pub(super) fn resource(&self, file: &str, name: &str, path: &str, content: &str, more: &str) {
        let text =
            format!(r#"{{"kind":"fake.file","name":"{name}","spec":{{"path":"{path}","content":"{content}"}}{more}}}"#);
        self.write(file, &text);
    }

    /// Lets seconds pass.
    pub(super) fn later(&self, seconds: i64) {
        *self.clock.0.lock().unwrap() += seconds;
    }

    pub(super) fn remove(&self, path: &str) {
        self.files.lock().unwrap().remove(path);
    }

    pub(super) async fn plan(&self) -> Result<Plan, RunError> {
        crate::plan(&self.runtime, &everything(), &PlanOptions::default()).await
    }

    pub(super) async fn apply(&self, yes: bool) -> Result<Applied, RunError> {
        crate::apply(&self.runtime, &everything(), "tester", Caller::Once(&Says(yes)), None).await
    }

    /// Applies with the word of somebody else.
    pub(super) async fn apply_by(&self, approver: &dyn Approver) -> Result<Applied, RunError> {
        crate::apply(&self.runtime, &everything(), "tester", Caller::Once(approver), None).await
    }

    /// Plans another revision than the one in force.
    pub(super) async fn plan_rev(&self, rev: &str) -> Result<Plan, RunError> {
        let selection = Selection { want: Want::Rev(rev.to_owned()), ..everything() };
        crate::plan(&self.runtime, &selection, &PlanOptions::default()).await
    }

    pub(super) async fn apply_saved(&self, saved: &Plan) -> Result<Applied, RunError> {
        crate::apply(&self.runtime, &everything(), "tester", Caller::Once(&Says(true)), Some(saved)).await
    }

    pub(super) fn on_machine(&self) -> Vec<String> {
        self.machine.paths.lock().unwrap().keys().cloned().collect()
    }

    pub(super) fn performed(&self) -> Vec<String> {
        std::mem::take(&mut *self.machine.performed.lock().unwrap())
    }

    /// How often something was rendered, not taken from the cache.
    pub(super) fn renders(&self) -> usize {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        events.iter().filter(|event| matches!(event, RunEvent::Rendered { cached: false, .. })).count()
    }
}

/// Lines of a plan: action, cause, address.
pub(super) fn lines(plan: &Plan) -> Vec<String> {
    plan.changes
        .iter()
        .map(|change| {
            let word = |value: Value| value.as_str().unwrap_or_default().to_owned();
            let cause = change.cause.map(|cause| word(json!(cause))).unwrap_or_default();
            format!("{} {} ({cause})", word(json!(change.action)), change.address.resource)
        })
        .collect()
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn lane() -> Lane {
    Lane { source: name("infra"), stack: name("web"), target: name("local") }
}

pub(super) fn everything() -> Selection {
    Selection { source: None, stacks: vec![], targets: vec![], want: Want::Configured }
}

pub(super) struct Says(pub(super) bool);

#[async_trait]
impl Approver for Says {
    async fn approve(&self, _: &Plan, _: &[Lane]) -> Option<Yes> {
        self.0.then(|| Yes { who: "tester".into(), how: "--yes".into(), comment: None })
    }
}

/// Says yes, once something else was done: what happens while a person reads.
pub(super) struct Meanwhile<F>(pub(super) F);

#[async_trait]
impl<F: Fn() + Send + Sync> Approver for Meanwhile<F> {
    async fn approve(&self, plan: &Plan, lanes: &[Lane]) -> Option<Yes> {
        (self.0)();
        Says(true).approve(plan, lanes).await
    }
}

struct Hearing(Arc<Mutex<Vec<RunEvent>>>);

impl Listener for Hearing {
    fn event(&self, _: Option<&str>, _: Option<&Lane>, event: &RunEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}
