//! Batches, checks and needs, over several targets: one run by hand, and the loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidelock_model::digest::Digest;
use tidelock_model::event::RunEvent;
use tidelock_model::hold::{HoldKind, Scope};
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::{Filter, Guard, GuardState, Guarded};
use tidelock_model::run::{RunEnd, Status};

use super::leases::OnTheWall;
use super::world::{Fleet, Machine, Meanwhile, World, name};
use crate::Runtime;

/// A world of targets t0, t1, ... with the stack `web` on all of them, applied once.
async fn fleet(targets: usize, more: &str) -> (World, Arc<Fleet>) {
    let mut world = World::new();
    world.write("stack.yaml", &format!("name: web\ntargets: \"t*\"\nrenderer: fake\n{more}"));
    world.resource("a.json", "a", "/etc/a", "one", "");
    let names: Vec<Name> = (0..targets).map(|n| name(&format!("t{n}"))).collect();
    let machines = names.iter().map(|name| (name.clone(), Arc::new(Machine::default()))).collect();
    let fleet = Arc::new(Fleet { machines, ..Fleet::default() });
    let machine = json!({"type": "machine"});
    let allow = json!({"targets": ["*"], "kinds": ["*"], "checks": {"tcp": ["t*:80"]}});
    world.runtime = Runtime {
        config: serde_json::from_value::<tidelock_model::config::Config>(json!({
            "sources": {"infra": {"url": "x", "allow": [allow]}},
            "targets": names.iter().map(|name| (name.to_string(), machine.clone())).collect::<BTreeMap<_, _>>(),
        }))
        .map(std::sync::Arc::new)
        .unwrap(),
        plugins: fleet.clone(),
        targets: fleet.clone(),
        ..world.runtime.clone()
    };
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    world.events.lock().unwrap().clear();
    (world, fleet)
}

impl Fleet {
    /// Targets on which the file `/etc/a` holds this.
    fn with(&self, content: &str) -> Vec<String> {
        let holds =
            |machine: &Machine| machine.paths.lock().unwrap().get("/etc/a") == Some(&Digest::of(content.as_bytes()));
        self.machines.iter().filter(|(_, machine)| holds(machine)).map(|(name, _)| name.to_string()).collect()
    }

    fn breaks(&self, target: &str) {
        self.machines[&name(target)].broken.lock().unwrap().insert("/etc/a".into());
    }

    fn mended(&self, target: &str) {
        self.machines[&name(target)].broken.lock().unwrap().clear();
    }
}

fn lane_of(world: &World, target: &str) -> (Status, String) {
    let lane = Lane { source: name("infra"), stack: name("web"), target: name(target) };
    let record = world.runtime.store.lane(&lane).unwrap().unwrap();
    (record.status, record.why.unwrap_or_default())
}

/// The order in which runs began, by target.
fn began(world: &World) -> Vec<String> {
    let mut runs = world.runtime.store.runs(&Filter::default()).unwrap();
    runs.reverse();
    runs.into_iter().map(|run| run.lane.target.to_string()).collect()
}

#[tokio::test]
async fn one_run_takes_all_batches_under_one_yes() {
    let (world, fleet) = fleet(6, "rollout: { first: 1, then: 2 }\n").await;
    world.resource("a.json", "a", "/etc/a", "two", "");
    let plan = world.plan().await.unwrap();
    let batches: Vec<Option<usize>> = plan.lanes.iter().map(|part| part.batch).collect();
    assert_eq!(batches, [1, 2, 2, 3, 3, 4].map(Some));
    let turns = plan.lanes.iter().flat_map(|part| &part.waits).filter(|wait| wait.on.is_some()).count();
    assert_eq!(turns, 0, "whose turn it is says the batch");

    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.runs.len(), applied.waits.len()), (RunEnd::Done, 6, 0));
    assert_eq!(fleet.with("two").len(), 6);
    let runs = began(&world);
    assert_eq!(&runs[6..], ["t0", "t1", "t2", "t3", "t4", "t5"]);
    assert!(world.runtime.store.runs(&Filter::default()).unwrap().iter().all(|run| run.approver.is_some()));
}

#[tokio::test]
async fn the_first_failure_stops_the_rest_and_mending_it_goes_on() {
    let (world, fleet) = fleet(6, "rollout: { first: 1, then: 2 }\n").await;
    world.resource("a.json", "a", "/etc/a", "two", "");
    fleet.breaks("t1");
    let applied = world.apply(true).await.unwrap();
    assert_eq!(applied.end, RunEnd::Partly);
    assert_eq!(fleet.with("two"), ["t0", "t2"], "its batch had begun");
    let wait = &applied.waits.iter().find(|(lane, _)| lane.target == name("t5")).unwrap().1;
    assert!(wait.message.starts_with("the rollout stopped: web@t1 failed: "), "{wait:?}");
    assert_eq!(lane_of(&world, "t4").0, Status::Waiting);

    // By hand again: what failed may try, and nobody else.
    let again = world.apply(true).await.unwrap();
    assert_eq!((again.end, again.runs.len()), (RunEnd::Failed, 1));
    fleet.mended("t1");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(fleet.with("two").len(), 6);
}

#[tokio::test]
async fn several_targets_are_written_and_checked_at_once() {
    let (mut world, fleet) = fleet(3, "rollout: { first: 3 }\nchecks: [{ tcp: '{target}:80' }]\n").await;
    world.runtime.clock = OnTheWall::new();
    let all = || Some(Arc::new(tokio::sync::Barrier::new(3)));
    let writing = all();
    fleet.machines.values().for_each(|machine| machine.meets.lock().unwrap().clone_from(&writing));
    *world.checks.meet.lock().unwrap() = all();
    world.resource("a.json", "a", "/etc/a", "two", "");
    let applied = tokio::time::timeout(Duration::from_secs(20), world.apply(true)).await;
    let applied = applied.expect("each waits for the others").unwrap();
    assert_eq!((applied.end, fleet.with("two").len()), (RunEnd::Done, 3));
}

#[tokio::test]
async fn a_target_that_goes_away_is_the_failure_of_its_own_lanes() {
    let (world, fleet) = fleet(3, "rollout: { first: 3 }\n").await;
    world.resource("a.json", "a", "/etc/a", "two", "");
    world.resource("b.json", "b", "/etc/b", "two", "");
    let goes = Meanwhile(|| {
        fleet.gone.lock().unwrap().insert(name("t1"));
    });
    let applied = world.apply_by(&goes).await.unwrap();
    assert_eq!((applied.end, applied.runs.len()), (RunEnd::Partly, 3));
    assert_eq!(fleet.with("two"), ["t0", "t2"]);
    let failures: Vec<String> =
        applied.failures.iter().map(|(of, fault)| format!("{}: {}", of.target, fault.message)).collect();
    assert_eq!((failures, applied.skipped.len()), (vec!["t1: target t1 is gone".to_owned()], 1));
    assert!(applied.runs.iter().all(|run| run.ended.is_some()), "what each did is recorded");
    assert_eq!([lane_of(&world, "t0").0, lane_of(&world, "t1").0], [Status::Converged, Status::Failed]);

    fleet.gone.lock().unwrap().clear();
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(fleet.with("two").len(), 3);
}

#[tokio::test]
async fn a_guard_that_is_gone_and_cannot_be_stood_in_for_holds_up_its_own_target() {
    let (world, fleet) = fleet(2, "rollout: { first: 2 }\n").await;
    world.resource("a.json", "a", "/etc/a", "two", "");
    let lane = Lane { source: name("infra"), stack: name("web"), target: name("t1") };
    let (until, effects, tried) = (jiff::Timestamp::UNIX_EPOCH, vec![], vec![]);
    let guard = Guard { id: "a-run".into(), lane, within_ms: 1, until, effects, tried, applied: None };
    // The fakes of a fleet have none of their own.
    fleet.guards.lock().unwrap().known =
        vec![Guarded { guard, state: GuardState::Gone, why: String::new(), left: Some(vec![]), written_ms: 0 }];
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, fleet.with("two")), (RunEnd::Partly, vec!["t0".to_owned()]), "{applied:?}");
    assert!(applied.plan.errors[0].message.contains("t1"), "{:?}", applied.plan.errors);
    assert_eq!(lane_of(&world, "t1").0, Status::Failed);
}

#[tokio::test]
async fn a_target_that_goes_away_before_it_is_proved_is_the_failure_of_its_own_lanes() {
    let (world, fleet) = fleet(2, "rollout: { first: 2 }\n").await;
    world.resource("a.json", "a", "/etc/a", "two", "");
    let t1 = &fleet.machines[&name("t1")];
    t1.performed.lock().unwrap().clear();
    *t1.blinds.lock().unwrap() = true;
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.mismatches.len()), (RunEnd::Partly, 1), "{applied:?}");
    assert!(applied.mismatches[0].why.contains("could not be looked at again: it does not answer"), "{applied:?}");
    assert!(applied.runs.iter().all(|run| run.ended.is_some()), "what each did is recorded");
    assert_eq!([lane_of(&world, "t0").0, lane_of(&world, "t1").0], [Status::Converged, Status::Failed]);
}

#[tokio::test]
async fn somebody_who_was_ahead_on_one_target_holds_up_no_other() {
    let (world, fleet) = fleet(2, "rollout: { first: 2 }\n").await;
    for (file, path) in [("a", "/etc/a"), ("b", "/etc/b"), ("c", "/etc/c")] {
        world.resource(&format!("{file}.json"), file, path, "two", "");
    }
    let [t0, t1] = ["t0", "t1"].map(|target| &fleet.machines[&name(target)]);
    t0.ahead.lock().unwrap().insert("/etc/a".into(), (1, "theirs".into()));
    t1.after.lock().unwrap().insert("/etc/b".into(), "/etc/c".into());
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.cut_short.len(), applied.failures.len()), (RunEnd::Partly, 1, 1), "{applied:?}");
    assert!(t1.paths.lock().unwrap().contains_key("/etc/b"), "the rest of the other went on");
    assert_eq!(t0.paths.lock().unwrap()["/etc/a"], Digest::of(b"theirs0"));
}

#[tokio::test]
async fn whoever_ends_it_between_two_batches_is_told_what_was_done() {
    let (world, fleet) = fleet(3, "rollout: { first: 1, then: 1 }\n").await;
    world.resource("a.json", "a", "/etc/a", "two", "");
    *fleet.machines[&name("t0")].interrupts.lock().unwrap() = Some(world.runtime.interrupt.clone());
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.runs.len(), applied.cut_short.len()), (RunEnd::Interrupted, 1, 1));
    assert_eq!(fleet.with("two"), ["t0"]);
    assert_eq!(lane_of(&world, "t0").0, Status::Converged);
}

#[tokio::test]
async fn a_new_revision_is_not_held_up_by_failures_of_the_old() {
    let (world, fleet) = fleet(4, "").await;
    world.resource("a.json", "a", "/etc/a", "two", "");
    fleet.breaks("t0");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Failed);
    fleet.mended("t0");
    world.resource("a.json", "a", "/etc/a", "three", "");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(fleet.with("three").len(), 4);
}

#[tokio::test]
async fn a_check_that_does_not_hold_stops_it_though_everything_was_done() {
    let (world, fleet) = fleet(4, "checks: [{ tcp: '{target}:80' }]\n").await;
    assert_eq!(std::mem::take(&mut *world.checks.asked.lock().unwrap()).len(), 4);
    world.resource("a.json", "a", "/etc/a", "two", "");
    world.checks.failing.lock().unwrap().insert("tcp t0:80".into());
    let applied = world.apply(true).await.unwrap();
    assert_eq!(applied.end, RunEnd::Partly);
    assert_eq!(applied.unchecked.len(), 1);
    assert_eq!(fleet.with("two"), ["t0"]);
    assert_eq!(lane_of(&world, "t0"), (Status::Failed, "check tcp t0:80: it answers 503".to_owned()));
    let told = |event: &RunEvent| matches!(event, RunEvent::Checked { why: Some(_), .. });
    assert_eq!(world.events.lock().unwrap().iter().filter(|event| told(event)).count(), 1);

    // It comes up by itself: nothing is to be done there, and the others go on.
    world.checks.failing.lock().unwrap().clear();
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.runs.len()), (RunEnd::Done, 3));
    assert_eq!(lane_of(&world, "t0").0, Status::Converged);
    world.checks.asked.lock().unwrap().clear();
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Nothing);
    assert_eq!(*world.checks.asked.lock().unwrap(), Vec::<String>::new(), "they held at this revision");
}

#[tokio::test]
async fn drift_is_healed_whatever_the_rollout_does() {
    let (world, fleet) = fleet(3, "").await;
    fleet.machines[&name("t2")].paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"by hand"));
    let applied = world.apply(true).await.unwrap();
    assert_eq!((applied.end, applied.runs.len()), (RunEnd::Done, 1));
    assert_eq!(applied.plan.lanes.iter().map(|part| part.batch).collect::<Vec<_>>(), [None, None, None]);
}

#[tokio::test]
async fn a_suspended_target_is_left_out() {
    let (world, fleet) = fleet(4, "").await;
    let scope = Scope { target: Some("t0".into()), ..Scope::default() };
    crate::hold(&world.runtime, HoldKind::Suspend, scope, None, None, "ada").unwrap();
    world.resource("a.json", "a", "/etc/a", "two", "");
    let applied = world.apply(true).await.unwrap();
    assert_eq!(applied.end, RunEnd::Waiting, "the suspended one waits");
    assert_eq!(fleet.with("two"), ["t1", "t2", "t3"]);
}

#[tokio::test]
async fn a_no_is_one_to_every_batch() {
    let (world, fleet) = fleet(4, "").await;
    world.resource("a.json", "a", "/etc/a", "two", "");
    assert_eq!(world.apply(false).await.unwrap().end, RunEnd::Waiting);
    assert_eq!(fleet.with("two"), Vec::<String>::new());
}

#[tokio::test]
async fn a_check_that_nobody_allowed_is_refused_before_anything_is_done() {
    let (world, _) = fleet(2, "").await;
    world.write("stack.yaml", "name: web\ntargets: \"t*\"\nrenderer: fake\nchecks: [{ tcp: '{target}:22' }]\n");
    let plan = world.plan().await.unwrap();
    assert!(plan.lanes.is_empty());
    let messages: Vec<&str> = plan.errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(messages[0], "checks/0: this operator allows no check of tcp t0:22");
    assert_eq!(world.checks.asked.lock().unwrap().len(), 0);
}
