//! `tidelock.lock`: which digest each plugin's name stands for. Written by the
//! operator's `plugin accept`, never by a plugin and never from Git.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidelock_model::digest::Digest;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::plugin::PluginRef;

const HEAD: &str = "# The plugins that this operator accepted. Written by `tidelock plugin accept NAME`.\n\n";

/// The lock file.
#[derive(Debug, Clone)]
pub struct Lock {
    path: PathBuf,
    file: LockFile,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFile {
    version: u32,
    #[serde(default)]
    plugins: BTreeMap<String, Accepted>,
}

/// What was accepted under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// The plugin's own version, for people.
    pub version: String,
    /// What counts.
    pub digest: Digest,
}

impl Lock {
    /// Reads the lock file. One that is not there accepts nothing.
    ///
    /// # Errors
    /// It cannot be read, or was written by a newer Tidelock.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, Fault> {
        let path = path.into();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, file: LockFile { version: 1, plugins: BTreeMap::new() } });
            }
            Err(error) => return Err(unusable(&path, &error)),
        };
        let file: LockFile = toml::from_str(&text).map_err(|error| {
            Fault::new("invalid", Blame::Target, format!("{}: {error}", path.display()))
                .hint("mend it, or remove it and accept the plugins again")
        })?;
        if file.version != 1 {
            return Err(Fault::new(
                "invalid",
                Blame::Target,
                format!("{} has version {}; this Tidelock reads version 1", path.display(), file.version),
            ));
        }
        Ok(Self { path, file })
    }

    /// Writes the lock file, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self) -> Result<(), Fault> {
        let text = toml::to_string(&self.file)
            .map_err(|error| Fault::new("io", Blame::Host, format!("cannot write the lock as TOML: {error}")))?;
        let staged = Self::staged(&self.path);
        let written = (|| {
            // A crash may have left one; whatever lies there is taken away, never followed.
            match fs::remove_file(&staged) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
            file.write_all(HEAD.as_bytes())?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&staged, &self.path)
        })();
        written.map_err(|error| {
            drop(fs::remove_file(&staged));
            unusable(&self.path, &error)
        })
    }

    /// Where a lock file is written before it takes its place: as much ours as the file itself.
    #[must_use]
    pub fn staged(path: &Path) -> PathBuf {
        let mut staged = path.as_os_str().to_owned();
        staged.push(".new");
        PathBuf::from(staged)
    }

    /// Where the lock file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was accepted under a name.
    #[must_use]
    pub fn accepted(&self, name: &str) -> Option<&Accepted> {
        self.file.plugins.get(name)
    }

    /// Every accepted name, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.file.plugins.keys().map(String::as_str)
    }

    /// Binds a plugin's name to its digest. Says whether that is news; [`Lock::write`]
    /// keeps it.
    pub fn accept(&mut self, plugin: &PluginRef) -> bool {
        let accepted = Accepted { version: plugin.version.clone(), digest: plugin.digest };
        self.file.plugins.insert(plugin.name.clone(), accepted.clone()) != Some(accepted)
    }

    /// Takes a name out. Says whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.file.plugins.remove(name).is_some()
    }

    /// Whether a plugin is the one that was accepted under its name.
    ///
    /// # Errors
    /// `not-accepted`, with the command that accepts it.
    pub fn check(&self, plugin: &PluginRef) -> Result<(), Fault> {
        let PluginRef { name, version, digest } = plugin;
        let why = match self.accepted(name) {
            Some(accepted) if accepted.digest == *digest => return Ok(()),
            Some(accepted) => format!(
                "plugin {name} is not the one that was accepted: {} holds {} ({}), and this is {version} ({})",
                self.path.display(),
                accepted.version,
                accepted.digest.short(),
                digest.short()
            ),
            None => {
                format!("plugin {name} {version} ({}) was not accepted in {}", digest.short(), self.path.display())
            }
        };
        Err(Fault::new("not-accepted", Blame::Target, why).hint(format!("tidelock plugin accept {name}")))
    }
}

fn unusable(path: &Path, error: &io::Error) -> Fault {
    Fault::new("io", Blame::Target, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(content: &[u8]) -> PluginRef {
        PluginRef { name: "server".into(), version: "0.1.0".into(), digest: Digest::of(content) }
    }

    #[test]
    fn only_what_was_accepted_passes_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tidelock.lock");
        let mut lock = Lock::read(&path).unwrap();
        let fault = lock.check(&plugin(b"one")).unwrap_err();
        assert_eq!(fault.hint.as_deref(), Some("tidelock plugin accept server"));
        assert!(lock.accept(&plugin(b"one")));
        assert!(!lock.accept(&plugin(b"one")));
        lock.write().unwrap();

        let lock = Lock::read(&path).unwrap();
        lock.check(&plugin(b"one")).unwrap();
        let fault = lock.check(&plugin(b"two")).unwrap_err();
        assert_eq!(fault.code, "not-accepted");
        assert!(fault.message.contains("is not the one that was accepted"), "{fault}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_link_where_the_lock_is_staged_leads_nowhere() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("tidelock.lock"), dir.path().join("other"));
        fs::write(&other, "kept").unwrap();
        std::os::unix::fs::symlink(&other, dir.path().join("tidelock.lock.new")).unwrap();
        let mut lock = Lock::read(&path).unwrap();
        lock.accept(&plugin(b"one"));
        lock.write().unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "kept");
        let meta = fs::symlink_metadata(&path).unwrap();
        assert!(meta.is_file());
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        Lock::read(&path).unwrap().check(&plugin(b"one")).unwrap();
    }

    #[test]
    fn a_lock_that_cannot_be_read_accepts_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tidelock.lock");
        for (text, words) in [
            ("plugins = 3", "plugins"),
            ("version = 2", "reads version 1"),
            ("version = 1\n[plugins.server]\nversion = \"1\"\ndigest = \"sha256:12\"", "is not a digest"),
            ("version = 1\nextra = 1", "extra"),
        ] {
            fs::write(&path, text).unwrap();
            let fault = Lock::read(&path).unwrap_err();
            assert!(fault.message.contains(words) && fault.message.contains("tidelock.lock"), "{fault}");
        }
    }
}
