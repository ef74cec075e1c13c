//! Lanes, fingerprints, revisions and claims.

use serde_json::json;
use tidelock_model::digest::Digest;
use tidelock_model::inventory::Claim;
use tidelock_model::name::{Identity, Lane};
use tidelock_model::plan::Wait;
use tidelock_model::port::{LaneRecord, LaneStanding, Store};
use tidelock_model::run::Status;
use tidelock_store::SqliteStore;

use crate::support::{at, code, lane, name, plugin, revision};

fn record(lane: &Lane) -> LaneRecord {
    LaneRecord::unknown(lane.clone())
}

#[test]
fn lanes_are_kept_and_sorted() {
    let store = SqliteStore::in_memory().unwrap();
    let lanes = ["infra:web@local", "infra:db@local", "apps:web@local", "infra:web@a"].map(lane);
    for lane in &lanes {
        assert_eq!(store.lane(lane).unwrap(), None);
        store.put_lane(&record(lane)).unwrap();
    }
    let mut sorted = lanes.to_vec();
    sorted.sort();
    let kept: Vec<Lane> = store.lanes().unwrap().into_iter().map(|record| record.lane).collect();
    assert_eq!(kept, sorted);

    let full = LaneRecord {
        status: Status::Waiting,
        why: Some("first contact".into()),
        applied: Some(revision("a")),
        planned: Some(revision("b")),
        plugins: vec![plugin()],
        contacted: true,
        seen: Some(at(5)),
        last_run: Some("r7".into()),
        since: Some(at(4)),
        digest: Some(Digest::of(b"plan")),
        waits: vec![Wait { since: Some(at(3)), ..Wait::new("window", "it is shut") }],
        attempts: 3,
        retry_at: Some(at(9)),
        checked: Some("a".into()),
        ..record(&lanes[0])
    };
    store.put_lane(&full).unwrap();
    assert_eq!(store.lane(&lanes[0]).unwrap(), Some(full));
    assert_eq!(store.lane(&lanes[1]).unwrap(), Some(record(&lanes[1])));
}

#[test]
fn where_the_lanes_of_a_stack_stand_is_told_in_short() {
    let store = SqliteStore::in_memory().unwrap();
    let web = LaneRecord {
        status: Status::Failed,
        why: Some("boom".into()),
        applied: Some(revision("a")),
        planned: Some(revision("b")),
        checked: Some("a".into()),
        ..record(&lane("infra:web@t2"))
    };
    store.put_lane(&web).unwrap();
    for other in ["infra:web@t1", "infra:db@t1", "apps:web@t1"] {
        store.put_lane(&record(&lane(other))).unwrap();
    }
    let standings = store.standings(&name("infra"), &name("web")).unwrap();
    let new = LaneStanding {
        target: name("t1"),
        status: Status::Unknown,
        why: None,
        applied: None,
        planned: None,
        checked: None,
    };
    let failed = LaneStanding {
        target: name("t2"),
        status: Status::Failed,
        why: Some("boom".into()),
        applied: Some("a".into()),
        planned: Some("b".into()),
        checked: Some("a".into()),
    };
    assert_eq!(standings, [new, failed]);
}

#[test]
fn fingerprints_and_revisions_are_replaced() {
    let store = SqliteStore::in_memory().unwrap();
    assert_eq!(store.fingerprint(&name("local")).unwrap(), None);
    for machine in ["one", "one", "two"] {
        store.put_fingerprint(&name("local"), machine).unwrap();
        assert_eq!(store.fingerprint(&name("local")).unwrap().as_deref(), Some(machine));
    }
    assert_eq!(store.fingerprint(&name("other")).unwrap(), None);

    assert_eq!(store.revision(&name("infra")).unwrap(), None);
    for id in ["a", "b"] {
        store.put_revision(&revision(id)).unwrap();
        assert_eq!(store.revision(&name("infra")).unwrap(), Some(revision(id)));
    }
}

fn claim(lane: &Lane, n: u32) -> Claim {
    Claim {
        target: lane.target.clone(),
        identity: Identity::new(format!("path:/srv/{n}")),
        source: lane.source.clone(),
        stack: lane.stack.clone(),
        resource: format!("server.file/f{n}").parse().unwrap(),
    }
}

#[test]
fn claims_of_a_lane_are_replaced_whole() {
    let store = SqliteStore::in_memory().unwrap();
    let (web, db) = (lane("infra:web@local"), lane("infra:db@local"));
    store.put_claims(&web, "r1", &[claim(&web, 2), claim(&web, 1)]).unwrap();
    store.put_claims(&db, "r1", &[claim(&db, 1)]).unwrap();
    // Two stacks claim one identity: both are kept, the planner names both.
    assert_eq!(store.claims(&name("local")).unwrap(), [claim(&db, 1), claim(&web, 1), claim(&web, 2)]);

    store.put_claims(&web, "r2", &[claim(&web, 3)]).unwrap();
    assert_eq!(store.claims(&name("local")).unwrap(), [claim(&db, 1), claim(&web, 3)]);
    let given = store.claims_given_at(&name("local")).unwrap();
    assert_eq!(given, [(db.clone(), "r1".to_owned()), (web.clone(), "r2".to_owned())]);

    // An equal set at a newer revision, in another order and with one line twice.
    store.put_claims(&web, "r3", &[claim(&web, 3), claim(&web, 3)]).unwrap();
    assert_eq!(store.claims(&name("local")).unwrap(), [claim(&db, 1), claim(&web, 3)]);
    assert_eq!(store.claims_given_at(&name("local")).unwrap()[1].1, "r3");

    store.put_claims(&web, "r4", &[]).unwrap();
    assert_eq!(store.claims(&name("local")).unwrap(), [claim(&db, 1)]);
    assert!(store.claims(&name("elsewhere")).unwrap().is_empty());
}

#[test]
fn a_claim_in_anothers_name_is_refused() {
    let store = SqliteStore::in_memory().unwrap();
    let (web, db) = (lane("infra:web@local"), lane("infra:db@local"));
    assert_eq!(code(store.put_claims(&web, "r1", &[claim(&web, 1), claim(&db, 1)])), "invalid");
    assert!(store.claims(&name("local")).unwrap().is_empty());
}

#[test]
fn a_lane_that_is_forgotten_takes_its_claims_with_it() {
    let store = SqliteStore::in_memory().unwrap();
    let (web, db) = (lane("infra:web@local"), lane("infra:db@local"));
    for one in [&web, &db] {
        store.put_lane(&record(one)).unwrap();
        store.put_claims(one, "r1", &[claim(one, 1)]).unwrap();
        store.put_shown_policy(one, &json!({ "on_drift": "report" })).unwrap();
    }
    store.drop_lane(&web).unwrap();
    assert_eq!(store.lanes().unwrap(), [record(&db)]);
    assert_eq!(store.claims(&name("local")).unwrap(), [claim(&db, 1)]);
    assert_eq!(store.shown_policy(&web).unwrap(), None);
    assert_eq!(store.shown_policy(&db).unwrap(), Some(json!({ "on_drift": "report" })));
}

#[test]
fn the_last_policy_that_was_shown_counts() {
    let store = SqliteStore::in_memory().unwrap();
    let web = lane("infra:web@local");
    for budget in [1, 5] {
        store.put_shown_policy(&web, &json!({ "budget": budget })).unwrap();
        assert_eq!(store.shown_policy(&web).unwrap(), Some(json!({ "budget": budget })));
    }
}
