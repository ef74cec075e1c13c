//! Running a program of the system that speaks with its kernel, in the namespace of the thread
//! that asks: an absolute path, an environment of our own, input and output through pipes, and
//! a time limit.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tidelock_model::error::{Fault, tame};
use tidelock_model::secret::SecretValue;

use super::fault;

/// A large ruleset takes a second; this ends what does not end.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most that is read of what it prints.
const OUTPUT: u64 = 64 << 20;
/// Bytes of its complaints that a fault quotes.
const QUOTED: usize = 1500;

/// A program, and where it comes from.
pub(super) struct Program {
    /// Its name.
    pub(super) name: &'static str,
    /// Where it may be.
    pub(super) paths: &'static [&'static str],
    /// The package that has it.
    pub(super) package: &'static str,
}

/// How it ended.
pub(super) struct Ended {
    pub(super) success: bool,
    /// What it printed, which may hold keys.
    pub(super) stdout: SecretValue,
    pub(super) stderr: String,
}

impl Ended {
    /// What it printed.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.stdout.reveal()).into_owned()
    }
}

impl Program {
    /// Runs it with words and an input.
    ///
    /// # Errors
    /// It is not there; it takes too long.
    pub(super) fn run(&self, words: &[&str], input: &[u8]) -> Result<Ended, Fault> {
        let Self { name, paths, package } = self;
        let program = paths.iter().find(|path| Path::new(path).exists()).ok_or_else(|| {
            fault("not-found", format!("the program {name} is not there"))
                .hint(format!("install {package} on the machine that Tidelock runs on"))
        })?;
        let io = |error: std::io::Error| fault("io", format!("cannot run {program}: {error}"));
        let mut child = Command::new(program)
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            // Hours in rules are printed in local time; a table must not change with the season.
            .env("TZ", "UTC")
            .current_dir("/")
            // What stays in the background is not to hear an interrupt that is meant for us.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let read = |pipe: Option<Box<dyn Read + Send>>| {
            let mut bytes = Vec::new();
            let read = pipe.map_or(Ok(0), |pipe| pipe.take(OUTPUT).read_to_end(&mut bytes));
            read.map(|_| bytes)
        };
        std::thread::scope(|scope| {
            // It may stop reading at the first mistake, and then nobody takes the rest.
            scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input)));
            let stdout = scope.spawn(move || read(stdout.map(|pipe| Box::new(pipe) as _)));
            let stderr = scope.spawn(move || read(stderr.map(|pipe| Box::new(pipe) as _)));
            let ended = wait(child.id()).and_then(|in_time| {
                if !in_time {
                    child.kill()?;
                }
                Ok((in_time, child.wait()?))
            });
            let (in_time, status) = ended.map_err(io)?;
            if !in_time {
                return Err(fault("timeout", format!("{name} was ended after {} s", PATIENCE.as_secs())));
            }
            let bytes = |handle: std::thread::ScopedJoinHandle<'_, std::io::Result<Vec<u8>>>| {
                handle.join().unwrap_or_else(|_| Ok(Vec::new())).map_err(io)
            };
            let (stdout, stderr) = (SecretValue::new(bytes(stdout)?), bytes(stderr)?);
            Ok(Ended { success: status.success(), stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
        })
    }

    /// What it complains of, as a fault.
    pub(super) fn complaint(&self, stderr: &str) -> Fault {
        let text: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
        let text = text.join("\n").replace("/dev/stdin:", "line ").replace("internal:0:0-0: ", "");
        fault(self.name, format!("{} does not take it: {}", self.name, tame(&text, QUOTED)))
    }
}

/// Whether a child ended in time.
fn wait(id: u32) -> std::io::Result<bool> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::NotFound)?;
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let mut fds = [PollFd::new(&ended, PollFlags::IN)];
        let left = rustix::time::Timespec::try_from(left).ok();
        match poll(&mut fds, left.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}
