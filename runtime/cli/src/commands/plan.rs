//! `tidelock plan`: what would be done. Writes nothing but the store, and `--save FILE`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidelock_model::plan::Plan;
use tidelock_plan::display;
use tidelock_plan::gate::{asks_for_people, holds_up};
use tidelock_plan::holds::is_hold;
use tidelock_reconcile::PlanOptions;

use super::confirm::remind;
use super::selecting::Selecting;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::progress::Progress;
use crate::output::{Output, count};
use crate::wire;

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selecting: Selecting,
    /// Shows only what changes against this revision, such as the branch that a pull request
    /// is for, and nothing of what the targets hold beyond what that revision wants there
    #[arg(long, value_name = "REV", conflicts_with = "save")]
    base: Option<String>,
    /// Keeps the plan in a file, for `apply --plan`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Ends with 2 where there are changes, or where a stack is refused
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    length: Length,
}

/// How much of a plan is shown.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(super) struct Length {
    /// Shows the numbers alone
    #[arg(long, conflicts_with = "full")]
    summary: bool,
    /// Shows everything: whole diffs, every target, the effects
    #[arg(long)]
    full: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let mut loaded = context.config()?;
    let selection = args.selecting.select(context, &mut loaded)?;
    let progress = Arc::new(Progress::new(true));
    let runtime = wire::runtime(&loaded, progress.clone())?;
    let options = PlanOptions { previews: !args.length.summary || args.save.is_some() };
    let plan = match &args.base {
        Some(base) => wire::block_on(tidelock_reconcile::plan_against(&runtime, &selection, base, &options))??,
        None => wire::block_on(tidelock_reconcile::plan(&runtime, &selection, &options))??,
    };
    progress.clear();
    progress.notices().iter().for_each(|notice| context.out.remark(notice));
    if let Some(file) = &args.save {
        save(&plan, file)?;
    }
    if context.out.is_json() {
        context.out.json(&as_json(&plan)?)?;
    } else {
        context.out.text(&shown(&plan, &context.out, args.length))?;
        // What is not agreed to yet is not for applying.
        if let Some(next) = next(context, args, &plan).filter(|_| args.base.is_none()) {
            context.out.text(&format!("\nNext: {next}\n"))?;
        }
    }
    drop(remind(context, &loaded, &plan)?);
    Ok(if !plan.errors.is_empty() && plan.lanes.is_empty() {
        Exit::Error
    } else if !plan.errors.is_empty() {
        Exit::Partly
    } else if args.detailed_exitcode && (plan.has_changes() || is_held_up(&plan)) {
        Exit::Pending
    } else {
        Exit::Done
    })
}

/// Whether a lane is held up by more than a single resource that stands aside: with no
/// change planned, such as after an empty render, it still is not as Git says. What a person
/// holds up is none of that: with no change it is as Git says.
fn is_held_up(plan: &Plan) -> bool {
    plan.lanes.iter().flat_map(|lane| &lane.waits).any(|wait| holds_up(wait) && !is_hold(wait))
}

/// A plan for people.
pub(super) fn shown(plan: &Plan, out: &Output, length: Length) -> String {
    if length.summary {
        return numbers(plan);
    }
    let width = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(100);
    let mut text = display::text(plan, &display::Style { color: out.paint.on, width, full: length.full });
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The numbers of a plan, a line for each lane and one for all.
fn numbers(plan: &Plan) -> String {
    let mut text = String::new();
    for lane in &plan.lanes {
        let changes = plan.changes_of(&lane.lane).filter(|change| change.is_change()).count();
        let waits = if lane.waits.is_empty() { String::new() } else { ", waits for approval".to_owned() };
        text.push_str(&format!("{}: {}, {} unchanged{waits}\n", lane.lane, count(changes, "change"), lane.unchanged));
    }
    let actions: Vec<String> =
        plan.summary.actions.iter().map(|(action, number)| format!("{number} {action}")).collect();
    let actions = if actions.is_empty() { "nothing to do".to_owned() } else { actions.join(", ") };
    text.push_str(&format!(
        "{actions}; {}, {} destructive; {} unchanged\n",
        count(plan.summary.effects, "effect"),
        plan.summary.destructive,
        plan.summary.unchanged
    ));
    if !plan.errors.is_empty() {
        text.push_str(&format!(
            "{} could not be planned; without --summary they are shown\n",
            count(plan.errors.len(), "part")
        ));
    }
    text
}

fn as_json(plan: &Plan) -> Result<serde_json::Value, CliError> {
    serde_json::to_value(plan).map_err(|error| CliError::from(std::io::Error::other(error)))
}

/// Writes a plan for its owner alone: it holds what is on the targets.
fn save(plan: &Plan, file: &Path) -> Result<(), CliError> {
    use std::io::Write as _;
    let failed = |error: std::io::Error| CliError::file("write", file, &error);
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut staged = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    staged.write_all(format!("{:#}\n", as_json(plan)?).as_bytes()).map_err(failed)?;
    staged.persist(file).map_err(|error| failed(error.error))?;
    Ok(())
}

fn next(context: &Context, args: &Args, plan: &Plan) -> Option<String> {
    // What could not be planned comes first.
    if !plan.has_changes() || !plan.errors.is_empty() {
        return None;
    }
    if plan.lanes.iter().flat_map(|lane| &lane.waits).any(asks_for_people) {
        let mut words = vec!["approve"];
        words.extend(args.selecting.stacks.iter().map(String::as_str));
        words.extend(args.selecting.target.iter().flat_map(|target| ["--target", target]));
        return Some(context.command(&words));
    }
    let mut words = vec!["apply"];
    let file = args.save.as_ref().map(|file| file.display().to_string());
    match &file {
        Some(file) => {
            words.extend(["--plan", file]);
            words.extend(args.selecting.origin());
        }
        None => words.extend(args.selecting.words()),
    }
    Some(context.command(&words))
}
