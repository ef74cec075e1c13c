//! What is wrong with a source itself: it does not answer, what it names now is not followed, or
//! stacks of the revision in force cannot be read. Each look keeps it for those who ask later, without Git.

use jiff::Timestamp;
use tidelock_model::error::Diagnostic;
use tidelock_model::event::RunEvent;
use tidelock_model::name::Name;
use tidelock_model::port::{SourceError, Store, StoreError};
use tidelock_model::revision::{SourceNotice, Stale, Trouble};

use crate::error::RunError;
use crate::runtime::Runtime;

/// Keeps what an answer of a source's server says of it.
pub(crate) fn answered(runtime: &Runtime, source: &Name, notices: &[SourceNotice]) -> Result<(), RunError> {
    let unreachable = notices.iter().find_map(|notice| match notice {
        SourceNotice::Unreachable { why } => Some(why.as_str()),
        _ => None,
    });
    stale(runtime, source, unreachable)?;
    let stays =
        |notice: &&SourceNotice| !matches!(notice, SourceNotice::Unreachable { .. } | SourceNotice::Uncommitted { .. });
    // Whoever is out of reach said nothing of its tip.
    if unreachable.is_none() {
        change(runtime, source, |trouble| trouble.notices = notices.iter().filter(stays).cloned().collect())?;
    }
    Ok(())
}

/// Keeps that a source gave no revision at all, and gives back why in words.
pub(crate) fn refused(runtime: &Runtime, source: &Name, error: &RunError) -> Result<String, RunError> {
    let why = match error {
        // Nobody asked, so nobody is told later what mends it.
        RunError::Source(SourceError { message, hint: Some(hint), .. }) => format!("{message}; {hint}"),
        error => error.to_string(),
    };
    stale(runtime, source, Some(&why))?;
    Ok(why)
}

/// What is wrong with the stacks of a source's revision in force, as far as somebody read them.
///
/// # Errors
/// The store cannot be read.
pub fn problems(store: &dyn Store, source: &Name) -> Result<Vec<Diagnostic>, StoreError> {
    let Some(revision) = store.revision(source)? else { return Ok(vec![]) };
    Ok(store.trouble(source)?.problems_at(&revision.id).to_vec())
}

/// Keeps what is wrong with the stacks of the revision in force.
pub(crate) fn read(
    runtime: &Runtime,
    source: &Name,
    revision: &str,
    problems: Vec<Diagnostic>,
) -> Result<(), RunError> {
    change(runtime, source, |trouble| (trouble.read, trouble.problems) = (Some(revision.to_owned()), problems))
}

/// Forgets what a person accepted; the next look tells what is still so.
pub(crate) fn accepted(runtime: &Runtime, source: &Name, is: impl Fn(&SourceNotice) -> bool) -> Result<(), RunError> {
    change(runtime, source, |trouble| trouble.notices.retain(|notice| !is(notice)))
}

fn change(runtime: &Runtime, source: &Name, change: impl FnOnce(&mut Trouble)) -> Result<(), RunError> {
    let before = runtime.store.trouble(source)?;
    let mut trouble = before.clone();
    change(&mut trouble);
    if trouble != before {
        runtime.store.put_trouble(source, &trouble)?;
    }
    Ok(())
}

/// Notes since when a source does not answer, or that it does. Each change is one event.
/// Another reason is noted without one: `status` tells what is wrong now.
fn stale(runtime: &Runtime, source: &Name, why: Option<&str>) -> Result<(), RunError> {
    let before = runtime.store.stale(source)?;
    let now: Timestamp = runtime.clock.now();
    match (before, why) {
        (None, Some(why)) => {
            runtime.store.put_stale(source, Some(&Stale { since: now, why: why.to_owned() }))?;
            let event = RunEvent::SourceStale { source: source.clone(), since: now, why: why.to_owned() };
            runtime.emit(None, None, &event)?;
        }
        (Some(_), None) => {
            runtime.store.put_stale(source, None)?;
            runtime.emit(None, None, &RunEvent::SourceBack { source: source.clone() })?;
        }
        (Some(before), Some(why)) if before.why != why => {
            runtime.store.put_stale(source, Some(&Stale { why: why.to_owned(), ..before }))?;
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
    Ok(())
}
