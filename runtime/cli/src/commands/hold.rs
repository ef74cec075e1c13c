//! `tidelock stop`, `suspend` and `resume`: a person's brake, and its release.

use std::io::IsTerminal as _;
use std::sync::Arc;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use serde_json::json;
use tidelock_model::error::tame;
use tidelock_model::hold::{Hold, HoldKind, Scope};
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::Plan;
use tidelock_model::port::Want;
use tidelock_reconcile::{PlanOptions, Runtime, Selection, Within};

use super::apply::{ask, who};
use super::plan::{Length, shown};
use crate::config::{Loaded, toml};
use crate::context::Context;
use crate::daemon;
use crate::error::{CliError, Exit, Kind};
use crate::output::count;
use crate::output::progress::Progress;
use crate::wire;

/// Which lanes are meant.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Scoping {
    /// Stacks, by name or glob
    stacks: Vec<String>,
    /// Targets, by name or glob
    #[arg(long, short, value_name = "TARGET")]
    target: Vec<String>,
    /// Only of this source
    #[arg(long, value_name = "NAME")]
    source: Option<Name>,
    /// Everything
    #[arg(long, conflicts_with_all = ["stacks", "target", "source"])]
    all: bool,
}

/// Arguments of `stop`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A file STOP beside the store does the same without this command: an empty one stops everything,\nelse each line is STACK, STACK@TARGET or @TARGET; what stands behind a # is told as the reason."
)]
pub(crate) struct Stop {
    #[command(flatten)]
    scoping: Scoping,
    /// Told to everybody who meets it
    #[arg(long, alias = "comment", value_name = "TEXT")]
    reason: Option<String>,
}

/// Arguments of `suspend`.
#[derive(Debug, clap::Args)]
pub(crate) struct Suspend {
    #[command(flatten)]
    scoping: Scoping,
    /// Ends by itself after this time, such as 2h or 3d
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    time: Option<SignedDuration>,
    /// Told to everybody who meets it
    #[arg(long, alias = "comment", value_name = "TEXT")]
    reason: Option<String>,
}

/// Arguments of `resume`.
#[derive(Debug, clap::Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    scoping: Scoping,
    /// Says yes beforehand
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    length: Length,
}

pub(crate) fn stop(context: &Context, args: &Stop) -> Result<Exit, CliError> {
    put(context, HoldKind::Stop, &args.scoping, None, args.reason.as_deref())
}

pub(crate) fn suspend(context: &Context, args: &Suspend) -> Result<Exit, CliError> {
    let until = args.time.map(later).transpose()?;
    put(context, HoldKind::Suspend, &args.scoping, until, args.reason.as_deref())
}

/// A time from now on, of more than nothing.
pub(super) fn span(text: &str) -> Result<SignedDuration, String> {
    let span: Span = text.parse().map_err(|error| format!("{error}; write it like 30m, 2h or 3d"))?;
    let time = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    if time.is_positive() { Ok(time) } else { Err("it must lie ahead".to_owned()) }
}

/// The time that this leads to from now.
pub(super) fn later(time: SignedDuration) -> Result<Timestamp, CliError> {
    Timestamp::now().checked_add(time).map_err(|error| CliError::new(Kind::Usage, format!("--for: {error}")))
}

/// A person's reason, fit for every place that tells it.
pub(super) fn said(reason: Option<&str>) -> Option<String> {
    reason.map(|reason| tame(reason, 1024).replace(['\n', '\t'], " ")).filter(|reason| !reason.trim().is_empty())
}

fn put(
    context: &Context,
    kind: HoldKind,
    scoping: &Scoping,
    until: Option<Timestamp>,
    reason: Option<&str>,
) -> Result<Exit, CliError> {
    let loaded = context.config()?;
    let scopes = scoping.scopes(&loaded)?;
    let runtime = wire::runtime(&loaded, Arc::new(Progress::new(false)))?;
    let known: Vec<Lane> = runtime.store.lanes()?.into_iter().map(|record| record.lane).collect();
    scoping.looked_for(&known)?;
    let mut holds = Vec::new();
    for scope in scopes {
        holds.push(tidelock_reconcile::hold(&runtime, kind, scope, until, said(reason), &who())?);
    }
    for hold in &holds {
        daemon::wake(&loaded, &hold.scope);
    }
    let held: Vec<&Lane> = known.iter().filter(|lane| holds.iter().any(|hold| hold.scope.covers(lane))).collect();
    if context.out.is_json() {
        context.out.json(&json!({ "format": "tidelock.hold/1", "holds": holds, "lanes": held }))?;
        return Ok(Exit::Done);
    }
    let mut text: String = holds.iter().map(|hold| format!("{hold}.\n")).collect();
    text.push_str(&format!("{} so far", count(held.len(), "lane")));
    text.push_str(&held.first().map(|lane| format!(": {lane}")).unwrap_or_default());
    text.push_str(if held.len() > 1 { ", ...\n" } else { "\n" });
    text.push_str(match kind {
        HoldKind::Stop => "No new group of effects begins there, also in an apply that is under way.\n",
        HoldKind::Suspend => "They are planned and reported, and nothing is applied; what is under way ends.\n",
    });
    text.push_str(&format!("To lift it: {}\n", scoping.again(context, "resume")));
    context.out.text(&text)?;
    Ok(Exit::Done)
}

pub(crate) fn resume(context: &Context, args: &Resume) -> Result<Exit, CliError> {
    let loaded = context.config()?;
    let scopes = args.scoping.scopes(&loaded)?;
    let runtime = wire::runtime(&loaded, Arc::new(Progress::new(true)))?;
    let mut within = Within::default();
    for scope in &scopes {
        let Within { ends, stays } = tidelock_reconcile::within(&runtime, scope)?;
        within.ends.extend(ends.into_iter().filter(|hold| !within.ends.contains(hold)).collect::<Vec<_>>());
        within.stays.extend(stays.into_iter().filter(|hold| !within.stays.contains(hold)).collect::<Vec<_>>());
    }
    let Within { ends, stays } = within;
    let stays: Vec<Hold> = stays.into_iter().filter(|hold| !ends.contains(hold)).collect();
    if ends.is_empty() {
        return nothing(context, &stays);
    }
    let plans = plans(context, &loaded, &runtime, &args.scoping);
    let answer =
        |ended: &[Hold]| json!({ "format": "tidelock.resume/1", "ended": ended, "stays": stays, "plans": plans });
    if !context.out.is_json() {
        for plan in &plans {
            context.out.text(&format!("{}\n", shown(plan, &context.out, args.length)))?;
        }
        let lines: String = ends.iter().map(|hold| format!("  {hold}\n")).collect();
        context.out.text(&format!("This ends, and what is planned above may be applied then:\n{lines}"))?;
    }
    let agreed = args.yes || (std::io::stdin().is_terminal() && ask("\nResume? [y/N] "));
    if !agreed {
        if context.out.is_json() {
            context.out.json(&answer(&[]))?;
        } else {
            let again = format!("{} --yes", args.scoping.again(context, "resume"));
            context.out.text(&format!("\nNothing was changed: this waits for a yes.\nNext: {again}\n"))?;
        }
        return Ok(Exit::Waiting);
    }
    tidelock_reconcile::end(&runtime, &ends, &who())?;
    for hold in &ends {
        daemon::wake(&loaded, &hold.scope);
    }
    if context.out.is_json() {
        context.out.json(&answer(&ends))?;
        return Ok(Exit::Done);
    }
    let next = args.scoping.again(context, "apply");
    context.out.text(&format!("\nResumed.\n{}Next: {next}\n", still(&stays)))?;
    Ok(Exit::Done)
}

fn nothing(context: &Context, stays: &[Hold]) -> Result<Exit, CliError> {
    if context.out.is_json() {
        context.out.json(&json!({ "format": "tidelock.resume/1", "ended": [], "stays": stays, "plans": [] }))?;
    } else {
        context.out.text(&format!("There is nothing to resume.\n{}", still(stays)))?;
    }
    Ok(if stays.is_empty() { Exit::Done } else { Exit::Waiting })
}

/// Holds that go on, each with what lifts it.
fn still(stays: &[Hold]) -> String {
    let line = |hold: &Hold| {
        let wait = tidelock_plan::holds::wait(hold);
        format!("still held: {}\n  {}\n", wait.message, wait.hint.unwrap_or_default())
    };
    stays.iter().map(line).collect()
}

/// What would be done once nothing is held, source by source. One that cannot be planned is
/// told and keeps nobody from resuming.
fn plans(context: &Context, loaded: &Loaded, runtime: &Runtime, scoping: &Scoping) -> Vec<Plan> {
    let sources = loaded.config.sources.keys().filter(|name| scoping.source.as_ref().is_none_or(|one| one == *name));
    let mut plans = Vec::new();
    for source in sources {
        let selection = Selection {
            source: Some(source.clone()),
            stacks: scoping.stacks.clone(),
            targets: scoping.target.clone(),
            want: Want::Configured,
        };
        let options = PlanOptions { previews: true };
        let planned = wire::block_on(tidelock_reconcile::plan(runtime, &selection, &options));
        match planned.map(|planned| planned.map_err(CliError::from)) {
            Ok(Ok(plan)) => plans.push(plan),
            Ok(Err(error)) | Err(error) => {
                context.out.remark(&format!("source {source} cannot be planned now: {}", error.message));
            }
        }
    }
    plans
}

impl Scoping {
    /// One scope for each pair of a stack and a target.
    fn scopes(&self, loaded: &Loaded) -> Result<Vec<Scope>, CliError> {
        if !self.all && self.stacks.is_empty() && self.target.is_empty() && self.source.is_none() {
            return Err(CliError::new(Kind::Usage, "say what: a stack, --target, --source, or --all for everything"));
        }
        let sources: Vec<&str> = loaded.config.sources.keys().map(Name::as_str).collect();
        let targets: Vec<&str> = loaded.config.targets.keys().map(Name::as_str).collect();
        declared("source", self.source.iter().map(Name::as_str), &sources)?;
        declared("target", self.target.iter().map(String::as_str), &targets)?;
        for pattern in self.stacks.iter().chain(&self.target) {
            tidelock_model::grant::glob(pattern, false)?;
        }
        let or_all = |words: &[String]| -> Vec<Option<String>> {
            if words.is_empty() { vec![None] } else { words.iter().cloned().map(Some).collect() }
        };
        let mut scopes = Vec::new();
        for stack in or_all(&self.stacks) {
            for target in or_all(&self.target) {
                scopes.push(Scope { source: self.source.clone(), stack: stack.clone(), target });
            }
        }
        Ok(scopes)
    }

    /// A mistyped stack must not leave the one running that was meant.
    fn looked_for(&self, known: &[Lane]) -> Result<(), CliError> {
        let stacks: Vec<&str> = known.iter().map(|lane| lane.stack.as_str()).collect();
        let mut names = self.stacks.iter();
        if let Some(name) = names.find(|name| !is_pattern(name) && !stacks.contains(&name.as_str())) {
            let near = toml::nearest(name, &stacks).map(|near| format!("did you mean {near}?"));
            let hint = near.unwrap_or_else(|| "to hold what was not looked at yet, write a glob".to_owned());
            return Err(CliError::new(Kind::Usage, format!("no stack {name} was looked at yet")).hint(hint));
        }
        Ok(())
    }

    /// Another command about the same lanes.
    fn again(&self, context: &Context, verb: &str) -> String {
        let mut words = vec![verb];
        words.extend(self.stacks.iter().map(String::as_str));
        words.extend(self.target.iter().flat_map(|target| ["--target", target]));
        words.extend(self.source.iter().flat_map(|source| ["--source", source.as_str()]));
        if self.all && verb == "resume" {
            words.push("--all");
        }
        context.command(&words)
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

fn declared<'a>(what: &str, mut names: impl Iterator<Item = &'a str>, known: &[&str]) -> Result<(), CliError> {
    if let Some(name) = names.find(|name| !is_pattern(name) && !known.contains(name)) {
        let hint = match toml::nearest(name, known) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("declared: {}", known.join(", ")),
        };
        return Err(CliError::new(Kind::Usage, format!("the config declares no {what} {name}")).hint(hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_people_write_it() {
        for (text, hours) in [("2h", 2), ("3d", 72), ("1d 12h", 36), ("1w", 168)] {
            assert_eq!(span(text), Ok(SignedDuration::from_hours(hours)), "{text}");
        }
        for text in ["", "2", "-2h", "0s", "soon", "1 month"] {
            assert!(span(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(said(Some("a\n\u{1b}[2Jb")).unwrap().lines().count(), 1);
        assert!(!said(Some("a\u{1b}[2J")).unwrap().contains('\u{1b}'));
        assert_eq!(said(Some(" ")), None);
    }
}
