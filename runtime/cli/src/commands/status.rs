//! `tidelock status`: where every lane stands, from the store and the guards of this system alone.

mod health;
mod narrow;
mod sources;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tidelock_model::hold::{Hold, Pin, Undo};
use tidelock_model::port::{LaneRecord, Store};
use tidelock_model::revision::Revision;
use tidelock_model::run::Status;
use tidelock_reconcile::Counting;

use self::health::Health;
use self::narrow::Narrow;
use self::sources::{InForce, in_force, never_fetched, wrong};
pub(super) use self::sources::{SHOWN, placed, wrong_in_git};
use super::history::word;
use super::hold::span;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::table::{Cell, Look, table};
use crate::output::{Output, time};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With --detailed-exitcode it ends with\n  0  every lane that is shown is as Git says\n  2  some are not: pending, drifted, waiting, suspended, orphaned, or not looked at\n  1  something failed or is degraded, a source does not answer or is not followed, a stack cannot be\n     read, or --max-age is over\nand with 1 as well where it cannot tell."
)]
pub(crate) struct Args {
    #[command(flatten)]
    narrow: Narrow,
    /// Tells by the exit code how it stands, for monitoring
    #[arg(long)]
    detailed_exitcode: bool,
    /// A lane that nothing has looked at for longer, such as 15m, counts as failed
    #[arg(long, value_name = "TIME", value_parser = span, requires = "detailed_exitcode")]
    max_age: Option<SignedDuration>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let loaded = context.config()?;
    let now = Timestamp::now();
    let (mut sources, mut lanes, ways, counting) = match context.store(&loaded)? {
        None => {
            let never = loaded.config.sources.keys().map(never_fetched).collect();
            (never, vec![], InTheWay::default(), Counting::default())
        }
        Some(store) => {
            let counting = Counting::now(&store, loaded.config.sources.keys(), now)?.declared(&loaded.config);
            (in_force(&loaded, &store)?, store.lanes()?, InTheWay::of(&store)?, counting)
        }
    };
    let nothing = lanes.is_empty();
    let guards = tidelock_target::guards_in(&loaded.guards())?;
    for record in &mut lanes {
        tidelock_reconcile::standing(record, &guards, now);
        counting.judge(record);
    }
    let lanes = args.narrow.lanes(&loaded.config, lanes)?;
    sources.retain(|source| args.narrow.concerns(&source.name, &lanes));
    if args.narrow.by_lane() {
        sources.iter_mut().for_each(|source| source.problems.clear());
    }
    let mut health = Health::of(&sources, &lanes, args.max_age, now);
    if nothing {
        health = health.max(Health::Unsettled(vec!["no stack was looked at yet".to_owned()]));
    }
    if context.out.is_json() {
        context.out.json(&json!({
            "format": "tidelock.status/1",
            "sources": sources.iter().map(sources::as_json).collect::<Vec<_>>(),
            "lanes": lanes.iter().map(lane_json).collect::<Vec<_>>(),
            "holds": ways.holds,
            "pins": ways.pins,
            "undos": ways.undos,
            "health": health.word(),
            "trouble": health.why(),
        }))?;
    } else {
        show(context, &sources, &lanes, args.narrow.is_any())?;
        ways.show(&context.out)?;
        health.show(&context.out, args.detailed_exitcode)?;
    }
    Ok(if args.detailed_exitcode { health.exit() } else { Exit::Done })
}

/// What people put in the loop's way.
#[derive(Default)]
struct InTheWay {
    holds: Vec<Hold>,
    pins: Vec<Pin>,
    undos: Vec<Undo>,
}

impl InTheWay {
    fn of(store: &dyn Store) -> Result<Self, CliError> {
        let now = Timestamp::now();
        let ahead = |until: Option<Timestamp>| until.is_none_or(|until| now < until);
        let mut ways = Self { holds: store.holds()?, pins: store.pins()?, undos: store.undos()? };
        ways.holds.retain(|hold| ahead(hold.until));
        ways.pins.retain(|pin| ahead(pin.until));
        Ok(ways)
    }

    fn show(&self, out: &Output) -> Result<(), CliError> {
        let mut text = String::new();
        for hold in &self.holds {
            let wait = tidelock_plan::holds::wait(hold);
            text.push_str(&format!("{} {hold}\n  {}\n", out.paint.warn("held:"), wait.hint.unwrap_or_default()));
        }
        for pin in &self.pins {
            let end = tidelock_plan::holds::unpin(pin);
            text.push_str(&format!("{} {pin}\n  to end it: `{end}`\n", out.paint.warn("pinned:")));
        }
        for undo in &self.undos {
            let end = format!("tidelock {} {} --end", undo.verb(), undo.address);
            let word = if undo.let_be { "let be:" } else { "undone:" };
            text.push_str(&format!("{} {undo}\n  to end it: `{end}`\n", out.paint.warn(word)));
        }
        if text.is_empty() { Ok(()) } else { out.text(&format!("\n{text}")) }
    }
}

fn show(context: &Context, sources: &[InForce], lanes: &[LaneRecord], narrowed: bool) -> Result<(), CliError> {
    let out = &context.out;
    let heading = ["SOURCE", "REVISION", "COMMITTED", "SIGNATURE", "SUBJECT"];
    let rows: Vec<Vec<Cell>> = sources.iter().map(sources::row).collect();
    if !rows.is_empty() {
        out.text(&format!("{}\n", table(&heading, &rows, out.paint)))?;
    }
    for source in sources {
        wrong(out, source)?;
    }
    if lanes.is_empty() && narrowed {
        return out.text("No lane is so.\n");
    }
    if lanes.is_empty() && sources.iter().any(|source| source.revision.is_some()) {
        return out.text("No stack is there that was looked at, and nothing is owned.\n");
    }
    if lanes.is_empty() {
        return out.text(&format!("No stack was looked at yet.\nNext: {}\n", context.command(&["plan"])));
    }
    show_lanes(out, lanes)
}

fn show_lanes(out: &Output, lanes: &[LaneRecord]) -> Result<(), CliError> {
    let many = lanes.windows(2).any(|pair| pair[0].lane.source != pair[1].lane.source);
    let rows: Vec<Vec<Cell>> = lanes
        .iter()
        .map(|record| {
            let revision = |revision: &Option<Revision>| revision.as_ref().map_or("", Revision::short).to_owned();
            vec![
                Cell::plain(if many { record.lane.source.as_str() } else { "" }),
                Cell::plain(record.lane.stack.as_str()),
                Cell::plain(record.lane.target.as_str()),
                Cell::new(word(&record.status), look(record.status)),
                Cell::plain(revision(&record.applied)),
                Cell::dim(record.seen.map(time).unwrap_or_default()),
                Cell::plain(record.why.as_deref().unwrap_or("")),
            ]
        })
        .collect();
    out.text(&table(&["SOURCE", "STACK", "TARGET", "STATUS", "APPLIED", "LOOKED AT", "WHY"], &rows, out.paint))
}

pub(super) fn look(status: Status) -> Look {
    match status {
        Status::Converged => Look::Good,
        Status::Pending | Status::Drifted | Status::Waiting | Status::Degraded | Status::Orphaned => Look::Warn,
        Status::Failed => Look::Bad,
        Status::Suspended | Status::Unknown => Look::Dim,
    }
}

fn lane_json(record: &LaneRecord) -> Value {
    json!({
        "source": record.lane.source, "stack": record.lane.stack, "target": record.lane.target,
        "status": record.status, "why": record.why, "applied": record.applied, "planned": record.planned,
        "plugins": record.plugins, "contacted": record.contacted, "seen": record.seen, "last_run": record.last_run,
        "since": record.since, "digest": record.digest, "waits": record.waits, "attempts": record.attempts,
        "retry_at": record.retry_at,
    })
}
