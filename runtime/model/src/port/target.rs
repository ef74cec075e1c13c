//! Targets, as the loop sees them: hands, and what contents they are given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use crate::digest::Digest;
use crate::effect::Effect;
use crate::error::Fault;
use crate::name::Name;
use crate::observation::SecretProbe;
use crate::plan::{Group, Preview};
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

    /// Whether it is over at an uptime in ms: then no effect may be begun.
    #[must_use]
    pub fn is_over(&self, uptime_ms: u64) -> bool {
        uptime_ms >= self.0.load(Ordering::Acquire)
    }
}

/// Hands on one target.
#[async_trait]
pub trait Target: Send + Sync {
    /// What tells this system from another under the same name: its machine-id.
    ///
    /// # Errors
    /// The target is gone or unreadable.
    async fn fingerprint(&self) -> Result<String, Fault>;

    /// What an effect would look like. Reads only.
    ///
    /// # Errors
    /// The target or a content cannot be read.
    async fn preview(&self, effect: &Effect, blobs: &dyn Blobs) -> Result<Preview, Fault>;

    /// Whether what is there rests on this value of a secret, asked by what a provider's look
    /// gave to compare with; `None` where the target knows no such comparison. Reads only.
    ///
    /// # Errors
    /// The target cannot be read.
    async fn matches(&self, _probe: &SecretProbe, _value: &SecretValue) -> Result<Option<bool>, Fault> {
        Ok(None)
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
}
