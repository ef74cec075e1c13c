//! A Git repository whose commits are equal on every machine.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment::{hermetic, write};
use crate::keys::SigningKey;

/// The date of the first commit, in seconds since 1970: 2026-01-01 in UTC. Each
/// further commit is a minute later.
const FIRST_COMMIT: u64 = 1_767_225_600;

/// A repository with a work tree, driven by the real `git`.
pub struct Repo {
    folder: PathBuf,
    commits: Cell<u64>,
}

impl Repo {
    /// Makes an empty repository with the branch `main`.
    #[must_use]
    pub fn init(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        let repo = Self { folder: folder.to_path_buf(), commits: Cell::new(0) };
        repo.git(["init", "--quiet", "--initial-branch=main"]);
        repo
    }

    /// Takes over a repository that exists, at its current commit.
    #[must_use]
    pub fn open(folder: &Path) -> Self {
        let repo = Self { folder: folder.to_path_buf(), commits: Cell::new(0) };
        repo.commits.set(repo.git(["rev-list", "--count", "--all"]).parse().expect("a count of commits"));
        repo
    }

    /// The work tree.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Writes a file of the work tree.
    pub fn write(&self, relative: &str, contents: impl AsRef<[u8]>) -> &Self {
        write(&self.folder.join(relative), contents.as_ref());
        self
    }

    /// Replaces a text in a file, which must hold it.
    #[track_caller]
    pub fn edit(&self, relative: &str, from: &str, to: &str) -> &Self {
        let path = self.folder.join(relative);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        assert!(text.contains(from), "{relative} does not hold {from:?}:\n{text}");
        self.write(relative, text.replace(from, to))
    }

    /// Removes a file of the work tree.
    pub fn remove(&self, relative: &str) -> &Self {
        let path = self.folder.join(relative);
        fs::remove_file(&path).unwrap_or_else(|error| panic!("cannot remove {}: {error}", path.display()));
        self
    }

    /// Renames a file of the work tree.
    pub fn rename(&self, from: &str, to: &str) -> &Self {
        fs::rename(self.folder.join(from), self.folder.join(to))
            .unwrap_or_else(|error| panic!("cannot rename {from}: {error}"));
        self
    }

    /// Commits the whole work tree and returns the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.commit_with(message, &[])
    }

    /// Commits the whole work tree, signed.
    pub fn commit_signed(&self, message: &str, key: &SigningKey) -> String {
        let signing_key = format!("user.signingkey={}", key.private().display());
        self.commit_with(message, &["-c", "gpg.format=ssh", "-c", &signing_key, "-c", "commit.gpgsign=true"])
    }

    fn commit_with(&self, message: &str, settings: &[&str]) -> String {
        self.git(["add", "--all"]);
        let at = format!("{} +0000", FIRST_COMMIT + 60 * self.commits.get());
        self.commits.set(self.commits.get() + 1);
        let mut command = self.command();
        command.env("GIT_AUTHOR_DATE", &at).env("GIT_COMMITTER_DATE", &at);
        command.args(settings).args(["commit", "--quiet", "--allow-empty", "-m", message]);
        finish(&mut command);
        self.head()
    }

    /// The id of the current commit.
    #[must_use]
    pub fn head(&self) -> String {
        self.git(["rev-parse", "HEAD"])
    }

    /// Runs `git` in the work tree and returns what it printed.
    #[track_caller]
    pub fn git<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        finish(self.command().args(arguments))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        hermetic(&mut command, &self.folder).current_dir(&self.folder);
        command
    }
}

#[track_caller]
pub(crate) fn finish(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{stderr}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TestEnvironment;

    #[test]
    fn the_same_story_gives_the_same_commits() {
        let tell = || {
            let world = TestEnvironment::new();
            let repo = world.repo("infra");
            repo.write("a.txt", "one").commit("first");
            repo.edit("a.txt", "one", "two").rename("a.txt", "b.txt").commit("second")
        };
        assert_eq!(tell(), tell());
    }

    #[test]
    fn a_signed_commit_verifies_against_its_key() {
        let world = TestEnvironment::new();
        let repo = world.repo("infra");
        let key = world.key("ada");
        repo.write("a.txt", "one").commit_signed("first", &key);
        world.write("allowed", key.allowed_signer("ada@example.com"));
        let allowed = format!("gpg.ssh.allowedSignersFile={}", world.path("allowed").display());
        repo.git(["-c", &allowed, "verify-commit", "HEAD"]);
    }

    #[test]
    fn an_opened_repository_goes_on_where_it_was() {
        let world = TestEnvironment::new();
        let repo = world.repo("infra");
        repo.write("a.txt", "one").commit("first");
        Repo::open(repo.path()).write("a.txt", "two").commit("second");
        assert_eq!(repo.git(["log", "--format=%ct"]), format!("{}\n{FIRST_COMMIT}", FIRST_COMMIT + 60));
    }
}
