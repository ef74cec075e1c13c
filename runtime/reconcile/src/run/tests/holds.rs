//! Stops and suspensions, before, during and after an apply.

use std::sync::Arc;

use jiff::Timestamp;
use tidelock_model::digest::Digest;
use tidelock_model::event::RunEvent;
use tidelock_model::hold::{HoldKind, Scope};
use tidelock_model::name::Lane;
use tidelock_model::port::{Listener, Store};
use tidelock_model::run::{RunEnd, Status};

use super::settled;
use super::world::{World, lane, lines};

/// Stops everything as soon as the first change is done, as another process would.
struct Brake(Arc<dyn Store>);

impl Listener for Brake {
    fn event(&self, _: Option<&str>, _: Option<&Lane>, event: &RunEvent) {
        if matches!(event, RunEvent::ChangeEnded { end, .. } if end == "done") {
            let stop = tidelock_model::hold::Hold {
                id: 0,
                kind: HoldKind::Stop,
                scope: Scope::default(),
                who: "grace".into(),
                at: Timestamp::UNIX_EPOCH,
                until: None,
                reason: Some("it smells of smoke".into()),
            };
            self.0.put_hold(&stop).unwrap();
        }
    }
}

fn held(world: &World, kind: HoldKind, until: Option<Timestamp>) -> tidelock_model::hold::Hold {
    crate::hold(&world.runtime, kind, Scope::default(), until, None, "ada").unwrap()
}

fn status(world: &World) -> (Status, String) {
    let record = world.runtime.store.lane(&lane()).unwrap().unwrap();
    (record.status, record.why.unwrap_or_default())
}

#[tokio::test]
async fn a_stop_bites_in_an_apply_that_is_under_way() {
    let mut world = World::new();
    world.resource("a.json", "a", "/etc/a", "one", "");
    world.resource("b.json", "b", "/etc/b", "two", r#","needs":["fake.file/a"]"#);
    world.runtime.listener = Arc::new(Brake(world.runtime.store.clone()));
    let applied = world.apply(true).await.unwrap();
    assert_eq!(applied.end, RunEnd::Interrupted);
    assert_eq!(world.on_machine(), ["/etc/a"], "what was in hand ended, and nothing further began");
    assert_eq!(applied.skipped.len(), 1);
    assert!(applied.skipped[0].1.contains("grace stopped everything"), "{:?}", applied.skipped);
    assert!(applied.skipped[0].1.contains("it smells of smoke"), "{:?}", applied.skipped);
    assert!(world.runtime.store.open_intents(&lane()).unwrap().is_empty());

    let applied = world.apply(true).await.unwrap();
    assert_eq!(applied.end, RunEnd::Waiting);
    assert_eq!(world.on_machine(), ["/etc/a"]);
    assert_eq!(status(&world).0, Status::Waiting);

    let scope = Scope::default();
    let within = crate::within(&world.runtime, &scope).unwrap();
    crate::end(&world.runtime, &within.ends, "grace").unwrap();
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    assert_eq!(world.on_machine(), ["/etc/a", "/etc/b"]);
}

#[tokio::test]
async fn a_held_lane_is_planned_and_not_applied_whatever_the_yes() {
    for kind in [HoldKind::Stop, HoldKind::Suspend] {
        let world = settled().await;
        world.resource("a.json", "a", "/etc/a", "new", "");
        let saved = world.plan().await.unwrap();
        held(&world, kind, None);
        let plan = world.plan().await.unwrap();
        assert_eq!(lines(&plan), ["update fake.file/a (revision)"]);
        assert_eq!(plan.digest, saved.digest, "a hold says nothing of what would be done");
        let wait = &plan.lanes[0].waits[0];
        assert!(wait.message.starts_with("ada s") && !wait.approvable, "{wait:?}");

        assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Waiting);
        assert_eq!(world.apply_saved(&saved).await.unwrap().end, RunEnd::Waiting, "evidence, never instruction");
        assert_eq!(world.performed(), Vec::<String>::new());
        let wanted = if kind == HoldKind::Stop { Status::Waiting } else { Status::Suspended };
        assert_eq!(status(&world).0, wanted);
        assert!(status(&world).1.starts_with("ada s"), "{:?}", status(&world));
    }
}

#[tokio::test]
async fn a_lane_with_nothing_to_do_is_suspended_and_nobody_waits() {
    let world = settled().await;
    held(&world, HoldKind::Suspend, None);
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Nothing);
    assert_eq!(status(&world).0, Status::Suspended);
    world.plan().await.unwrap();
    assert_eq!(status(&world).0, Status::Suspended);
}

#[tokio::test]
async fn a_suspension_ends_by_itself_with_one_notice() {
    let world = settled().await;
    let now = world.runtime.clock.now();
    held(&world, HoldKind::Suspend, Some(now + jiff::SignedDuration::from_secs(60)));
    world.machine.paths.lock().unwrap().insert("/etc/a".into(), Digest::of(b"by hand"));
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Waiting);

    world.later(3600);
    world.events.lock().unwrap().clear();
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
    world.plan().await.unwrap();
    let events = world.events.lock().unwrap();
    let ended = events.iter().filter(|event| matches!(event, RunEvent::HoldEnded { who: None, .. })).count();
    assert_eq!(ended, 1);
    assert_eq!(status(&world).0, Status::Converged);
}

#[tokio::test]
async fn a_hold_on_another_lane_is_in_nobodys_way() {
    let world = settled().await;
    let other = Scope { stack: Some("db".into()), ..Scope::default() };
    crate::hold(&world.runtime, HoldKind::Stop, other, None, None, "ada").unwrap();
    world.resource("a.json", "a", "/etc/a", "new", "");
    assert_eq!(world.apply(true).await.unwrap().end, RunEnd::Done);
}

#[tokio::test]
async fn a_word_about_a_part_leaves_what_holds_the_whole() {
    let world = settled().await;
    let all = held(&world, HoldKind::Stop, None);
    let web = Scope { stack: Some("web".into()), ..Scope::default() };
    let narrow = crate::hold(&world.runtime, HoldKind::Suspend, web.clone(), None, None, "ada").unwrap();
    let within = crate::within(&world.runtime, &web).unwrap();
    assert_eq!((within.ends, within.stays), (vec![narrow.clone()], vec![all.clone()]));
    let within = crate::within(&world.runtime, &Scope::default()).unwrap();
    assert_eq!((within.ends, within.stays), (vec![all, narrow], vec![]));
}
