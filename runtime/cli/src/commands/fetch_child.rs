//! `tidelock fetch-child`: the other end of a fetch, started by ourselves alone. It
//! speaks over stdin and stdout, and is confined by what it reads there.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::{CliError, Exit};

/// The word that starts it.
pub(crate) const VERB: &str = "fetch-child";

/// Arguments of `fetch-child`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What it becomes instead of fetching: the SSH client that it has asked itself for
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    client: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<Exit, CliError> {
    let ended = tidelock_source::fetch_child(&args.client, std::io::stdin().lock(), std::io::stdout().lock());
    Ok(match ended {
        ended if ended == ExitCode::SUCCESS => Exit::Done,
        ended if ended == ExitCode::from(Exit::Usage.code()) => Exit::Usage,
        _ => Exit::Error,
    })
}
