//! Running a program of the system that speaks with its kernel, in the namespace of the thread
//! that asks: an absolute path, an environment of our own, input and output through pipes, a
//! time limit, and one of memory where that is asked for.

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, pidfd_open, prlimit};
use tidelock_model::error::{Fault, tame};
use tidelock_model::secret::SecretValue;
use tidelock_secret::private::{Gathered, read_all};

use super::confine::INPUT;
use super::fault;

/// The most that is read of what it prints.
const OUTPUT: usize = 64 << 20;
/// Room for what it prints between two readings, in bytes: as much as Linux lets anybody have.
const ROOM: i32 = 1 << 20;
/// How often what it prints is read. nft prints a large set in some 80,000 writes; a reader that is
/// woken by each of them takes as long as nft does.
const READ_EVERY: Duration = Duration::from_millis(2);
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

/// What a run may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Time.
    pub(super) patience: Duration,
    /// Bytes of memory; where this is said, it starts no other program either, writes no file,
    /// leaves no core, and has no more of a processor than `patience`.
    pub(super) memory: Option<u64>,
}

impl Default for Bounds {
    /// A large ruleset takes a second; this ends what does not end.
    fn default() -> Self {
        Self { patience: Duration::from_secs(60), memory: None }
    }
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
        self.run_within(&Bounds::default(), words, input)
    }

    /// The same within bounds.
    ///
    /// # Errors
    /// It is not there; it takes more than it may.
    pub(super) fn run_within(&self, bounds: &Bounds, words: &[&str], input: &[u8]) -> Result<Ended, Fault> {
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
        std::thread::scope(|scope| {
            // It may stop reading at the first mistake, and then nobody takes the rest.
            scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input)));
            // What it prints may hold keys, and what it complains of a part of them.
            let stderr = scope.spawn(move || match stderr {
                Some(pipe) => read_all(pipe, OUTPUT),
                None => read_all(std::io::empty(), 0),
            });
            let mut printed = Printed { pipe: stdout, gathered: Gathered::up_to(OUTPUT) };
            // It has only begun by then, and what it uses from now on counts.
            let ended = bound(child.id(), bounds).and_then(|()| printed.until_the_end(child.id(), bounds.patience));
            if !matches!(ended, Ok(How::Ended)) {
                child.kill().map_err(io)?;
            }
            let status = child.wait().map_err(io)?;
            match ended.map_err(io)? {
                How::Ended => {}
                How::TooLate => {
                    let patience = bounds.patience.as_secs_f32();
                    return Err(fault("timeout", format!("{name} was ended after {patience} s")));
                }
                How::TooMuch => {
                    return Err(fault("limit", format!("{name} was ended: it prints {OUTPUT} bytes and more")));
                }
            }
            if let Some(signal) = status.signal() {
                return Err(fault("limit", format!("{name} was ended by the signal {signal}")));
            }
            let stderr = stderr.join().unwrap_or_else(|_| Err(ErrorKind::Other.into())).map_err(io)?;
            let stderr = String::from_utf8_lossy(&stderr).into_owned();
            let stdout = SecretValue::new(std::mem::take(&mut *printed.gathered.into_bytes()));
            Ok(Ended { success: status.success(), stdout, stderr })
        })
    }

    /// What it complains of, as a fault.
    pub(super) fn complaint(&self, stderr: &str) -> Fault {
        let text: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
        let text = text
            .join("\n")
            .replace("/dev/stdin:", "line ")
            .replace(&format!("{INPUT}:"), "line ")
            .replace("internal:0:0-0: ", "");
        fault(self.name, format!("{} does not take it: {}", self.name, tame(&text, QUOTED)))
    }
}

/// Puts limits on a child.
fn bound(id: u32, bounds: &Bounds) -> std::io::Result<()> {
    let Some(memory) = bounds.memory else { return Ok(()) };
    let pid = pid(id)?;
    let seconds = bounds.patience.as_secs().max(1);
    let limits = [
        (Resource::As, memory),
        (Resource::Cpu, seconds),
        (Resource::Nproc, 0),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
    ];
    for (resource, most) in limits {
        match prlimit(Some(pid), resource, Rlimit { current: Some(most), maximum: Some(most) }) {
            // It has ended already.
            Ok(_) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// How a child came to its end.
enum How {
    Ended,
    TooLate,
    TooMuch,
}

/// What a child prints.
struct Printed {
    pipe: Option<ChildStdout>,
    gathered: Gathered,
}

impl Printed {
    /// Reads it now and then until the child has ended.
    fn until_the_end(&mut self, id: u32, patience: Duration) -> std::io::Result<How> {
        if let Some(pipe) = &self.pipe {
            ioctl_fionbio(pipe, true)?;
            // One whose room is smaller is read as well.
            let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(ROOM));
        }
        let child = pidfd_open(pid(id)?, PidfdFlags::empty())?;
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(How::TooLate);
            }
            let ended = readable(&child, left.min(READ_EVERY))?;
            self.read()?;
            if self.gathered.is_full() {
                return Ok(How::TooMuch);
            }
            if ended {
                return Ok(How::Ended);
            }
        }
    }

    /// Takes what is there by now.
    fn read(&mut self) -> std::io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        loop {
            match self.gathered.read_from(pipe) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether there is something to read in time, or its end.
pub(super) fn readable(from: &impl AsFd, patience: Duration) -> std::io::Result<bool> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let mut fds = [PollFd::new(from, PollFlags::IN)];
        let left = rustix::time::Timespec::try_from(left).ok();
        match poll(&mut fds, left.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn pid(id: u32) -> std::io::Result<Pid> {
    Ok(i32::try_from(id).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::NotFound)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELL: Program = Program { name: "sh", paths: &["/bin/sh"], package: "dash" };

    fn ended(script: &str, memory: Option<u64>) -> Result<Ended, Fault> {
        SHELL.run_within(&Bounds { patience: Duration::from_millis(700), memory }, &["-c", script], b"")
    }

    #[test]
    fn all_that_it_prints_is_read() {
        let many = ended("n=0; while [ $n -lt 50000 ]; do n=$((n+1)); echo line $n; done", None).unwrap();
        let lines: Vec<String> = (1..=50_000).map(|n| format!("line {n}")).collect();
        assert!(many.success && many.text().lines().eq(lines.iter().map(String::as_str)));
        let fault = SHELL.run(&["-c", "exec yes"], b"").err().unwrap();
        assert!(fault.code == "limit" && fault.message.contains("67108864 bytes"), "{fault}");
        // What stays behind and holds its output keeps nobody waiting.
        let began = Instant::now();
        assert_eq!(SHELL.run(&["-c", "sleep 30 2>&- & echo there"], b"").unwrap().text(), "there\n");
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let began = Instant::now();
        let fault = ended("exec sleep 60", None).err().unwrap();
        assert!(fault.code == "timeout" && fault.message.contains("after 0.7 s"), "{fault}");
        // Of the shell's own, so that nothing has to be started.
        assert_eq!(ended("while :; do :; done", Some(1 << 30)).err().unwrap().code, "timeout");
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_is_bounded_takes_no_more() {
        // The limits come a moment after it has begun.
        let late = |script: &str| {
            ended(&format!("n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; {script}"), Some(64 << 20))
        };
        assert!(late("true").is_ok_and(|ended| ended.success));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!late(&format!("echo x > {}", file.path().display())).is_ok_and(|ended| ended.success), "a file");
        let grown = late("x=xxxxxxxxxxxxxxxx; n=0; while [ $n -lt 24 ]; do x=$x$x; n=$((n+1)); done");
        assert!(!grown.is_ok_and(|ended| ended.success), "memory");
    }
}
