//! What becomes of stacks and targets over the years: renamed, claimed twice, taken from the
//! config, gone for a while, stopped half-way. Nothing is lost, and nothing done twice.

use std::fs;

use serde_json::Value;
use tidelock_tests::fleet::{TARGETS, change, fleet, with};
use tidelock_tests::{Daemon, Site};

fn lane(site: &Site, stack: &str, target: &str) -> Value {
    let status = site.tidelock(["status", "--output", "json"]).run().ok().json();
    let lanes = status["lanes"].as_array().expect("lanes").clone();
    let meant = |lane: &&Value| lane["stack"] == stack && lane["target"] == target;
    lanes.iter().find(meant).cloned().unwrap_or_else(|| panic!("no {stack}@{target} in {status:#}"))
}

#[test]
fn a_resource_a_file_and_a_directory_may_be_renamed_and_nothing_is_done() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    let before = site.world().fingerprint("machine");
    site.repo().edit("web/a.yaml", "name: a", "name: greeting").commit("Another name");
    site.tidelock(["plan"]).run().ok().says("1 to move").says("server.file/greeting");
    site.apply();
    site.converged();
    for (from, to) in [("web/a.yaml", "web/z.yaml"), ("web", "www")] {
        site.repo().rename(from, to).commit("Elsewhere");
        site.converged();
        site.apply();
    }
    assert_eq!(site.world().fingerprint("machine"), before, "nothing was done on the machine");
    site.tidelock(["history"]).run().ok().says("move").never_says("delete");
}

#[test]
fn what_two_stacks_want_is_given_to_neither_and_both_are_named() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    let file = "kind: server.file\nname: other\nspec: { path: /srv/a, content: theirs }\n";
    site.stack("db");
    site.repo().write("db/other.yaml", file).write("web/a.txt", "two\n").commit("Two want it");
    let refused = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(refused.code, 0, "{}", refused.story());
    let _ = refused.says("infra:db:server.file/other").says("infra:web:server.file/a");
    assert_ne!(site.on_machine("srv/a").as_deref(), Some("theirs"));
    site.repo()
        .remove("db/other.yaml")
        .write("db/b.yaml", "kind: server.file\nname: b\nspec: { path: /srv/b, content: b }\n");
    site.repo().commit("One wants it");
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
}

#[test]
fn a_target_that_left_the_config_is_orphaned_and_keeps_what_it_has() {
    let site = fleet("", "");
    site.apply();
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", config.replace("[targets.t8]\n", "[targets.t9]\n"));
    change(&site, "two\n");
    // The same machine under another name: what is there is equal to nothing that t9 owns.
    site.tidelock(["apply", "--yes"]).run();
    let gone = lane(&site, "web", "t8");
    assert_eq!(gone["status"], "orphaned", "{gone:#}");
    assert!(gone["why"].as_str().unwrap().contains("declares its target no more"), "{gone:#}");
    assert_eq!(with(&site, "two\n").len(), TARGETS);

    site.world().write("tidelock.toml", config);
    change(&site, "three\n");
    site.apply();
    assert_eq!(lane(&site, "web", "t8")["status"], "converged", "it is back under its old name");
}

#[test]
fn a_stack_that_goes_elsewhere_leaves_what_it_did_and_says_so() {
    let site = fleet("", "");
    site.apply();
    site.repo().edit("web/stack.yaml", "targets: \"t*\"", "targets: [t1, t2]").commit("Two are enough");
    site.apply();
    let gone = lane(&site, "web", "t5");
    assert_eq!(gone["status"], "orphaned", "{gone:#}");
    assert!(gone["why"].as_str().unwrap().contains("does not go to t5 any more"), "{gone:#}");
    assert_eq!(with(&site, "one\n").len(), TARGETS);
}

#[test]
fn a_target_whose_root_is_gone_is_left_alone_until_it_is_back() {
    let site = fleet("rollout: { first: 100%, max_failures: 9 }\n", "");
    site.apply();
    change(&site, "two\n");
    let (there, away) = (site.world().path("t3"), site.world().path("away"));
    fs::rename(&there, &away).unwrap();
    for empty in [false, true] {
        // An unmounted file system leaves an empty folder.
        if empty {
            fs::create_dir(&there).unwrap();
        }
        let ran = site.tidelock(["apply", "--yes"]).run().exit(4);
        let named = match empty {
            false => ran.stdout.contains("target t3: cannot open the root"),
            true => ran.stdout.contains("target t3") || ran.stdout.contains("infra:web@t3"),
        };
        assert!(named, "{}", ran.story());
        assert_eq!(fs::read_dir(&there).map_or(0, Iterator::count), 0, "nothing was made there");
        assert_eq!(with(&site, "two\n").len(), TARGETS - 1, "the others go on");
    }
    fs::remove_dir(&there).unwrap();
    fs::rename(&away, &there).unwrap();
    site.apply();
    assert_eq!(with(&site, "two\n").len(), TARGETS);
    site.converged();
}

#[test]
fn a_stop_in_the_middle_of_a_rollout_leaves_the_rest_as_it_is() {
    let listed = "checks = { exec = [[\"/bin/sleep\", \"0.4\"]] }";
    let site = fleet("rollout: { first: 1, then: 1 }\nchecks: [{ exec: [/bin/sleep, \"0.4\"] }]\n", listed);
    let config = site.world().read("tidelock.toml");
    let config = config.replacen("url = \"infra\"\n", "url = \"infra\"\npoll = \"200ms\"\n", 1);
    site.world().write("tidelock.toml", format!("accept_new = [\"*\"]\n\n{config}"));
    let daemon = Daemon::start(&site);
    daemon.eventually("two have it", || with(&site, "one\n").len() >= 2);
    site.tidelock(["stop", "--all", "--reason", "smoke"]).run().ok();
    let stopped = with(&site, "one\n");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let later = with(&site, "one\n").len();
    assert!(later <= stopped.len() + 1 && later < TARGETS, "{later} have it, {stopped:?} had it at the stop");
    site.tidelock(["resume", "--all", "--yes"]).run().ok();
    daemon.eventually("all have it", || with(&site, "one\n").len() == TARGETS);
    daemon.stop();
}

#[test]
fn the_loop_waits_where_a_commit_destroys_more_than_the_budget_lets_it() {
    let site = Site::with_files([("a", "one\n"), ("b", "two\n")]);
    site.repo().edit("web/stack.yaml", "on_drift", "budget: { destroy: 1 }\non_drift").commit("One at most");
    site.apply();
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", config.replacen("url = \"infra\"\n", "url = \"infra\"\npoll = \"200ms\"\n", 1));
    let daemon = Daemon::start(&site);
    site.file("web", "c", "three\n");
    site.repo().remove("web/a.yaml").remove("web/b.yaml").commit("Two less, one more");
    daemon.eventually("it waits", || lane(&site, "web", "local")["status"] == "waiting");
    let why = lane(&site, "web", "local").to_string();
    assert!(why.contains("2 effects would destroy something; the budget is 1"), "{why}");
    assert!(site.on_machine("srv/a").is_some() && site.on_machine("srv/c").is_none());
    site.tidelock(["approve", "--yes"]).run().ok();
    daemon
        .eventually("a yes lets it go on", || site.on_machine("srv/a").is_none() && site.on_machine("srv/c").is_some());
    daemon.stop();
}

#[test]
fn a_commit_does_not_loosen_its_own_gate() {
    let site = Site::with_files([("a", "one\n"), ("b", "two\n")]);
    site.repo().edit("web/stack.yaml", "on_drift", "budget: { destroy: 0 }\non_drift").commit("None at all");
    site.apply();
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", config.replacen("url = \"infra\"\n", "url = \"infra\"\npoll = \"200ms\"\n", 1));
    let daemon = Daemon::start(&site);
    site.repo().edit("web/stack.yaml", "destroy: 0", "destroy: 9").remove("web/a.yaml").commit("One less, if I may");
    daemon.eventually("it waits", || lane(&site, "web", "local")["status"] == "waiting");
    let why = lane(&site, "web", "local").to_string();
    assert!(why.contains("the budget is 0; this commit loosens that, which counts from the next commit on"), "{why}");
    daemon.stop();
    // Looked at once more, it is still the commit that loosens it.
    site.tidelock(["apply"]).run().exit(5).says("counts from the next commit on, whatever that one changes");
    assert!(site.on_machine("srv/a").is_some());
    site.repo().write("web/b.txt", "three\n").commit("The next one");
    let daemon = Daemon::start(&site);
    daemon.eventually("from the next commit on it counts", || {
        site.on_machine("srv/a").is_none() && site.on_machine("srv/b").as_deref() == Some("three\n")
    });
    daemon.stop();
}
