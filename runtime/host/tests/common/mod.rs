//! Guests, built once, and a host with a real machine below a temporary folder.
#![allow(dead_code, unreachable_pub, reason = "shared by test binaries; each uses a part of it")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};
use tidelock_host::{Eyes, Host, HostOptions, Lock, PluginRoom};
use tidelock_model::config::{TargetDecl, TargetKind};
use tidelock_model::digest::Digest;
use tidelock_model::error::Fault;
use tidelock_model::event::RunEvent;
use tidelock_model::grant::{Grant, GrantDecl};
use tidelock_model::limits::Limits;
use tidelock_model::name::{Identity, Lane, Name};
use tidelock_model::observation::{Observation, Subject};
use tidelock_model::plan::Action;
use tidelock_model::plugin::PluginRef;
use tidelock_model::port::{Declared, Listener, Plugins, Provider, Renderer, StepAnswer, StepRequest};
use tidelock_target::{Machine, MachineOptions};

/// The component of a guest, built from `tests/guests` once per process.
pub fn guest(name: &str) -> Vec<u8> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let dir = BUILT.get_or_init(build);
    fs::read(dir.join(format!("{name}.wasm"))).unwrap()
}

/// The core module of a guest, before it became a component.
pub fn core(name: &str) -> Vec<u8> {
    guest(name);
    fs::read(target_dir().join(format!("wasm32-unknown-unknown/release/guest_{name}.wasm"))).unwrap()
}

pub fn componentize(core: &[u8]) -> Vec<u8> {
    wit_component::ComponentEncoder::default().module(core).unwrap().validate(true).encode().unwrap()
}

fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("guests")
}

fn build() -> PathBuf {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests");
    let target = target_dir();
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--locked", "--target", "wasm32-unknown-unknown", "--target-dir"])
        .arg(&target)
        .current_dir(guests)
        // What is set for the host's own build is not meant for guests.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .unwrap();
    assert!(status.success(), "the guests do not build; is the target wasm32-unknown-unknown installed?");
    for name in ["provider", "renderer", "sql"] {
        let core = target.join(format!("wasm32-unknown-unknown/release/guest_{name}.wasm"));
        let component = componentize(&fs::read(core).unwrap());
        // Renamed into place, since several test binaries may be at it.
        let staged = target.join(format!(".{name}.{}", std::process::id()));
        fs::write(&staged, component).unwrap();
        fs::rename(staged, target.join(format!("{name}.wasm"))).unwrap();
    }
    target
}

/// Replaces bytes of a component by as many others.
pub fn patched(mut component: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut to = to.to_vec();
    to.resize(from.len(), b' ');
    let places: Vec<usize> =
        component.windows(from.len()).enumerate().filter(|(_, w)| *w == from).map(|(i, _)| i).collect();
    assert!(!places.is_empty(), "{} is not in the component", String::from_utf8_lossy(from));
    for place in places {
        component[place..place + from.len()].copy_from_slice(&to);
    }
    component
}

/// The provider whose `describe` does what a word says.
pub fn describing(word: &str) -> Vec<u8> {
    let from = b"DESCRIBE:honest         ";
    patched(guest("provider"), from, format!("DESCRIBE:{word}").as_bytes())
}

/// Who listens, and remembers.
#[derive(Default)]
pub struct Heard(Mutex<Vec<RunEvent>>);

impl Listener for Heard {
    fn event(&self, _: Option<&str>, _: Option<&Lane>, event: &RunEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Heard {
    pub fn log(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        let log = |event: &RunEvent| match event {
            RunEvent::PluginLog { message, .. } => Some(message.clone()),
            _ => None,
        };
        events.iter().filter_map(log).collect()
    }

    pub fn faults(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        let fault = |event: &RunEvent| match event {
            RunEvent::PluginFault { plugin, call, message } => Some(format!("{plugin} {call}: {message}")),
            _ => None,
        };
        events.iter().filter_map(fault).collect()
    }
}

/// A host with one machine.
pub struct World {
    pub temp: tempfile::TempDir,
    pub host: Arc<Host>,
    pub heard: Arc<Heard>,
    pub machine: Arc<Machine>,
    before: BTreeMap<PathBuf, String>,
}

/// Limits small enough that floods end soon.
pub fn tight() -> Limits {
    Limits { memory: 64 << 20, render_ms: 1_500, observe_ms: 1_500, steps_ms: 1_500, ..Limits::default() }
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl World {
    pub fn new() -> Self {
        Self::with(tight())
    }

    pub fn with(limits: Limits) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        for dir in ["etc/app", "etc/tidelock", "outside"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for (path, text) in [
            ("etc/motd", "hello\n"),
            ("etc/app/conf", "a = 1\n"),
            ("etc/tidelock/tidelock.db", "our own"),
            ("outside/secret", "s3cr3t"),
        ] {
            fs::write(root.join(path), text).unwrap();
        }
        std::os::unix::fs::symlink(root.join("outside"), root.join("etc/link-out")).unwrap();
        let decl = GrantDecl {
            targets: vec!["web-1".into()],
            paths: vec!["/etc/**".into()],
            exec: vec![vec!["/bin/true".into(), "**".into()]],
            exec_read: vec![vec!["/bin/sleep".into(), "*".into()]],
            ..GrantDecl::default()
        };
        let grant = Grant::new("guest", "web-1", [&decl], vec!["/etc/tidelock".into()]).unwrap();
        let target = TargetDecl {
            kind: TargetKind::Machine,
            root: Some(root.display().to_string()),
            netns: None,
            labels: BTreeMap::new(),
            facts: BTreeMap::new(),
            drift_every: None,
            ..TargetDecl::default()
        };
        let machine = Machine::open(&name("web-1"), &target, vec![grant], MachineOptions::default()).unwrap();
        let heard = Arc::new(Heard::default());
        let options =
            HostOptions { cache_dir: shared_cache(), limits: BTreeMap::from([("default".to_owned(), limits)]) };
        let host = Arc::new(Host::new(options, heard.clone()).unwrap());
        let before = snapshot(&root);
        Self { temp, host, heard, machine, before }
    }

    /// Registers a component, accepts it, and gives the room.
    pub fn room(&self, component: Vec<u8>) -> PluginRoom {
        let facts = self.host.load_bytes("test.wasm", Cow::Owned(component)).unwrap();
        let mut lock = Lock::read(self.temp.path().join("tidelock.lock")).unwrap();
        lock.accept(&facts.plugin);
        let machine = self.machine.clone();
        PluginRoom::new(self.host.clone(), lock, Arc::new(move |_| Ok(Eyes::on_machine(machine.clone()))))
    }

    pub async fn provider(&self) -> Arc<dyn Provider> {
        self.room(guest("provider")).provider("guest", &name("web-1")).await.unwrap()
    }

    pub async fn renderer(&self) -> Arc<dyn Renderer> {
        self.room(guest("renderer")).renderer("painter").await.unwrap()
    }

    /// The machine is byte for byte as it was.
    pub fn assert_untouched(&self) {
        assert_eq!(snapshot(&self.temp.path().join("root")), self.before, "the machine changed");
    }

    /// The fault was told to the operator, and holds nothing that a terminal obeys.
    pub fn assert_recorded(&self, fault: &Fault) {
        let faults = self.heard.faults();
        assert!(faults.iter().any(|told| told.contains(&fault.message)), "{fault} is not among {faults:?}");
        self.assert_tame();
    }

    pub fn assert_tame(&self) {
        for text in self.heard.faults().into_iter().chain(self.heard.log()) {
            let bad = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t') || *c == '\u{202e}');
            assert_eq!(bad, None, "{text:?}");
        }
    }
}

/// One cache for all tests of a binary: each component is compiled once.
pub fn shared_cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache")
}

/// Every path with its kind, mode, owner, time and content.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut out = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else {
            Digest::of(&fs::read(&path).unwrap()).to_string()
        };
        let mode = meta.permissions().mode();
        out.insert(
            path,
            format!("{mode:o} {} {} {}.{} {content}", meta.uid(), meta.ino(), meta.mtime(), meta.mtime_nsec()),
        );
    }
    out
}

pub fn declared(word: &str) -> Declared {
    Declared {
        address: format!("guest.file/{word}"),
        kind: "guest.file".parse().unwrap(),
        spec: json!({"path": "/etc/motd"}),
    }
}

pub fn subject(identity: &str) -> Subject {
    Subject {
        identity: Identity::new(identity),
        kind: "guest.file".parse().unwrap(),
        handle: None,
        fields: vec!["/content".into()],
        commands: vec![],
    }
}

/// A misdeed of `observe` on something whose spec holds a command.
pub fn commanded(word: &str, argv: &[&str]) -> Subject {
    Subject { commands: vec![argv.iter().map(ToString::to_string).collect()], ..subject(&format!("do:{word}")) }
}

/// A change of `/etc/motd`, or of another path.
pub fn change(word: &str, path: &str, desired: Value) -> StepRequest {
    StepRequest {
        address: format!("infra:web:guest.file/{word}@web-1").parse().unwrap(),
        identity: Identity::new(format!("path:{path}")),
        kind: "guest.file".parse().unwrap(),
        action: Action::Update,
        desired: Some(desired),
        observed: None,
        last: None,
        handle: None,
        fields: vec![],
        seen: vec![],
        trigger: None,
        beneath: vec![],
    }
}

pub fn desired() -> Value {
    json!({"path": "/etc/motd", "digest": Digest::of(b"new").to_string(), "run": ["/bin/true", "--quietly"]})
}

/// The fault of one misdeed in `observe`.
pub async fn observed(world: &World, word: &str) -> Result<Vec<Observation>, Fault> {
    let provider = world.provider().await;
    provider.observe(&[subject("path:/etc/motd"), subject(&format!("do:{word}"))]).await
}

/// What came of one misdeed in `steps`.
pub async fn stepped(world: &World, word: &str) -> Result<Vec<StepAnswer>, Fault> {
    world.provider().await.steps(&[change(word, "/etc/motd", desired())]).await
}

pub fn unaccepted(component: &[u8]) -> PluginRef {
    PluginRef { name: "guest".into(), version: "0.1.0".into(), digest: Digest::of(component) }
}
