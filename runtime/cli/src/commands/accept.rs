//! `tidelock source accept` and `tidelock target accept`: a person's yes to what would
//! otherwise stop every plan, a rewritten history or another system under a name.

use std::io::IsTerminal as _;
use std::sync::Arc;

use serde_json::{Value, json};
use tidelock_model::hold::Scope;
use tidelock_model::name::Name;
use tidelock_model::revision::Revision;
use tidelock_reconcile::{MovedTag, Replaced, Rewritten, Runtime};

use super::apply::{ask, who};
use crate::config::Loaded;
use crate::context::Context;
use crate::daemon;
use crate::error::{CliError, Exit, Kind};
use crate::output::progress::Progress;
use crate::output::{count, time};
use crate::wire;

/// What can be said of sources.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Source {
    /// Puts the tip of a rewritten history in force, or takes a tag for what it stands for now
    Accept(OfSource),
}

/// What can be said of targets.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Target {
    /// Takes the system that is there now for the target
    Accept(Args),
}

/// Arguments for a source.
#[derive(Debug, clap::Args)]
pub(crate) struct OfSource {
    #[command(flatten)]
    args: Args,
    /// A tag that was moved, and that stacks take their module from
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

/// Arguments of both.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As the config names it
    name: String,
    /// Says yes beforehand
    #[arg(long, short)]
    yes: bool,
}

impl Args {
    fn name(&self) -> Result<Name, CliError> {
        Name::new(&self.name).map_err(|error| CliError::new(Kind::Usage, error.to_string()))
    }
}

pub(crate) fn source(context: &Context, command: &Source) -> Result<Exit, CliError> {
    let Source::Accept(OfSource { args, tag }) = command;
    let name = args.name()?;
    let loaded = context.config()?;
    let runtime = wire::runtime(&loaded, Arc::new(Progress::new(true)))?;
    if let Some(tag) = tag {
        return moved(context, &loaded, &runtime, args, &name, tag);
    }
    let Some(change) = wire::block_on(tidelock_reconcile::rewritten(&runtime, &name))?? else {
        return nothing(context, "source", &name, "its tip descends from the revision in force, or is it");
    };
    let Rewritten { from, to } = &change;
    let shown = format!(
        "The history of {name} was rewritten.\n  in force  {}\n  its tip   {}\n\
         The tip does not hold what is in force: commits are gone, and may be missed.\n",
        line(from),
        line(to)
    );
    let json = json!({ "source": name, "from": from, "to": to });
    if !agreed(context, args, &shown, "Put the tip in force?", &["source", "accept", &args.name])? {
        return Ok(Exit::Waiting);
    }
    tidelock_reconcile::accept_source(&runtime, &change, &who())?;
    daemon::wake(&loaded, &Scope { source: Some(name.clone()), ..Scope::default() });
    told(context, &json, &format!("{} is in force for {name}.", to.short()))
}

/// A tag that a stack takes its module from, and that was moved.
fn moved(
    context: &Context,
    loaded: &Loaded,
    runtime: &Runtime,
    args: &Args,
    name: &Name,
    tag: &str,
) -> Result<Exit, CliError> {
    let Some(change) = wire::block_on(tidelock_reconcile::moved_tag(runtime, name, tag))?? else {
        let why = format!("{tag} stands for what it did, or no stack takes its module from it");
        return nothing(context, "source", name, &why);
    };
    let MovedTag { tag: full, from, to } = &change;
    let shown = format!(
        "{full} of {name} was moved.\n  it stood for   {}\n  it stands for  {}\n\
         Stacks that take their module from it are planned anew, and go through their gates.\n",
        line(from),
        line(to)
    );
    let json = json!({ "source": name, "tag": full, "from": from, "to": to });
    if !agreed(context, args, &shown, "Take what it stands for now?", &["source", "accept", &args.name, "--tag", tag])?
    {
        return Ok(Exit::Waiting);
    }
    tidelock_reconcile::accept_tag(runtime, &change, &who())?;
    daemon::wake(loaded, &Scope { source: Some(name.clone()), ..Scope::default() });
    told(context, &json, &format!("{tag} stands for {} from now on.", to.short()))
}

pub(crate) fn target(context: &Context, command: &Target) -> Result<Exit, CliError> {
    let Target::Accept(args) = command;
    let name = args.name()?;
    let loaded = context.config()?;
    let runtime = wire::runtime(&loaded, Arc::new(Progress::new(true)))?;
    let Some(change) = wire::block_on(tidelock_reconcile::replaced(&runtime, &name))?? else {
        return nothing(context, "target", &name, "it is the system that it was, or was never applied");
    };
    let Replaced { from, to, owned, .. } = &change;
    let shown = format!(
        "Target {name} is another system than before.\n  it was    {from}\n  it is     {to}\n\
         {} known there: each is looked for on the new system before anything is planned.\n",
        count(*owned, "resource")
    );
    let json = json!({ "target": name, "from": from, "to": to, "owned": owned });
    if !agreed(context, args, &shown, "Is it meant to be?", &["target", "accept", &args.name])? {
        return Ok(Exit::Waiting);
    }
    tidelock_reconcile::accept_target(&runtime, &change, &who())?;
    daemon::wake(&loaded, &Scope { target: Some(name.to_string()), ..Scope::default() });
    told(context, &json, &format!("{name} is the system {to} from now on."))
}

fn line(revision: &Revision) -> String {
    format!("{}  {}  {}  \"{}\"", revision.short(), time(revision.at), revision.author, revision.subject)
}

fn nothing(context: &Context, what: &str, name: &Name, why: &str) -> Result<Exit, CliError> {
    if context.out.is_json() {
        context.out.json(&json!({ "format": "tidelock.accept/1", "accepted": null }))?;
    } else {
        context.out.text(&format!("There is nothing to accept of {what} {name}: {why}.\n"))?;
    }
    Ok(Exit::Done)
}

/// Shows what is to be accepted, and asks where there is somebody to ask.
fn agreed(context: &Context, args: &Args, shown: &str, question: &str, words: &[&str]) -> Result<bool, CliError> {
    if !context.out.is_json() {
        context.out.text(shown)?;
    }
    if args.yes {
        return Ok(true);
    }
    if std::io::stdin().is_terminal() {
        return Ok(ask(&format!("\n{question} [y/N] ")));
    }
    if !context.out.is_json() {
        let again = context.command(&[words, &["--yes"]].concat());
        context.out.text(&format!("\nNothing was changed: this waits for a yes.\nNext: {again}\n"))?;
    }
    Ok(false)
}

fn told(context: &Context, accepted: &Value, sentence: &str) -> Result<Exit, CliError> {
    if context.out.is_json() {
        context.out.json(&json!({ "format": "tidelock.accept/1", "accepted": accepted }))?;
    } else {
        context.out.text(&format!("{sentence}\nNext: {}\n", context.command(&["plan"])))?;
    }
    Ok(Exit::Done)
}
