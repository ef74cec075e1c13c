//! Commands: words, environment, time and output.

use std::time::{Duration, Instant};

use tidelock_model::effect::{Effect, EffectBody};

use crate::support::{Room, codes, effect, exec, group, root, skip};

fn sh(script: &str, timeout_ms: u32) -> Effect {
    effect(EffectBody::Exec {
        argv: vec!["/bin/sh".into(), "-c".into(), script.into()],
        cwd: None,
        env: vec![("GREETING".into(), "hello".into())],
        timeout_ms,
    })
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// Waits until a process is gone, or a zombie that nobody has collected yet.
fn gone(pid: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        match std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
            Ok(stat) if !stat.contains(") Z") => std::thread::sleep(Duration::from_millis(20)),
            _ => return true,
        }
    }
    false
}

fn wait_for(room: &Room, path: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let text = room.read(path);
        if text.ends_with('\n') {
            return text;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{path} never came")
}

#[tokio::test]
async fn a_command_has_an_environment_of_our_own_and_starts_where_it_is_told() {
    let room = Room::new();
    std::fs::create_dir(room.real("/work")).unwrap();
    let mut effect = sh("env > out; pwd >> out", 5000);
    if let EffectBody::Exec { cwd, .. } = &mut effect.body {
        *cwd = Some("/work".into());
    }
    assert_eq!(codes(&room.sequence(vec![effect]).await), ["done"]);
    let out = room.read("/work/out");
    for line in ["GREETING=hello", "LANG=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"] {
        assert!(out.lines().any(|found| found == line), "{line} not in {out}");
    }
    assert!(out.contains(&format!("TIDELOCK_ROOT={}", room.dir.path().display())), "{out}");
    assert!(out.ends_with(&format!("{}\n", room.real("/work").display())), "{out}");
    assert!(!out.contains("CARGO"), "{out}");
}

#[tokio::test]
async fn words_are_not_a_shells() {
    let room = Room::new();
    let out = room.real("/out");
    // The words are names of files, spelled out; the first has a directory that is not there.
    let touch = exec(&["/usr/bin/touch", "--", out.to_str().unwrap(), "$(touch /evil)", "; touch x"]);
    let fault = room.refused(touch).await;
    assert!(fault.message.contains("$(touch /evil)"), "{}", fault.message);
    assert!(room.real("/; touch x").exists() && out.exists());
}

#[tokio::test]
async fn a_failure_carries_code_and_the_end_of_what_it_said() {
    let room = Room::new();
    let script =
        "i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; printf '\\033[2Jlast words' >&2; exit 3";
    let fault = room.refused(sh(script, 20_000)).await;
    assert_eq!(fault.code, "command");
    assert!(fault.message.contains("exit code 3") && fault.message.contains("last words"), "{}", fault.message);
    assert!(!fault.message.contains('\x1b') && !fault.message.contains("line 12\n"));
    assert!(fault.message.len() < 8192);
    assert_eq!(room.refused(exec(&["/no/such/program"])).await.code, "not-found");
    assert_eq!(room.refused(sh("kill -9 $$", 5000)).await.message.matches("signal 9").count(), 1);
}

#[tokio::test]
async fn time_runs_out_for_grandchildren_too() {
    let room = Room::new();
    let script = "sleep 300 & echo $! > \"$TIDELOCK_ROOT/pid\"; wait";
    let began = Instant::now();
    let fault = room.refused(sh(script, 400)).await;
    assert_eq!(fault.code, "timeout");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(gone(&room.read("/pid")));
}

#[tokio::test]
async fn a_child_that_stays_does_not_hold_us_up() {
    let room = Room::new();
    let began = Instant::now();
    let script = "sleep 20 & echo $! > \"$TIDELOCK_ROOT/pid\"; exit 0";
    assert_eq!(codes(&room.sequence(vec![sh(script, 10_000)]).await), ["done"]);
    assert!(began.elapsed() < Duration::from_secs(5));
    let pid: i32 = room.read("/pid").trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_command_sees_the_files_before_it_and_ends_the_sequence_when_it_fails() {
    let room = Room::new();
    let effects = vec![
        room.put("/a", "1"),
        sh("cat \"$TIDELOCK_ROOT/a\" > \"$TIDELOCK_ROOT/copy\"", 5000),
        room.put("/b", "2"),
        sh("exit 1", 5000),
        room.put("/c", "3"),
    ];
    assert_eq!(codes(&room.sequence(effects).await), ["done", "done", "done", "command", "not-reached"]);
    assert_eq!((room.read("/copy"), room.read("/b")), ("1".into(), "2".into()));
    assert!(!room.real("/c").exists());
}

#[tokio::test]
async fn a_probe_has_no_privileges() {
    let room = Room::new();
    let script = "id -u; id -G; grep NoNewPrivs /proc/self/status; env | grep -c .";
    let ended = room.machine.probe(&words(&["/bin/sh", "-c", script]), 5000).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    if root() {
        assert_ne!(lines[0], "0");
        assert_eq!(lines[1].split(' ').count(), 1, "{}", ended.stdout);
        let shadow = room.machine.probe(&words(&["/usr/bin/cat", "/etc/shadow"]), 5000).await.unwrap();
        assert_ne!(shadow.code, Some(0));
    } else {
        skip("not root: a probe keeps who it is");
    }
    assert!(ended.stdout.contains("NoNewPrivs:\t1"), "{}", ended.stdout);
    assert!(!nix::sys::prctl::get_no_new_privs().unwrap(), "this thread must keep its own");
}

#[tokio::test]
async fn a_probes_output_is_capped_and_its_end_told() {
    let room = Room::new();
    let ended =
        room.machine.probe(&words(&["/bin/sh", "-c", "yes | head -c 1000000; echo no >&2; exit 4"]), 20_000).await;
    let ended = ended.unwrap();
    assert_eq!((ended.code, ended.stdout.len(), ended.stderr.as_str()), (Some(4), 64 << 10, "no\n"));
    assert_eq!(room.machine.probe(&words(&["relative"]), 100).await.unwrap_err().code, "invalid");
    assert_eq!(room.machine.probe(&[], 100).await.unwrap_err().code, "invalid");
    assert_eq!(room.machine.probe(&words(&["/bin/sleep", "30"]), 100).await.unwrap_err().code, "timeout");
}

#[tokio::test]
async fn a_probe_that_nobody_waits_for_is_killed() {
    let room = Room::new();
    std::fs::create_dir(room.real("/out")).unwrap();
    std::fs::set_permissions(room.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(room.real("/out"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let script = format!("sleep 300 & echo $! > {}; wait", room.real("/out/pid").display());
    let argv = words(&["/bin/sh", "-c", &script]);
    {
        let probe = room.machine.probe(&argv, 60_000);
        tokio::select! {
            ended = probe => panic!("{ended:?}"),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
    assert!(gone(&wait_for(&room, "/out/pid")));
}

#[tokio::test]
async fn what_was_begun_ends_and_nothing_more_is_begun_when_nobody_waits() {
    let room = Room::new();
    let script = "echo > \"$TIDELOCK_ROOT/begun\"; sleep 1; echo done > \"$TIDELOCK_ROOT/ended\"";
    let groups = [group(1, false, vec![room.put("/a", "1"), sh(script, 10_000), room.put("/b", "2")])];
    {
        let perform = room.perform(&groups);
        tokio::select! {
            ends = perform => panic!("{ends:?}"),
            () = tokio::time::sleep(Duration::from_millis(400)) => {}
        }
    }
    assert_eq!(wait_for(&room, "/ended"), "done\n");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(room.read("/a"), "1");
    assert!(!room.real("/b").exists());
    assert_eq!(room.leftovers(), [""; 0]);
}
