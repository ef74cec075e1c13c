//! Leases: one holder, tokens that only grow, and holders that died.

use std::process::Command;
use std::time::Duration;

use tidelock_model::port::Store;

use crate::support::{Place, again, at, begin, code, create, lane, settled};

const KEY: &str = "lane:infra:web@local";
const LONG: u64 = 600_000;

#[test]
fn a_lease_has_one_holder_and_says_who() {
    let place = Place::new();
    let store = place.open();
    let lease = store.lease(KEY, "apply by ann", LONG).unwrap();
    let error = place.open().lease(KEY, "apply by ben", LONG).unwrap_err();
    assert_eq!(error.code, "busy");
    for part in ["infra:web@local", "apply by ann", &format!("process {}", std::process::id()), "since 2"] {
        assert!(error.message.contains(part), "{part} is not in {error}");
    }
    store.lease("target:local", "another key", LONG).unwrap();

    store.release(&lease).unwrap();
    let next = store.lease(KEY, "apply by ben", LONG).unwrap();
    assert!(next.token > lease.token);
}

#[test]
fn a_lease_given_back_late_is_left_to_its_new_holder() {
    let place = Place::new();
    let store = place.open();
    let old = store.lease(KEY, "ann", 0).unwrap();
    let new = store.lease(KEY, "ben", LONG).unwrap();
    store.release(&old).unwrap();
    assert_eq!(code(store.lease(KEY, "eve", LONG)), "busy");
    store.renew(&new, LONG).unwrap();
}

#[test]
fn time_ends_a_lease_and_renewing_keeps_it() {
    let place = Place::new();
    let store = place.open();
    let old = store.lease(KEY, "ann", 1).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    // Nobody else has it yet, so it can still be kept.
    store.renew(&old, 1).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    store.lease(KEY, "ben", LONG).unwrap();
    let error = store.renew(&old, LONG).unwrap_err();
    assert_eq!(error.code, "fenced");
    assert!(error.message.contains("ben"), "{error}");
}

#[test]
fn tokens_grow_across_reopening() {
    let place = Place::new();
    let mut last = 0;
    for _ in 0..3 {
        let store = place.open();
        let lease = store.lease(KEY, "ann", LONG).unwrap();
        assert!(lease.token > last);
        last = lease.token;
        store.release(&lease).unwrap();
    }
}

#[test]
fn nothing_is_written_under_a_lost_lease() {
    let place = Place::new();
    let store = place.open();
    let lane = lane("infra:web@local");
    let old = begin(&store, "r1", &lane);
    let intents = [create("r1", &lane, 1)];
    store.put_intents(&old, &intents).unwrap();
    place.raw().execute("UPDATE leases SET expires = 0", []).unwrap();
    // Its time is up: nothing is begun, but what has been done may be told.
    assert_eq!(code(store.put_intents(&old, &[create("r1", &lane, 2)])), "fenced");
    store.settle(&old, at(2), &[settled(&intents[0], "failed")]).unwrap();

    store.lease(KEY, "ben", LONG).unwrap();
    assert_eq!(code(store.put_intents(&old, &[create("r1", &lane, 2)])), "fenced");
    assert_eq!(code(store.settle(&old, at(2), &[settled(&intents[0], "failed")])), "fenced");
    assert!(store.open_intents(&lane).unwrap().is_empty());
}

#[test]
fn a_lease_that_was_given_back_allows_nothing() {
    let place = Place::new();
    let store = place.open();
    let lane = lane("infra:web@local");
    let lease = begin(&store, "r1", &lane);
    store.release(&lease).unwrap();
    assert_eq!(code(store.put_intents(&lease, &[create("r1", &lane, 1)])), "fenced");
    assert_eq!(code(store.renew(&lease, LONG)), "fenced");
}

#[test]
fn a_dead_holder_does_not_count() {
    let place = Place::new();
    let mut child = again("leases::a_dead_holder_child").env("TIDELOCK_TEST_STORE", &place.path).spawn().unwrap();
    let store = place.open();
    let held = loop {
        match store.lease(KEY, "ben", LONG) {
            Err(error) => break error,
            Ok(lease) => store.release(&lease).unwrap(),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(held.message.contains(&format!("process {}", child.id())), "{held}");

    // SIGKILL: it has no chance to give anything back.
    child.kill().unwrap();
    child.wait().unwrap();
    store.lease(KEY, "ben", LONG).unwrap();
}

#[test]
fn a_dead_holder_child() {
    let Some(path) = std::env::var_os("TIDELOCK_TEST_STORE") else { return };
    let store = tidelock_store::SqliteStore::open(path.as_ref()).unwrap();
    // The parent takes the lease too while it waits for this one to have it.
    while store.lease(KEY, "the child", LONG).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_pid_that_was_given_to_another_process_is_not_the_holder() {
    let place = Place::new();
    let store = place.open();
    store.lease(KEY, "ann", LONG).unwrap();
    place.raw().execute("UPDATE leases SET started = started - 1", []).unwrap();
    store.lease(KEY, "ben", LONG).unwrap();
}

#[test]
fn of_another_machine_only_the_time_counts() {
    let place = Place::new();
    let store = place.open();
    store.lease(KEY, "ann", LONG).unwrap();
    let gone = Command::new("true").spawn().and_then(|mut child| child.wait().map(|_| child.id())).unwrap();
    place.raw().execute("UPDATE leases SET machine = 'another boot', pid = ?1", [gone]).unwrap();
    assert_eq!(code(store.lease(KEY, "ben", LONG)), "busy");
    place.raw().execute("UPDATE leases SET expires = 1", []).unwrap();
    store.lease(KEY, "ben", LONG).unwrap();
}
