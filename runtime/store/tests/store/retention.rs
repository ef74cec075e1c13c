//! What is dropped by age and number, and what never is.

use jiff::{SignedDuration, Timestamp};
use tidelock_model::error::Diagnostic;
use tidelock_model::event::RunEvent;
use tidelock_model::port::{Filter, Store};
use tidelock_model::revision::{SourceNotice, Stale, Trouble};
use tidelock_store::SqliteStore;

use crate::support::{Place, address, apply, at, begin, create, lane, name, run, trigger};

fn later(days: i64) -> Timestamp {
    at(0) + SignedDuration::from_hours(24 * days)
}

fn tidied(store: &SqliteStore, now: Timestamp) {
    let mut calls = 0;
    while store.tidy(now).unwrap() {
        calls += 1;
        assert!(calls < 1_000, "it never ends");
    }
}

fn events(store: &SqliteStore) -> Vec<u64> {
    store.events(&Filter::default()).unwrap().iter().map(|event| event.seq).collect()
}

#[test]
fn events_go_after_ninety_days_and_their_numbers_go_on() {
    let place = Place::new();
    let store = place.open();
    let event = RunEvent::Observed { subjects: 1 };
    for _ in 0..10 {
        store.put_event(at(0), None, None, &event).unwrap();
    }
    store.put_event(later(60), None, None, &event).unwrap();
    tidied(&store, later(89));
    assert_eq!(events(&store).len(), 11);
    tidied(&store, later(91));
    assert_eq!(events(&store), [11]);
    tidied(&store, later(200));
    assert_eq!(store.put_event(later(200), None, None, &event).unwrap(), 12, "no number is given twice");
}

#[test]
fn of_too_many_events_the_oldest_go_and_the_rest_has_no_gap() {
    let place = Place::new();
    let store = place.open();
    for _ in 0..100_500 {
        store.put_event(at(0), None, None, &RunEvent::Observed { subjects: 1 }).unwrap();
    }
    tidied(&store, at(1));
    let kept = events(&store);
    assert_eq!((kept.first(), kept.last(), kept.len()), (Some(&501), Some(&100_500), 100_000));
}

#[test]
fn what_is_open_or_due_stays_however_old() {
    let place = Place::new();
    let store = place.open();
    let web = lane("infra:web@local");
    let lease = begin(&store, "run-1", &web);
    let (gone, mut notifying, open) = (create("run-1", &web, 1), create("run-1", &web, 2), create("run-1", &web, 3));
    notifying.triggers = vec![trigger(&address("infra:web:server.command/reload@local"), "server.file/f2")];
    apply(&store, &lease, &[gone, notifying.clone()], "done");
    store.put_intents(&lease, std::slice::from_ref(&open)).unwrap();
    let mut ended = run("run-1", &web);
    ended.ended = Some(at(3));
    store.end_run(&ended).unwrap();
    let intents = || -> i64 { place.raw().query_row("SELECT count(*) FROM intents", [], |row| row.get(0)).unwrap() };

    tidied(&store, later(89));
    assert_eq!((intents(), store.history(&Filter::default()).unwrap().len()), (3, 2));
    tidied(&store, later(91));
    assert_eq!((intents(), store.history(&Filter::default()).unwrap().len()), (2, 2), "one was for undo alone");
    tidied(&store, later(3_000));
    assert!(store.history(&Filter::default()).unwrap().is_empty(), "history goes after two years");
    assert_eq!(store.open_intents(&web).unwrap(), [open]);
    assert_eq!(store.due_triggers(&web).unwrap(), notifying.triggers);
    assert_eq!(store.runs(&Filter::default()).unwrap().len(), 1, "an open intent needs its run");
    store.check().unwrap();
}

#[test]
fn a_source_is_stale_until_it_answers() {
    let place = Place::new();
    let store = place.open();
    let (infra, stale) = (name("infra"), Stale { since: at(1), why: "no route to host".into() });
    store.put_stale(&infra, Some(&stale)).unwrap();
    assert_eq!(place.open().stale(&infra).unwrap(), Some(stale));
    store.put_stale(&infra, None).unwrap();
    assert_eq!(store.stale(&infra).unwrap(), None);
}

#[test]
fn what_is_wrong_with_a_source_is_kept_until_it_is_not() {
    let place = Place::new();
    let store = place.open();
    let infra = name("infra");
    assert_eq!(store.trouble(&infra).unwrap(), Trouble::default());
    let trouble = Trouble {
        notices: vec![SourceNotice::Rewritten { from: "a".into(), to: "b".into() }],
        read: Some("a".into()),
        problems: vec![Diagnostic::error("no such kind", None)],
    };
    store.put_trouble(&infra, &trouble).unwrap();
    let kept = place.open().trouble(&infra).unwrap();
    assert_eq!(kept, trouble);
    assert_eq!((kept.problems_at("a").len(), kept.problems_at("b").len()), (1, 0));
    store.put_trouble(&infra, &Trouble::default()).unwrap();
    assert_eq!(store.trouble(&infra).unwrap(), Trouble::default());
}
