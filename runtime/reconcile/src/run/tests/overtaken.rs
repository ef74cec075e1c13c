//! Somebody else changes what a plan relied on, between the look and the deed.

use tidelock_model::port::GuardState;
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
async fn what_somebody_else_made_of_it_is_not_written_over_by_an_old_yes() {
    let world = ahead(1, "theirs");
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.runs.len(), applied.cut_short.len()), (RunEnd::Partly, 1, 1));
    assert!(applied.cut_short[0].message.contains("was not agreed to"), "{applied:?}");
    assert_eq!(applied.failures.len(), 1);
    assert_eq!(world.performed(), ["put-file /etc/b"], "theirs stays");
    // Whoever applies again has seen it.
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(world.performed(), ["put-file /etc/a"]);
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
async fn a_saved_plan_is_applied_as_it_was_reviewed_or_not_at_all() {
    let world = ahead(1, "ours");
    let saved = world.plan().await.unwrap();
    let applied = world.apply_saved(&saved).await.unwrap();
    assert_eq!((applied.end, applied.runs.len(), applied.overtaken.len()), (RunEnd::Partly, 1, 0));
    assert_eq!(applied.failures.len(), 1);
}

#[tokio::test]
async fn what_fails_by_itself_is_not_tried_again() {
    let world = ahead(0, "");
    world.machine.broken.lock().unwrap().insert("/etc/a".into());
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.runs.len()), (RunEnd::Partly, 1));
}

#[tokio::test]
async fn a_guard_is_let_go_where_nothing_was_written() {
    let mut world = World::new();
    world.write("stack.yaml", "name: web\ntargets: local\nrenderer: fake\nconfirm: 30s\n");
    world.resource("a.json", "a", "/net/a", "ours0", "");
    world.machine.ahead.lock().unwrap().insert("/net/a".into(), (1, "ours".into()));
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.overtaken.len(), applied.unchecked.len()), (RunEnd::Done, 1, 0), "{applied:?}");
    assert_eq!(world.machine.guarded().len(), 0, "it waits for nobody");

    // Also where it is a person who would confirm.
    world.runtime.confirm_within_ms = Some(60_000);
    world.resource("a.json", "a", "/net/a", "theirs0", "");
    world.machine.ahead.lock().unwrap().insert("/net/a".into(), (1, "theirs".into()));
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.waits.len()), (RunEnd::Done, 0), "{applied:?}");
}

#[tokio::test]
async fn a_guard_takes_back_what_was_written_before_somebody_was_ahead() {
    let world = World::new();
    world.write("stack.yaml", "name: web\ntargets: local\nrenderer: fake\nconfirm: 30s\n");
    world.resource("a.json", "a", "/net/a", "ours", "");
    world.resource("b.json", "b", "/net/b", "ours", "");
    world.machine.ahead.lock().unwrap().insert("/net/a".into(), (1, "theirs".into()));
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.unchecked.len()), (RunEnd::Partly, 1), "{applied:?}");
    assert_eq!(world.machine.guarded()[0].state, GuardState::Restored);
}

#[tokio::test]
async fn a_guard_that_does_not_answer_hides_nothing_of_what_was_done() {
    let world = World::new();
    world.write("stack.yaml", "name: web\ntargets: local\nrenderer: fake\nconfirm: 30s\n");
    world.resource("a.json", "a", "/net/a", "ours", "");
    world.resource("b.json", "b", "/etc/b", "ours", "");
    world.machine.broken.lock().unwrap().insert("/net/a".into());
    *world.machine.deaf.lock().unwrap() = true;
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.runs[0].ended.is_some()), (RunEnd::Partly, true), "{applied:?}");
    assert!(applied.unchecked[0].1.starts_with("its guard cannot be told"), "{applied:?}");
}
