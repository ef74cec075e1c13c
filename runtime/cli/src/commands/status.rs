//! `tidelock status`: where every lane stands, from the store alone.

use serde_json::{Value, json};
use tidelock_model::name::Name;
use tidelock_model::port::{LaneRecord, Store};
use tidelock_model::revision::{Revision, Signature, Stale};
use tidelock_model::run::Status;

use super::history::word;
use crate::config::Loaded;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::table::{Cell, Look, table};
use crate::output::{Output, one_line, time};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these stacks
    stacks: Vec<String>,
    /// Only on this target
    #[arg(long)]
    target: Option<String>,
}

/// A source, the revision in force, and since when it cannot be asked.
struct InForce {
    name: Name,
    revision: Option<Revision>,
    stale: Option<Stale>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let loaded = context.config()?;
    let (sources, mut lanes) = match context.store(&loaded)? {
        None => (loaded.config.sources.keys().map(never_fetched).collect(), vec![]),
        Some(store) => (in_force(&loaded, &store)?, store.lanes()?),
    };
    lanes.retain(|record| {
        let stack = args.stacks.is_empty() || args.stacks.iter().any(|stack| stack == record.lane.stack.as_str());
        stack && args.target.as_deref().is_none_or(|target| target == record.lane.target.as_str())
    });
    if context.out.is_json() {
        context.out.json(&json!({
            "format": "tidelock.status/1",
            "sources": sources.iter().map(source_json).collect::<Vec<_>>(),
            "lanes": lanes.iter().map(lane_json).collect::<Vec<_>>(),
        }))?;
    } else {
        show(context, &sources, &lanes)?;
    }
    Ok(Exit::Done)
}

fn in_force(loaded: &Loaded, store: &dyn Store) -> Result<Vec<InForce>, CliError> {
    let one =
        |name: &Name| Ok(InForce { name: name.clone(), revision: store.revision(name)?, stale: store.stale(name)? });
    loaded.config.sources.keys().map(one).collect()
}

fn never_fetched(name: &Name) -> InForce {
    InForce { name: name.clone(), revision: None, stale: None }
}

fn show(context: &Context, sources: &[InForce], lanes: &[LaneRecord]) -> Result<(), CliError> {
    let out = &context.out;
    let heading = ["SOURCE", "REVISION", "COMMITTED", "SIGNATURE", "SUBJECT"];
    let rows: Vec<Vec<Cell>> = sources.iter().map(source_row).collect();
    if !rows.is_empty() {
        out.text(&format!("{}\n", table(&heading, &rows, out.paint)))?;
    }
    for InForce { name, stale, .. } in sources {
        if let Some(Stale { since, why }) = stale {
            let text = format!("source {name} is stale since {}: {}\n\n", time(*since), one_line(why));
            out.text(&out.paint.warn(&text))?;
        }
    }
    if lanes.is_empty() {
        return out.text(&format!("No stack was looked at yet.\nNext: {}\n", context.command(&["plan"])));
    }
    show_lanes(out, lanes)
}

fn source_row(InForce { name, revision, .. }: &InForce) -> Vec<Cell> {
    let Some(revision) = revision else {
        return vec![Cell::plain(name.as_str()), Cell::dim("never fetched")];
    };
    let (signature, look) = match &revision.signature {
        Signature::Verified { signer, .. } => (format!("signed by {signer}"), Look::Good),
        Signature::NotAsked => ("unsigned".to_owned(), Look::Warn),
        Signature::Worktree => ("work tree".to_owned(), Look::Warn),
    };
    vec![
        Cell::plain(name.as_str()),
        Cell::plain(format!("{} {}", revision.wanted, revision.short())),
        Cell::dim(time(revision.at)),
        Cell::new(signature, look),
        Cell::plain(&revision.subject),
    ]
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

fn look(status: Status) -> Look {
    match status {
        Status::Converged => Look::Good,
        Status::Pending | Status::Drifted | Status::Waiting | Status::Degraded | Status::Orphaned => Look::Warn,
        Status::Failed => Look::Bad,
        Status::Suspended | Status::Unknown => Look::Dim,
    }
}

fn source_json(InForce { name, revision, stale }: &InForce) -> Value {
    json!({ "source": name, "revision": revision, "stale": stale })
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
