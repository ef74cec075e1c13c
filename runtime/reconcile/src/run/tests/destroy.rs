//! Destroying stacks, and forgetting what is ours.

use tidelock_model::config::GateDecl;
use tidelock_model::hold::{HoldKind, Scope};
use tidelock_model::name::{Address, Identity};
use tidelock_model::plan::Action;
use tidelock_model::port::{Filter, Want};
use tidelock_model::run::{RunEnd, Status};

use super::settled;
use super::world::{Says, World, lane, lines, name};
use crate::{Applied, Caller, Forget, RunError, Selection};

async fn destroy(world: &World, yes: bool) -> Result<Applied, RunError> {
    let selection = Selection { source: None, stacks: vec!["web".into()], targets: vec![], want: Want::Configured };
    let web = [name("web")];
    crate::destroy(&world.runtime, crate::Leaving::Stacks(&web), &selection, "ada", Caller::Once(&Says(yes))).await
}

fn status(world: &World) -> Option<Status> {
    world.runtime.store.lane(&lane()).unwrap().map(|record| record.status)
}

fn owned(world: &World) -> usize {
    world.runtime.store.inventory(&name("local")).unwrap().len()
}

/// A world whose stack has left Git.
async fn orphaned() -> World {
    let world = settled().await;
    world.remove("stack.yaml");
    assert!(world.plan().await.is_err(), "there is no stack any more");
    assert_eq!(status(&world), Some(Status::Orphaned));
    world
}

#[tokio::test]
async fn a_stack_that_left_git_is_destroyed_with_a_yes() {
    let world = orphaned().await;
    let applied = destroy(&world, false).await.unwrap();
    assert_eq!(applied.end, RunEnd::Waiting);
    assert_eq!(lines(&applied.plan), ["delete fake.file/a (revision)", "delete fake.file/b (revision)"]);
    assert!(applied.waits.iter().any(|(_, wait)| wait.code == "destroy"), "{:?}", applied.waits);
    assert_eq!((world.on_machine().len(), owned(&world)), (2, 2));

    let applied = destroy(&world, true).await.unwrap();
    assert_eq!(applied.end, RunEnd::Done);
    assert_eq!((world.on_machine().len(), owned(&world), status(&world)), (0, 0, None));
    let history = world.runtime.store.history(&Filter::default()).unwrap();
    assert_eq!((history[0].action, history[0].who.as_str()), (Action::Delete, "ada"));
    let RunError::Selection { message, .. } = destroy(&world, true).await.unwrap_err() else { panic!("not told") };
    assert!(message.contains("nothing is known of a stack web"), "{message}");
}

#[tokio::test]
async fn a_stack_in_git_is_destroyed_only_where_the_loop_is_kept_away() {
    let world = settled().await;
    let RunError::Selection { message, hint } = destroy(&world, true).await.unwrap_err() else { panic!("not told") };
    assert!(message.contains("still in Git"), "{message}");
    assert!(hint.unwrap().contains("tidelock suspend web"));
    assert_eq!(world.on_machine().len(), 2);

    crate::hold(&world.runtime, HoldKind::Suspend, Scope::of(&lane()), None, None, "ada").unwrap();
    assert_eq!(destroy(&world, true).await.unwrap().end, RunEnd::Done);
    assert_eq!((world.on_machine().len(), status(&world)), (0, Some(Status::Suspended)));
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Waiting, "it stays away while it is suspended");
    assert!(world.on_machine().is_empty());
    let within = crate::within(&world.runtime, &Scope::of(&lane())).unwrap();
    crate::end(&world.runtime, &within.ends, "ada").unwrap();
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(world.on_machine().len(), 2);
}

#[tokio::test]
async fn a_stop_and_a_rule_for_people_hold_up_a_destroy_too() {
    let mut world = orphaned().await;
    let stop = crate::hold(&world.runtime, HoldKind::Stop, Scope::default(), None, None, "grace").unwrap();
    assert_eq!(destroy(&world, true).await.unwrap().end, RunEnd::Waiting);
    crate::end(&world.runtime, &[stop], "grace").unwrap();
    std::sync::Arc::make_mut(&mut world.runtime.config).gate =
        vec![GateDecl { approvals: Some(1), ..GateDecl::default() }];
    let applied = destroy(&world, true).await.unwrap();
    assert!(applied.waits.iter().any(|(_, wait)| wait.code == "approvals"), "{:?}", applied.waits);
    assert_eq!(world.on_machine().len(), 2);

    let selection = Selection { source: None, stacks: vec![], targets: vec![], want: Want::Configured };
    let planned = crate::planned(world.runtime.store.as_ref(), &selection).unwrap();
    crate::approve(world.runtime.store.as_ref(), world.runtime.clock.now(), &planned[0], "grace", None).unwrap();
    assert_eq!(destroy(&world, true).await.unwrap().end, RunEnd::Done);
    assert!(world.on_machine().is_empty());
}

#[tokio::test]
async fn what_is_protected_keeps_the_whole_lane() {
    let world = settled().await;
    world.resource("a.json", "a", "/etc/a", "one", r#","protect":true"#);
    world.apply(true).await.unwrap();
    world.remove("stack.yaml");
    let applied = destroy(&world, true).await.unwrap();
    assert_eq!(applied.end, RunEnd::Refused);
    assert_eq!((world.on_machine().len(), owned(&world)), (2, 2));
}

#[tokio::test]
async fn what_could_not_be_destroyed_stays_known() {
    let world = orphaned().await;
    world.machine.broken.lock().unwrap().insert("/etc/a".into());
    assert_eq!(destroy(&world, true).await.unwrap().end, RunEnd::Partly);
    assert_eq!((world.on_machine(), owned(&world)), (vec!["/etc/a".to_owned()], 1));
    world.machine.broken.lock().unwrap().clear();
    assert_eq!(destroy(&world, true).await.unwrap().end, RunEnd::Done);
    assert_eq!(status(&world), None);
}

#[tokio::test]
async fn what_is_forgotten_stays_on_the_target_and_is_found_again() {
    let world = settled().await;
    let is_a = |address: &Address, _: &Identity| address.resource.name.as_str() == "a";
    let found = crate::forgettable(&world.runtime, Forget::Resources(&is_a)).unwrap();
    assert_eq!((found.len(), found[0].entries.len(), found[0].whole, found[0].wanted), (1, 1, false, true));
    crate::forget(&world.runtime, &found, "ada").await.unwrap();
    assert_eq!((world.on_machine().len(), owned(&world)), (2, 1));
    assert!(world.performed().is_empty());
    let history = world.runtime.store.history(&Filter::default()).unwrap();
    let line = (
        history[0].action,
        history[0].end.as_str(),
        history[0].who.as_str(),
        history[0].address.resource.name.as_str(),
    );
    assert_eq!(line, (Action::Release, "done", "ada", "a"));
    assert_eq!(lines(&world.plan().await.unwrap()), ["adopt fake.file/a (revision)"]);
}

#[tokio::test]
async fn a_stack_and_a_target_are_forgotten_whole() {
    let world = orphaned().await;
    let web = name("web");
    assert!(crate::forgettable(&world.runtime, Forget::Stack(&web, &["other".into()])).is_err());
    let found = crate::forgettable(&world.runtime, Forget::Stack(&web, &[])).unwrap();
    assert!(found[0].whole && !found[0].wanted);
    crate::forget(&world.runtime, &found, "ada").await.unwrap();
    assert_eq!((world.on_machine().len(), owned(&world), status(&world)), (2, 0, None));
    assert!(crate::forgettable(&world.runtime, Forget::Stack(&web, &[])).is_err());

    let mut world = settled().await;
    std::sync::Arc::make_mut(&mut world.runtime.config).targets.clear();
    std::sync::Arc::make_mut(&mut world.runtime.config)
        .targets
        .insert(name("other"), serde_json::from_str(r#"{"type":"machine"}"#).unwrap());
    drop(world.plan().await);
    assert_eq!(status(&world), Some(Status::Orphaned));
    let found = crate::forgettable(&world.runtime, Forget::Target(&name("local"))).unwrap();
    crate::forget(&world.runtime, &found, "ada").await.unwrap();
    assert_eq!((owned(&world), status(&world)), (0, None));
    assert_eq!(world.runtime.store.fingerprint(&name("local")).unwrap(), None);
    let error = crate::forgettable(&world.runtime, Forget::Target(&name("local"))).unwrap_err();
    assert!(error.to_string().contains("nothing is known of a target local"), "{error}");
}
