//! Many machines and one stack: what a daemon takes for a commit to all of them, and for nothing.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidelock_tests::environment::hermetic;

use super::Yard;
use super::table::Table;

/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often the machines are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How long idling is measured.
const IDLE: Duration = Duration::from_secs(60);

/// Ticks of processor time in a second, as `/proc` counts them on Linux.
const TICKS: f64 = 100.0;

/// Measures a first commit, one that changes every machine, and idling.
pub(super) fn fleet(yard: &Yard, machines: usize, table: &mut Table) -> Result<()> {
    let mut config = String::from(
        "accept_new = [\"*\"]\n\n[sources.infra]\nurl = \"infra\"\n\n[[sources.infra.allow]]\ntargets = [\"t*\"]\n\
         kinds = [\"server.*\"]\n\n[grants.server]\ntargets = [\"t*\"]\npaths = [\"/srv/**\"]\n",
    );
    for number in 0..machines {
        config.push_str(&format!("\n[targets.t{number:04}]\ntype = \"machine\"\nroot = \"m/{number:04}\"\n"));
        for folder in ["etc", "srv"] {
            fs::create_dir_all(yard.path(&format!("m/{number:04}/{folder}")))?;
        }
        fs::write(yard.path(&format!("m/{number:04}/etc/machine-id")), format!("{number:032x}\n"))?;
    }
    fs::write(yard.path("tidelock.toml"), config)?;
    let stack = "name: web\ntargets: \"t*\"\non_commit: apply\non_drift: apply\nrollout: { first: 100% }\n";
    yard.repo.write("web/stack.yaml", stack).commit("All of them at once");

    let mut daemon = Daemon::start(yard)?;
    let what = |what: &str| format!("{machines} machines x one stack, {what}");
    let first = daemon.until(yard, machines, "file 0")?;
    table.under(&what("first contact (wall)"), first.0, "s", None);
    yard.repo.write("web/f00000.txt", "changed\n").commit("One file on all of them");
    daemon.say(yard, r#"{"verb":"poll","source":"infra"}"#)?;
    let (wall, cpu) = daemon.until(yard, machines, "changed")?;
    table.under(&what("a commit on all (wall)"), wall, "s", Some(25.0));
    table.under(&what("a commit on all (CPU)"), cpu, "s", None);
    table.under(&what("peak memory"), daemon.memory("VmHWM:")?, "MiB", Some(200.0));
    let before = daemon.cpu()?;
    std::thread::sleep(IDLE);
    let idle = (daemon.cpu()? - before) / IDLE.as_secs_f64() * 100.0;
    table.under(&what("idle"), idle, "% of a core", Some(1.0));
    table.under(&what("resident while idle"), daemon.memory("VmRSS:")?, "MiB", Some(150.0));
    Ok(())
}

/// A running daemon, killed when this is dropped.
struct Daemon {
    child: Child,
}

impl Daemon {
    fn start(yard: &Yard) -> Result<Self> {
        let mut command = Command::new(&yard.binary);
        hermetic(&mut command, yard.folder.path()).current_dir(yard.folder.path()).arg("run");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(yard.path("daemon.log"))?);
        let daemon = Self { child: command.spawn().context("cannot start the daemon")? };
        let began = Instant::now();
        while daemon.say(yard, r#"{"verb":"pulse"}"#).is_err() {
            ensure!(
                began.elapsed() < PATIENCE,
                "it does not listen:\n{}",
                fs::read_to_string(yard.path("daemon.log"))?
            );
            std::thread::sleep(LOOK);
        }
        Ok(daemon)
    }

    /// Waits until every machine's first file begins so and no pass is under way: the time on the wall
    /// and of processors, in seconds.
    fn until(&mut self, yard: &Yard, machines: usize, begins: &str) -> Result<(f64, f64)> {
        let (began, before) = (Instant::now(), self.cpu()?);
        let mut left: Vec<usize> = (0..machines).collect();
        loop {
            left.retain(|number| {
                let text = fs::read_to_string(yard.path(&format!("m/{number:04}/srv/f00000"))).unwrap_or_default();
                !text.starts_with(begins)
            });
            if left.is_empty() && self.say(yard, r#"{"verb":"pulse"}"#)?["passes"] == 0 {
                return Ok((began.elapsed().as_secs_f64(), self.cpu()? - before));
            }
            ensure!(
                self.child.try_wait()?.is_none(),
                "the daemon ended:\n{}",
                fs::read_to_string(yard.path("daemon.log"))?
            );
            ensure!(began.elapsed() < PATIENCE, "{} machines never got there", left.len());
            std::thread::sleep(LOOK);
        }
    }

    fn say(&self, yard: &Yard, line: &str) -> Result<Value> {
        let mut stream = UnixStream::connect(yard.path("tidelock.sock")).context("the daemon's socket")?;
        writeln!(stream, "{line}")?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        serde_json::from_str(&answer).context("the daemon's answer")
    }

    /// Time of processors so far, in seconds.
    fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, which may hold anything, ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("no times in /proc");
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    }

    /// A size from its status, in MiB.
    fn memory(&self, name: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no sizes in /proc")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
