//! Values and rows, and what is told of failures.

use tidelock_model::error::{Blame, Fault, tame};

/// One value of a row, or of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// Yes or no.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list of texts.
    Texts(Vec<String>),
    /// Anything else, as the server writes it.
    Other {
        /// The server's name of the type.
        type_name: String,
        /// The value.
        text: String,
    },
}

impl Value {
    /// The value as PostgreSQL would write it; `None` for no value. Equal values have equal
    /// texts.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(value) => if *value { "t" } else { "f" }.to_owned(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Text(text) | Self::Other { text, .. } => text.clone(),
            Self::Bytes(bytes) => format!("\\x{}", hex::encode(bytes)),
            Self::Texts(items) => array(items),
        })
    }

    /// How much memory it takes, roughly, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        16 + match self {
            Self::Null | Self::Boolean(_) | Self::Integer(_) | Self::Float(_) => 0,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Texts(items) => items.iter().map(|item| item.len() + 16).sum(),
            Self::Other { type_name, text } => type_name.len() + text.len(),
        }
    }
}

/// A list as PostgreSQL writes arrays.
fn array(items: &[String]) -> String {
    let quoted = items.iter().map(|item| format!("\"{}\"", item.replace('\\', r"\\").replace('"', "\\\"")));
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The server's name of its type.
    pub type_name: String,
}

/// The rows of one answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
}

impl Answer {
    /// How much memory it takes, roughly, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.rows.iter().flatten().map(Value::weight).sum()
    }
}

/// What went wrong with a query or statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct SqlFault {
    /// As any other fault.
    pub fault: Fault,
    /// The server's five characters.
    pub sqlstate: Option<String>,
    /// The server's further words.
    pub detail: Option<String>,
    /// The server's hint.
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<u32>,
    /// Whether it is about signing in: then it tells where the server is and who we are, which
    /// no plugin is to know.
    pub sign_in: bool,
}

impl From<Fault> for SqlFault {
    fn from(fault: Fault) -> Self {
        Self { fault, sqlstate: None, detail: None, hint: None, position: None, sign_in: false }
    }
}

impl SqlFault {
    /// Whether the same may well succeed at once: somebody else was in the way of a query. A server
    /// that is not there comes back later.
    pub(super) fn passes(&self) -> bool {
        self.fault.retryable && self.fault.code == "sql" && !self.sign_in
    }

    /// The fault, as one of signing in.
    pub(super) fn at_sign_in(self) -> Self {
        Self { sign_in: true, ..self }
    }

    /// The fault of a statement that holds a secret, without the server's words: they quote what
    /// they do not like.
    pub(super) fn hushed(self, secret: bool) -> Self {
        if !secret {
            return self;
        }
        let Self { mut fault, sqlstate, sign_in, .. } = self;
        let state = sqlstate.as_deref().map_or_else(String::new, |state| format!(" (SQLSTATE {state})"));
        fault.message = format!(
            "the server did not perform a statement that holds a secret{state}; what it says is not shown, as it may quote \
             the statement"
        );
        Self { fault, sqlstate, detail: None, hint: None, position: None, sign_in }
    }

    /// The fault with the server's further words in its sentence.
    #[must_use]
    pub fn whole(self) -> Fault {
        let mut fault = self.fault;
        for more in [self.detail, self.hint].into_iter().flatten() {
            fault.message.push_str("; ");
            fault.message.push_str(more.trim_end_matches('.'));
        }
        fault
    }
}

/// The longest text of a server or driver that is kept, in bytes.
pub(super) const MAX_SAID: usize = 2_000;

/// All that an error of a driver says, outermost first.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        if !out.contains(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        source = inner.source();
    }
    tame(&out, MAX_SAID)
}

/// A fault of a target.
pub(super) fn fault(code: &str, message: impl Into<String>) -> Fault {
    Fault::new(code, Blame::Target, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_spelled_as_postgres_spells_them() {
        assert_eq!(Value::Texts(vec!["a\"b".into(), String::new()]).text().unwrap(), r#"{"a\"b",""}"#);
    }
}
