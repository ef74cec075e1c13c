//! A machine below a temporary root, and short words for effects.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tidelock_model::config::{TargetDecl, TargetKind};
use tidelock_model::digest::Digest;
use tidelock_model::effect::{AfterCrash, Attributes, Effect, EffectBody, PathState, Precondition};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::{Grant, GrantDecl};
use tidelock_model::name::{Identity, Lane, Name};
use tidelock_model::plan::{Group, PlannedEffect, Preview};
use tidelock_model::port::{Blobs, Target as _, Until};
use tidelock_model::run::{EffectEnd, Outcome};
use tidelock_model::secret::{SecretName, SecretValue};
use tidelock_target::{Machine, MachineOptions};

#[derive(Default)]
pub(crate) struct Contents(Mutex<BTreeMap<Digest, Vec<u8>>>);

impl Contents {
    pub(crate) fn keep(&self, content: &[u8]) -> Digest {
        let digest = Digest::of(content);
        self.0.lock().unwrap().insert(digest, content.to_vec());
        digest
    }

    /// Answers with something else than was asked for.
    pub(crate) fn forge(&self, digest: Digest, content: &[u8]) {
        self.0.lock().unwrap().insert(digest, content.to_vec());
    }
}

impl Blobs for Contents {
    fn secret(&self, name: &SecretName) -> Result<SecretValue, Fault> {
        Err(Fault::new("not-found", Blame::Host, format!("no secret {name}")))
    }

    fn is_secret(&self, _: &Digest) -> bool {
        false
    }

    fn read(&self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        let missing = || Fault::new("not-found", Blame::Host, format!("no content {digest}"));
        self.0.lock().unwrap().get(digest).cloned().ok_or_else(missing)
    }
}

pub(crate) struct Room {
    pub(crate) dir: TempDir,
    pub(crate) machine: Arc<Machine>,
    pub(crate) contents: Contents,
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn decl(root: &str) -> TargetDecl {
    TargetDecl {
        kind: TargetKind::Machine,
        root: Some(root.to_owned()),
        netns: None,
        labels: BTreeMap::new(),
        facts: BTreeMap::new(),
        drift_every: None,
        ..TargetDecl::default()
    }
}

pub(crate) fn grant(paths: &[&str], exec: &[&[&str]], own: &[&str]) -> Grant {
    let decl = GrantDecl {
        targets: vec!["t".into()],
        paths: paths.iter().map(ToString::to_string).collect(),
        exec: exec.iter().map(|words| words.iter().map(ToString::to_string).collect()).collect(),
        env: vec!["GREETING".into()],
        exec_read: vec![],
        special_modes: true,
        ..GrantDecl::default()
    };
    Grant::new("server", "t", [&decl], own.iter().map(ToString::to_string).collect()).unwrap()
}

impl Room {
    pub(crate) fn new() -> Self {
        Self::with(
            grant(&["/**"], &[&["/**", "**"]], &["/own"]),
            MachineOptions { fsync: false, ..MachineOptions::default() },
        )
    }

    pub(crate) fn with(grant: Grant, options: MachineOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::open(&name("t"), &decl(dir.path().to_str().unwrap()), vec![grant], options).unwrap();
        Self { dir, machine, contents: Contents::default() }
    }

    /// A path of the target on this system.
    pub(crate) fn real(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        std::fs::create_dir_all(self.real(path).parent().unwrap()).unwrap();
        std::fs::write(self.real(path), content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.real(path)).unwrap_or_else(|error| format!("<{}>", error.kind()))
    }

    pub(crate) fn state(&self, path: &str) -> PathState {
        self.machine.stat(&[path.to_owned()], true).remove(0).unwrap().state
    }

    /// Everything below the root: names, kinds, contents, attributes.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, PathState> {
        let mut out = BTreeMap::new();
        let mut open = vec!["/".to_owned()];
        while let Some(path) = open.pop() {
            let state = self.state(&path);
            if matches!(state, PathState::Directory { .. }) {
                for name in self.machine.list(&path).unwrap().unwrap() {
                    open.push(format!("{}/{name}", path.trim_end_matches('/')));
                }
            }
            out.insert(path, state);
        }
        out
    }

    pub(crate) fn put(&self, path: &str, content: &str) -> Effect {
        effect(EffectBody::PutFile {
            path: path.to_owned(),
            content: self.contents.keep(content.as_bytes()),
            attributes: Attributes::default(),
            parents: false,
            backup: None,
            validate: None,
        })
    }

    /// The effect, good only for what is there now.
    pub(crate) fn seen(&self, mut effect: Effect) -> Effect {
        let path = effect.body.path().unwrap().to_owned();
        effect.precondition = Some(Precondition::Path { state: self.state(&path), path });
        effect
    }

    pub(crate) async fn perform(&self, groups: &[Group]) -> Vec<Outcome> {
        self.machine.perform("run-1", groups, &self.contents, &Until::at(u64::MAX)).await
    }

    /// Performs one sequence.
    pub(crate) async fn sequence(&self, effects: Vec<Effect>) -> Vec<EffectEnd> {
        self.perform(&[group(1, false, effects)]).await.remove(0).effects
    }

    /// Performs one atomic group.
    pub(crate) async fn whole(&self, effects: Vec<Effect>) -> Vec<EffectEnd> {
        self.perform(&[group(1, true, effects)]).await.remove(0).effects
    }

    /// Performs one effect, which must fail, and gives its fault.
    pub(crate) async fn refused(&self, effect: Effect) -> Fault {
        match self.sequence(vec![effect]).await.remove(0) {
            EffectEnd::Failed { fault } => fault,
            other => panic!("{other:?}"),
        }
    }

    /// Names anywhere below the root that look like ours.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        self.snapshot().into_keys().filter(|path| path.contains(".tidelock-")).collect()
    }
}

pub(crate) fn effect(body: EffectBody) -> Effect {
    Effect {
        resource: "server.file/x".parse().unwrap(),
        identity: Identity::new(body.path().map_or_else(String::new, |path| format!("path:{path}"))),
        plugin: "server".into(),
        body,
        precondition: None,
        after_crash: AfterCrash::Observe,
        together: None,
        inverse: None,
        inside: vec![],
    }
}

pub(crate) fn group(id: u32, atomic: bool, effects: Vec<Effect>) -> Group {
    let effects = effects
        .into_iter()
        .map(|effect| PlannedEffect {
            summary: effect.body.summary(),
            preview: Preview::default(),
            destructive: false,
            effect,
        })
        .collect();
    let lane = Lane { source: name("s"), stack: name("st"), target: name("t") };
    Group { id, lane, atomic, after: vec![], effects }
}

pub(crate) fn attributes(path: &str, mode: Option<u32>, owner: Option<&str>, group: Option<&str>) -> Effect {
    let attributes = Attributes { mode, owner: owner.map(str::to_owned), group: group.map(str::to_owned) };
    effect(EffectBody::SetAttributes { path: path.to_owned(), attributes })
}

pub(crate) fn directory(path: &str, parents: bool) -> Effect {
    effect(EffectBody::MakeDirectory { path: path.to_owned(), attributes: Attributes::default(), parents })
}

pub(crate) fn link(path: &str, to: &str) -> Effect {
    effect(EffectBody::Link { path: path.to_owned(), to: to.to_owned() })
}

pub(crate) fn remove(path: &str, tree: bool) -> Effect {
    effect(EffectBody::Remove { path: path.to_owned(), tree })
}

pub(crate) fn exec(words: &[&str]) -> Effect {
    effect(EffectBody::Exec {
        argv: words.iter().map(ToString::to_string).collect(),
        cwd: None,
        env: vec![],
        timeout_ms: 20_000,
    })
}

/// Changes a [`EffectBody::PutFile`].
pub(crate) fn file(
    mut effect: Effect,
    change: impl FnOnce(&mut Attributes, &mut bool, &mut Option<String>, &mut Option<Vec<String>>),
) -> Effect {
    if let EffectBody::PutFile { attributes, parents, backup, validate, .. } = &mut effect.body {
        change(attributes, parents, backup, validate);
    }
    effect
}

pub(crate) fn code(end: &EffectEnd) -> &str {
    match end {
        EffectEnd::Done => "done",
        EffectEnd::Failed { fault } => &fault.code,
        EffectEnd::NotReached => "not-reached",
        EffectEnd::Unknown { .. } => "unknown",
    }
}

pub(crate) fn codes(ends: &[EffectEnd]) -> Vec<&str> {
    ends.iter().map(code).collect()
}

pub(crate) fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Says that a test could not look at what it is for.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub(crate) fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}
