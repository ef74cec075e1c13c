//! `kill -9` at any moment of an apply: the next run converges, repeats nothing,
//! leaves nothing behind, and the history tells the truth.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::time::{Duration, Instant};

use tidelock_tests::Site;

const FILES: usize = 200;
const MOMENTS: u32 = 12;

fn site() -> Site {
    let site = Site::new();
    site.stack("web");
    for number in 0..FILES {
        site.file("web", &format!("f{number:03}"), &format!("contents of {number}\n"));
    }
    site.repo().commit("Two hundred files");
    site.tidelock(["plan"]).run().ok();
    site
}

/// Waits until an apply has begun to write, or has ended.
fn begins_to_write(site: &Site, child: &mut Child) {
    let entries = || std::fs::read_dir(site.machine("srv")).expect("the folder").count();
    while entries() <= 1 && child.try_wait().expect("the process").is_none() {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// How long an undisturbed apply takes here, from its first write to its end.
fn undisturbed() -> Duration {
    let site = site();
    let mut child = site.tidelock(["apply", "--yes", "--summary"]).spawn();
    begins_to_write(&site, &mut child);
    let start = Instant::now();
    assert!(child.wait().expect("the process").success());
    start.elapsed()
}

#[test]
fn a_killed_apply_is_finished_by_the_next() {
    let whole = undisturbed();
    let mut interrupted = 0;
    for moment in 0..MOMENTS {
        let site = site();
        let mut child = site.tidelock(["apply", "--yes", "--summary"]).spawn();
        begins_to_write(&site, &mut child);
        std::thread::sleep(whole * moment / MOMENTS);
        // The process may have ended by itself, at the last moments.
        child.kill().ok();
        let ended = child.wait().expect("the killed process");
        interrupted += usize::from(ended.signal() == Some(9));
        let present = |site: &Site| (0..FILES).filter(|n| site.machine(&format!("srv/f{n:03}")).is_file()).count();
        site.apply();
        assert_eq!(present(&site), FILES);
        site.converged();
        nothing_is_left_behind(&site);
        history_is_true(&site);
    }
    assert!(interrupted >= 4, "of {MOMENTS} moments only {interrupted} were in the middle: the test sees nothing");
}

fn nothing_is_left_behind(site: &Site) {
    for entry in std::fs::read_dir(site.machine("srv")).expect("the folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        assert!(name == ".keep" || (name.len() == 4 && name.starts_with('f')), "{name} was left behind");
    }
}

/// Each file has one line that says it was done, and none says that it failed.
fn history_is_true(site: &Site) {
    let json = site.tidelock(["history", "--limit", "100000", "--output", "json"]).run().ok().json();
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    for line in json["history"].as_array().expect("lines") {
        let (end, identity) = (line["end"].as_str().unwrap_or_default(), line["identity"].to_string());
        assert_ne!(end, "failed", "{line}");
        if end == "done" {
            *done.entry(identity).or_default() += 1;
        }
    }
    assert_eq!(done.len(), FILES, "every file is in the history");
    let repeated: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
    assert!(repeated.is_empty(), "done more than once: {repeated:?}");
}
