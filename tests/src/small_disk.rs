//! A disk of a given size, in memory, that is full soon.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted disk, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of a size, such as `2m`, over a folder, which is made; `None` for
    /// whoever may not mount.
    ///
    /// # Panics
    /// Root may not either.
    #[must_use]
    pub fn mount(path: &Path, size: &str) -> Option<Self> {
        let id = Command::new("id").arg("-u").output().expect("id runs");
        if id.stdout.trim_ascii() != b"0" {
            return None;
        }
        std::fs::create_dir_all(path).expect("a folder");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"]).arg(path));
        Some(Self { path: path.to_owned() })
    }

    /// Gives it another size.
    pub fn grow(&self, size: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.path));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a program that still has a file open there is no reason to keep it.
        drop(Command::new("umount").arg("-l").arg(&self.path).status());
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("mount runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
