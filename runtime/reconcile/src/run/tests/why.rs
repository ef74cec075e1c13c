//! What waits for what, told from the store and the config alone.

use jiff::{SignedDuration, Timestamp};
use tidelock_model::config::GateDecl;
use tidelock_model::digest::Digest;
use tidelock_model::hold::{HoldKind, Scope};
use tidelock_model::name::{Address, Identity};
use tidelock_model::port::{LaneRecord, Want};
use tidelock_model::revision::Stale;
use tidelock_model::run::Status;

use super::settled;
use super::world::{World, lane, name};
use crate::{Asked, LaneWhy, Selection};

/// What is told of the only lane, at a time.
fn at(world: &World, now: Timestamp) -> LaneWhy {
    let why = crate::why(world.runtime.store.as_ref(), &world.runtime.config, now, Asked::default()).unwrap();
    assert_eq!(why.lanes.len(), 1);
    why.lanes.into_iter().next().unwrap()
}

fn now(world: &World) -> LaneWhy {
    at(world, world.runtime.clock.now())
}

fn codes(told: &LaneWhy) -> Vec<&str> {
    told.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

fn change_record(world: &World, change: impl FnOnce(&mut LaneRecord)) {
    let mut record = world.runtime.store.lane(&lane()).unwrap().unwrap();
    change(&mut record);
    world.runtime.store.put_lane(&record).unwrap();
}

#[tokio::test]
async fn a_lane_that_is_as_git_says_waits_for_nothing() {
    let world = settled().await;
    let told = now(&world);
    assert_eq!((told.status, codes(&told)), (Status::Converged, vec![]));
    assert_eq!(told.in_force, told.applied);
}

#[tokio::test]
async fn approvals_are_told_with_who_said_yes_and_who_may() {
    let mut world = settled().await;
    std::sync::Arc::make_mut(&mut world.runtime.config).gate = vec![GateDecl {
        approvals: Some(2),
        approvers: vec!["grace".into(), "alan".into(), "kay".into()],
        ..GateDecl::default()
    }];
    world.resource("a.json", "a", "/etc/a", "new", "");
    assert!(world.apply(true).await.is_ok());
    let told = now(&world);
    assert_eq!(codes(&told), ["on-commit", "approvals"]);
    let since = told.reasons[1].since.unwrap();
    let selection = Selection { source: None, stacks: vec![], targets: vec![], want: Want::Configured };
    let planned = crate::planned(world.runtime.store.as_ref(), &selection).unwrap();
    crate::approve(world.runtime.store.as_ref(), world.runtime.clock.now(), &planned[0], "grace", None).unwrap();

    let told = now(&world);
    assert_eq!(codes(&told), ["approvals"], "any yes is enough for the stack");
    let people = told.reasons[0].people.as_ref().unwrap();
    assert_eq!((people.wanted, people.said.as_slice()), (2, &["grace".to_owned()][..]));
    assert_eq!(people.of, ["alan", "grace", "kay"]);
    world.apply(true).await.unwrap();
    assert_eq!(now(&world).reasons[0].since, Some(since), "it waits since the first look");

    crate::approve(world.runtime.store.as_ref(), world.runtime.clock.now(), &planned[0], "kay", None).unwrap();
    assert_eq!(codes(&now(&world)), ["ready"], "enough was said, and nobody has looked since");
}

#[tokio::test]
async fn holds_are_those_in_force_now() {
    let world = settled().await;
    world.resource("a.json", "a", "/etc/a", "new", "");
    let until = world.runtime.clock.now() + SignedDuration::from_hours(1);
    let reason = Some("a freeze".to_owned());
    let hold = crate::hold(&world.runtime, HoldKind::Suspend, Scope::default(), Some(until), reason, "ada").unwrap();
    world.plan().await.unwrap();
    let told = now(&world);
    assert_eq!(codes(&told)[0], "suspended");
    assert_eq!((told.reasons[0].since, told.reasons[0].until), (Some(hold.at), Some(until)));
    assert!(told.reasons[0].message.contains("ada suspended everything"), "{told:?}");
    assert!(told.reasons[0].message.contains("a freeze"), "{told:?}");
    assert!(!codes(&at(&world, until)).contains(&"suspended"), "its time is up, and nobody looked since");
    let within = crate::within(&world.runtime, &Scope::default()).unwrap();
    crate::end(&world.runtime, &within.ends, "ada").unwrap();
    assert!(!codes(&now(&world)).contains(&"suspended"), "lifted, and nobody looked since");
}

#[tokio::test]
async fn a_failure_is_told_with_its_line_and_the_next_try() {
    let world = settled().await;
    world.machine.broken.lock().unwrap().insert("/etc/a".into());
    world.resource("a.json", "a", "/etc/a", "new", "");
    world.apply(true).await.unwrap();
    let told = now(&world);
    assert_eq!(codes(&told), ["failed"]);
    assert!(told.reasons[0].message.contains("/etc/a is read-only"), "{told:?}");

    let retry = world.runtime.clock.now() + SignedDuration::from_secs(30);
    change_record(&world, |record| (record.attempts, record.retry_at) = (3, Some(retry)));
    let told = now(&world);
    assert_eq!(codes(&told), ["failed", "backoff"]);
    assert_eq!(told.reasons[1].until, Some(retry));
    assert!(told.reasons[1].message.contains("3 times in a row"), "{told:?}");
}

#[tokio::test]
async fn a_pass_under_way_is_told_and_a_dead_one_is_not() {
    let world = settled().await;
    let store = world.runtime.store.clone();
    let lease = store.lease(&format!("lane:{}", lane()), "timer", 60_000).unwrap();
    let told = at(&world, Timestamp::now());
    assert_eq!(codes(&told), ["under-way"]);
    let process = format!("timer (process {})", std::process::id());
    assert!(told.reasons[0].message.contains(&process), "{told:?}");
    let late = Timestamp::now() + SignedDuration::from_secs(61);
    assert!(codes(&at(&world, late)).is_empty(), "its time is up");
    store.release(&lease).unwrap();
    store.lease("target:local", "apply by grace", 60_000).unwrap();
    assert_eq!(codes(&at(&world, Timestamp::now())), ["target-busy"]);
}

#[tokio::test]
async fn what_a_crash_left_is_told() {
    let world = settled().await;
    world.resource("ask.json", "ask", "/etc/ask", "new", "");
    *world.machine.dies.lock().unwrap() = true;
    let died = std::panic::AssertUnwindSafe(world.apply(true));
    assert!(futures::FutureExt::catch_unwind(died).await.is_err());
    let told = at(&world, Timestamp::now() + SignedDuration::from_hours(1));
    assert!(codes(&told).contains(&"in-doubt"), "{told:?}");
    let hint = told.reasons.iter().find(|reason| reason.code == "in-doubt").unwrap().hint.clone().unwrap();
    assert!(hint.contains("tidelock resolve infra:web:fake.file/ask@local"), "{hint}");
}

#[tokio::test]
async fn pins_stale_sources_and_revisions_nobody_looked_at_are_told() {
    let world = settled().await;
    let store = world.runtime.store.clone();
    let first = store.revision(&name("infra")).unwrap().unwrap();
    let mut newer = first.clone();
    newer.id = "abcdef0123456789".into();
    store.put_revision(&newer).unwrap();
    let since = Timestamp::from_second(1_600_000_000).unwrap();
    store.put_stale(&name("infra"), Some(&Stale { since, why: "no route".into() })).unwrap();
    let told = now(&world);
    assert_eq!(codes(&told), ["not-planned", "source-stale"]);
    assert_eq!((told.in_force.unwrap().id, told.applied.unwrap().id), (newer.id, first.id.clone()));
    assert_eq!(told.reasons[1].since, Some(since));

    crate::pin(&world.runtime, &name("web"), first.clone(), None, Some("it is slow".into()), "ada").unwrap();
    let told = now(&world);
    assert_eq!(codes(&told), ["pinned", "source-stale"]);
    assert_eq!(told.in_force.unwrap().id, first.id);
}

#[tokio::test]
async fn a_target_that_left_the_config_is_told() {
    let mut world = settled().await;
    std::sync::Arc::make_mut(&mut world.runtime.config).targets.clear();
    let told = now(&world);
    assert_eq!(codes(&told), ["orphaned"]);
    assert!(told.reasons[0].message.contains("no target local any more"), "{told:?}");
}

#[tokio::test]
async fn a_resource_is_told_with_what_is_planned_and_what_was_done_last() {
    let world = settled().await;
    world.resource("a.json", "a", "/etc/a", "new", "");
    world.machine.paths.lock().unwrap().insert("/etc/b".into(), Digest::of(b"by hand"));
    world.plan().await.unwrap();
    let about = |wanted: &str| {
        let is_meant = |address: &Address, _: &Identity| address.resource.name.as_str() == wanted;
        let asked = Asked { resource: Some(&is_meant), ..Asked::default() };
        let now = world.runtime.clock.now();
        crate::why(world.runtime.store.as_ref(), &world.runtime.config, now, asked).unwrap()
    };
    let why = about("b");
    let [resource] = why.lanes[0].resources.as_slice() else { panic!("{why:?}") };
    assert!(resource.owned);
    assert_eq!(resource.last.as_ref().unwrap().end, "done");
    assert_eq!(resource.planned.as_ref().unwrap().cause, Some(tidelock_model::plan::Cause::Drift));
    assert!(about("c").lanes.is_empty());
}
