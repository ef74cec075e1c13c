//! Tells living processes from dead ones, on this machine and this boot only.
//!
//! A process id means nothing elsewhere, nor after a reboot, nor in another pid
//! namespace; and it is given out again. So a process is its id, the time it
//! started, and the place where both mean something. Where the system does not
//! tell (no `/proc`), nothing is ever known to be dead, and only time frees a lease.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The byte of the `-shm` file that SQLite locks for its one writer: the first of
/// the eight locks of its WAL index header.
const WRITER_BYTE: &str = "120";

/// A process, well enough described to know later whether it is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: i64,
    /// When it started, in clock ticks since boot; 0 where that cannot be told.
    pub(crate) started: i64,
    /// Boot and pid namespace, or nothing where that cannot be told.
    pub(crate) machine: Option<String>,
}

impl Process {
    /// This one.
    pub(crate) fn this() -> Self {
        let pid = i64::from(std::process::id());
        Self { pid, started: started(pid).unwrap_or(0), machine: machine() }
    }

    /// Whether it is certain that the process is gone.
    pub(crate) fn is_dead(&self) -> bool {
        self.is_here() && started(self.pid) != Some(self.started)
    }

    /// Whether its id means something to this process.
    pub(crate) fn is_here(&self) -> bool {
        self.machine.is_some() && self.machine == machine()
    }
}

/// Boot id and pid namespace.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// When a living process started. A zombie has ended: it holds nothing any more.
fn started(pid: i64) -> Option<i64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The start time of a `/proc/PID/stat` line; `None` for one that has ended. The
/// second field is the program's name in parentheses, and may itself hold spaces
/// and parentheses: fields are counted from the last one.
fn parse_stat(line: &str) -> Option<i64> {
    let (_, rest) = line.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let run = fields.next()?;
    if matches!(run, "Z" | "X" | "x") {
        return None;
    }
    // The 22nd field of the line, the 20th after the name, the 19th after the letter.
    fields.nth(18)?.parse().ok()
}

/// A process for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pid: u32,
    name: Option<String>,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "process {} ({name})", self.pid),
            None => write!(f, "process {}", self.pid),
        }
    }
}

/// Who holds the write lock of a store, where the kernel tells. The `-shm` file is
/// never opened here: closing it would drop the locks that SQLite holds in this
/// process.
pub(crate) fn writer_of(store: &Path) -> Option<Named> {
    let mut shm = store.as_os_str().to_owned();
    shm.push("-shm");
    let inode = fs::metadata(PathBuf::from(shm)).ok()?.ino();
    let pid = parse_locks(&fs::read_to_string("/proc/locks").ok()?, inode)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned());
    Some(Named { pid, name })
}

/// Another process that has the store open, where the kernel tells: each connection holds
/// a lock on the `-shm` file for as long as it lives.
pub(crate) fn user_of(store: &Path) -> Option<Named> {
    let mut shm = store.as_os_str().to_owned();
    shm.push("-shm");
    let inode = fs::metadata(PathBuf::from(shm)).ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = holders(&locks, inode).find(|pid| *pid != std::process::id())?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned());
    Some(Named { pid, name })
}

/// Processes that hold any lock on a file.
fn holders(locks: &str, inode: u64) -> impl Iterator<Item = u32> {
    locks.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "POSIX" | "OFDLCK", _, _, pid, file, _, _] = fields[..] else { return None };
        (file.rsplit(':').next()?.parse() == Ok(inode)).then(|| pid.parse().ok())?
    })
}

/// The holder of the writer's byte in `/proc/locks`. Devices are left out of the
/// comparison: some file systems show another one there than `stat` does, and the
/// byte with the inode is telling enough for a message.
fn parse_locks(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // "5: POSIX ADVISORY WRITE 1234 fe:00:4711 120 120"; waiting ones have "->" in second place.
        let [_, "POSIX" | "OFDLCK", _, "WRITE", pid, file, from, _] = fields[..] else { return None };
        let same = file.rsplit(':').next()?.parse() == Ok(inode);
        (same && from == WRITER_BYTE).then(|| pid.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive() {
        assert!(!Process::this().is_dead());
    }

    #[test]
    fn a_pid_that_was_given_out_again_is_another_process() {
        let this = Process::this();
        assert!(Process { started: this.started + 1, ..this.clone() }.is_dead());
        assert!(Process { pid: i64::MAX, ..this }.is_dead());
    }

    #[test]
    fn nothing_is_known_of_other_machines() {
        let this = Process::this();
        assert!(!Process { pid: i64::MAX, machine: Some("elsewhere".into()), ..this.clone() }.is_dead());
        assert!(!Process { pid: i64::MAX, machine: None, ..this }.is_dead());
    }

    #[test]
    fn a_child_that_ended_is_dead_before_and_after_it_is_reaped() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i64::from(child.id());
        let process = Process { pid, started: started(pid).unwrap(), machine: machine() };
        assert!(!process.is_dead());
        child.kill().unwrap();
        while !process.is_dead() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(process.is_dead());
    }

    #[test]
    fn names_of_programs_do_not_shift_the_fields() {
        let tail = "S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        assert_eq!(parse_stat(&format!("42 (sh) {tail}")), Some(777));
        assert_eq!(parse_stat(&format!("42 (a) Z 9 (b) {tail}")), Some(777));
        assert_eq!(parse_stat(&format!("42 (sh) {}", tail.replacen('S', "Z", 1))), None);
        assert_eq!(parse_stat("42 (sh"), None);
        assert_eq!(parse_stat("42 (sh) S 1"), None);
    }

    #[test]
    fn the_writer_is_read_from_the_kernels_list() {
        let locks = "1: POSIX  ADVISORY  READ  11 fe:00:4711 123 123\n\
                     1: -> POSIX  ADVISORY  WRITE 12 fe:00:4711 120 120\n\
                     2: POSIX  ADVISORY  WRITE 13 fe:00:4712 120 120\n\
                     3: POSIX  ADVISORY  WRITE 14 fe:00:4711 120 120\n";
        assert_eq!(parse_locks(locks, 4711), Some(14));
        assert_eq!(parse_locks(locks, 4713), None);
        assert_eq!(parse_locks("nonsense", 4711), None);
    }
}
