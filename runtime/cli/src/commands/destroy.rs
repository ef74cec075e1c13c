//! `tidelock destroy STACK...`: removes all that stacks own, after a yes.

use tidelock_model::name::Name;

use super::apply;
use super::plan::Length;
use super::selecting::Selecting;
use crate::context::Context;
use crate::error::{CliError, Exit};

/// Arguments of `destroy`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It is planned, shown and gated like any apply, and takes a person's yes whatever the policies say.\nOf several stacks those go first that need others; what another stack needs, which is to stay, waits.\nA stack that is still in Git has to leave it or be suspended first: the next pass would make it\nagain. What is protected refuses, `on_remove: release` releases, and what others claim stays.\nTo let resources be instead: tidelock forget."
)]
pub(crate) struct Args {
    /// The stacks
    #[arg(required_unless_present = "orphaned", value_name = "STACK")]
    stacks: Vec<Name>,
    /// All that is orphaned, instead of stacks by name
    #[arg(long, conflicts_with = "stacks")]
    orphaned: bool,
    /// Targets, by name or glob; all of the stacks' where none is named
    #[arg(long, short, value_name = "TARGET")]
    target: Vec<String>,
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
    let selecting = Selecting {
        stacks: args.stacks.iter().map(ToString::to_string).collect(),
        target: args.target.clone(),
        source: args.source.clone(),
        ..Selecting::default()
    };
    apply::run(context, &apply::Args::destroying(&args.stacks, selecting, args.yes, args.length))
}
