//! A person's word, given before an apply: a yes or a no to the last plan of a lane.
//!
//! It binds the lane's digest, so it lives as long as a plan comes out equal, whatever
//! else is committed meanwhile, and says nothing to any other plan. It takes the store
//! alone: who approves need not reach a target, a plugin or Git.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tidelock_model::config::Config;
use tidelock_model::digest::Digest;
use tidelock_model::event::RunEvent;
use tidelock_model::grant::glob;
use tidelock_model::name::Lane;
use tidelock_model::plan::{Plan, Wait};
use tidelock_model::port::Store;
use tidelock_model::run::{Approval, Status};
use tidelock_plan::gate;

use crate::error::RunError;
use crate::read::nearest;
use crate::runtime::Selection;

/// A lane whose last plan has changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The lane.
    pub lane: Lane,
    /// Its digest: what a word on it binds.
    pub digest: Digest,
    /// What was planned, of this lane alone.
    pub plan: Plan,
    /// What it waited for when it was planned.
    pub waits: Vec<Wait>,
}

impl Planned {
    /// Whether somebody's yes would help it on.
    #[must_use]
    pub fn awaits_approval(&self) -> bool {
        self.waits.iter().any(|wait| gate::awaits_approval(wait) || wait.code == "rejected")
    }

    /// Why a yes of this person would not count; `None` where it does.
    #[must_use]
    pub fn discounted(&self, config: &Config, who: &str) -> Option<String> {
        if !self.waits.iter().any(gate::asks_for_people) {
            return None;
        }
        let people: BTreeMap<String, Vec<String>> =
            config.people.iter().map(|(user, names)| (user.clone(), names.0.clone())).collect();
        let word = self.word(Timestamp::UNIX_EPOCH, who, true, None);
        let revision = &self.plan.revision;
        gate::wrote(word.person(), &people, revision).then(|| {
            format!("{} wrote {} ({}), and nobody approves what is their own", who, revision.short(), revision.author)
        })
    }

    fn word(&self, at: Timestamp, who: &str, yes: bool, comment: Option<&str>) -> Approval {
        Approval {
            digest: self.digest,
            yes,
            lane: self.lane.clone(),
            who: who.to_owned(),
            at,
            how: Approval::BEFOREHAND.to_owned(),
            comment: comment.map(str::to_owned),
        }
    }
}

/// The lanes of a selection whose last plan has changes, sorted. Nothing is planned anew.
///
/// # Errors
/// The selection names a stack or a target that no lane has.
pub fn planned(store: &dyn Store, selection: &Selection) -> Result<Vec<Planned>, RunError> {
    let mut records = store.lanes()?;
    records.retain(|record| selection.source.as_ref().is_none_or(|source| *source == record.lane.source));
    let stacks: Vec<&str> = records.iter().map(|record| record.lane.stack.as_str()).collect();
    let targets: Vec<&str> = records.iter().map(|record| record.lane.target.as_str()).collect();
    known("stack", &selection.stacks, &stacks)?;
    known("target", &selection.targets, &targets)?;
    let mut out = Vec::new();
    for record in records {
        // What was planned of it has been done.
        if record.status == Status::Converged {
            continue;
        }
        let lane = record.lane;
        let meant = any(&selection.stacks, lane.stack.as_str())? && any(&selection.targets, lane.target.as_str())?;
        let Some(digest) = record.digest.filter(|_| meant) else { continue };
        let Some(plan) = store.plan(&tidelock_plan::alone(&digest))? else { continue };
        if plan.changes_of(&lane).next().is_some() {
            out.push(Planned { lane, digest, plan, waits: record.waits });
        }
    }
    Ok(out)
}

/// Keeps a yes to a plan.
///
/// # Errors
/// The store cannot be written.
pub fn approve(
    store: &dyn Store,
    at: Timestamp,
    planned: &Planned,
    who: &str,
    comment: Option<&str>,
) -> Result<(), RunError> {
    store.put_approval(&planned.word(at, who, true, comment))?;
    let event = RunEvent::Approved { who: who.to_owned(), how: Approval::BEFOREHAND.to_owned() };
    store.put_event(at, None, Some(&planned.lane), &event)?;
    Ok(())
}

/// Keeps a no to a plan: it holds the lane up until the same person says yes, or until
/// something else is planned.
///
/// # Errors
/// The store cannot be written.
pub fn reject(
    store: &dyn Store,
    at: Timestamp,
    planned: &Planned,
    who: &str,
    comment: Option<&str>,
) -> Result<(), RunError> {
    store.put_approval(&planned.word(at, who, false, comment))?;
    let event = RunEvent::Declined { who: who.to_owned(), comment: comment.map(str::to_owned) };
    store.put_event(at, None, Some(&planned.lane), &event)?;
    Ok(())
}

fn any(patterns: &[String], name: &str) -> Result<bool, RunError> {
    let mut any = patterns.is_empty();
    for pattern in patterns {
        any |= glob(pattern, false)?.is_match(name);
    }
    Ok(any)
}

/// Names without a wildcard must be those of lanes.
fn known(what: &str, wanted: &[String], known: &[&str]) -> Result<(), RunError> {
    for name in wanted.iter().filter(|name| !name.contains(['*', '?', '[', '{'])) {
        if !known.contains(&name.as_str()) {
            let near = nearest(name, known.iter().copied()).map(|near| format!("did you mean {near}?"));
            let hint = near.unwrap_or_else(|| "`tidelock status` shows what was planned".to_owned());
            return Err(RunError::selection(format!("nothing was planned for a {what} {name}"), Some(hint)));
        }
    }
    Ok(())
}
