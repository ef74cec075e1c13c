//! A running daemon, and waiting for what it does.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use std::io::{BufRead, BufReader, Write};

use serde_json::Value;

use crate::environment::TestEnvironment;
use crate::site::Site;

/// How long anything may take to come about: an upper bound for machines that are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// `tidelock run`, killed when this is dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts one in the site's folder and waits until its first turn has been.
    #[must_use]
    pub fn start(site: &Site) -> Self {
        Self::start_with(site, &[])
    }

    /// Starts one in a folder that is no site, but holds a `tidelock.toml`.
    #[must_use]
    pub fn start_in(world: &TestEnvironment) -> Self {
        Self::start_there(world, &[])
    }

    /// The same with variables of its environment.
    #[must_use]
    pub fn start_with(site: &Site, env: &[(&str, &str)]) -> Self {
        Self::start_there(site.world(), env)
    }

    /// Starts one and waits until its first look has been, and with it the watches.
    #[must_use]
    pub fn watching(site: &Site) -> Self {
        let daemon = Self::start(site);
        daemon.eventually("it has looked", || passed(site) > 0);
        daemon
    }

    fn start_there(world: &TestEnvironment, env: &[(&str, &str)]) -> Self {
        let log = world.path("daemon.log");
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        let mut call = world.tidelock(["run"]);
        for (name, value) in env {
            call = call.env(name, value);
        }
        let child = call.spawn_with(Stdio::null(), Stdio::from(file));
        let mut daemon = Self { child, log };
        let socket = world.path("tidelock.sock");
        let deadline = Instant::now() + PATIENCE;
        // The file alone may be what a killed daemon left.
        while UnixStream::connect(&socket).is_err() {
            if let Some(ended) = daemon.child.try_wait().expect("its state") {
                panic!("the daemon ended at once ({ended}):\n{}", daemon.log());
            }
            assert!(Instant::now() < deadline, "the daemon opens no socket:\n{}", daemon.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "no signal {name} could be sent");
    }

    /// Where it listens for HTTP, as its log says.
    ///
    /// # Panics
    /// It does not.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        let log = self.log();
        let line = log.lines().rev().find_map(|line| line.split_once("HTTP on "));
        let (_, at) = line.unwrap_or_else(|| panic!("it listens nowhere:\n{log}"));
        at.trim().parse().unwrap_or_else(|error| panic!("{error}: {at}"))
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it logged, and every daemon before it in this site.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(ended) = self.child.try_wait().expect("its state") {
                return ended;
            }
            assert!(Instant::now() < deadline, "the daemon does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it as it should be ended.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal("TERM");
        let ended = self.ended();
        assert_eq!(ended.code(), Some(0), "{}", self.log());
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("kill -9");
        self.child.wait().expect("its end");
    }

    /// Waits until something holds; tells the daemon's log where it never does.
    #[track_caller]
    pub fn eventually(&self, what: &str, holds: impl FnMut() -> bool) {
        if !wait(holds) {
            panic!("it never came about that {what}\n--- the daemon's log\n{}", self.log());
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until something holds.
#[track_caller]
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    assert!(wait(holds), "it never came about that {what}");
}

fn wait(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Passes of a daemon that have ended.
#[must_use]
pub fn passed(site: &Site) -> u64 {
    ask(site, r#"{"verb":"pulse"}"#)["passed"].as_u64().expect("a number of passes")
}

/// Says a line on a daemon's socket, and gives what it answers.
#[must_use]
pub fn ask(site: &Site, line: &str) -> Value {
    let mut stream = UnixStream::connect(site.world().path("tidelock.sock")).expect("the socket");
    // A line that is too long may be answered before all of it is written.
    drop(writeln!(stream, "{line}"));
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("an answer");
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}
