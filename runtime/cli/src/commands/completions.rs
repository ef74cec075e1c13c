//! `tidelock completions SHELL`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::commands::CommandLine;
use crate::context::Context;
use crate::error::{CliError, Exit};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For which shell
    shell: Shell,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut CommandLine::command(), "tidelock", &mut script);
    context.out.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
