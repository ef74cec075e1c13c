//! What is said over the socket: one JSON object on a line for a request, one for the answer.

use serde::{Deserialize, Serialize};
use tidelock_model::hold::Scope;
use tidelock_model::name::Name;
use tidelock_reconcile::driver::Pulse;

/// The longest line that is read, in bytes.
pub(super) const LONGEST: usize = 64 << 10;

/// What a command asks of a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub(super) enum Request {
    /// Are you there, and how are you?
    Pulse,
    /// Ask a source's server now.
    Poll {
        /// The source.
        source: Name,
    },
    /// Look at lanes now.
    Look {
        /// Which.
        #[serde(default)]
        scope: Scope,
    },
}

/// What a daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(super) enum Answer {
    /// It is taken.
    Taken {
        /// The daemon's process.
        pid: u32,
        /// When the loop last made a turn.
        at: jiff::Timestamp,
        /// Lanes that it looks after.
        lanes: usize,
        /// Passes under way.
        passes: usize,
        /// Passes that ended since it began.
        passed: u64,
        /// Polls that ended since it began.
        polled: u64,
    },
    /// It is not.
    Refused {
        /// Why.
        why: String,
    },
}

impl Answer {
    pub(super) fn taken(pulse: &Pulse) -> Self {
        let Pulse { at, lanes, passes, passed, polled, .. } = *pulse;
        Self::Taken { pid: std::process::id(), at, lanes, passes, passed, polled }
    }

    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }
}
