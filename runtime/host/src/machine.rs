//! What the host asks of a machine: reads alone. The one place where this crate
//! meets `tidelock-target`, narrowed to a trait, so that no capability can reach the
//! functions that write.

use std::sync::Arc;

use async_trait::async_trait;
use tidelock_model::error::Fault;
use tidelock_model::grant::Grant;
use tidelock_model::name::Name;
use tidelock_target::{Ended, Machine, Stat};

/// Opens a target by name, with all grants on it.
pub type OpenMachine = Arc<dyn Fn(&Name) -> Result<Arc<Machine>, Fault> + Send + Sync>;

/// The reads of a machine. See [`Machine`].
#[async_trait]
pub(crate) trait MachineReads: Send + Sync {
    fn grant(&self, plugin: &str) -> Option<&Grant>;
    fn stat(&self, paths: &[String], digest: bool) -> Vec<Result<Stat, Fault>>;
    fn list(&self, path: &str) -> Result<Option<Vec<String>>, Fault>;
    fn content(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, Fault>;
    fn user(&self, name_or_number: &str) -> Result<Option<String>, Fault>;
    fn group(&self, name_or_number: &str) -> Result<Option<String>, Fault>;
    async fn probe(&self, argv: &[String], timeout_ms: u32) -> Result<Ended, Fault>;
}

#[async_trait]
impl MachineReads for Machine {
    fn grant(&self, plugin: &str) -> Option<&Grant> {
        Machine::grant(self, plugin)
    }
    fn stat(&self, paths: &[String], digest: bool) -> Vec<Result<Stat, Fault>> {
        Machine::stat(self, paths, digest)
    }
    fn list(&self, path: &str) -> Result<Option<Vec<String>>, Fault> {
        Machine::list(self, path)
    }
    fn content(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, Fault> {
        Machine::content(self, path, max)
    }
    fn user(&self, name_or_number: &str) -> Result<Option<String>, Fault> {
        Machine::user(self, name_or_number)
    }
    fn group(&self, name_or_number: &str) -> Result<Option<String>, Fault> {
        Machine::group(self, name_or_number)
    }
    async fn probe(&self, argv: &[String], timeout_ms: u32) -> Result<Ended, Fault> {
        Machine::probe(self, argv, timeout_ms).await
    }
}
