//! A call of the binary, and what came of it.

use std::io::Write;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::environment::hermetic;
use crate::netns::Netns;

/// A call of `tidelock` that is being put together.
pub struct Tidelock {
    command: Command,
    arguments: Vec<String>,
    stdin: Option<String>,
}

impl Tidelock {
    /// A call in a folder, which is also the home of the process.
    pub fn new<I: IntoIterator<Item: AsRef<str>>>(folder: &Path, arguments: I) -> Self {
        let arguments: Vec<String> = arguments.into_iter().map(|word| word.as_ref().to_owned()).collect();
        let mut command = Command::new(binary());
        hermetic(&mut command, &folder.join("home")).current_dir(folder).args(&arguments);
        Self { command, arguments, stdin: None }
    }

    /// Adds a variable to the otherwise fixed environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs as another user and that user's group, which root alone can ask for.
    #[must_use]
    pub fn user(mut self, id: u32) -> Self {
        self.command.uid(id).gid(id);
        self
    }

    /// Runs in a network namespace, and has its links and routes. Before anything else is set.
    #[must_use]
    pub fn in_space(self, space: &Netns) -> Self {
        self.through("nsenter", &[&format!("--net=/run/netns/{}", space.name())])
    }

    /// Runs before whatever else wants a processor, the kernel's own work included. Before anything
    /// else is set; root alone can ask for it.
    #[must_use]
    pub fn before_others(self) -> Self {
        self.through("chrt", &["--rr", "10"])
    }

    fn through(mut self, program: &str, words: &[&str]) -> Self {
        let folder = self.command.get_current_dir().expect("a folder").to_owned();
        let mut command = Command::new(program);
        hermetic(&mut command, &folder.join("home")).current_dir(&folder);
        command.args(words).arg(binary()).args(&self.arguments);
        self.command = command;
        self
    }

    /// Runs in another folder.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Gives it this text on its standard input.
    #[must_use]
    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    /// Runs to the end.
    pub fn run(mut self) -> Ran {
        let mut child = self.start();
        if let Some(text) = &self.stdin {
            let mut input = child.stdin.take().expect("a standard input");
            // A program that does not read to the end is within its rights.
            input.write_all(text.as_bytes()).ok();
        }
        Ran::of(&self.arguments, child.wait_with_output().expect("the binary's output"))
    }

    /// Starts it and leaves the rest to the caller, who may want to kill it.
    pub fn spawn(mut self) -> Child {
        self.start()
    }

    /// Starts it with its outputs where the caller wants them.
    pub fn spawn_with(mut self, stdout: Stdio, stderr: Stdio) -> Child {
        self.command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        self.command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", binary().display()))
    }

    fn start(&mut self) -> Child {
        let input = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", binary().display()))
    }
}

/// What a call came to.
#[derive(Debug)]
pub struct Ran {
    /// The call, as typed.
    pub line: String,
    /// The exit code; -1 for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    fn of(arguments: &[String], output: Output) -> Self {
        Self {
            line: format!("tidelock {}", arguments.join(" ")),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("text on standard output"),
            stderr: String::from_utf8(output.stderr).expect("text on standard error"),
        }
    }

    /// Asserts the exit code.
    #[track_caller]
    #[must_use = "or call `.ok()`"]
    pub fn exit(self, code: i32) -> Self {
        assert_eq!(self.code, code, "wrong exit code\n{}", self.story());
        self
    }

    /// Asserts that it ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exit(0)
    }

    /// Asserts that standard output or standard error holds a text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "nobody says {text:?}\n{}", self.story());
        self
    }

    /// Asserts that neither output holds a text.
    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "somebody says {text:?}\n{}", self.story());
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON: {error}\n{}", self.story()))
    }

    /// The call and all that it said.
    #[must_use]
    pub fn story(&self) -> String {
        format!("$ {}\nexit code {}\n--- stdout\n{}--- stderr\n{}", self.line, self.code, self.stdout, self.stderr)
    }
}

/// The binary of the development profile.
///
/// # Panics
/// If it has not been built: cargo does not know that these tests need it.
#[must_use]
pub fn binary() -> PathBuf {
    let this = std::env::current_exe().expect("the path of this program");
    this.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("tidelock"))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("there is no tidelock beside {}; run `cargo xtask test`", this.display()))
}
