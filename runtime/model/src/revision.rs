//! Revisions: commits that passed verification.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
