//! Targets, as the loop sees them: hands, and what contents they are given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::effect::Effect;
use crate::error::{Blame, Fault};
use crate::name::{Identity, Lane, Name};
use crate::observation::SecretProbe;
use crate::plan::{Group, Preview};
use crate::revision::Revision;
use crate::run::Outcome;
use crate::secret::{SecretName, SecretValue};

/// What effects name and do not hold: contents by digest, secrets by name.
pub trait Blobs: Send + Sync {
    /// The value of a secret that an effect names.
    ///
    /// # Errors
    /// It is no secret of the resources that the pass is about.
    fn secret(&self, name: &SecretName) -> Result<SecretValue, Fault>;

    /// The content with a digest.
    ///
    /// # Errors
    /// Not known, or not readable.
    fn read(&self, digest: &Digest) -> Result<Vec<u8>, Fault>;

    /// Whether a content is made of a secret.
    fn is_secret(&self, digest: &Digest) -> bool;
}

/// Until when effects may be begun: the end of the lease that they are performed under, moved
/// on by whoever renews it. In ms of the system's uptime, with the time that it was suspended:
/// no clock that is set anew changes that, and a process that was frozen finds it over.
#[derive(Debug, Clone)]
pub struct Until(Arc<AtomicU64>);

impl Until {
    /// The end of a lease, in ms of the system's uptime.
    #[must_use]
    pub fn at(uptime_ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(uptime_ms)))
    }

    /// Moves it.
    pub fn set(&self, uptime_ms: u64) {
        self.0.store(uptime_ms, Ordering::Release);
    }

    /// How much of it is left at an uptime in ms, in ms.
    #[must_use]
    pub fn left(&self, uptime_ms: u64) -> u64 {
        self.0.load(Ordering::Acquire).saturating_sub(uptime_ms)
    }

    /// Whether it is over at an uptime in ms: then no effect may be begun.
    #[must_use]
    pub fn is_over(&self, uptime_ms: u64) -> bool {
        uptime_ms >= self.0.load(Ordering::Acquire)
    }
}

/// What stands guard over effects on a target: they are taken back, by the target itself,
/// unless somebody says in time that all is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The run that it is for.
    pub id: String,
    /// The lane.
    pub lane: Lane,
    /// How long it waits, in ms.
    pub within_ms: u64,
    /// When that is over.
    pub until: Timestamp,
    /// The effects, in order, each with its inverse.
    pub effects: Vec<Effect>,
    /// What is tried: digests of identities with what they are to be.
    pub tried: Vec<Digest>,
    /// What was applied whole before, which holds again once the effects are taken back.
    #[serde(default)]
    pub applied: Option<Revision>,
}

/// Where a guard stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardState {
    /// It waits.
    Armed,
    /// It is gone, killed or with its machine, and was told nothing: nobody watches over the effects.
    Gone,
    /// It took the effects back.
    Restored,
}

/// A guard that stands, or that took something back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// The guard, without its effects.
    pub guard: Guard,
    /// Where it stands.
    pub state: GuardState,
    /// Why it took the effects back.
    pub why: String,
    /// What of them did not go back, by identity; `None` where something did not and nobody knows what.
    pub left: Option<Vec<Identity>>,
    /// When its file was last written, in ms since 1970: for one that took effects back, when that was.
    pub written_ms: i64,
}

/// The guards of this system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guards {
    /// Those that stand, are gone, or took something back.
    pub known: Vec<Guarded>,
    /// Targets over which one stands, or stood, that cannot be read, and why. Nobody works there.
    pub unread: BTreeMap<Name, Fault>,
}

fn no_guards() -> Fault {
    Fault::new("unsupported", Blame::Target, "targets of this type have no guards; leave `confirm` out")
}

/// Hands on one target.
#[async_trait]
pub trait Target: Send + Sync {
    /// What tells this system from another under the same name: its machine-id.
    ///
    /// # Errors
    /// The target is gone or unreadable.
    async fn fingerprint(&self) -> Result<String, Fault>;

    /// Which of the systems with its fingerprint this one is, as long as it runs: two targets that give
    /// the same are one, by two names, and a copy of a server is another one. `None` where that is not told.
    ///
    /// # Errors
    /// The target cannot be asked.
    async fn running(&self) -> Result<Option<String>, Fault> {
        Ok(None)
    }

    /// What an effect would look like. Reads only.
    ///
    /// # Errors
    /// The target or a content cannot be read.
    async fn preview(&self, effect: &Effect, blobs: &dyn Blobs) -> Result<Preview, Fault>;

    /// The directories that are not there and that these effects write into without making them, each with the
    /// effect's place. Reads only.
    ///
    /// # Errors
    /// The target cannot be read.
    async fn without_folder(&self, _effects: &[Effect]) -> Result<Vec<(usize, String)>, Fault> {
        Ok(vec![])
    }

    /// Whether what is there rests on these values of secrets, asked by what a provider's looks
    /// gave to compare with: one answer for each, in order; `None` where the target knows no such
    /// comparison. All of a lane are asked at once, so that their number costs no questions. Reads
    /// only.
    async fn matches(&self, asked: &[(&SecretProbe, &SecretValue)]) -> Vec<Result<Option<bool>, Fault>> {
        vec![Ok(None); asked.len()]
    }

    /// The content that an effect takes away or puts another in place of, as long as it is
    /// the one that its precondition tells of, and of `max` bytes at most. Reads only.
    ///
    /// # Errors
    /// The target cannot be read.
    async fn replaced(&self, effect: &Effect, max: u64) -> Result<Option<Vec<u8>>, Fault>;

    /// Performs groups that do not depend on each other; one outcome for each, in order,
    /// and all durable when it returns. Checks each effect's grant and precondition again, and
    /// begins none, and takes none back, once `until` is over: somebody else may be at work then.
    async fn perform(&self, run: &str, groups: &[Group], blobs: &dyn Blobs, until: &Until) -> Vec<Outcome>;

    /// Which of these effects touch the way of Tidelock's own packets to a server, by their
    /// places; none where that way does not lead through what they are about. Reads only.
    ///
    /// # Errors
    /// The system cannot be asked.
    async fn touched(&self, _effects: &[Effect], _host: &str, _port: u16) -> Result<Vec<usize>, Fault> {
        Ok(vec![])
    }

    /// Arms a guard, and returns once it stands on the target by itself.
    ///
    /// # Errors
    /// `unsupported`; it cannot be started.
    async fn arm(&self, _guard: &Guard) -> Result<(), Fault> {
        Err(no_guards())
    }

    /// Tells a guard that the effects which it watches over were performed just now: what vanishes from then
    /// on somebody else takes away.
    ///
    /// # Errors
    /// It cannot be told.
    async fn performed(&self, _id: &str) -> Result<(), Fault> {
        Ok(())
    }

    /// Has a guard take everything back now, and returns once that is done.
    ///
    /// # Errors
    /// It does not answer.
    async fn call_back(&self, _id: &str, _why: &str) -> Result<(), Fault> {
        Err(no_guards())
    }

    /// Does what a guard should have done that is gone; nothing where it is not. The caller has
    /// the target's lease: whoever it guarded may else be at work.
    ///
    /// # Errors
    /// It cannot be done.
    async fn relieve(&self, _id: &str) -> Result<(), Fault> {
        Err(no_guards())
    }

    /// Removes what an interrupted `perform` left beside the paths of these effects.
    ///
    /// # Errors
    /// The target cannot be read.
    async fn sweep(&self, effects: &[Effect]) -> Result<usize, Fault>;
}

/// The room of targets.
pub trait Targets: Send + Sync {
    /// A target by name, with all grants on it.
    ///
    /// # Errors
    /// Unknown, or a grant that cannot be read.
    fn target(&self, name: &Name) -> Result<Arc<dyn Target>, Fault>;

    /// The guards that stand on this system, whichever target they are for, those that are gone,
    /// and those that took something back since the last guard of their lane was armed. Opens no
    /// target: one that is out of reach hides the guards of none.
    ///
    /// # Errors
    /// They cannot be looked for.
    fn guards(&self) -> Result<Guards, Fault> {
        Ok(Guards::default())
    }

    /// Tells a guard that all is well. Says whether it was in time. Opens no target.
    ///
    /// # Errors
    /// The guard cannot be told.
    fn confirm(&self, _target: &Name, _guard: &str) -> Result<bool, Fault> {
        Err(no_guards())
    }
}
