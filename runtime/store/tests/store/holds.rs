//! Stops, suspensions and pins.

use tidelock_model::hold::{Hold, HoldKind, Pin, Scope};
use tidelock_model::port::Store;
use tidelock_store::SqliteStore;

use crate::support::{Place, at, name, revision};

fn hold(kind: HoldKind, stack: &str) -> Hold {
    Hold {
        id: 0,
        kind,
        scope: Scope { stack: Some(stack.to_owned()), ..Scope::default() },
        who: "ada".to_owned(),
        at: at(1),
        until: Some(at(60)),
        reason: Some("a look at the disks".to_owned()),
    }
}

fn pin(stack: &str, id: &str) -> Pin {
    Pin {
        source: name("infra"),
        stack: name(stack),
        revision: revision(id),
        who: "ada".to_owned(),
        at: at(1),
        until: None,
        reason: None,
    }
}

#[test]
fn a_hold_stands_until_somebody_ends_it() {
    let place = Place::new();
    let store = place.open();
    let stop = store.put_hold(&hold(HoldKind::Stop, "web")).unwrap();
    let suspend = store.put_hold(&hold(HoldKind::Suspend, "db")).unwrap();
    assert_ne!(stop, suspend);
    let kept =
        [Hold { id: stop, ..hold(HoldKind::Stop, "web") }, Hold { id: suspend, ..hold(HoldKind::Suspend, "db") }];
    assert_eq!(store.holds().unwrap(), kept);

    assert!(store.end_hold(stop, at(2), "grace").unwrap());
    assert!(!store.end_hold(stop, at(3), "mallory").unwrap());
    assert_eq!(store.holds().unwrap(), kept[1..]);
    drop(store);
    let ended: (String, String) = place
        .raw()
        .query_row("SELECT ended, ended_by FROM holds WHERE id = 1", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(ended, (at(2).to_string(), "grace".to_owned()), "the first word stays");
    assert_eq!(place.open().holds().unwrap(), kept[1..]);
}

#[test]
fn a_file_beside_the_store_stops_everything_until_it_is_removed() {
    let place = Place::new();
    let store = place.open();
    let kept = store.put_hold(&hold(HoldKind::Suspend, "db")).unwrap();
    let file = store.stop_file().unwrap();
    std::fs::write(&file, "").unwrap();
    let holds = store.holds().unwrap();
    assert_eq!(holds.iter().map(|hold| hold.id).collect::<Vec<_>>(), [Hold::FILE, kept]);
    assert_eq!((holds[0].kind, &holds[0].scope), (HoldKind::Stop, &Scope::default()));
    assert!(!store.end_hold(Hold::FILE, at(2), "mallory").unwrap());
    assert_eq!(store.holds().unwrap().len(), 2, "no command lifts it");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(store.holds().unwrap().len(), 1);
}

#[test]
fn a_stack_has_one_pin() {
    let store = SqliteStore::in_memory().unwrap();
    for one in [pin("web", "a"), pin("db", "a"), pin("web", "b")] {
        store.put_pin(&one).unwrap();
    }
    assert_eq!(store.pins().unwrap(), [pin("db", "a"), pin("web", "b")]);
    assert!(store.drop_pin(&name("infra"), &name("web")).unwrap());
    assert!(!store.drop_pin(&name("infra"), &name("web")).unwrap());
    assert_eq!(store.pins().unwrap(), [pin("db", "a")]);
}
