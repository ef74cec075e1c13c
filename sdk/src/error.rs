//! What goes wrong, in a form that a program and a person can act on.

use std::fmt;

/// Who has to act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The plugin is wrong.
    Plugin,
    /// Tidelock is wrong.
    Host,
    /// The target, or what the operator or Git said of it, is wrong.
    Target,
}

/// An error with a stable code, for programs, and a sentence, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// A stable word in kebab-case: `not-found`, `denied`, `limit`, `invalid`, `changed`, `io`.
    pub code: String,
    /// One sentence. Never a secret.
    pub message: String,
    /// JSON pointer into the spec that the error is about, such as `/mode`.
    pub field: Option<String>,
    /// Whether the same call may succeed later with nothing else changed.
    pub retryable: bool,
    /// Who has to act.
    pub blame: Blame,
}

impl Error {
    /// An error that the target, or what was said of it, is to blame for.
    pub fn target(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), field: None, retryable: false, blame: Blame::Target }
    }

    /// An error in the plugin itself.
    pub fn plugin(message: impl Into<String>) -> Self {
        Self { blame: Blame::Plugin, ..Self::target("invalid", message) }
    }

    /// Says which field of the spec the error is about.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// How much a [`Diagnostic`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is planned until it is mended.
    Error,
    /// Shown with the plan.
    Warning,
}

/// A remark on one field of a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// JSON pointer into the spec.
    pub field: Option<String>,
    /// How to mend it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Something that must be mended before anything is planned.
    pub fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), field: None, hint: None }
    }

    /// Something that a person should know.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Says which field it is about.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says how to mend it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The name in `known` that somebody who wrote `word` most likely meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase()), name))
        // A third of the letters may be wrong: `moed` is `mode`, `x` is nothing.
        .filter(|(distance, name)| *distance <= (name.chars().count().max(word.chars().count()) / 3).max(1))
        .filter(|(distance, name)| *distance < name.chars().count())
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_offered_and_far_ones_are_not() {
        let known = ["path", "content", "mode", "owner"];
        assert_eq!(nearest("moed", known), Some("mode"));
        assert_eq!(nearest("Contents", known), Some("content"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }
}
