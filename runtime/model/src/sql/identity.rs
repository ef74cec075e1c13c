//! What a statement touches, in the words of identities. The host holds it against the change
//! that the statement is proposed for, and the operator's grant against both.

use super::{Act, Defaults, Granted, Grantee, Object, Setting, SqlEffect, Verb};
use crate::error::invisible;
use crate::name::Identity;

/// One part of an identity, with the characters that stand between parts, and those that nobody
/// sees, written as `%` and their number.
#[must_use]
pub fn part(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '/' | '@') || c.is_control() || invisible(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether an identity is another one or lies above it at a `/`.
#[must_use]
pub fn covers(above: &Identity, identity: &Identity) -> bool {
    let (above, identity) = (above.as_str(), identity.as_str());
    identity == above || identity.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

fn joined(parts: &[String]) -> String {
    parts.iter().map(|text| part(text)).collect::<Vec<_>>().join("/")
}

impl Object {
    /// Whether it belongs to the whole server, whatever database is open.
    pub(super) fn global(&self) -> bool {
        matches!(self.class.as_str(), "role" | "user" | "database" | "tablespace" | "parameter" | "system" | "owned")
    }

    fn identity(&self, database: &str) -> Identity {
        let name = joined(&self.name);
        Identity::new(match self.class.as_str() {
            "user" => format!("user:{}", self.name.iter().map(|text| part(text)).collect::<Vec<_>>().join("@")),
            "owned" => format!("role:{name}"),
            class if self.global() => format!("{class}:{name}"),
            class => format!("{}:{}/{name}", class.replace(' ', "-"), part(database)),
        })
    }
}

impl Grantee {
    fn part(&self) -> String {
        match self {
            // A role cannot have this name.
            Self::Public => "public".to_owned(),
            Self::Role(name) => part(name),
            Self::User(name, host) => format!("{}@{}", part(name), part(host)),
        }
    }

    fn identity(&self) -> Option<Identity> {
        match self {
            Self::Public => None,
            Self::Role(_) => Some(Identity::new(format!("role:{}", self.part()))),
            Self::User(..) => Some(Identity::new(format!("user:{}", self.part()))),
        }
    }
}

impl SqlEffect {
    /// What it touches: the first is what a grant of the operator's is about, and a change may
    /// have any of them, or one above, as its identity.
    #[must_use]
    pub fn touches(&self) -> Vec<Identity> {
        let database = self.database.as_deref().unwrap_or_default();
        match &self.act {
            Act::Execute(statement) if statement.verb == Verb::Reload => {
                vec![Identity::new("setting:server")]
            }
            Act::Execute(statement) => vec![statement.object.identity(database)],
            Act::Rename { object, to } => vec![object.renamed(to).identity(database), object.identity(database)],
            Act::Set(Setting { object, in_database, name, .. }) => {
                let owner = joined(&object.name);
                let of = match object.class.as_str() {
                    "role" => format!("role/{owner}/{}", in_database.as_deref().map(part).unwrap_or_default()),
                    "database" => format!("database/{owner}"),
                    _ => "server".to_owned(),
                };
                let mut out = vec![Identity::new(format!("setting:{of}/{}", part(name)))];
                if object.class != "system" {
                    out.push(object.identity(database));
                }
                out
            }
            Act::Grant(grant) => {
                let grantee = grant.grantee.part();
                match &grant.granted {
                    Granted::Privileges(_, object) | Granted::AllInSchema(_, object) => {
                        let class = object.class.replace(' ', "-");
                        let of = match (object.class.as_str(), &self.database) {
                            ("database", _) => format!("{}/database", joined(&object.name)),
                            // Wherever it is performed, it is on nothing of that database.
                            (_, Some(database)) if !object.global() => {
                                format!("{}/{class}/{}", part(database), joined(&object.name))
                            }
                            _ => format!("/{class}/{}", joined(&object.name)),
                        };
                        vec![Identity::new(format!("grant:{grantee}/{}", of.trim_end_matches('/')))]
                    }
                    Granted::Membership(role) => {
                        let mut out = vec![Identity::new(format!("membership:{grantee}/{}", part(role)))];
                        out.extend(grant.grantee.identity());
                        out
                    }
                    Granted::Defaults(Defaults { owner, schema, class, .. }) => vec![Identity::new(format!(
                        "default-privileges:{}/{}/{}/{}/{grantee}",
                        part(owner),
                        part(database),
                        schema.as_deref().map(part).unwrap_or_default(),
                        class.replace(' ', "-"),
                    ))],
                }
            }
        }
    }
}
