//! Intents, outcomes, the inventory and triggers.

use serde_json::json;
use tidelock_model::inventory::{InventoryEntry, Origin};
use tidelock_model::name::{Identity, Lane};
use tidelock_model::plan::Action;
use tidelock_model::port::{Filter, Lease, Settled, Store};
use tidelock_model::run::{HistoryLine, Intent, Run, RunEnd, Trigger};
use tidelock_store::SqliteStore;

use crate::support::{
    address, apply, at, begin, change, code, create, entry, intent, lane, name, run, settled, trigger,
};

/// A store with a lane whose run `r1` has begun.
fn begun() -> (SqliteStore, Lane, Lease) {
    let store = SqliteStore::in_memory().unwrap();
    let lane = lane("infra:web@local");
    let lease = begin(&store, "r1", &lane);
    (store, lane, lease)
}

fn identities(store: &SqliteStore) -> Vec<String> {
    store.inventory(&name("local")).unwrap().iter().map(|entry| entry.identity.to_string()).collect()
}

#[test]
fn an_intent_is_there_until_it_is_settled() {
    let (store, lane, lease) = begun();
    let mut first = create("r1", &lane, 1);
    first.triggers = vec![trigger(&address("infra:web:server.command/reload@local"), "server.file/f1")];
    let second = create("r1", &lane, 2);
    store.put_intents(&lease, &[first.clone(), second.clone()]).unwrap();
    assert_eq!(store.open_intents(&lane).unwrap(), [first.clone(), second.clone()]);
    assert!(store.open_intents(&Lane { stack: name("db"), ..lane.clone() }).unwrap().is_empty());

    store.settle(&lease, at(2), &[settled(&first, "done")]).unwrap();
    assert_eq!(store.open_intents(&lane).unwrap(), [second]);
}

#[test]
fn only_done_moves_the_ledger() {
    let (store, lane, lease) = begun();
    for (group, outcome) in (1..).zip(["done", "failed", "unknown", "not-begun"]) {
        apply(&store, &lease, &[create("r1", &lane, group)], outcome);
    }
    assert_eq!(identities(&store), ["path:/srv/f00001"]);

    // And the other way: a line stays until its end is known to be done.
    store.begin_run(&run("r2", &lane)).unwrap();
    let at_f1 = address("infra:web:server.file/f1@local");
    for (group, outcome) in (1..).zip(["failed", "unknown", "not-begun", "done"]) {
        assert_eq!(identities(&store).len(), 1);
        let gone = intent("r2", group, change(&at_f1, "path:/srv/f00001", Action::Delete, None));
        apply(&store, &lease, &[gone], outcome);
    }
    assert!(identities(&store).is_empty());
}

#[test]
fn texts_that_resources_put_are_known_by_their_paths() {
    let (store, lane, lease) = begun();
    let put = |number, identity: &str, applied: serde_json::Value| {
        let at = address(&format!("infra:web:network.address/a{number}@local"));
        let entry = InventoryEntry { applied, ..entry(&at, identity, "r1") };
        apply(&store, &lease, &[intent("r1", number, change(&at, identity, Action::Create, Some(entry)))], "done");
    };
    let kept = json!({ "/etc/network/b": "two", "/etc/network/a": "one", "other": "/etc/c", "/etc/none": 7 });
    put(1, "address:br0/10.0.0.1/24", json!({ "link": "br0", "persist": { "live": true, "kept": kept } }));
    put(2, "address:br0/10.0.0.2/24", json!({ "link": "br0", "persist": { "kept": { "/etc/network/a": "one" } } }));
    put(3, "address:br0/10.0.0.3/24", json!({ "link": "br0", "persist": false }));
    put(4, "path:/etc/x", json!({ "path": "/etc/x", "more": { "/etc/y": "text" } }));
    assert_eq!(store.texts(&lane).unwrap(), ["/etc/network/a", "/etc/network/b"]);
    assert!(store.texts(&Lane { stack: name("db"), ..lane }).unwrap().is_empty());
}

#[test]
fn an_entry_survives_as_it_was_given() {
    let (store, lane, lease) = begun();
    let mut intent = create("r1", &lane, 1);
    let wanted = {
        let entry = intent.changes[0].entry.as_mut().unwrap();
        entry.handle = Some("inode é\u{1f319}".into());
        entry.protect = true;
        entry.origin = Origin::TookOver;
        entry.needs = vec!["server.directory/etc".parse().unwrap()];
        entry.applied = serde_json::json!({ "z": 1, "a": [null, -0.5, 1e300, "\u{0}\n\""], "n": u64::MAX });
        entry.clone()
    };
    apply(&store, &lease, &[intent], "done");
    assert_eq!(store.inventory(&name("local")).unwrap(), [wanted]);
}

#[test]
fn the_settled_entry_counts_since_it_may_know_the_handle() {
    let (store, lane, lease) = begun();
    let put = create("r1", &lane, 1);
    store.put_intents(&lease, std::slice::from_ref(&put)).unwrap();
    let mut done = settled(&put, "done");
    done.intent.changes[0].entry.as_mut().unwrap().handle = Some("42".into());
    store.settle(&lease, at(2), &[done]).unwrap();
    assert_eq!(store.inventory(&name("local")).unwrap()[0].handle.as_deref(), Some("42"));
}

#[test]
fn a_move_hands_the_identity_over() {
    let (store, lane, lease) = begun();
    apply(&store, &lease, &[create("r1", &lane, 1)], "done");
    let new = address("infra:db:server.file/renamed@local");
    let mut moved = change(&new, "path:/srv/f00001", Action::Move, Some(entry(&new, "path:/srv/f00001", "r1")));
    moved.moved_from = Some(address("infra:web:server.file/f1@local"));
    let ledger_only = Intent { effects: vec![], ..intent("r1", 2, moved) };
    // Nothing is performed, so nothing had to be durable before.
    store.settle(&lease, at(2), &[settled(&ledger_only, "done")]).unwrap();
    let inventory = store.inventory(&name("local")).unwrap();
    assert_eq!(inventory.len(), 1);
    assert_eq!(inventory[0].address, new);
}

#[test]
fn what_is_settled_stays_settled() {
    let (store, lane, lease) = begun();
    let intent = create("r1", &lane, 1);
    apply(&store, &lease, std::slice::from_ref(&intent), "done");
    // The same again is no news.
    store.settle(&lease, at(3), &[settled(&intent, "done")]).unwrap();
    assert_eq!(store.history(&Filter::default()).unwrap().len(), 1);
    assert_eq!(code(store.settle(&lease, at(3), &[settled(&intent, "failed")])), "invalid");
    assert_eq!(identities(&store).len(), 1);
}

#[test]
fn what_was_unknown_may_be_found_out() {
    let (store, lane, lease) = begun();
    let intent = create("r1", &lane, 1);
    apply(&store, &lease, std::slice::from_ref(&intent), "unknown");
    assert!(store.open_intents(&lane).unwrap().is_empty());
    store.settle(&lease, at(3), &[settled(&intent, "done")]).unwrap();
    assert_eq!(identities(&store), ["path:/srv/f00001"]);
    let ends: Vec<String> = store.history(&Filter::default()).unwrap().into_iter().map(|line| line.end).collect();
    assert_eq!(ends, ["done", "unknown"]);
}

#[test]
fn what_does_not_fit_is_refused_whole() {
    let (store, lane, lease) = begun();
    let good = create("r1", &lane, 1);
    let stranger = create("never-begun", &lane, 1);
    assert_eq!(code(store.put_intents(&lease, &[good.clone(), stranger])), "invalid");
    assert!(store.open_intents(&lane).unwrap().is_empty());

    store.put_intents(&lease, std::slice::from_ref(&good)).unwrap();
    assert_eq!(code(store.put_intents(&lease, std::slice::from_ref(&good))), "invalid");

    let too_few = Settled { intent: good.clone(), changes: vec![] };
    let no_word = settled(&good, "perhaps");
    let not_put = settled(&create("r1", &lane, 9), "done");
    for wrong in [too_few, no_word, not_put] {
        assert_eq!(code(store.settle(&lease, at(2), &[settled(&good, "done"), wrong])), "invalid");
        assert!(identities(&store).is_empty(), "the good one must not be settled alone");
    }
    assert_eq!(store.open_intents(&lane).unwrap(), [good]);
}

#[test]
fn a_target_is_told_from_another() {
    let (store, _, lease) = begun();
    for target in ["a", "b"] {
        let lane = Lane { target: name(target), ..lane("infra:web@local") };
        store.begin_run(&run(target, &lane)).unwrap();
        apply(&store, &lease, &[create(target, &lane, 1)], "done");
    }
    assert_eq!(store.inventory(&name("a")).unwrap().len(), 1);
    assert_eq!(store.inventory(&name("b")).unwrap().len(), 1);
    assert!(store.inventory(&name("local")).unwrap().is_empty());
}

// ---- triggers -------------------------------------------------------------------

const RELOAD: &str = "infra:web:server.command/reload@local";

/// An intent of file `n` that asks for a reload.
fn asks(lane: &Lane, group: u32) -> Intent {
    let intent = create("r1", lane, group);
    Intent { triggers: vec![trigger(&address(RELOAD), &format!("server.file/f{group}"))], ..intent }
}

fn reload(group: u32) -> Intent {
    intent("r1", group, change(&address(RELOAD), "command:reload", Action::Trigger, None))
}

fn due(store: &SqliteStore, lane: &Lane) -> Vec<Trigger> {
    store.due_triggers(lane).unwrap()
}

#[test]
fn a_trigger_is_due_from_the_intent_until_it_is_done() {
    let (store, lane, lease) = begun();
    let asking = asks(&lane, 1);
    store.put_intents(&lease, std::slice::from_ref(&asking)).unwrap();
    assert_eq!(due(&store, &lane), asking.triggers);
    store.settle(&lease, at(2), &[settled(&asking, "done")]).unwrap();
    assert_eq!(due(&store, &lane), asking.triggers);

    apply(&store, &lease, &[reload(2)], "failed");
    assert_eq!(due(&store, &lane), asking.triggers, "tried is not done");
    apply(&store, &lease, &[reload(3)], "done");
    assert!(due(&store, &lane).is_empty());
}

#[test]
fn what_failed_or_is_unknown_may_still_have_done_something() {
    let (store, lane, lease) = begun();
    apply(&store, &lease, &[asks(&lane, 1)], "failed");
    apply(&store, &lease, &[asks(&lane, 2)], "unknown");
    assert_eq!(due(&store, &lane).len(), 2);
}

#[test]
fn what_was_not_begun_takes_its_own_word_back_only() {
    let (store, lane, lease) = begun();
    let mut twin = asks(&lane, 2);
    twin.triggers.clone_from(&asks(&lane, 1).triggers);
    twin.changes[0].address = asks(&lane, 1).changes[0].address.clone();
    store.put_intents(&lease, &[asks(&lane, 1), twin.clone(), asks(&lane, 3)]).unwrap();
    assert_eq!(due(&store, &lane).len(), 2, "two intents asked the same: once");

    store.settle(&lease, at(2), &[settled(&asks(&lane, 1), "not-begun")]).unwrap();
    assert_eq!(due(&store, &lane).len(), 2, "another intent still asks it");
    store.settle(&lease, at(2), &[settled(&twin, "not-begun")]).unwrap();
    assert_eq!(due(&store, &lane), asks(&lane, 3).triggers);
}

#[test]
fn in_a_group_each_change_takes_back_what_it_asked() {
    let (store, lane, lease) = begun();
    let (mut both, second) = (asks(&lane, 1), asks(&lane, 2));
    both.changes.extend(second.changes);
    both.triggers.extend(second.triggers.clone());
    store.put_intents(&lease, std::slice::from_ref(&both)).unwrap();
    let known = Settled { intent: both, changes: vec![("not-begun".into(), None), ("failed".into(), None)] };
    store.settle(&lease, at(2), &[known]).unwrap();
    assert_eq!(due(&store, &lane), second.triggers);
}

#[test]
fn what_was_asked_after_it_was_begun_is_still_due() {
    let (store, lane, lease) = begun();
    apply(&store, &lease, &[asks(&lane, 1)], "done");
    store.put_intents(&lease, &[reload(2)]).unwrap();
    apply(&store, &lease, &[asks(&lane, 3)], "done");
    store.settle(&lease, at(2), &[settled(&reload(2), "done")]).unwrap();
    assert_eq!(due(&store, &lane), asks(&lane, 3).triggers);
}

#[test]
fn a_done_trigger_keeps_the_line_of_its_resource() {
    let (store, lane, lease) = begun();
    let to = address(RELOAD);
    let made = change(&to, "command:reload", Action::Create, Some(entry(&to, "command:reload", "r1")));
    apply(&store, &lease, &[intent("r1", 1, made)], "done");
    apply(&store, &lease, &[asks(&lane, 2), reload(3)], "done");
    assert!(identities(&store).contains(&"command:reload".to_owned()));
    assert!(due(&store, &lane).is_empty());
}

#[test]
fn a_trigger_follows_its_receiver_and_ends_with_it() {
    let (store, lane, lease) = begun();
    apply(&store, &lease, &[asks(&lane, 1)], "done");
    let new = address("infra:web:server.command/restart@local");
    let mut moved = change(&new, "command:reload", Action::Move, Some(entry(&new, "command:reload", "r1")));
    moved.moved_from = Some(address(RELOAD));
    apply(&store, &lease, &[intent("r1", 2, moved)], "done");
    assert_eq!(due(&store, &lane)[0].to, new);

    let gone = change(&new, "command:reload", Action::Delete, None);
    apply(&store, &lease, &[intent("r1", 3, gone)], "done");
    assert!(due(&store, &lane).is_empty());
}

// ---- history ----------------------------------------------------------------------

#[test]
fn history_tells_who_and_why() {
    let (store, lane, lease) = begun();
    let mut ended = run("r1", &lane);
    ended.approver = Some("cy at a terminal".into());
    let created = create("r1", &lane, 1);
    apply(&store, &lease, std::slice::from_ref(&created), "done");
    let deleted = intent("r1", 2, change(&created.changes[0].address, "path:/srv/f00001", Action::Delete, None));
    store.put_intents(&lease, std::slice::from_ref(&deleted)).unwrap();
    let why = Some("the disk is gone".to_owned());
    store.settle(&lease, at(7), &[Settled { intent: deleted, changes: vec![("failed".into(), why.clone())] }]).unwrap();
    store.end_run(&ended).unwrap();

    let lines = store.history(&Filter::default()).unwrap();
    let line = &lines[0];
    assert_eq!((line.end.as_str(), line.action, line.at), ("failed", Action::Delete, at(7)));
    assert_eq!(line.identity, Identity::new("path:/srv/f00001"));
    assert_eq!(line.author, "Ann <ann@example.com>");
    assert_eq!(line.signer.as_deref(), Some("ann@example.com"));
    assert_eq!(line.approver.as_deref(), Some("cy at a terminal"));
    assert_eq!((line.who.as_str(), line.revision.as_str()), ("ann", "c0ffee"));
    assert_eq!(line.fault, why);
    // A delete has no new line; the ledger still knows whose the old one was.
    assert_eq!(line.plugin, lines[1].plugin);
    assert!(line.plugin.as_ref().unwrap().starts_with("server 0.1.0 sha256:"));
}

/// A lane whose run `r1` made `f1` and `f2`, and whose run `r2` changed, removed and made one each under a
/// guard, beside one that no guard takes back.
fn guarded() -> (SqliteStore, Lane, Lease) {
    let (store, lane, lease) = begun();
    apply(&store, &lease, &[create("r1", &lane, 1), create("r1", &lane, 2)], "done");
    store.end_run(&ended("r1", &lane)).unwrap();
    store.begin_run(&run("r2", &lane)).unwrap();
    let gone = change(&address("infra:web:server.file/f2@local"), "path:/srv/f00002", Action::Delete, None);
    let mut changed = create("r2", &lane, 1);
    changed.changes[0].action = Action::Update;
    changed.changes[0].entry.as_mut().unwrap().applied = serde_json::json!("another");
    let mut all = [changed, intent("r2", 2, gone), create("r2", &lane, 3), create("r2", &lane, 4)];
    all[..3].iter_mut().for_each(|intent| intent.changes[0].guarded = true);
    store.put_intents(&lease, &all).unwrap();
    assert_eq!(store.open_intents(&lane).unwrap(), all);
    store.settle(&lease, at(2), &all.each_ref().map(|intent| settled(intent, "done"))).unwrap();
    store.end_run(&ended("r2", &lane)).unwrap();
    assert_eq!(identities(&store), ["path:/srv/f00001", "path:/srv/f00003", "path:/srv/f00004"]);
    (store, lane, lease)
}

fn ended(id: &str, lane: &Lane) -> Run {
    Run { ended: Some(at(2)), end: Some(RunEnd::Done), ..run(id, lane) }
}

#[test]
fn what_a_guard_took_back_is_as_before_and_history_says_so_once() {
    let (store, lane, _) = guarded();
    assert_eq!(store.take_back(at(3), "r2", Some(&[]), "nobody confirmed it").unwrap(), 3);
    assert_eq!(identities(&store), ["path:/srv/f00001", "path:/srv/f00002", "path:/srv/f00004"]);
    let lines = store.inventory(&name("local")).unwrap();
    assert_eq!(lines[..2].iter().map(|line| line.run.as_str()).collect::<Vec<_>>(), ["r1", "r1"]);
    assert_eq!(lines[0], create("r1", &lane, 1).changes[0].entry.clone().unwrap());
    assert_eq!(store.take_back(at(4), "r2", Some(&[]), "again").unwrap(), 0);
    assert_eq!(store.take_back(at(4), "r1", Some(&[]), "no guard stood there").unwrap(), 0);

    let mut history = store.history(&Filter { run: Some("r2".into()), ..Filter::default() }).unwrap();
    let back: Vec<_> = history.iter().filter(|line| line.end == HistoryLine::TAKEN_BACK).collect();
    assert_eq!(back.len(), 3);
    assert!(back.iter().all(|line| line.fault.as_deref() == Some("nobody confirmed it") && line.plugin.is_some()));
    HistoryLine::standing(&mut history);
    assert_eq!(history.iter().map(|line| line.identity.as_str()).collect::<Vec<_>>(), ["path:/srv/f00004"]);
    let run = store.runs(&Filter { run: Some("r2".into()), ..Filter::default() }).unwrap().remove(0);
    assert_eq!((run.end, run.fault.as_deref()), (Some(RunEnd::Partly), Some("taken back: nobody confirmed it")));
    let last = |identity: &str| store.last_entry(&name("local"), &Identity::new(identity), None).unwrap();
    assert_eq!(last("path:/srv/f00003"), None);
    assert_eq!(last("path:/srv/f00001").unwrap().run, "r1");
}

#[test]
fn what_may_be_there_still_stays_ours_and_what_was_written_since_is_left() {
    let (store, _, _) = guarded();
    assert_eq!(store.take_back(at(3), "r2", None, "and not all of it could be taken back").unwrap(), 2);
    assert_eq!(identities(&store), ["path:/srv/f00001", "path:/srv/f00002", "path:/srv/f00003", "path:/srv/f00004"]);

    let (store, lane, lease) = guarded();
    store.begin_run(&run("r3", &lane)).unwrap();
    let gone = change(&address("infra:web:server.file/f1@local"), "path:/srv/f00001", Action::Release, None);
    apply(&store, &lease, &[intent("r3", 1, gone), create("r3", &lane, 2)], "done");
    assert_eq!(store.take_back(at(3), "r2", Some(&[]), "late").unwrap(), 3);
    assert_eq!(identities(&store), ["path:/srv/f00002", "path:/srv/f00004"]);
    assert_eq!(store.inventory(&name("local")).unwrap()[0].run, "r3");
}

#[test]
fn what_was_let_go_is_ours_again_and_whom_it_notified_is_due_again() {
    let (store, lane, lease) = begun();
    apply(&store, &lease, &[create("r1", &lane, 1), create("r1", &lane, 2)], "done");
    store.begin_run(&run("r2", &lane)).unwrap();
    let let_go = change(&address("infra:web:server.file/f2@local"), "path:/srv/f00002", Action::Release, None);
    let mut all = [create("r2", &lane, 3), create("r2", &lane, 4), intent("r2", 2, let_go)];
    let service = address("infra:web:server.service/nginx@local");
    for asking in &mut all[..2] {
        let from = asking.changes[0].address.resource.clone();
        asking.triggers = vec![Trigger { to: service.clone(), ask: "reload".into(), from }];
    }
    for guarded in [0, 2] {
        all[guarded].changes[0].guarded = true;
    }
    let asked: Vec<Trigger> = all[0].triggers.clone();
    apply(&store, &lease, &all, "done");
    let reload = change(&service, "service:nginx", Action::Trigger, None);
    apply(&store, &lease, &[intent("r2", 9, reload)], "done");
    assert_eq!(store.due_triggers(&lane).unwrap(), []);
    assert_eq!(identities(&store), ["path:/srv/f00001", "path:/srv/f00003", "path:/srv/f00004"]);
    assert_eq!(store.take_back(at(3), "r2", Some(&[]), "nobody confirmed it").unwrap(), 2);
    assert_eq!(identities(&store), ["path:/srv/f00001", "path:/srv/f00002", "path:/srv/f00004"]);
    assert_eq!(store.due_triggers(&lane).unwrap(), asked, "what stays done asks for nothing again");
}

#[test]
fn what_never_came_to_its_end_is_not_taken_back() {
    for outcome in ["failed", "unknown", "not-begun"] {
        let (store, lane, lease) = begun();
        let mut one = create("r1", &lane, 1);
        one.changes[0].guarded = true;
        apply(&store, &lease, &[one], outcome);
        assert_eq!(store.take_back(at(3), "r1", Some(&[]), "late").unwrap(), 0, "{outcome}");
    }
}
