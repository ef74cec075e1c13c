//! Network namespaces of a test's own: machines whose network may be broken. They go with
//! the test, and nothing in them reaches the network of the system.

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A namespace.
pub struct Netns {
    name: String,
}

impl Netns {
    /// A new one; `lo` is switched on.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it changes the system, which nobody expects of a default")]
    pub fn new() -> Self {
        let name = format!("tle{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        done(Command::new("ip").args(["netns", "add", &name]));
        let space = Self { name };
        space.ip("link set lo up");
        space
    }

    /// Its name, as `netns` of a target.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip` in it, with words that have no spaces. Gives what it prints.
    #[track_caller]
    pub fn ip(&self, words: &str) -> String {
        done(Command::new("ip").args(["-n", &self.name]).args(words.split_whitespace()))
    }

    /// A program in it, ended well. Gives what it prints.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        done(&mut self.command(words))
    }

    /// `nft` in it, with commands on its input.
    #[track_caller]
    pub fn nft(&self, commands: &str) -> String {
        self.run(&["nft", commands])
    }

    /// How a program in it ends.
    #[must_use]
    pub fn ended(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// A program in it, to be started.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(words).stdin(Stdio::null());
        command
    }

    /// Lays a cable to another machine: a link of one name here, of another there.
    pub fn cable(&self, here: &str, other: &Netns, there: &str) {
        let words =
            ["link", "add", here, "netns", &self.name, "type", "veth", "peer", "name", there, "netns", &other.name];
        done(Command::new("ip").args(words));
    }

    /// Whether an address answers one ping within a second.
    #[must_use]
    pub fn pings(&self, address: &str) -> bool {
        self.ended(&["ping", "-c1", "-W1", address]).status.success()
    }

    /// What is there, for comparisons: links, addresses, routes, rules and tables, without
    /// counters and times.
    #[must_use]
    pub fn picture(&self) -> String {
        let mut out = String::new();
        for words in ["-br link", "-br address", "route show table all", "-6 route show table all", "rule"] {
            let mut lines: Vec<String> = self
                .ip(words)
                .lines()
                .filter(|line| !line.contains("fe80::") && !line.contains("ff00::"))
                // Whether a bridge counts as up is the kernel's opinion, some moments later.
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").replace(" UNKNOWN ", " UP "))
                .collect();
            // The kernel's own routes to its own addresses come and go with those.
            lines.retain(|line| !line.contains("table local"));
            lines.sort();
            out.push_str(&format!("{words}\n  {}\n", lines.join("\n  ")));
        }
        out + &self.run(&["nft", "-s", "list", "ruleset"])
    }

    /// Waits until something holds, and says how long that took.
    ///
    /// # Panics
    /// It does not within `within`.
    #[track_caller]
    pub fn wait(&self, what: &str, within: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let since = Instant::now();
        while !holds(self) {
            assert!(since.elapsed() < within, "{what}: not within {within:?}\n{}", self.picture());
            std::thread::sleep(Duration::from_millis(20));
        }
        since.elapsed()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

#[track_caller]
fn done(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}
