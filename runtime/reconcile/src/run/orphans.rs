//! Lanes that there are no more, and lanes that nobody can read.

use tidelock_model::error::{Diagnostic, Severity};
use tidelock_model::hold::Scope;
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::{Fetched, LaneRecord};
use tidelock_model::run::Status;

use super::source::Lanes;
use crate::error::RunError;
use crate::runtime::Runtime;
use crate::select;

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
        let why = if !runtime.config.sources.contains_key(&lane.source) {
            Gone::Left(format!("the config declares no source {} any more", lane.source))
        } else if lane.source == *source && known {
            gone(runtime, fetched, lanes, lane)?
        } else {
            Gone::No
        };
        match why {
            Gone::Left(_) if owns_nothing(runtime, lane)? => runtime.store.drop_lane(lane)?,
            _ if record.status == Status::Orphaned => {}
            Gone::Left(why) => {
                record.status = Status::Orphaned;
                record.why = Some(format!("{why}; its resources stay"));
                record.since = Some(runtime.clock.now());
                runtime.store.put_lane(&record)?;
            }
            Gone::Unclear(why) => failed(runtime, record, why)?,
            Gone::No => {}
        }
    }
    Ok(())
}

/// Whether a lane is one no more, as far as can be told.
enum Gone {
    /// It is there.
    No,
    /// It is not, for this reason.
    Left(String),
    /// What would tell is wrong itself.
    Unclear(String),
}

/// Whether nothing of a lane is left that a person could decide about: it owns nothing, and nothing that
/// was begun there is open.
fn owns_nothing(runtime: &Runtime, lane: &Lane) -> Result<bool, RunError> {
    let store = &runtime.store;
    Ok(store.identities(lane)?.is_empty()
        && store.open_intents(lane)?.is_empty()
        && store.due_triggers(lane)?.is_empty()
        && !store.undos()?.iter().any(|undo| undo.address.lane() == *lane)
        && crate::confirm::unconfirmed(runtime, &Scope::of(lane)).is_ok_and(|open| open.is_empty()))
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
pub(super) fn left(runtime: &Runtime, source: &Name, lanes: &Lanes) -> Result<Vec<Diagnostic>, RunError> {
    let back = |lane: &Lane| lanes.selected.iter().chain(&lanes.others).any(|one| one.lane == *lane);
    let mut out = Vec::new();
    for record in runtime.store.lanes()? {
        let lane = &record.lane;
        // One that came back is planned, and recorded after that.
        if lane.source != *source || record.status != Status::Orphaned || back(lane) {
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
fn unread(runtime: &Runtime, fetched: &Fetched, lanes: &Lanes, record: LaneRecord) -> Result<(), RunError> {
    let why = format!(
        "no stack {} can be read at {}, and these cannot: {}",
        record.lane.stack,
        fetched.revision.short(),
        lanes.unread.join(", ")
    );
    if record.status == Status::Orphaned { Ok(()) } else { failed(runtime, record, why) }
}

fn failed(runtime: &Runtime, mut record: LaneRecord, why: String) -> Result<(), RunError> {
    if record.why.as_ref() == Some(&why) {
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
fn gone(runtime: &Runtime, fetched: &Fetched, lanes: &Lanes, lane: &Lane) -> Result<Gone, RunError> {
    let at = fetched.revision.short();
    let Some(stack) = lanes.stacks.iter().find(|stack| stack.decl.name == lane.stack) else {
        return Ok(Gone::Left(format!("the stack left Git at {at}")));
    };
    if !runtime.config.targets.contains_key(&lane.target) {
        return Ok(Gone::Left("the config declares its target no more".to_owned()));
    }
    let revision = &lanes.pins.files(&lane.stack, fetched).revision.id;
    if runtime.siblings.of(&runtime.config, &lane.source, stack, revision)?.contains(lane) {
        return Ok(Gone::No);
    }
    // Where a name is mistyped it may be this target's: nothing is to be removed for a slip.
    if let Some(stranger) = select::undeclared(&runtime.config, stack).into_iter().next() {
        let Diagnostic { message, hint, .. } = stranger;
        let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        let file = stack.file();
        return Ok(Gone::Unclear(format!("{file}: {message}{hint}; the stack names {} no more", lane.target)));
    }
    let decl = runtime.config.targets.get(&lane.target);
    if decl.is_some_and(|decl| select::selects(&stack.decl.targets, &lane.target, decl)) {
        let rules =
            format!("no rule of [[sources.{}.allow]] is for the stack on {} any more", lane.source, lane.target);
        return Ok(Gone::Left(rules));
    }
    Ok(Gone::Left(format!("the stack does not go to {} any more, as of {at}", lane.target)))
}
