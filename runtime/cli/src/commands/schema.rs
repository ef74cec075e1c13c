//! `tidelock schema plan`: the formats that programs rely on.

use crate::context::Context;
use crate::error::{CliError, Exit};

/// What `plan --output json` and `plan --save` write.
pub(crate) const PLAN: &str = include_str!("../../schemas/plan-1.schema.json");

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Of what
    of: Of,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Of {
    /// Plans
    Plan,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    match args.of {
        Of::Plan => context.out.text(PLAN)?,
    }
    Ok(Exit::Done)
}
