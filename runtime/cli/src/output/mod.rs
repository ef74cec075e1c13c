//! What goes to the terminal. Results go to stdout, as text or JSON; errors, progress
//! and logs to stderr. No other crate prints.

pub(crate) mod note;
pub(crate) mod progress;
pub(crate) mod reasons;
pub(crate) mod table;

use std::io::{IsTerminal, Write};

use jiff::Timestamp;
use serde_json::Value;

use crate::error::{CliError, Note};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document.
    Json,
}

/// When there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where results and remarks go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// How results are written.
    pub(crate) format: Format,
    /// Colours of stdout.
    pub(crate) paint: Paint,
    /// Colours of stderr.
    pub(crate) paint_err: Paint,
}

impl Output {
    /// Looks at the terminal once.
    pub(crate) fn new(format: Format, colour: Colour, no_color: bool) -> Self {
        let on = |terminal: bool| match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !no_color,
        };
        Self {
            format,
            paint: Paint { on: on(std::io::stdout().is_terminal()) },
            paint_err: Paint { on: on(std::io::stderr().is_terminal()) },
        }
    }

    /// Whether programs read along.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Writes text to stdout, as it is.
    pub(crate) fn text(&self, text: &str) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Writes one JSON document to stdout.
    pub(crate) fn json(&self, value: &Value) -> Result<(), CliError> {
        self.text(&format!("{value:#}\n"))
    }

    /// A remark on stderr; one that cannot be written is not worth an error.
    pub(crate) fn remark(&self, text: &str) {
        drop(writeln!(std::io::stderr().lock(), "{text}"));
    }

    /// A note on stderr.
    pub(crate) fn note(&self, note: &Note) {
        self.remark(&note::note_text(note, self.paint_err.on));
    }

    /// An error on stderr, in the format of the results.
    pub(crate) fn error(&self, error: &CliError) {
        let text = match self.format {
            Format::Json => format!("{}\n", note::error_json(error)),
            Format::Text => note::error_text(error, self.paint_err.on),
        };
        drop(std::io::stderr().lock().write_all(text.as_bytes()));
    }
}

/// Colours, or none. Output reads the same without them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    /// Whether there are any.
    pub(crate) on: bool,
}

impl Paint {
    fn wrap(self, style: anstyle::Style, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// For headings and names.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap(anstyle::Style::new().bold(), text)
    }

    /// For what matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap(anstyle::Style::new().dimmed(), text)
    }

    /// For what is well.
    pub(crate) fn good(self, text: &str) -> String {
        self.wrap(anstyle::AnsiColor::Green.on_default(), text)
    }

    /// For what a person should look at.
    pub(crate) fn warn(self, text: &str) -> String {
        self.wrap(anstyle::AnsiColor::Yellow.on_default(), text)
    }

    /// For what is wrong or lost.
    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap(anstyle::AnsiColor::Red.on_default(), text)
    }
}

/// A time for people, in UTC, to the second.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A count with its noun: `1 change`, `2 changes`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Text of others on one line, fit for a terminal.
pub(crate) fn one_line(text: &str) -> String {
    tidelock_model::error::tame(text, 500).replace(['\n', '\t'], " ")
}
