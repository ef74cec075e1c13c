//! `tidelock run`, as its operator meets it: left alone it keeps a machine the way Git
//! says; it takes signals, survives kills and servers that are away, and is one of its kind.

use std::fs;
use std::os::unix::net::UnixDatagram;

use serde_json::Value;
use tidelock_tests::daemon::{ask, eventually, passed};
use tidelock_tests::{Daemon, GitHttp, Site, site};

/// A config whose source is asked and whose target is looked at all the time.
fn quick(url: &str) -> String {
    let config = site::config(url);
    let config = config.replacen(&format!("url = {url:?}\n"), &format!("url = {url:?}\npoll = \"200ms\"\n"), 1);
    let config = config.replacen("root = \"machine\"\n", "root = \"machine\"\ndrift_every = \"200ms\"\n", 1);
    format!("accept_new = [\"local\"]\n\n{config}")
}

/// A site with one file, a quick config, and nothing applied yet.
fn quick_site(policies: &str) -> Site {
    let site = Site::with_files([("a", "one\n")]);
    site.repo().write("web/stack.yaml", format!("name: web\ntargets: local\n{policies}"));
    site.repo().commit("What the loop may do");
    site.world().write("tidelock.toml", quick("infra"));
    site
}

const APPLY: &str = "on_commit: apply\non_drift: apply\n";

fn status(site: &Site) -> Value {
    site.tidelock(["status", "--output", "json"]).run().ok().json()
}

fn lane_is(site: &Site, wanted: &str) -> bool {
    status(site)["lanes"][0]["status"] == wanted
}

fn happened(site: &Site, event: &str) -> usize {
    site.events().iter().filter(|stored| stored["event"] == event).count()
}

#[test]
fn left_alone_it_keeps_the_machine_the_way_git_says() {
    let site = quick_site(APPLY);
    let daemon = Daemon::start(&site);
    daemon.eventually("the first commit arrives", || site.on_machine("srv/a").as_deref() == Some("one\n"));
    site.repo().write("web/a.txt", "two\n");
    let commit = site.repo().commit("Two");
    daemon.eventually("the second commit arrives", || site.on_machine("srv/a").as_deref() == Some("two\n"));
    site.world().write("machine/srv/a", "by hand\n");
    daemon.eventually("the drift is undone", || site.on_machine("srv/a").as_deref() == Some("two\n"));
    daemon.eventually("it is converged", || lane_is(&site, "converged"));
    let blame = site.tidelock(["blame", "server.file/a"]).run().ok();
    let _ = blame.says("drift").says(&commit).says("asked by  timer");
    daemon.stop();
    assert_eq!((happened(&site, "loop-began"), happened(&site, "loop-ended")), (1, 1));
    site.converged();
}

#[test]
fn what_leaves_git_is_pruned_and_a_lane_that_is_looked_at_leaves_no_events() {
    let site = quick_site(APPLY);
    site.file("web", "b", "b\n");
    site.repo().commit("B");
    let daemon = Daemon::start(&site);
    daemon.eventually("b arrives", || site.on_machine("srv/b").is_some());
    site.repo().remove("web/b.yaml").remove("web/b.txt").commit("Without b");
    daemon.eventually("b is gone", || site.on_machine("srv/b").is_none());
    daemon.eventually("it is converged", || lane_is(&site, "converged"));
    let before = site.last_event();
    let passed = || passed(&site);
    let first = passed();
    daemon.eventually("ten looks were had", || passed() > first + 10);
    assert_eq!(site.last_event(), before, "{:?}", site.events().split_off(before.try_into().unwrap()));
    daemon.stop();
}

#[test]
fn drift_is_reported_or_asked_about_as_the_stack_says() {
    for (policy, wanted) in [("report", "drifted"), ("ask", "waiting")] {
        let site = quick_site(&format!("on_commit: apply\non_drift: {policy}\n"));
        let daemon = Daemon::start(&site);
        daemon
            .eventually("it is converged", || site.world().path("tidelock.db").exists() && lane_is(&site, "converged"));
        site.world().write("machine/srv/a", "by hand\n");
        daemon.eventually(&format!("the drift is seen and the lane is {wanted}"), || lane_is(&site, wanted));
        let told = site.last_event();
        let passed = || passed(&site);
        let first = passed();
        daemon.eventually("five more looks were had", || passed() > first + 5);
        assert_eq!(site.on_machine("srv/a").as_deref(), Some("by hand\n"), "{policy}");
        assert_eq!(site.last_event(), told, "{policy}: told once");
        daemon.stop();
    }
}

#[test]
fn first_contact_waits_for_a_person_and_goes_on_after_the_yes() {
    let site = quick_site(APPLY);
    let config = quick("infra").replace("accept_new = [\"local\"]\n\n", "");
    site.world().write("tidelock.toml", config);
    let daemon = Daemon::start(&site);
    daemon.eventually("it waits", || lane_is(&site, "waiting"));
    assert_eq!(site.on_machine("srv/a"), None);
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    site.repo().write("web/a.txt", "two\n").commit("Two");
    daemon.eventually("from then on it acts", || site.on_machine("srv/a").as_deref() == Some("two\n"));
    daemon.stop();
}

#[test]
fn a_bad_config_is_refused_and_a_good_one_counts() {
    let site = quick_site(APPLY);
    let daemon = Daemon::start(&site);
    daemon.eventually("the first commit arrives", || site.on_machine("srv/a").is_some());
    site.world().write("tidelock.toml", quick("infra").replace("[targets.local]", "[target.local]"));
    daemon.signal("HUP");
    daemon.eventually("it is refused", || daemon.log().contains("the new config was refused"));
    site.world().write("machine/srv/a", "by hand\n");
    daemon.eventually("the old one stays", || site.on_machine("srv/a").as_deref() == Some("one\n"));

    let other = quick("infra").replace("targets = [\"local\"]", "targets = [\"*\"]");
    let other = format!("{other}\n[targets.second]\ntype = \"machine\"\nroot = \"second\"\n");
    site.world().write("tidelock.toml", other.replace("accept_new = [\"local\"]", "accept_new = [\"*\"]"));
    site.world().write("second/etc/machine-id", "11111111111111111111111111111111\n");
    site.world().write("second/srv/.keep", "");
    daemon.signal("HUP");
    daemon.eventually("the config was read", || happened(&site, "config-read") == 1);
    site.repo().write("web/stack.yaml", format!("name: web\ntargets: \"*\"\n{APPLY}")).commit("On all targets");
    let second = site.world().path("second/srv/a");
    daemon.eventually("the second target is kept too", || fs::read_to_string(&second).is_ok_and(|it| it == "one\n"));
    assert_eq!(happened(&site, "config-refused"), 1);
    daemon.stop();
}

#[test]
fn the_daemon_is_alone_and_commands_work_beside_it() {
    let site = quick_site(APPLY);
    let daemon = Daemon::start(&site);
    daemon.eventually("the first commit arrives", || site.on_machine("srv/a").is_some());
    let _ = site.tidelock(["run"]).run().exit(1).says("a daemon runs on").says("one daemon looks after all lanes");
    for n in 0..5 {
        site.world().write("machine/srv/a", format!("by hand {n}\n"));
        site.apply();
        assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    }
    daemon.stop();
}

#[test]
fn after_a_kill_another_one_goes_on() {
    let site = quick_site(APPLY);
    let daemon = Daemon::start(&site);
    // A first contact that was cut short waits for a person: this one has ended.
    daemon.eventually("it is converged", || lane_is(&site, "converged"));
    daemon.kill();
    site.repo().write("web/a.txt", "two\n").commit("Two");
    let daemon = Daemon::start(&site);
    daemon.eventually("the second commit arrives", || site.on_machine("srv/a").as_deref() == Some("two\n"));
    daemon.stop();
}

#[test]
fn a_first_contact_that_was_cut_short_goes_on_though_git_has_moved() {
    let site = quick_site(APPLY);
    let script = "#!/bin/sh\ncd \"$TIDELOCK_ROOT/srv\"\ntouch started\n[ -e go ] || sleep 30\n";
    site.world().write("slow.sh", script);
    let script = site.world().path("slow.sh").display().to_string();
    let command = format!(
        "kind: server.command\nname: slow\nneeds: [server.file/a]\n\
         spec: {{ argv: [/bin/sh, {script:?}], creates: /srv/done, after_crash: repeat }}\n"
    );
    site.repo().write("web/slow.yaml", command).commit("A slow one");
    let config = site.world().read("tidelock.toml");
    let config = config.replacen("paths = [", &format!("exec = [[\"/bin/sh\", {script:?}]]\npaths = ["), 1);
    site.world().write("tidelock.toml", config);
    let daemon = Daemon::start(&site);
    daemon.eventually("the slow one runs", || site.machine("srv/started").exists());
    daemon.kill();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    site.world().write("machine/srv/go", "");
    site.repo().remove("web/slow.yaml").write("web/a.txt", "two\n").commit("Two");
    let daemon = Daemon::start(&site);
    daemon.eventually("the second commit arrives", || site.on_machine("srv/a").as_deref() == Some("two\n"));
    daemon.stop();
}

#[test]
fn with_git_away_the_last_revision_stays_in_force_also_after_a_restart() {
    let site = quick_site(APPLY);
    let server = GitHttp::serve(site.world().root());
    let url = format!("{}/infra/.git", server.url());
    site.world().write("tidelock.toml", quick(&url));
    let daemon = Daemon::start(&site);
    daemon.eventually("the first commit arrives", || site.on_machine("srv/a").is_some());
    drop(server);
    daemon.eventually("it says that Git is away", || happened(&site, "source-stale") == 1);
    let _ = site.tidelock(["status"]).run().ok().says("stale since");
    site.world().write("machine/srv/a", "by hand\n");
    daemon.eventually("drift is undone", || site.on_machine("srv/a").as_deref() == Some("one\n"));
    daemon.stop();

    site.world().write("machine/srv/a", "by hand again\n");
    let daemon = Daemon::start(&site);
    daemon.eventually("also after a restart", || site.on_machine("srv/a").as_deref() == Some("one\n"));
    assert_eq!(happened(&site, "source-stale"), 1, "told once");
    daemon.stop();
}

#[test]
fn the_socket_takes_lines_and_knows_who_asks() {
    let site = quick_site(APPLY);
    // Nothing happens by itself for an hour.
    let slow = quick("infra").replace("200ms", "1h");
    site.world().write("tidelock.toml", slow);
    let daemon = Daemon::start(&site);
    daemon.eventually("the first commit arrives", || site.on_machine("srv/a").is_some());
    site.repo().write("web/a.txt", "two\n").commit("Two");
    let answer = ask(&site, r#"{"verb":"poll","source":"infra"}"#);
    assert_eq!(answer["is"], "taken", "{answer}");
    daemon.eventually("the commit arrives at once", || site.on_machine("srv/a").as_deref() == Some("two\n"));
    site.world().write("machine/srv/a", "by hand\n");
    assert_eq!(ask(&site, r#"{"verb":"look","scope":{"target":"local"}}"#)["is"], "taken");
    daemon.eventually("the drift is undone", || site.on_machine("srv/a").as_deref() == Some("two\n"));

    for bad in ["", "{", "[]", r#"{"verb":"apply"}"#, r#"{"verb":"look","scope":{"stak":"web"}}"#, &"x".repeat(100_000)]
    {
        assert_eq!(ask(&site, bad)["is"], "refused", "{bad:.40}");
    }
    let me = String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let asked = site.events().into_iter().find(|event| event["event"] == "asked").expect("it is recorded");
    assert_eq!(asked["who"], me.trim());
    daemon.stop();
    assert!(!site.world().path("tidelock.sock").exists(), "the socket's file goes with it");
}

#[test]
fn systemd_hears_that_it_is_ready_alive_and_about_to_stop() {
    let site = quick_site(APPLY);
    let path = site.world().path("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let daemon = Daemon::start_with(&site, &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let hears = |wanted: &str| {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while !heard.iter().any(|line: &String| line.contains(wanted)) {
            let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}; heard {heard:?}"));
            heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    };
    hears("READY=1");
    hears("WATCHDOG=1");
    daemon.signal("HUP");
    hears("RELOADING=1");
    hears("READY=1");
    daemon.signal("TERM");
    hears("STOPPING=1");
    let mut daemon = daemon;
    assert_eq!(daemon.ended().code(), Some(0), "{}", daemon.log());
}

/// A command that says that it runs, and ends when it may.
const SCRIPT: &str =
    "#!/bin/sh\ncd \"$TIDELOCK_ROOT/srv\"\ntouch started\nwhile [ ! -e go ]; do sleep 0.02; done\ntouch done\n";

/// A daemon in the middle of a command, with a file to write after it.
fn in_the_middle() -> (Site, Daemon) {
    let site = quick_site(APPLY);
    site.world().write("slow.sh", SCRIPT);
    let script = site.world().path("slow.sh").display().to_string();
    let command = format!(
        "kind: server.command\nname: slow\nspec: {{ argv: [/bin/sh, {script:?}], creates: /srv/done, after_crash: ask }}\n"
    );
    let after =
        "kind: server.file\nname: after\nneeds: [server.command/slow]\nspec: { path: /srv/after, content: b }\n";
    site.repo().write("web/slow.yaml", command).write("web/after.yaml", after).commit("A slow command");
    site.world().write("tidelock.toml", format!("{}exec = [[\"/bin/sh\", {script:?}]]\n", quick("infra")));
    let daemon = Daemon::start(&site);
    daemon.eventually("the command runs", || site.machine("srv/started").exists());
    (site, daemon)
}

#[test]
fn the_first_signal_ends_what_is_in_hand_and_the_next_start_goes_on() {
    let (site, mut daemon) = in_the_middle();
    daemon.signal("TERM");
    daemon.eventually("it has heard", || daemon.log().contains("told to end"));
    site.world().write("machine/srv/go", "");
    assert_eq!(daemon.ended().code(), Some(0), "{}", daemon.log());
    assert!(site.machine("srv/done").exists() && !site.machine("srv/after").exists());
    let daemon = Daemon::start(&site);
    daemon.eventually("the rest is done", || site.machine("srv/after").exists());
    daemon.stop();
    site.converged();
}

#[test]
fn the_second_signal_leaves_at_once_and_what_was_under_way_waits_for_a_word() {
    let (site, mut daemon) = in_the_middle();
    daemon.signal("TERM");
    daemon.eventually("it has heard", || daemon.log().contains("told to end"));
    daemon.signal("TERM");
    assert_eq!(daemon.ended().code(), Some(1), "{}", daemon.log());
    site.world().write("machine/srv/go", "");
    eventually("the command that was left alone ends", || site.machine("srv/done").exists());
    let daemon = Daemon::start(&site);
    daemon.eventually("it says what is in doubt", || {
        site.tidelock(["status"]).run().ok().stdout.contains("resolve")
            || site.tidelock(["plan"]).run().stdout.contains("tidelock resolve")
    });
    site.tidelock(["resolve", "server.command/slow", "done"]).run().ok();
    daemon.eventually("the rest is done", || site.machine("srv/after").exists());
    daemon.stop();
}
