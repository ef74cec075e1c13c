//! Effects: typed writes, as data. A plugin proposes them, the gate passes them,
//! a target performs them.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::dns::{DnsEffect, Rrset, RrsetName};
use crate::name::{Identity, ResourceRef};
use crate::network::{NetworkEffect, Object, ObjectName};
use crate::sql::{Look, SqlEffect};

/// What to do when a crash leaves it unknown whether an effect happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterCrash {
    /// Look again and plan anew.
    Observe,
    /// Do it again.
    Repeat,
    /// Ask a person.
    Ask,
}

/// Who may do what with a path. `None` leaves what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Permission bits, 0 to 0o7777.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// User name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// One typed write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EffectBody {
    /// Puts a file in place: written beside, attributes set, then renamed.
    PutFile {
        /// Absolute path, as the target sees it.
        path: String,
        /// The content's digest.
        content: Digest,
        /// Attributes, set before the rename.
        attributes: Attributes,
        /// Whether missing parent directories are made, with mode 0755.
        #[serde(default)]
        parents: bool,
        /// Keeps what was there under this suffix.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backup: Option<String>,
        /// Must end with 0 before the rename; `%s` is the staged file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        validate: Option<Vec<String>>,
    },
    /// Changes the attributes of what is there.
    SetAttributes {
        /// Absolute path.
        path: String,
        /// The attributes to set.
        attributes: Attributes,
    },
    /// Makes a directory.
    MakeDirectory {
        /// Absolute path.
        path: String,
        /// Attributes of the new directory.
        attributes: Attributes,
        /// Whether missing parent directories are made, with mode 0755.
        #[serde(default)]
        parents: bool,
    },
    /// Makes a symbolic link, in place of a link or of nothing.
    Link {
        /// Absolute path of the link.
        path: String,
        /// Its text.
        to: String,
    },
    /// Removes a file, a link, or a directory.
    Remove {
        /// Absolute path.
        path: String,
        /// Whether a directory goes with all below it; else it must be empty.
        #[serde(default)]
        tree: bool,
    },
    /// Runs a program.
    Exec {
        /// The program's absolute path and its words. No shell.
        argv: Vec<String>,
        /// The directory to start in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
        /// The environment besides PATH, LANG and HOME.
        #[serde(default)]
        env: Vec<(String, String)>,
        /// Ended after this time.
        timeout_ms: u32,
    },
    /// Gives a database server a statement.
    Sql(Box<SqlEffect>),
    /// Writes an object of a network.
    Network(NetworkEffect),
    /// Writes records of a DNS server.
    Dns(DnsEffect),
}

/// What is at a path, without the inode's number and times: two targets in the same
/// state have equal values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum PathState {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        /// Digest of the content; `None` where it was not asked for.
        digest: Option<Digest>,
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: String,
        /// Group.
        group: String,
        /// Bytes.
        size: u64,
    },
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
        /// Owner.
        owner: String,
        /// Group.
        group: String,
    },
    /// A symbolic link.
    Symlink {
        /// Its text.
        to: String,
    },
    /// A device, socket or pipe.
    Other,
}

/// What must still be so when an effect is performed: what a look saw, in the words of the
/// system that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Precondition {
    /// What is at a path of a machine.
    Path {
        /// The path that was looked at.
        path: String,
        /// What was there.
        state: PathState,
    },
    /// What a database server answers.
    Rows {
        /// What was asked, and what came.
        looks: Vec<Look>,
    },
    /// What is there of a network.
    Network {
        /// The object that was looked at.
        network: ObjectName,
        /// What was there; `None` for nothing.
        object: Option<Object>,
    },
    /// What a zone holds. Goes to the server with the update, which it refuses if that has changed.
    Records {
        /// What is called so.
        rrset: RrsetName,
        /// What was there; `None` for nothing.
        records: Option<Rrset>,
    },
}

impl Precondition {
    /// The identity that the look was about, where it was about one alone.
    #[must_use]
    pub fn object(&self) -> Option<Identity> {
        match self {
            Self::Path { path, .. } => Some(Identity::of_path(path)),
            Self::Rows { .. } => None,
            Self::Network { network, .. } => Some(Identity::new(network.to_string())),
            Self::Records { rrset, .. } => Some(Identity::new(rrset.to_string())),
        }
    }

    /// A path and what was there; `None` where something else was looked at.
    #[must_use]
    pub fn path(&self) -> Option<(&str, &PathState)> {
        match self {
            Self::Path { path, state } => Some((path, state)),
            Self::Rows { .. } | Self::Network { .. } | Self::Records { .. } => None,
        }
    }

    /// Whether the look says that its object is there.
    #[must_use]
    pub fn shows_something(&self) -> bool {
        match self {
            Self::Path { state, .. } => *state != PathState::Absent,
            Self::Rows { looks } => looks.iter().any(|look| look.count > 0),
            Self::Network { object, .. } => object.is_some(),
            Self::Records { records, .. } => records.is_some(),
        }
    }
}

/// An effect as it stands in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// The change that it serves.
    pub resource: ResourceRef,
    /// The identity of that change.
    pub identity: Identity,
    /// The plugin that proposed it: its grant is the one that counts.
    pub plugin: String,
    /// What to do.
    #[serde(flatten)]
    pub body: EffectBody,
    /// What must still be so. Made from a token that the host gave out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precondition: Option<Precondition>,
    /// What to do after a crash.
    pub after_crash: AfterCrash,
    /// Effects with equal keys form one group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub together: Option<String>,
    /// What undoes it, from the precondition's state. None where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inverse: Option<Box<EffectBody>>,
    /// Names in the directory that it removes without what is below, as the host saw them
    /// when it was proposed. For the planner alone, which says what becomes of them.
    #[serde(skip)]
    pub inside: Vec<String>,
}

impl EffectBody {
    /// The identity of what it writes; `None` where its words do not tell, as of a command.
    /// The host holds it against the change that the effect is proposed for.
    #[must_use]
    pub fn object(&self) -> Option<Identity> {
        match self {
            Self::Network(effect) => Some(Identity::new(effect.object().to_string())),
            Self::Dns(effect) => Some(Identity::new(effect.rrset().to_string())),
            other => other.path().map(Identity::of_path),
        }
    }

    /// The path that it writes; `None` for commands.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::PutFile { path, .. }
            | Self::SetAttributes { path, .. }
            | Self::MakeDirectory { path, .. }
            | Self::Link { path, .. }
            | Self::Remove { path, .. } => Some(path),
            Self::Exec { .. } | Self::Sql(_) | Self::Network(_) | Self::Dns(_) => None,
        }
    }

    /// The word for it in plans: `put-file`, `exec`, ...
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::PutFile { .. } => "put-file",
            Self::SetAttributes { .. } => "set-attributes",
            Self::MakeDirectory { .. } => "make-directory",
            Self::Link { .. } => "link",
            Self::Remove { .. } => "remove",
            Self::Exec { .. } => "exec",
            Self::Sql(_) => "sql",
            Self::Network(effect) => effect.word(),
            Self::Dns(effect) => effect.word(),
        }
    }

    /// One line for people. Written here, never by a plugin.
    #[must_use]
    pub fn summary(&self) -> String {
        let with = |attributes: &Attributes| {
            let mut out = String::new();
            if let Some(mode) = attributes.mode {
                out.push_str(&format!(" mode {mode:04o}"));
            }
            if let Some(owner) = &attributes.owner {
                out.push_str(&format!(" owner {owner}"));
            }
            if let Some(group) = &attributes.group {
                out.push_str(&format!(" group {group}"));
            }
            out
        };
        match self {
            Self::PutFile { path, content, attributes, parents, backup, validate } => {
                let mut out = format!("put file {path} ({}){}", content.short(), with(attributes));
                out.push_str(made(*parents));
                if let Some(suffix) = backup {
                    out.push_str(&format!(", keeping the old one as {path}{suffix}"));
                }
                if let Some(argv) = validate {
                    out.push_str(&format!(", once `{}` agrees", shown(argv)));
                }
                out
            }
            Self::SetAttributes { path, attributes } => format!("set {path}{}", with(attributes)),
            Self::MakeDirectory { path, attributes, parents } => {
                format!("make directory {path}{}{}", with(attributes), made(*parents))
            }
            Self::Link { path, to } => format!("link {path} -> {to}"),
            Self::Remove { path, tree: false } => format!("remove {path}"),
            Self::Remove { path, tree: true } => format!("remove {path} and all below it"),
            Self::Exec { argv, cwd, env, timeout_ms: _ } => {
                let mut out = format!("run {}", shown(argv));
                if let Some(cwd) = cwd {
                    out.push_str(&format!(" in {cwd}"));
                }
                if !env.is_empty() {
                    let words: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    out.push_str(&format!(" with {}", shown(&words)));
                }
                out
            }
            Self::Sql(statement) => statement.summary(),
            Self::Network(effect) => effect.summary(),
            Self::Dns(effect) => effect.summary(),
        }
    }

    /// Whether performing it loses something, told from its type and from what is
    /// there: removing, and putting something in place of another sort of thing. A new
    /// content of a file is none: the plan shows the difference.
    #[must_use]
    pub fn destructive(&self, before: Option<&Precondition>) -> bool {
        let before = before.and_then(Precondition::path).map(|(_, state)| state);
        match self {
            Self::Remove { .. } => true,
            Self::PutFile { .. } => {
                matches!(before, Some(PathState::Directory { .. } | PathState::Symlink { .. } | PathState::Other))
            }
            Self::Link { .. } => matches!(before, Some(PathState::File { .. } | PathState::Directory { .. })),
            Self::Sql(statement) => statement.destructive(),
            Self::SetAttributes { .. } | Self::MakeDirectory { .. } | Self::Exec { .. } => false,
            Self::Network(effect) => effect.destructive(),
            Self::Dns(effect) => effect.destructive(),
        }
    }

    /// What undoes it, given what was there. `None` where nothing does.
    #[must_use]
    pub fn inverse(&self, before: &Precondition) -> Option<EffectBody> {
        match before {
            Precondition::Path { state, .. } => self.path_inverse(state),
            // What a statement undoes is for the plugin to say.
            Precondition::Rows { .. } => None,
            Precondition::Network { object, .. } => match self {
                Self::Network(effect) => effect.inverse(object.as_ref()).map(Self::Network),
                _ => None,
            },
            Precondition::Records { records, .. } => match self {
                Self::Dns(effect) => effect.inverse(records.as_ref()).map(Self::Dns),
                _ => None,
            },
        }
    }

    fn path_inverse(&self, before: &PathState) -> Option<EffectBody> {
        let path = self.path()?.to_owned();
        Some(match before {
            PathState::Absent => Self::Remove { path, tree: false },
            PathState::File { digest: Some(content), mode, owner, group, .. } => match self {
                Self::SetAttributes { .. } => Self::SetAttributes { path, attributes: all(*mode, owner, group) },
                _ => Self::PutFile {
                    path,
                    content: *content,
                    attributes: all(*mode, owner, group),
                    parents: false,
                    backup: None,
                    validate: None,
                },
            },
            PathState::File { digest: None, mode, owner, group, .. } => match self {
                Self::SetAttributes { .. } => Self::SetAttributes { path, attributes: all(*mode, owner, group) },
                _ => return None,
            },
            PathState::Directory { mode, owner, group } => match self {
                Self::SetAttributes { .. } => Self::SetAttributes { path, attributes: all(*mode, owner, group) },
                Self::Remove { tree: false, .. } => {
                    Self::MakeDirectory { path, attributes: all(*mode, owner, group), parents: false }
                }
                _ => return None,
            },
            // A link is put in place of a link or of nothing: it cannot undo a file.
            PathState::Symlink { .. } if matches!(self, Self::PutFile { .. }) => return None,
            PathState::Symlink { to } => Self::Link { path, to: to.clone() },
            PathState::Other => return None,
        })
    }
}

fn all(mode: u32, owner: &str, group: &str) -> Attributes {
    Attributes { mode: Some(mode), owner: Some(owner.to_owned()), group: Some(group.to_owned()) }
}

fn made(parents: bool) -> &'static str {
    if parents { ", making missing directories above" } else { "" }
}

/// Words of a command as a person would type them, on one line.
#[must_use]
pub fn shown(argv: &[String]) -> String {
    argv.iter()
        .map(|word| {
            let plain = !word.is_empty()
                && word
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '=' | ':' | ',' | '%' | '+'));
            // A line break in a word could pass for a line of the plan.
            let odd = word.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
            match (plain, odd) {
                (true, _) => word.clone(),
                (false, true) => format!("$'{}'", word.escape_default()),
                (false, false) => format!("'{}'", word.replace('\'', r"'\''")),
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_absent_is_removed_again() {
        let absent = Precondition::Path { path: "/a".into(), state: PathState::Absent };
        let link = EffectBody::Link { path: "/a".into(), to: "b".into() };
        assert_eq!(link.inverse(&absent), Some(EffectBody::Remove { path: "/a".into(), tree: false }));
        let exec = EffectBody::Exec { argv: vec!["/bin/true".into()], cwd: None, env: vec![], timeout_ms: 1 };
        assert_eq!(exec.inverse(&absent), None);
    }

    #[test]
    fn commands_are_shown_as_typed() {
        let argv = ["/bin/echo", "a b", "it's", "--x=1", "a\nb"].map(String::from);
        assert_eq!(shown(&argv), r"/bin/echo 'a b' 'it'\''s' --x=1 $'a\nb'");
    }
}
