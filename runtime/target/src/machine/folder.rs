//! What this room needs of a file system: directories as handles, and operations
//! on one name in them. No operation here takes a path with a slash, so none can
//! be led elsewhere by one. The one place that picks the implementation.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;

/// The implementation in use.
pub(super) type Opened = super::cap::CapFolder;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Directory,
    Symlink,
    Other,
}

/// What is known of a name, without opening what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: EntryKind,
    /// Bytes.
    pub(super) size: u64,
    /// Permission bits, 0 to 0o7777.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// How many names the file has.
    pub(super) links: u64,
    pub(super) dev: u64,
    pub(super) ino: u64,
}

/// Tells whether what a name stands for was touched since: no write and no change of mode or
/// owner leaves it equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) size: u64,
    /// When its content or its attributes changed last: seconds and nanoseconds.
    pub(super) changed: (i64, i64),
}

impl Entry {
    /// Whether both are one and the same file.
    pub(super) fn same_file(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

/// An open directory. Names are single components; links are never followed.
pub(super) trait Folder: Sized + Send + Sync {
    /// Something held by a handle that cannot be swapped for something else.
    type Pinned: Pinned;

    /// Opens a directory that the process may reach by its own right: the root.
    fn open_root(path: &Path) -> io::Result<Self>;
    /// Opens a directory in this one. A link in its place is an error.
    fn enter(&self, name: &OsStr) -> io::Result<Self>;
    /// As [`Folder::enter`], but a mount point is the error `EXDEV`.
    fn enter_same_mount(&self, name: &OsStr) -> io::Result<Self>;
    /// What a name stands for; `None` where it stands for nothing.
    fn look(&self, name: &OsStr) -> io::Result<Option<Entry>>;
    /// When what a name stands for was last touched; `None` where it stands for nothing.
    fn stamp(&self, name: &OsStr) -> io::Result<Option<Stamp>>;
    /// What this directory itself is.
    fn look_here(&self) -> io::Result<Entry>;
    /// All names, in no order.
    fn names(&self) -> io::Result<Vec<OsString>>;
    /// The text of a link.
    fn link_text(&self, name: &OsStr) -> io::Result<OsString>;
    /// Opens for reading, without waiting for the other end of a pipe.
    fn open_file(&self, name: &OsStr) -> io::Result<File>;
    /// Makes a new file with mode 0600 and opens it for writing.
    fn create_file(&self, name: &OsStr) -> io::Result<File>;
    /// Makes a directory with mode 0700.
    fn make_folder(&self, name: &OsStr) -> io::Result<()>;
    /// Makes a symbolic link.
    fn make_link(&self, name: &OsStr, to: &str) -> io::Result<()>;
    /// Gives what `name` stands for a second name.
    fn second_name(&self, name: &OsStr, second: &OsStr) -> io::Result<()>;
    /// Renames within the directory, over what is there.
    fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()>;
    /// Removes anything but a directory.
    fn remove_file(&self, name: &OsStr) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_folder(&self, name: &OsStr) -> io::Result<()>;
    /// Takes hold of what a name stands for, without opening it for reading.
    fn pin(&self, name: &OsStr) -> io::Result<Self::Pinned>;
    /// Makes the directory's names durable.
    fn flush(&self) -> io::Result<()>;
    /// A path for the start directory of a child process: this very directory, even if
    /// it is moved. `None` where the system offers none.
    fn start_path(&self) -> Option<std::path::PathBuf>;
}

/// Something held by a handle.
pub(super) trait Pinned {
    /// What it is.
    fn look(&self) -> io::Result<Entry>;
    /// Sets owner and group; `None` leaves it.
    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()>;
    /// Sets permission bits.
    fn set_mode(&self, mode: u32) -> io::Result<()>;
}
