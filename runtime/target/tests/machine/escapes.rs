//! Every way out of the root and the grant that we know of.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidelock_model::effect::Precondition;
use tidelock_target::MachineOptions;

use crate::support::{Room, attributes, code, codes, directory, effect, exec, file, grant, group, link, remove};

#[tokio::test]
async fn what_is_not_granted_is_not_done() {
    let room = Room::with(grant(&["/srv/**"], &[&["/usr/bin/true"]], &["/srv/own"]), MachineOptions::default());
    room.write("/etc/passwd", "x:x:0:0\n");
    room.write("/srv/own/store.db", "db");
    let before = room.snapshot();
    let mut foreign = room.put("/srv/a", "1");
    foreign.plugin = "other".into();
    let mut peeking = room.put("/srv/a", "1");
    peeking.precondition = Some(Precondition::Path { path: "/etc/passwd".into(), state: room.state("/etc/passwd") });
    let refused = [
        room.put("/etc/passwd", "evil"),
        attributes("/etc/passwd", Some(0o777), None, None),
        remove("/etc", true),
        link("/etc/l", "x"),
        directory("/opt/x", true),
        room.put("/srv/own/store.db", "evil"),
        attributes("/srv/own/store.db", Some(0o777), None, None),
        remove("/srv/own/store.db", false),
        remove("/srv/own", true),
        link("/srv/own/l", "x"),
        exec(&["/usr/bin/false"]),
        exec(&["/usr/bin/true", "more"]),
        file(room.put("/srv/f", "1"), |_, _, _, validate| *validate = Some(vec!["/bin/sh".into(), "%s".into()])),
        foreign,
        peeking,
    ];
    for effect in refused {
        let words = format!("{:?}", effect.body);
        assert_eq!(room.refused(effect).await.code, "denied", "{words}");
    }
    assert_eq!(room.snapshot(), before);
}

#[tokio::test]
async fn a_removed_tree_never_takes_our_own_files() {
    let room = Room::with(grant(&["/srv", "/srv/**"], &[], &["/srv/x/own"]), MachineOptions::default());
    room.write("/srv/x/own/store.db", "db");
    assert_eq!(room.refused(remove("/srv", true)).await.code, "denied");
    assert_eq!(room.read("/srv/x/own/store.db"), "db");
}

#[tokio::test]
async fn paths_that_climb_are_refused() {
    let room = Room::new();
    let stray = format!("stray-{}", std::process::id());
    for path in [&format!("/a/../../{stray}"), "/..", "x", "/a//b", "/a/./b", "/a\0", "", "/a/"] {
        for effect in [room.put(path, "1"), link(path, "x"), remove(path, true), directory(path, true)] {
            assert_eq!(room.refused(effect).await.code, "invalid", "{path:?}");
        }
    }
    assert!(!room.dir.path().parent().unwrap().join(stray).exists());
}

#[tokio::test]
async fn links_among_the_parents_are_refused_wherever_they_lead() {
    let (room, outside) = (Room::new(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("f"), "outside").unwrap();
    std::fs::create_dir(room.real("/inside")).unwrap();
    symlink(outside.path(), room.real("/out")).unwrap();
    symlink(format!("{}/", outside.path().display()), room.real("/slash")).unwrap();
    symlink("inside", room.real("/in")).unwrap();
    symlink("inside/", room.real("/in-slash")).unwrap();
    symlink("..", room.real("/up")).unwrap();
    symlink("/proc/self/root", room.real("/magic")).unwrap();
    for parent in ["/out", "/slash", "/in", "/in-slash", "/up", "/magic"] {
        let path = format!("{parent}/f");
        let deep = format!("{parent}/new/f");
        let effects = [
            room.put(&path, "evil"),
            file(room.put(&deep, "evil"), |_, parents, _, _| *parents = true),
            attributes(&path, Some(0o777), None, None),
            link(&path, "x"),
            remove(&path, true),
            directory(&format!("{parent}/d"), true),
        ];
        for effect in effects {
            assert_eq!(room.refused(effect).await.code, "symlink", "{path}");
        }
    }
    assert_eq!(std::fs::read_to_string(outside.path().join("f")).unwrap(), "outside");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(room.real("/inside")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_link_in_the_place_of_a_directory_is_not_made_one() {
    let (room, outside) = (Room::new(), tempfile::tempdir().unwrap());
    symlink(outside.path(), room.real("/d")).unwrap();
    assert_eq!(room.refused(directory("/d", false)).await.code, "exists");
    // The link itself goes, and nothing behind it.
    std::fs::write(outside.path().join("f"), "outside").unwrap();
    assert_eq!(codes(&room.sequence(vec![remove("/d", true)]).await), ["done"]);
    assert!(outside.path().join("f").exists() && !room.real("/d").exists());
}

#[tokio::test]
async fn a_hard_link_is_no_way_to_a_file_outside() {
    let (room, outside) = (Room::new(), tempfile::tempdir_in(std::env::temp_dir()).unwrap());
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let before = std::fs::metadata(&secret).unwrap();
    std::fs::hard_link(&secret, room.real("/f")).unwrap();
    let fault = room.refused(attributes("/f", Some(0o777), None, None)).await;
    assert_eq!(fault.code, "hard-link");
    let put = file(room.put("/f", "mine"), |attributes, _, backup, _| {
        attributes.mode = Some(0o666);
        *backup = Some(".old".into());
    });
    assert_eq!(codes(&room.sequence(vec![put]).await), ["done"]);
    let after = std::fs::metadata(&secret).unwrap();
    assert_eq!((after.mode(), after.uid(), after.len()), (before.mode(), before.uid(), before.len()));
    assert_eq!((room.read("/f"), std::fs::read_to_string(&secret).unwrap()), ("mine".into(), "secret".into()));
}

#[tokio::test]
async fn a_directory_that_is_moved_away_takes_nothing_of_ours_along() {
    let room = Room::new();
    room.write("/d/f", "old");
    // Between the staging of the file and its renaming.
    let script = "cd \"$TIDELOCK_ROOT\" && mv d moved && ln -s moved d";
    let put = file(room.put("/d/f", "new"), |_, _, _, validate| {
        *validate = Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec());
    });
    assert_eq!(codes(&room.sequence(vec![put]).await), ["symlink"]);
    assert_eq!(room.read("/moved/f"), "old");
    assert_eq!(room.leftovers(), [""; 0]);
}

#[tokio::test]
async fn files_in_many_directories_do_not_use_up_the_handles() {
    let room = Room::new();
    let mut effects = Vec::new();
    for i in 0..1_500 {
        effects.push(file(room.put(&format!("/d{i}/f"), "x"), |_, parents, _, _| *parents = true));
    }
    let groups: Vec<_> = (1..).zip(effects).map(|(id, effect)| group(id, false, vec![effect])).collect();
    let outcomes = room.perform(&groups).await;
    let done = outcomes.iter().filter(|outcome| codes(&outcome.effects) == ["done"]).count();
    assert_eq!(done, 1_500);
}

/// Swaps `a` and `b` under a name until it is told to stop.
fn swapper(room: &Room, name: &str, a: &str, b: &str, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let (name, a, b) = (room.real(name), room.real(a), room.real(b));
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut swaps = 0;
        while !stop.load(Ordering::Relaxed) {
            let _ = std::fs::rename(&name, &a);
            let _ = std::fs::rename(&b, &name);
            let _ = std::fs::rename(&name, &b);
            let _ = std::fs::rename(&a, &name);
            swaps += 1;
        }
        swaps
    })
}

#[tokio::test]
async fn a_directory_swapped_for_a_link_while_we_write_leads_nowhere() {
    let (room, outside) = (Room::new(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("victim"), "outside").unwrap();
    std::fs::create_dir(room.real("/d")).unwrap();
    room.write("/d/victim", "inside");
    symlink(outside.path(), room.real("/b")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swaps = swapper(&room, "/d", "/a", "/b", &stop);
    let mut ends = std::collections::BTreeMap::new();
    // Until the race has been won and lost: a busy machine may need a while for both.
    let both =
        |ends: &std::collections::BTreeMap<String, u32>| ends.contains_key("done") && ends.contains_key("symlink");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    for i in 0.. {
        if (i >= 400 && both(&ends)) || std::time::Instant::now() > deadline {
            break;
        }
        let effects = vec![
            room.put("/d/victim", &format!("{i}")),
            attributes("/d/victim", Some(0o600 + i % 8), None, None),
            file(room.put("/d/new/f", "x"), |_, parents, _, _| *parents = true),
            link("/d/l", "x"),
            remove("/d/new", true),
        ];
        for end in room.sequence(effects).await {
            *ends.entry(code(&end).to_owned()).or_insert(0) += 1;
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(swaps.join().unwrap() > 0);
    assert_eq!(std::fs::read_to_string(outside.path().join("victim")).unwrap(), "outside", "{ends:?}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1, "{ends:?}");
    assert_eq!(std::fs::metadata(outside.path().join("victim")).unwrap().mode() & 0o777, 0o644, "{ends:?}");
    assert!(both(&ends), "the race was never lost or never won: {ends:?}");
}

#[tokio::test]
async fn a_file_swapped_for_a_link_while_we_write_leads_nowhere() {
    let (room, outside) = (Room::new(), tempfile::tempdir().unwrap());
    let victim = outside.path().join("victim");
    std::fs::write(&victim, "outside").unwrap();
    room.write("/f", "inside");
    symlink(&victim, room.real("/b")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swaps = swapper(&room, "/f", "/a", "/b", &stop);
    for i in 0..400 {
        room.sequence(vec![attributes("/f", Some(0o600 + i % 8), None, None)]).await;
        room.sequence(vec![file(room.put("/f", &i.to_string()), |_, _, backup, _| *backup = Some("~".into()))]).await;
        let _ = room.machine.stat(&["/f".to_owned()], true);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(swaps.join().unwrap() > 0);
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "outside");
    assert_eq!(std::fs::metadata(&victim).unwrap().mode() & 0o777, 0o644);
}

#[tokio::test]
async fn an_environment_cannot_turn_a_granted_command_into_another() {
    let room = Room::with(grant(&["/**"], &[&["/usr/bin/true"]], &[]), MachineOptions::default());
    for name in ["LD_PRELOAD", "PATH", "BASH_ENV", "TIDELOCK_ROOT"] {
        let body = tidelock_model::effect::EffectBody::Exec {
            argv: vec!["/usr/bin/true".into()],
            cwd: None,
            env: vec![(name.into(), "/srv/evil.so".into())],
            timeout_ms: 1000,
        };
        assert_eq!(room.refused(effect(body)).await.code, "denied", "{name}");
    }
}
