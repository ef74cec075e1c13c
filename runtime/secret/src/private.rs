//! Files that hold secrets: the one function that reads them, whatever they are for, and its one
//! rule. Their group may read them, since that is how secrets are handed to services; nobody else
//! may, and who could write one would choose what we sign in with.
//!
//! Nothing that is no file is waited for: a pipe that nobody writes to would hold up a pass.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// What others than the owner may not have: to write for the group, and anything for the rest.
const OPEN: u32 = 0o027;

/// Where reading begins, in bytes: most secrets are shorter.
const ROOM: usize = 4 << 10;

/// Why a file is not taken. Holds nothing of what is in it.
#[derive(Debug)]
pub struct Refused {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Io(io::Error),
    NoFile,
    Open(u32),
    TooLarge(usize),
    NoText,
}

impl Refused {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let path = self.path.display();
        match self.why {
            Why::Io(_) | Why::NoFile => "put it there, in a file; it is read again when it is next needed".to_owned(),
            Why::Open(_) => format!("chmod 600 {path}; where others may have read it, change the value"),
            Why::TooLarge(_) | Why::NoText => "the value alone belongs there".to_owned(),
        }
    }
}

impl Refused {
    pub(crate) fn is_missing(&self) -> bool {
        matches!(&self.why, Why::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Io(error) => write!(f, "{path}: {error}"),
            Why::NoFile => write!(f, "{path} is no file"),
            Why::Open(mode) => write!(f, "{path} is open to others (mode {mode:04o})"),
            Why::TooLarge(max) => write!(f, "{path} is larger than {max} bytes"),
            Why::NoText => write!(f, "{path} is no text"),
        }
    }
}

impl std::error::Error for Refused {}

/// Reads a file that holds a secret, of `max` bytes at most.
///
/// # Errors
/// It is not there, no file, open to others, or too large.
pub fn read(path: &Path, max: usize) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let (file, about) = open(path)?;
    if about.mode() & OPEN != 0 {
        return Err(refused(path, Why::Open(about.mode() & 0o7777)));
    }
    whole(path, file, max)
}

/// Reads a file that holds a secret which is a text, of `max` bytes at most.
///
/// # Errors
/// As [`read`]; it is no text.
pub fn read_text(path: &Path, max: usize) -> Result<Zeroizing<String>, Refused> {
    let mut bytes = read(path, max)?;
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(refused(path, Why::NoText))
        }
    }
}

/// Reads a file that holds a text which is no secret, of `max` bytes at most.
///
/// # Errors
/// It is not there, no file, too large, or no text.
pub fn read_plain(path: &Path, max: usize) -> Result<String, Refused> {
    let (file, _) = open(path)?;
    let mut bytes = whole(path, file, max)?;
    String::from_utf8(std::mem::take(&mut *bytes)).map_err(|_| refused(path, Why::NoText))
}

/// Opens what is a file, and waits for nothing.
pub(crate) fn open(path: &Path) -> Result<(File, Metadata), Refused> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let opened = opened.and_then(|file| file.metadata().map(|about| (file, about)));
    match opened {
        Ok((file, about)) if about.is_file() => Ok((file, about)),
        Ok(_) => Err(refused(path, Why::NoFile)),
        Err(error) => Err(refused(path, Why::Io(error))),
    }
}

/// What is read of what may hold a secret. No part of it is left in memory that was let go, as it is
/// of a vector that grows.
pub struct Gathered {
    room: Zeroizing<Vec<u8>>,
    filled: usize,
    max: usize,
}

impl Gathered {
    /// Nothing yet, and up to so many bytes.
    #[must_use]
    pub fn up_to(max: usize) -> Self {
        Self { room: Zeroizing::new(vec![0; ROOM.min(max)]), filled: 0, max }
    }

    /// Reads a part. How much that was; 0 at the end, and where all the room is filled.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_from(&mut self, from: &mut impl Read) -> io::Result<usize> {
        if self.filled == self.room.len() {
            let mut larger = Zeroizing::new(vec![0; self.filled.saturating_mul(2).min(self.max)]);
            larger[..self.filled].copy_from_slice(&self.room);
            self.room = larger;
        }
        let more = from.read(&mut self.room[self.filled..])?;
        self.filled += more;
        Ok(more)
    }

    /// Whether all the room is filled.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.filled == self.max
    }

    /// What was read.
    #[must_use]
    pub fn into_bytes(mut self) -> Zeroizing<Vec<u8>> {
        self.room.truncate(self.filled);
        self.room
    }
}

/// Reads all of what may hold a secret, up to so many bytes.
///
/// # Errors
/// It cannot be read.
pub fn read_all(mut from: impl Read, max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut gathered = Gathered::up_to(max);
    loop {
        match gathered.read_from(&mut from) {
            Ok(0) => return Ok(gathered.into_bytes()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn whole(path: &Path, file: File, max: usize) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let bytes = read_all(file, max + 1).map_err(|error| refused(path, Why::Io(error)))?;
    if bytes.len() > max {
        return Err(refused(path, Why::TooLarge(max)));
    }
    Ok(bytes)
}

fn refused(path: &Path, why: Why) -> Refused {
    Refused { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_read_where_nobody_else_may_read_it_and_none_but_its_owner_write_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        std::fs::write(&path, "hunter2").unwrap();
        for (mode, good) in
            [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o660, false), (0o601, false)]
        {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            match read(&path, 100) {
                Ok(bytes) => assert!(good && *bytes == b"hunter2", "{mode:o}"),
                Err(refused) => {
                    let (said, hint) = (refused.to_string(), refused.hint());
                    assert!(!good && said.contains(&format!("open to others (mode {mode:04o})")), "{mode:o}: {said}");
                    assert!(hint.starts_with("chmod 600 ") && !said.contains("hunter2"), "{hint}");
                }
            }
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read(&path, 3).unwrap_err().to_string().contains("larger than 3 bytes"));
        assert_eq!(
            (read_text(&path, 100).unwrap().as_str(), read_plain(&path, 100).unwrap().as_str()),
            ("hunter2", "hunter2")
        );
        std::fs::write(&path, [0xff]).unwrap();
        assert!(read_text(&path, 100).unwrap_err().to_string().contains("no text"));
    }

    #[test]
    fn all_is_read_in_whatever_pieces_it_comes() {
        /// Gives an odd number of bytes at a time.
        struct Pieces<'b>(&'b [u8]);
        impl Read for Pieces<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let most = buffer.len().min(777);
                self.0.read(&mut buffer[..most])
            }
        }
        for length in [0, 1, ROOM - 1, ROOM, ROOM + 1, 5 * ROOM] {
            let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            assert_eq!(*read_all(Pieces(&bytes), usize::MAX).unwrap(), bytes, "{length}");
            for max in [0, 7, ROOM, ROOM + 5] {
                assert_eq!(*read_all(Pieces(&bytes), max).unwrap(), bytes[..length.min(max)], "{length} {max}");
            }
        }
    }

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [pipe.as_path(), dir.path(), Path::new("/dev/zero")] {
            assert!(read(path, 100).unwrap_err().to_string().contains("is no file"), "{}", path.display());
            assert!(read_plain(path, 100).is_err(), "{}", path.display());
        }
        assert!(read(&dir.path().join("none"), 100).unwrap_err().to_string().contains("No such file"));
    }
}
