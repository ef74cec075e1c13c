//! Repositories, servers and keys that tests make for themselves.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tidelock_model::config::{SourceDecl, VerifyDecl};
use tidelock_model::name::Name;
use tidelock_model::port::{Fetched, Source as _, SourceError, Want};
use tidelock_model::revision::Revision;
use tidelock_source::{FetchHelper, GitSource};

/// A folder with a repository `infra`, gone when dropped.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
}

impl Fixture {
    /// An empty repository on the branch `main`.
    pub(crate) fn new() -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(fixture.repo()).unwrap();
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture
    }

    /// A repository with a commit.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let fixture = Self::new();
        fixture.commit(files, "first");
        fixture
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.dir.path().join("infra")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of the work tree.
    pub(crate) fn write(&self, path: &str, content: &[u8]) {
        let path = self.repo().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Writes a secret beside the config, for its owner alone.
    pub(crate) fn secret(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Commits files; gives the commit's id.
    pub(crate) fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        for (path, content) in files {
            self.write(path, content.as_bytes());
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.git_with(args, b"", &[])
    }

    /// Runs git in the repository; gives its output without the last line end.
    pub(crate) fn git_with(&self, args: &[&str], input: &[u8], env: &[(&str, &str)]) -> String {
        let mut child = Command::new("git")
            .arg("-C")
            .arg(self.repo())
            .args(args)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_NAME", "Ann Author")
            .env("GIT_AUTHOR_EMAIL", "ann@example.com")
            .env("GIT_COMMITTER_NAME", "Cy Committer")
            .env("GIT_COMMITTER_EMAIL", "cy@example.com")
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let out = child.wait_with_output().unwrap();
        writing.join().unwrap();
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    /// Stores a blob.
    pub(crate) fn blob(&self, content: &[u8]) -> String {
        self.git_with(&["hash-object", "-w", "--stdin"], content, &[])
    }

    /// Stores a tree whose bytes Git does not check, and puts `main` on a commit of it.
    pub(crate) fn commit_raw_tree(&self, entries: &[(&str, &[u8], &str)]) -> String {
        let tree = self.raw_tree(entries);
        self.commit_tree(&tree)
    }

    /// Stores a tree whose bytes Git does not check.
    pub(crate) fn raw_tree(&self, entries: &[(&str, &[u8], &str)]) -> String {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(mode.as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend((0..40).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()));
        }
        self.git_with(&["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], &bytes, &[])
    }

    /// Puts `main` on a commit of a tree.
    pub(crate) fn commit_tree(&self, tree: &str) -> String {
        let commit = self.git(&["commit-tree", tree, "-m", "made by hand"]);
        self.git(&["update-ref", "refs/heads/main", &commit]);
        commit
    }

    /// The repository as a source on this machine.
    pub(crate) fn here(&self) -> SourceDecl {
        SourceDecl { url: self.repo().display().to_string(), ..SourceDecl::default() }
    }

    /// The same with `verify`, once `signers` was written.
    pub(crate) fn verified(&self, signers: &str) -> SourceDecl {
        std::fs::write(self.path("signers"), signers).unwrap();
        SourceDecl { verify: Some(VerifyDecl { signers: "signers".into() }), ..self.here() }
    }

    pub(crate) fn source(&self, decl: &SourceDecl) -> Result<GitSource, SourceError> {
        GitSource::new(Name::new("infra").unwrap(), decl, self.dir.path(), &self.path("cache"), helper())
    }

    pub(crate) fn fetch(&self, decl: &SourceDecl, last: Option<&Revision>) -> Result<Fetched, SourceError> {
        self.take(decl, &Want::Configured, last)
    }

    pub(crate) fn take(&self, decl: &SourceDecl, want: &Want, last: Option<&Revision>) -> Result<Fetched, SourceError> {
        let source = self.source(decl)?;
        run(source.fetch(want, last))
    }

    /// A new key; gives the line of its public half.
    pub(crate) fn key(&self, name: &str, kind: &[&str]) -> String {
        let path = self.path(name);
        let out = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-C", ""])
            .args(kind)
            .arg("-f")
            .arg(&path)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        std::fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned()
    }

    /// A commit that is signed by a key of [`Fixture::key`].
    pub(crate) fn signed(&self, key: &str, message: &str, date: Option<&str>) -> String {
        let key = format!("user.signingkey={}", self.path(key).display());
        let env: Vec<(&str, &str)> = date.map(|date| ("GIT_COMMITTER_DATE", date)).into_iter().collect();
        let args = ["-c", "gpg.format=ssh", "-c", &key, "commit", "-q", "-S", "--allow-empty", "-m", message];
        self.git_with(&args, b"", &env);
        self.git(&["rev-parse", "HEAD"])
    }
}

/// The fetch child that cargo built beside the tests.
pub(crate) fn helper() -> FetchHelper {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/fetch-child");
    assert!(
        program.exists(),
        "cargo builds {} with all of the crate's tests; alone: cargo build --examples",
        program.display()
    );
    FetchHelper { program, args: Vec::new() }
}

pub(crate) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The error, its code checked; an error without a hint is half an error.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T, SourceError>, code: &str) -> SourceError {
    match result {
        Ok(_) => panic!("should be refused with {code}"),
        Err(error) => {
            assert_eq!(error.code, code, "{error:?}");
            error
        }
    }
}

/// Says where a text is missing what it should say.
#[track_caller]
pub(crate) fn says(text: &str, part: &str) {
    assert!(text.contains(part), "{text:?} should say {part:?}");
}
