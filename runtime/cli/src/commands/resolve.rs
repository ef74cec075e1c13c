//! `tidelock resolve ADDRESS done|redo`: a person's word on what a crash left in doubt.

use std::sync::Arc;

use serde_json::json;
use tidelock_model::hold::Scope;
use tidelock_model::name::{Address, Identity};
use tidelock_reconcile::Word;

use crate::address::Short;
use crate::context::Context;
use crate::error::{CliError, Exit, Kind};
use crate::output::progress::Progress;
use crate::wire;

/// Arguments of `resolve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// kind/name; stack: before it and @target behind it where needed
    address: String,
    /// What you found
    #[arg(value_enum)]
    found: Found,
}

/// What a person found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Found {
    /// It happened
    Done,
    /// It did not, or not whole: do it again
    Redo,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let short = Short::parse(&args.address)?;
    let loaded = context.config()?;
    let runtime = wire::runtime(&loaded, Arc::new(Progress::new(false)))?;
    let waiting = tidelock_reconcile::in_doubt(&runtime)?;
    // An identity is not asked for here: what is in doubt is listed by address.
    let nobody = Identity::new("");
    let meant: Vec<&Address> = waiting.iter().filter(|address| short.matches(address, &nobody)).collect();
    let address = match meant.as_slice() {
        [one] => *one,
        [] => {
            let listed: Vec<String> = waiting.iter().map(ToString::to_string).collect();
            let known = if listed.is_empty() { "nothing is".to_owned() } else { listed.join(", ") };
            return Err(CliError::new(Kind::Usage, format!("nothing is in doubt about {:?}", args.address))
                .hint(format!("in doubt now: {known}")));
        }
        several => {
            let listed: Vec<String> = several.iter().map(ToString::to_string).collect();
            return Err(CliError::new(Kind::Usage, format!("{:?} may mean several resources", args.address))
                .hint(format!("say which: {}", listed.join(", "))));
        }
    };
    let word = match args.found {
        Found::Done => Word::Done,
        Found::Redo => Word::Redo,
    };
    wire::block_on(tidelock_reconcile::resolve(&runtime, address, word, &super::apply::who()))??;
    crate::daemon::wake(&loaded, &Scope::of(&address.lane()));
    if context.out.is_json() {
        context.out.json(&json!({ "format": "tidelock.resolve/1", "address": address }))?;
    } else {
        let next = context.command(&["plan"]);
        context.out.text(&format!("{address} is no longer in doubt.\nNext: {next}\n"))?;
    }
    Ok(Exit::Done)
}
