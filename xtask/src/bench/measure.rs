//! What a program takes: time on the wall, time of processors, memory.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// How often the memory of a running program is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// What one run took.
pub(super) struct Measured {
    pub(super) wall: Duration,
    cpu: Duration,
    /// The largest resident size that was seen.
    pub(super) peak_kib: u64,
    pub(super) code: i32,
    pub(super) stderr: String,
}

impl Measured {
    /// Time of processors, of the program and of all that it started.
    pub(super) fn cpu(&self) -> Duration {
        self.cpu
    }
}

/// Runs a program to its end.
pub(super) fn measure(command: &mut Command) -> Result<Measured> {
    let errors = tempfile::NamedTempFile::new()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors.reopen()?);
    let before = children()?;
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let mut peak_kib = 0;
    let status = loop {
        peak_kib = peak_kib.max(resident(child.id()));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK);
    };
    let wall = start.elapsed();
    Ok(Measured {
        wall,
        cpu: children()?.saturating_sub(before),
        peak_kib,
        code: status.code().unwrap_or(-1),
        stderr: fs::read_to_string(errors.path())?,
    })
}

/// The quickest of several runs: the others met somebody else.
pub(super) fn best_of(times: usize, mut run: impl FnMut() -> Result<Measured>) -> Result<Measured> {
    let mut best = run()?;
    for _ in 1..times {
        let next = run()?;
        if next.wall < best.wall {
            best = next;
        }
    }
    Ok(best)
}

/// Time of processors that ended children took so far.
fn children() -> Result<Duration> {
    let usage: Usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let of = |time: TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()).unsigned_abs());
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

/// The largest resident size of a running process so far, in KiB.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}
