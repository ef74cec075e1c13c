//! `tidelock release ADDRESS`: a resource that Git still asks for is let be.

use std::io::IsTerminal as _;
use std::sync::Arc;

use serde_json::json;
use tidelock_model::hold::{Scope, Undo};
use tidelock_model::name::{Address, Identity};
use tidelock_reconcile::Forget;

use super::apply::{ask, who};
use super::forget::one;
use super::hold::said;
use crate::address::Short;
use crate::context::Context;
use crate::daemon;
use crate::error::{CliError, Exit};
use crate::output::one_line;
use crate::output::progress::Progress;
use crate::wire;

/// Arguments of `release`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing is done to the target: the resource stays there as it is, leaves the inventory, and is neither\nlooked at nor changed while Git still asks for it. With --end, or once it has left Git, that is over:\nthe next plan then adopts it where it is as Git says, and asks before it takes it over.\nFor what Git does not ask for any more: tidelock forget."
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
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let short = Short::parse(&args.address)?;
    let is_meant = |address: &Address, identity: &Identity| short.matches(address, identity);
    let loaded = context.config()?;
    let runtime = wire::runtime(&loaded, Arc::new(Progress::new(false)))?;
    let told = |undo: Option<&Undo>, key: &str, sentence: &str| {
        if let Some(undo) = undo {
            daemon::wake(&loaded, &Scope::of(&undo.address.lane()));
        }
        if context.out.is_json() {
            return context.out.json(&json!({ "format": "tidelock.release/1", key: undo }));
        }
        context.out.text(sentence)
    };
    if args.end {
        let ended = tidelock_reconcile::redo(&runtime, &is_meant, true, &who())?;
        let sentence = match &ended {
            Some(undo) => {
                let next = context.command(&["plan", undo.address.stack.as_str()]);
                format!("{} follows Git again.\nNext: {next}\n", undo.address)
            }
            None => "There is nothing to end: no such resource is let be.\n".to_owned(),
        };
        told(ended.as_ref(), "ended", &sentence)?;
        return Ok(Exit::Done);
    }
    let all = one(&args.address, tidelock_reconcile::forgettable(&runtime, Forget::Resources(&is_meant))?)?;
    let entry = all.iter().flat_map(|one| &one.entries).next().cloned();
    let Some(entry) = entry else { return Ok(Exit::Done) };
    let Address { resource, .. } = &entry.address;
    if !context.out.is_json() {
        context.out.text(&format!(
            "{}: {resource}  {}\n  stays there as it is, is ours no more, and is not looked at while Git asks for it\n",
            entry.address.lane(),
            one_line(entry.identity.as_str())
        ))?;
    }
    if !(args.yes || std::io::stdin().is_terminal() && ask("\nRelease it? [y/N] ")) {
        let next = context.command(&["release", &args.address, "--yes"]);
        let sentence = format!("\nNothing was changed: this waits for a yes.\nNext: {next}\n");
        told(None, "released", &sentence)?;
        return Ok(Exit::Waiting);
    }
    let reason = said(args.reason.as_deref());
    let undo = wire::block_on(tidelock_reconcile::release(&runtime, &entry, reason, &who()))??;
    let end = context.command(&["release", &undo.address.to_string(), "--end"]);
    told(Some(&undo), "released", &format!("\nReleased.\nTo let it follow Git again: {end}\n"))?;
    Ok(Exit::Done)
}
