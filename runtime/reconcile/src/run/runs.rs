//! The runs of a pass: what is kept of who did what, when and why.

use std::collections::BTreeMap;

use tidelock_model::digest::Digest;
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::Plan;
use tidelock_model::revision::{Revision, Signature};
use tidelock_model::run::{Approval, Run, RunCounts, Status};
use tidelock_plan::gate::ApprovedPlan;

use super::record::note;
use crate::error::RunError;
use crate::runtime::Runtime;

/// The runs of a pass, one for each lane that has something to do.
#[derive(Default)]
pub(super) struct Runs {
    pub(super) runs: BTreeMap<Lane, Run>,
}

impl Runs {
    /// Begins a run in each lane that has changes.
    pub(super) fn begin(runtime: &Runtime, approved: &ApprovedPlan, who: &str) -> Result<Self, RunError> {
        let mut runs = BTreeMap::new();
        for lane in &approved.plan().lanes {
            if approved.plan().changes_of(&lane.lane).next().is_none() {
                continue;
            }
            let approver = approvers(approved, &lane.lane);
            let run = begun(runtime, approved.plan(), &lane.lane, lane.digest, who, approver);
            runtime.store.begin_run(&run)?;
            let before = runtime.store.lane(&lane.lane)?;
            // Stands until the run has ended: what a killed process leaves must not read as converged.
            let why = format!("run {} goes on, or was interrupted", run.id);
            note(runtime, before.as_ref(), &lane.lane, approved.plan(), Status::Pending, Some(why), |_| {})?;
            runs.insert(lane.lane.clone(), run);
        }
        Ok(Self { runs })
    }

    /// The runs of each target by themselves.
    pub(super) fn by_target(self) -> BTreeMap<Name, Self> {
        let mut targets: BTreeMap<Name, Self> = BTreeMap::new();
        for (lane, run) in self.runs {
            targets.entry(lane.target.clone()).or_default().runs.insert(lane, run);
        }
        targets
    }

    pub(super) fn add(&mut self, other: Self) {
        self.runs.extend(other.runs);
    }

    pub(super) fn has(&self, lane: &Lane) -> bool {
        self.runs.contains_key(lane)
    }

    pub(super) fn id(&self, lane: &Lane) -> &str {
        self.runs.get(lane).map_or("", |run| &run.id)
    }

    pub(super) fn count(&mut self, lane: &Lane, end: &str) {
        let Some(run) = self.runs.get_mut(lane) else { return };
        let counts = &mut run.counts;
        match end {
            "done" => counts.done += 1,
            "failed" => counts.failed += 1,
            "unknown" => counts.unknown += 1,
            _ => counts.skipped += 1,
        }
    }
}

/// Who approved: the people who did so beforehand, else the caller.
fn approvers(approved: &ApprovedPlan, lane: &Lane) -> Option<String> {
    let of: Vec<&Approval> = approved.approvals().iter().filter(|approval| approval.lane == *lane).collect();
    let beforehand: Vec<&str> =
        of.iter().filter(|one| one.how == Approval::BEFOREHAND).map(|one| one.who.as_str()).collect();
    if beforehand.is_empty() { of.first().map(|one| one.who.clone()) } else { Some(beforehand.join(", ")) }
}

pub(super) fn begun(
    runtime: &Runtime,
    plan: &Plan,
    lane: &Lane,
    digest: Digest,
    who: &str,
    approver: Option<String>,
) -> Run {
    run_at(runtime, plan.revision_of(lane), lane, digest, who, approver)
}

/// A run that begins now, over a lane at a revision.
pub(crate) fn run_at(
    runtime: &Runtime,
    revision: &Revision,
    lane: &Lane,
    digest: Digest,
    who: &str,
    approver: Option<String>,
) -> Run {
    Run {
        revision: revision.id.clone(),
        author: revision.author.clone(),
        signer: match &revision.signature {
            Signature::Verified { signer, .. } => Some(signer.clone()),
            Signature::NotAsked | Signature::Worktree => None,
        },
        ..run_at_nothing(runtime, lane, digest, who, approver)
    }
}

/// The same where nothing is known of a revision.
pub(crate) fn run_at_nothing(
    runtime: &Runtime,
    lane: &Lane,
    digest: Digest,
    who: &str,
    approver: Option<String>,
) -> Run {
    let began = runtime.clock.now();
    let salt = Digest::of(format!("{lane}{digest}{}", began.as_nanosecond()).as_bytes()).short();
    Run {
        id: format!("{}-{}", began.strftime("%Y%m%dT%H%M%S%3f"), &salt[..6]),
        lane: lane.clone(),
        began,
        ended: None,
        end: None,
        who: who.to_owned(),
        revision: String::new(),
        author: String::new(),
        signer: None,
        approver,
        digest,
        counts: RunCounts::default(),
        fault: None,
    }
}
