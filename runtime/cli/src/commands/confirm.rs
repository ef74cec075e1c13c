//! `tidelock confirm [STACK]`: a person's word that all is well, before the target goes back.

use std::sync::Arc;

use serde_json::json;
use tidelock_model::hold::Scope;
use tidelock_model::name::Name;
use tidelock_model::plan::Plan;
use tidelock_model::port::{GuardState, Guarded};

use super::apply::who;
use crate::config::Loaded;
use crate::context::Context;
use crate::error::{CliError, Exit, Kind};
use crate::output::progress::Progress;
use crate::{daemon, wire};

/// Arguments of `confirm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A name or glob of stacks; else all that wait
    stack: Option<String>,
    /// A name or glob of targets
    #[arg(long, value_name = "GLOB")]
    target: Option<String>,
    /// The source, where there are several
    #[arg(long)]
    source: Option<Name>,
    /// Also where the server of its source does not answer from here
    #[arg(long)]
    force: bool,
}

/// Says which lanes of a plan go back unless somebody confirms what was done there, and gives them.
pub(super) fn remind(context: &Context, loaded: &Loaded, plan: &Plan) -> Result<Vec<Guarded>, CliError> {
    let mut open = tidelock_target::guards_in(&loaded.guards())?.known;
    open.retain(|one| one.state != GuardState::Restored && plan.lanes.iter().any(|part| part.lane == one.guard.lane));
    let command = context.command(&["confirm"]);
    for Guarded { guard, state, .. } in &open {
        let when = match state {
            GuardState::Gone => "with the next pass".to_owned(),
            _ => format!("at {}", guard.until.strftime("%H:%M:%S UTC")),
        };
        context.out.remark(&format!("{} goes back {when} unless you say that all is well: {command}", guard.lane));
    }
    Ok(open)
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let loaded = context.config()?;
    let runtime = wire::runtime(&loaded, Arc::new(Progress::new(false)))?;
    let scope = Scope { source: args.source.clone(), stack: args.stack.clone(), target: args.target.clone() };
    if !args.force
        && let Some(why) = wire::block_on(tidelock_reconcile::cut_off(&runtime, &scope))??
    {
        let hint = "see what cut it; where that is meant, or has another reason: `tidelock confirm --force`";
        return Err(CliError::new(Kind::Target, format!("{why}; nothing is confirmed")).hint(hint));
    }
    let confirmed = tidelock_reconcile::confirm(&runtime, &scope, &who())?;
    if confirmed.is_empty() {
        return Err(CliError::new(
            Kind::Target,
            "nothing waits to be confirmed: there was nothing, or it went back already",
        )
        .hint(format!("see what happened: `{}`", context.command(&["events"]))));
    }
    daemon::wake(&loaded, &scope);
    if context.out.is_json() {
        let lanes: Vec<_> =
            confirmed.iter().map(|one| json!({ "lane": one.guard.lane, "run": one.guard.id })).collect();
        context.out.json(&json!({ "format": "tidelock.confirm/1", "confirmed": lanes }))?;
        return Ok(Exit::Done);
    }
    for one in &confirmed {
        context.out.text(&format!(
            "{}: {} stays as it is now.\n",
            context.out.paint.good("Confirmed"),
            one.guard.lane
        ))?;
    }
    Ok(Exit::Done)
}
