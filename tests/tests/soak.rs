//! The daemon over a long time and many deaths. Run with few rounds among the other tests;
//! `cargo xtask soak` runs the counts that are worth a night.

#![expect(clippy::print_stdout, reason = "a person who runs it for long wants to see the counts")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidelock_tests::daemon::ask;
use tidelock_tests::dice::{Dice, count};
use tidelock_tests::{Daemon, GitHttp, Site, site};

const LANES: usize = 10;

/// Copies what a machine holds to where it was last seen: what a change notifies.
const SCRIPT: &str = "#!/bin/sh\ncd \"$TIDELOCK_ROOT/srv\"\ncp a seen.new\nmv seen.new seen\n";

/// A site with ten machines and one stack on all of them, which the loop looks at all the time.
fn fleet() -> Site {
    let site = Site::with_files([("a", "round 0\n")]);
    site.world().write("seen.sh", SCRIPT);
    let script = site.world().path("seen.sh").display().to_string();
    let targets: String = (0..LANES)
        .map(|n| format!("\n[targets.t{n}]\ntype = \"machine\"\nroot = \"t{n}\"\ndrift_every = \"300ms\"\n"))
        .collect();
    for n in 0..LANES {
        site.world().write(&format!("t{n}/srv/.keep"), "");
        site.world().write(&format!("t{n}/etc/machine-id"), format!("{n:032x}\n"));
    }
    let config = site::config("infra").replace("targets = [\"local\"]", "targets = [\"t*\"]");
    let config = config.replacen("url = \"infra\"\n", "url = \"infra\"\npoll = \"200ms\"\n", 1);
    let grant = format!("exec = [[\"/bin/sh\", {script:?}]]\n");
    site.world().write("tidelock.toml", format!("accept_new = [\"t*\"]\n\n{config}{grant}{targets}"));
    let command =
        format!("kind: server.command\nname: seen\nspec: {{ argv: [/bin/sh, {script:?}], after_crash: repeat }}\n");
    let file = "kind: server.file\nname: a\nnotify: [{ to: server.command/seen, do: run }]\n\
                spec: { path: /srv/a, mode: \"0644\", content: { $file: a.txt } }\n";
    let stack = "name: web\ntargets: \"t*\"\non_commit: apply\non_drift: apply\nrollout: { first: 100% }\n";
    site.repo().write("web/stack.yaml", stack).write("web/a.yaml", file).write("web/seen.yaml", command);
    site.repo().commit("Ten machines");
    site.apply();
    site
}

fn on(site: &Site, lane: usize, file: &str) -> String {
    fs::read_to_string(site.world().path(&format!("t{lane}/srv/{file}"))).unwrap_or_default()
}

#[test]
fn a_daemon_that_is_killed_again_and_again_converges_and_its_record_is_true() {
    let site = fleet();
    let mut dice = Dice::new();
    let kills = count("TIDELOCK_SOAK_KILLS", 10);
    for round in 1..=kills {
        site.repo().write("web/a.txt", format!("round {round}\n")).commit(&format!("Round {round}"));
        let daemon = Daemon::start(&site);
        std::thread::sleep(Duration::from_millis(dice.below(300)));
        site.world().write(&format!("t{}/srv/a", dice.below(LANES as u64)), "by hand\n");
        std::thread::sleep(Duration::from_millis(dice.below(500)));
        daemon.kill();
    }
    let last = format!("round {kills}\n");
    let daemon = Daemon::start(&site);
    let all = |file: &str| (0..LANES).all(|lane| on(&site, lane, file) == last);
    daemon.eventually("every lane is at the last commit", || all("a"));
    daemon.eventually("whoever was to be notified was", || all("seen"));
    daemon.eventually("nothing is left to do", || {
        let status = site.tidelock(["status", "--output", "json"]).run().ok().json();
        let lanes = status["lanes"].as_array().expect("lanes");
        lanes.len() == LANES && lanes.iter().all(|lane| lane["status"] == "converged")
    });
    daemon.stop();
    site.converged();
    for lane in 0..LANES {
        let left: Vec<_> =
            fs::read_dir(site.world().path(&format!("t{lane}/srv"))).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 3, "nothing of a killed apply is left beside .keep, a and seen: {left:?}");
    }
    record_is_true(&site.events());
    println!("{kills} kills, {} events", site.events().len());
}

/// Events have no gaps, and of each lane one run at a time speaks: none does any more once
/// another one has begun there.
#[track_caller]
fn record_is_true(events: &[Value]) {
    let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    let mut current: BTreeMap<String, String> = BTreeMap::new();
    let mut over: BTreeSet<String> = BTreeSet::new();
    let of_runs = |event: &&Value| event["run"].is_string() && event["event"] != "recovered";
    for event in events.iter().filter(of_runs) {
        let (lane, run) = (event["lane"]["target"].to_string(), event["run"].to_string());
        if current.get(&lane) == Some(&run) {
            continue;
        }
        assert!(!over.contains(&run), "another run has begun in its lane: {event}");
        over.extend(current.insert(lane, run));
    }
}

/// What may not grow while nothing changes.
#[derive(Debug, Clone, Copy)]
struct Size {
    memory_kib: u64,
    files: usize,
    threads: usize,
    store: u64,
    packs: usize,
}

impl Size {
    fn of(site: &Site, daemon: &Daemon) -> Self {
        let process = format!("/proc/{}", daemon.id());
        let status = fs::read_to_string(format!("{process}/status")).expect("its status");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
            line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
        };
        let entries = |path: String| fs::read_dir(path).expect("a folder").count();
        let store = ["tidelock.db", "tidelock.db-wal"];
        let bytes = |name: &&str| fs::metadata(site.world().path(name)).map_or(0, |about| about.len());
        Self {
            memory_kib: field("VmRSS:"),
            files: entries(format!("{process}/fd")),
            threads: entries(format!("{process}/task")),
            store: store.iter().map(bytes).sum(),
            packs: packs(&site.world().path("cache")),
        }
    }
}

fn packs(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| match path.extension() {
            _ if path.is_dir() => packs(&path),
            Some(extension) if extension == "pack" => 1,
            _ => 0,
        })
        .sum()
}

#[test]
fn left_alone_with_commits_and_drift_it_stays_as_small_as_it_was() {
    let site = fleet();
    // Over HTTP, so that each commit is a pack in the cache.
    let server = GitHttp::serve(site.world().root());
    let config = site.world().read("tidelock.toml");
    let url = format!("url = \"{}/infra/.git\"\n", server.url());
    site.world().write("tidelock.toml", config.replacen("url = \"infra\"\n", &url, 1));
    let mut dice = Dice::new();
    let seconds = count("TIDELOCK_SOAK_SECONDS", 12);
    let daemon = Daemon::start(&site);
    let began = Instant::now();
    let mut sizes: Vec<Size> = Vec::new();
    let (mut commits, mut drifts) = (0_u64, 0_u64);
    // Ten stretches: in each a few commits and drifts, then a look at what it takes.
    for stretch in 1..=10 {
        while began.elapsed() < Duration::from_secs(seconds) * stretch / 10 {
            if dice.below(4) == 0 {
                commits += 1;
                site.repo().write("web/a.txt", format!("round {commits}\n")).commit(&format!("Round {commits}"));
            } else {
                drifts += 1;
                site.world().write(&format!("t{}/srv/a", dice.below(LANES as u64)), "by hand\n");
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        sizes.push(Size::of(&site, &daemon));
    }
    let last = format!("round {commits}\n");
    daemon.eventually("every lane is at the last commit", || (0..LANES).all(|lane| on(&site, lane, "a") == last));
    let pulse = ask(&site, r#"{"verb":"pulse"}"#);
    for size in &sizes {
        println!("{size:?}");
    }
    let changes = (commits * LANES as u64 + drifts).max(1);
    println!("{commits} commits, {drifts} drifts, {} passes, {} polls", pulse["passed"], pulse["polled"]);
    println!("{} bytes of store for each of {changes} changes", sizes[9].store / changes);
    assert!(sizes[9].packs > 0, "nothing was fetched");
    let (early, late) = (sizes[2], sizes[9]);
    assert!(late.files <= early.files + 8, "open files grow: {early:?} {late:?}");
    assert!(late.threads <= early.threads + 8, "threads grow: {early:?} {late:?}");
    assert!(late.memory_kib < early.memory_kib * 3 / 2 + 16_384, "memory grows: {early:?} {late:?}");
    assert!(late.packs <= early.packs + 24, "packs pile up: {early:?} {late:?}");
    // A record of each change is kept; what each look finds is not.
    assert!(late.store / changes < 64 << 10, "the store grows by more than what was done: {late:?}");
    daemon.stop();
    record_is_true(&site.events());
}
