//! `tidelock rollback`: takes a stack back to a revision that was in force before, and
//! keeps it there.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use tidelock_model::hold::Scope;
use tidelock_model::name::Name;

use super::hold::{later, said, span};
use super::plan::Length;
use super::selecting::Selecting;
use super::{apply, apply::who};
use crate::config::Loaded;
use crate::context::Context;
use crate::daemon;
use crate::error::{CliError, Exit, Kind};
use crate::output::progress::Progress;
use crate::output::time;
use crate::wire;

/// Arguments of `rollback`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The stack is pinned to the revision at once, and then planned and applied like any other change:\nwithout a yes it is pinned, and nothing is done to its targets. What is committed meanwhile\nwaits until the pin ends."
)]
pub(crate) struct Args {
    /// The stack
    stack: Name,
    /// A commit, tag or branch in the history of what is in force
    #[arg(long, value_name = "REV", required_unless_present = "end")]
    to: Option<String>,
    /// The pin ends by itself after this time, such as 2h or 3d
    #[arg(long = "for", value_name = "TIME", value_parser = span, conflicts_with = "end")]
    time: Option<SignedDuration>,
    /// Told to everybody who meets the pin
    #[arg(long, alias = "comment", value_name = "TEXT", conflicts_with = "end")]
    reason: Option<String>,
    /// Ends the pin: what Git says newest counts again
    #[arg(long, conflicts_with = "to")]
    end: bool,
    /// The source, where the config has several
    #[arg(long, value_name = "NAME")]
    source: Option<Name>,
    /// Says yes beforehand
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    length: Length,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let selecting =
        Selecting { stacks: vec![args.stack.to_string()], source: args.source.clone(), ..Selecting::default() };
    let mut loaded = context.config()?;
    let Some(source) = selecting.select(context, &mut loaded)?.source else {
        return Err(CliError::new(Kind::Usage, "say which source: --source"));
    };
    let runtime = wire::runtime(&loaded, Arc::new(Progress::new(!args.end)))?;
    let Some(rev) = &args.to else { return end(context, &loaded, args, &selecting, &runtime, &source) };
    let until = args.time.map(later).transpose()?;
    let revision = wire::block_on(tidelock_reconcile::ancestor(&runtime, &source, &args.stack, rev))??;
    let pin = tidelock_reconcile::pin(&runtime, &args.stack, revision, until, said(args.reason.as_deref()), &who())?;
    let lift = tidelock_plan::holds::unpin(&pin);
    if !context.out.is_json() {
        let to = &pin.revision;
        context.out.text(&format!(
            "{pin}.\n  {}  {}  {}  \"{}\"\nTo end it: {lift}\n\n",
            to.short(),
            time(to.at),
            to.author,
            to.subject
        ))?;
    }
    // Leases and the store are taken anew: from here on it is an apply like any other.
    drop(runtime);
    let applied = apply::run(context, &apply::Args::of(selecting, args.yes, args.length));
    // It has to know of the pin before the pin runs out.
    daemon::wake(&loaded, &Scope { source: Some(source), stack: Some(args.stack.to_string()), target: None });
    if matches!(applied, Ok(Exit::Waiting)) && !context.out.is_json() {
        context.out.text(&format!(
            "What was done: {} is pinned to {}, and stays so. What was not: its targets are as they were.\n\
             To end the pin without a change: {lift}\n",
            args.stack,
            pin.revision.short()
        ))?;
    }
    applied
}

fn end(
    context: &Context,
    loaded: &Loaded,
    args: &Args,
    selecting: &Selecting,
    runtime: &tidelock_reconcile::Runtime,
    source: &Name,
) -> Result<Exit, CliError> {
    let ended = tidelock_reconcile::unpin(runtime, source, &args.stack, &who())?;
    let stack = Some(args.stack.to_string());
    daemon::wake(loaded, &Scope { source: Some(source.clone()), stack, target: None });
    if context.out.is_json() {
        context.out.json(&json!({ "format": "tidelock.rollback/1", "ended": ended }))?;
        return Ok(Exit::Done);
    }
    let Some(pin) = ended else {
        context.out.text(&format!("There is nothing to end: {} is not pinned.\n", args.stack))?;
        return Ok(Exit::Done);
    };
    let mut words = vec!["apply"];
    words.extend(selecting.words());
    let next = context.command(&words);
    context.out.text(&format!(
        "{} is no longer pinned to {}: what Git says newest counts again.\nNext: {next}\n",
        args.stack,
        pin.revision.short()
    ))?;
    Ok(Exit::Done)
}
