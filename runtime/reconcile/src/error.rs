//! Why a pass gave nothing.

use tidelock_model::error::{Diagnostic, Fault};
use tidelock_model::plan::LanePlan;
use tidelock_model::port::{PluginError, SourceError, StoreError};
use tidelock_model::run::Status;

/// What a target answers that only copies another one.
const STANDBY: &str = "standby";

/// Why a pass gave nothing. Each variant maps to one exit code in the command line.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RunError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A plugin, a target, or the host.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Git says something that cannot be planned.
    #[error("{} problem(s) in what Git says", .0.len())]
    Rejected(Vec<Diagnostic>),
    /// What was asked for does not exist, or is not allowed.
    #[error("{message}")]
    Selection {
        /// One sentence.
        message: String,
        /// What mends it.
        hint: Option<String>,
    },
    /// A saved plan is not what would be done now.
    #[error("the saved plan is stale: {why}")]
    Stale {
        /// What differs.
        why: String,
        /// What the plan would be now, by lane.
        now: Vec<LanePlan>,
    },
    /// A saved plan was altered: its digest is right, its contents are not.
    #[error("the saved plan was altered: {0}")]
    Forged(String),
}

impl RunError {
    pub(crate) fn selection(message: impl Into<String>, hint: Option<String>) -> Self {
        Self::Selection { message: message.into(), hint }
    }

    /// As one sentence: of several problems, the first.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Rejected(problems) => match problems.as_slice() {
                [] => self.to_string(),
                [one] => placed(one),
                [first, more @ ..] => format!("{} (and {} more)", placed(first), more.len()),
            },
            error => error.to_string(),
        }
    }

    /// Where a lane stands that it came of. Nothing is wrong with one that waits for a server that
    /// takes writes.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Fault(fault) if fault.code == STANDBY => Status::Waiting,
            _ => Status::Failed,
        }
    }
}

fn placed(problem: &Diagnostic) -> String {
    match &problem.place {
        Some(place) => format!("{}:{}: {}", place.file, place.line, problem.message),
        None => problem.message.clone(),
    }
}

impl From<PluginError> for RunError {
    fn from(error: PluginError) -> Self {
        match error {
            PluginError::Problems(diagnostics) => Self::Rejected(diagnostics),
            PluginError::Fault(fault) => Self::Fault(fault),
        }
    }
}
