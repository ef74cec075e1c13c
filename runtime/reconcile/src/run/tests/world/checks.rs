//! Checks that hold unless a test says otherwise.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tidelock_model::check::Probe;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::port::Checker;

/// Checks by their words: those that fail, and what was asked.
#[derive(Default)]
pub(in crate::run::tests) struct FakeChecks {
    /// Each answers once that many others are asked.
    pub(in crate::run::tests) meet: Mutex<Option<Arc<tokio::sync::Barrier>>>,
    pub(in crate::run::tests) failing: Mutex<BTreeSet<String>>,
    pub(in crate::run::tests) asked: Mutex<Vec<String>>,
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
