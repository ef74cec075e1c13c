//! What a statement names beside what it is about: where a database is copied from, who will
//! own it, which role somebody becomes a member of. The operator's grant must open these too.

use super::{Act, Dialect, Granted, Grantee, Object, Part, SqlEffect, Statement, Verb, identity::part};
use crate::name::Identity;

/// Databases that every new one is made from unasked.
const TEMPLATES: [&str; 2] = ["template0", "template1"];
/// Attributes of a role that reach beyond what it is granted.
const ATTRIBUTES: [&str; 4] = ["superuser", "replication", "bypassrls", "createrole"];

/// Whether a grant can open a privilege of this name: an attribute of a role, or membership in
/// a role that the server came with, some of which read files and run programs.
#[must_use]
pub fn is_privilege(name: &str) -> bool {
    ATTRIBUTES.contains(&name) || name.starts_with("pg_")
}

/// A word of a statement that a name follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    Template,
    Owner,
    Tablespace,
    Schema,
}

impl Naming {
    fn of(statement: &Statement, word: &str) -> Option<Self> {
        Some(match (word, statement.object.class.as_str()) {
            ("TEMPLATE", "database") => Self::Template,
            ("OWNER" | "AUTHORIZATION" | "ADMIN" | "ROLE", _) => Self::Owner,
            ("TO", _) if statement.verb == Verb::Reassign => Self::Owner,
            ("TABLESPACE", _) => Self::Tablespace,
            ("SCHEMA", _) => Self::Schema,
            _ => return None,
        })
    }
}

impl Statement {
    /// The names that follow such words.
    ///
    /// # Errors
    /// A word that has no name after it, or one that is no name.
    fn named(&self) -> Result<Vec<(Naming, Vec<String>)>, String> {
        let mut out = vec![];
        // The last such word, and whether a name has followed it.
        let mut last: Option<(Naming, String, bool)> = None;
        let without = |last: &Option<(Naming, String, bool)>| match last {
            Some((_, word, false)) if !self.holds_definitions() => Err(format!("has {word} without a name after it")),
            _ => Ok(()),
        };
        for given in &self.parts {
            let names = match given {
                Part::Text(text) => {
                    for word in words(text) {
                        match &mut last {
                            Some((Naming::Owner, _, false)) if word == "TO" => continue,
                            Some((.., named @ false)) if word == "DEFAULT" || word == "NONE" => *named = true,
                            _ => {}
                        }
                        without(&last)?;
                        last = Naming::of(self, &word).map(|naming| (naming, word, false));
                    }
                    continue;
                }
                Part::Identifier(names) => names.clone(),
                Part::Literal(text) => vec![text.clone()],
                Part::Integer(number) => vec![number.to_string()],
                Part::Secret { .. } => {
                    without(&last)?;
                    last = None;
                    continue;
                }
            };
            if let Some((naming, _, named)) = &mut last {
                *named = true;
                out.push((*naming, names));
            }
        }
        without(&last)?;
        Ok(out)
    }

    /// Refuses words without the names that belong to them.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with "it".
    pub(super) fn named_in_full(&self) -> Result<(), String> {
        self.named().map(drop)
    }
}

impl SqlEffect {
    /// What must be granted beside what it touches.
    #[must_use]
    pub fn leans_on(&self) -> Vec<Identity> {
        match &self.act {
            Act::Execute(statement) => {
                let named = statement.named().unwrap_or_default();
                named.iter().filter_map(|(naming, names)| self.leans(statement, *naming, names)).collect()
            }
            Act::Grant(grant) => grant.granted_by.iter().map(|by| role(std::slice::from_ref(by))).collect(),
            Act::Rename { .. } | Act::Set(_) => vec![],
        }
    }

    fn leans(&self, statement: &Statement, naming: Naming, names: &[String]) -> Option<Identity> {
        let name = names.iter().map(|name| part(name)).collect::<Vec<_>>().join("/");
        Some(match naming {
            Naming::Template if TEMPLATES.contains(&name.as_str()) => return None,
            Naming::Template => Identity::new(format!("database:{name}")),
            Naming::Owner => match (self.dialect, names) {
                (Dialect::MariaDb | Dialect::MySql, [user, host]) => {
                    Identity::new(format!("user:{}@{}", part(user), part(host)))
                }
                _ => role(names),
            },
            Naming::Tablespace if name == "pg_default" => return None,
            Naming::Tablespace => Identity::new(format!("tablespace:{name}")),
            Naming::Schema => {
                let database = part(self.database.as_deref().unwrap_or_default());
                match (statement.object.class.as_str(), statement.object.name.as_slice()) {
                    // What is moved to a schema is another object there.
                    (class, [_, own @ ..]) if class != "extension" && !own.is_empty() => {
                        let own = own.iter().map(|name| part(name)).collect::<Vec<_>>().join("/");
                        Identity::new(format!("{}:{database}/{name}/{own}", class.replace(' ', "-")))
                    }
                    _ => Identity::new(format!("schema:{database}/{name}")),
                }
            }
        })
    }

    /// The role that somebody becomes a member of.
    #[must_use]
    pub fn joins(&self) -> Option<Identity> {
        match &self.act {
            Act::Grant(grant) if !grant.revoke => match &grant.granted {
                Granted::Membership(of) => Some(role(std::slice::from_ref(of))),
                Granted::Privileges(..) | Granted::AllInSchema(..) | Granted::Defaults(_) => None,
            },
            _ => None,
        }
    }

    /// The privileges that it gives, of those that need a grant of their own.
    #[must_use]
    pub fn powers(&self) -> Vec<String> {
        match &self.act {
            Act::Execute(statement) if matches!(statement.object.class.as_str(), "role" | "user") => {
                let texts = statement.parts.iter().filter_map(|part| match part {
                    Part::Text(text) => Some(text),
                    _ => None,
                });
                let words = texts.flat_map(|text| words(text)).map(|word| word.to_ascii_lowercase());
                words.filter(|word| ATTRIBUTES.contains(&word.as_str())).collect()
            }
            Act::Grant(grant) if self.dialect == Dialect::Postgres && !grant.revoke => match &grant.granted {
                Granted::Membership(of) if of.starts_with("pg_") && grant.grantee != Grantee::Public => {
                    vec![of.clone()]
                }
                Granted::Privileges(_, object) | Granted::AllInSchema(_, object) => {
                    catalog(object).into_iter().collect()
                }
                _ => vec![],
            },
            _ => vec![],
        }
    }
}

/// The schema of the server's own that a grant is on, or in: among what lies there are the verifiers of all
/// passwords, and functions that read files.
fn catalog(object: &Object) -> Option<String> {
    const NOT_IN_ONE: [&str; 4] = ["database", "language", "foreign server", "foreign data wrapper"];
    let schema = object.name.first().filter(|_| !NOT_IN_ONE.contains(&object.class.as_str()))?;
    schema.starts_with("pg_").then(|| schema.clone())
}

fn role(names: &[String]) -> Identity {
    Identity::new(format!("role:{}", names.iter().map(|name| part(name)).collect::<Vec<_>>().join("/")))
}

/// The words of a text, in capitals.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_uppercase)
}
