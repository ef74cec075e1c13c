//! Asking a source: the newest verified revision comes into force, and where none can be
//! had the last one stays, also after a restart. What is wrong is told once, not each poll.

use std::collections::BTreeSet;

use tidelock_model::error::Diagnostic;
use tidelock_model::event::RunEvent;
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::Want;
use tidelock_model::revision::SourceNotice;

use crate::error::RunError;
use crate::run::enforce;
use crate::runtime::Runtime;
use crate::trouble;

/// What came of a poll.
#[derive(Debug)]
pub(super) struct Polled {
    /// Whether the server answered.
    pub(super) good: bool,
    /// Whether another revision is in force now.
    pub(super) new: bool,
    /// The lanes of the revision in force, where they were listed.
    pub(super) lanes: Option<BTreeSet<Lane>>,
    /// What was told, so that it is not told again.
    pub(super) told: Told,
}

/// What the last poll of a source told of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    notices: Vec<SourceNotice>,
    problems: Vec<Diagnostic>,
}

/// Asks a source's server, once, however many lanes it has. `told` is what the last poll
/// told; with `all` the lanes are listed even where the revision is the same.
#[tracing::instrument(name = "poll", skip_all, fields(source = %source))]
pub(super) async fn poll(runtime: &Runtime, source: &Name, all: bool, told: Told) -> Polled {
    match asked(runtime, source, all, &told).await {
        Ok(polled) => polled,
        Err(error) => {
            match trouble::refused(runtime, source, &error) {
                Ok(why) => tracing::warn!(%source, error = %why, "the poll failed"),
                Err(unkept) => tracing::warn!(%source, %error, %unkept, "the poll failed, and it is not recorded"),
            }
            Polled { good: false, new: false, lanes: None, told }
        }
    }
}

async fn asked(runtime: &Runtime, source: &Name, all: bool, told: &Told) -> Result<Polled, RunError> {
    let found = enforce(runtime, source, Want::Configured, all).await?;
    trouble::answered(runtime, source, &found.notices)?;
    let mut notices = found.notices.clone();
    notices.retain(|notice| !matches!(notice, SourceNotice::Unreachable { .. }));
    let good = notices.len() == found.notices.len();
    for notice in notices.iter().filter(|notice| !told.notices.contains(notice)) {
        runtime.emit(None, None, &RunEvent::SourceNotice { notice: notice.clone() })?;
    }
    let problems =
        if found.lanes.is_some() || !found.problems.is_empty() { found.problems } else { told.problems.clone() };
    if !problems.is_empty() && problems != told.problems {
        runtime.emit(None, None, &RunEvent::Rejected { diagnostics: problems.clone() })?;
    }
    tracing::debug!(%source, revision = found.revision.short(), new = found.new, "polled");
    Ok(Polled { good, new: found.new, lanes: found.lanes, told: Told { notices, problems } })
}

/// The lanes of the revision that is in force from before, for which no server is asked.
///
/// # Errors
/// The revision is not in the cache any more, or cannot be read.
pub(super) async fn recalled(runtime: &Runtime, source: &Name) -> Result<Option<BTreeSet<Lane>>, RunError> {
    let Some(revision) = runtime.store.revision(source)? else { return Ok(None) };
    Ok(enforce(runtime, source, Want::Rev(revision.id), true).await?.lanes)
}
