//! The command line: one file per verb, thin over the rooms.

mod accept;
mod apply;
mod approve;
mod blame;
mod completions;
mod confirm;
mod destroy;
mod doctor;
mod events;
mod fetch_child;
mod fields;
mod forget;
mod guard;
mod history;
mod hold;
mod import;
mod init;
mod plan;
mod plugin;
mod release;
mod render;
mod resolve;
mod rollback;
mod run;
mod schema;
mod selecting;
mod status;
mod store;
mod undo;
mod values;
mod why;

pub(crate) use events::said;
pub(crate) use fetch_child::VERB as FETCH_CHILD;
pub(crate) use guard::VERB as GUARD;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::log::LogFormat;
use crate::output::{Colour, Format};

/// Keeps servers the way Git says.
#[derive(Debug, Parser)]
#[command(
    name = "tidelock",
    version,
    disable_help_subcommand = true,
    after_help = "Start with `tidelock init demo`.\n\nExit codes: 0 done or converged, 1 error, 2 changes pending (plan and status\nwith --detailed-exitcode), 3 refused by the gate, 4 partly applied or incomplete, 5 waiting for approval, 64 usage."
)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Arguments that every command takes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The config; else $TIDELOCK_CONFIG, ./tidelock.toml or /etc/tidelock/tidelock.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Results for people or for programs
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// Logs on stderr; $TIDELOCK_LOG says which, such as info
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log: LogFormat,
    /// Colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Colour,
    /// Lets config lie inside the repository that is planned; not in CI
    #[arg(long, global = true)]
    pub(crate) trust_worktree: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a config with a repository and a throw-away machine to play with
    Init(init::Args),
    /// Shows what would be done, and does nothing
    Plan(plan::Args),
    /// Does what the plan says, after a yes
    Apply(apply::Args),
    /// Keeps every stack the way Git says, until it is told to end
    Run(run::Args),
    /// Says yes to the plans that wait, for an apply that comes later
    Approve(approve::Args),
    /// Says no to plans: they are held up until you approve or something else is planned
    Reject(approve::Args),
    /// Shows where every stack stands on every target
    Status(status::Args),
    /// Says what waits for what, since when, and what ends it
    Why(why::Args),
    /// Lets no new group of effects begin, also in an apply that is under way
    Stop(hold::Stop),
    /// Leaves stacks as they are for a while: planned, reported, and not applied
    Suspend(hold::Suspend),
    /// Ends stops and suspensions, after a look at what will be applied then
    Resume(hold::Resume),
    /// Takes a stack back to an earlier revision, and keeps it there
    Rollback(rollback::Args),
    /// Takes back the last change of one resource, and keeps it so
    Undo(undo::Args),
    /// Removes all that stacks own, after a yes
    Destroy(destroy::Args),
    /// Lets resources be: they stay on their target, and are no longer ours
    Forget(forget::Args),
    /// Writes what is on a target already as resources, for a stack to take over
    Import(import::Args),
    /// Lets one resource be that Git still asks for
    Release(release::Args),
    /// Shows what was done, newest first
    History(history::Args),
    /// Shows what happened, step by step
    Events(events::Args),
    /// Shows who and which commit last changed a resource
    Blame(blame::Args),
    /// Says that all is well after an apply with --confirm-within
    Confirm(confirm::Args),
    /// Settles by your word what a crash left in doubt
    Resolve(resolve::Args),
    /// Accepts a rewritten history
    #[command(subcommand)]
    Source(accept::Source),
    /// Accepts another system under a target's name
    #[command(subcommand)]
    Target(accept::Target),
    /// Copies the store while it is in use, and puts a copy back
    #[command(subcommand)]
    Store(store::Command),
    /// Shows the merged values of stacks
    Values(values::Args),
    /// Shows the resources that stacks declare, rendered
    Render(render::Args),
    /// Looks for what is wrong with this installation, and says how to mend it
    Doctor(doctor::Args),
    /// Lists, inspects and accepts plugins
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Prints a completion script for a shell
    Completions(completions::Args),
    /// Prints a published JSON Schema
    #[command(hide = true)]
    Schema(schema::Args),
    /// Runs one fetch for the process that started it
    #[command(hide = true)]
    FetchChild(fetch_child::Args),
    /// Stands guard over effects for the process that started it
    #[command(hide = true)]
    Guard(guard::Args),
}

impl Command {
    /// Whether the verb runs on by itself, so that its log is what people see of it.
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(self, Self::Run(_))
    }

    /// Runs the verb.
    pub(crate) fn run(&self, context: &Context) -> Result<Exit, CliError> {
        match self {
            Self::Init(args) => init::run(context, args),
            Self::Plan(args) => plan::run(context, args),
            Self::Apply(args) => apply::run(context, args),
            Self::Run(args) => run::run(context, args),
            Self::Approve(args) => approve::run(context, args, approve::Word::Approve),
            Self::Reject(args) => approve::run(context, args, approve::Word::Reject),
            Self::Status(args) => status::run(context, args),
            Self::Why(args) => why::run(context, args),
            Self::Stop(args) => hold::stop(context, args),
            Self::Suspend(args) => hold::suspend(context, args),
            Self::Resume(args) => hold::resume(context, args),
            Self::Rollback(args) => rollback::run(context, args),
            Self::Undo(args) => undo::run(context, args),
            Self::Destroy(args) => destroy::run(context, args),
            Self::Forget(args) => forget::run(context, args),
            Self::Import(args) => import::run(context, args),
            Self::Release(args) => release::run(context, args),
            Self::History(args) => history::run(context, args),
            Self::Events(args) => events::run(context, args),
            Self::Blame(args) => blame::run(context, args),
            Self::Confirm(args) => confirm::run(context, args),
            Self::Resolve(args) => resolve::run(context, args),
            Self::Source(command) => accept::source(context, command),
            Self::Target(command) => accept::target(context, command),
            Self::Store(command) => store::run(context, command),
            Self::Values(args) => values::run(context, args),
            Self::Render(args) => render::run(context, args),
            Self::Doctor(args) => doctor::run(context, args),
            Self::Plugin(command) => plugin::run(context, command),
            Self::Completions(args) => completions::run(context, args),
            Self::Schema(args) => schema::run(context, args),
            Self::FetchChild(args) => fetch_child::run(args),
            Self::Guard(args) => guard::run(args),
        }
    }
}

#[cfg(test)]
mod tests;
