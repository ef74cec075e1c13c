//! `tidelock undo ADDRESS`: takes back the last change of one resource, and keeps it so.

use std::sync::Arc;

use serde_json::json;
use tidelock_model::hold::Scope;
use tidelock_model::name::{Address, Identity, Name};

use super::apply;
use super::apply::who;
use super::history::word;
use super::hold::said;
use super::plan::Length;
use super::selecting::Selecting;
use crate::address::Short;
use crate::context::Context;
use crate::daemon;
use crate::error::{CliError, Exit};
use crate::output::progress::Progress;
use crate::output::time;
use crate::wire;

/// Arguments of `undo`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The resource is kept as it was from then on, and its lane is planned and applied like any other:\nwithout a yes nothing is done to its target. It follows Git again as soon as Git says something\nelse of it, or with --end. What cannot be taken back is refused: commands, secrets, contents of\nmore than 1 MiB, and what was done more than 90 days ago."
)]
pub(crate) struct Args {
    /// kind/name; stack: before it and @target behind it where needed
    address: String,
    /// Lets the resource follow Git again
    #[arg(long, conflicts_with = "reason")]
    end: bool,
    /// Told to everybody who meets it
    #[arg(long, alias = "comment", value_name = "TEXT")]
    reason: Option<String>,
    /// Says yes beforehand
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    length: Length,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let short = Short::parse(&args.address)?;
    let is_meant = |address: &Address, identity: &Identity| short.matches(address, identity);
    let loaded = context.config()?;
    let runtime = wire::runtime(&loaded, Arc::new(Progress::new(!args.end)))?;
    if args.end {
        let ended = tidelock_reconcile::redo(&runtime, &is_meant, false, &who())?;
        if let Some(undo) = &ended {
            daemon::wake(&loaded, &Scope::of(&undo.address.lane()));
        }
        if context.out.is_json() {
            context.out.json(&json!({ "format": "tidelock.undo/1", "ended": ended }))?;
        } else if let Some(undo) = &ended {
            let next = context.command(&["apply", undo.address.stack.as_str()]);
            context.out.text(&format!("{} follows Git again.\nNext: {next}\n", undo.address))?;
        } else {
            context.out.text("There is nothing to end: no such resource is kept as it was.\n")?;
        }
        return Ok(Exit::Done);
    }
    let who = who();
    let undoing = tidelock_reconcile::undo(&runtime, &is_meant, said(args.reason.as_deref()), &who);
    let (undo, line) = wire::block_on(undoing)??;
    if !context.out.is_json() {
        let end = context.command(&["undo", &undo.address.to_string(), "--end"]);
        context.out.text(&format!(
            "{undo}.\n  {} at {}, commit {}\nTo let it follow Git again: {end}\n\n",
            word(&line.action),
            time(line.at),
            line.revision.get(..12).unwrap_or(&line.revision)
        ))?;
    }
    // Leases and the store are taken anew: from here on it is an apply like any other.
    drop(runtime);
    let Address { source, stack, target, .. } = &undo.address;
    let selecting = Selecting {
        stacks: vec![stack.to_string()],
        target: vec![target.to_string()],
        source: Some(Name::clone(source)).filter(|_| loaded.config.sources.len() > 1),
        ..Selecting::default()
    };
    let applied = apply::run(context, &apply::Args::of(selecting, args.yes, args.length));
    if matches!(applied, Ok(Exit::Waiting)) && !context.out.is_json() {
        context.out.text(&format!("The undo is in force all the same: the next apply of {stack} does it.\n"))?;
    }
    daemon::wake(&loaded, &Scope::of(&undo.address.lane()));
    applied
}
