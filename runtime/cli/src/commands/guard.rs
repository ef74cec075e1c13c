//! `tidelock guard FILE`: stands guard over effects, started by ourselves alone. It outlives
//! whoever started it, and ends once it was told that all is well, or has taken all back.

use std::path::PathBuf;

use crate::error::{CliError, Exit};

/// The word that starts it.
pub(crate) const VERB: &str = "guard";

/// Arguments of `guard`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The guard's own file
    file: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<Exit, CliError> {
    tidelock_target::keep_guard(&args.file, std::io::stdout().lock())?;
    Ok(Exit::Done)
}
