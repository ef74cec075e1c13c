use tidelock_model::name::Lane;

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn order(target: &str, id: &str) -> Order {
    let lane = Lane { source: name("infra"), stack: name("net"), target: name(target) };
    let (effects, tried) = (vec![], vec![]);
    let guard = Guard {
        id: id.into(),
        lane,
        within_ms: 60_000,
        until: "1970-01-01T00:00:00Z".parse().unwrap(),
        effects,
        tried,
        applied: None,
    };
    let (inverses, there, files) = (vec![], vec![], vec![]);
    Order {
        guard,
        netns: None,
        inverses,
        there,
        sorted: false,
        root: PathBuf::new(),
        files,
        names: None,
        why: None,
        partly: false,
        left: None,
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_that_nobody_can_read_is_of_its_own_target_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(write(&dir.path().join("1@web.1.armed"), &order("web.1", "1")).unwrap());
    fs::write(dir.path().join("2@router.armed"), "{\"guard\": {").unwrap();
    fs::write(dir.path().join("3@second.restored"), "").unwrap();
    fs::write(dir.path().join("notes.armed"), "nobody's").unwrap();
    let guards = listed(dir.path()).unwrap();
    let known: Vec<_> = guards.known.iter().map(|one| (one.guard.lane.target.as_str(), one.state)).collect();
    assert_eq!(known, [("web.1", GuardState::Gone)]);
    assert_eq!(guards.unread.keys().map(Name::as_str).collect::<Vec<_>>(), ["router"]);
    assert!(guards.unread[&name("router")].message.contains("2@router.armed"));
    assert!(relieve(dir.path(), &name("router"), "2", None).is_err(), "nobody knows what to take back");
}

#[test]
fn who_calls_a_guard_that_has_ended_is_told_at_once_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    assert_eq!(call(dir.path(), &name("router"), "1", "it failed", None).unwrap_err().code, "confirmed");
    drop(write(&dir.path().join("1@router.restored"), &order("router", "1")).unwrap());
    call(dir.path(), &name("router"), "1", "it failed", None).unwrap();
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(names_in(dir.path()), ["1@router.restored"]);
}

#[test]
fn a_guard_that_is_gone_is_stood_in_for_with_the_callers_reason() {
    let dir = tempfile::tempdir().unwrap();
    drop(write(&dir.path().join("1@router.armed"), &order("router", "1")).unwrap());
    call(dir.path(), &name("router"), "1", "it failed", None).unwrap();
    assert_eq!(names_in(dir.path()), ["1@router.restored"]);
    let known = listed(dir.path()).unwrap().known;
    assert_eq!((known[0].state, known[0].why.as_str()), (GuardState::Restored, "it failed"));
    assert!(!confirm(dir.path(), &name("router"), "1").unwrap(), "too late");
}

#[test]
fn what_is_confirmed_leaves_nothing_and_what_others_left_goes() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    drop(write(&at("1@web.1.armed"), &order("web.1", "1")).unwrap());
    assert!(confirm(dir.path(), &name("web.1"), "1").unwrap());
    assert!(names_in(dir.path()).is_empty());
    drop(write(&at("2@web.1.armed"), &order("web.1", "2")).unwrap());
    let left = [
        "1@web.1.called",
        "1@web.1.confirmed",
        "1@web.1.swept",
        "1@web.1.armed.new",
        "2@web.1.called",
        "3@web.1.called",
    ];
    for name in left {
        fs::write(at(name), "").unwrap();
        if !name.starts_with('3') {
            let file = File::options().write(true).open(at(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
    }
    sweep(dir.path()).unwrap();
    // One that stands is called, and one that may be about to stand.
    assert_eq!(names_in(dir.path()), ["2@web.1.armed", "2@web.1.called", "3@web.1.called"]);
}

#[test]
fn an_order_and_its_key_come_apart_as_they_were_put_together() {
    let mut told = serde_json::to_vec(&order("ns", "1")).unwrap();
    told.extend_from_slice(b"\nc2VjcmV0\n");
    let (order, key) = order_and_key(told.as_slice()).unwrap();
    assert_eq!((order.guard.id.as_str(), key.reveal()), ("1", &b"c2VjcmV0\n"[..]));
    for cut in [0, 10, told.len() - 11] {
        assert!(order_and_key(&told[..cut]).is_err(), "{cut}");
    }
}
