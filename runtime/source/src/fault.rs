//! Errors that several modules give, worded once.

use std::fmt::Write as _;
use std::path::Path;

use tidelock_model::error::tame;
use tidelock_model::port::SourceError;

/// Everything that a gix error says, outermost first, fit for a terminal.
pub(crate) fn chain(error: &gix::Error) -> String {
    let mut out = String::new();
    for part in error.iter_errors() {
        let mut part: Option<&dyn std::error::Error> = Some(part);
        while let Some(error) = part {
            let text = error.to_string();
            if !out.contains(&text) {
                if !out.is_empty() {
                    out.push_str(": ");
                }
                let _ = write!(out, "{text}");
            }
            part = error.source();
        }
    }
    tame(&out, 2000)
}

/// Where an error says that the disk is full.
pub(crate) fn full(path: &Path, why: &str) -> Option<SourceError> {
    let low = why.to_ascii_lowercase();
    if !["no space left", "storage full", "disk quota", "quota exceeded"].iter().any(|part| low.contains(part)) {
        return None;
    }
    let message = format!("there is no room on the disk of the cache {}: {why}", path.display());
    Some(SourceError::new("disk-full", message).hint("make room on it; the next poll tries again").retryable())
}

/// A file of the operator or the cache that cannot be read or written.
pub(crate) fn io(what: &str, path: &Path, error: &std::io::Error) -> SourceError {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    if matches!(error.kind(), StorageFull | QuotaExceeded)
        && let Some(full) = full(path, &format!("{what}: no space left"))
    {
        return full;
    }
    SourceError::new("io", format!("{what} {}: {error}", path.display()))
}

/// Whether a file is there and may be run.
pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// A limit of `[sources.NAME.limits]`, its value, and the key that raises it.
pub(crate) fn limit(code: &str, what: &str, key: &str, value: u64) -> SourceError {
    SourceError::new(code, format!("{what}; the limit is {value}"))
        .hint(format!("if this is meant, raise `{key}` in the source's [sources.NAME.limits] of tidelock.toml"))
}

/// Something in the repository that is not what Git says it is.
pub(crate) fn corrupt(message: String) -> SourceError {
    SourceError::new("corrupt", message).hint(
        "check the repository with `git fsck`; a fetched one is fetched anew once its folder in the cache is removed",
    )
}

/// A failure of one of our own threads or processes.
pub(crate) fn ours(message: String) -> SourceError {
    SourceError::new("io", message).retryable()
}
