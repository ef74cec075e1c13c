//! What a guard took back: the ledger, the record of the lane and what people are told go back with the
//! target, whoever learns of it and whenever.

use futures::FutureExt as _;
use tidelock_model::digest::Digest;
use tidelock_model::event::RunEvent;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::name::{Address, Identity};
use tidelock_model::port::{Filter, GuardState};
use tidelock_model::revision::Revision;
use tidelock_model::run::{HistoryLine, RunEnd, Status};

use super::world::{World, everything, lane, lines, name};
use crate::{Applied, Caller, Counting, RunError};

/// Two things of the network, as Git says, and a commit that makes one, changes one and removes one.
async fn world() -> World {
    let world = World::new();
    world.write("stack.yaml", "name: web\ntargets: local\nrenderer: fake\non_commit: apply\non_drift: apply\n");
    world.resource("changed.json", "changed", "/net/changed", "old", "");
    world.resource("gone.json", "gone", "/net/gone", "text", "");
    world.resource("file.json", "file", "/etc/file", "one", "");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    world.performed();
    commit(&world);
    world
}

fn commit(world: &World) {
    world.resource("changed.json", "changed", "/net/changed", "new", "");
    world.remove("gone.json");
    world.resource("made.json", "made", "/net/made", "text", "");
}

const CHANGES: [&str; 3] =
    ["delete fake.file/gone (revision)", "create fake.file/made (revision)", "update fake.file/changed (revision)"];

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

fn changes() -> Vec<String> {
    sorted(CHANGES.map(str::to_owned).to_vec())
}

fn ledger(world: &World) -> Vec<InventoryEntry> {
    world.runtime.store.inventory(&name("local")).unwrap()
}

fn owned(world: &World) -> Vec<String> {
    ledger(world).iter().map(|entry| entry.identity.to_string()).collect()
}

/// Applies by hand, with a time in which a person says that all is well.
async fn apply_for_now(world: &World) -> Applied {
    let mut for_now = world.clone();
    for_now.runtime.confirm_within_ms = Some(1_000);
    for_now.apply(true).await.unwrap()
}

/// A pass of the loop.
async fn pass(world: &World) -> Applied {
    let mut looping = world.clone();
    looping.runtime.looping = true;
    crate::apply(&looping.runtime, &everything(), "loop", Caller::Loop, None).await.unwrap()
}

/// The guard that stands takes everything back, now.
fn goes_back(world: &World) {
    let id = world.machine.guarded().into_iter().find(|one| one.state == GuardState::Armed).unwrap().guard.id;
    assert!(world.machine.goes_back(&id, "nobody confirmed it in time"));
    let now = world.runtime.clock.now().as_millisecond();
    world.machine.guards.lock().unwrap().iter_mut().for_each(|(one, _)| one.written_ms = now);
}

/// What was last applied whole.
fn applied(world: &World) -> Option<Revision> {
    world.runtime.store.lane(&lane()).unwrap().unwrap().applied
}

fn history(world: &World, of: &str) -> Vec<String> {
    let filter = Filter { address: Some(of.to_owned()), ..Filter::default() };
    let lines = world.runtime.store.history(&filter).unwrap();
    lines.iter().rev().map(|line| format!("{} {}", tidelock_plan::word(line.action), line.end)).collect()
}

#[tokio::test]
async fn what_nobody_confirmed_is_planned_again_and_goes_with_the_next_yes() {
    let world = world().await;
    let (before, was_applied) = (ledger(&world), applied(&world));
    assert!(was_applied.is_some());
    assert_eq!(apply_for_now(&world).await.end, RunEnd::Done);
    assert_eq!(world.on_machine(), ["/etc/file", "/net/changed", "/net/made"]);
    goes_back(&world);
    assert_eq!(world.on_machine(), ["/etc/file", "/net/changed", "/net/gone"]);

    let plan = world.plan().await.unwrap();
    assert_eq!(sorted(lines(&plan)), changes());
    assert!(plan.changes.iter().all(|change| change.reason.as_ref().is_some_and(|why| why.contains("went back"))));
    assert_eq!(ledger(&world), before);
    let record = world.runtime.store.lane(&lane()).unwrap().unwrap();
    assert_eq!((record.status, record.applied), (Status::Pending, was_applied), "what is in force again");
    let run = world.runtime.store.runs(&Filter { limit: Some(1), ..Filter::default() }).unwrap().remove(0);
    assert_eq!(
        (run.end, run.fault.as_deref()),
        (Some(RunEnd::Partly), Some("taken back: nobody confirmed it in time"))
    );

    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(world.on_machine(), ["/etc/file", "/net/changed", "/net/made"]);
    assert_eq!(lines(&world.plan().await.unwrap()), Vec::<String>::new());
    assert_eq!(owned(&world), ["path:/etc/file", "path:/net/changed", "path:/net/made"]);
}

#[tokio::test]
async fn what_somebody_confirmed_stays_as_it_was_recorded() {
    let world = world().await;
    apply_for_now(&world).await;
    let after = ledger(&world);
    assert_eq!(crate::confirm(&world.runtime, &tidelock_model::hold::Scope::default(), "ada").unwrap().len(), 1);
    assert_eq!(lines(&world.plan().await.unwrap()), Vec::<String>::new());
    assert_eq!(
        (ledger(&world), world.runtime.store.lane(&lane()).unwrap().unwrap().status),
        (after, Status::Converged)
    );
}

#[tokio::test]
async fn what_a_pass_took_back_itself_leaves_the_ledger_as_it_was() {
    let world = world().await;
    world.write(
        "stack.yaml",
        "name: web\ntargets: local\nrenderer: fake\non_commit: apply\non_drift: apply\nconfirm: 10s\n",
    );
    let before = ledger(&world);
    // What fails is why the rest goes back; what no guard takes back stays done.
    world.resource("file.json", "file", "/etc/file", "two", "");
    world.resource("other.json", "other", "/etc/other", "text", "");
    world.machine.broken.lock().unwrap().insert("/etc/other".into());
    let applied = world.apply(true).await.unwrap();
    assert_eq!(applied.end, RunEnd::Partly);
    assert!(applied.unchecked[0].1.starts_with("taken back: "), "{applied:?}");
    let of_network = |entries: Vec<InventoryEntry>| -> Vec<InventoryEntry> {
        entries.into_iter().filter(|entry| entry.identity.as_str() != "path:/etc/file").collect()
    };
    assert_eq!(of_network(ledger(&world)), of_network(before));
    assert_eq!(world.machine.paths.lock().unwrap()["/etc/file"], Digest::of(b"two"));
    world.machine.broken.lock().unwrap().clear();
    let planned = sorted(lines(&world.plan().await.unwrap()));
    assert_eq!(planned, sorted([changes(), vec!["create fake.file/other (revision)".to_owned()]].concat()));
}

#[tokio::test]
async fn what_a_guard_could_not_take_back_is_told_by_the_pass_that_called_it() {
    let world = world().await;
    world.write(
        "stack.yaml",
        "name: web\ntargets: local\nrenderer: fake\non_commit: apply\non_drift: apply\nconfirm: 10s\n",
    );
    world.resource("stuck.json", "stuck", "/net/stuck", "text", "");
    world.machine.broken.lock().unwrap().insert("/net/stuck".into());
    let applied = world.apply(true).await.unwrap();
    assert!(applied.unchecked[0].1.contains("; and not all of it could be taken back"), "{applied:?}");
}

#[tokio::test]
async fn what_went_back_is_not_tried_again_because_something_else_did_not() {
    let world = world().await;
    world.resource("more.json", "more", "/net/more", "text", "");
    assert_eq!(apply_for_now(&world).await.end, RunEnd::Done);
    world.machine.broken.lock().unwrap().insert("/net/more".into());
    goes_back(&world);
    let on_machine = world.on_machine();
    assert_eq!(on_machine, ["/etc/file", "/net/changed", "/net/gone", "/net/more"]);
    world.machine.broken.lock().unwrap().clear();
    for _ in 0..2 {
        pass(&world).await;
        assert_eq!(world.on_machine(), on_machine);
        assert!(owned(&world).contains(&"path:/net/more".to_owned()), "it is there still");
        assert!(!owned(&world).contains(&"path:/net/made".to_owned()), "it is gone");
    }
}

#[tokio::test]
async fn what_was_let_go_is_owned_again_once_the_rest_of_its_change_went_back() {
    let world = World::new();
    let whole = || {
        world.resource("changed.json", "changed", "/net/changed", "old", "");
        world.resource("let.json", "let", "/net/let", "text", r#","on_remove":"release""#);
    };
    whole();
    world.apply(true).await.unwrap();
    let before = ledger(&world);
    world.remove("let.json");
    world.resource("changed.json", "changed", "/net/changed", "new", "");
    assert_eq!(apply_for_now(&world).await.end, RunEnd::Done);
    assert_eq!(owned(&world), ["path:/net/changed"]);
    goes_back(&world);
    let again = ["release fake.file/let (revision)", "update fake.file/changed (revision)"];
    assert_eq!(sorted(lines(&world.plan().await.unwrap())), again);
    assert_eq!(ledger(&world), before);
    assert_eq!(history(&world, "let"), ["create done", "release done", "release taken-back"]);
    // The commit is taken back too: all of it is ours, and nothing is to be done.
    whole();
    assert_eq!(lines(&world.plan().await.unwrap()), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_let_go_for_good_once_somebody_confirmed_it_or_nobody_had_to() {
    for confirmed in [false, true] {
        let world = World::new();
        world.resource("changed.json", "changed", "/net/changed", "old", "");
        world.resource("let.json", "let", "/net/let", "text", r#","on_remove":"release""#);
        world.apply(true).await.unwrap();
        world.remove("let.json");
        world.resource("changed.json", "changed", "/net/changed", "new", "");
        if confirmed {
            apply_for_now(&world).await;
            crate::confirm(&world.runtime, &tidelock_model::hold::Scope::default(), "ada").unwrap();
        } else {
            world.apply(true).await.unwrap();
        }
        assert_eq!(lines(&world.plan().await.unwrap()), Vec::<String>::new());
        assert_eq!(owned(&world), ["path:/net/changed"], "{confirmed}");
    }
}

#[tokio::test]
async fn whom_a_change_notified_that_went_back_is_due_again() {
    const NOTIFIES: &str = r#","notify":[{"to":"fake.file/service","do":"reload"}]"#;
    let world = World::new();
    world.write("stack.yaml", "name: web\ntargets: local\nrenderer: fake\non_commit: apply\non_drift: apply\n");
    world.resource("service.json", "service", "/etc/service", "text", "");
    world.apply(true).await.unwrap();
    world.resource("changed.json", "changed", "/net/changed", "old", NOTIFIES);
    world.apply(true).await.unwrap();
    world.performed();
    world.resource("changed.json", "changed", "/net/changed", "new", NOTIFIES);
    apply_for_now(&world).await;
    assert_eq!(world.performed(), ["set-sysctl /net/changed", "put-file /etc/service"]);
    goes_back(&world);
    // The loop does not try again what went back, nor what it asks for.
    assert_eq!(pass(&world).await.end, RunEnd::Waiting);
    assert_eq!(world.performed(), Vec::<String>::new());
    // Git takes it back: the service is told of what is there now, once.
    world.resource("changed.json", "changed", "/net/changed", "old", NOTIFIES);
    assert_eq!(lines(&world.plan().await.unwrap()), ["trigger fake.file/service (revision)"]);
    assert_eq!(pass(&world).await.end, RunEnd::Done);
    assert_eq!(world.performed(), ["put-file /etc/service"]);
    assert_eq!(lines(&world.plan().await.unwrap()), Vec::<String>::new());
}

#[tokio::test]
async fn a_death_between_the_deed_and_its_record_leaves_the_ledger_true_whatever_the_guard_did() {
    for stands_at_the_next_start in [false, true] {
        let world = world().await;
        let before = ledger(&world);
        *world.machine.dies.lock().unwrap() = true;
        assert!(std::panic::AssertUnwindSafe(apply_for_now(&world)).catch_unwind().await.is_err());
        *world.machine.dies.lock().unwrap() = false;
        {
            let mut paths = world.machine.paths.lock().unwrap();
            paths.remove("/net/gone");
            paths.insert("/net/made".into(), Digest::of(b"text"));
            paths.insert("/net/changed".into(), Digest::of(b"new"));
        }
        if stands_at_the_next_start {
            // It is looked at, found done and recorded so; nobody else works there meanwhile.
            world.resource("file.json", "file", "/etc/file", "two", "");
            assert_eq!(world.apply(true).await.unwrap().waits[0].1.code, "confirming");
            assert_eq!(owned(&world), ["path:/etc/file", "path:/net/changed", "path:/net/made"]);
            world.resource("file.json", "file", "/etc/file", "one", "");
            world.write("README.md", "as before");
        }
        goes_back(&world);
        assert_eq!(sorted(lines(&world.plan().await.unwrap())), changes());
        assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
        assert_eq!(before.len(), 3);
        assert_eq!(owned(&world), ["path:/etc/file", "path:/net/changed", "path:/net/made"]);
        assert_eq!(world.on_machine(), ["/etc/file", "/net/changed", "/net/made"]);
        let told = world.events.lock().unwrap();
        assert_eq!(told.iter().filter(|event| matches!(event, RunEvent::TakenBack { .. })).count(), 1);
    }
}

#[tokio::test]
async fn what_could_not_be_taken_back_stays_ours() {
    let world = world().await;
    apply_for_now(&world).await;
    world.machine.broken.lock().unwrap().insert("/net/made".into());
    goes_back(&world);
    world.machine.broken.lock().unwrap().clear();
    assert_eq!(world.on_machine(), ["/etc/file", "/net/changed", "/net/gone", "/net/made"]);
    world.plan().await.unwrap();
    assert_eq!(owned(&world), ["path:/etc/file", "path:/net/changed", "path:/net/gone", "path:/net/made"]);
    world.remove("made.json");
    world.apply(true).await.unwrap();
    assert_eq!(world.on_machine(), ["/etc/file", "/net/changed"], "so it is removed once nobody wants it");
}

#[tokio::test]
async fn what_went_back_while_a_person_read_the_plan_is_planned_anew() {
    let world = world().await;
    apply_for_now(&world).await;
    let mut for_now = world.clone();
    for_now.runtime.confirm_within_ms = Some(1_000);
    world.resource("file.json", "file", "/etc/file", "two", "");
    world.resource("more.json", "more", "/net/more", "text", "");
    let meanwhile = super::world::Meanwhile(|| {
        if world.machine.guarded().iter().any(|one| one.state == GuardState::Armed) {
            goes_back(&world);
        }
    });
    // A yes to that plan is none to what is to be done now.
    let applied = for_now.apply_by(&meanwhile).await.unwrap();
    assert!(!applied.cut_short.is_empty() || applied.end != RunEnd::Done, "{applied:?}");
    assert!(owned(&world).contains(&"path:/net/gone".to_owned()), "{:?}", owned(&world));
    assert_eq!(apply_for_now(&world).await.end, RunEnd::Done);
    assert!(!world.on_machine().contains(&"/net/gone".to_owned()));
}

#[tokio::test]
async fn history_says_what_was_done_and_what_became_of_it() {
    let world = world().await;
    apply_for_now(&world).await;
    goes_back(&world);
    world.plan().await.unwrap();
    world.plan().await.unwrap();
    assert_eq!(history(&world, "file/gone"), ["create done", "delete done", "delete taken-back"]);
    assert_eq!(history(&world, "file/made"), ["create done", "create taken-back"]);
    let mut stands = world.runtime.store.history(&Filter::default()).unwrap();
    HistoryLine::standing(&mut stands);
    let stands: Vec<String> = stands.iter().map(|line| line.address.resource.to_string()).collect();
    assert_eq!(sorted(stands), ["fake.file/changed", "fake.file/file", "fake.file/gone"]);
}

#[tokio::test]
async fn an_undo_is_of_what_stands() {
    let world = world().await;
    world.resource("changed.json", "changed", "/net/changed", "older", "");
    world.resource("gone.json", "gone", "/net/gone", "text", "");
    world.remove("made.json");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    commit(&world);
    world.write("README.md", "again");
    apply_for_now(&world).await;
    goes_back(&world);
    let undo = async |wanted: &str| {
        let is_meant = |address: &Address, _: &Identity| address.resource.name.as_str() == wanted;
        crate::undo(&world.runtime, &is_meant, None, "ada").await
    };
    let why = |result: Result<_, RunError>| match result {
        Err(RunError::Selection { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    assert!(why(undo("gone").await).contains("left Git by itself"));
    assert!(why(undo("made").await).contains("nothing was ever done"));
    let (undone, line) = undo("changed").await.unwrap();
    let old = Digest::of(b"old").to_string();
    assert_eq!(undone.spec.unwrap().pointer("/content/digest").unwrap().as_str(), Some(old.as_str()));
    assert_eq!(line.end, "done");
}

#[tokio::test]
async fn the_loop_holds_what_went_back_until_it_changes_or_a_person_says_yes() {
    let held = async |world: &World| {
        for _ in 0..3 {
            world.later(3_600);
            let applied = pass(world).await;
            let codes: Vec<&str> = applied.waits.iter().map(|(_, wait)| wait.code.as_str()).collect();
            assert_eq!((applied.end, codes), (RunEnd::Waiting, vec!["restored"]));
        }
        assert_eq!(world.on_machine(), ["/etc/file", "/net/gone"]);
    };
    let removal = async || {
        let world = World::new();
        world.write("stack.yaml", "name: web\ntargets: local\nrenderer: fake\non_commit: apply\non_drift: apply\n");
        world.resource("gone.json", "gone", "/net/gone", "text", "");
        world.resource("file.json", "file", "/etc/file", "one", "");
        world.apply(true).await.unwrap();
        world.remove("gone.json");
        apply_for_now(&world).await;
        goes_back(&world);
        held(&world).await;
        world
    };

    // Until a person says yes, also where that is before the guard's time would have been over.
    let world = removal().await;
    let planned = crate::planned(world.runtime.store.as_ref(), &everything()).unwrap().remove(0);
    world.machine.guards.lock().unwrap()[0].0.guard.until = jiff::Timestamp::MAX;
    crate::approve(world.runtime.store.as_ref(), world.runtime.clock.now(), &planned, "grace", None).unwrap();
    assert_eq!(pass(&world).await.end, RunEnd::Done);
    assert_eq!(world.on_machine(), ["/etc/file"]);

    // Or applies.
    let world = removal().await;
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!((world.on_machine(), pass(&world).await.end), (vec!["/etc/file".to_owned()], RunEnd::Nothing));

    // Or Git says something else: it is wanted again, and is ours as ever.
    let world = removal().await;
    world.resource("gone.json", "gone", "/net/gone", "text", "");
    world.write("README.md", "wanted again");
    assert_eq!(pass(&world).await.end, RunEnd::Nothing);
    world.resource("gone.json", "gone", "/net/gone", "other", "");
    assert_eq!(pass(&world).await.end, RunEnd::Done);
    assert_eq!(world.machine.paths.lock().unwrap()["/net/gone"], Digest::of(b"other"));
}

#[tokio::test]
async fn a_plan_that_was_saved_before_the_target_went_back_is_stale_and_not_forged() {
    let world = world().await;
    let saved = world.plan().await.unwrap();
    assert_eq!(apply_for_now(&world).await.end, RunEnd::Done);
    goes_back(&world);
    let error = world.apply_saved(&saved).await.unwrap_err();
    assert!(matches!(&error, RunError::Stale { why, .. } if why.contains("went back")), "{error}");
    let now = world.plan().await.unwrap();
    let mut forged = now.clone();
    forged.changes[0].reason = Some("as the boss wants".to_owned());
    forged.changes[1].reason = Some("as the boss wants".to_owned());
    let error = world.apply_saved(&forged).await.unwrap_err();
    assert!(matches!(&error, RunError::Stale { .. } | RunError::Forged(_)), "{error}");
    assert_eq!(world.apply_saved(&now).await.unwrap().end, RunEnd::Done);
}

#[tokio::test]
async fn what_git_says_anew_is_tried() {
    let world = world().await;
    assert_eq!(apply_for_now(&world).await.end, RunEnd::Done);
    goes_back(&world);
    assert_eq!(pass(&world).await.end, RunEnd::Waiting);
    // A part of it is as before, and another part is another.
    world.resource("made.json", "made", "/net/made", "other text", "");
    assert_eq!(pass(&world).await.end, RunEnd::Done);
    assert_eq!(world.on_machine(), ["/etc/file", "/net/changed", "/net/made"]);
}

#[tokio::test]
async fn drift_beside_what_went_back_is_healed_and_what_went_back_stays_as_it_was_before() {
    let world = world().await;
    world.resource("kept.json", "kept", "/net/kept", "text", "");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    // One is changed, one removed and one made.
    world.resource("changed.json", "changed", "/net/changed", "newer", "");
    world.remove("made.json");
    world.resource("more.json", "more", "/net/more", "text", "");
    let (before, applied_before) = (ledger(&world), applied(&world));
    assert_eq!(apply_for_now(&world).await.end, RunEnd::Done);
    goes_back(&world);
    let held = async || {
        let applied = pass(&world).await;
        let codes: Vec<&str> = applied.waits.iter().map(|(_, wait)| wait.code.as_str()).collect();
        assert_eq!((applied.end, codes), (RunEnd::Waiting, vec!["restored"]));
        assert_eq!(world.on_machine(), ["/etc/file", "/net/changed", "/net/kept", "/net/made"]);
        assert_eq!(world.machine.paths.lock().unwrap()["/net/changed"], Digest::of(b"new"));
    };
    held().await;
    world.write(
        "stack.yaml",
        "name: web\ntargets: local\nrenderer: fake\non_commit: apply\non_drift: apply\nconfirm: 10s\n",
    );
    for path in ["/etc/file", "/net/kept", "/net/changed", "/net/made"] {
        world.machine.paths.lock().unwrap().remove(path);
        let applied = pass(&world).await;
        assert_eq!(applied.end, RunEnd::Done, "{path}: {applied:?}");
        assert_eq!(applied.plan.lanes[0].waits[0].code, "taken-back");
        assert_eq!(ledger(&world).len(), before.len());
        let mut record = world.runtime.store.lane(&lane()).unwrap().unwrap();
        assert_eq!(record.applied, applied_before, "it is not as Git says");
        let (store, now) = (world.runtime.store.as_ref(), world.runtime.clock.now());
        Counting::now(store, [&lane().source], now).unwrap().judge(&mut record);
        assert_eq!(record.status, Status::Waiting);
        held().await;
    }
    // All of it is gone at once, as after a restart.
    world.machine.paths.lock().unwrap().retain(|path, _| path == "/etc/file");
    assert_eq!(pass(&world).await.end, RunEnd::Done);
    held().await;
    // A person applies it after all.
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(world.on_machine(), ["/etc/file", "/net/changed", "/net/kept", "/net/more"]);
}

#[tokio::test]
async fn what_only_puts_back_what_was_there_is_not_guarded() {
    let world = world().await;
    world.write(
        "stack.yaml",
        "name: web\ntargets: local\nrenderer: fake\non_commit: apply\non_drift: apply\nconfirm: 10s\n",
    );
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    let guarded = || {
        let told = world.events.lock().unwrap();
        told.iter().filter(|event| matches!(event, RunEvent::Guarded { .. })).count()
    };
    assert_eq!(guarded(), 1, "a commit is");
    world.machine.paths.lock().unwrap().clear();
    assert_eq!(pass(&world).await.end, RunEnd::Done);
    assert_eq!(guarded(), 1);
    // Where a person wants a time to confirm there is one.
    world.machine.paths.lock().unwrap().clear();
    apply_for_now(&world).await;
    assert_eq!(guarded(), 2);
}

#[tokio::test]
async fn what_cannot_be_planned_beside_what_went_back_is_no_new_wish() {
    let world = world().await;
    apply_for_now(&world).await;
    goes_back(&world);
    world.machine.after.lock().unwrap().insert("/etc/file".into(), "/nowhere".into());
    for _ in 0..2 {
        assert_eq!(pass(&world).await.end, RunEnd::Waiting);
        assert_eq!(world.on_machine(), ["/etc/file", "/net/changed", "/net/gone"]);
    }
}
