//! A process killed at any moment leaves whole files, and leftovers that are swept.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidelock_model::port::Target as _;
use tidelock_target::{Machine, MachineOptions};

use crate::support::{Contents, Room, decl, file, grant, group, name};

const FILES: u32 = 200;

fn groups(room: &Room) -> Vec<tidelock_model::plan::Group> {
    (0..FILES)
        .map(|i| {
            let put = room.put(&format!("/d{}/f{i}", i % 5), &format!("new {i}"));
            group(i, i % 3 == 0, vec![file(put, |_, _, backup, _| *backup = (i % 2 == 0).then(|| "~".into()))])
        })
        .collect()
}

/// The process that is killed: run only by the test below, with a root in its environment.
#[tokio::test]
#[ignore = "run by a_killed_process_leaves_whole_files_and_what_sweep_finds"]
async fn writes_until_it_is_killed() {
    let Ok(root) = std::env::var("MACHINE_TEST_ROOT") else { return };
    let grant = grant(&["/**"], &[], &[]);
    let machine = Machine::open(&name("t"), &decl(&root), vec![grant], MachineOptions::default()).unwrap();
    let room = Room { dir: tempfile::tempdir_in(&root).unwrap(), machine, contents: Contents::default() };
    let groups = groups(&room);
    std::fs::write(format!("{root}/ready"), "").unwrap();
    room.perform(&groups).await;
}

#[tokio::test]
async fn a_killed_process_leaves_whole_files_and_what_sweep_finds() {
    let mut swept = 0;
    let mut unfinished = 0;
    for step in 0..16 {
        let room = Room::new();
        for i in 0..FILES {
            room.write(&format!("/d{}/f{i}", i % 5), &format!("old {i}"));
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "crash::writes_until_it_is_killed"])
            .env("MACHINE_TEST_ROOT", room.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !room.real("/ready").exists() {
            assert!(Instant::now() < deadline, "the child never began");
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros(2000 * step));
        child.kill().unwrap();
        child.wait().unwrap();

        let groups = groups(&room);
        let effects: Vec<_> = groups.iter().flat_map(|group| group.effects.iter().map(|e| e.effect.clone())).collect();
        swept += room.machine.sweep(&effects).await.unwrap();
        assert_eq!(room.leftovers(), [""; 0], "step {step}");
        for i in 0..FILES {
            let found = room.read(&format!("/d{}/f{i}", i % 5));
            assert!(found == format!("old {i}") || found == format!("new {i}"), "step {step}: {found:?}");
            unfinished += usize::from(found.starts_with("old"));
        }
        assert!(room.perform(&groups).await.iter().all(tidelock_model::run::Outcome::is_done));
        assert_eq!(room.machine.sweep(&effects).await.unwrap(), 0);
    }
    assert!(swept > 0 && unfinished > 0, "no kill came in time: {swept} swept, {unfinished} unfinished");
}

#[tokio::test]
async fn only_what_is_ours_is_swept() {
    let room = Room::with(grant(&["/d/**"], &[], &[]), MachineOptions::default());
    for kept in
        ["/d/.f.tidelock-12345678.tmp.txt", "/d/.other.tidelock-12345678.tmp", "/d/f", "/e/.f.tidelock-12345678.tmp"]
    {
        room.write(kept, "");
    }
    for ours in ["/d/.f.tidelock-12345678.tmp", "/d/.f~.tidelock-0abcdef0.tmp", "/d/.f.tidelock-aaaaaaaa.tmp/deep/x"] {
        room.write(ours, "");
    }
    let put = file(room.put("/d/f", "x"), |_, _, backup, _| *backup = Some("~".into()));
    let elsewhere = room.put("/e/f", "not granted");
    let missing = room.put("/d/none/f", "no such directory");
    assert_eq!(room.machine.sweep(&[put, elsewhere, missing]).await.unwrap(), 3);
    assert_eq!(room.machine.list("/d").unwrap().unwrap().len(), 3);
    assert_eq!(room.machine.list("/e").unwrap().unwrap().len(), 1);
}
