//! Three environments of twenty machines with four stacks each, left to the daemon: what is
//! committed reaches dev, then stage, then prod, each when it may, and a mistake one machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tidelock_tests::environment::hermetic;
use tidelock_tests::{Daemon, TestEnvironment};

const ENVIRONMENTS: [&str; 3] = ["dev", "stage", "prod"];
const STACKS: [&str; 4] = ["base", "web", "app", "logs"];

/// The example, with a source that is asked all the time.
struct Environments(TestEnvironment);

impl Environments {
    fn new() -> Self {
        let world = TestEnvironment::stocked();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/environments");
        let mut copy = Command::new("cp");
        assert!(copy.arg("-r").arg(example.join(".")).arg(world.root()).status().unwrap().success());
        let it = Self(world);
        it.sh("./make.sh && sed -i 's/^url = .*/&\\npoll = \"200ms\"/' tidelock.toml");
        it.0.tidelock(["plugin", "accept", "--all"]).run().ok();
        it
    }

    /// Runs a line of shell in the example's folder.
    fn sh(&self, line: &str) {
        let mut shell = Command::new("sh");
        hermetic(&mut shell, &self.0.path("home")).current_dir(self.0.root()).args(["-eu", "-c", line]);
        assert!(shell.status().expect("a shell").success(), "{line}");
    }

    /// The window of prod, from and until so many minutes from now, in the place of the one before.
    fn window(&self, from: i64, until: i64) {
        let clock =
            |minutes: i64| (Timestamp::now() + SignedDuration::from_mins(minutes)).strftime("%H:%M").to_string();
        let config = self.0.read("tidelock.toml");
        let config: String = config
            .lines()
            .map(|line| match line {
                line if line.starts_with("window = ") => {
                    format!("window = \"daily {}-{} UTC\"\n", clock(from), clock(until))
                }
                line => format!("{line}\n"),
            })
            .collect();
        self.0.write("tidelock.toml", config);
    }

    /// Commits another text in the place of one of the module `web`.
    fn commit(&self, from: &str, to: &str) {
        self.sh(&format!("sed -i 's/{from}/{to}/' repo/modules/web/web.yaml.j2"));
        self.sh(&format!("git -C repo commit --quiet --all -m '{to}'"));
    }

    /// Machines of an environment on which `/etc/web.conf` holds a text.
    fn with(&self, env: &str, text: &str) -> Vec<String> {
        let targets = (1..=20).map(|number| format!("{env}-{number:02}"));
        let config = |target: &String| fs::read_to_string(self.0.path(&format!("machines/{target}/etc/web.conf")));
        targets.filter(|target| config(target).is_ok_and(|config| config.contains(text))).collect()
    }

    /// Lanes of an environment by their status.
    fn lanes(&self, env: &str) -> BTreeMap<String, usize> {
        let status = self.0.tidelock(["status", "--output", "json"]).run().ok().json();
        let mut counts = BTreeMap::new();
        for lane in status["lanes"].as_array().expect("lanes") {
            if lane["target"].as_str().unwrap().starts_with(env) {
                *counts.entry(lane["status"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        counts
    }

    fn events(&self) -> Vec<Value> {
        let json = self.0.tidelock(["events", "--limit", "100000", "--output", "json"]).run().ok().json();
        json["events"].as_array().expect("events").clone()
    }

    fn last_event(&self) -> u64 {
        self.events().iter().filter_map(|event| event["seq"].as_u64()).max().unwrap_or(0)
    }

    /// When, by the numbers of events, each machine of a stack was begun and ended after `since`.
    fn spans(&self, stack: &str, since: u64) -> BTreeMap<String, (u64, u64)> {
        let mut spans: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for event in self.events().iter().filter(|event| event["lane"]["stack"] == stack) {
            let seq = event["seq"].as_u64().unwrap();
            let target = event["lane"]["target"].as_str().unwrap().to_owned();
            if seq <= since {
                continue;
            }
            match event["event"].as_str().unwrap() {
                "apply-began" => assert!(spans.insert(target, (seq, 0)).is_none(), "begun twice: {event}"),
                "ended" => spans.get_mut(&target).expect("it began").1 = seq,
                _ => {}
            }
        }
        spans
    }
}

/// Asserts that machines went in batches of these sizes, in the order of their names, each
/// batch after the one before had ended.
#[track_caller]
fn in_batches(spans: &BTreeMap<String, (u64, u64)>, sizes: &[usize]) {
    assert_eq!(spans.len(), sizes.iter().sum::<usize>(), "{spans:?}");
    let mut spans = spans.iter();
    let mut before = 0;
    for size in sizes {
        let batch: Vec<_> = spans.by_ref().take(*size).collect();
        for (target, (began, ended)) in &batch {
            assert!(*began > before, "{target} began at {began}, before its batch\n{batch:?}");
            assert!(ended > began, "{target} did not end");
        }
        before = batch.iter().map(|(_, (_, ended))| *ended).max().unwrap_or(0);
    }
}

#[test]
fn a_commit_reaches_one_environment_after_the_other() {
    let it = Environments::new();
    it.window(120, 180);
    let daemon = Daemon::start_in(&it.0);
    let converged = |env: &str| it.lanes(env) == BTreeMap::from([("converged".to_owned(), 80)]);
    daemon.eventually("dev and stage are as Git says", || converged("dev") && converged("stage"));
    daemon.eventually("prod waits", || it.lanes("prod").get("waiting") == Some(&80));
    assert_eq!(it.with("prod", "workers"), Vec::<String>::new());

    // A yes alone does not open the window.
    it.0.tidelock(["approve", "--yes", "--comment", "As discussed"]).run().ok();
    daemon.eventually("the yes was heard", || {
        let why = it.0.tidelock(["status", "web-prod", "--target", "prod-01", "--output", "json"]).run().ok().json();
        let why = why["lanes"][0]["waits"].to_string();
        why.contains("only in the window") && !why.contains("asks for the approval")
    });
    assert_eq!(it.with("prod", "workers"), Vec::<String>::new());

    // The window opens: prod goes a few at a time.
    let before = it.last_event();
    it.window(-60, 60);
    daemon.signal("HUP");
    daemon.eventually("prod is as Git says", || converged("prod"));
    for stack in STACKS {
        in_batches(&it.spans(&format!("{stack}-prod"), before), &[1, 5, 5, 5, 4]);
    }
    assert_eq!(it.with("prod", "workers = 8").len(), 20);

    // A commit to one module: its stacks alone, dev before stage, and prod after a yes.
    let before = it.last_event();
    it.commit("workers = ", "workers = 1");
    daemon.eventually("stage has it", || it.with("stage", "workers = 12").len() == 20 && converged("stage"));
    assert_eq!(it.with("prod", "workers = 8").len(), 20);
    in_batches(&it.spans("web-dev", before), &[1, 19]);
    in_batches(&it.spans("web-stage", before), &[1, 5, 5, 5, 4]);
    let dev = it.spans("web-dev", before).values().map(|(_, ended)| *ended).max();
    assert!(it.spans("web-stage", before).values().all(|(began, _)| Some(*began) > dev), "stage began before dev held");
    daemon.eventually("prod waits for a yes", || it.lanes("prod").get("waiting") == Some(&20));
    it.0.tidelock(["approve", "--yes"]).run().ok();
    daemon.eventually("prod has it", || it.with("prod", "workers = 18").len() == 20 && converged("prod"));
    in_batches(&it.spans("web-prod", before), &[1, 5, 5, 5, 4]);
    for env in ENVIRONMENTS {
        assert_eq!(it.spans(&format!("base-{env}"), before).len(), 0, "nothing of it changed");
    }

    // What renders to nonsense gets to one machine, and what does not render to none.
    it.commit("workers = .*", "workers = none");
    daemon.eventually("it is stopped", || it.lanes("dev").get("failed") == Some(&1));
    daemon.eventually("the rest waits", || it.lanes("dev").get("waiting") == Some(&19));
    daemon.eventually("the rest says for what", || {
        let status = it.0.tidelock(["status", "web-dev", "--target", "dev-20"]).run().ok();
        status.stdout.contains("the rollout stopped: web-dev@dev-01 failed: check exec /bin/grep")
    });
    assert_eq!(it.with("dev", "none"), ["dev-01"]);
    assert_eq!(it.with("stage", "workers = 12").len() + it.with("prod", "workers = 18").len(), 40);
    it.commit("workers = none", "workers = {{ nonsense }}");
    daemon.eventually("no lane can be rendered", || it.lanes("dev").get("failed") == Some(&20));
    assert_eq!(it.with("dev", "none"), ["dev-01"], "it stays as it was");
    assert_eq!(it.with("stage", "workers = 12").len() + it.with("prod", "workers = 18").len(), 40);
    daemon.stop();
}
