//! `kill -9` in the middle of transactions: each method has happened, or it has not.

use std::time::Duration;

use tidelock_model::event::RunEvent;
use tidelock_model::port::{Filter, Store};
use tidelock_model::run::{Intent, Run, RunEnd};
use tidelock_store::SqliteStore;

use crate::support::{Place, again, at, begin, create, lane, name, run, settled, trigger};

/// Changes of one step: enough pages that a transaction takes a while.
const STEP: usize = 60;
const LANE: &str = "infra:web@local";

/// The intents of a step, all of which write the same identities and ask for a reload.
fn step(run: &str) -> Vec<Intent> {
    let lane = lane(LANE);
    (0..STEP as u32)
        .map(|n| {
            let mut intent = create(run, &lane, n);
            let to = "infra:web:server.command/reload@local".parse().unwrap();
            intent.triggers = vec![trigger(&to, &format!("server.file/f{n}"))];
            intent
        })
        .collect()
}

#[test]
fn a_kill_at_any_moment_leaves_whole_steps() {
    let place = Place::new();
    let lane = lane(LANE);
    let mut steps = 0;
    for moment in 0..25_u64 {
        let mut child = again("crash::a_kill_child")
            .env("TIDELOCK_TEST_STORE", &place.path)
            .env("TIDELOCK_TEST_RUN", moment.to_string())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Once it is at work, at another point of its rounds each time.
        let store = place.open();
        let at_work = |run: &Run| run.id.starts_with(&format!("{moment}-"));
        while !store.runs(&Filter { limit: Some(1), ..Filter::default() }).unwrap().iter().any(at_work) {
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(store);
        std::thread::sleep(Duration::from_micros(moment * 1_777));
        child.kill().unwrap();
        child.wait().unwrap();

        let store = place.open();
        store.check().unwrap();
        let inventory = store.inventory(&name("local")).unwrap();
        let history = store.history(&Filter::default()).unwrap();
        let open = store.open_intents(&lane).unwrap();
        let runs = store.runs(&Filter::default()).unwrap();

        // The ledger is that of the last settled run, all of it; history has whole runs only.
        assert!(matches!(inventory.len(), 0 | STEP), "{}", inventory.len());
        assert!(inventory.iter().all(|entry| entry.run == inventory[0].run));
        assert_eq!(history.len() % STEP, 0);
        if let Some(last) = history.iter().find(|line| line.end == "done") {
            assert_eq!(last.run, inventory[0].run);
        }
        // Of the run that was cut off, all intents are open, or none was put, or all are settled.
        assert!(matches!(open.len(), 0 | STEP), "{}", open.len());
        if let Some(intent) = open.first() {
            assert_eq!(intent.run, runs[0].id);
            assert_ne!(intent.run, inventory.first().map_or("", |entry| &entry.run));
            assert_eq!(store.due_triggers(&lane).unwrap().len(), STEP, "due with the intents");
        }
        // Only the newest run can be without an end, and then it shows as cut off.
        let cut_off = Some(RunEnd::Interrupted);
        assert!(runs.iter().skip(1).all(|run| run.ended.is_some()));
        assert!(runs.iter().all(|run| run.ended.is_some() || run.end == cut_off));
        let events: Vec<u64> = store.events(&Filter::default()).unwrap().iter().map(|event| event.seq).collect();
        assert_eq!(events, (1..=events.len() as u64).collect::<Vec<_>>());
        steps = history.len() / STEP;

        // The next process takes over at once, and finds what to look at.
        let lease = store.lease(&format!("lane:{lane}"), "the next", 60_000).unwrap();
        let known: Vec<_> = open.iter().map(|intent| settled(intent, "unknown")).collect();
        store.settle(&lease, at(9), &known).unwrap();
        assert!(store.open_intents(&lane).unwrap().is_empty());
        steps += known.len() / STEP;
        for run in runs.into_iter().filter(|run| run.ended.is_none()) {
            store.end_run(&Run { ended: Some(at(9)), ..run }).unwrap();
        }
        store.release(&lease).unwrap();
    }
    assert!(steps > 3, "the children hardly wrote anything ({steps} steps): the test tests nothing");
}

#[test]
fn a_kill_child() {
    let Some(path) = std::env::var_os("TIDELOCK_TEST_STORE") else { return };
    let store = SqliteStore::open(path.as_ref()).unwrap();
    let lane = lane(LANE);
    for n in 0.. {
        let run_id = format!("{}-{n}", std::env::var("TIDELOCK_TEST_RUN").unwrap());
        let lease = begin(&store, &run_id, &lane);
        let intents = step(&run_id);
        store.put_intents(&lease, &intents).unwrap();
        store.put_event(at(n), Some(&run_id), Some(&lane), &RunEvent::Observed { subjects: 1 }).unwrap();
        let known: Vec<_> = intents.iter().map(|intent| settled(intent, "done")).collect();
        store.settle(&lease, at(n), &known).unwrap();
        let end = Some(RunEnd::Done);
        store.end_run(&Run { ended: Some(at(n)), end, ..run(&run_id, &lane) }).unwrap();
        store.release(&lease).unwrap();
    }
}
