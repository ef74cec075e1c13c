//! A target of paths, as strict about what a plan relied on as the real thing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tidelock_model::digest::Digest;
use tidelock_model::effect::{Effect, EffectBody, PathState, Precondition};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::name::{Identity, Name};
use tidelock_model::network::{NetworkEffect, Object};
use tidelock_model::plan::{Group, Preview};
use tidelock_model::port::{Blobs, Guard, GuardState, Guarded, Guards, Target, Targets, Until};
use tidelock_model::run::{EffectEnd, Outcome};

/// What the fake target holds, and how it misbehaves.
#[derive(Default)]
pub(in crate::run::tests) struct Machine {
    /// Whether it only copies another one.
    pub(in crate::run::tests) standby: Mutex<bool>,
    pub(in crate::run::tests) paths: Mutex<BTreeMap<String, Digest>>,
    /// What cannot be looked at before another path is there.
    pub(in crate::run::tests) after: Mutex<BTreeMap<String, String>>,
    /// Writing these fails.
    pub(in crate::run::tests) broken: Mutex<BTreeSet<String>>,
    /// Somebody else puts this there at the moment of writing, so often.
    pub(in crate::run::tests) ahead: Mutex<BTreeMap<String, (usize, String)>>,
    /// The process "dies" before performing anything: `perform` panics.
    pub(in crate::run::tests) dies: Mutex<bool>,
    /// Effects that were performed.
    pub(in crate::run::tests) performed: Mutex<Vec<String>>,
    /// It is written once that many others are.
    pub(in crate::run::tests) meets: Mutex<Option<Arc<tokio::sync::Barrier>>>,
    /// Somebody wishes for an end while it is written.
    pub(in crate::run::tests) interrupts: Mutex<Option<crate::Interrupt>>,
    /// Whether what is done there touches the way to Git.
    pub(in crate::run::tests) on_the_way: Mutex<bool>,
    /// Whether it cannot be looked at any more once it was written.
    pub(in crate::run::tests) blinds: Mutex<bool>,
    /// Whether its guards do not answer.
    pub(in crate::run::tests) deaf: Mutex<bool>,
    /// Guards that stand, and those that took something back, each with what was there of the network
    /// when it was armed. What is broken they cannot take back.
    pub(in crate::run::tests) guards: Mutex<Vec<(Guarded, BTreeMap<String, Digest>)>>,
    /// What was ever put there.
    pub(in crate::run::tests) contents: Mutex<BTreeMap<Digest, Vec<u8>>>,
}

pub(super) fn state(digest: Option<&Digest>) -> PathState {
    digest.map_or(PathState::Absent, |digest| PathState::File {
        digest: Some(*digest),
        mode: 0o644,
        owner: "root".into(),
        group: "root".into(),
        size: 0,
    })
}

pub(super) struct FakeTargets(pub(super) Arc<Machine>);

impl Targets for FakeTargets {
    fn target(&self, _: &Name) -> Result<Arc<dyn Target>, Fault> {
        Ok(self.0.clone())
    }

    fn guards(&self) -> Result<Guards, Fault> {
        Ok(Guards { known: self.0.guarded(), ..Guards::default() })
    }

    fn confirm(&self, _: &Name, id: &str) -> Result<bool, Fault> {
        Ok(self.0.confirmed(id))
    }
}

/// What lies below this is of the network, as far as guards are concerned.
const NETWORK: &str = "/net/";

fn is_network(path: &str) -> bool {
    path.starts_with(NETWORK)
}

/// Which setting of the network such a path stands for.
pub(super) fn setting(path: &str) -> Option<String> {
    path.strip_prefix(NETWORK).map(|name| format!("net.fake.{name}"))
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
                Outcome { run: run.to_owned(), group: group.id, effects, lost: vec![] }
            })
            .collect()
    }

    async fn touched(&self, effects: &[Effect], host: &str, port: u16) -> Result<Vec<usize>, Fault> {
        assert_eq!((host, port), ("git.example.com", 443));
        Ok(if *self.on_the_way.lock().unwrap() { (0..effects.len()).collect() } else { vec![] })
    }

    async fn arm(&self, guard: &Guard) -> Result<(), Fault> {
        let mut guards = self.guards.lock().unwrap();
        guards.retain(|(old, _)| old.state != GuardState::Restored || old.guard.lane != guard.lane);
        let guard = Guard { effects: vec![], ..guard.clone() };
        let armed = Guarded { guard, state: GuardState::Armed, why: String::new(), left: Some(vec![]), written_ms: 0 };
        guards.push((armed, self.of_network()));
        Ok(())
    }

    async fn call_back(&self, id: &str, why: &str) -> Result<(), Fault> {
        if *self.deaf.lock().unwrap() {
            return Err(Fault::new("timeout", Blame::Target, "the guard does not answer"));
        }
        assert!(self.goes_back(id, why));
        Ok(())
    }

    async fn sweep(&self, _: &[Effect]) -> Result<usize, Fault> {
        Ok(0)
    }
}

impl Machine {
    pub(in crate::run::tests) fn guarded(&self) -> Vec<Guarded> {
        self.guards.lock().unwrap().iter().map(|(guarded, _)| guarded.clone()).collect()
    }

    pub(super) fn confirmed(&self, id: &str) -> bool {
        let mut guards = self.guards.lock().unwrap();
        let at = guards.iter().position(|(one, _)| one.guard.id == id && one.state == GuardState::Armed);
        at.map(|at| guards.remove(at)).is_some()
    }

    /// A guard takes back what it watches over.
    pub(in crate::run::tests) fn goes_back(&self, id: &str, why: &str) -> bool {
        let mut guards = self.guards.lock().unwrap();
        let armed = guards.iter_mut().find(|(one, _)| one.guard.id == id && one.state == GuardState::Armed);
        let Some((guarded, before)) = armed else { return false };
        let mut paths = self.paths.lock().unwrap();
        let stuck = self.broken.lock().unwrap();
        let left = |path: &String| !is_network(path) || stuck.contains(path);
        paths.retain(|path, _| left(path));
        let back: Vec<_> = before.iter().filter(|(path, _)| !left(path)).collect();
        paths.extend(back.into_iter().map(|(path, digest)| (path.clone(), *digest)));
        let stuck = stuck.iter().filter(|path| is_network(path));
        let identities: Vec<Identity> = stuck.map(|path| Identity::new(format!("path:{path}"))).collect();
        let told = if identities.is_empty() { "" } else { "; and not all of it could be taken back: it is read-only" };
        guarded.left = Some(identities);
        (guarded.state, guarded.why) = (GuardState::Restored, format!("{why}{told}"));
        true
    }

    fn of_network(&self) -> BTreeMap<String, Digest> {
        let paths = self.paths.lock().unwrap();
        paths.iter().filter(|(path, _)| is_network(path)).map(|(path, digest)| (path.clone(), *digest)).collect()
    }

    fn one(&self, effect: &Effect, blobs: &dyn Blobs) -> EffectEnd {
        let mut paths = self.paths.lock().unwrap();
        let path = effect.identity.path().unwrap();
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
            EffectBody::Network(NetworkEffect::Put { object: Object::Sysctl(setting) }) => {
                let content: Digest = setting.value.parse().unwrap();
                self.contents.lock().unwrap().insert(content, blobs.read(&content).unwrap());
                paths.insert(path.to_owned(), content);
            }
            EffectBody::Remove { .. } | EffectBody::Network(NetworkEffect::Remove { .. }) => {
                paths.remove(path);
            }
            other => panic!("not used: {other:?}"),
        }
        EffectEnd::Done
    }
}
