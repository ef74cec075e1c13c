//! `tidelock forget`: resources stay on their target and are no longer ours.

use std::io::IsTerminal as _;
use std::sync::Arc;

use serde_json::json;
use tidelock_model::hold::Scope;
use tidelock_model::name::{Address, Identity, Name};
use tidelock_reconcile::{Forget, Forgetting};

use super::apply::{ask, who};
use crate::address::Short;
use crate::context::Context;
use crate::daemon;
use crate::error::{CliError, Exit, Kind};
use crate::output::progress::Progress;
use crate::output::{count, one_line};
use crate::wire;

/// Arguments of `forget`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing is done to any target, and none need be reached. What Git still asks for is found there by the\nnext plan, and adopted: to let it be while Git asks for it, `tidelock release`."
)]
pub(crate) struct Args {
    /// A stack that is known, or a resource such as server.file/motd
    #[arg(value_name = "STACK|ADDRESS", required_unless_present = "target")]
    about: Option<String>,
    /// Of a stack, only on these targets, by name or glob; alone, all that is known of one target
    #[arg(long, short, value_name = "TARGET")]
    target: Vec<String>,
    /// Says yes beforehand
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let loaded = context.config()?;
    let runtime = wire::runtime(&loaded, Arc::new(Progress::new(false)))?;
    let all = match (&args.about, args.target.as_slice()) {
        (None, [target]) => tidelock_reconcile::forgettable(&runtime, Forget::Target(&Name::new(target)?))?,
        (None, _) => return Err(CliError::new(Kind::Usage, "say one target, or a stack and its targets")),
        (Some(text), targets) if tidelock_reconcile::is_stack(runtime.store.as_ref(), text)? => {
            tidelock_reconcile::forgettable(&runtime, Forget::Stack(&Name::new(text)?, targets))?
        }
        (Some(text), targets) => {
            let short = Short::parse(text)?;
            let meant = |address: &Address, identity: &Identity| {
                let on = targets.is_empty() || targets.iter().any(|target| target == address.target.as_str());
                on && short.matches(address, identity)
            };
            one(text, tidelock_reconcile::forgettable(&runtime, Forget::Resources(&meant))?)?
        }
    };
    let shown = || json!(all.iter().map(as_json).collect::<Vec<_>>());
    if !context.out.is_json() {
        context.out.text(&all.iter().map(block).collect::<String>())?;
    }
    if !(args.yes || std::io::stdin().is_terminal() && ask("\nForget them? [y/N] ")) {
        if context.out.is_json() {
            context.out.json(&json!({ "format": "tidelock.forget/1", "forgotten": [], "waits": shown() }))?;
        } else {
            let next = again(context, args);
            context.out.text(&format!("\nNothing was changed: this waits for a yes.\nNext: {next}\n"))?;
        }
        return Ok(Exit::Waiting);
    }
    wire::block_on(tidelock_reconcile::forget(&runtime, &all, &who()))??;
    for one in &all {
        daemon::wake(&loaded, &Scope::of(&one.lane));
    }
    if context.out.is_json() {
        context.out.json(&json!({ "format": "tidelock.forget/1", "forgotten": shown(), "waits": [] }))?;
    } else {
        context.out.text(&format!("\nForgotten.\nNext: {}\n", context.command(&["plan"])))?;
    }
    Ok(Exit::Done)
}

/// A short form must mean one resource.
pub(super) fn one(text: &str, all: Vec<Forgetting>) -> Result<Vec<Forgetting>, CliError> {
    let entries: Vec<String> = all.iter().flat_map(|one| &one.entries).map(|entry| entry.address.to_string()).collect();
    if entries.len() > 1 {
        return Err(CliError::new(Kind::Usage, format!("{:?} may mean several resources", one_line(text)))
            .hint(format!("say which: {}", entries.join(", "))));
    }
    Ok(all)
}

fn as_json(one: &Forgetting) -> serde_json::Value {
    let entries: Vec<_> =
        one.entries.iter().map(|entry| json!({ "address": entry.address, "identity": entry.identity })).collect();
    json!({ "lane": one.lane, "whole": one.whole, "still_in_git": one.wanted, "resources": entries })
}

fn block(one: &Forgetting) -> String {
    let resources = count(one.entries.len(), "resource");
    let mut text = format!("{}: {resources} would stay there and no longer be ours\n", one.lane);
    for entry in &one.entries {
        text.push_str(&format!("  {}  {}\n", entry.address.resource, one_line(entry.identity.as_str())));
    }
    if one.wanted {
        text.push_str("  Git may still ask for them: then the next plan adopts them again\n");
    }
    text
}

fn again(context: &Context, args: &Args) -> String {
    let mut words = vec!["forget"];
    words.extend(args.about.as_deref());
    words.extend(args.target.iter().flat_map(|target| ["--target", target]));
    words.push("--yes");
    context.command(&words)
}
