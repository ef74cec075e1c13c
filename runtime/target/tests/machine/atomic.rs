//! Groups that happen whole or not at all.

use tidelock_model::run::EffectEnd;

use crate::support::{Room, attributes, code, codes, directory, exec, file, link, remove};

#[tokio::test]
async fn all_of_it_happens() {
    let room = Room::new();
    room.write("/old", "1");
    room.write("/tree/a/b", "1");
    let effects = vec![
        directory("/d", false),
        room.put("/d/f", "2"),
        room.put("/old", "2"),
        link("/l", "d/f"),
        remove("/tree", true),
        attributes("/old", Some(0o600), None, None),
        exec(&["/usr/bin/true"]),
    ];
    assert_eq!(codes(&room.whole(effects).await), ["done"; 7]);
    assert_eq!((room.read("/old"), room.read("/d/f"), room.read("/l")), ("2".into(), "2".into(), "2".into()));
    assert!(!room.real("/tree").exists());
    assert_eq!(room.leftovers(), [""; 0]);
}

#[tokio::test]
async fn or_none_of_it_and_the_culprit_is_named() {
    let room = Room::new();
    room.write("/old", "1");
    room.write("/tree/a/b", "1");
    std::fs::create_dir(room.real("/empty")).unwrap();
    room.sequence(vec![link("/l", "old"), attributes("/old", Some(0o640), None, None)]).await;
    let before = room.snapshot();
    let effects = vec![
        directory("/d", false),
        file(room.put("/p/q/f", "2"), |_, parents, _, _| *parents = true),
        room.put("/old", "2"),
        attributes("/old", Some(0o600), None, None),
        link("/l", "elsewhere"),
        link("/new", "elsewhere"),
        remove("/tree", true),
        remove("/empty", false),
        exec(&["/usr/bin/false"]),
        room.put("/never", "3"),
    ];
    let ends = room.whole(effects).await;
    assert_eq!(room.snapshot(), before);
    assert_eq!(codes(&ends[..8]), ["undone"; 8]);
    assert_eq!(codes(&ends[8..]), ["command", "not-reached"]);
    let EffectEnd::Failed { fault } = &ends[0] else { panic!() };
    assert!(fault.message.contains("/usr/bin/false"), "{}", fault.message);
}

#[tokio::test]
async fn a_late_refusal_comes_before_the_first_rename() {
    let room = Room::new();
    room.write("/a", "1");
    room.write("/b", "1");
    let effects = vec![room.seen(room.put("/a", "2")), room.seen(room.put("/b", "2"))];
    room.write("/b", "someone else's");
    let ends = room.whole(effects).await;
    assert_eq!(codes(&ends), ["not-reached", "changed"]);
    assert_eq!((room.read("/a"), room.read("/b")), ("1".into(), "someone else's".into()));
    assert_eq!(room.leftovers(), [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_said() {
    let room = Room::new();
    // The command fills the directory that the group made, so it cannot go again.
    let fill = format!("echo mine > {}; exit 3", room.real("/d/theirs").display());
    let ends = room.whole(vec![directory("/d", false), exec(&["/bin/sh", "-c", &fill])]).await;
    assert_eq!(codes(&ends), ["unknown", "command"]);
    let EffectEnd::Unknown { why } = &ends[0] else { panic!() };
    assert!(why.contains("could not be taken back"), "{why}");
    assert_eq!(room.read("/d/theirs"), "mine\n");
}

#[tokio::test]
async fn a_command_that_was_run_stays_done() {
    let room = Room::new();
    let ends = room.whole(vec![exec(&["/usr/bin/true"]), room.put("/none/x", "1")]).await;
    assert_eq!(codes(&ends), ["done", "not-found"]);
    assert_eq!(code(&ends[0]), "done");
}
