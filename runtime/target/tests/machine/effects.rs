//! Each effect on real files.

use std::os::unix::fs::{MetadataExt as _, symlink};

use tidelock_model::effect::PathState;
use tidelock_target::MachineOptions;

use crate::support::{Room, attributes, code, codes, directory, file, grant, group, link, remove, root, skip};

fn mode(room: &Room, path: &str) -> u32 {
    std::fs::symlink_metadata(room.real(path)).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn a_new_file_has_content_and_mode_whatever_the_umask() {
    let room = Room::with(grant(&["/**"], &[], &[]), MachineOptions::default());
    let strict = file(room.put("/b", "bee"), |attributes, _, _, _| attributes.mode = Some(0o4711));
    assert_eq!(codes(&room.sequence(vec![room.put("/a", "ay"), strict]).await), ["done", "done"]);
    assert_eq!((room.read("/a"), mode(&room, "/a")), ("ay".into(), 0o644));
    assert_eq!((room.read("/b"), mode(&room, "/b")), ("bee".into(), 0o4711));
    assert_eq!(room.leftovers(), [""; 0]);
}

#[tokio::test]
async fn what_is_not_asked_for_stays_as_it_is() {
    let room = Room::new();
    room.write("/a", "old");
    room.sequence(vec![attributes("/a", Some(0o640), None, None)]).await;
    if root() {
        let given = attributes("/a", None, Some("12345"), Some("54321"));
        assert_eq!(codes(&room.sequence(vec![given]).await), ["done"]);
    }
    let before = std::fs::metadata(room.real("/a")).unwrap();
    assert_eq!(codes(&room.sequence(vec![room.seen(room.put("/a", "new"))]).await), ["done"]);
    let after = std::fs::metadata(room.real("/a")).unwrap();
    assert_eq!(room.read("/a"), "new");
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert_ne!(after.ino(), before.ino());
}

#[tokio::test]
async fn parents_are_made_only_when_asked_and_a_missing_one_is_named() {
    let room = Room::new();
    let fault = room.refused(room.put("/x/y/f", "1")).await;
    assert_eq!(fault.code, "not-found");
    assert!(fault.message.contains("/x/y"), "{}", fault.message);
    let made = file(room.put("/x/y/f", "1"), |_, parents, _, _| *parents = true);
    assert_eq!(codes(&room.sequence(vec![made, directory("/p/q/r", true)]).await), ["done", "done"]);
    assert_eq!((room.read("/x/y/f"), mode(&room, "/x/y"), mode(&room, "/p/q")), ("1".into(), 0o755, 0o755));
    room.write("/file", "");
    let under = file(room.put("/file/f", "1"), |_, parents, _, _| *parents = true);
    assert_eq!(room.refused(under).await.code, "not-a-directory");
}

#[tokio::test]
async fn nothing_is_made_for_an_effect_that_comes_too_late() {
    let room = Room::new();
    room.write("/d/f", "1");
    let late = room.seen(file(room.put("/d/f", "2"), |_, parents, _, _| *parents = true));
    std::fs::remove_dir_all(room.real("/d")).unwrap();
    let fault = room.refused(late).await;
    assert_eq!(fault.code, "changed");
    assert!(fault.message.contains("expected a file") && fault.message.contains("found nothing"), "{}", fault.message);
    assert!(!room.real("/d").exists());
}

#[tokio::test]
async fn a_change_behind_our_back_is_not_overwritten() {
    let room = Room::new();
    room.write("/a", "one");
    let (put, set, gone) = (
        room.seen(room.put("/a", "two")),
        room.seen(attributes("/a", Some(0o600), None, None)),
        room.seen(remove("/a", false)),
    );
    room.write("/a", "ONE");
    for effect in [put, set, gone] {
        assert_eq!(room.refused(effect).await.code, "changed");
    }
    let fresh = room.seen(room.put("/b", "x"));
    room.write("/b", "somebody's");
    assert_eq!(room.refused(fresh).await.code, "changed");
    assert_eq!((room.read("/a"), room.read("/b")), ("ONE".into(), "somebody's".into()));
    assert_eq!(room.leftovers(), [""; 0]);
}

#[tokio::test]
async fn one_token_serves_all_effects_of_a_change() {
    let room = Room::new();
    room.write("/a", "one");
    let effects = vec![
        room.seen(remove("/a", false)),
        room.seen(room.put("/a", "two")),
        room.seen(attributes("/a", Some(0o600), None, None)),
    ];
    assert_eq!(codes(&room.sequence(effects).await), ["done", "done", "done"]);
    assert_eq!((room.read("/a"), mode(&room, "/a")), ("two".into(), 0o600));
}

#[tokio::test]
async fn links_are_made_and_replaced_and_take_the_place_of_nothing_else() {
    let room = Room::new();
    room.write("/f", "");
    std::fs::create_dir(room.real("/d")).unwrap();
    for to in ["/etc/", "../../..", "nowhere", "a b\n/"] {
        assert_eq!(codes(&room.sequence(vec![link("/l", to)]).await), ["done"], "{to:?}");
        assert_eq!(room.state("/l"), PathState::Symlink { to: to.into() });
    }
    assert_eq!(room.refused(link("/f", "x")).await.code, "exists");
    assert_eq!(room.refused(link("/d", "x")).await.code, "exists");
    assert_eq!(room.refused(link("/l", "")).await.code, "invalid");
    assert_eq!(room.refused(attributes("/l", Some(0o600), None, None)).await.code, "symlink");
    // A file takes a link's place, not that of what the link names.
    room.sequence(vec![link("/m", "f")]).await;
    assert_eq!(codes(&room.sequence(vec![room.put("/m", "mine")]).await), ["done"]);
    assert_eq!((room.read("/m"), room.read("/f")), ("mine".into(), String::new()));
    assert_eq!(room.leftovers(), [""; 0]);
}

#[tokio::test]
async fn removal_takes_what_was_asked_and_no_more() {
    let room = Room::new();
    room.write("/keep/precious", "p");
    room.write("/d/sub/f", "1");
    symlink(room.real("/keep"), room.real("/d/sub/out")).unwrap();
    let fault = room.refused(remove("/d", false)).await;
    assert_eq!(fault.code, "not-empty");
    assert_eq!(codes(&room.sequence(vec![remove("/d", true), remove("/none", false)]).await), ["done", "done"]);
    assert!(!room.real("/d").exists());
    assert_eq!(room.read("/keep/precious"), "p");
    std::fs::create_dir(room.real("/e")).unwrap();
    assert_eq!(codes(&room.sequence(vec![remove("/e", false)]).await), ["done"]);
    assert_eq!(room.refused(remove("/", true)).await.code, "denied", "the root holds our own files");
}

#[tokio::test]
async fn a_tree_that_reaches_out_of_the_grant_stays() {
    let room = Room::with(grant(&["/srv/app", "/srv/app/*"], &[], &[]), MachineOptions::default());
    room.write("/srv/app/a", "");
    room.write("/srv/app/deep/b", "");
    assert_eq!(room.refused(remove("/srv/app", true)).await.code, "denied");
    assert!(room.real("/srv/app/a").exists());
}

#[tokio::test]
async fn a_sequence_ends_at_its_first_failure_and_keeps_what_came_before() {
    let room = Room::new();
    let effects = vec![
        room.put("/a", "1"),
        directory("/d", false),
        room.put("/d/b", "2"),
        room.put("/none/c", "3"),
        room.put("/e", "4"),
    ];
    assert_eq!(codes(&room.sequence(effects).await), ["done", "done", "done", "not-found", "not-reached"]);
    assert_eq!((room.read("/a"), room.read("/d/b")), ("1".into(), "2".into()));
    assert!(!room.real("/e").exists());
    assert_eq!(room.leftovers(), [""; 0]);
}

#[tokio::test]
async fn one_groups_failure_is_not_anothers() {
    let room = Room::new();
    let groups = [
        group(3, false, vec![room.put("/none/a", "1")]),
        group(7, false, vec![room.put("/b", "2")]),
        group(9, true, vec![room.put("/c", "3"), room.put("/none/d", "4")]),
        group(12, false, vec![]),
    ];
    let outcomes = room.perform(&groups).await;
    assert_eq!(outcomes.iter().map(|outcome| outcome.group).collect::<Vec<_>>(), [3, 7, 9, 12]);
    let ends: Vec<_> = outcomes.iter().map(|outcome| codes(&outcome.effects)).collect();
    assert_eq!(ends, [vec!["not-found"], vec!["done"], vec!["not-reached", "not-found"], vec![]]);
    assert!(room.real("/b").exists() && !room.real("/c").exists());
}

#[tokio::test]
async fn a_backup_keeps_what_was_there() {
    let room = Room::new();
    room.write("/a", "one");
    let with_backup = |content: &str| file(room.put("/a", content), |_, _, backup, _| *backup = Some(".orig".into()));
    room.sequence(vec![with_backup("two")]).await;
    assert_eq!((room.read("/a"), room.read("/a.orig")), ("two".into(), "one".into()));
    room.sequence(vec![with_backup("three")]).await;
    assert_eq!((room.read("/a"), room.read("/a.orig")), ("three".into(), "one".into()), "the first one stays");
    assert_eq!(room.read("/a.orig.1"), "two");
    assert_eq!(std::fs::metadata(room.real("/a")).unwrap().nlink(), 1);
    for suffix in ["", "/../x"] {
        let bad = file(room.put("/a", "four"), |_, _, backup, _| *backup = Some(suffix.into()));
        assert_eq!(room.refused(bad).await.code, "invalid");
    }
    assert_eq!(room.leftovers(), [""; 0]);
}

#[tokio::test]
async fn a_content_that_is_not_the_one_named_is_refused() {
    let room = Room::new();
    let effect = room.put("/a", "good");
    room.contents.forge(tidelock_model::digest::Digest::of(b"good"), b"evil");
    assert_eq!(room.refused(effect).await.code, "corrupt");
    assert!(!room.real("/a").exists());
}

#[tokio::test]
async fn bad_attributes_are_refused_before_anything_is_written() {
    let room = Room::new();
    let who = file(room.put("/a", "x"), |attributes, _, _, _| attributes.owner = Some("no-such-user".into()));
    let fault = room.refused(who).await;
    assert_eq!((fault.code.as_str(), fault.field.as_deref()), ("not-found", Some("/owner")));
    let mode = file(room.put("/a", "x"), |attributes, _, _, _| attributes.mode = Some(0o10000));
    assert_eq!(room.refused(mode).await.code, "invalid");
    assert_eq!(room.machine.list("/").unwrap().unwrap(), [""; 0]);
}

#[tokio::test]
async fn the_longest_name_can_be_written_and_a_longer_one_is_refused() {
    let room = Room::new();
    let longest = format!("/{}", "n".repeat(255));
    assert_eq!(codes(&room.sequence(vec![room.put(&longest, "x")]).await), ["done"]);
    let longer = format!("/{}", "n".repeat(256));
    assert_eq!(room.refused(room.put(&longer, "x")).await.code, "invalid");
    assert_eq!(room.leftovers(), [""; 0]);
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing_behind() {
    let room = Room::new();
    let at = room.real("/small");
    std::fs::create_dir(&at).unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&at).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return skip("tmpfs cannot be mounted here");
    }
    let big = "x".repeat(1 << 20);
    let effects = vec![room.put("/small/ok", "1"), room.put("/small/big", &big), room.put("/small/after", "2")];
    let ends = room.sequence(effects).await;
    let left = room.leftovers();
    // What is mounted is never removed.
    let tree = room.refused(remove("/small", true)).await;
    let parent = room.sequence(vec![room.put("/small", "file over a mount")]).await;
    let unmounted = std::process::Command::new("umount").arg(&at).status().unwrap();
    assert!(unmounted.success());
    assert_eq!(codes(&ends), ["done", "no-space", "not-reached"]);
    assert_eq!(left, [""; 0]);
    assert_eq!(tree.code, "busy");
    assert_eq!(code(&parent[0]), "exists");
}

#[tokio::test]
async fn a_bind_mounted_file_is_busy_and_a_read_only_disk_is_named() {
    let room = Room::new();
    room.write("/file", "one");
    room.write("/other", "two");
    let mount = |words: &[&str]| std::process::Command::new("mount").args(words).status().is_ok_and(|s| s.success());
    let (file_at, other) = (room.real("/file"), room.real("/other"));
    if !mount(&["--bind", other.to_str().unwrap(), file_at.to_str().unwrap()]) {
        return skip("bind mounts are not allowed here");
    }
    let busy = room.refused(room.put("/file", "new")).await;
    assert!(std::process::Command::new("umount").arg(&file_at).status().unwrap().success());
    assert_eq!(busy.code, "busy");
    assert!(busy.message.contains("/file") && busy.message.contains("bind-mounted"), "{}", busy.message);
    assert_eq!(room.leftovers(), [""; 0]);

    let at = room.real("/ro");
    std::fs::create_dir(&at).unwrap();
    assert!(mount(&["-t", "tmpfs", "-o", "ro", "tmpfs", at.to_str().unwrap()]));
    let read_only = room.refused(room.put("/ro/x", "new")).await;
    assert!(std::process::Command::new("umount").arg(&at).status().unwrap().success());
    assert_eq!(read_only.code, "read-only");
}

#[tokio::test]
async fn thousands_of_files_in_small_batches() {
    let options = MachineOptions { batch: 64, ..MachineOptions::default() };
    let room = Room::with(grant(&["/**"], &[], &[]), options);
    let groups: Vec<_> = (0..500)
        .map(|i| {
            let put = room.put(&format!("/d{}/f{i}", i % 9), &i.to_string());
            group(i + 1, false, vec![file(put, |_, parents, _, _| *parents = true)])
        })
        .collect();
    assert!(room.perform(&groups).await.iter().all(tidelock_model::run::Outcome::is_done));
    assert_eq!(room.read("/d8/f17"), "17");
    assert_eq!(room.leftovers(), [""; 0]);
}
