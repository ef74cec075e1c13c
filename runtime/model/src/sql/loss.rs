//! What a statement destroys, told from its type and never from what a plugin says of it.

use super::{Act, Dialect, Part, SqlEffect, Statement, Verb};

/// Words that lose something.
const LOSE: [&str; 4] = ["CASCADE", "DROP", "TRUNCATE", "REPLACE"];
/// What such a word is where it follows these: a rule for later, of a key.
const RULES: [&[&str]; 3] =
    [&["ON", "DELETE", "CASCADE"], &["ON", "UPDATE", "CASCADE"], &["ON", "CONFLICT", "REPLACE"]];

impl SqlEffect {
    /// Whether performing it loses something: dropping, `CASCADE`, dropping parts of an object,
    /// and whatever could not be read.
    #[must_use]
    pub fn destructive(&self) -> bool {
        self.unread
            || match &self.act {
                Act::Execute(Statement { verb: Verb::Drop, .. }) => true,
                // SQLite makes nothing in the place of something else, whatever the text says.
                Act::Execute(Statement { verb: Verb::Create, .. }) if self.dialect == Dialect::Sqlite => false,
                Act::Execute(statement) => statement.parts.iter().any(|part| match part {
                    Part::Text(text) => loses(text),
                    Part::Identifier(_) | Part::Literal(_) | Part::Integer(_) | Part::Secret { .. } => false,
                }),
                Act::Grant(grant) => grant.cascade,
                Act::Rename { .. } | Act::Set(_) => false,
            }
    }

    /// Whether the server takes it only outside of a transaction.
    #[must_use]
    pub fn alone(&self) -> bool {
        match &self.act {
            Act::Execute(statement) => {
                let text = || {
                    statement.parts.iter().filter_map(|part| match part {
                        Part::Text(text) => Some(text.as_str()),
                        _ => None,
                    })
                };
                let class = statement.object.class.as_str();
                match statement.verb {
                    Verb::Create | Verb::Drop => {
                        matches!(class, "database" | "tablespace")
                            || text().flat_map(words).any(|word| word.eq_ignore_ascii_case("CONCURRENTLY"))
                    }
                    // Moving a database to a tablespace is none; the rest of it is.
                    Verb::Alter => {
                        class == "database"
                            && text().flat_map(words).any(|word| word.eq_ignore_ascii_case("TABLESPACE"))
                    }
                    Verb::Comment | Verb::Reassign | Verb::Reload => false,
                }
            }
            Act::Set(setting) => setting.object.class == "system",
            Act::Rename { .. } | Act::Grant(_) => false,
        }
    }

    /// The secrets that it needs, by name.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let parts = match &self.act {
            Act::Execute(statement) => statement.parts.as_slice(),
            _ => &[],
        };
        parts.iter().filter_map(|part| match part {
            Part::Secret { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }
}

/// Whether a text has a word that loses something, and that is no rule of a key.
fn loses(text: &str) -> bool {
    let words: Vec<String> = words(text).map(str::to_ascii_uppercase).collect();
    words.iter().enumerate().any(|(at, word)| {
        LOSE.contains(&word.as_str())
            && !RULES.iter().any(|rule| at + 1 >= rule.len() && words[at + 1 - rule.len()..=at] == **rule)
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}
