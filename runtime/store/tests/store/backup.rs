//! Copies of a store in use, and putting them back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidelock_model::event::RunEvent;
use tidelock_model::hold::{Hold, HoldKind, Scope};
use tidelock_model::port::{Filter, Store};
use tidelock_store::{SqliteStore, restore};

use crate::support::{Place, apply, at, begin, code, create, lane, run};

const LONG: u64 = 600_000;

fn say(store: &SqliteStore) -> u64 {
    store.put_event(at(1), None, Some(&lane("infra:web@local")), &RunEvent::ConfigRead).unwrap()
}

fn newest(store: &SqliteStore) -> u64 {
    store.events(&Filter::default()).unwrap().last().map_or(0, |event| event.seq)
}

#[test]
fn a_copy_holds_what_the_store_held_and_is_its_owners_alone() {
    let place = Place::new();
    let store = place.open();
    say(&store);
    let file = place.dir.path().join("copy");
    let made = store.backup(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!((made.bytes, &made.store), (fs::metadata(&file).unwrap().len(), &store.id().unwrap()));
    assert!(!file.with_extension("wal").exists() && !place.dir.path().join("copy-wal").exists());

    let error = store.backup(&file).unwrap_err();
    assert!(error.message.contains("not overwritten"), "{error}");
    assert_eq!(fs::metadata(&file).unwrap().len(), made.bytes);
    say(&store);
    let other = Place::new();
    let back = restore(&file, &other.path, "ada").unwrap();
    assert_eq!((back.taken, back.kept.len()), (Some(made.taken), 0));
    let store = other.open();
    assert_eq!(store.id().unwrap(), made.store);
    let events = store.events(&Filter::default()).unwrap();
    assert!(matches!(&events[..], [_, back] if matches!(&back.event, RunEvent::Restored { who, .. } if who == "ada")));
    assert_eq!(fs::metadata(&other.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_copy_that_is_made_while_others_write_is_sound() {
    let place = Place::new();
    let store = place.open();
    say(&store);
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let (store, done) = (place.open(), Arc::clone(&done));
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    say(&store);
                }
            })
        })
        .collect();
    for n in 0..10 {
        let file = place.dir.path().join(format!("copy-{n}"));
        let before = newest(&store);
        SqliteStore::open_read_only(&place.path).unwrap().backup(&file).unwrap();
        let after = newest(&store);
        let other = Place::new();
        restore(&file, &other.path, "ada").unwrap();
        let copied = newest(&other.open()) - 1;
        assert!((before..=after).contains(&copied), "{before} {copied} {after}");
    }
    done.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

#[test]
fn a_store_in_use_is_not_replaced() {
    let place = Place::new();
    let store = place.open();
    let file = place.dir.path().join("copy");
    store.backup(&file).unwrap();
    say(&store);
    for key in ["daemon", "lane:infra:web@local", "target:local"] {
        let lease = store.lease(key, "somebody", LONG).unwrap();
        let error = restore(&file, &place.path, "ada").unwrap_err();
        assert_eq!(error.code, "busy");
        for part in [key, "somebody", &std::process::id().to_string()] {
            assert!(error.message.contains(part), "{part} is not in {error}");
        }
        assert_eq!(newest(&store), 1, "nothing was changed");
        store.release(&lease).unwrap();
    }
    restore(&file, &place.path, "ada").unwrap();
}

#[test]
fn what_is_open_goes_on_with_what_was_put_back_and_under_no_old_lease() {
    let place = Place::new();
    let store = place.open();
    let key = "lane:infra:web@local";
    let file = place.dir.path().join("copy");
    store.lease(key, "before", 0).unwrap();
    store.backup(&file).unwrap();
    let asleep = store.lease(key, "asleep", 0).unwrap();
    let numbers: Vec<u64> = (0..5).map(|_| say(&store)).collect();
    let back = restore(&file, &place.path, "ada").unwrap();

    // The store from before is kept, and it is that.
    assert_eq!(back.kept.len(), 1);
    assert_eq!(newest(&SqliteStore::open(&back.kept[0]).unwrap()), 5);
    assert_eq!(fs::metadata(&back.kept[0]).unwrap().permissions().mode() & 0o777, 0o600);
    // One that was open sees the copy; its numbers go on.
    assert_eq!(newest(&store), numbers[4] + 1);
    assert_eq!(store.events(&Filter::default()).unwrap().len(), 1);
    assert_eq!(store.renew(&asleep, LONG).unwrap_err().code, "fenced");
    let next = store.lease(key, "after", LONG).unwrap();
    assert!(next.token > asleep.token, "{} {}", next.token, asleep.token);
    assert_eq!(code(store.put_intents(&asleep, &[])), "fenced");
    let left = fs::read_dir(place.dir.path().join("tidelock.db.before")).unwrap().count();
    assert_eq!(left, 1, "what was staged is gone");
}

#[test]
fn what_holds_the_loop_now_still_does() {
    let place = Place::new();
    let store = place.open();
    let hold = |second| Hold {
        id: 0,
        kind: HoldKind::Stop,
        scope: Scope::default(),
        who: "ada".into(),
        at: at(second),
        until: None,
        reason: None,
    };
    store.put_hold(&hold(1)).unwrap();
    let file = place.dir.path().join("copy");
    store.backup(&file).unwrap();
    store.put_hold(&hold(2)).unwrap();
    let back = restore(&file, &place.path, "ada").unwrap();
    assert_eq!(back.holds, 1);
    let times: Vec<_> = store.holds().unwrap().into_iter().map(|hold| hold.at).collect();
    assert_eq!(times, [at(1), at(2)]);
}

#[test]
fn what_is_no_copy_of_ours_changes_nothing() {
    let place = Place::new();
    let store = place.open();
    let good = place.dir.path().join("good");
    let web = lane("infra:web@local");
    let lease = begin(&store, "r1", &web);
    let intents: Vec<_> = (0..200).map(|n| create("r1", &web, n)).collect();
    apply(&store, &lease, &intents, "done");
    store.release(&lease).unwrap();
    store.backup(&good).unwrap();
    let before = newest(&store);
    let bytes = fs::read(&good).unwrap();
    let bad = |name: &str, bytes: &[u8]| {
        let file = place.dir.path().join(name);
        fs::write(&file, bytes).unwrap();
        file
    };
    let half = bad("half", &bytes[..bytes.len() / 2]);
    let mut torn = bytes.clone();
    torn[bytes.len() / 2..bytes.len() / 2 + 4096].fill(0xa5);
    let torn = bad("torn", &torn);
    let newer = bad("newer", &bytes);
    rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 9_999).unwrap();
    let other = place.dir.path().join("other");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    for (file, wanted) in [
        (half, "corrupt"),
        (torn, "corrupt"),
        (newer, "newer"),
        (other, "foreign"),
        (bad("text", b"not a store"), "foreign"),
        (bad("empty", b""), "foreign"),
        (place.dir.path().join("missing"), "io"),
        (place.path.clone(), "invalid"),
    ] {
        let error = restore(&file, &place.path, "ada").unwrap_err();
        assert_eq!(error.code, wanted, "{}: {error}", file.display());
        assert_eq!(newest(&store), before);
    }
    store.check().unwrap();
}

#[test]
fn a_store_that_is_damaged_or_left_a_log_behind_is_set_aside() {
    let place = Place::new();
    let store = place.open();
    let file = place.dir.path().join("copy");
    say(&store);
    store.backup(&file).unwrap();
    drop(store);
    fs::write(&place.path, [&fs::read(&place.path).unwrap()[..4096], &[0xa5; 8192]].concat()).unwrap();
    let back = restore(&file, &place.path, "ada").unwrap();
    assert_eq!(fs::metadata(&back.kept[0]).unwrap().len(), 4096 + 8192);
    assert_eq!(newest(&place.open()), 2);

    // Somebody removed the file and forgot the log beside it.
    let store = place.open();
    store.begin_run(&run("lost", &lane("infra:web@local"))).unwrap();
    std::mem::forget(store);
    let log = place.dir.path().join("tidelock.db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    fs::remove_file(&place.path).unwrap();
    let back = restore(&file, &place.path, "ada").unwrap();
    assert!(back.kept.iter().any(|file| file.to_string_lossy().ends_with("-wal")), "{back:?}");
    assert!(place.open().runs(&Filter::default()).unwrap().is_empty(), "an old log is not read into it");
}
