//! Revisions: commits that passed verification.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Diagnostic;
use crate::name::Name;

/// Who signed a commit, by the operator's `allowed_signers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Signature {
    /// The source asks for no signatures.
    NotAsked,
    /// Good, by a key that is listed.
    Verified {
        /// The principal in `allowed_signers`.
        signer: String,
        /// `SHA256:...` of the key.
        key: String,
    },
    /// A work tree: nothing to sign.
    Worktree,
}

/// A commit that passed verification, or a work tree that the operator trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The source.
    pub source: Name,
    /// The commit's id in hexadecimal; `worktree` for a work tree.
    pub id: String,
    /// What was asked for: a branch, tag or commit.
    pub wanted: String,
    /// Author, as `Name <mail>`.
    pub author: String,
    /// Committer, as `Name <mail>`.
    pub committer: String,
    /// When it was committed, by the committer's clock.
    pub at: Timestamp,
    /// The first line of its message.
    pub subject: String,
    /// Who signed it.
    pub signature: Signature,
}

impl Revision {
    /// The id for people: 12 digits.
    #[must_use]
    pub fn short(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

/// A source that cannot be asked: its last revision stays in force meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale {
    /// The first time that it did not answer.
    pub since: Timestamp,
    /// Why.
    pub why: String,
}

/// What the last looks at a source found wrong, while it answers: what it is that Git says newest
/// and is not followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Why what the source names now is not in force: an unverified tip, a rewritten history. And tags that moved.
    pub notices: Vec<SourceNotice>,
    /// The revision in force whose stacks were read last; `None` before the first.
    pub read: Option<String>,
    /// What was wrong with its stacks: each is an error, and its lanes are not planned.
    pub problems: Vec<Diagnostic>,
}

impl Trouble {
    /// What is wrong with the stacks of a revision, where they were read.
    #[must_use]
    pub fn problems_at(&self, revision: &str) -> &[Diagnostic] {
        if self.read.as_deref() == Some(revision) { &self.problems } else { &[] }
    }
}

/// Something to tell about how a revision came about, that is not an error: an
/// unverified tip passed over, a rewritten history, Git out of reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "kebab-case")]
pub enum SourceNotice {
    /// The tip was refused; an older verified revision stays in force.
    Unverified {
        /// The refused commit.
        tip: String,
        /// Why.
        why: String,
    },
    /// The new tip does not descend from the revision in force.
    Rewritten {
        /// The revision in force.
        from: String,
        /// The new tip.
        to: String,
    },
    /// A tag that a stack takes its module from stands for another commit than before.
    TagMoved {
        /// The tag's full name.
        tag: String,
        /// The commit that was used.
        from: String,
        /// The one that it stands for now.
        to: String,
    },
    /// The source could not be reached; the last revision stays in force.
    Unreachable {
        /// Why.
        why: String,
    },
    /// Files differ from the commit that is used.
    Uncommitted {
        /// How many.
        files: usize,
    },
}

impl SourceNotice {
    /// What a person may do about it.
    #[must_use]
    pub fn hint(&self, source: &Name) -> Option<String> {
        match self {
            Self::Rewritten { .. } => Some(format!("where that is meant: `tidelock source accept {source}`")),
            Self::TagMoved { tag, .. } => {
                Some(format!("where that is meant: `tidelock source accept {source} --tag {tag}`"))
            }
            Self::Unverified { .. } | Self::Unreachable { .. } | Self::Uncommitted { .. } => None,
        }
    }
}

/// In words, for a person.
impl fmt::Display for SourceNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn short(commit: &str) -> &str {
            commit.get(..12).unwrap_or(commit)
        }
        match self {
            Self::Unverified { tip, why } => {
                write!(f, "commit {} was passed over, an older one stays in force: {why}", short(tip))
            }
            Self::Rewritten { from, to } => write!(
                f,
                "history was rewritten: {} does not descend from {}, which stays in force until `tidelock source accept`",
                short(to),
                short(from)
            ),
            Self::TagMoved { tag, from, to } => {
                write!(f, "{tag} stands for {} now; stacks take their module from it as {}", short(to), short(from))
            }
            Self::Unreachable { why } => {
                write!(f, "the source is out of reach, its last revision stays in force: {why}")
            }
            Self::Uncommitted { files } => {
                let files_are = if *files == 1 { "1 file".to_owned() } else { format!("{files} files") };
                write!(f, "{files_are} not committed and left out; --worktree takes them in")
            }
        }
    }
}
