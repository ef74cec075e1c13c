//! Ctrl-C and SIGTERM of a one-shot apply: the first ends what is in hand and records it,
//! the second leaves at once.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command};

use tidelock_tests::daemon::eventually;
use tidelock_tests::git_http::Answer;
use tidelock_tests::{GitHttp, Site, site};

/// A command that says that it runs, and ends when it may.
const SCRIPT: &str = "#!/bin/sh\ncd \"$TIDELOCK_ROOT/srv\"\necho ran >> runs\ntouch started\nwhile [ ! -e go ]; do sleep 0.02; done\ntouch done\n";
const COMMAND: &str =
    "kind: server.command\nname: slow\nspec: { argv: [/bin/sh, SCRIPT], creates: /srv/done, after_crash: ask }\n";
const BEFORE: &str = "kind: server.file\nname: before\nspec: { path: /srv/before, content: a }\n";
const AFTER: &str =
    "kind: server.file\nname: after\nneeds: [server.command/slow]\nspec: { path: /srv/after, content: b }\n";

/// A site whose apply waits in the middle.
fn slow() -> Site {
    let site = Site::new();
    site.stack("web");
    site.world().write("slow.sh", SCRIPT);
    let script = site.world().path("slow.sh").display().to_string();
    let repo = site.repo();
    repo.write("web/before.yaml", BEFORE).write("web/after.yaml", AFTER);
    repo.write("web/slow.yaml", COMMAND.replace("SCRIPT", &script)).commit("A slow command between two files");
    let config = format!("{}exec = [[\"/bin/sh\", {script:?}]]\n", site::config("infra"));
    site.world().write("tidelock.toml", config);
    site
}

/// An apply that is in the middle of its command.
fn in_the_middle(site: &Site) -> Child {
    let child = site.tidelock(["apply", "--yes"]).spawn();
    eventually("the command runs", || site.machine("srv/started").exists());
    child
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

/// Waits until the process has said that it is about to end.
fn has_heard(child: &mut Child) -> BufReader<std::process::ChildStderr> {
    let mut stderr = BufReader::new(child.stderr.take().expect("standard error"));
    let mut line = String::new();
    while !line.contains("Once more leaves at once") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).expect("a line"), 0, "it ended without a word");
    }
    stderr
}

#[test]
fn the_first_signal_ends_what_is_in_hand_and_records_it() {
    for name in ["INT", "TERM"] {
        let site = slow();
        let mut child = in_the_middle(&site);
        signal(&child, name);
        let _stderr = has_heard(&mut child);
        site.world().write("machine/srv/go", "");
        assert_eq!(child.wait().expect("its end").code(), Some(4), "{name}");

        assert!(site.machine("srv/done").exists(), "the command was let end");
        assert_eq!(site.on_machine("srv/after"), None, "nothing further was begun");
        let history = site.tidelock(["history", "--output", "json"]).run().ok().json();
        let line = |name: &str| {
            let lines = history["history"].as_array().expect("lines");
            let line = lines.iter().find(|line| line["address"].to_string().contains(name));
            line.map(|line| line["end"].to_string())
        };
        assert_eq!(line("server.command/slow").as_deref(), Some("\"done\""), "{history}");
        site.tidelock(["status"]).run().ok().says("ended early");

        site.apply();
        assert_eq!(site.on_machine("srv/after").as_deref(), Some("b"));
        assert_eq!(site.on_machine("srv/runs").as_deref(), Some("ran\n"), "what was done is not done again");
        site.converged();
    }
}

#[test]
fn the_second_signal_leaves_at_once_and_the_next_run_says_what_is_in_doubt() {
    let site = slow();
    let mut child = in_the_middle(&site);
    signal(&child, "INT");
    let _stderr = has_heard(&mut child);
    signal(&child, "TERM");
    assert_eq!(child.wait().expect("its end").code(), Some(128 + 15));
    site.world().write("machine/srv/go", "");
    eventually("the command that was left alone ends", || site.machine("srv/done").exists());
    site.tidelock(["plan"]).run().says("tidelock resolve");
}

#[test]
fn before_anything_is_begun_a_signal_ends_it_at_once() {
    let site = slow();
    let server = GitHttp::serve(site.world().root());
    server.answer(Answer::Stall(10));
    let url = format!("{}/infra/.git", server.url().trim_end_matches('/'));
    site.world().write("tidelock.toml", site::config(&url));
    let mut child = site.tidelock(["apply", "--yes"]).spawn();
    eventually("the server sends a pack and stops", || server.packs() > 0);
    signal(&child, "INT");
    assert_eq!(child.wait().expect("its end").code(), Some(128 + 2));
    assert_eq!(site.on_machine("srv/before"), None);
}
