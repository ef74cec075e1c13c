//! What a statement destroys, told from its type and never from what a plugin says of it.

use super::{Act, Part, SqlEffect, Statement, Verb};

impl SqlEffect {
    /// Whether performing it loses something: dropping, `CASCADE`, dropping parts of an object,
    /// and whatever could not be read.
    #[must_use]
    pub fn destructive(&self) -> bool {
        self.unread
            || match &self.act {
                Act::Execute(Statement { verb: Verb::Drop, .. }) => true,
                Act::Execute(statement) => statement.parts.iter().any(|part| match part {
                    Part::Text(text) => words(text).any(|word| {
                        ["CASCADE", "DROP", "TRUNCATE", "REPLACE"].iter().any(|bad| word.eq_ignore_ascii_case(bad))
                    }),
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

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}
