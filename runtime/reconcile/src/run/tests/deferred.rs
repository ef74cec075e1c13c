//! What cannot be planned before something else is done.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tidelock_model::name::Lane;
use tidelock_model::plan::Plan;
use tidelock_model::run::{RunEnd, Status};

use super::world::{Meanwhile, World, everything, lane};
use crate::runtime::{Approver, Caller, Yes};

/// A world of three files, of which each can be looked at once the one before is there.
fn chain() -> World {
    let world = World::new();
    for (file, path) in [("a.json", "a"), ("b.json", "b"), ("c.json", "c")] {
        world.resource(file, path, &format!("/etc/{path}"), "one", "");
    }
    let after = [("/etc/b", "/etc/a"), ("/etc/c", "/etc/b")];
    *world.machine.after.lock().unwrap() = after.map(|(path, first)| (path.to_owned(), first.to_owned())).into();
    world
}

/// Says yes to so many plans.
struct Patience(AtomicUsize);

#[async_trait]
impl Approver for Patience {
    async fn approve(&self, _: &Plan, _: &[Lane]) -> Option<Yes> {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok()?;
        Some(Yes { who: "tester".into(), how: format!("{left} left"), comment: None })
    }
}

#[tokio::test]
async fn one_run_plans_what_became_known_on_the_way() {
    let world = chain();
    assert!(!world.plan().await.unwrap().complete);
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.runs.len(), applied.deferred.len()), (RunEnd::Done, 3, 0));
    assert_eq!(world.performed(), ["put-file /etc/a", "put-file /etc/b", "put-file /etc/c"]);
    let record = world.runtime.store.lane(&lane()).unwrap().unwrap();
    assert_eq!(record.status, Status::Converged);
}

#[tokio::test]
async fn what_became_known_on_the_way_takes_a_yes_of_its_own() {
    let world = chain();
    let patience = Patience(AtomicUsize::new(2));
    let applied = crate::apply(&world.runtime, &everything(), "tester", Caller::Once(&patience), None).await.unwrap();
    assert_eq!(applied.end, RunEnd::Waiting);
    assert!(applied.waits.iter().all(|(_, wait)| wait.approvable), "{:?}", applied.waits);
    assert_eq!(world.on_machine(), ["/etc/a", "/etc/b"]);
}

#[tokio::test]
async fn a_further_pass_that_cannot_be_made_hides_nothing_of_what_was_done() {
    let world = chain();
    let fails = Meanwhile(|| *world.machine.standby.lock().unwrap() = true);
    let applied = world.apply_by(&fails).await.unwrap();
    assert_eq!((applied.end, applied.runs.len(), applied.deferred.len()), (RunEnd::Partly, 1, 2));
    assert_eq!(applied.cut_short[0].message, "it only copies another server");
    assert_eq!(world.on_machine(), ["/etc/a"]);
}

#[tokio::test]
async fn what_stays_unknown_is_no_success_and_no_loop() {
    let world = chain();
    world.machine.after.lock().unwrap().insert("/etc/b".into(), "/never".into());
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.runs.len()), (RunEnd::Partly, 1));
    let left: Vec<String> = applied.deferred.iter().map(|(of, why)| format!("{}: {why}", of.resource)).collect();
    assert_eq!(
        left,
        ["fake.file/b: waits for path:/never: not there", "fake.file/c: waits for path:/etc/b: not there"]
    );
    assert_eq!(world.on_machine(), ["/etc/a"]);
    let record = world.runtime.store.lane(&lane()).unwrap().unwrap();
    assert_ne!(record.status, Status::Converged);
}
