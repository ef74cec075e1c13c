//! Showing what happens, and checking it.

use std::cell::Cell;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tidelock_tests::{Ran, Tidelock};

/// The folder of the demo, and the terminal.
pub(super) struct Stage {
    folder: PathBuf,
    scenes: Cell<u32>,
    colour: bool,
}

impl Stage {
    pub(super) fn new(folder: &Path) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { folder: folder.to_path_buf(), scenes: Cell::new(0), colour }
    }

    /// Begins a scene.
    pub(super) fn scene(&self, title: &str) {
        self.scenes.set(self.scenes.get() + 1);
        println!("\n{}", self.paint("1;36", &format!("{}. {title}", self.scenes.get())));
    }

    /// A sentence of the narrator.
    pub(super) fn say(&self, sentence: &str) {
        println!("\n{sentence}");
    }

    /// A line to type.
    pub(super) fn plain(&self, line: &str) {
        println!("  {line}");
    }

    /// Something that was done besides calling the binary.
    pub(super) fn did(&self, line: &str) {
        println!("\n{}", self.paint("1", &format!("$ {line}")));
    }

    /// A file's name and contents.
    pub(super) fn show_file(&self, name: &str, contents: &str) {
        println!("\n  {}", self.paint("4", name));
        for line in contents.lines() {
            println!("  {}", self.paint("2", &format!("│ {line}")));
        }
    }

    /// A path on the machine.
    pub(super) fn machine(&self, path: &str) -> PathBuf {
        self.folder.join("machine").join(path)
    }

    /// Writes a file of the folder.
    pub(super) fn write(&self, name: &str, contents: &str) -> Result<()> {
        fs::write(self.folder.join(name), contents).with_context(|| format!("cannot write {name}"))
    }

    /// Calls the binary, shows what it says, and checks the exit code.
    pub(super) fn tidelock(&self, arguments: &[&str], code: i32) -> Result<Said> {
        let said = self.call(arguments);
        ensure!(said.0.code == code, "`{}` ended with {}, not {code}", said.0.line, said.0.code);
        Ok(said)
    }

    /// Calls the binary, which must find something wrong.
    pub(super) fn tidelock_fails(&self, arguments: &[&str]) -> Result<Said> {
        let said = self.call(arguments);
        ensure!(said.0.code != 0, "`{}` found nothing wrong", said.0.line);
        Ok(said)
    }

    fn call(&self, arguments: &[&str]) -> Said {
        self.did(&format!("tidelock {}", arguments.join(" ")));
        let mut shown = arguments.to_vec();
        if self.colour {
            shown.extend(["--color", "always"]);
        }
        let ran = Tidelock::new(&self.folder, shown).run();
        print!("{}", ran.stdout);
        print!("{}", ran.stderr);
        if ran.code != 0 {
            println!("{}", self.paint("2", &format!("(exit code {})", ran.code)));
        }
        Said(ran)
    }

    /// Checks that a file of the machine holds a text.
    pub(super) fn holds(&self, path: &str, text: &str) -> Result<()> {
        let contents =
            fs::read_to_string(self.machine(path)).with_context(|| format!("machine/{path} cannot be read"))?;
        ensure!(contents.contains(text), "machine/{path} does not hold {text:?}, but:\n{contents}");
        self.check(&format!("machine/{path} holds \"{text}\""), true)
    }

    /// Shows what was checked; fails if it does not hold.
    pub(super) fn check(&self, what: &str, holds: bool) -> Result<()> {
        if !holds {
            bail!("it is not so that {what}");
        }
        println!("{} {what}", self.paint("32", "✓"));
        Ok(())
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What a call said.
pub(super) struct Said(Ran);

impl Said {
    /// Checks that a text is in it.
    pub(super) fn says(&self, text: &str) -> Result<&Self> {
        let found = self.0.stdout.contains(text) || self.0.stderr.contains(text);
        ensure!(found, "`{}` does not say {text:?}", self.0.line);
        Ok(self)
    }
}
