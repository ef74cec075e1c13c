//! What a killed apply leaves, as a person meets it: what `status` says, what stays due,
//! and what waits for a word with `resolve`.

use std::time::{Duration, Instant};

use tidelock_tests::{Site, site};

/// A command that says that it runs, and ends when it may.
const SCRIPT: &str = "#!/bin/sh\ncd \"$TIDELOCK_ROOT/srv\"\necho ran >> runs\ntouch started\nwhile [ ! -e go ]; do sleep 0.02; done\ntouch done\n";
const FILE: &str = "kind: server.file\nname: conf\nnotify: [{ to: server.command/reload, do: run }]\n\
                    spec: { path: /srv/conf, content: one }\n";

/// A file that notifies a command, whose apply was killed while the command ran; the
/// command went on by itself and has ended since.
fn killed(after_crash: &str) -> Site {
    let site = Site::new();
    site.stack("web");
    site.world().write("slow.sh", SCRIPT);
    let script = site.world().path("slow.sh").display().to_string();
    let command = format!(
        "kind: server.command\nname: reload\nspec: {{ argv: [/bin/sh, {script:?}], after_crash: {after_crash} }}\n"
    );
    site.repo().write("web/conf.yaml", FILE).write("web/reload.yaml", command).commit("A file and whom it notifies");
    site.world().write("tidelock.toml", format!("{}exec = [[\"/bin/sh\", {script:?}]]\n", site::config("infra")));

    let mut child = site.tidelock(["apply", "--yes"]).spawn();
    eventually("the command runs", || site.machine("srv/started").exists());
    child.kill().expect("it is killed");
    assert_eq!(child.wait().expect("its end").code(), None, "a signal ended it");
    site.world().write("machine/srv/go", "");
    eventually("the command that was left alone ends", || site.machine("srv/done").exists());
    assert_eq!(runs(&site), 1);
    site
}

fn runs(site: &Site) -> usize {
    site.on_machine("srv/runs").unwrap_or_default().lines().count()
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "it never came about that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn status_says_that_a_run_was_interrupted() {
    let site = killed("repeat");
    let status = site.tidelock(["status", "--output", "json"]).run().ok().json();
    let lane = &status["lanes"][0];
    assert_eq!(lane["status"], "pending", "{status:#}");
    assert!(lane["why"].as_str().unwrap_or_default().contains("interrupted"), "{status:#}");
    assert!(lane["applied"].is_null(), "nothing was applied to its end: {status:#}");

    site.apply();
    let status = site.tidelock(["status", "--output", "json"]).run().ok().json();
    assert_eq!(status["lanes"][0]["status"], "converged", "{status:#}");
}

#[test]
fn a_trigger_that_was_interrupted_stays_due() {
    let site = killed("repeat");
    let plan = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2);
    assert!(plan.stdout.contains("server.command/reload"), "{}", plan.story());
    site.apply();
    assert_eq!(runs(&site), 2, "what may be repeated was");
    site.converged();
    site.apply();
    assert_eq!(runs(&site), 2, "what was done is not asked for again");
}

#[test]
fn what_is_in_doubt_waits_for_a_word_and_redo_runs_it_again() {
    let site = killed("ask");
    site.tidelock(["apply", "--yes"]).run();
    assert_eq!(runs(&site), 1, "nothing is repeated blindly");
    let _ = site.tidelock(["plan"]).run().says("tidelock resolve");
    let wrong = site.tidelock(["resolve", "server.command/relaod", "done"]).run().exit(64);
    assert!(wrong.stderr.contains("server.command/reload"), "{}", wrong.story());

    let _ = site.tidelock(["resolve", "server.command/reload", "redo"]).run().ok().says("no longer in doubt");
    site.apply();
    assert_eq!(runs(&site), 2);
    site.converged();
    let _ = site.tidelock(["resolve", "server.command/reload", "redo"]).run().exit(64).says("nothing is in doubt");
}

#[test]
fn what_is_in_doubt_is_done_by_a_persons_word() {
    let site = killed("ask");
    site.tidelock(["resolve", "server.command/reload", "done"]).run().ok();
    site.apply();
    site.converged();
    assert_eq!(runs(&site), 1, "a person saw that it was done");
    let _ = site.tidelock(["history"]).run().ok().says("said that it was done");
}
