//! Leases of a pass by the clock on the wall: they are kept as long as the pass takes.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use tidelock_model::name::Lane;
use tidelock_model::plan::Plan;
use tidelock_model::port::{Clock, Store};
use tidelock_model::run::RunEnd;

use super::world::{Says, World, lane};
use crate::runtime::{Approver, Yes};

/// The clock on the wall.
pub(super) struct OnTheWall(Instant);

impl OnTheWall {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for OnTheWall {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn uptime(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }

    fn sleep(&self, ms: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(Duration::from_millis(ms)))
    }
}

/// A person who reads for longer than a lease lasts, while a daemon wants the lane.
struct Reader {
    store: Arc<dyn Store>,
    daemon: Mutex<Option<String>>,
}

#[async_trait]
impl Approver for Reader {
    async fn approve(&self, plan: &Plan, lanes: &[Lane]) -> Option<Yes> {
        tokio::time::sleep(Duration::from_millis(2_000)).await;
        let taken = self.store.lease(&format!("lane:{}", lane()), "daemon", 60_000);
        *self.daemon.lock().unwrap() = Some(taken.map_or_else(|error| error.code, |_| "taken".to_owned()));
        Says(true).approve(plan, lanes).await
    }
}

#[tokio::test]
async fn a_person_may_read_for_longer_than_a_lease_lasts() {
    let mut world = World::new();
    world.runtime.clock = OnTheWall::new();
    world.runtime.lease_ms = 900;
    world.resource("a.json", "a", "/etc/a", "one", "");
    let reader = Reader { store: world.runtime.store.clone(), daemon: Mutex::default() };
    let applied = world.apply_by(&reader).await.unwrap();
    assert_eq!(applied.end, RunEnd::Done);
    assert_eq!(reader.daemon.lock().unwrap().as_deref(), Some("busy"));
}
