//! Files that a command must agree to before they are put in place.

use tidelock_model::effect::Effect;

use crate::support::{Room, codes, exec, file};

fn judged(effect: Effect, words: &[&str]) -> Effect {
    file(effect, |_, _, _, validate| *validate = Some(words.iter().map(ToString::to_string).collect()))
}

/// Appends its words to a log and fails where a staged file says so.
const JUDGE: &str = r#"echo "$@" >> "$TIDELOCK_ROOT/log"; cat "$@" | grep -q bad && { echo "line 3: no such moon" >&2; exit 7; }; exit 0"#;

#[tokio::test]
async fn files_of_one_validation_are_staged_judged_once_and_renamed() {
    let room = Room::new();
    let words = ["/bin/sh", "-c", JUDGE, "judge", "%s"];
    let effects = vec![
        judged(room.put("/a", "good a"), &words),
        room.put("/plain", "p"),
        judged(room.put("/b", "good b"), &words),
    ];
    assert_eq!(codes(&room.sequence(effects).await), ["done"; 3]);
    let log = room.read("/log");
    assert_eq!(log.lines().count(), 1, "{log}");
    let staged: Vec<&str> = log.split_whitespace().collect();
    assert_eq!(staged.len(), 2, "{log}");
    assert!(staged[0].starts_with(room.real("/.a.tidelock-").to_str().unwrap()), "{log}");
    assert_eq!((room.read("/a"), room.read("/b")), ("good a".into(), "good b".into()));
}

#[tokio::test]
async fn one_bad_file_keeps_all_of_them_out() {
    let room = Room::new();
    room.write("/a", "old");
    let words = ["/bin/sh", "-c", JUDGE, "judge", "%s"];
    let effects = vec![
        room.put("/before", "1"),
        judged(room.put("/a", "good"), &words),
        judged(room.put("/b", "bad"), &words),
        room.put("/after", "1"),
    ];
    let ends = room.sequence(effects).await;
    assert_eq!(codes(&ends), ["done", "validate", "validate", "not-reached"]);
    let tidelock_model::run::EffectEnd::Failed { fault } = &ends[1] else { panic!() };
    for part in ["/a, /b", "exit code 7", "line 3: no such moon"] {
        assert!(fault.message.contains(part), "{}", fault.message);
    }
    assert_eq!((room.read("/before"), room.read("/a")), ("1".into(), "old".into()));
    assert!(!room.real("/b").exists() && !room.real("/after").exists());
    assert_eq!(room.leftovers(), [""; 0]);
}

#[tokio::test]
async fn a_set_that_is_not_complete_is_not_put_in_place() {
    let room = Room::new();
    let words = ["/bin/sh", "-c", JUDGE, "judge", "%s"];
    let effects = vec![
        judged(room.put("/a", "good"), &words),
        judged(room.put("/none/b", "good"), &words),
        judged(room.put("/c", "good"), &words),
    ];
    assert_eq!(codes(&room.sequence(effects).await), ["not-reached", "not-found", "not-reached"]);
    assert!(!room.real("/a").exists() && !room.real("/log").exists());

    // A stale precondition counts like any other failure.
    let effects = vec![judged(room.put("/a", "good"), &words), judged(room.seen(room.put("/b", "good")), &words)];
    room.write("/b", "somebody's");
    assert_eq!(codes(&room.sequence(effects).await), ["not-reached", "changed"]);
    assert!(!room.real("/a").exists() && !room.real("/log").exists());
    assert_eq!(room.leftovers(), [""; 0]);
}

#[tokio::test]
async fn each_word_with_the_mark_is_given_once_per_file_and_each_command_has_its_own_set() {
    let room = Room::new();
    let script = r#"echo "$@" >> "$TIDELOCK_ROOT/log""#;
    let one = ["/bin/sh", "-c", script, "one", "--file=%s"];
    let two = ["/bin/sh", "-c", script, "two", "-t"];
    let effects =
        vec![judged(room.put("/a", "1"), &one), judged(room.put("/b", "1"), &two), judged(room.put("/c", "1"), &one)];
    assert_eq!(codes(&room.sequence(effects).await), ["done"; 3]);
    let log = room.read("/log");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].matches("--file=/").count() == 2 && lines[1] == "-t", "{log}");
}

#[tokio::test]
async fn in_an_atomic_group_a_refusal_takes_everything_back() {
    let room = Room::new();
    room.write("/a", "old");
    let before = room.snapshot();
    let effects =
        vec![room.put("/a", "new"), judged(room.put("/b", "x"), &["/usr/bin/false", "%s"]), exec(&["/usr/bin/true"])];
    assert_eq!(codes(&room.whole(effects).await), ["not-reached", "validate", "not-reached"]);
    assert_eq!(room.snapshot(), before);
}
