//! A throw-away folder, and programs that see nothing outside of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::compiled;
use crate::keys::SigningKey;
use crate::repo::Repo;
use crate::tidelock::Tidelock;

/// The world of one test case; it is removed when this is dropped.
pub struct TestEnvironment {
    folder: TempDir,
}

impl Drop for TestEnvironment {
    fn drop(&mut self) {
        compiled::keep(self.root());
    }
}

impl TestEnvironment {
    /// A new, empty world.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a folder, which nobody expects of a default")]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("tidelock-test-").tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("home")).expect("a home folder");
        Self { folder }
    }

    /// The same, with the plugins that others compiled.
    #[must_use]
    pub fn stocked() -> Self {
        let world = Self::new();
        compiled::lend(world.root());
        world
    }

    /// The folder that holds everything.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// A path below the folder.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes a file and the folders above it.
    pub fn write(&self, relative: &str, contents: impl AsRef<[u8]>) {
        write(&self.path(relative), contents.as_ref());
    }

    /// Writes a file that its owner alone may read.
    pub fn secret(&self, relative: &str, contents: impl AsRef<[u8]>) {
        use std::os::unix::fs::PermissionsExt;
        self.write(relative, contents);
        let path = self.path(relative);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a file of our own");
    }

    /// Reads a text file.
    #[must_use]
    pub fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
    }

    /// A new Git repository in a folder of this name.
    #[must_use]
    pub fn repo(&self, name: &str) -> Repo {
        Repo::init(&self.path(name))
    }

    /// A new key, kept in `keys/`.
    #[must_use]
    pub fn key(&self, name: &str) -> SigningKey {
        SigningKey::generate(&self.path("keys"), name)
    }

    /// A call of the binary, in the folder.
    #[must_use]
    pub fn tidelock<I: IntoIterator<Item: AsRef<str>>>(&self, arguments: I) -> Tidelock {
        Tidelock::new(self.root(), arguments)
    }

    /// Every file that holds a text, but for those below folders of these names: where a secret
    /// got to.
    #[must_use]
    pub fn holding(&self, text: &str, but: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        holding(self.root(), text.as_bytes(), but, &mut found);
        found
    }

    /// Every file below a folder with its contents, mode and link target: equal
    /// only if nothing changed.
    #[must_use]
    pub fn fingerprint(&self, relative: &str) -> Vec<String> {
        let mut entries = Vec::new();
        list(&self.path(relative), &self.path(relative), &mut entries);
        entries.sort();
        entries
    }
}

/// Gives a program an environment that is the same on every machine.
pub fn hermetic<'c>(command: &'c mut Command, home: &Path) -> &'c mut Command {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    command.env_clear().env("PATH", path).env("HOME", home).envs([
        ("COLUMNS", "100"),
        ("GIT_AUTHOR_EMAIL", "ada@example.com"),
        ("GIT_AUTHOR_NAME", "Ada Lovelace"),
        ("GIT_COMMITTER_EMAIL", "ada@example.com"),
        ("GIT_COMMITTER_NAME", "Ada Lovelace"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("LANG", "C.UTF-8"),
        ("NO_COLOR", "1"),
        ("TZ", "UTC"),
    ])
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, contents: &[u8]) {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).unwrap_or_else(|error| panic!("cannot make {}: {error}", parent.display()));
    }
    fs::write(path, contents).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

fn holding(folder: &Path, text: &[u8], but: &[&str], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            if !but.contains(&name.as_str()) {
                holding(&path, text, but, found);
            }
        } else if let Ok(bytes) = fs::read(&path)
            && bytes.windows(text.len()).any(|window| window == text)
        {
            found.push(path.display().to_string());
        }
    }
}

fn list(root: &Path, folder: &Path, entries: &mut Vec<String>) {
    use std::os::unix::fs::PermissionsExt;
    let listing = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    for entry in listing {
        let path = entry.expect("an entry").path();
        let about = fs::symlink_metadata(&path).expect("metadata");
        let name = path.strip_prefix(root).expect("below the root").display();
        let mode = about.permissions().mode() & 0o7777;
        if about.is_symlink() {
            entries.push(format!("{name} -> {}", fs::read_link(&path).expect("a link").display()));
        } else if about.is_dir() {
            entries.push(format!("{name}/ {mode:o}"));
            list(root, &path, entries);
        } else {
            let contents = fs::read(&path).expect("a file's contents");
            entries.push(format!("{name} {mode:o} {}", String::from_utf8_lossy(&contents)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_sees_contents_modes_links_and_empty_folders() {
        let world = TestEnvironment::new();
        world.write("t/a", "one");
        let first = world.fingerprint("t");
        assert_eq!(first, world.fingerprint("t"));

        world.write("t/a", "two");
        let second = world.fingerprint("t");
        assert_ne!(first, second);
        fs::create_dir(world.path("t/empty")).unwrap();
        let third = world.fingerprint("t");
        assert_ne!(second, third);
        std::os::unix::fs::symlink("nowhere", world.path("t/link")).unwrap();
        assert_ne!(third, world.fingerprint("t"));
    }

    #[test]
    fn a_text_is_found_wherever_it_got_to() {
        let world = TestEnvironment::new();
        world.write("a/b/c", "before s3cret after");
        world.write("not/here", "s3cret");
        let found = world.holding("s3cret", &["not"]);
        assert_eq!(found, [world.path("a/b/c").display().to_string()]);
    }

    #[test]
    fn a_hermetic_program_does_not_see_our_environment() {
        let world = TestEnvironment::new();
        let mut command = Command::new("env");
        let output = hermetic(&mut command, world.root()).output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains("NO_COLOR=1") && !output.contains("CARGO_MANIFEST_DIR"), "{output}");
    }
}
