//! The whole loop with fakes, in milliseconds.

mod approvals;
mod deferred;
mod destroy;
mod holds;
mod leases;
mod looping;
mod overtaken;
mod pins;
mod rollouts;
mod sim;
mod taken_back;
mod undo;
mod why;
mod world;

use futures::FutureExt as _;
use tidelock_model::digest::Digest;
use tidelock_model::name::Name;
use tidelock_model::port::Filter;
use tidelock_model::run::{RunEnd, Status};

use crate::RunError;
use world::{World, lane, lines};

/// A world where two files have been applied.
async fn settled() -> World {
    let world = World::new();
    world.resource("a.json", "a", "/etc/a", "one", "");
    world.resource("b.json", "b", "/etc/b", "two", "");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    world.performed();
    world.renders();
    world
}

#[tokio::test]
async fn first_contact_waits_for_a_yes() {
    let world = World::new();
    world.resource("a.json", "a", "/etc/a", "one", "");
    let applied = world.apply(false).await.unwrap();
    assert_eq!(applied.end, RunEnd::Waiting);
    assert!(applied.waits.iter().any(|(_, wait)| wait.code == "first-contact"), "{:?}", applied.waits);
    assert!(world.on_machine().is_empty());

    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(world.on_machine(), ["/etc/a"]);
    assert_eq!(lines(&world.plan().await.unwrap()), Vec::<String>::new(), "a second plan is empty");
    let record = world.runtime.store.lane(&lane()).unwrap().unwrap();
    assert_eq!(record.status, Status::Converged);
}

#[tokio::test]
async fn drift_is_told_from_a_new_revision() {
    let world = settled().await;
    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"by hand"));
    world.resource("b.json", "b", "/etc/b", "three", "");
    assert_eq!(lines(&world.plan().await.unwrap()), ["update fake.file/a (drift)", "update fake.file/b (revision)"]);
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    let paths = world.machine.paths.lock().unwrap().clone();
    assert_eq!(paths["/etc/a"], Digest::of(b"one"));
    assert_eq!(paths["/etc/b"], Digest::of(b"three"));
}

#[tokio::test]
async fn what_leaves_git_is_pruned_and_what_is_renamed_moves() {
    let world = settled().await;
    world.remove("a.json");
    world.remove("b.json");
    world.resource("c.json", "c", "/etc/b", "two", "");
    assert_eq!(lines(&world.plan().await.unwrap()), ["delete fake.file/a (revision)", "move fake.file/c (revision)"]);
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(world.performed(), ["remove /etc/a"], "a move has no effects");
    assert_eq!(world.on_machine(), ["/etc/b"]);
    let owned = world.runtime.store.inventory(&Name::new("local").unwrap()).unwrap();
    assert_eq!(owned.len(), 1);
    assert_eq!(owned[0].address.resource.to_string(), "fake.file/c");
}

#[tokio::test]
async fn what_touches_the_way_to_git_needs_a_way_back_and_is_no_news_to_a_saved_plan() {
    let mut world = settled().await;
    world.resource("a.json", "a", "/etc/a", "new", "");
    let calm = world.plan().await.unwrap();
    *world.machine.on_the_way.lock().unwrap() = true;
    let plan = world.plan().await.unwrap();
    let cuts: Vec<String> = plan.lanes[0].cuts.iter().map(ToString::to_string).collect();
    assert_eq!(cuts, [format!("infra (git.example.com): put file /etc/a ({})", Digest::of(b"new").short())]);
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.waits[0].1.code.as_str()), (RunEnd::Waiting, "cuts-the-way"));
    assert!(world.performed().is_empty());

    // With a way back it goes on, and a saved plan that did not warn of it is not what was reviewed.
    world.runtime.confirm_within_ms = Some(1_000);
    assert!(matches!(world.apply_saved(&calm).await, Err(RunError::Stale { why, .. }) if why.contains("cut the way")));
    assert_eq!(world.apply_saved(&plan).await.unwrap().end, RunEnd::Done);
    // One that warned of what is on no way any more is as good.
    world.resource("a.json", "a", "/etc/a", "newer", "");
    let plan = world.plan().await.unwrap();
    *world.machine.on_the_way.lock().unwrap() = false;
    assert_eq!(world.apply_saved(&plan).await.unwrap().end, RunEnd::Done);
}

#[tokio::test]
async fn an_empty_render_does_not_delete_everything() {
    let world = settled().await;
    world.remove("a.json");
    world.remove("b.json");
    let applied = world.apply(true).await.unwrap();
    assert!(matches!(applied.end, RunEnd::Refused | RunEnd::Waiting), "{:?}", applied.end);
    assert_eq!(world.on_machine(), ["/etc/a", "/etc/b"]);
}

#[tokio::test]
async fn nothing_is_rendered_when_nothing_that_was_read_changed() {
    let world = settled().await;
    world.write("README.md", "not an input");
    world.plan().await.unwrap();
    assert_eq!(world.renders(), 0);
    world.resource("a.json", "a", "/etc/a", "else", "");
    world.plan().await.unwrap();
    assert_eq!(world.renders(), 1);
}

#[tokio::test]
async fn a_saved_plan_is_evidence_and_not_an_instruction() {
    let world = settled().await;
    world.resource("a.json", "a", "/etc/a", "new", "");
    let saved = world.plan().await.unwrap();

    let mut forged = saved.clone();
    forged.changes.clear();
    assert!(matches!(world.apply_saved(&forged).await, Err(RunError::Forged(_))));
    let mut forged = saved.clone();
    forged.changes[0].reason = Some("as the boss wants".to_owned());
    assert!(matches!(world.apply_saved(&forged).await, Err(RunError::Forged(_))));
    let mut forged = saved.clone();
    forged.digest = Digest::of(b"mine");
    assert!(matches!(world.apply_saved(&forged).await, Err(RunError::Forged(_))));

    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"by hand"));
    let error = world.apply_saved(&saved).await.unwrap_err();
    assert!(error.to_string().contains("fake.file/a"), "{error}");

    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"one"));
    world.write("README.md", "a commit elsewhere");
    assert_eq!(world.apply_saved(&saved).await.unwrap().end, RunEnd::Done);
}

#[tokio::test]
async fn a_failure_holds_up_what_needs_it_and_nothing_else() {
    let world = World::new();
    world.resource("a.json", "a", "/etc/a", "one", "");
    world.resource("b.json", "b", "/etc/b", "two", r#","needs":["fake.file/a"]"#);
    world.resource("c.json", "c", "/etc/c", "three", "");
    world.machine.broken.lock().unwrap().insert("/etc/a".into());
    let applied = world.apply(true).await.unwrap();
    assert_eq!(applied.end, RunEnd::Partly);
    assert_eq!(applied.failures.len(), 1);
    assert_eq!(applied.skipped.len(), 1);
    assert!(applied.skipped[0].1.contains("fake.file/a"), "{:?}", applied.skipped);
    assert_eq!(world.on_machine(), ["/etc/c"]);

    world.machine.broken.lock().unwrap().clear();
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(world.on_machine(), ["/etc/a", "/etc/b", "/etc/c"]);
    assert_eq!(world.performed(), ["put-file /etc/c", "put-file /etc/a", "put-file /etc/b"]);
}

#[tokio::test]
async fn a_crash_loses_nothing_and_repeats_nothing() {
    for performed_before_the_crash in [false, true] {
        let world = settled().await;
        world.resource("c.json", "c", "/etc/c", "three", "");
        *world.machine.dies.lock().unwrap() = true;
        let died = std::panic::AssertUnwindSafe(world.apply(true)).catch_unwind().await;
        assert!(died.is_err());
        assert_eq!(world.runtime.store.open_intents(&lane()).unwrap().len(), 1, "the intent is durable");
        if performed_before_the_crash {
            world.machine.paths.lock().unwrap().insert("/etc/c".into(), Digest::of(b"three"));
        }
        *world.machine.dies.lock().unwrap() = false;
        let applied = world.apply(true).await.unwrap();
        let wanted: &[&str] = if performed_before_the_crash { &[] } else { &["put-file /etc/c"] };
        assert_eq!(world.performed(), wanted);
        assert!(matches!(applied.end, RunEnd::Done | RunEnd::Nothing));
        assert!(world.runtime.store.open_intents(&lane()).unwrap().is_empty());
        assert_eq!(world.runtime.store.inventory(&Name::new("local").unwrap()).unwrap().len(), 3);
        let history =
            world.runtime.store.history(&Filter { address: Some("file/c".into()), ..Filter::default() }).unwrap();
        let ends: Vec<&str> = history.iter().rev().map(|line| line.end.as_str()).collect();
        assert_eq!(ends, if performed_before_the_crash { vec!["done"] } else { vec!["not-begun", "done"] });
    }
}

#[tokio::test]
async fn what_git_says_wrong_is_named_with_its_place() {
    let world = settled().await;
    world.write("bad.json", r#"{"kind":"fake.fil","name":"x","spec":{"path":"/x"}}"#);
    let RunError::Rejected(problems) = world.plan().await.unwrap_err() else { panic!() };
    assert_eq!(problems[0].place.as_ref().unwrap().file, "bad.json");
    assert_eq!(problems[0].hint.as_deref(), Some("did you mean fake.file? fake has: fake.file"));
    world.write("bad.json", r#"{"kind":"other.file","name":"x","spec":{}}"#);
    let RunError::Rejected(problems) = world.plan().await.unwrap_err() else { panic!() };
    assert!(problems[0].message.contains("no plugin serves"), "{problems:?}");
    assert_eq!(world.on_machine(), ["/etc/a", "/etc/b"]);
}

#[tokio::test]
async fn what_was_there_and_equal_is_adopted_without_effects() {
    let world = World::new();
    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"one"));
    world.machine.paths.lock().unwrap().insert("/etc/b".into(), Digest::of(b"not ours"));
    world.resource("a.json", "a", "/etc/a", "one", "");
    world.resource("b.json", "b", "/etc/b", "two", "");
    assert_eq!(
        lines(&world.plan().await.unwrap()),
        ["adopt fake.file/a (revision)", "take-over fake.file/b (revision)"]
    );
    assert_eq!(world.apply(false).await.unwrap().end, RunEnd::Waiting);
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(world.performed(), ["put-file /etc/b"]);
    // What was there before is not deleted with its file in Git.
    world.remove("a.json");
    assert_eq!(lines(&world.plan().await.unwrap()), ["release fake.file/a (revision)"]);
}

#[tokio::test]
async fn what_cannot_be_told_by_looking_waits_for_a_word() {
    let world = settled().await;
    world.resource("c.json", "c", "/etc/ask", "three", "");
    *world.machine.dies.lock().unwrap() = true;
    assert!(std::panic::AssertUnwindSafe(world.apply(true)).catch_unwind().await.is_err());
    *world.machine.dies.lock().unwrap() = false;

    world.apply(true).await.unwrap();
    assert_eq!(world.performed(), Vec::<String>::new(), "it is not repeated blindly, whatever the yes");
    let doubted = crate::in_doubt(&world.runtime).unwrap();
    assert_eq!(doubted.iter().map(|a| a.resource.to_string()).collect::<Vec<_>>(), ["fake.file/c"]);

    crate::resolve(&world.runtime, &doubted[0], crate::Word::Redo, "tester").await.unwrap();
    assert!(crate::resolve(&world.runtime, &doubted[0], crate::Word::Redo, "tester").await.is_err(), "once is enough");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(world.performed(), ["put-file /etc/ask"]);
    let filter = Filter { address: Some("file/c".into()), ..Filter::default() };
    let history = world.runtime.store.history(&filter).unwrap();
    assert_eq!(history[1].end, "not-begun");
    assert!(history[1].fault.as_ref().unwrap().contains("tester said"), "{history:?}");
}
