//! `tidelock run`: looks after every lane until it is told to end.

use crate::context::Context;
use crate::daemon;
use crate::error::{CliError, Exit};

/// Arguments of `run`: all of it stands in the config, so that a restart does the same.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ends what is in hand and leaves on SIGTERM and SIGINT; a second one leaves at once.\nReads the config anew on SIGHUP; a bad one is refused, and the old one stays."
)]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context, _args: &Args) -> Result<Exit, CliError> {
    daemon::run(context)?;
    Ok(Exit::Done)
}
