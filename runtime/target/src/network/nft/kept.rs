//! Answers of trials, kept on the disk from one run of the program to the next: of a large table
//! they are most of what a plan takes its time for.
//!
//! **Invariant.** An answer from here is how a text is spelled, and no proof of anything: what goes
//! to a target is tried in the process that puts it there. One that does not hold any more, after
//! nft was replaced under our feet, is found out there and forgotten.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tidelock_model::digest::Digest;

/// Answers that are kept at most. A pull request may ask for any number.
const MOST: usize = 64;
/// The largest that is kept, in bytes.
const LARGEST: usize = 4 << 20;

/// Where nft, its library and its names of services and protocols may be, and what says which kernel
/// prints.
const SYSTEM: [&str; 9] = [
    "/etc/services",
    "/etc/protocols",
    "/usr/sbin/nft",
    "/sbin/nft",
    "/usr/bin/nft",
    "/usr/lib64/libnftables.so.1",
    "/usr/lib/libnftables.so.1",
    "/usr/lib/x86_64-linux-gnu/libnftables.so.1",
    "/usr/lib/aarch64-linux-gnu/libnftables.so.1",
];
const KERNEL: &str = "/proc/sys/kernel/osrelease";

/// How answers are made. Those of another way are asked for anew: once they were taken from a listing
/// that could lack elements (`whole`).
const MADE: &str = "listed until whole";

/// The answer to a question; `None` where it is not kept, or not whole.
pub(super) fn read(folder: &Path, question: &Digest) -> Option<String> {
    let text = fs::read_to_string(file(folder, question)).ok()?;
    let (mark, answer) = text.split_once('\n')?;
    (mark == sealed(question, answer)).then(|| answer.to_owned())
}

/// Keeps an answer. Where that cannot be, the next run asks again.
pub(super) fn write(folder: &Path, question: &Digest, answer: &str) {
    if answer.len() > LARGEST {
        return;
    }
    let kept = || -> std::io::Result<()> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if fs::read_dir(folder)?.count() >= MOST {
            forget(folder);
        }
        let path = file(folder, question);
        // Several may write the same at once; each writes it whole.
        let beside = path.with_extension(std::process::id().to_string());
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(sealed(question, answer).as_bytes())?;
        file.write_all(b"\n")?;
        file.write_all(answer.as_bytes())?;
        fs::rename(beside, path)
    };
    if let Err(error) = kept() {
        tracing::debug!(%error, "what nft makes of a text is not kept");
    }
}

/// Forgets all.
pub(super) fn forget(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
}

/// The name of an answer: what was asked, and of which nft with which names on which kernel.
fn file(folder: &Path, question: &Digest) -> PathBuf {
    let mut parts = vec![MADE.to_owned(), question.to_string(), fs::read_to_string(KERNEL).unwrap_or_default()];
    for path in SYSTEM {
        if let Ok(found) = fs::metadata(path) {
            parts.push(format!("{path} {} {} {} {}", found.ino(), found.len(), found.mtime(), found.mtime_nsec()));
        }
    }
    folder.join(hex::encode(Digest::of_parts(parts.iter().map(String::as_bytes)).as_bytes()))
}

/// What a file begins with that was written to its end.
fn sealed(question: &Digest, answer: &str) -> String {
    Digest::of_parts([question.as_bytes().as_slice(), answer.as_bytes()]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_whole_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("nft");
        let question = Digest::of(b"table inet t { }");
        assert_eq!(read(&folder, &question), None);
        write(&folder, &question, "table inet t {\n}\n");
        assert_eq!(read(&folder, &question).as_deref(), Some("table inet t {\n}\n"));
        assert_eq!(read(&folder, &Digest::of(b"another")), None);
        let path = file(&folder, &question);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        assert_eq!(read(&folder, &question), None, "it was cut off");
        fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert_eq!(read(&folder, &question), None);
        for number in 0..MOST + 5 {
            write(&folder, &Digest::of(number.to_string().as_bytes()), "x");
        }
        assert!(fs::read_dir(&folder).unwrap().count() <= MOST);
        write(&folder, &question, &"x".repeat(LARGEST + 1));
        assert_eq!(read(&folder, &question), None);
        forget(&folder);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}
