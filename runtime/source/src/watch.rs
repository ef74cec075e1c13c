//! The parent's side of a child: starts it, watches it, kills it.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tidelock_model::port::SourceError;

use crate::fault;
use crate::wire::{Answer, Job};

/// How long between two looks at the child.
const LOOK: Duration = Duration::from_millis(10);

/// How long between two measurements of what it wrote.
const MEASURE: Duration = Duration::from_millis(100);

/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// How to start the fetch child: a program of ours that calls [`fetch_child`].
///
/// [`fetch_child`]: crate::fetch_child
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchHelper {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

/// How a child ended.
pub(crate) enum Ended {
    /// It answered, be it with an error.
    Answered(Answer),
    /// It was killed at the deadline.
    TimedOut,
    /// It was killed because it wrote too much.
    TooLarge,
    /// It ended without an answer.
    Died(ExitStatus),
}

/// Kills and reaps on every way out.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a job in a child until `deadline`, or until `too_large` says so.
pub(crate) fn watch(
    helper: &FetchHelper,
    job: &Job,
    deadline: Instant,
    mut too_large: impl FnMut() -> bool,
) -> Result<Ended, SourceError> {
    let text = serde_json::to_vec(job).map_err(|error| fault::ours(format!("the fetch request: {error}")))?;
    let mut command = Command::new(&helper.program);
    command.args(&helper.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // The environment may hold secrets of other sources; only where certificates lie is passed on.
    command.env_clear();
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let child = command.spawn().map_err(|error| fault::io("cannot start the fetch child", &helper.program, &error))?;
    let mut child = Reaped(child);
    let (stdin, stdout) = (child.0.stdin.take(), child.0.stdout.take());

    // Both pipes have a thread of their own, so a child that neither reads nor writes
    // cannot hold up the clock. They end when the child's ends of the pipes close.
    let writer = std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&text)));
    let reader = std::thread::spawn(move || {
        let mut out = Vec::new();
        if let Some(stdout) = stdout {
            let _ = stdout.take(MAX_ANSWER).read_to_end(&mut out);
        }
        out
    });
    let mut measured = Instant::now();
    let status = loop {
        match child.0.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {}
            Err(error) => return Err(fault::ours(format!("the fetch child cannot be watched: {error}"))),
        }
        if Instant::now() >= deadline {
            return Ok(Ended::TimedOut);
        }
        if measured.elapsed() >= MEASURE {
            if too_large() {
                return Ok(Ended::TooLarge);
            }
            measured = Instant::now();
        }
        std::thread::sleep(LOOK);
    };
    // A child that died early leaves a broken pipe; its status says more.
    let _ = writer.join();
    let out = reader.join().unwrap_or_default();
    if !status.success() {
        return Ok(Ended::Died(status));
    }
    let answer: Answer =
        serde_json::from_slice(&out).map_err(|error| fault::ours(format!("the fetch child's answer: {error}")))?;
    Ok(Ended::Answered(answer))
}
