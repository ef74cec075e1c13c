//! Following events, and who is behind a change, on the real binary.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use tidelock_tests::daemon::eventually;
use tidelock_tests::{Site, site};

/// `events --follow`, and the lines that it writes.
struct Following {
    child: Child,
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl Following {
    fn start(site: &Site, words: &[&str]) -> Self {
        let mut child = site.tidelock(["events", "--follow"].iter().chain(words)).spawn();
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            out.lines().map_while(Result::ok).for_each(|line| kept.lock().expect("the lines").push_back(line));
        });
        Self { child, lines, reader }
    }

    #[track_caller]
    fn line(&self) -> String {
        let mut line = None;
        eventually("there is a line", || {
            line = self.lines.lock().expect("the lines").pop_front();
            line.is_some()
        });
        line.expect("a line")
    }

    #[track_caller]
    fn number(&self) -> u64 {
        let line = self.line();
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        event["seq"].as_u64().unwrap_or_else(|| panic!("{line}"))
    }

    /// Ends it by a signal, as a person would.
    #[track_caller]
    fn end(mut self) -> Vec<String> {
        assert!(Command::new("kill").args(["-s", "INT", &self.child.id().to_string()]).status().unwrap().success());
        assert_eq!(self.child.wait().expect("its end").code(), Some(0));
        self.reader.join().expect("its reader");
        self.lines.lock().expect("the lines").drain(..).collect()
    }
}

#[test]
fn each_event_is_followed_once_and_in_order() {
    let site = Site::with_files([("a", "one\n")]);
    // Before there is a store.
    let all = Following::start(&site, &["--output", "json"]);
    site.apply();
    assert_eq!(all.number(), 1);
    let web = Following::start(&site, &["--stack", "web", "-n", "0"]);
    let none = Following::start(&site, &["--stack", "db", "--output", "json"]);
    for contents in ["two\n", "three\n", "four\n"] {
        site.repo().write("web/a.txt", contents).commit(contents);
        site.apply();
    }
    let last = site.last_event();
    for seq in 2..=last {
        assert_eq!(all.number(), seq);
    }
    let mut said = String::new();
    while !said.contains("ended done: 1 done") {
        said.push_str(&web.line());
        said.push('\n');
    }
    assert!(said.lines().all(|line| line.contains("infra:web@local")), "{said}");
    assert!(said.contains("done: update server.file/a"), "{said}");
    assert_eq!(all.end(), Vec::<String>::new());
    assert_eq!(none.end(), Vec::<String>::new());
    web.end();
}

#[test]
fn another_store_in_its_place_is_not_followed_in_silence() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    let mut following = Following::start(&site, &["--output", "json"]);
    following.number();
    for file in ["tidelock.db", "tidelock.db-wal", "tidelock.db-shm"] {
        drop(std::fs::remove_file(site.world().path(file)));
    }
    assert_eq!(following.child.wait().expect("its end").code(), Some(1));
}

#[test]
fn who_is_behind_a_change_is_known_in_full() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    let key = site.world().key("ada");
    site.world().write("allowed_signers", key.allowed_signer("ada@example.com"));
    let signed = "url = \"infra\"\nverify = { signers = \"allowed_signers\" }";
    let config = site::config("infra").replace("url = \"infra\"", signed);
    site.world().write("tidelock.toml", format!("{config}\n[[gate]]\napprovals = 1\napprovers = [\"root\"]\n"));
    site.repo().write("web/a.txt", "two\n");
    let commit = site.repo().commit_signed("Two", &key);
    let _ = site.tidelock(["plan"]).run().ok();
    site.tidelock(["approve", "--yes"]).run().ok();
    site.apply();

    let json = site.tidelock(["history", "a", "-n", "1", "--output", "json"]).run().ok().json();
    let line = &json["history"][0];
    let run = line["run"].as_str().expect("a run").to_owned();
    let wanted = [
        ("revision", commit.as_str()),
        ("author", "Ada Lovelace <ada@example.com>"),
        ("signer", "ada@example.com"),
        ("who", "root"),
        ("approver", "root"),
        ("cause", "revision"),
        ("action", "update"),
        ("end", "done"),
    ];
    for (field, value) in wanted {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    assert!(line["plugin"].as_str().is_some_and(|plugin| plugin.contains("sha256:")), "{line}");
    let mut said = site.tidelock(["history"]).run().ok();
    for text in [&commit[..12], "Ada Lovelace", "SIGNER", "ada@example.com", "ASKED BY", "APPROVED BY", &run] {
        said = said.says(text);
    }
    let mut said = site.tidelock(["blame", "server.file/a"]).run().ok();
    for text in [commit.as_str(), "signed by ada@example.com", "Ada Lovelace", "asked by", "approved", "revision", &run]
    {
        said = said.says(text);
    }
}
