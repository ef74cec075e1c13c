//! Several threads and several processes on one file.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use tidelock_model::event::RunEvent;
use tidelock_model::port::{Filter, Store};
use tidelock_store::SqliteStore;

use crate::support::{Place, again, at, code, name};

const EACH: usize = 100;

fn tell(store: &SqliteStore, who: &str) {
    for n in 0..EACH {
        store.put_event(at(0), Some(who), None, &RunEvent::Observed { subjects: n }).unwrap();
    }
}

/// No number is missing or given twice, and each writer's events are in its order.
fn without_gaps(store: &SqliteStore, writers: usize) {
    let events = store.events(&Filter::default()).unwrap();
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=(writers * EACH) as u64).collect::<Vec<_>>());
    for who in 0..writers {
        let told: Vec<&RunEvent> =
            events.iter().filter(|event| event.run == Some(who.to_string())).map(|event| &event.event).collect();
        assert_eq!(told.len(), EACH);
        assert!(told.iter().enumerate().all(|(n, event)| **event == RunEvent::Observed { subjects: n }));
    }
}

#[test]
fn events_of_threads_have_no_gaps() {
    let place = Place::new();
    let shared = place.open();
    std::thread::scope(|scope| {
        for who in 0..4 {
            let (shared, place) = (&shared, &place);
            scope.spawn(move || match who % 2 {
                // Two share a store, two have one of their own on the same file.
                0 => tell(shared, &who.to_string()),
                _ => tell(&place.open(), &who.to_string()),
            });
        }
    });
    without_gaps(&shared, 4);
}

#[test]
fn events_of_processes_have_no_gaps() {
    let place = Place::new();
    let children: Vec<_> = (0..3)
        .map(|who| {
            // They also race to make the file.
            again("concurrency::events_of_processes_child")
                .env("TIDELOCK_TEST_STORE", &place.path)
                .env("TIDELOCK_TEST_WHO", who.to_string())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let store = place.open();
    without_gaps(&store, 3);
    store.check().unwrap();
}

#[test]
fn events_of_processes_child() {
    let Some(path) = std::env::var_os("TIDELOCK_TEST_STORE") else { return };
    let store = SqliteStore::open(path.as_ref()).unwrap();
    tell(&store, &std::env::var("TIDELOCK_TEST_WHO").unwrap());
}

#[test]
fn one_lease_goes_to_one_of_many() {
    let place = Place::new();
    drop(place.open());
    let start = Barrier::new(8);
    let holders = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|who| {
                let (place, start) = (&place, &start);
                scope.spawn(move || {
                    let store = place.open();
                    start.wait();
                    store.lease("lane:infra:web@local", &format!("thread {who}"), 60_000).is_ok()
                })
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(holders, 1);
}

#[test]
fn a_writer_that_does_not_end_is_named_after_a_bounded_time() {
    let place = Place::new();
    let store = place.open();
    store.wait_at_most(Duration::from_millis(100)).unwrap();
    let mut child = again("concurrency::a_writer_that_does_not_end_child")
        .env("TIDELOCK_TEST_STORE", &place.path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let error = loop {
        match store.put_fingerprint(&name("local"), "x") {
            Ok(()) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code, "busy");
    assert!(error.message.contains(&format!("process {}", child.id())), "{error}");

    // Reading goes on meanwhile.
    let since = Instant::now();
    assert_eq!(store.fingerprint(&name("other")).unwrap(), None);
    assert!(since.elapsed() < Duration::from_secs(1));
    assert_eq!(
        code(SqliteStore::open(&place.path).and_then(|other| {
            other.wait_at_most(Duration::from_millis(50))?;
            other.put_fingerprint(&name("local"), "y")
        })),
        "busy"
    );

    child.kill().unwrap();
    child.wait().unwrap();
    store.put_fingerprint(&name("local"), "x").unwrap();
}

#[test]
fn a_writer_that_does_not_end_child() {
    let Some(path) = std::env::var_os("TIDELOCK_TEST_STORE") else { return };
    let raw = rusqlite::Connection::open(path).unwrap();
    raw.busy_timeout(Duration::from_secs(5)).unwrap();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}
