//! The leases of a pass: who holds a lane and its target, and until when.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::error::{Blame, Fault};
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::{Lease, Until};

use crate::error::RunError;
use crate::runtime::Runtime;
use crate::select::Selected;

/// How long a command waits for a lease: longer than a pass of the loop that finds
/// something small to do, shorter than a person's patience.
const PATIENCE_MS: u64 = 10_000;

/// How often a command asks for a lease that is another's.
const ASK_AGAIN_MS: u64 = 100;

/// The leases of a pass; given back when it ends.
pub(crate) struct Leases {
    lanes: BTreeMap<Lane, Lease>,
    targets: BTreeMap<Name, Lease>,
    store: std::sync::Arc<dyn tidelock_model::port::Store>,
    until: Until,
}

impl Leases {
    /// Takes the leases of the lanes of a pass.
    pub(crate) fn take(runtime: &Runtime, selected: &[Selected], who: &str) -> Result<Self, RunError> {
        Self::of_lanes(runtime, selected.iter().map(|selected| &selected.lane), who)
    }

    /// The same for a command: a daemon that is at work there gets a while to end its pass.
    pub(crate) async fn wait(runtime: &Runtime, lanes: &[&Lane], who: &str) -> Result<Self, RunError> {
        let mut waited = 0;
        loop {
            match Self::of_lanes(runtime, lanes.iter().copied(), who) {
                Err(RunError::Store(error)) if error.code == "busy" && waited < PATIENCE_MS => {
                    runtime.clock.sleep(ASK_AGAIN_MS).await;
                    waited += ASK_AGAIN_MS;
                }
                taken => return taken,
            }
        }
    }

    /// Takes the leases of lanes and of their targets, in one order for everybody.
    pub(crate) fn of_lanes<'a>(
        runtime: &Runtime,
        lanes: impl IntoIterator<Item = &'a Lane>,
        who: &str,
    ) -> Result<Self, RunError> {
        // From before they are taken: the store counts from later on.
        let until = Until::at(runtime.clock.uptime().saturating_add(runtime.lease_ms));
        let mut leases = Self { lanes: BTreeMap::new(), targets: BTreeMap::new(), store: runtime.store.clone(), until };
        let lanes: BTreeSet<&Lane> = lanes.into_iter().collect();
        let targets: BTreeSet<&Name> = lanes.iter().map(|lane| &lane.target).collect();
        for target in targets {
            let lease = runtime.store.lease(&format!("target:{target}"), who, runtime.lease_ms)?;
            leases.targets.insert(target.clone(), lease);
        }
        for lane in lanes {
            let lease = runtime.store.lease(&format!("lane:{lane}"), who, runtime.lease_ms)?;
            leases.lanes.insert(lane.clone(), lease);
        }
        Ok(leases)
    }

    /// A lane's lease.
    pub(crate) fn of(&self, lane: &Lane) -> Result<&Lease, RunError> {
        self.lanes
            .get(lane)
            .ok_or_else(|| Fault::new("fenced", Blame::Host, format!("no lease is held for {lane}")).into())
    }

    /// Keeps all of them for another while.
    pub(crate) fn renew(&self, runtime: &Runtime) -> Result<(), RunError> {
        let until = runtime.clock.uptime().saturating_add(runtime.lease_ms);
        for lease in self.targets.values().chain(self.lanes.values()) {
            runtime.store.renew(lease, runtime.lease_ms)?;
        }
        self.until.set(until);
        Ok(())
    }

    /// The same where a third of the time is gone: what is written under a lease asks for it by
    /// itself, so that a lane need not renew those of all the others.
    pub(crate) fn renew_when_due(&self, runtime: &Runtime) -> Result<(), RunError> {
        let left = self.until.left(runtime.clock.uptime());
        if left > runtime.lease_ms / 3 * 2 { Ok(()) } else { self.renew(runtime) }
    }

    /// Until when effects may be begun under them.
    pub(crate) fn until(&self) -> &Until {
        &self.until
    }

    /// Waits for something that may take longer than a lease lasts, and keeps them meanwhile.
    pub(crate) async fn kept_while<T>(&self, runtime: &Runtime, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            // What was before may have taken its time. What is under way ends all the same; what comes
            // after it asks for the lease itself. Of several that wait at once, one renews them for all.
            if let Err(error) = self.renew_when_due(runtime) {
                tracing::warn!(%error, "a lease was not renewed");
            }
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = runtime.clock.sleep(runtime.lease_ms / 3) => {}
            }
        }
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        for lease in self.targets.values().chain(self.lanes.values()) {
            // A lease that cannot be given back runs out by itself.
            if let Err(error) = self.store.release(lease) {
                tracing::warn!(lease = %lease.key, %error, "lease not given back");
            }
        }
    }
}
