//! `apply` at a terminal: it asks, and only a yes is a yes. Without a terminal nobody
//! answers, and what it waits for is kept.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tidelock_tests::tidelock::binary;
use tidelock_tests::{Daemon, Site, environment::hermetic};

/// `apply` at a terminal that `script` makes.
fn at_terminal(site: &Site) -> Child {
    let line = format!("{} apply", binary().display());
    let mut command = Command::new("script");
    hermetic(&mut command, &site.world().path("home")).current_dir(site.world().root());
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("script runs, from util-linux")
}

/// The same with an answer typed in: its exit code, and all that was shown.
fn asked(site: &Site, answer: &str) -> (i32, String) {
    let mut child = at_terminal(site);
    // A terminal keeps what is typed until somebody reads it.
    child.stdin.take().expect("a standard input").write_all(answer.as_bytes()).expect("an answer");
    let output = child.wait_with_output().expect("what was shown");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn only_a_yes_is_a_yes() {
    let site = Site::with_files([("a", "one\n")]);
    for no in ["n\n", "\n", "yess\n", "\u{4}"] {
        let (code, shown) = asked(&site, no);
        assert_eq!(code, 5, "{no:?}: {shown}");
        assert!(shown.contains("server.file/a") && shown.contains("Apply 1 effect? [y/N]"), "{no:?}: {shown}");
        assert_eq!(site.on_machine("srv/a"), None, "{no:?}");
    }
    let (code, shown) = asked(&site, "y\n");
    assert_eq!(code, 0, "{shown}");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    let blame = site.tidelock(["history", "--output", "json"]).run().ok().json();
    assert_eq!(blame["history"].as_array().map(Vec::len), Some(1), "{blame:#}");
    site.converged();
}

#[test]
fn a_plan_may_be_read_for_longer_than_a_lease_lasts_beside_a_daemon() {
    let site = Site::with_files([("a", "one\n")]);
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", format!("[store]\nlease = \"3s\"\n\n{config}"));
    let mut child = at_terminal(&site);
    let (mut shown, mut byte) = (Vec::new(), [0]);
    let mut terminal = child.stdout.take().expect("a standard output");
    while !shown.ends_with(b"[y/N]") {
        assert_eq!(terminal.read(&mut byte).expect("what is shown"), 1, "{}", String::from_utf8_lossy(&shown));
        shown.extend(byte);
    }
    // It wants to look at what was never applied, again and again.
    let daemon = Daemon::start(&site);
    std::thread::sleep(Duration::from_secs(8));
    child.stdin.take().expect("a standard input").write_all(b"y\n").expect("an answer");
    terminal.read_to_end(&mut shown).expect("the rest");
    assert!(child.wait().expect("its end").success(), "{}\n{}", String::from_utf8_lossy(&shown), daemon.log());
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
    daemon.stop();
}

#[test]
fn an_apply_that_nobody_answers_waits_and_status_says_for_what() {
    let site = Site::with_files([("a", "one\n")]);
    let _ = site.tidelock(["apply"]).run().exit(5).says("this waits for a yes").says("apply --yes");
    assert_eq!(site.on_machine("srv/a"), None);
    let status = site.tidelock(["status", "--output", "json"]).run().ok().json();
    assert_eq!(status["lanes"][0]["status"], "waiting", "{status:#}");
    assert!(status["lanes"][0]["why"].as_str().unwrap_or_default().contains("never applied"), "{status:#}");
    let _ = site.tidelock(["status"]).run().ok().says("waiting").says("never applied");
}
