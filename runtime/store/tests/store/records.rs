//! Runs, events, plans, approvals, contents.

use std::collections::BTreeMap;

use tidelock_model::digest::Digest;
use tidelock_model::error::Place as At;
use tidelock_model::event::RunEvent;
use tidelock_model::inventory::Ownership;
use tidelock_model::plan::{
    Action, Change, FORMAT, FieldChange, Group, LanePlan, Plan, PlannedEffect, Preview, Summary,
};
use tidelock_model::port::{Filter, Rendered, Store};
use tidelock_model::reads::{Question, Read};
use tidelock_model::resource::RenderedDoc;
use tidelock_model::run::{Approval, Run, RunCounts, RunEnd};
use tidelock_store::SqliteStore;

use crate::support::{
    Place, address, again, apply, at, begin, code, create, effect, lane, name, plugin, revision, run,
};

#[test]
fn a_run_begins_and_ends() {
    let store = SqliteStore::in_memory().unwrap();
    let mut run = run("r1", &lane("infra:web@local"));
    store.begin_run(&run).unwrap();
    assert_eq!(store.runs(&Filter::default()).unwrap(), [run.clone()]);
    assert_eq!(code(store.begin_run(&run)), "invalid");

    run.ended = Some(at(9));
    run.end = Some(RunEnd::Partly);
    run.approver = Some("cy".into());
    run.counts = RunCounts { done: 1, failed: 2, skipped: 3, unknown: 4 };
    run.fault = Some("a sentence".into());
    store.end_run(&run).unwrap();
    assert_eq!(store.runs(&Filter::default()).unwrap(), [run.clone()]);

    run.id = "r2".into();
    assert_eq!(code(store.end_run(&run)), "invalid");
}

#[test]
fn a_run_of_a_dead_process_shows_as_interrupted() {
    let place = Place::new();
    let status = again("records::a_run_of_a_dead_process_child")
        .env("TIDELOCK_TEST_STORE", &place.path)
        .output()
        .unwrap()
        .status;
    assert!(!status.success());
    let runs = place.open().runs(&Filter::default()).unwrap();
    assert_eq!((runs[0].end, runs[0].ended), (Some(RunEnd::Interrupted), None));
}

#[test]
fn a_run_of_a_dead_process_child() {
    let Some(path) = std::env::var_os("TIDELOCK_TEST_STORE") else { return };
    let store = SqliteStore::open(path.as_ref()).unwrap();
    store.begin_run(&run("r1", &lane("infra:web@local"))).unwrap();
    // Goes on, as far as anybody can tell.
    assert_eq!(store.runs(&Filter::default()).unwrap()[0].end, None);
    std::process::abort();
}

#[test]
fn a_run_that_was_overtaken_on_its_lane_shows_as_interrupted() {
    let store = SqliteStore::in_memory().unwrap();
    for (id, lane) in [("r1", "infra:web@local"), ("r2", "infra:db@local"), ("r3", "infra:web@local")] {
        store.begin_run(&run(id, &self::lane(lane))).unwrap();
    }
    let ends: Vec<_> = store.runs(&Filter::default()).unwrap().into_iter().map(|run| (run.id, run.end)).collect();
    assert_eq!(
        ends,
        [("r3".into(), None), ("r2".into(), None), ("r1".to_owned(), Some(RunEnd::Interrupted))],
        "newest first"
    );
}

#[test]
fn filters_narrow_what_is_told() {
    let store = SqliteStore::in_memory().unwrap();
    for (id, lane) in [("r1", "infra:web@a"), ("r2", "infra:web@b"), ("r3", "infra:db@a")] {
        let lane = self::lane(lane);
        let lease = begin(&store, id, &lane);
        apply(&store, &lease, &[create(id, &lane, 1), create(id, &lane, 2)], "done");
        let address = create(id, &lane, 1).changes[0].address.clone();
        let ended = RunEvent::ChangeEnded { address, action: Action::Create, end: "done".into(), why: None };
        store.put_event(at(1), Some(id), Some(&lane), &ended).unwrap();
        store.put_event(at(1), Some(id), Some(&lane), &RunEvent::Observed { subjects: 2 }).unwrap();
    }
    let of = |filter: Filter| {
        let history = store.history(&filter).unwrap().len();
        (store.runs(&filter).unwrap().len(), history, store.events(&filter).unwrap().len())
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(of(Filter::default()), (3, 6, 6));
    assert_eq!(of(Filter { stack: text("web"), ..Filter::default() }), (2, 4, 4));
    assert_eq!(of(Filter { target: text("a"), ..Filter::default() }), (2, 4, 4));
    assert_eq!(of(Filter { run: text("r2"), ..Filter::default() }), (1, 2, 2));
    assert_eq!(of(Filter { address: text("file/f1@"), ..Filter::default() }), (3, 3, 3));
    assert_eq!(of(Filter { address: text("file/f1@"), target: text("b"), ..Filter::default() }), (1, 1, 1));
    assert_eq!(of(Filter { address: text("'; DROP TABLE runs; --"), ..Filter::default() }), (0, 0, 0));
    assert_eq!(of(Filter { limit: Some(2), ..Filter::default() }), (2, 2, 2));
    assert_eq!(of(Filter { limit: Some(0), ..Filter::default() }), (0, 0, 0));

    let last: Vec<u64> =
        store.events(&Filter { limit: Some(2), ..Filter::default() }).unwrap().iter().map(|event| event.seq).collect();
    assert_eq!(last, [5, 6], "the newest, oldest first");
    let newest = &store.history(&Filter::default()).unwrap()[0];
    assert_eq!(newest.address, address("infra:db:server.file/f2@a"));
}

#[test]
fn events_survive_and_count_from_one() {
    let store = SqliteStore::in_memory().unwrap();
    let lane = lane("infra:web@local");
    let ended = RunEvent::Ended { end: RunEnd::Done, counts: RunCounts { done: 3, ..RunCounts::default() } };
    let log = RunEvent::PluginLog { plugin: "server".into(), level: "info".into(), message: "é\u{fffd}[2J".into() };
    assert_eq!(store.put_event(at(1), None, None, &log).unwrap(), 1);
    assert_eq!(store.put_event(at(2), Some("r1"), Some(&lane), &ended).unwrap(), 2);
    let events = store.events(&Filter::default()).unwrap();
    assert_eq!((events[0].seq, events[0].at, &events[0].event), (1, at(1), &log));
    assert_eq!((&events[0].run, &events[0].lane), (&None, &None));
    assert_eq!((events[1].run.as_deref(), events[1].lane.as_ref()), (Some("r1"), Some(&lane)));
    assert_eq!(events[1].event, ended);
    store.put_events(at(3), Some("r1"), Some(&lane), &[log.clone(), ended.clone()]).unwrap();
    store.put_events(at(4), None, None, &[]).unwrap();
    let told: Vec<_> =
        store.events(&Filter::default()).unwrap().into_iter().map(|told| (told.seq, told.event)).collect();
    assert_eq!(told[2..], [(3, log), (4, ended)], "together, and in their order");
}

fn plan() -> Plan {
    let lane = lane("infra:web@local");
    let address = address("infra:web:server.file/motd@local");
    let place = At { file: "web/motd.yaml".into(), line: 3, column: 7 };
    Plan {
        format: FORMAT.into(),
        source: name("infra"),
        revision: revision("c0ffee"),
        stacks: vec![name("web")],
        lanes: vec![LanePlan {
            lane: lane.clone(),
            digest: Digest::of(b"lane"),
            fingerprint: "machine-1".into(),
            ownership: Ownership::Known,
            settings: Digest::of(b"settings"),
            unchanged: 4,
            waits: vec![],
            approved: vec![],
            cuts: vec![],
            pinned: None,
            module: None,
            batch: None,
            destroys: false,
        }],
        digest: Digest::of(b"plan"),
        ownership: Ownership::Known,
        complete: true,
        plugins: vec![plugin()],
        changes: vec![Change {
            address: address.clone(),
            target: name("local"),
            kind: address.resource.kind.clone(),
            name: address.resource.name.clone(),
            identity: tidelock_model::name::Identity::new("path:/etc/motd"),
            action: Action::Update,
            cause: Some(tidelock_model::plan::Cause::Drift),
            reason: None,
            awaits: None,
            moved_from: None,
            before: Some(serde_json::json!({ "mode": "0600" })),
            after: Some(serde_json::json!({ "mode": "0644" })),
            fields: vec![FieldChange {
                path: "/mode".into(),
                before: Some("0600".into()),
                after: Some("0644".into()),
                sensitive: false,
            }],
            unknown: vec![],
            sensitive: vec![],
            destructive: false,
            group: Some(1),
            place: Some(place),
        }],
        groups: vec![Group {
            id: 1,
            lane,
            atomic: false,
            after: vec![],
            effects: vec![PlannedEffect {
                effect: effect(&address, "path:/etc/motd"),
                summary: "remove /etc/motd".into(),
                preview: Preview { text: "-a\n+b\n".into(), cut: false },
                destructive: true,
            }],
        }],
        summary: Summary { actions: BTreeMap::from([("update".into(), 1)]), unchanged: 4, effects: 1, destructive: 1 },
        errors: vec![],
        warnings: vec![],
    }
}

#[test]
fn a_plan_comes_back_as_it_was() {
    let store = SqliteStore::in_memory().unwrap();
    let plan = plan();
    assert_eq!(store.plan(&plan.digest).unwrap(), None);
    store.put_plan(at(1), &plan).unwrap();
    store.put_plan(at(2), &plan).unwrap();
    assert_eq!(store.plan(&plan.digest).unwrap(), Some(plan));
}

#[test]
fn approvals_belong_to_a_digest() {
    let store = SqliteStore::in_memory().unwrap();
    let yes = |who: &str, digest: &[u8]| Approval {
        yes: true,
        digest: Digest::of(digest),
        lane: lane("infra:web@local"),
        who: who.into(),
        at: at(1),
        how: "approve".into(),
        comment: (who == "ann").then(|| "looks right".into()),
    };
    for approval in [yes("ann", b"1"), yes("ben", b"1"), yes("cy", b"2")] {
        store.put_approval(&approval).unwrap();
    }
    assert_eq!(store.approvals(&Digest::of(b"1")).unwrap(), [yes("ann", b"1"), yes("ben", b"1")]);
    assert_eq!(store.approvals(&Digest::of(b"3")).unwrap(), []);
}

#[test]
fn a_yes_is_spent_by_the_run_that_is_done_and_by_no_other() {
    let store = SqliteStore::in_memory().unwrap();
    let lane = lane("infra:web@local");
    let (digest, other) = (Digest::of(b"1"), Digest::of(b"2"));
    let said = |who: &str, digest: Digest, yes: bool| Approval {
        yes,
        digest,
        lane: lane.clone(),
        who: who.into(),
        at: at(0),
        how: "approve".into(),
        comment: None,
    };
    for word in [said("ann", digest, false), said("ann", digest, true), said("ben", other, true)] {
        store.put_approval(&word).unwrap();
    }
    let mut run = Run { digest, began: at(1), ended: Some(at(2)), ..run("r1", &lane) };
    for (id, end, left) in [("r1", RunEnd::Partly, 2), ("r2", RunEnd::Interrupted, 2), ("r3", RunEnd::Done, 0)] {
        run.id = id.into();
        store.begin_run(&run).unwrap();
        run.end = Some(end);
        store.end_run(&run).unwrap();
        assert_eq!(store.approvals(&digest).unwrap().len(), left, "{end:?}");
    }
    assert_eq!(store.approvals(&other).unwrap().len(), 1, "it was about something else");
    store.put_approval(&said("cy", digest, true)).unwrap();
    assert_eq!(store.approvals(&digest).unwrap().len(), 1, "a new yes counts");

    // A run that was cut short left its yes; what came after it and is done spends that too.
    store.begin_run(&Run { id: "r4".into(), digest: other, end: None, ended: None, ..run.clone() }).unwrap();
    store.spend_approvals(&lane, &digest).unwrap();
    assert!(store.approvals(&other).unwrap().is_empty() && store.approvals(&digest).unwrap().is_empty());
}

#[test]
fn what_is_revoked_is_every_yes_of_a_stack_and_no_no_that_stands() {
    let store = SqliteStore::in_memory().unwrap();
    let digest = Digest::of(b"1");
    let said = |lane_text: &str, who: &str, yes: bool| Approval {
        yes,
        digest,
        lane: lane(lane_text),
        who: who.into(),
        at: at(1),
        how: "approve".into(),
        comment: None,
    };
    for (lane, who, yes) in [
        ("infra:web@a", "ann", false),
        ("infra:web@a", "ann", true),
        ("infra:web@a", "ben", true),
        ("infra:web@a", "ben", false),
        ("infra:web@b", "cy", true),
        ("infra:db@a", "cy", true),
    ] {
        store.put_approval(&said(lane, who, yes)).unwrap();
    }
    store.revoke_approvals(&name("infra"), &name("web"), Some(&name("a"))).unwrap();
    let left = [said("infra:web@a", "ben", false), said("infra:web@b", "cy", true), said("infra:db@a", "cy", true)];
    assert_eq!(store.approvals(&digest).unwrap(), left);
    store.revoke_approvals(&name("infra"), &name("web"), None).unwrap();
    assert_eq!(store.approvals(&digest).unwrap(), [left[0].clone(), left[2].clone()]);
}

#[test]
fn a_render_comes_back_as_it_was() {
    let store = SqliteStore::in_memory().unwrap();
    let rendered = Rendered {
        docs: vec![RenderedDoc { document: "{\"kind\":\"server.file\"}".into(), place: At::file("web/motd.yaml") }],
        reads: vec![
            Read { question: Question::File("web/motd.yaml".into()), answer: Digest::of(b"x") },
            Read { question: Question::Settings, answer: Digest::of(b"{}") },
        ],
    };
    let key = Digest::of(b"key");
    assert_eq!(store.render(&key).unwrap(), None);
    store.put_render(&key, &rendered).unwrap();
    assert_eq!(store.render(&key).unwrap(), Some(rendered));
}

#[test]
fn a_render_that_cannot_be_read_is_as_good_as_none() {
    let place = Place::new();
    let store = place.open();
    let key = Digest::of(b"key");
    store.put_render(&key, &Rendered { docs: vec![], reads: vec![] }).unwrap();
    place.raw().execute("UPDATE renders SET rendered = '{'", []).unwrap();
    assert_eq!(store.render(&key).unwrap(), None);
}

#[test]
fn contents_are_known_by_their_digest_only() {
    let place = Place::new();
    let store = place.open();
    let content = b"\x00old motd\xff".as_slice();
    let digest = Digest::of(content);
    assert_eq!(store.blob(&digest).unwrap(), None);
    store.put_blob(&digest, content).unwrap();
    store.put_blob(&digest, content).unwrap();
    assert_eq!(store.blob(&digest).unwrap().as_deref(), Some(content));
    assert_eq!(code(store.put_blob(&Digest::of(b"another"), content)), "invalid");

    place.raw().execute("UPDATE blobs SET content = x'00'", []).unwrap();
    assert_eq!(code(store.blob(&digest)), "corrupt");
}
