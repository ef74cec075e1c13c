//! The parent's side of a fetch: starts the child, watches it, kills it, sweeps up.
//!
//! Blocking; the caller moves it off the async threads.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tidelock_model::error::tame;
use tidelock_model::port::SourceError;

use crate::fault::{self, limit};
use crate::wire::{Answer, Request};

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

/// What a fetch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Brought {
    /// The name that was found.
    pub(crate) name: String,
    /// The object that it stands for.
    pub(crate) id: gix::ObjectId,
}

/// Runs one fetch. `pack` is how many bytes it may add to the cache.
pub(crate) fn run(helper: &FetchHelper, request: &Request, pack: u64) -> Result<Brought, SourceError> {
    let deadline = Instant::now() + Duration::from_secs(request.timeout);
    // One fetch per cache at a time: sweeping would take another's files away.
    let _lock = lock(&request.dir, deadline, request)?;
    sweep(&request.dir)?;
    let before = packs(&request.dir);
    let ended = watch(helper, request, deadline, || packs(&request.dir).saturating_sub(before) > pack);
    let answer = match ended {
        Ok(Ended::Answered(answer)) => answer,
        Ok(Ended::TooLarge) => Err(too_large(request, pack)),
        Ok(Ended::TimedOut) => Err(timed_out(request)),
        Ok(Ended::Died(status)) => Err(died(request, pack, status)),
        Err(error) => Err(error),
    };
    if answer.is_err() {
        sweep(&request.dir)?;
    }
    answer
}

enum Ended {
    Answered(Result<Brought, SourceError>),
    TimedOut,
    TooLarge,
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

fn watch(
    helper: &FetchHelper,
    request: &Request,
    deadline: Instant,
    mut too_large: impl FnMut() -> bool,
) -> Result<Ended, SourceError> {
    let text = serde_json::to_vec(request).map_err(|error| fault::ours(format!("the fetch request: {error}")))?;
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
    Ok(Ended::Answered(read(answer)))
}

fn read(answer: Answer) -> Result<Brought, SourceError> {
    match answer {
        Answer::Fetched { name, id, received } => {
            tracing::debug!(%name, %id, received, "fetched");
            let id = gix::ObjectId::from_hex(id.as_bytes())
                .map_err(|_| fault::ours(format!("the fetch child answered with {id:?}, which is no object id")))?;
            Ok(Brought { name, id })
        }
        // The text may quote the server: it goes to terminals and logs.
        Answer::Failed { code, message, hint, retryable } => {
            Err(SourceError { code, message: tame(&message, 2000), hint, retryable })
        }
    }
}

fn timed_out(request: &Request) -> SourceError {
    SourceError::new(
        "timeout",
        format!("{} did not finish within {} s; the fetch was ended", request.url, request.timeout),
    )
    .hint("look at the server; if the repository is that large, raise `timeout` of the source (in seconds)")
    .retryable()
}

fn too_large(request: &Request, pack: u64) -> SourceError {
    limit("too-large", &format!("{} sends more bytes than a fetch may write", request.url), "pack", pack)
}

/// What a child means that ended by a signal or without an answer.
fn died(request: &Request, pack: u64, status: ExitStatus) -> SourceError {
    let signal = status.signal().and_then(|number| Signal::try_from(number).ok());
    match signal {
        Some(Signal::SIGXFSZ) => too_large(request, pack),
        // Rust ends with SIGABRT where memory is refused.
        Some(Signal::SIGABRT) => limit(
            "limit",
            &format!("the fetch of {} takes more memory than it may", request.url),
            "memory",
            request.memory,
        ),
        Some(Signal::SIGXCPU) => timed_out(request),
        Some(signal) => {
            SourceError::new("io", format!("the fetch of {} was ended by {signal}", request.url)).retryable()
        }
        None => SourceError::new("io", format!("the fetch of {} ended without an answer ({status})", request.url))
            .hint("the fetch child is `tidelock` itself; check that the installed binary is whole")
            .retryable(),
    }
}

fn lock(dir: &Path, deadline: Instant, request: &Request) -> Result<File, SourceError> {
    let path = dir.with_extension("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| fault::io("cannot open the cache's lock", &path, &error))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOOK),
            Err(TryLockError::WouldBlock) => {
                return Err(SourceError::new("timeout", format!("another fetch of {} is still going on", request.url))
                    .retryable());
            }
            Err(TryLockError::Error(error)) => return Err(fault::io("cannot take the cache's lock", &path, &error)),
        }
    }
}

/// Bytes of all packs, finished or not.
fn packs(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir.join("objects/pack")) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Removes what an ended fetch left: half packs and lock files. Nobody else is at work
/// here, since the cache's lock is held.
fn sweep(dir: &Path) -> Result<(), SourceError> {
    let remove = |path: &Path| match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(fault::io("cannot remove the leftover", path, &error))
        }
        _ => Ok(()),
    };
    for entry in std::fs::read_dir(dir.join("objects/pack")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let finished = name.starts_with("pack-") && [".pack", ".idx", ".rev"].iter().any(|end| name.ends_with(end));
        if !finished {
            remove(&entry.path())?;
        }
    }
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && name != "objects" => folders.push(entry.path()),
                Ok(kind) if kind.is_file() && name.to_string_lossy().ends_with(".lock") => remove(&entry.path())?,
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeping_takes_leftovers_alone() {
        let dir = tempfile::tempdir().unwrap();
        let pack = dir.path().join("objects/pack");
        let refs = dir.path().join("refs/tidelock/heads");
        std::fs::create_dir_all(&pack).unwrap();
        std::fs::create_dir_all(&refs).unwrap();
        let keep = [pack.join("pack-1.pack"), pack.join("pack-1.idx"), refs.join("main"), dir.path().join("HEAD")];
        let gone = [
            pack.join(".tmpAbC"),
            pack.join("pack-2.keep"),
            pack.join("tmp_pack_x"),
            refs.join("main.lock"),
            dir.path().join("packed-refs.lock"),
        ];
        for path in keep.iter().chain(&gone) {
            std::fs::write(path, "x").unwrap();
        }
        sweep(dir.path()).unwrap();
        assert!(keep.iter().all(|path| path.exists()));
        assert!(gone.iter().all(|path| !path.exists()));
    }

    #[test]
    fn a_child_that_dies_is_told_by_how_it_died() {
        let request = Request { url: "http://host/x".into(), memory: 5, timeout: 5, ..Request::default() };
        let code = |raw| died(&request, 7, ExitStatus::from_raw(raw)).code;
        assert_eq!(code(Signal::SIGXFSZ as i32), "too-large");
        assert_eq!(code(Signal::SIGABRT as i32), "limit");
        assert_eq!(code(Signal::SIGKILL as i32), "io");
        assert_eq!(code(64 << 8), "io");
    }
}
