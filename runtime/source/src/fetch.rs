//! One fetch into the cache: has it done by a child, and names how the child ended.
//!
//! Blocking; the caller moves it off the async threads.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tidelock_model::error::tame;
use tidelock_model::port::SourceError;

use crate::cache::Turn;
use crate::fault::{self, limit};
use crate::watch::{Ended, FetchHelper, watch};
use crate::wire::{Answer, Job, Request};

/// What a fetch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Brought {
    /// The name that was found.
    pub(crate) name: String,
    /// The object that it stands for.
    pub(crate) id: gix::ObjectId,
}

/// Runs one fetch. `pack` is how many bytes it may add to the cache. With the turn nobody
/// else fetches: sweeping would take another's files away.
pub(crate) fn run(_: &Turn, helper: &FetchHelper, request: Request, pack: u64) -> Result<Brought, SourceError> {
    let deadline = Instant::now() + Duration::from_secs(request.timeout);
    sweep(&request.dir)?;
    let before = packs(&request.dir);
    let job = Job::Fetch(Box::new(request));
    let Job::Fetch(request) = &job else { return Err(fault::ours("the fetch is no fetch".to_owned())) };
    let ended = watch(helper, &job, deadline, || packs(&request.dir).saturating_sub(before) > pack);
    let answer = match ended {
        Ok(Ended::Answered(answer)) => read(answer),
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

fn read(answer: Answer) -> Result<Brought, SourceError> {
    match answer {
        Answer::Fetched { name, id, received } => {
            tracing::debug!(%name, %id, received, "fetched");
            let id = gix::ObjectId::from_hex(id.as_bytes())
                .map_err(|_| fault::ours(format!("the fetch child answered with {id:?}, which is no object id")))?;
            Ok(Brought { name, id })
        }
        Answer::Rebuilt { .. } => Err(fault::ours("the fetch child answered another question".to_owned())),
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

/// Bytes of all packs, finished or not.
fn packs(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir.join("objects/pack")) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Removes what an ended fetch left: half packs and lock files.
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
