//! Targets, as the loop sees them: hands, and what contents they are given.

use std::sync::Arc;

use async_trait::async_trait;

use crate::digest::Digest;
use crate::effect::Effect;
use crate::error::Fault;
use crate::name::Name;
use crate::plan::{Group, Preview};
use crate::run::Outcome;

/// Contents by digest.
pub trait Blobs: Send + Sync {
    /// The content with a digest.
    ///
    /// # Errors
    /// Not known, or not readable.
    fn read(&self, digest: &Digest) -> Result<Vec<u8>, Fault>;
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

    /// The content that an effect takes away or puts another in place of, as long as it is
    /// the one that its precondition tells of, and of `max` bytes at most. Reads only.
    ///
    /// # Errors
    /// The target cannot be read.
    async fn replaced(&self, effect: &Effect, max: u64) -> Result<Option<Vec<u8>>, Fault>;

    /// Performs groups that do not depend on each other; one outcome for each, in order,
    /// and all durable when it returns. Checks each effect's grant and precondition again.
    async fn perform(&self, run: &str, groups: &[Group], blobs: &dyn Blobs) -> Vec<Outcome>;

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
