//! Figures beside the tools that people would use. `cargo test --release -- --ignored
//! --nocapture figures`.

use std::process::Command;
use std::time::Instant;

use tidelock_target::MachineOptions;

use crate::support::{Room, file, grant, group};

#[expect(clippy::print_stderr, reason = "figures are for people")]
fn say(what: &str, seconds: f64, against: f64) {
    eprintln!("{what}: {seconds:.3} s, {:.2} times the tool's {against:.3} s", seconds / against);
}

/// Processor time of this process and of the children it waited for.
fn cpu(children: bool) -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(if children { UsageWho::RUSAGE_CHILDREN } else { UsageWho::RUSAGE_SELF }).unwrap();
    [usage.user_time(), usage.system_time()].iter().map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6).sum()
}

fn shell(script: &str) -> f64 {
    let began = Instant::now();
    assert!(Command::new("/bin/sh").args(["-c", script]).status().unwrap().success());
    began.elapsed().as_secs_f64()
}

#[tokio::test]
#[ignore = "a measurement"]
async fn ten_thousand_files() {
    let room = Room::with(grant(&["/**"], &[], &[]), MachineOptions::default());
    let paths: Vec<String> = (0..10_000).map(|i| format!("/d{}/f{i}", i % 100)).collect();
    let groups: Vec<_> = paths
        .iter()
        .enumerate()
        .map(|(i, path)| {
            let put = room.put(path, &format!("{i:01024}"));
            group(u32::try_from(i).unwrap(), false, vec![file(put, |_, parents, _, _| *parents = true)])
        })
        .collect();
    let began = Instant::now();
    assert!(room.perform(&groups).await.iter().all(tidelock_model::run::Outcome::is_done));
    let apply = began.elapsed().as_secs_f64();
    let root = room.dir.path().display();
    let copy = shell(&format!(
        "cp -r {root} {root}.copy && find {root}.copy -type f -print0 | xargs -0 sync && find {root}.copy -type d -print0 | xargs -0 sync"
    ));
    std::fs::remove_dir_all(format!("{root}.copy")).unwrap();
    say("first apply (against cp -r and sync of each, wall)", apply, copy);

    assert_eq!(room.machine.stat(&paths, true).len(), paths.len());
    let began = cpu(false);
    assert!(room.machine.stat(&paths, true).iter().all(Result::is_ok));
    let stat = cpu(false) - began;
    let began = cpu(true);
    shell(&format!("find {root} -type f -print0 | xargs -0 sha256sum > /dev/null"));
    say("stat with digests (against sha256sum, CPU)", stat, cpu(true) - began);
}
