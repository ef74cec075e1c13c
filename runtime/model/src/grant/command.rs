//! Commands and their environment: what may be run, word by word.

use globset::GlobMatcher;

use super::path::well_formed;
use super::{Grant, glob, invalid, quoted};
use crate::effect::shown;
use crate::error::{Blame, Fault};

/// One word of a pattern.
#[derive(Debug, Clone)]
pub(super) enum WordPattern {
    /// The word itself.
    Exact(String),
    /// A word that fits, and that no wildcard made into an option or a path elsewhere.
    Fits(GlobMatcher),
    Rest,
}

impl Grant {
    /// A grant is for words; a variable can make the same words do something else, so
    /// each is granted by name.
    pub(super) fn environment(&self, env: &[(String, String)]) -> Result<(), Fault> {
        for (name, value) in env {
            let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !plain || value.contains('\0') {
                return Err(invalid(format!("{name:?} cannot be the name of an environment variable")));
            }
            if !self.env.iter().any(|pattern| pattern.is_match(name)) {
                let message =
                    format!("plugin {} may not set the variable {name} on target {}", self.plugin, self.target);
                return Err(Fault::new("denied", Blame::Target, message).hint(format!(
                    "if no value of it can make a granted command run something else, {}",
                    self.lines("env", &quoted(name))
                )));
            }
        }
        Ok(())
    }

    pub(super) fn command(&self, argv: &[String], granted: &[Vec<WordPattern>], key: &str) -> Result<(), Fault> {
        if let Some(program) = argv.first() {
            well_formed(program)?;
        }
        if granted.iter().any(|pattern| fits(pattern, argv)) {
            return Ok(());
        }
        let words = argv.iter().map(|word| quoted(&globset::escape(word))).collect::<Vec<_>>().join(", ");
        let when = if key == "exec_read" { " while a plan is made" } else { "" };
        Err(Fault::new(
            "denied",
            Blame::Target,
            format!("plugin {} may not run `{}`{when} on target {}", self.plugin, shown(argv), self.target),
        )
        .hint(self.lines(key, &format!("[{words}]"))))
    }
}

/// A pattern of a command, word by word.
#[derive(Debug, Clone)]
pub struct CommandPattern(Vec<WordPattern>);

impl CommandPattern {
    /// Reads one; `key` is where the config has it.
    ///
    /// # Errors
    /// A pattern that cannot be read.
    pub fn new(key: &str, argv: &[String]) -> Result<Self, Fault> {
        command_pattern(key, argv).map(Self)
    }

    /// Whether a command is meant.
    #[must_use]
    pub fn fits(&self, argv: &[String]) -> bool {
        fits(&self.0, argv)
    }
}

/// Reads a pattern of a command.
pub(super) fn command_pattern(key: &str, argv: &[String]) -> Result<Vec<WordPattern>, Fault> {
    let mut words = Vec::new();
    for (i, word) in argv.iter().enumerate() {
        if word == "**" {
            if i == 0 || i + 1 != argv.len() {
                return Err(invalid(format!("{key}: `**` may only end a command")));
            }
            words.push(WordPattern::Rest);
        } else {
            words.push(match is_glob(word) {
                true => WordPattern::Fits(glob(word, true)?),
                false => WordPattern::Exact(word.clone()),
            });
        }
    }
    if !argv.first().is_some_and(|program| program.starts_with('/')) {
        return Err(invalid(format!("{key}: a command starts with an absolute path")));
    }
    Ok(words)
}

/// Whether a pattern stands for more than itself.
fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{', '\\'])
}

fn fits(pattern: &[WordPattern], argv: &[String]) -> bool {
    for (i, part) in pattern.iter().enumerate() {
        let fit = match (part, argv.get(i)) {
            (WordPattern::Rest, _) => return true,
            (_, None) => false,
            (WordPattern::Exact(exact), Some(word)) => exact == word,
            (WordPattern::Fits(glob), Some(word)) => {
                let option = word.starts_with('-') && !glob.glob().glob().starts_with('-');
                let climbs = word.split('/').any(|part| part == "..");
                !word.is_empty() && !option && !climbs && glob.is_match(word)
            }
        };
        if !fit {
            return false;
        }
    }
    pattern.len() == argv.len()
}
