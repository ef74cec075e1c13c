//! `tidelock fetch-child`: the other end of a fetch, started by ourselves alone. It
//! speaks over stdin and stdout, and is confined by what it reads there.

use std::process::ExitCode;

use crate::error::{CliError, Exit};

/// The word that starts it.
pub(crate) const VERB: &str = "fetch-child";

pub(crate) fn run() -> Result<Exit, CliError> {
    let ended = tidelock_source::fetch_child(std::io::stdin().lock(), std::io::stdout().lock());
    Ok(match ended {
        ended if ended == ExitCode::SUCCESS => Exit::Done,
        ended if ended == ExitCode::from(Exit::Usage.code()) => Exit::Usage,
        _ => Exit::Error,
    })
}
