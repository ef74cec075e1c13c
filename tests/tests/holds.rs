//! Stop, suspend and resume: a person's brake on the real binary.

use std::fs;
use std::time::{Duration, Instant};

use tidelock_tests::{Daemon, Site, site};

/// A command that says that it runs, and ends when it may.
const SCRIPT: &str = "#!/bin/sh\ncd \"$TIDELOCK_ROOT/srv\"\ntouch started\nwhile [ ! -e go ]; do sleep 0.02; done\n";
const COMMAND: &str = "kind: server.command\nname: slow\nspec: { argv: [/bin/sh, SCRIPT], creates: /srv/go }\n";
const AFTER: &str =
    "kind: server.file\nname: after\nneeds: [server.command/slow]\nspec: { path: /srv/after, content: b }\n";

fn applied() -> Site {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    site
}

/// A new commit that would change `/srv/a`.
fn changed(site: &Site) {
    site.repo().write("web/a.txt", "two\n");
    site.repo().commit("Two");
}

/// A site whose apply waits in the middle until `machine/srv/go` is there.
fn slow() -> Site {
    let site = Site::new();
    site.stack("web");
    site.world().write("slow.sh", SCRIPT);
    let script = site.world().path("slow.sh").display().to_string();
    site.repo().write("web/after.yaml", AFTER).write("web/slow.yaml", COMMAND.replace("SCRIPT", &script));
    site.repo().commit("A slow command before a file");
    site.world().write("tidelock.toml", format!("{}exec = [[\"/bin/sh\", {script:?}]]\n", site::config("infra")));
    site
}

#[test]
fn a_stop_of_another_process_bites_in_an_apply_that_is_under_way() {
    let brake: [fn(&Site); 2] = [
        |site| drop(site.tidelock(["stop", "--all", "--comment", "it smells of smoke"]).run().ok()),
        |site| site.world().write("STOP", "# it smells of smoke\n"),
    ];
    for brake in brake {
        let site = slow();
        let child = site.tidelock(["apply", "--yes"]).spawn();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !site.machine("srv/started").exists() {
            assert!(Instant::now() < deadline, "the command never ran");
            std::thread::sleep(Duration::from_millis(10));
        }
        brake(&site);
        site.world().write("machine/srv/go", "");
        let ended = child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert_eq!(ended.status.code(), Some(4), "{said}");
        assert!(said.contains("it smells of smoke"), "{said}");
        assert_eq!(site.on_machine("srv/after"), None, "no new group began");
    }
}

#[test]
fn a_stop_waits_with_who_when_why_and_how_to_lift_it() {
    let site = applied();
    changed(&site);
    let _ = site.tidelock(["stop", "web", "--reason", "a freeze"]).run().ok().says("infra:web@local");
    let _ = site.tidelock(["plan"]).run().ok().says("stopped stack web").says("a freeze").says("server.file/a");
    let held = site.tidelock(["apply", "--yes"]).run().exit(5);
    let _ = held.says("stopped stack web").says("a freeze").says("tidelock resume web");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    let _ = site.tidelock(["status"]).run().ok().says("waiting").says("held:").says("a freeze");

    let _ = site.tidelock(["resume", "web"]).run().exit(5).says("server.file/a").says("tidelock resume web --yes");
    let _ = site.tidelock(["apply", "--yes"]).run().exit(5);
    let _ = site.tidelock(["resume", "web", "--yes"]).run().ok().says("tidelock apply web");
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
    let _ = site.tidelock(["status"]).run().ok().never_says("held:");
    let _ = site.tidelock(["events"]).run().ok().says("stopped stack web").says("resumed");
    let _ = site.tidelock(["resume", "--all"]).run().ok().says("nothing to resume");
}

#[test]
fn a_stop_file_is_lifted_by_removing_it_alone() {
    let site = applied();
    changed(&site);
    site.world().write("STOP", "");
    let held = site.tidelock(["apply", "--yes"]).run().exit(5);
    let _ = held.says("stopped everything").says("remove the file");
    let _ = site.tidelock(["resume", "--all", "--yes"]).run().exit(5).says("remove the file");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    fs::remove_file(site.world().path("STOP")).unwrap();
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
}

#[test]
fn a_suspended_stack_is_planned_and_reported_until_its_time_is_up() {
    let site = applied();
    let _ = site.tidelock(["suspend", "web", "--for", "2h", "--reason", "by hand"]).run().ok().says("until");
    let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(0).says("by hand");
    fs::write(site.machine("srv/a"), "by hand\n").unwrap();
    let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2).says("drift").says("by hand");
    let _ = site.tidelock(["apply", "--yes"]).run().exit(5).says("suspended stack web");
    let _ = site.tidelock(["status"]).run().ok().says("suspended");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("by hand\n"));

    site.tidelock(["resume", "web", "--yes"]).run().ok();
    let _ = site.tidelock(["suspend", "web", "--for", "1ms"]).run().ok();
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    let _ = site.tidelock(["events"]).run().ok().says("its time is up");
}

#[test]
fn a_saved_plan_goes_through_no_hold() {
    let site = applied();
    changed(&site);
    site.tidelock(["plan", "--save", "plan.json"]).run().ok();
    site.tidelock(["stop", "--target", "loc*"]).run().ok();
    let _ = site.tidelock(["apply", "--plan", "plan.json"]).run().exit(5).says("stopped target loc*");
    site.tidelock(["resume", "--target", "loc*", "--yes"]).run().ok();
    site.tidelock(["apply", "--plan", "plan.json"]).run().ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
}

#[test]
fn what_is_mistyped_holds_nothing_and_says_so() {
    let site = applied();
    for (words, says) in [
        (&["stop"][..], "--all for everything"),
        (&["stop", "wep"], "did you mean web?"),
        (&["suspend", "--target", "locla"], "did you mean local?"),
        (&["suspend", "web", "--for", "2"], "30m, 2h or 3d"),
        (&["stop", "web", "--all"], "cannot be used with"),
    ] {
        let ran = site.tidelock(words).run().exit(64);
        assert!(ran.stderr.contains(says), "{}", ran.story());
    }
    let _ = site.tidelock(["status"]).run().ok().never_says("held:");
}

/// A daemon that asks Git all the time and looks at its machine every hour.
fn looped() -> (Site, Daemon) {
    let site = Site::with_files([("a", "one\n")]);
    let config = site::config("infra").replacen("url = \"infra\"\n", "url = \"infra\"\npoll = \"200ms\"\n", 1);
    let config = config.replacen("root = \"machine\"\n", "root = \"machine\"\ndrift_every = \"1h\"\n", 1);
    site.world().write("tidelock.toml", format!("accept_new = [\"local\"]\n\n{config}"));
    let daemon = Daemon::start(&site);
    daemon.eventually("the first commit arrives", || {
        site.on_machine("srv/a").is_some() && lane(&site)["status"] == "converged"
    });
    (site, daemon)
}

fn lane(site: &Site) -> serde_json::Value {
    site.tidelock(["status", "--output", "json"]).run().ok().json()["lanes"][0].clone()
}

#[test]
fn the_loop_honours_holds_and_goes_on_when_they_are_lifted_or_run_out() {
    let (site, daemon) = looped();
    site.tidelock(["suspend", "--all", "--reason", "an incident"]).run().ok();
    daemon.eventually("it is suspended", || lane(&site)["status"] == "suspended");
    changed(&site);
    daemon.eventually("the new commit is planned", || lane(&site)["planned"]["subject"] == "Two");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    site.tidelock(["resume", "--all", "--yes"]).run().ok();
    daemon.eventually("it goes on at once", || site.on_machine("srv/a").as_deref() == Some("two\n"));

    site.tidelock(["suspend", "web", "--for", "2s"]).run().ok();
    site.repo().write("web/a.txt", "three\n").commit("Three");
    daemon.eventually("its time is up", || site.on_machine("srv/a").as_deref() == Some("three\n"));
    let ended = site.events().into_iter().filter(|event| event["event"] == "hold-ended").count();
    assert_eq!(ended, 2, "each told once");
    daemon.stop();
}

#[test]
fn the_loop_goes_on_with_the_yes_that_it_waits_for() {
    let (site, daemon) = looped();
    let config = fs::read_to_string(site.world().path("tidelock.toml")).unwrap();
    site.world().write("tidelock.toml", format!("{config}\n[[gate]]\napprovals = 1\n"));
    daemon.signal("HUP");
    daemon.eventually("it took the config", || site.events().iter().any(|event| event["event"] == "config-read"));
    changed(&site);
    daemon.eventually("it waits", || lane(&site)["status"] == "waiting");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    site.tidelock(["approve", "--yes"]).run().ok();
    daemon.eventually("it goes on at once", || site.on_machine("srv/a").as_deref() == Some("two\n"));
    // The file is there before the run is on record.
    daemon.eventually("it is on record", || lane(&site)["status"] == "converged");
    let _ = site.tidelock(["blame", "server.file/a"]).run().ok().says("approved  root");
    daemon.stop();
}
