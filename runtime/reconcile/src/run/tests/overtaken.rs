//! Somebody else changes what a plan relied on, between the look and the deed.

use tidelock_model::run::{RunEnd, Status};

use super::world::{World, lane};

fn ahead(times: usize, content: &str) -> World {
    let world = World::new();
    world.resource("a.json", "a", "/etc/a", "ours0", "");
    world.resource("b.json", "b", "/etc/b", "ours", "");
    world.machine.ahead.lock().unwrap().insert("/etc/a".into(), (times, content.into()));
    world
}

#[tokio::test]
async fn what_somebody_else_was_ahead_of_is_planned_anew() {
    let world = ahead(2, "theirs");
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.runs.len(), applied.overtaken.len()), (RunEnd::Done, 3, 2));
    assert!(applied.failures.is_empty() && applied.skipped.is_empty(), "{applied:?}");
    assert_eq!(world.performed(), ["put-file /etc/b", "put-file /etc/a"], "what was done is not done again");
    assert_eq!(world.runtime.store.lane(&lane()).unwrap().unwrap().status, Status::Converged);
}

#[tokio::test]
async fn what_somebody_else_did_just_so_need_not_be_done() {
    let world = ahead(1, "ours");
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.overtaken.len()), (RunEnd::Done, 1));
    assert_eq!(world.performed(), ["put-file /etc/b"]);
    assert_eq!(world.runtime.store.lane(&lane()).unwrap().unwrap().status, Status::Converged);
}

#[tokio::test]
async fn nobody_runs_after_others_for_ever() {
    let world = ahead(usize::MAX, "theirs");
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.runs.len(), applied.overtaken.len()), (RunEnd::Partly, 5, 4));
    assert_eq!(applied.failures.len(), 1);
    // What fails by itself is not tried again.
    let world = ahead(0, "");
    world.machine.broken.lock().unwrap().insert("/etc/a".into());
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.runs.len()), (RunEnd::Partly, 1));
}
