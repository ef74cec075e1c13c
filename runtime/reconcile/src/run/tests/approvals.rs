//! What people said beforehand, as the loop and a later caller meet it.

use tidelock_model::config::GateDecl;
use tidelock_model::digest::Digest;
use tidelock_model::port::{LaneRecord, Want};
use tidelock_model::run::{RunEnd, Status};

use super::settled;
use super::world::{World, lane};
use crate::{Applied, Caller, Planned, Selection};

fn everything() -> Selection {
    Selection { source: None, stacks: vec![], targets: vec![], want: Want::Configured }
}

/// A pass of the loop: nobody is asked.
async fn pass(world: &World) -> Applied {
    crate::apply(&world.runtime, &everything(), "loop", Caller::Loop, None).await.unwrap()
}

fn record(world: &World) -> LaneRecord {
    world.runtime.store.lane(&lane()).unwrap().unwrap()
}

fn planned(world: &World) -> Planned {
    let mut all = crate::planned(world.runtime.store.as_ref(), &everything()).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn approve(world: &World, who: &str) {
    let now = world.runtime.clock.now();
    crate::approve(world.runtime.store.as_ref(), now, &planned(world), who, None).unwrap();
}

#[tokio::test]
async fn in_the_loop_a_yes_given_beforehand_counts_and_nobody_is_asked() {
    let world = settled().await;
    world.resource("a.json", "a", "/etc/a", "new", "");
    assert_eq!(pass(&world).await.end, RunEnd::Waiting);
    assert_eq!((record(&world).status, record(&world).waits[0].code.as_str()), (Status::Waiting, "on-commit"));
    assert!(world.performed().is_empty());
    assert!(planned(&world).awaits_approval());

    approve(&world, "grace");
    let applied = pass(&world).await;
    assert_eq!((applied.end, applied.runs[0].approver.as_deref()), (RunEnd::Done, Some("grace")));
    assert_eq!(world.performed(), ["put-file /etc/a"]);
    assert_eq!(record(&world).status, Status::Converged);
}

#[tokio::test]
async fn in_the_loop_what_may_be_applied_is() {
    let world = settled().await;
    world.write("stack.yaml", "name: web\ntargets: local\nrenderer: fake\non_commit: apply\non_drift: apply\n");
    pass(&world).await;
    world.resource("a.json", "a", "/etc/a", "newer", "");
    assert_eq!(pass(&world).await.end, RunEnd::Done);
    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"by hand"));
    assert_eq!(pass(&world).await.end, RunEnd::Done);
}

#[tokio::test]
async fn what_is_only_to_be_reported_waits_for_nobody_and_is_not_applied() {
    let world = settled().await;
    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"by hand"));
    pass(&world).await;
    assert_eq!((record(&world).status, record(&world).waits[0].code.as_str()), (Status::Drifted, "reports"));
    assert!(world.performed().is_empty());
    approve(&world, "grace");
    assert_eq!(pass(&world).await.end, RunEnd::Done, "a person may want it all the same");
}

#[tokio::test]
async fn first_contact_waits_in_the_loop_until_somebody_says_yes() {
    let world = World::new();
    world.resource("a.json", "a", "/etc/a", "one", "");
    assert_eq!(pass(&world).await.end, RunEnd::Waiting);
    assert!(world.on_machine().is_empty());
    approve(&world, "grace");
    assert_eq!(pass(&world).await.end, RunEnd::Done);
}

#[tokio::test]
async fn a_yes_beforehand_for_whole_targets_is_one_for_creates_alone() {
    let mut world = World::new();
    std::sync::Arc::make_mut(&mut world.runtime.config).accept_new = vec!["loc*".to_owned()];
    world.machine.paths.lock().unwrap().insert("/etc/b".into(), Digest::of(b"theirs"));
    world.resource("a.json", "a", "/etc/a", "one", "");
    world.resource("b.json", "b", "/etc/b", "two", "");
    assert_eq!(pass(&world).await.end, RunEnd::Waiting, "a take-over is no create");
    world.remove("b.json");
    assert_eq!(pass(&world).await.end, RunEnd::Done);
    assert_eq!(world.performed(), ["put-file /etc/a"]);
}

#[tokio::test]
async fn a_later_caller_is_not_asked_again_and_a_plan_that_changed_is_another() {
    let world = settled().await;
    world.resource("a.json", "a", "/etc/a", "new", "");
    world.plan().await.unwrap();
    approve(&world, "grace");
    // The target changes: what was approved is not what would be done now.
    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"by hand"));
    assert_eq!(world.apply(false).await.unwrap().end, RunEnd::Waiting);
    assert!(world.performed().is_empty());
    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"one"));
    let applied = world.apply(false).await.unwrap();
    assert_eq!((applied.end, applied.runs[0].approver.as_deref()), (RunEnd::Done, Some("grace")));
}

#[tokio::test]
async fn a_rule_that_asks_for_people_is_not_met_by_the_callers_yes() {
    let mut world = settled().await;
    std::sync::Arc::make_mut(&mut world.runtime.config).gate =
        vec![GateDecl { approvals: Some(2), ..GateDecl::default() }];
    world.resource("a.json", "a", "/etc/a", "new", "");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Waiting);
    approve(&world, "grace");
    let applied = world.apply(true).await.unwrap();
    assert_eq!(applied.end, RunEnd::Waiting);
    assert!(record(&world).waits[0].message.contains("so far: grace"), "{:?}", record(&world).waits);
    approve(&world, "alan");
    let applied = world.apply(false).await.unwrap();
    assert_eq!((applied.end, applied.runs[0].approver.as_deref()), (RunEnd::Done, Some("grace, alan")));
}
