//! Lanes that there are no more, and lanes that nobody can read.

use tidelock_model::error::{Diagnostic, Severity};
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::{Fetched, LaneRecord};
use tidelock_model::run::Status;

use super::source::Lanes;
use crate::error::RunError;
use crate::runtime::Runtime;

/// Notes which lanes there are no more: their stack left Git, or the operator's config their
/// target, or the stack does not go there any longer. Their resources stay until somebody says so.
pub(super) fn orphaned(runtime: &Runtime, fetched: &Fetched, lanes: &Lanes) -> Result<(), RunError> {
    let source = &fetched.revision.source;
    let in_force = runtime.store.revision(source)?.is_some_and(|revision| revision.id == fetched.revision.id);
    for mut record in runtime.store.lanes()? {
        let lane = &record.lane;
        let known = in_force && lanes.unread.is_empty();
        if in_force && !known && lane.source == *source && !lanes.has(&lane.stack) {
            unread(runtime, fetched, lanes, record)?;
            continue;
        }
        let why = if record.status == Status::Orphaned {
            None
        } else if !runtime.config.sources.contains_key(&lane.source) {
            Some(format!("the config declares no source {} any more", lane.source))
        } else if lane.source == *source && known {
            gone(runtime, fetched, lanes, lane)?
        } else {
            None
        };
        if let Some(why) = why {
            record.status = Status::Orphaned;
            record.why = Some(format!("{why}; its resources stay"));
            record.since = Some(runtime.clock.now());
            runtime.store.put_lane(&record)?;
        }
    }
    Ok(())
}

/// What a person may do about what a lane owns that is none any more.
pub(crate) fn ends(lane: &Lane) -> String {
    let Lane { stack, target, .. } = lane;
    format!(
        "`tidelock destroy {stack} --target {target}` removes what it owns, `tidelock forget {stack} --target {target}` \
         lets it be"
    )
}

/// Says of lanes of a source that are none any more what they own still: it is neither kept as Git
/// says nor removed by itself.
pub(super) fn left(runtime: &Runtime, source: &Name) -> Result<Vec<Diagnostic>, RunError> {
    let mut out = Vec::new();
    for record in runtime.store.lanes()? {
        let lane = &record.lane;
        if lane.source != *source || record.status != Status::Orphaned {
            continue;
        }
        let owned = runtime.store.identities(lane)?.len();
        if owned == 0 {
            continue;
        }
        let resources = if owned == 1 { "1 resource".to_owned() } else { format!("{owned} resources") };
        let why = record.why.unwrap_or_else(|| "its stack left Git".to_owned());
        let message = format!("{}@{} is orphaned and owns {resources}: {why}", lane.stack, lane.target);
        let said = Diagnostic::error(message, None).hint(ends(lane));
        out.push(Diagnostic { severity: Severity::Warning, ..said });
    }
    Ok(out)
}

/// Notes that a lane's stack may have left, or be among those that cannot be read: nobody looks
/// at the lane meanwhile, so it must not read as it did before.
fn unread(runtime: &Runtime, fetched: &Fetched, lanes: &Lanes, mut record: LaneRecord) -> Result<(), RunError> {
    let why = format!(
        "no stack {} can be read at {}, and these cannot: {}",
        record.lane.stack,
        fetched.revision.short(),
        lanes.unread.join(", ")
    );
    if record.status == Status::Orphaned || record.why.as_ref() == Some(&why) {
        return Ok(());
    }
    if record.status != Status::Failed {
        record.since = Some(runtime.clock.now());
    }
    record.status = Status::Failed;
    record.why = Some(why);
    Ok(runtime.store.put_lane(&record)?)
}

/// Why a lane is none any more.
fn gone(runtime: &Runtime, fetched: &Fetched, lanes: &Lanes, lane: &Lane) -> Result<Option<String>, RunError> {
    let at = fetched.revision.short();
    let Some(stack) = lanes.stacks.iter().find(|stack| stack.decl.name == lane.stack) else {
        return Ok(Some(format!("the stack left Git at {at}")));
    };
    if !runtime.config.targets.contains_key(&lane.target) {
        return Ok(Some("the config declares its target no more".to_owned()));
    }
    let revision = &lanes.pins.files(&lane.stack, fetched).revision.id;
    let there = runtime.siblings.of(&runtime.config, &lane.source, stack, revision)?;
    Ok((!there.contains(lane)).then(|| format!("the stack does not go to {} any more, as of {at}", lane.target)))
}
