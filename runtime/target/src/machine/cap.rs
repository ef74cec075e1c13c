//! [`Folder`] by cap-std: every name is resolved beneath an open directory, with
//! `openat2(RESOLVE_BENEATH)` where the kernel has it. Its types stay in this file.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use super::folder::{Entry, EntryKind, Folder, Pinned, Stamp};

/// A directory that cap-std holds open.
pub(super) struct CapFolder(Dir);

/// A file system object by a handle that cannot be swapped.
pub(super) struct CapPinned {
    /// An `O_PATH` handle: no device is opened, no pipe waited on.
    path: File,
    /// A handle for reading, only where `/proc` is not mounted.
    readable: Option<File>,
}

/// A name that could lead elsewhere never gets as far as cap-std.
fn single(name: &OsStr) -> io::Result<&Path> {
    let bytes = name.as_encoded_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a name", name.display())));
    }
    Ok(Path::new(name))
}

fn kind(mode: u32) -> EntryKind {
    match mode & 0o170_000 {
        0o100_000 => EntryKind::File,
        0o040_000 => EntryKind::Directory,
        0o120_000 => EntryKind::Symlink,
        _ => EntryKind::Other,
    }
}

fn entry(metadata: &cap_std::fs::Metadata) -> Entry {
    Entry {
        kind: kind(metadata.mode()),
        size: metadata.size(),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        links: metadata.nlink(),
        dev: metadata.dev(),
        ino: metadata.ino(),
    }
}

/// What an open file is.
pub(super) fn entry_of(file: &File) -> io::Result<Entry> {
    let metadata = file.metadata()?;
    Ok(Entry {
        kind: kind(metadata.mode()),
        size: metadata.size(),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        links: metadata.nlink(),
        dev: metadata.dev(),
        ino: metadata.ino(),
    })
}

fn nofollow() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.follow(FollowSymlinks::No);
    options
}

fn flags(flags: OFlags) -> i32 {
    // The bits of open(2) fit; rustix and std differ only in sign.
    flags.bits().cast_signed()
}

impl Folder for CapFolder {
    type Pinned = CapPinned;

    fn open_root(path: &Path) -> io::Result<Self> {
        Dir::open_ambient_dir(path, ambient_authority()).map(Self)
    }

    fn enter(&self, name: &OsStr) -> io::Result<Self> {
        self.0.open_dir_nofollow(single(name)?).map(Self)
    }

    fn enter_same_mount(&self, name: &OsStr) -> io::Result<Self> {
        let name = single(name)?;
        let opened = rustix::fs::openat2(
            &self.0,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS,
        );
        match opened {
            Ok(fd) => Ok(Self(Dir::from_std_file(File::from(fd)))),
            // Without openat2 only mounts of other file systems can be told.
            Err(Errno::NOSYS | Errno::PERM) => {
                let folder = self.enter(name.as_os_str())?;
                if folder.look_here()?.dev == self.look_here()?.dev { Ok(folder) } else { Err(Errno::XDEV.into()) }
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn look(&self, name: &OsStr) -> io::Result<Option<Entry>> {
        match self.0.symlink_metadata(single(name)?) {
            Ok(metadata) => Ok(Some(entry(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn stamp(&self, name: &OsStr) -> io::Result<Option<Stamp>> {
        match self.0.symlink_metadata(single(name)?) {
            Ok(it) => {
                let changed = (it.ctime(), it.ctime_nsec());
                Ok(Some(Stamp { dev: it.dev(), ino: it.ino(), size: it.size(), changed }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn look_here(&self) -> io::Result<Entry> {
        self.0.dir_metadata().map(|metadata| entry(&metadata))
    }

    fn names(&self) -> io::Result<Vec<OsString>> {
        self.0.entries()?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    fn link_text(&self, name: &OsStr) -> io::Result<OsString> {
        self.0.read_link_contents(single(name)?).map(PathBuf::into_os_string)
    }

    fn open_file(&self, name: &OsStr) -> io::Result<File> {
        let mut options = nofollow();
        options.read(true).custom_flags(flags(OFlags::NONBLOCK | OFlags::NOCTTY));
        self.0.open_with(single(name)?, &options).map(cap_std::fs::File::into_std)
    }

    fn create_file(&self, name: &OsStr) -> io::Result<File> {
        let mut options = nofollow();
        options.write(true).create_new(true).mode(0o600);
        self.0.open_with(single(name)?, &options).map(cap_std::fs::File::into_std)
    }

    fn make_folder(&self, name: &OsStr) -> io::Result<()> {
        use cap_std::fs::{DirBuilder, DirBuilderExt as _};
        self.0.create_dir_with(single(name)?, DirBuilder::new().mode(0o700))
    }

    fn make_link(&self, name: &OsStr, to: &str) -> io::Result<()> {
        self.0.symlink_contents(Path::new(to), single(name)?)
    }

    fn second_name(&self, name: &OsStr, second: &OsStr) -> io::Result<()> {
        self.0.hard_link(single(name)?, &self.0, single(second)?)
    }

    fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        self.0.rename(single(from)?, &self.0, single(to)?)
    }

    fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        self.0.remove_file(single(name)?)
    }

    fn remove_folder(&self, name: &OsStr) -> io::Result<()> {
        self.0.remove_dir(single(name)?)
    }

    fn pin(&self, name: &OsStr) -> io::Result<CapPinned> {
        let mut options = nofollow();
        options.read(true).custom_flags(flags(OFlags::PATH));
        let mut pinned = CapPinned { path: self.0.open_with(single(name)?, &options)?.into_std(), readable: None };
        let entry = pinned.look()?;
        if matches!(entry.kind, EntryKind::File | EntryKind::Directory) && !Path::new("/proc/self/fd").exists() {
            let file = self.open_file(name)?;
            if !entry_of(&file)?.same_file(&entry) {
                return Err(Errno::STALE.into());
            }
            pinned.readable = Some(file);
        }
        Ok(pinned)
    }

    fn flush(&self) -> io::Result<()> {
        // The handle itself is `O_PATH`, which fsync(2) refuses.
        let readable =
            rustix::fs::openat(&self.0, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::fsync(readable)?;
        Ok(())
    }

    fn start_path(&self) -> Option<PathBuf> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.0.as_fd().as_raw_fd()));
        path.exists().then_some(path)
    }
}

impl Pinned for CapPinned {
    fn look(&self) -> io::Result<Entry> {
        entry_of(&self.path)
    }

    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        rustix::fs::chownat(&self.path, "", uid, gid, AtFlags::EMPTY_PATH)?;
        Ok(())
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode);
        if let Some(readable) = &self.readable {
            return Ok(rustix::fs::fchmod(readable, mode)?);
        }
        // fchmod(2) refuses an `O_PATH` handle, but chmod(2) takes its entry in /proc, which
        // is this very object and not a name that could have been swapped.
        Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", self.path.as_raw_fd()), mode)?)
    }
}
