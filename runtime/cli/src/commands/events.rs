//! `tidelock events`: what happened, as it was recorded.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use serde_json::json;
use tidelock_model::event::{RunEvent, StoredEvent};
use tidelock_model::port::{Filter, Store};
use tidelock_reconcile::Tail;
use tidelock_store::SqliteStore;

use super::history::word;
use crate::config::Loaded;
use crate::context::Context;
use crate::error::{CliError, Exit, Kind};
use crate::output::table::{Cell, Look, looked, table};
use crate::output::{count, one_line, time};
use crate::signals;

/// Arguments of `events`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only of this stack
    #[arg(long)]
    stack: Option<String>,
    /// Only on this target
    #[arg(long)]
    target: Option<String>,
    /// Only of this run
    #[arg(long)]
    run: Option<String>,
    /// At most so many, the newest
    #[arg(long, short = 'n', default_value_t = 50)]
    limit: usize,
    /// Goes on with each event as it happens, until SIGINT; JSON is one object per line then
    #[arg(long, short)]
    follow: bool,
}

impl Args {
    fn filter(&self) -> Filter {
        let (stack, target, run) = (self.stack.clone(), self.target.clone(), self.run.clone());
        Filter { stack, target, run, limit: Some(self.limit), ..Filter::default() }
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let loaded = context.config()?;
    if args.follow {
        return follow(context, &loaded, args);
    }
    let events = match context.store(&loaded)? {
        None => vec![],
        Some(store) => store.events(&args.filter())?,
    };
    if context.out.is_json() {
        context.out.json(&json!({ "format": "tidelock.events/1", "events": events }))?;
    } else if events.is_empty() {
        context.out.text("Nothing happened yet.\n")?;
    } else {
        let rows: Vec<Vec<Cell>> = events.iter().map(row).collect();
        context.out.text(&table(&["#", "WHEN", "LANE", "WHAT"], &rows, context.out.paint))?;
    }
    Ok(Exit::Done)
}

/// How often the store is asked for what is new.
const EVERY: Duration = Duration::from_millis(200);

/// How often a store may refuse to be opened at the beginning.
const PATIENCE: u32 = 25;

fn follow(context: &Context, loaded: &Loaded, args: &Args) -> Result<Exit, CliError> {
    signals::until_told(EVERY, {
        let path = loaded.store();
        let mut tailing: Option<(SqliteStore, u64, Tail)> = None;
        let mut refused = 0;
        move || {
            let inode = std::fs::metadata(&path).ok().map(|found| found.ino());
            let (store, opened, tail) = match &mut tailing {
                Some(tailing) => tailing,
                // The first plan makes the store: until then there is nothing to follow.
                None => match (context.store(loaded), inode) {
                    (Ok(Some(store)), Some(inode)) => tailing.insert((store, inode, Tail::new(args.filter()))),
                    // One that is just being made cannot be read yet.
                    (Err(error), _) if refused == PATIENCE => return Err(error),
                    (Err(_), _) => {
                        refused += 1;
                        return Ok(());
                    }
                    _ => return Ok(()),
                },
            };
            let events = tail.next(store)?;
            events.iter().try_for_each(|event| line(context, event))?;
            if inode != Some(*opened) {
                return Err(CliError::new(Kind::Store, format!("another store is at {} now", path.display()))
                    .hint("start it again to follow that one"));
            }
            Ok(())
        }
    })?;
    Ok(Exit::Done)
}

/// An event on a line of its own.
fn line(context: &Context, stored: &StoredEvent) -> Result<(), CliError> {
    let (out, paint) = (&context.out, context.out.paint);
    if out.is_json() {
        return out.text(&format!("{}\n", json!(stored)));
    }
    let lane = stored.lane.as_ref().map(|lane| format!("  {lane}")).unwrap_or_default();
    let (text, look) = said(&stored.event);
    let number = paint.dim(&format!("{:>6}  {}", stored.seq, time(stored.at)));
    out.text(&format!("{number}{lane}  {}\n", looked(&one_line(&text), look, paint)))
}

fn row(stored: &StoredEvent) -> Vec<Cell> {
    let lane = stored.lane.as_ref().map(ToString::to_string).unwrap_or_default();
    let (text, look) = said(&stored.event);
    vec![Cell::dim(stored.seq.to_string()), Cell::dim(time(stored.at)), Cell::plain(lane), Cell::new(text, look)]
}

/// An event in words, and how it looks.
pub(crate) fn said(event: &RunEvent) -> (String, Look) {
    use RunEvent as E;
    match event {
        E::Fetched { revision, subject, author } => {
            (format!("fetched {} \"{subject}\" by {author}", short(revision)), Look::Plain)
        }
        E::SourceNotice { notice } => (notice.to_string(), Look::Warn),
        E::SourceStale { source, since, why } => {
            (format!("source {source} is stale since {}: {why}", time(*since)), Look::Warn)
        }
        E::SourceBack { source } => (format!("source {source} answers again"), Look::Good),
        E::LoopBegan { pid } => (format!("the loop began (process {pid})"), Look::Plain),
        E::LoopEnded { pid } => (format!("the loop ended (process {pid})"), Look::Plain),
        E::Asked { who, what } => (format!("{who} asked: {what}"), Look::Plain),
        E::ConfigRead => ("the config was read anew".to_owned(), Look::Plain),
        E::ConfigRefused { why } => (format!("the new config was refused, the old one stays: {why}"), Look::Bad),
        E::PassFailed { why, attempts } => {
            (format!("the pass failed ({} in a row): {why}", count(*attempts as usize, "failure")), Look::Bad)
        }
        E::Polled { source, good, ms } => {
            (format!("asked {source}: {} after {ms} ms", if *good { "well" } else { "in vain" }), Look::Dim)
        }
        E::PassEnded { end, ms, .. } => (format!("the pass ended after {ms} ms: {}", word(end)), Look::Dim),
        E::Rendered { resources, cached } => {
            (format!("rendered {}{}", count(*resources, "resource"), if *cached { " (cached)" } else { "" }), Look::Dim)
        }
        E::Rejected { diagnostics } => {
            let first = diagnostics.first().map(|one| one.message.as_str()).unwrap_or_default();
            (format!("rejected: {}: {first}", count(diagnostics.len(), "problem")), Look::Bad)
        }
        E::Observed { subjects } => (format!("looked at {}", count(*subjects, "resource")), Look::Dim),
        E::Planned { changes, digest } => (format!("planned {} ({digest})", count(*changes, "change")), Look::Plain),
        E::Waiting { reasons } => (format!("waits: {}", reasons.join("; ")), Look::Warn),
        E::Refused { reasons } => (format!("refused: {}", reasons.join("; ")), Look::Bad),
        E::Approved { who, how } => (format!("approved by {who} ({how})"), Look::Good),
        E::Declined { who, comment } => {
            let why = comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
            (format!("{who} said no{why}"), Look::Warn)
        }
        E::Accepted { what, from, to, who } => {
            (format!("{who} accepted {what}: it was {}, and is {}", short(from), short(to)), Look::Good)
        }
        E::Guarded { until } => (format!("a guard stands on the target until {}", time(*until)), Look::Plain),
        E::Confirmed { who: Some(who) } => (format!("{who} confirmed it"), Look::Good),
        E::Confirmed { who: None } => ("confirmed: the guard is gone".to_owned(), Look::Good),
        E::TakenBack { why } => (format!("the target went back: {why}"), Look::Bad),
        E::Restored { who, taken, kept } => {
            let of = taken.map(|at| format!(" of {}", time(at))).unwrap_or_default();
            let kept = kept.as_ref().map(|file| format!("; the one from before is {file}")).unwrap_or_default();
            (format!("{who} put back a copy{of} of the store{kept}"), Look::Warn)
        }
        E::Held { hold } => (hold.to_string(), Look::Warn),
        E::HoldEnded { hold, who } => (format!("{}: {hold}", ended("resumed", who.as_deref())), Look::Good),
        E::Pinned { pin } => (pin.to_string(), Look::Warn),
        E::PinEnded { pin, who } => (format!("{}: {pin}", ended("unpinned", who.as_deref())), Look::Good),
        E::Undone { undo } => (undo.to_string(), Look::Warn),
        E::UndoEnded { undo, who } => {
            let end = who.as_ref().map_or("Git says something else by now".to_owned(), |who| format!("{who} ended it"));
            (format!("{end}: {undo}"), Look::Good)
        }
        E::ApplyBegan { groups, effects } => {
            (format!("apply began: {} in {}", count(*effects, "effect"), count(*groups, "group")), Look::Plain)
        }
        E::ChangeEnded { address, action, end, why } => {
            let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            let look = if end == "done" { Look::Good } else { Look::Bad };
            (format!("{end}: {} {}{why}", word(action), address.resource), look)
        }
        E::Checked { check, why: None } => (format!("checked: {check} holds"), Look::Good),
        E::Checked { check, why: Some(why) } => (format!("check failed: {check}: {why}"), Look::Bad),
        E::Lost { address, what } => (format!("lost with {}: {what}", address.resource), Look::Warn),
        E::Mismatch { address, why } => (format!("not as planned: {}: {why}", address.resource), Look::Bad),
        E::Recovered { run, done, not_done } => {
            (format!("recovered run {run}: {done} found done, {not_done} found not done"), Look::Warn)
        }
        E::PluginLog { plugin, level, message } => (format!("{plugin} says ({level}): {message}"), Look::Dim),
        E::PluginFault { plugin, call, message } => (format!("{plugin} was stopped in {call}: {message}"), Look::Bad),
        E::Ended { end, counts } => (
            format!(
                "ended {}: {} done, {} failed, {} skipped, {} unknown",
                word(end),
                counts.done,
                counts.failed,
                counts.skipped,
                counts.unknown
            ),
            Look::Plain,
        ),
    }
}

fn ended(verb: &str, who: Option<&str>) -> String {
    who.map_or_else(|| "its time is up".to_owned(), |who| format!("{who} {verb}"))
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
