//! Running `nft`, in the namespace of the thread that asks: an absolute path, an
//! environment of our own, input and output through pipes, and a time limit.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tidelock_model::error::{Fault, tame};

use super::super::fault;

/// Where the program may be.
const PATHS: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];
/// A large ruleset takes a second; this ends what does not end.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most that is read of what it prints.
const OUTPUT: u64 = 64 << 20;
/// Bytes of its complaints that a fault quotes.
const QUOTED: usize = 1500;

/// Loads commands, as one transaction.
///
/// # Errors
/// `nft`, with what it says; it is not there; it takes too long.
pub(super) fn load(commands: &str) -> Result<(), Fault> {
    let ended = run(&["-f", "-"], commands)?;
    if ended.success { Ok(()) } else { Err(complaint(&ended.stderr)) }
}

/// What it prints of something; `None` where that is not there.
pub(super) fn print(words: &[&str]) -> Result<Option<String>, Fault> {
    let ended = run(words, "")?;
    if ended.success {
        return Ok(Some(ended.stdout));
    }
    // The one complaint that says that the question was understood and the answer is no.
    if ended.stderr.contains("No such file or directory") {
        return Ok(None);
    }
    Err(complaint(&ended.stderr))
}

fn complaint(stderr: &str) -> Fault {
    let text: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let text = text.join("\n").replace("/dev/stdin:", "line ").replace("internal:0:0-0: ", "");
    fault("nft", format!("nft does not take it: {}", tame(&text, QUOTED)))
}

struct Ended {
    success: bool,
    stdout: String,
    stderr: String,
}

fn run(words: &[&str], input: &str) -> Result<Ended, Fault> {
    let program = PATHS.into_iter().find(|path| Path::new(path).exists()).ok_or_else(|| {
        fault("not-found", "the program nft is not there").hint("install nftables on the machine that Tidelock runs on")
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
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        let mut bytes = Vec::new();
        let read = pipe.map_or(Ok(0), |pipe| pipe.take(OUTPUT).read_to_end(&mut bytes));
        read.map(|_| String::from_utf8_lossy(&bytes).into_owned())
    };
    std::thread::scope(|scope| {
        // It may stop reading at the first mistake, and then nobody takes the rest.
        scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input.as_bytes())));
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
            return Err(fault("timeout", format!("nft was ended after {} s", PATIENCE.as_secs())));
        }
        let text = |handle: std::thread::ScopedJoinHandle<'_, std::io::Result<String>>| {
            handle.join().unwrap_or_else(|_| Ok(String::new())).map_err(io)
        };
        Ok(Ended { success: status.success(), stdout: text(stdout)?, stderr: text(stderr)? })
    })
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
