//! Taking back the last change of one resource.

use tidelock_model::digest::Digest;
use tidelock_model::event::RunEvent;
use tidelock_model::hold::Undo;
use tidelock_model::name::{Address, Identity};
use tidelock_model::run::RunEnd;

use super::settled;
use super::world::{World, lines, name};
use crate::RunError;

async fn undo(world: &World, wanted: &str) -> Result<Undo, RunError> {
    let is_meant = |address: &Address, _: &Identity| address.resource.name.as_str() == wanted;
    crate::undo(&world.runtime, &is_meant, Some("it is slow".into()), "ada").await.map(|(undo, _)| undo)
}

fn redo(world: &World, wanted: &str) -> Option<Undo> {
    let is_meant = |address: &Address, _: &Identity| address.resource.name.as_str() == wanted;
    crate::redo(&world.runtime, &is_meant, false, "ada").unwrap()
}

fn why_not(result: Result<Undo, RunError>) -> String {
    match result.unwrap_err() {
        RunError::Selection { message, .. } => message,
        RunError::Rejected(problems) => problems[0].message.clone(),
        error => error.to_string(),
    }
}

fn on_machine(world: &World, path: &str) -> Option<Digest> {
    world.machine.paths.lock().unwrap().get(path).copied()
}

/// A world where `/etc/a` was `one` and is `new`.
async fn updated() -> World {
    let world = settled().await;
    world.resource("a.json", "a", "/etc/a", "new", "");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    world
}

#[tokio::test]
async fn an_update_is_taken_back_and_stays_so_until_git_says_something_else() {
    let world = updated().await;
    let undo = undo(&world, "a").await.unwrap();
    assert!(undo.to_string().contains("it is slow"), "{undo}");
    let plan = world.plan().await.unwrap();
    assert_eq!(lines(&plan), ["update fake.file/a (undo)"]);
    assert!(plan.warnings.iter().any(|warning| warning.message.contains("not as Git says")), "{:?}", plan.warnings);
    assert_eq!(world.apply(false).await.unwrap().end, RunEnd::Waiting, "gated like any apply");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(on_machine(&world, "/etc/a"), Some(Digest::of(b"one")));

    assert_eq!(lines(&world.plan().await.unwrap()), Vec::<String>::new(), "it is held");
    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"by hand"));
    assert_eq!(lines(&world.plan().await.unwrap()), ["update fake.file/a (drift)"]);
    world.apply(true).await.unwrap();
    world.resource("b.json", "b", "/etc/b", "other", "");
    assert_eq!(lines(&world.plan().await.unwrap()), ["update fake.file/b (revision)"]);

    world.events.lock().unwrap().clear();
    world.resource("a.json", "a", "/etc/a", "newer", "");
    world.apply(true).await.unwrap();
    assert_eq!(on_machine(&world, "/etc/a"), Some(Digest::of(b"newer")));
    assert!(world.runtime.store.undos().unwrap().is_empty());
    let events = world.events.lock().unwrap();
    assert_eq!(events.iter().filter(|event| matches!(event, RunEvent::UndoEnded { who: None, .. })).count(), 1);
}

#[tokio::test]
async fn a_person_ends_it() {
    let world = updated().await;
    undo(&world, "a").await.unwrap();
    world.apply(true).await.unwrap();
    assert!(why_not(undo(&world, "a").await).contains("ada took back"));
    assert!(redo(&world, "a").is_some());
    assert_eq!(redo(&world, "a"), None);
    assert_eq!(lines(&world.plan().await.unwrap()), ["update fake.file/a (revision)"]);
    world.apply(true).await.unwrap();
    assert_eq!(on_machine(&world, "/etc/a"), Some(Digest::of(b"new")));
}

#[tokio::test]
async fn a_take_over_gives_back_what_was_there_before_us() {
    let world = World::new();
    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"theirs"));
    world.machine.contents.lock().unwrap().insert(Digest::of(b"theirs"), b"theirs".to_vec());
    world.resource("a.json", "a", "/etc/a", "ours", "");
    world.apply(true).await.unwrap();
    assert_eq!(on_machine(&world, "/etc/a"), Some(Digest::of(b"ours")));
    undo(&world, "a").await.unwrap();
    world.apply(true).await.unwrap();
    assert_eq!(on_machine(&world, "/etc/a"), Some(Digest::of(b"theirs")));
}

#[tokio::test]
async fn a_creation_and_a_removal_are_taken_back() {
    let world = settled().await;
    undo(&world, "a").await.unwrap();
    let plan = world.plan().await.unwrap();
    assert_eq!(lines(&plan), ["delete fake.file/a (undo)"]);
    assert_eq!(plan.changes[0].reason.as_deref(), Some("its creation was taken back"));
    world.apply(true).await.unwrap();
    assert_eq!(world.on_machine(), ["/etc/b"]);
    assert_eq!(lines(&world.plan().await.unwrap()), Vec::<String>::new());
    redo(&world, "a").unwrap();
    world.apply(true).await.unwrap();
    assert_eq!(world.on_machine(), ["/etc/a", "/etc/b"]);

    world.remove("b.json");
    world.apply(true).await.unwrap();
    assert_eq!(world.on_machine(), ["/etc/a"]);
    undo(&world, "b").await.unwrap();
    assert_eq!(lines(&world.plan().await.unwrap()), ["create fake.file/b (undo)"]);
    world.apply(true).await.unwrap();
    assert_eq!(on_machine(&world, "/etc/b"), Some(Digest::of(b"two")));
    assert_eq!(lines(&world.plan().await.unwrap()), Vec::<String>::new());
    redo(&world, "b").unwrap();
    world.apply(true).await.unwrap();
    assert_eq!(world.on_machine(), ["/etc/a"]);
}

#[tokio::test]
async fn the_only_resource_may_be_taken_back_too() {
    let world = World::new();
    world.resource("a.json", "a", "/etc/a", "one", "");
    world.apply(true).await.unwrap();
    undo(&world, "a").await.unwrap();
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert!(world.on_machine().is_empty());
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_refused_by_name() {
    let world = updated().await;
    assert!(why_not(undo(&world, "c").await).contains("nothing was ever done"));

    // Its old content was not kept.
    world.machine.contents.lock().unwrap().clear();
    world.resource("b.json", "b", "/etc/b", "three", "");
    world.apply(true).await.unwrap();
    let why = why_not(undo(&world, "b").await);
    assert!(why.contains("the content that was there before") && why.contains("was not kept"), "{why}");

    // Others of its stack stand on it.
    world.resource("d.json", "d", "/etc/d", "four", "");
    world.resource("e.json", "e", "/etc/e", "five", r#","needs":["fake.file/d"]"#);
    world.apply(true).await.unwrap();
    let why = why_not(undo(&world, "d").await);
    assert!(why.contains("fake.file/d"), "{why}");
    assert!(world.runtime.store.undos().unwrap().is_empty(), "nothing is left of a try");

    // It would not go.
    world.resource("f.json", "f", "/etc/f", "six", r#","on_remove":"release""#);
    world.apply(true).await.unwrap();
    assert!(why_not(undo(&world, "f").await).contains("only be released"));
}

#[tokio::test]
async fn several_are_never_meant_and_what_did_nothing_is_no_change() {
    let world = World::new();
    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"one"));
    world.resource("a.json", "a", "/etc/a", "one", "");
    world.resource("b.json", "b", "/etc/b", "two", "");
    world.apply(true).await.unwrap();
    assert!(why_not(undo(&world, "a").await).contains("did nothing to its target"));
    let any = |_: &Address, _: &Identity| true;
    assert!(crate::undo(&world.runtime, &any, None, "ada").await.is_err());
}

#[tokio::test]
async fn a_revision_that_is_merely_looked_at_ends_nothing() {
    let world = updated().await;
    let first = world.history.lock().unwrap()[0].0.clone();
    undo(&world, "a").await.unwrap();
    world.apply(true).await.unwrap();
    world.plan_rev(&first).await.unwrap();
    assert_eq!(world.runtime.store.undos().unwrap().len(), 1);
    let undo = &world.runtime.store.undos().unwrap()[0];
    assert!(world.runtime.store.drop_undo(&name("local"), &undo.identity).unwrap());
}
