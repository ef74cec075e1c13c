//! Files that a daemon watches: drift is healed at once, however seldom it looks, and who
//! writes all the time does not keep it busy.

use std::fs;
use std::time::{Duration, Instant};

use tidelock_tests::daemon::{ask, passed};
use tidelock_tests::{Daemon, Site, site};

/// A site that is looked at once an hour, all applied.
fn seldom(policies: &str, daemon: &str) -> Site {
    let site = Site::with_files([("a", "one\n"), ("b", "one\n")]);
    let config =
        site::config("infra").replacen("root = \"machine\"\n", "root = \"machine\"\ndrift_every = \"1h\"\n", 1);
    site.world().write("tidelock.toml", format!("{config}\n{daemon}"));
    site.repo()
        .write("web/stack.yaml", format!("name: web\ntargets: local\n{policies}"))
        .commit("What the loop may do");
    site.apply();
    site
}

/// How long it takes until a file is as Git says again.
fn healed(daemon: &Daemon, site: &Site, drift: impl FnOnce()) -> Duration {
    let began = Instant::now();
    drift();
    daemon.eventually("the drift is undone", || {
        let seen = |name: &str| site.on_machine(name).as_deref() == Some("one\n");
        seen("srv/a") && seen("srv/b")
    });
    began.elapsed()
}

const HEAL: &str = "on_commit: apply\non_drift: apply\n";

#[test]
fn drift_is_healed_at_once_however_seldom_it_looks() {
    let site = seldom(HEAL, "");
    let daemon = Daemon::watching(&site);
    let mut took = Vec::new();
    took.push(healed(&daemon, &site, || fs::write(site.machine("srv/a"), "by hand\n").unwrap()));
    took.push(healed(&daemon, &site, || fs::remove_file(site.machine("srv/b")).unwrap()));
    took.push(healed(&daemon, &site, || {
        fs::write(site.machine("srv/.new"), "renamed over\n").unwrap();
        fs::rename(site.machine("srv/.new"), site.machine("srv/a")).unwrap();
    }));
    // On a quiet machine it is some 50 ms; others may be building beside it.
    took.sort();
    assert!(took[0] < Duration::from_secs(2), "{took:?}");
    daemon.stop();
}

#[test]
fn a_file_that_is_written_all_the_time_is_looked_at_now_and_then() {
    let site = seldom("on_commit: apply\non_drift: report\n", "");
    let daemon = Daemon::watching(&site);
    let before = passed(&site);
    let began = Instant::now();
    let mut writes = 0;
    while began.elapsed() < Duration::from_secs(4) {
        fs::write(site.machine("srv/a"), format!("{writes}\n")).unwrap();
        writes += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    let looks = passed(&site) - before;
    // A rest of a tenth of a second between two, and after some dozens far longer ones.
    let most = 2 + began.elapsed().as_millis() as u64 / 100;
    assert!((1..=most).contains(&looks), "{looks} looks for {writes} writes");
    // What nobody asked it to keep is nobody's business.
    let before = passed(&site);
    for n in 0..50 {
        fs::write(site.machine("srv/other"), format!("{n}\n")).unwrap();
    }
    fs::write(site.world().path("machine/etc/hostname"), "x\n").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(passed(&site) - before <= 1, "one may have been due");
    daemon.stop();
}

#[test]
fn what_it_writes_itself_does_not_wake_it() {
    let site = seldom(HEAL, "");
    let daemon = Daemon::watching(&site);
    let before = passed(&site);
    site.repo().write("web/a.txt", "two\n").commit("Two");
    let _ = ask(&site, r#"{"verb":"poll","source":"infra"}"#);
    daemon.eventually("the commit arrives", || site.on_machine("srv/a").as_deref() == Some("two\n"));
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(passed(&site) - before, 1, "the pass that wrote, and none after it");
    daemon.stop();
}

#[test]
fn that_not_everything_can_be_watched_is_said_once() {
    let site = seldom(HEAL, "[daemon]\nwatches = 1\n");
    let file = "kind: server.file\nname: c\nspec: { path: /srv/deep/c, content: one, parents: true }\n";
    site.repo().write("web/c.yaml", file).commit("A file elsewhere");
    site.apply();
    let daemon = Daemon::watching(&site);
    daemon.eventually("it says so once", || daemon.log().matches("not everything can be watched").count() == 1);
    let _ = site.tidelock(["status", "--detailed-exitcode"]).run().ok();
    daemon.stop();
}
