//! Running a program: words, no shell, an environment of our own, a time limit that
//! takes the whole process group, and capped output.
//!
//! A descendant that starts a session of its own leaves the group, and with it the
//! reach of the time limit.

use std::io::{PipeReader, Read};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tidelock_model::effect::shown;
use tidelock_model::error::{Blame, Fault, tame};

use super::fault::fault;

/// Where programs are looked for by the programs that we run.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Bytes of standard error that a fault quotes.
const QUOTED: usize = 2048;

/// A program to run.
pub(super) struct Order<'a> {
    pub(super) argv: &'a [String],
    pub(super) env: &'a [(String, String)],
    /// The folder that the target's paths lie below.
    pub(super) root: &'a str,
    /// The directory to start in.
    pub(super) start: PathBuf,
    pub(super) timeout: Duration,
    /// Whether it only looks: no privileges, and nothing of it outlives it.
    pub(super) looks: bool,
    /// Ends the program when the other side of the pipe is dropped.
    pub(super) cancel: Option<PipeReader>,
    /// Bytes kept of each output.
    pub(super) output: usize,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// The first bytes of standard output, as text.
    pub stdout: String,
    /// The first bytes of standard error, as text.
    pub stderr: String,
}

/// How a command ended, with what only faults need.
pub(super) struct Report {
    pub(super) ended: Ended,
    status: ExitStatus,
    tail: Vec<u8>,
}

impl Report {
    /// The fault of a command that did not end with 0.
    pub(super) fn check(&self, argv: &[String]) -> Result<(), Fault> {
        if self.status.success() {
            return Ok(());
        }
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "an unknown status".to_owned(),
        };
        let mut message = format!("`{}` ended with {how}", tame(&shown(argv), 500));
        let stderr = tame(String::from_utf8_lossy(&self.tail).trim(), 2 * QUOTED);
        if !stderr.is_empty() {
            message.push_str(&format!(": {stderr}"));
        }
        Err(fault("command", message))
    }
}

/// Runs a program to its end. Blocking.
///
/// # Errors
/// It could not be started, or ran out of time (`timeout`), or nobody waits for it any
/// more (`cancelled`).
pub(super) fn run(order: Order<'_>) -> Result<Report, Fault> {
    if !order.looks {
        return run_here(order);
    }
    // `no_new_privs` holds for a thread and all that it starts, and cannot be taken back:
    // a set-user-id program gains nothing, and this thread ends with the probe.
    std::thread::scope(|scope| {
        let handle = scope.spawn(move || {
            rustix::thread::set_no_new_privs(true)
                .map_err(|errno| fault("io", format!("cannot give up privileges: {errno}")))?;
            run_here(order)
        });
        handle.join().unwrap_or_else(|_| Err(Fault::new("panic", Blame::Host, "running a probe panicked")))
    })
}

fn run_here(order: Order<'_>) -> Result<Report, Fault> {
    let (program, words) = order.argv.split_first().ok_or_else(|| fault("invalid", "a command has no words"))?;
    if !program.starts_with('/') || order.argv.iter().any(|word| word.contains('\0')) {
        return Err(fault("invalid", format!("`{}` does not start with an absolute path", shown(order.argv))));
    }
    let mut command = Command::new(program);
    command
        .args(words)
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8")
        .env("HOME", if order.looks { "/".to_owned() } else { home() })
        .env("TIDELOCK_ROOT", order.root)
        .envs(order.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&order.start)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if order.looks && nix::unistd::geteuid().is_root() {
        let (uid, gid) = nobody();
        // With `uid` set, std also drops every supplementary group.
        command.uid(uid).gid(gid);
    }
    let child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => fault("not-found", format!("cannot run {program}: it is not there")),
        _ => fault("io", format!("cannot run {program}: {error}")),
    })?;
    Running::new(child, order)?.wait()
}

/// A child with its process group, which is killed if it is dropped before its end.
struct Running<'a> {
    child: Child,
    group: Pid,
    order: Order<'a>,
    reaped: bool,
}

/// One output of a child, of which the first and the last bytes are kept.
struct Capture<R> {
    pipe: Option<R>,
    head: Vec<u8>,
    tail: Vec<u8>,
    cap: usize,
}

impl<R: Read + std::os::fd::AsFd> Capture<R> {
    fn new(pipe: Option<R>, cap: usize) -> Result<Self, Fault> {
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)
                .map_err(|errno| fault("io", format!("cannot read a command's output: {errno}")))?;
        }
        Ok(Self { pipe, head: Vec::new(), tail: Vec::new(), cap })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(std::os::fd::AsFd::as_fd)
    }

    /// Takes what is there now.
    fn drain(&mut self) {
        let mut buffer = [0; 8192];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(n) => {
                    let room = self.cap.saturating_sub(self.head.len()).min(n);
                    self.head.extend_from_slice(&buffer[..room]);
                    self.tail.extend_from_slice(&buffer[..n]);
                    self.tail.drain(..self.tail.len().saturating_sub(QUOTED));
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }
}

impl<'a> Running<'a> {
    fn new(child: Child, order: Order<'a>) -> Result<Self, Fault> {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let group = group.ok_or_else(|| Fault::new("io", Blame::Host, "a child has no process id"))?;
        Ok(Self { child, group, order, reaped: false })
    }

    fn wait(mut self) -> Result<Report, Fault> {
        let failed = |errno: Errno| fault("io", format!("cannot wait for a command: {errno}"));
        let deadline = Instant::now() + self.order.timeout;
        let ended = pidfd_open(self.group, PidfdFlags::empty()).map_err(failed)?;
        let mut stdout = Capture::new(self.child.stdout.take(), self.order.output)?;
        let mut stderr = Capture::new(self.child.stderr.take(), self.order.output)?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let words = tame(&shown(self.order.argv), 500);
                let ms = self.order.timeout.as_millis();
                return Err(fault("timeout", format!("`{words}` was ended: it ran for longer than {ms} ms")));
            }
            let over = {
                let mut fds = vec![PollFd::new(&ended, PollFlags::IN)];
                let cancel = self.order.cancel.as_ref().map(|pipe| pipe.as_fd());
                fds.extend(cancel.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
                let outputs = [stdout.fd(), stderr.fd()];
                fds.extend(outputs.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
                let wait = rustix::time::Timespec::try_from(left).ok();
                match poll(&mut fds, wait.as_ref()) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(failed(errno)),
                }
                if cancel.is_some() && !fds[1].revents().is_empty() {
                    return Err(fault("cancelled", "nobody waits for the command any more"));
                }
                !fds[0].revents().is_empty()
            };
            stdout.drain();
            stderr.drain();
            if over {
                break;
            }
        }
        if self.order.looks {
            // Before the leader is reaped, so that the group's number is still ours.
            let _ = kill_process_group(self.group, Signal::KILL);
        }
        let status = self.child.wait().map_err(|error| fault("io", format!("cannot wait for a command: {error}")))?;
        self.reaped = true;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ended = Ended { code: status.code(), stdout: text(&stdout.head), stderr: text(&stderr.head) };
        Ok(Report { ended, status, tail: stderr.tail })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = kill_process_group(self.group, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// The home of who we are.
fn home() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten()
        .and_then(|user| user.dir.into_os_string().into_string().ok())
        .unwrap_or_else(|| "/".to_owned())
}

/// Who owns nothing.
fn nobody() -> (u32, u32) {
    nix::unistd::User::from_name("nobody")
        .ok()
        .flatten()
        .filter(|user| !user.uid.is_root())
        .map_or((65534, 65534), |user| (user.uid.as_raw(), user.gid.as_raw()))
}
