//! `tidelock why [STACK|ADDRESS]`: what waits for what, since when, and what ends it.

use jiff::Timestamp;
use serde_json::json;
use tidelock_model::name::{Address, Identity};
use tidelock_model::plan::Wait;
use tidelock_model::port::{Holder, Store};
use tidelock_model::revision::Revision;
use tidelock_reconcile::{Asked, LaneWhy, ResourceWhy, Why};

use super::history::word;
use super::status::{SHOWN, look, placed, wrong_in_git};
use crate::address::Short;
use crate::config::Loaded;
use crate::config::toml::nearest;
use crate::context::Context;
use crate::error::{CliError, Exit, Kind};
use crate::output::table::looked;
use crate::output::{Output, one_line, time};

/// Arguments of `why`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It reads the store and the config alone, so it answers whatever else hangs: Git, a target, the daemon.\nWhat it tells of the gate is what the last look found, with what people said since."
)]
pub(crate) struct Args {
    /// A stack, by name or glob, or a resource such as server.file/motd; everything where nothing is named
    #[arg(value_name = "STACK|ADDRESS")]
    about: Option<String>,
    /// Targets, by name or glob
    #[arg(long, short, value_name = "TARGET")]
    target: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let loaded = context.config()?;
    let now = Timestamp::now();
    let Some(store) = context.store(&loaded)? else {
        return told(context, &Why { at: now, daemon: None, stale: [].into(), lanes: vec![], problems: vec![] });
    };
    let about = args.about.as_deref().map(|text| About::of(text, &store)).transpose()?;
    let is_meant = |address: &Address, identity: &Identity| match &about {
        Some(About::Resource(short)) => short.matches(address, identity),
        _ => true,
    };
    let stacks = match &about {
        Some(About::Stack(name)) => std::slice::from_ref(name),
        _ => &[],
    };
    let resource = matches!(about, Some(About::Resource(_))).then_some(&is_meant as tidelock_reconcile::Meant<'_>);
    let guards = tidelock_target::guards_in(&loaded.guards())?;
    let asked = Asked { stacks, targets: &args.target, resource, guards: Some(&guards) };
    let why = tidelock_reconcile::why(&store, &loaded.config, now, asked)?;
    if why.lanes.is_empty()
        && let Some(text) = &args.about
    {
        return Err(unknown(context, &loaded, args, text, &store)?);
    }
    told(context, &why)
}

/// What a person asks about.
enum About {
    Stack(String),
    Resource(Short),
}

impl About {
    /// A stack that was looked at, or a pattern of them, else a resource.
    fn of(text: &str, store: &dyn Store) -> Result<Self, CliError> {
        let pattern = text.contains(['*', '?', '[', '{']) && !text.contains(['/', ':']);
        if pattern || store.lanes()?.iter().any(|record| record.lane.stack.as_str() == text) {
            return Ok(Self::Stack(text.to_owned()));
        }
        Short::parse(text).map(Self::Resource)
    }
}

fn unknown(
    context: &Context,
    loaded: &Loaded,
    args: &Args,
    text: &str,
    store: &dyn Store,
) -> Result<CliError, CliError> {
    let lanes = store.lanes()?;
    let there = lanes.iter().filter(|record| record.lane.stack.as_str() == text);
    let there: Vec<&str> = there.map(|record| record.lane.target.as_str()).collect();
    if !there.is_empty() {
        let message = format!("{text} is on no target that is called {}", one_line(&args.target.join(", ")));
        let more = if there.len() > SHOWN { " and others" } else { "" };
        let some = there.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
        return Ok(CliError::new(Kind::Usage, message).hint(format!("it is on {some}{more}")));
    }
    let mut wrong = Vec::new();
    for source in loaded.config.sources.keys() {
        wrong.extend(tidelock_reconcile::problems(store, source)?);
    }
    let stacks: Vec<&str> = lanes.iter().map(|record| record.lane.stack.as_str()).collect();
    let hint = match nearest(text, &stacks) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("`{}` shows what is known", context.command(&["status"])),
    };
    let message = format!("nothing is known of {}: no stack that was looked at, and no resource", one_line(text));
    let error = CliError::new(Kind::Usage, message).hint(hint);
    // It may be the very stack that cannot be read.
    Ok(wrong
        .iter()
        .take(SHOWN)
        .fold(error, |error, problem| error.hint(format!("wrong in Git: {}", one_line(&placed(problem))))))
}

fn told(context: &Context, why: &Why) -> Result<Exit, CliError> {
    let out = &context.out;
    if out.is_json() {
        let mut json = serde_json::to_value(why).unwrap_or_default();
        json["format"] = json!("tidelock.why/1");
        out.json(&json)?;
        return Ok(Exit::Done);
    }
    let mut text = format!("{}\n", daemon(why.daemon.as_ref(), why.at));
    text.push_str(&wrong_in_git(out, &why.problems));
    if why.lanes.is_empty() {
        text.push_str(&format!("No stack was looked at yet.\nNext: {}\n", context.command(&["plan"])));
    }
    for lane in &why.lanes {
        text.push_str(&format!("\n{}", block(out, lane)));
    }
    out.text(&text)?;
    Ok(Exit::Done)
}

fn daemon(holder: Option<&Holder>, now: Timestamp) -> String {
    match holder {
        None => "No daemon runs: nothing goes on by itself.".to_owned(),
        Some(one) if one.dead => format!("The daemon of process {} died: nothing goes on by itself.", one.pid),
        Some(one) if one.until <= now => {
            format!(
                "The daemon of process {} gave no sign of life since {}: it hangs, or died.",
                one.pid,
                time(one.until)
            )
        }
        Some(one) => format!("A daemon runs since {} (process {}).", time(one.since), one.pid),
    }
}

fn block(out: &Output, told: &LaneWhy) -> String {
    let paint = out.paint;
    let since = told.since.map(|since| format!(" since {}", time(since))).unwrap_or_default();
    let status = looked(&word(&told.status), look(told.status), paint);
    let mut text = format!("{}  {status}{since}\n", paint.bold(&told.lane.to_string()));
    for (name, revision) in [("in force", &told.in_force), ("applied", &told.applied)] {
        let shown = revision.as_ref().map_or("nothing yet".to_owned(), said);
        text.push_str(&format!("  {name:<9} {shown}\n"));
    }
    text.push_str(&format!("  {:<9} {}\n", "looked at", told.seen.map_or("never".to_owned(), time)));
    text.extend(told.resources.iter().map(|resource| about(out, resource)));
    if told.reasons.is_empty() {
        text.push_str("  nothing is in its way\n");
    }
    text.extend(told.reasons.iter().map(|reason| line(out, reason)));
    text
}

fn said(revision: &Revision) -> String {
    format!("{} \"{}\" by {}", revision.short(), one_line(&revision.subject), one_line(&revision.author))
}

fn line(out: &Output, wait: &Wait) -> String {
    let mut text = format!("  {} {}\n", out.paint.warn(&format!("{}:", wait.code)), one_line(&wait.message));
    if let Some(people) = &wait.people {
        let missing = people.wanted.saturating_sub(people.said.len());
        let of = if people.of.is_empty() { "anybody".to_owned() } else { people.of.join(", ") };
        text.push_str(&format!("      missing: {missing} of {}, by {}\n", people.wanted, one_line(&of)));
    }
    let times = [("since", wait.since), ("until", wait.until)];
    let times: Vec<String> =
        times.iter().filter_map(|(name, at)| at.map(|at| format!("{name} {}", time(at)))).collect();
    if !times.is_empty() {
        text.push_str(&format!("      {}\n", times.join(", ")));
    }
    if let Some(hint) = &wait.hint {
        text.push_str(&format!("      {}\n", one_line(hint)));
    }
    text
}

fn about(out: &Output, resource: &ResourceWhy) -> String {
    let identity = out.paint.dim(&one_line(resource.identity.as_str()));
    let owned = if resource.owned { "" } else { "  not ours" };
    let mut text = format!("  {}  {identity}{owned}\n", resource.address.resource);
    if let Some(planned) = &resource.planned {
        let cause = planned.cause.map(|cause| format!(" ({})", word(&cause))).unwrap_or_default();
        let reason = planned.reason.as_ref().map(|reason| format!(": {}", one_line(reason))).unwrap_or_default();
        text.push_str(&format!("      planned  {}{cause}{reason}\n", word(&planned.action)));
    }
    if let Some(last) = &resource.last {
        let fault = last.fault.as_ref().map(|fault| format!(": {}", one_line(fault))).unwrap_or_default();
        let commit = last.revision.get(..12).unwrap_or(&last.revision);
        text.push_str(&format!(
            "      last     {} {} at {}, commit {commit}, run {}{fault}\n",
            word(&last.action),
            last.end,
            time(last.at),
            last.run
        ));
    }
    text
}
