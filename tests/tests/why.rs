//! `why` on the real binary: what waits for what, whatever else hangs or is dead.

use std::fs;

use serde_json::Value;
use tidelock_tests::daemon::eventually;
use tidelock_tests::{Daemon, GitHttp, Site, site};

/// A command that says that it runs, and ends when it may.
const SCRIPT: &str = "#!/bin/sh\ncd \"$TIDELOCK_ROOT/srv\"\ntouch started\nwhile [ ! -e go ]; do sleep 0.02; done\n";
const COMMAND: &str = "kind: server.command\nname: slow\nspec: { argv: [/bin/sh, SCRIPT], creates: /srv/go }\n";

fn applied() -> Site {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    site
}

/// A site that asks for approvals in a window that is never open for long, with a change.
fn gated() -> Site {
    let site = applied();
    let config = site.world().read("tidelock.toml");
    let gate =
        "\n[[gate]]\napprovals = 2\napprovers = [\"grace\", \"root\", \"kay\"]\nwindow = \"Mon 03:00-03:01 UTC\"\n";
    site.world().write("tidelock.toml", format!("{config}{gate}"));
    site.repo().write("web/a.txt", "two\n").commit("Two");
    site
}

fn why(site: &Site) -> Value {
    site.tidelock(["why", "--output", "json"]).run().ok().json()
}

fn codes(why: &Value) -> Vec<&str> {
    why["lanes"][0]["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect()
}

#[test]
fn nothing_and_then_everything_that_is_in_the_way() {
    let site = Site::with_files([("a", "one\n")]);
    let _ = site.tidelock(["why"]).run().ok().says("No stack was looked at yet").says("tidelock plan");
    site.apply();
    let _ = site.tidelock(["why"]).run().ok().says("converged since").says("nothing is in its way");
    let _ = site.tidelock(["why", "wep"]).run().exit(64).says("did you mean web?");

    let site = gated();
    let _ = site.tidelock(["apply", "--yes"]).run().exit(5);
    let json = why(&site);
    assert_eq!(json["format"], "tidelock.why/1");
    assert!(codes(&json).contains(&"approvals") && codes(&json).contains(&"window"), "{json}");
    let _ = site.tidelock(["approve", "--yes"]).run().ok();
    let _ = site.tidelock(["stop", "--all", "--reason", "it smells of smoke"]).run().ok();
    let said = site.tidelock(["why", "web"]).run().ok();
    let said = said.says("so far: root").says("missing: 1 of 2, by grace, kay, root").says("it opens next on Mon");
    let _ = said.says("it smells of smoke").says("tidelock resume --all").says("\"Two\"").says("No daemon runs");
}

#[test]
fn a_failure_is_told_with_the_resource_it_was_about() {
    let site = applied();
    site.repo().write("web/a.txt", "two\n").commit("Two");
    fs::remove_file(site.machine("srv/a")).unwrap();
    fs::create_dir_all(site.machine("srv/a/kept")).unwrap();
    let failed = site.tidelock(["apply", "--yes"]).run();
    assert_ne!(failed.code, 0, "{}", failed.story());
    let said = site.tidelock(["why", "file/a"]).run().ok();
    let _ = said.says("server.file/a").says("path:/srv/a");
    let _ = site.tidelock(["why", "b"]).run().exit(64).says("nothing is known of b");
    let elsewhere = site.tidelock(["why", "web", "--target", "lokal"]).run().exit(64);
    let _ =
        elsewhere.says("web is on no target that is called lokal").says("it is on local").never_says("did you mean");
}

#[test]
fn what_was_agreed_to_and_done_is_no_reason_any_more() {
    let site = applied();
    site.repo().write("web/b.yaml", "kind: server.fle\nname: b\nspec: {}\n").commit("A slip of the finger");
    let _ = site.tidelock(["plan"]).run().exit(1);
    let json = why(&site);
    assert_eq!(json["lanes"][0]["status"], "failed", "{json:#}");
    assert!(codes(&json).contains(&"failed") && !codes(&json).contains(&"first-contact"), "{json:#}");

    // Nor where what was agreed to came to nothing.
    let site = Site::with_files([("a", "one\n")]);
    fs::create_dir_all(site.machine("srv/a/kept")).unwrap();
    assert_ne!(site.tidelock(["apply", "--yes"]).run().code, 0);
    assert!(!codes(&why(&site)).contains(&"first-contact"), "{:#}", why(&site));
}

#[test]
fn it_says_of_drift_what_the_plan_says() {
    let site = applied();
    // Each is stricter than the one before, and so counts at once.
    for (policy, code) in [("ask", "on-drift"), ("report", "reports")] {
        let from = site.repo().path().join("web/stack.yaml");
        let stack = fs::read_to_string(&from).unwrap();
        let (before, _) = stack.split_once("on_drift").unwrap();
        site.repo().write("web/stack.yaml", format!("{before}on_drift: {policy}\n")).commit(policy);
        site.apply();
        // The same drift was undone with a yes before.
        for _ in 0..2 {
            fs::write(site.machine("srv/a"), "by hand\n").unwrap();
            let _ = site.tidelock(["plan"]).run().ok().says(&format!("waits: the stack says `on_drift: {policy}`"));
            assert_eq!(codes(&why(&site)), [code]);
            let held = site.tidelock(["apply"]).run().exit(5);
            let _ = held.says(&format!("on_drift: {policy}")).never_says("nobody said yes");
            site.apply();
        }
    }
}

#[test]
fn what_nothing_holds_up_waits_for_an_apply_where_no_daemon_runs() {
    let site = applied();
    site.repo().write("web/a.txt", "two\n").commit("Two");
    site.tidelock(["plan"]).run().ok();
    let said = site.tidelock(["why"]).run().ok().says("it waits for an apply").says("with your yes");
    let _ = said.says("tidelock apply web --target local").never_says("the next look goes on");
}

#[test]
fn it_answers_while_a_daemon_hangs_and_after_it_died() {
    let site = Site::with_files([("a", "one\n")]);
    let server = GitHttp::serve(site.world().root());
    let config = site::config(&format!("{}/infra/.git", server.url()));
    let config = config.replacen("[[sources", "poll = \"200ms\"\n\n[[sources", 1);
    site.world().write("tidelock.toml", config);
    site.apply();
    let daemon = Daemon::start(&site);
    let json = why(&site);
    assert_eq!(json["daemon"]["pid"], daemon.id(), "{json}");
    drop(server);
    daemon.eventually("the source is told to be stale", || codes(&why(&site)).contains(&"source-stale"));

    daemon.signal("STOP");
    let _ = site.tidelock(["why"]).run().ok().says("source infra does not answer").says("A daemon runs since");
    daemon.signal("CONT");
    daemon.kill();
    let json = why(&site);
    assert_eq!(json["daemon"]["dead"], true, "{json}");
    let _ = site.tidelock(["why"]).run().ok().says("died: nothing goes on by itself");
}

#[test]
fn the_holder_of_a_pass_under_way_is_named() {
    let site = Site::new();
    site.stack("web");
    site.world().write("slow.sh", SCRIPT);
    let script = site.world().path("slow.sh").display().to_string();
    site.repo().write("web/slow.yaml", COMMAND.replace("SCRIPT", &script));
    site.repo().commit("A slow command");
    let grant = format!("exec = [[\"/bin/sh\", {script:?}]]\n");
    site.world().write("tidelock.toml", format!("{}{grant}", site::config("infra")));
    let child = site.tidelock(["apply", "--yes"]).spawn();
    eventually("the command runs", || site.machine("srv/started").exists());
    let json = why(&site);
    assert_eq!(codes(&json)[0], "under-way", "{json}");
    let message = json["lanes"][0]["reasons"][0]["message"].as_str().unwrap();
    assert!(message.contains(&format!("(process {})", child.id())), "{message}");
    site.world().write("machine/srv/go", "");
    assert!(child.wait_with_output().expect("its end").status.success());
    assert!(codes(&why(&site)).is_empty());
}
