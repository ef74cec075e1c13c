//! `tidelock guard FOLDER`: stands guard over effects, started by ourselves alone. It outlives
//! whoever started it, and ends once it was told that all is well, or has taken all back.

use std::path::PathBuf;

use crate::error::{CliError, Exit};

/// The word that starts it.
pub(crate) const VERB: &str = "guard";

/// Arguments of `guard`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where guards are kept; what to guard comes on standard input
    folder: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<Exit, CliError> {
    tidelock_target::keep_guard(&args.folder, std::io::stdin().lock(), std::io::stdout().lock())?;
    Ok(Exit::Done)
}
