//! The one place where errors of all rooms become what a person or a program sees:
//! a kind, an exit code, a sentence and a hint. Nothing is printed here.

use std::fmt;
use std::ops::Range;

use tidelock_model::digest::DigestError;
use tidelock_model::error::{Diagnostic, Fault, Severity, tame};
use tidelock_model::name::{Lane, NameError};
use tidelock_model::plan::Wait;
use tidelock_model::port::{SourceError, StoreError};
use tidelock_reconcile::RunError;

/// The longest sentence of another room that is shown, in bytes.
const LONGEST: usize = 16 << 10;

/// What a fault says of its field begins so.
const FIELD: &str = "the field is ";

/// How an error names a field of a target in the config, up to the field's own name.
pub(crate) fn field_of_target(name: &str) -> String {
    format!("{FIELD}targets.{name}.")
}

/// How a command ended, for whoever called the program. Stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or nothing was to be done.
    Done,
    /// An error.
    Error,
    /// `plan --detailed-exitcode`: there are changes.
    Pending,
    /// The gate refused.
    Refused,
    /// Some of it was done, or not everything could be planned.
    Partly,
    /// Waits for a person's yes.
    Waiting,
    /// The command line makes no sense.
    Usage,
    /// A signal ended it, by its number; as a shell would tell.
    Signalled(i32),
}

impl Exit {
    /// The number that the process ends with.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Pending => 2,
            Self::Refused => 3,
            Self::Partly => 4,
            Self::Waiting => 5,
            Self::Usage => 64,
            Self::Signalled(signal) => 128 + (signal & 0x7f) as u8,
        }
    }
}

/// What an error is about; programs may rely on the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The command line.
    Usage,
    /// The operator's config.
    Config,
    /// A Git repository.
    Source,
    /// What Git says.
    Desired,
    /// A plugin or what it may do.
    Plugin,
    /// A target.
    Target,
    /// The store.
    Store,
    /// The plan that was given is no longer what would be done.
    Stale,
    /// The gate.
    Refused,
    /// Files of the operator, or the terminal.
    Io,
    /// Whoever read our output went away.
    BrokenPipe,
}

impl Kind {
    /// The word in `--output json`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Source => "source",
            Self::Desired => "desired",
            Self::Plugin => "plugin",
            Self::Target => "target",
            Self::Store => "store",
            Self::Stale => "stale",
            Self::Refused => "refused",
            Self::Io => "io",
            Self::BrokenPipe => "broken-pipe",
        }
    }

    const fn exit(self) -> Exit {
        match self {
            Self::Usage => Exit::Usage,
            Self::Stale | Self::Refused => Exit::Refused,
            Self::BrokenPipe => Exit::Done,
            _ => Exit::Error,
        }
    }
}

/// A remark at a place in a file, with enough of the file to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// How much it matters.
    pub(crate) severity: Severity,
    /// One sentence.
    pub(crate) message: String,
    /// The file and what to show of it.
    pub(crate) shown: Option<Excerpt>,
    /// A few words at the place itself.
    pub(crate) label: Option<String>,
    /// How to mend it.
    pub(crate) hint: Option<String>,
}

/// Part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// The file, as the person knows it.
    pub(crate) file: String,
    /// The line that `text` starts with, from 1; 0 where only the file is known.
    pub(crate) line: usize,
    /// The text; empty where it is not at hand.
    pub(crate) text: String,
    /// The bytes of `text` that the note is about.
    pub(crate) span: Range<usize>,
}

impl Excerpt {
    /// Line and column in characters, from 1, of where the note starts.
    pub(crate) fn position(&self) -> (usize, usize) {
        let before = self.text.get(..self.span.start).unwrap_or("");
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or("").chars().count();
        (self.line + line, column + 1)
    }
}

/// An error on its way to the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CliError {
    /// What it is about.
    pub(crate) kind: Kind,
    /// One sentence.
    pub(crate) message: String,
    /// What lies behind it, outermost first.
    pub(crate) causes: Vec<String>,
    /// Places in files that it is about.
    pub(crate) notes: Vec<Note>,
    /// What mends it.
    pub(crate) hints: Vec<String>,
}

impl CliError {
    /// An error with a sentence alone.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: vec![], notes: vec![], hints: vec![] }
    }

    /// The error that a note is.
    pub(crate) fn at(kind: Kind, note: Note) -> Self {
        Self { kind, message: note.message.clone(), causes: vec![], notes: vec![note], hints: vec![] }
    }

    /// Adds what mends it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds what lies behind it.
    pub(crate) fn because(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// How the process ends.
    pub(crate) const fn exit(&self) -> Exit {
        self.kind.exit()
    }

    /// A file of the operator could not be read or written.
    pub(crate) fn file(verb: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(Kind::Io, format!("cannot {verb} {}: {error}", path.display()))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<SourceError> for CliError {
    fn from(error: SourceError) -> Self {
        let mut out = Self::new(Kind::Source, tame(&error.message, LONGEST));
        out.hints.extend(error.hint);
        out
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let mut out = Self::new(Kind::Store, error.message);
        out.hints.extend(error.hint);
        out
    }
}

impl From<Fault> for CliError {
    fn from(fault: Fault) -> Self {
        use tidelock_model::error::Blame;
        let kind = match fault.blame {
            Blame::Plugin | Blame::Host => Kind::Plugin,
            Blame::Target => Kind::Target,
        };
        let mut out = Self::new(kind, tame(&fault.message, LONGEST));
        if let Some(field) = &fault.field {
            out.causes.push(format!("{FIELD}{}", tame(field, 200)));
        }
        out.hints.extend(fault.hint);
        out
    }
}

impl From<std::io::Error> for CliError {
    /// For writes to the terminal alone; files say which one they are, by [`CliError::file`].
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Kind::BrokenPipe, "the output was closed");
        }
        Self::new(Kind::Io, format!("cannot write the output: {error}"))
    }
}

impl From<NameError> for CliError {
    fn from(error: NameError) -> Self {
        Self::new(Kind::Usage, error.to_string())
    }
}

impl From<DigestError> for CliError {
    fn from(error: DigestError) -> Self {
        Self::new(Kind::Usage, error.to_string())
    }
}

impl From<&Diagnostic> for Note {
    fn from(diagnostic: &Diagnostic) -> Self {
        let shown = diagnostic.place.as_ref().map(|place| {
            let text = diagnostic.snippet.as_deref().map_or_else(String::new, |text| tame(text, 4096));
            let start = (place.column as usize).saturating_sub(1);
            let from = text.char_indices().nth(start).map_or(text.len(), |(at, _)| at);
            let to = text[from..].find('\n').map_or(text.len(), |end| from + end);
            Excerpt { file: tame(&place.file, 512), line: place.line as usize, text, span: from..to }
        });
        Self {
            severity: diagnostic.severity,
            message: tame(&diagnostic.message, LONGEST),
            shown,
            label: diagnostic.field.as_ref().map(|field| tame(field, 200)),
            hint: diagnostic.hint.as_ref().map(|hint| tame(hint, 4096)),
        }
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Source(error) => error.into(),
            RunError::Store(error) => error.into(),
            RunError::Fault(fault) => fault.into(),
            RunError::Rejected(diagnostics) => rejected(&diagnostics),
            RunError::Selection { message, hint } => {
                let mut out = Self::new(Kind::Usage, message);
                out.hints.extend(hint);
                out
            }
            error @ RunError::Stale { .. } => {
                Self::new(Kind::Stale, tame(&error.to_string(), LONGEST)).hint("plan again, look at it, and apply that")
            }
            error @ RunError::Forged(_) => Self::new(Kind::Refused, tame(&error.to_string(), LONGEST))
                .hint("do not trust where the file came from; plan again"),
        }
    }
}

/// The gate said no to lanes, and no yes of a caller helps. `others` were performed.
pub(crate) fn refused(waits: &[(Lane, Wait)], others: bool) -> CliError {
    let what = if others { "the gate refused a part of it" } else { "refused by the gate; nothing was changed" };
    let mut out = CliError::new(Kind::Refused, what);
    for (lane, wait) in waits {
        out.causes.push(format!("{lane}: {}", tame(&wait.message, LONGEST)));
        out.hints.extend(wait.hint.clone());
    }
    out
}

/// What Git says cannot be planned.
fn rejected(diagnostics: &[Diagnostic]) -> CliError {
    let errors = diagnostics.iter().filter(|one| one.severity == Severity::Error).count();
    let noun = if errors == 1 { "problem" } else { "problems" };
    let mut out = CliError::new(Kind::Desired, format!("{errors} {noun} in what Git says; nothing was changed"));
    out.notes = diagnostics.iter().map(Note::from).collect();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_model::error::{Blame, Place};

    #[test]
    fn exit_codes_are_the_published_ones() {
        let codes = [Exit::Done, Exit::Error, Exit::Pending, Exit::Refused, Exit::Partly, Exit::Waiting, Exit::Usage];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 4, 5, 64]);
        assert_eq!(CliError::new(Kind::Stale, "").exit(), Exit::Refused);
    }

    #[test]
    fn faults_keep_their_hint_and_lose_their_escapes() {
        let fault = Fault::new("trap", Blame::Plugin, "boom \x1b[2J").at("/path").hint("mend it");
        let error = CliError::from(fault);
        assert_eq!(error.kind, Kind::Plugin);
        assert_eq!(error.message, "boom \u{fffd}[2J");
        assert_eq!(error.hints, ["mend it"]);
    }

    #[test]
    fn a_diagnostic_points_into_its_line() {
        let mut diagnostic =
            Diagnostic::error("no", Some(Place { file: "a.yaml".into(), line: 7, column: 3 })).hint("yes");
        diagnostic.snippet = Some("ä: [".into());
        let shown = Note::from(&diagnostic).shown.unwrap();
        assert_eq!(shown.position(), (7, 3));
        assert_eq!(&shown.text[shown.span.clone()], " [");
    }

    #[test]
    fn a_column_past_the_line_does_not_panic() {
        let mut diagnostic = Diagnostic::error("no", Some(Place { file: "a".into(), line: 1, column: 900 }));
        diagnostic.snippet = Some("short".into());
        assert_eq!(Note::from(&diagnostic).shown.unwrap().span, 5..5);
    }
}
