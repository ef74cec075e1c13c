//! A small world for the loop: a tree of texts, a machine of paths, a provider that
//! puts files. Each fake is as strict as the real thing where the loop relies on it.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use tidelock_model::check::Probe;
use tidelock_model::config::Config;
use tidelock_model::digest::Digest;
use tidelock_model::effect::{AfterCrash, Attributes, Effect, EffectBody, PathState, Precondition};
use tidelock_model::error::{Blame, Fault, Place};
use tidelock_model::event::RunEvent;
use tidelock_model::kind::{Checked, FieldInfo, KindInfo, ProviderInfo, RendererInfo, Roles};
use tidelock_model::name::{Identity, Lane, Name};
use tidelock_model::observation::{Observation, Readiness, Subject};
use tidelock_model::plan::{Action, Group, Plan, Preview};
use tidelock_model::plugin::PluginRef;
use tidelock_model::port::{
    Blobs, Checker, Clock, Declared, Fetched, Guarded, Listener, PluginError, Plugins, Provider, RenderInputs,
    Rendered, Renderer, Source, SourceError, StepAnswer, StepRequest, Target, Targets, Tree, TreeEntry, Until, Want,
};
use tidelock_model::reads::{Question, Read, answer};
use tidelock_model::resource::RenderedDoc;
use tidelock_model::revision::{Revision, Signature};
use tidelock_model::run::{EffectEnd, Outcome};
use tidelock_store::SqliteStore;

use crate::{Applied, Approver, Caller, PlanOptions, RunError, Runtime, Selection, Yes};

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

/// What the fake target holds, and how it misbehaves.
#[derive(Default)]
pub(super) struct Machine {
    /// Whether it only copies another one.
    pub(super) standby: Mutex<bool>,
    pub(super) paths: Mutex<BTreeMap<String, Digest>>,
    /// What cannot be looked at before another path is there.
    pub(super) after: Mutex<BTreeMap<String, String>>,
    /// Writing these fails.
    pub(super) broken: Mutex<BTreeSet<String>>,
    /// Somebody else puts this there at the moment of writing, so often.
    pub(super) ahead: Mutex<BTreeMap<String, (usize, String)>>,
    /// The process "dies" before performing anything: `perform` panics.
    pub(super) dies: Mutex<bool>,
    /// Effects that were performed.
    pub(super) performed: Mutex<Vec<String>>,
    /// It is written once that many others are.
    pub(super) meets: Mutex<Option<Arc<tokio::sync::Barrier>>>,
    /// Somebody wishes for an end while it is written.
    pub(super) interrupts: Mutex<Option<crate::Interrupt>>,
    /// Whether what is done there touches the way to Git.
    pub(super) on_the_way: Mutex<bool>,
    /// What was ever put there.
    pub(super) contents: Mutex<BTreeMap<Digest, Vec<u8>>>,
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

/// A second later each time that it is asked.
struct Ticking(Mutex<i64>);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let mut second = self.0.lock().unwrap();
        *second += 1;
        Timestamp::from_second(*second).unwrap()
    }

    fn uptime(&self) -> u64 {
        *self.0.lock().unwrap() as u64
    }

    fn sleep(&self, _: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

pub(super) type Files = BTreeMap<String, String>;

/// Each state of the files that was fetched is a commit on top of the one before.
struct FakeSource {
    files: Arc<Mutex<Files>>,
    history: Arc<Mutex<Vec<(String, Files)>>>,
}

#[async_trait]
impl Source for FakeSource {
    async fn fetch_with(&self, want: &Want, _: Option<&Revision>, _: &[String]) -> Result<Fetched, SourceError> {
        let mut files = self.files.lock().unwrap().clone();
        let mut history = self.history.lock().unwrap();
        if let Want::Rev(rev) = want {
            let known = history.iter().find(|(id, _)| id == rev);
            files = known.ok_or_else(|| SourceError::new("ref-gone", format!("no {rev}")))?.1.clone();
        }
        let id = Digest::of(format!("{files:?}").as_bytes()).short();
        if history.iter().all(|(known, _)| *known != id) {
            history.push((id.clone(), files.clone()));
        }
        let revision = Revision {
            source: name("infra"),
            id,
            wanted: "main".into(),
            author: "Ann <ann@example.com>".into(),
            committer: "Ann <ann@example.com>".into(),
            at: Timestamp::UNIX_EPOCH,
            subject: "a commit".into(),
            signature: Signature::NotAsked,
        };
        Ok(Fetched { revision, tree: Arc::new(FakeTree(files)), notices: vec![] })
    }

    async fn tag(&self, _: &str) -> Result<Option<String>, SourceError> {
        Ok(None)
    }

    async fn descends(&self, tip: &str, base: &str) -> Result<bool, SourceError> {
        let history = self.history.lock().unwrap();
        let at = |id: &str| history.iter().position(|(known, _)| known == id);
        Ok(at(base).is_some_and(|base| at(tip).is_some_and(|tip| base <= tip)))
    }

    fn server(&self) -> Option<(String, u16)> {
        Some(("git.example.com".into(), 443))
    }
}

/// Files in the root alone.
struct FakeTree(BTreeMap<String, String>);

impl Tree for FakeTree {
    fn entry(&self, path: &str) -> Result<Option<TreeEntry>, SourceError> {
        Ok(self.0.get(path).map(|text| TreeEntry {
            name: path.to_owned(),
            id: Digest::of(text.as_bytes()).to_string(),
            size: text.len() as u64,
            dir: false,
        }))
    }
    fn list(&self, _: &str) -> Result<Option<Vec<TreeEntry>>, SourceError> {
        Ok(Some(self.0.keys().filter_map(|path| self.entry(path).ok().flatten()).collect()))
    }
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(path).map(|text| text.clone().into_bytes()))
    }
    fn digest(&self, path: &str) -> Result<Option<(Digest, u64)>, SourceError> {
        Ok(self.0.get(path).map(|text| (Digest::of(text.as_bytes()), text.len() as u64)))
    }
    fn glob(&self, _: &str, pattern: &str) -> Result<Vec<String>, SourceError> {
        let glob = tidelock_model::grant::glob(pattern, true).unwrap();
        Ok(self.0.keys().filter(|path| glob.is_match(path)).cloned().collect())
    }
    fn stacks(&self) -> Result<Vec<String>, SourceError> {
        Ok(self.0.contains_key("stack.yaml").then(String::new).into_iter().collect())
    }
}

fn plugin(name: &str) -> PluginRef {
    PluginRef { name: name.to_owned(), version: "1.0.0".into(), digest: Digest::of(name.as_bytes()) }
}

struct FakePlugins(Arc<Machine>);

#[async_trait]
impl Plugins for FakePlugins {
    async fn renderer(&self, _: &str) -> Result<Arc<dyn Renderer>, Fault> {
        Ok(Arc::new(FakeRenderer(plugin("fake"))))
    }
    async fn provider(&self, name: &str, _: &Name) -> Result<Arc<dyn Provider>, Fault> {
        if name != "fake" {
            return Err(Fault::new("not-found", Blame::Target, format!("there is no plugin {name}")));
        }
        Ok(Arc::new(FakeProvider { plugin: plugin("fake"), machine: self.0.clone() }))
    }
}

/// Reads `*.json`, a resource each.
struct FakeRenderer(PluginRef);

#[async_trait]
impl Renderer for FakeRenderer {
    fn plugin(&self) -> &PluginRef {
        &self.0
    }
    async fn describe(&self) -> Result<RendererInfo, Fault> {
        Ok(RendererInfo {
            name: "fake".into(),
            version: "1".into(),
            summary: String::new(),
            settings_schema: json!({}),
        })
    }
    async fn render(&self, inputs: &RenderInputs) -> Result<Rendered, PluginError> {
        let mut questions = vec![Question::Glob("*.json".into())];
        let mut docs = Vec::new();
        for file in inputs.tree.glob("", "*.json").unwrap() {
            let text = inputs.tree.read(&file).unwrap().unwrap();
            questions.push(Question::File(file.clone()));
            let place = Place { file, line: 1, column: 1 };
            docs.push(RenderedDoc { document: String::from_utf8(text).unwrap(), place });
        }
        let reads = questions
            .into_iter()
            .map(|question| Read { answer: answer(&question, inputs).unwrap(), question })
            .collect();
        Ok(Rendered { docs, reads })
    }
}

struct FakeProvider {
    plugin: PluginRef,
    machine: Arc<Machine>,
}

#[async_trait]
impl Provider for FakeProvider {
    fn plugin(&self) -> &PluginRef {
        &self.plugin
    }

    async fn describe(&self) -> Result<ProviderInfo, Fault> {
        let content = FieldInfo {
            path: "/content".into(),
            roles: Roles { content: true, ..Roles::default() },
            list_key: None,
            owns_listed: false,
            default: None,
        };
        let file = KindInfo {
            name: "file".into(),
            doc: String::new(),
            schema: json!({}),
            fields: vec![content],
            holds_data: false,
            whole_target: false,
            settle_ms: 0,
            triggers: vec![],
        };
        Ok(ProviderInfo { name: "fake".into(), version: "1".into(), summary: String::new(), kinds: vec![file] })
    }

    async fn check(&self, resources: &[Declared]) -> Result<Vec<Checked>, Fault> {
        Ok(resources
            .iter()
            .map(|resource| Checked {
                identity: Identity::new(format!("path:{}", resource.spec["path"].as_str().unwrap_or_default())),
                provides: vec![],
                requires: vec![],
                diagnostics: vec![],
            })
            .collect())
    }

    async fn normalise(&self, resources: &[Declared]) -> Result<Vec<Result<Value, Fault>>, Fault> {
        Ok(resources.iter().map(|resource| Ok(resource.spec.clone())).collect())
    }

    async fn observe(&self, subjects: &[Subject]) -> Result<Vec<Observation>, Fault> {
        let paths = self.machine.paths.lock().unwrap();
        let after = self.machine.after.lock().unwrap();
        Ok(subjects
            .iter()
            .map(|subject| {
                let path = subject.identity.path().unwrap();
                if let Some(first) = after.get(path).filter(|first| !paths.contains_key(*first)) {
                    return Observation::Waits { on: Identity::of_path(first), why: "not there".into() };
                }
                match paths.get(path) {
                    None => Observation::Absent { seen: vec![path.to_owned()] },
                    Some(digest) => Observation::Present {
                        observed: json!({"path": path, "content": {"digest": digest}}),
                        unknown: vec![],
                        handle: None,
                        readiness: Readiness::Ready,
                        seen: vec![path.to_owned()],
                        probes: vec![],
                    },
                }
            })
            .collect())
    }

    async fn steps(&self, changes: &[StepRequest]) -> Result<Vec<StepAnswer>, Fault> {
        let paths = self.machine.paths.lock().unwrap();
        Ok(changes
            .iter()
            .map(|change| {
                let path = change.identity.path().unwrap().to_owned();
                let body = match (&change.desired, change.action) {
                    (Some(desired), _) => EffectBody::PutFile {
                        path: path.clone(),
                        content: desired.pointer("/content/digest").unwrap().as_str().unwrap().parse().unwrap(),
                        attributes: Attributes::default(),
                        parents: false,
                        backup: None,
                        validate: None,
                    },
                    (None, Action::Delete) => EffectBody::Remove { path: path.clone(), tree: false },
                    (None, _) => panic!("no desired for {change:?}"),
                };
                StepAnswer::Effects(vec![Effect {
                    resource: change.address.resource.clone(),
                    identity: change.identity.clone(),
                    plugin: "fake".into(),
                    body,
                    precondition: Some(Precondition::Path { state: state(paths.get(&path)), path }),
                    // As a command would: nobody can tell by looking whether it ran.
                    after_crash: if change.identity.as_str().contains("ask") {
                        AfterCrash::Ask
                    } else {
                        AfterCrash::Observe
                    },
                    together: None,
                    inverse: None,
                    inside: vec![],
                }])
            })
            .collect())
    }
}

fn state(digest: Option<&Digest>) -> PathState {
    digest.map_or(PathState::Absent, |digest| PathState::File {
        digest: Some(*digest),
        mode: 0o644,
        owner: "root".into(),
        group: "root".into(),
        size: 0,
    })
}

struct FakeTargets(Arc<Machine>);

impl Targets for FakeTargets {
    fn target(&self, _: &Name) -> Result<Arc<dyn Target>, Fault> {
        Ok(self.0.clone())
    }
}

#[async_trait]
impl Target for Machine {
    async fn fingerprint(&self) -> Result<String, Fault> {
        if *self.standby.lock().unwrap() {
            return Err(Fault::new("standby", Blame::Target, "it only copies another server").retryable());
        }
        Ok("machine-id:1".into())
    }

    async fn preview(&self, _: &Effect, _: &dyn Blobs) -> Result<Preview, Fault> {
        Ok(Preview::default())
    }

    async fn replaced(&self, effect: &Effect, _: u64) -> Result<Option<Vec<u8>>, Fault> {
        let Some(Precondition::Path { state: PathState::File { digest: Some(digest), .. }, .. }) = &effect.precondition
        else {
            return Ok(None);
        };
        Ok(self.contents.lock().unwrap().get(digest).cloned())
    }

    async fn perform(&self, run: &str, groups: &[Group], blobs: &dyn Blobs, _: &Until) -> Vec<Outcome> {
        assert!(!*self.dies.lock().unwrap(), "the process dies here");
        let meets = self.meets.lock().unwrap().clone();
        if let Some(others) = meets {
            others.wait().await;
        }
        if let Some(interrupt) = &*self.interrupts.lock().unwrap() {
            let _ = interrupt.ask();
        }
        groups
            .iter()
            .map(|group| {
                let effects = group.effects.iter().map(|effect| self.one(&effect.effect, blobs)).collect();
                Outcome { run: run.to_owned(), group: group.id, effects }
            })
            .collect()
    }

    async fn touched(&self, effects: &[Effect], host: &str, port: u16) -> Result<Vec<usize>, Fault> {
        assert_eq!((host, port), ("git.example.com", 443));
        Ok(if *self.on_the_way.lock().unwrap() { (0..effects.len()).collect() } else { vec![] })
    }

    async fn sweep(&self, _: &[Effect]) -> Result<usize, Fault> {
        Ok(0)
    }
}

impl Machine {
    fn one(&self, effect: &Effect, blobs: &dyn Blobs) -> EffectEnd {
        let mut paths = self.paths.lock().unwrap();
        let path = effect.body.path().unwrap();
        if self.broken.lock().unwrap().contains(path) {
            return EffectEnd::Failed { fault: Fault::new("io", Blame::Target, format!("{path} is read-only")) };
        }
        if let Some((left @ 1.., content)) = self.ahead.lock().unwrap().get_mut(path) {
            *left -= 1;
            let bytes = format!("{content}{left}").into_bytes();
            paths.insert(path.to_owned(), Digest::of(&bytes));
            self.contents.lock().unwrap().insert(Digest::of(&bytes), bytes);
            let fault = Fault::new("changed", Blame::Target, format!("{path} has changed"));
            return EffectEnd::Failed { fault: fault.retryable() };
        }
        let before = effect.precondition.as_ref().unwrap();
        assert_eq!(before.path().unwrap().1, &state(paths.get(path)), "changed since it was read");
        self.performed.lock().unwrap().push(effect.body.word().to_owned() + " " + path);
        match &effect.body {
            EffectBody::PutFile { content, .. } => {
                let bytes = blobs.read(content).unwrap();
                assert_eq!(Digest::of(&bytes), *content);
                self.contents.lock().unwrap().insert(*content, bytes);
                paths.insert(path.to_owned(), *content);
            }
            EffectBody::Remove { .. } => {
                paths.remove(path);
            }
            other => panic!("not used: {other:?}"),
        }
        EffectEnd::Done
    }
}

/// Checks by their words: those that fail, and what was asked.
#[derive(Default)]
pub(super) struct FakeChecks {
    /// Each answers once that many others are asked.
    pub(super) meet: Mutex<Option<Arc<tokio::sync::Barrier>>>,
    pub(super) failing: Mutex<BTreeSet<String>>,
    pub(super) asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Checker for FakeChecks {
    async fn ask(&self, probe: &Probe, _: u64) -> Result<(), Fault> {
        let probe = probe.to_string();
        self.asked.lock().unwrap().push(probe.clone());
        let meet = self.meet.lock().unwrap().clone();
        if let Some(others) = meet {
            others.wait().await;
        }
        if self.failing.lock().unwrap().contains(&probe) {
            return Err(Fault::new("check", Blame::Target, "it answers 503"));
        }
        Ok(())
    }
}

/// Several machines, each a target of its own. Looking at one that hangs never ends, and one that
/// is gone is not had at all.
#[derive(Default)]
pub(super) struct Fleet {
    pub(super) machines: BTreeMap<Name, Arc<Machine>>,
    pub(super) hanging: Mutex<BTreeSet<Name>>,
    pub(super) gone: Mutex<BTreeSet<Name>>,
    pub(super) guards: Mutex<Vec<Guarded>>,
}

impl Targets for Fleet {
    fn target(&self, name: &Name) -> Result<Arc<dyn Target>, Fault> {
        if self.gone.lock().unwrap().contains(name) {
            return Err(Fault::new("root", Blame::Target, format!("target {name} is gone")));
        }
        Ok(self.machines[name].clone())
    }

    fn guards(&self) -> Result<Vec<Guarded>, Fault> {
        Ok(self.guards.lock().unwrap().clone())
    }
}

#[async_trait]
impl Plugins for Fleet {
    async fn renderer(&self, name: &str) -> Result<Arc<dyn Renderer>, Fault> {
        FakePlugins(Arc::default()).renderer(name).await
    }
    async fn provider(&self, name: &str, target: &Name) -> Result<Arc<dyn Provider>, Fault> {
        if self.hanging.lock().unwrap().contains(target) {
            std::future::pending::<()>().await;
        }
        FakePlugins(self.machines[target].clone()).provider(name, target).await
    }
}
