//! Errors that cross rooms: typed, blamed, with a place and a way out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The code of a fault that is an effect on what somebody else made.
pub const NOT_OURS: &str = "not-ours";

/// Who has to act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blame {
    /// The plugin is wrong.
    Plugin,
    /// Tidelock is wrong.
    Host,
    /// The target, or what Git or the operator said of it.
    Target,
}

/// A fault with a stable code, for programs, and a sentence, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// A stable word: `denied`, `limit`, `invalid`, `not-found`, `changed`, `trap`, `timeout`, `io`, ...
    pub code: String,
    /// One sentence. Text of guests is already capped and stripped.
    pub message: String,
    /// JSON pointer into the spec that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Whether the same may succeed later with nothing else changed.
    #[serde(default)]
    pub retryable: bool,
    /// Who has to act.
    pub blame: Blame,
    /// What mends it: a command, or lines to paste.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Fault {
    /// A fault without field or hint, not retryable.
    pub fn new(code: &str, blame: Blame, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), field: None, retryable: false, blame, hint: None }
    }

    /// Adds the field that the fault is about.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Adds what mends it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Marks it as worth another try.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }
}

/// A place in a file of a source or of the operator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Path, for a source from its root and without a leading slash.
    pub file: String,
    /// Line, from 1; 0 where only the file is known.
    pub line: u32,
    /// Column in characters, from 1; 0 where only the line is known.
    pub column: u32,
}

impl Place {
    /// A whole file.
    pub fn file(file: impl Into<String>) -> Self {
        Self { file: file.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

/// How much a [`Diagnostic`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing is planned until it is mended.
    Error,
    /// Shown with the plan.
    Warning,
}

/// Something that a person should mend in what Git says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// JSON pointer into the resource or stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The line of the file at the place, for a snippet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snippet: Option<String>,
    /// How to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(message: impl Into<String>, place: Option<Place>) -> Self {
        Self { severity: Severity::Error, message: message.into(), place, field: None, snippet: None, hint: None }
    }

    /// Adds how to mend it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the field.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

/// Characters that are not seen, or that change how others are: bidirectional marks
/// and overrides, spaces without width, line separators, tags.
pub(crate) fn invisible(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Guest and target text made fit for a terminal: control sequences out, and at
/// most `max` bytes, with a mark where it was cut.
#[must_use]
pub fn tame(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        // C0, DEL, C1, and what can disguise a line.
        let harmless = matches!(c, '\n' | '\t') || !(c.is_control() || invisible(c));
        let c = if harmless { c } else { '\u{fffd}' };
        if out.len() + c.len_utf8() > max {
            out.push_str("… (cut)");
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tame_takes_the_terminal_out_of_a_guests_hands() {
        assert_eq!(tame("a\x1b[2Jb\u{9b}c\u{202e}d\n", 100), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\n");
        assert_eq!(tame(&"x".repeat(50), 10), "xxxxxxxxxx… (cut)");
    }
}
