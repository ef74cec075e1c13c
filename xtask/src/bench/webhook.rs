//! From a webhook to what it brought: how long a commit takes to a machine once its forge
//! has said that somebody has pushed.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tidelock_tests::GitHttp;
use tidelock_tests::environment::hermetic;
use tidelock_tests::http::ask;

use super::table::Table;
use super::{Yard, millis};

/// Pushes that are measured: enough for a hundredth.
const PUSHES: usize = 100;

/// Pushes in a row that a source is surely woken for, and the time that each further one waits: it is
/// woken once a second then.
const BURST: usize = 25;
const PACE: Duration = Duration::from_millis(1_100);

/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the machine is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// Measures pushes to one small lane of a daemon that asks a Git server over HTTP, and does
/// nothing by itself for a day.
pub(super) fn webhook(yard: &Yard, table: &mut Table) -> Result<()> {
    let server = GitHttp::serve(yard.folder.path());
    let url = format!("{}/infra/.git", server.url());
    let given = format!("url = {url:?}\n");
    let config = tidelock_tests::site::config(&url).replacen(&given, &format!("{given}poll = \"24h\"\n"), 1);
    let config = config.replacen("root = \"machine\"\n", "root = \"machine\"\ndrift_every = \"24h\"\n", 1);
    let http = "[http]\nlisten = \"127.0.0.1:0\"\n\n[sources.infra.webhook]\n";
    fs::write(yard.path("tidelock.toml"), format!("{config}\n{http}"))?;
    yard.tidelock(&["apply", "--yes"])?;
    let daemon = Daemon::start(yard)?;
    let file = yard.path("machine/srv/f00001");
    let mut taken = Vec::new();
    for number in 0..PUSHES {
        // Before the commit: of one that had to wait, the time would count from nothing.
        if number >= BURST {
            std::thread::sleep(PACE);
        }
        let text = format!("push {number}\n");
        yard.repo.write("web/f00001.txt", &text).commit("A push");
        taken.push(pushed(daemon.at, &file, &text)?);
    }
    taken.sort();
    let part = |hundredths: usize| millis(taken[(taken.len() * hundredths).div_ceil(100) - 1]);
    table.under("a webhook to its commit applied on one small lane, p50 (wall)", part(50), "ms", Some(250.0));
    table.under("a webhook to its commit applied on one small lane, p99 (wall)", part(99), "ms", Some(1_000.0));
    Ok(())
}

/// Posts, and waits for the file.
fn pushed(at: SocketAddr, file: &Path, text: &str) -> Result<Duration> {
    let begun = Instant::now();
    let answered = ask(at, "POST", "/webhook/infra", &[], "");
    ensure!(answered.status == 202, "the webhook was not taken: {answered:?}");
    while fs::read_to_string(file).ok().as_deref() != Some(text) {
        ensure!(begun.elapsed() < PATIENCE, "the push does not arrive");
        std::thread::sleep(LOOK);
    }
    Ok(begun.elapsed())
}

/// A running daemon whose config has `[http] listen`, killed when this is dropped.
pub(super) struct Daemon {
    child: Child,
    at: SocketAddr,
}

impl Daemon {
    pub(super) fn start(yard: &Yard) -> Result<Self> {
        let log = yard.path("daemon.log");
        let mut command = Command::new(&yard.binary);
        hermetic(&mut command, yard.folder.path()).current_dir(yard.folder.path()).arg("run");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let mut child = command.spawn().context("cannot start the daemon")?;
        let begun = Instant::now();
        loop {
            let said = fs::read_to_string(&log)?;
            let line = said.lines().find_map(|line| line.split_once("HTTP on "));
            if let Some(at) = line.and_then(|(_, at)| at.trim().parse().ok()) {
                return Ok(Self { child, at });
            }
            if begun.elapsed() > PATIENCE || child.try_wait()?.is_some() {
                // It may have ended by itself.
                drop(child.kill());
                bail!("the daemon does not listen:\n{said}");
            }
            std::thread::sleep(LOOK);
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
