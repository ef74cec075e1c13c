//! Errors of the operating system as faults: a stable code, the path, and a
//! sentence that says what to do.

use std::io;

use rustix::io::Errno;
use tidelock_model::error::{Blame, Fault};

/// A fault that the target, or what was said of it, is to blame for.
pub(super) fn fault(code: &str, message: impl Into<String>) -> Fault {
    Fault::new(code, Blame::Target, message)
}

/// What went wrong while `doing` something to `path`, such as `cannot write /etc/motd: ...`.
pub(super) fn io(doing: &str, path: &str, error: &io::Error) -> Fault {
    let (code, reason, retryable) = match Errno::from_io_error(error) {
        Some(Errno::NOENT) => ("not-found", "nothing is there".to_owned(), false),
        Some(Errno::ACCESS | Errno::PERM) => {
            ("permission", "this process has no permission on the system".to_owned(), false)
        }
        Some(Errno::NOSPC) => ("no-space", "no space is left on the file system".to_owned(), true),
        Some(Errno::DQUOT) => ("no-space", "the disk quota is used up".to_owned(), true),
        Some(Errno::ROFS) => ("read-only", "the file system is mounted read-only".to_owned(), false),
        Some(Errno::BUSY) => (
            "busy",
            "it is a mount point or in use; a file that is bind-mounted cannot be replaced, mount its directory instead"
                .to_owned(),
            true,
        ),
        Some(Errno::LOOP) => ("symlink", "a symbolic link stands in the way".to_owned(), false),
        Some(Errno::EXIST) => ("exists", "something is there already".to_owned(), false),
        Some(Errno::NOTDIR) => ("not-a-directory", "a part of the path is no directory".to_owned(), false),
        Some(Errno::ISDIR) => ("is-a-directory", "a directory is there".to_owned(), false),
        Some(Errno::NOTEMPTY) => {
            ("not-empty", "the directory is not empty; ask for `tree` to remove all below it".to_owned(), false)
        }
        Some(Errno::NAMETOOLONG) => ("invalid", "a name in the path is too long".to_owned(), false),
        Some(Errno::MFILE | Errno::NFILE) => ("limit", "too many files are open".to_owned(), true),
        Some(Errno::IO) => ("io", "the device failed (input/output error)".to_owned(), true),
        _ => ("io", error.to_string(), false),
    };
    let fault = fault(code, format!("cannot {doing} {path}: {reason}"));
    if retryable { fault.retryable() } else { fault }
}
