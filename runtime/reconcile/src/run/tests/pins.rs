//! Stacks that are kept at an older revision.

use tidelock_model::digest::Digest;
use tidelock_model::event::RunEvent;
use tidelock_model::hold::Pin;
use tidelock_model::run::{RunEnd, Status};

use super::settled;
use super::world::{World, lane, lines, name};
use crate::RunError;

/// The digest of what is on the machine at `/etc/a`.
fn on_machine(world: &World) -> Digest {
    world.machine.paths.lock().unwrap()["/etc/a"]
}

async fn pinned(world: &World, rev: &str, seconds: Option<i64>) -> Pin {
    let revision = crate::ancestor(&world.runtime, &name("infra"), &name("web"), rev).await.unwrap();
    let until = seconds.map(|seconds| world.runtime.clock.now() + jiff::SignedDuration::from_secs(seconds));
    crate::pin(&world.runtime, &name("web"), revision, until, Some("it is slow".into()), "ada").unwrap()
}

/// A world with the contents `one` and then `new` applied, and the commit of `one`.
async fn twice() -> (World, String) {
    let world = settled().await;
    let first = world.history.lock().unwrap().last().unwrap().0.clone();
    world.resource("a.json", "a", "/etc/a", "new", "");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(on_machine(&world), Digest::of(b"new"));
    (world, first)
}

#[tokio::test]
async fn a_pinned_stack_goes_back_and_stays_there() {
    let (world, first) = twice().await;
    let pin = pinned(&world, &first, None).await;
    let plan = world.plan().await.unwrap();
    assert_eq!(lines(&plan), ["update fake.file/a (rollback)"]);
    assert_eq!(plan.lanes[0].pinned.as_ref(), Some(&pin));
    assert_ne!(plan.revision.id, first, "the source's own revision stays in force");
    assert_eq!(plan.revision_of(&lane()).id, first);

    assert_eq!(world.apply(false).await.unwrap().end, RunEnd::Waiting, "gated like any apply");
    let applied = world.apply(true).await.unwrap();
    assert_eq!(applied.end, RunEnd::Done);
    assert_eq!(applied.runs[0].revision, first);
    assert_eq!(on_machine(&world), Digest::of(b"one"));
    let record = world.runtime.store.lane(&lane()).unwrap().unwrap();
    assert_eq!((record.status, record.applied.unwrap().id), (Status::Converged, first.clone()));

    world.resource("a.json", "a", "/etc/a", "newest", "");
    world.remove("b.json");
    assert_eq!(lines(&world.plan().await.unwrap()), Vec::<String>::new(), "what is committed meanwhile waits");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Nothing);
    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"by hand"));
    assert_eq!(lines(&world.plan().await.unwrap()), ["update fake.file/a (drift)"]);

    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"one"));
    world.plan().await.unwrap();
    let standing = || {
        let runtime = &world.runtime;
        let now = runtime.clock.now();
        let mut record = runtime.store.lane(&lane()).unwrap().unwrap();
        crate::Counting::now(runtime.store.as_ref(), runtime.config.sources.keys(), now).unwrap().judge(&mut record);
        record.status
    };
    assert_eq!(standing(), Status::Converged);
    crate::unpin(&world.runtime, &name("infra"), &name("web"), "ada").unwrap().unwrap();
    assert_eq!(standing(), Status::Pending, "the newest revision counts, and nobody looked since");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(standing(), Status::Converged);
    assert_eq!(on_machine(&world), Digest::of(b"newest"));
    assert_eq!(world.on_machine(), ["/etc/a"]);
    assert_eq!(crate::unpin(&world.runtime, &name("infra"), &name("web"), "ada").unwrap(), None);
}

#[tokio::test]
async fn a_pin_ends_by_itself_with_one_notice() {
    let (world, first) = twice().await;
    pinned(&world, &first, Some(60)).await;
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    world.later(3600);
    world.events.lock().unwrap().clear();
    assert_eq!(lines(&world.plan().await.unwrap()), ["update fake.file/a (revision)"]);
    world.plan().await.unwrap();
    let events = world.events.lock().unwrap();
    assert_eq!(events.iter().filter(|event| matches!(event, RunEvent::PinEnded { who: None, .. })).count(), 1);
}

#[tokio::test]
async fn another_revision_by_hand_does_not_pass_a_pin_by() {
    let (world, first) = twice().await;
    pinned(&world, &first, None).await;
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    // Asks for nothing, and is in the history all the same.
    world.resource("a.json", "a", "/etc/a", "third", "");
    world.plan().await.unwrap();
    let second = world.history.lock().unwrap()[1].0.clone();
    let plan = world.plan_rev(&second).await.unwrap();
    assert_eq!(lines(&plan), ["update fake.file/a (revision)"], "it can be looked at");
    let waits = &plan.lanes[0].waits;
    assert!(waits.iter().any(|wait| wait.code == "pinned" && !wait.approvable), "{waits:?}");
}

#[tokio::test]
async fn a_pin_whose_commit_is_lost_holds_the_stack_and_says_so() {
    let (world, first) = twice().await;
    pinned(&world, &first, None).await;
    world.history.lock().unwrap().retain(|(id, _)| *id != first);
    let RunError::Rejected(problems) = world.plan().await.unwrap_err() else { panic!("not told what is wrong") };
    assert!(problems[0].message.contains("ada pinned web to"), "{problems:?}");
    assert!(world.apply(true).await.is_err());
    assert_eq!(on_machine(&world), Digest::of(b"new"), "the newest revision does not stand in for it");
    let status = world.runtime.store.lane(&lane()).unwrap().unwrap().status;
    assert_ne!(status, Status::Orphaned);
}

#[tokio::test]
async fn only_what_was_there_before_can_be_gone_back_to() {
    let (world, first) = twice().await;
    let (infra, web) = (name("infra"), name("web"));
    let ancestor = |rev: &str, stack| {
        let (rev, runtime, infra) = (rev.to_owned(), world.runtime.clone(), infra.clone());
        async move { crate::ancestor(&runtime, &infra, &stack, &rev).await }
    };
    assert_eq!(ancestor(&first, web.clone()).await.unwrap().id, first);
    assert!(ancestor("gone", web.clone()).await.is_err());
    let error = ancestor(&first, name("wep")).await.unwrap_err();
    assert!(error.to_string().contains("holds no stack wep"), "{error}");

    // A commit that is not in force yet: on another branch, perhaps.
    let mut files = world.files.lock().unwrap().clone();
    files.insert("c.json".into(), String::new());
    world.history.lock().unwrap().push(("abc".into(), files));
    let error = ancestor("abc", web).await.unwrap_err();
    assert!(error.to_string().contains("not in the history"), "{error}");
}
