//! `tidelock apply`: does what the plan says, once someone said yes.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use serde_json::json;
use tidelock_model::digest::Digest;
use tidelock_model::hold::Scope;
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::{Action, FORMAT, Plan, Wait};
use tidelock_model::port::Guarded;
use tidelock_model::run::{RunCounts, RunEnd};
use tidelock_model::stack::confirm_ms;
use tidelock_reconcile::{Applied, Approver, Caller, Leaving, Selection, Yes};

use super::confirm::remind;
use super::plan::{Length, shown};
use super::selecting::Selecting;
use crate::context::Context;
use crate::error::{CliError, Exit, Kind, refused};
use crate::output::progress::Progress;
use crate::output::reasons::by_reason;
use crate::output::{Output, count, one_line};
use crate::{daemon, signals, wire};

/// The largest saved plan that is read, in bytes.
const LARGEST: u64 = 512 << 20;

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selecting: Selecting,
    /// Says yes beforehand
    #[arg(long, short)]
    yes: bool,
    /// Goes on only if this saved plan is what would be done now
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// The target goes back by itself unless you say `tidelock confirm` within this time
    #[arg(long, value_name = "TIME", value_parser = confirm_ms)]
    confirm_within: Option<u64>,
    #[command(flatten)]
    length: Length,
    /// The stacks that are destroyed instead; none of them means whatever is orphaned.
    #[arg(skip)]
    destroys: Option<Vec<Name>>,
}

impl Args {
    /// An apply that another verb goes on with.
    pub(super) fn of(selecting: Selecting, yes: bool, length: Length) -> Self {
        Self { selecting, yes, plan: None, confirm_within: None, length, destroys: None }
    }

    /// The removal of all that stacks own.
    pub(super) fn destroying(stacks: &[Name], selecting: Selecting, yes: bool, length: Length) -> Self {
        Self { destroys: Some(stacks.to_vec()), ..Self::of(selecting, yes, length) }
    }

    /// The same again, for a person to type.
    fn again(&self, context: &Context) -> String {
        let mut words = vec![if self.destroys.is_some() { "destroy" } else { "apply" }];
        words.extend(self.selecting.words());
        if self.destroys.as_ref().is_some_and(Vec::is_empty) {
            words.push("--orphaned");
        }
        words.push("--yes");
        context.command(&words)
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let saved = args.plan.as_deref().map(read).transpose()?;
    let mut loaded = context.config()?;
    let mut selection = args.selecting.select(context, &mut loaded)?;
    if let Some(saved) = &saved {
        as_saved(&mut selection, saved);
    }
    let progress = Arc::new(Progress::new(true));
    let mut runtime = wire::runtime(&loaded, progress.clone())?;
    runtime.confirm_within_ms = args.confirm_within;
    let runtime = runtime;
    let who = who();
    let answer = match (&saved, args.yes) {
        (_, true) => Answer::Given("--yes"),
        (Some(_), false) => Answer::Given("saved plan"),
        (None, false) => unsaid(),
    };
    let asking = Asking {
        out: context.out,
        length: args.length,
        answer,
        saved: saved.as_ref().map(|saved| saved.digest),
        who: who.clone(),
        progress: progress.clone(),
        shown: AtomicBool::new(false),
    };
    let caller = Caller::Once(&asking);
    let apply = async {
        match &args.destroys {
            Some(stacks) => {
                let which = if stacks.is_empty() { Leaving::Orphaned } else { Leaving::Stacks(stacks) };
                tidelock_reconcile::destroy(&runtime, which, &selection, &who, caller).await
            }
            None => tidelock_reconcile::apply(&runtime, &selection, &who, caller, saved.as_ref()).await,
        }
    };
    let apply = Box::pin(apply);
    let applied = match signals::block_on(&runtime.interrupt, context.out, &progress, apply)? {
        Ok(applied) => applied?,
        Err(signalled) => return Ok(signalled),
    };
    progress.clear();
    // Lanes of a daemon may wait for what was done here, and a pin that was set has an end to notice.
    let stack = if let [one] = applied.plan.stacks.as_slice() { Some(one.to_string()) } else { None };
    daemon::wake(&loaded, &Scope { source: Some(applied.plan.source.clone()), stack, target: None });
    progress.notices().iter().for_each(|notice| context.out.remark(notice));
    if context.out.is_json() {
        context.out.json(&as_json(&applied))?;
    } else {
        report(context, args, &applied, asking.shown.into_inner())?;
    }
    let open = remind(context, &loaded, &applied.plan)?;
    let own = |one: &Guarded| applied.runs.iter().any(|run| run.id == one.guard.id);
    if args.confirm_within.is_some() && applied.end == RunEnd::Done && open.iter().any(own) {
        return Ok(Exit::Waiting);
    }
    if applied.end == RunEnd::Refused && !context.out.is_json() {
        return Err(refused(&applied.waits, !applied.runs.is_empty()));
    }
    Ok(exit(&applied))
}

/// A saved plan names its lanes; nothing else of it is followed.
fn as_saved(selection: &mut Selection, saved: &Plan) {
    if selection.stacks.is_empty() {
        selection.stacks = saved.stacks.iter().map(ToString::to_string).collect();
    }
    if selection.targets.is_empty() {
        let mut targets: Vec<String> = saved.lanes.iter().map(|lane| lane.lane.target.to_string()).collect();
        targets.sort();
        targets.dedup();
        selection.targets = targets;
    }
}

fn read(file: &Path) -> Result<Plan, CliError> {
    let failed = |error: std::io::Error| CliError::file("read", file, &error);
    let no_plan = |why: String| {
        CliError::new(Kind::Refused, format!("{} is not a saved plan: {why}", file.display()))
            .hint("make one with `tidelock plan --save FILE`")
    };
    let opened = std::fs::File::open(file).map_err(failed)?;
    let size = opened.metadata().map_err(failed)?.len();
    if size > LARGEST {
        return Err(no_plan(format!("it has {size} bytes")));
    }
    // A pipe or a device does not say beforehand how much it will give: it is read while it
    // makes sense, and no further than that.
    let read = serde_json::from_reader(std::io::BufReader::new(opened.take(LARGEST)));
    let value: serde_json::Value = read.map_err(|error| match error.io_error_kind() {
        Some(kind) => failed(kind.into()),
        None => no_plan(one_line(&error.to_string())),
    })?;
    match value.get("format").and_then(serde_json::Value::as_str) {
        Some(FORMAT) => serde_json::from_value(value).map_err(|error| no_plan(one_line(&error.to_string()))),
        Some(other) => Err(no_plan(format!("its format is {:?}, and this version reads {FORMAT}", one_line(other)))),
        None => Err(no_plan("it names no format".to_owned())),
    }
}

/// The user that runs this, for the record.
pub(crate) fn who() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    let user = user.map_or_else(|| format!("uid {}", nix::unistd::getuid()), |user| user.name);
    match std::env::var("SUDO_USER") {
        Ok(sudo) if user == "root" && !sudo.is_empty() && sudo != "root" => format!("{} (sudo)", one_line(&sudo)),
        _ => user,
    }
}

/// Where the yes comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It was given with the command.
    Given(&'static str),
    /// From the person at the terminal.
    Ask,
    /// Nobody is there.
    Nobody,
}

/// Where the yes comes from that was not given beforehand.
fn unsaid() -> Answer {
    if std::io::stdin().is_terminal() { Answer::Ask } else { Answer::Nobody }
}

struct Asking {
    out: Output,
    length: Length,
    answer: Answer,
    /// The plan that the yes was given for; none means whatever is planned.
    saved: Option<Digest>,
    who: String,
    progress: Arc<Progress>,
    /// Whether the plan was shown.
    shown: AtomicBool,
}

#[async_trait]
impl Approver for Asking {
    async fn approve(&self, plan: &Plan, lanes: &[Lane]) -> Option<Yes> {
        self.progress.clear();
        if !self.out.is_json() && self.out.text(&shown(plan, &self.out, self.length)).is_err() {
            // What could not be shown was not reviewed.
            return None;
        }
        self.shown.store(true, Ordering::Relaxed);
        let meant = plan.groups.iter().filter(|group| lanes.contains(&group.lane));
        let effects = meant.map(|group| group.effects.len()).sum();
        let yes = |how: &str| Some(Yes { who: self.who.clone(), how: how.to_owned(), comment: None });
        let answer = match self.answer {
            // What became known on the way was in no saved plan.
            Answer::Given(_) if self.saved.is_some_and(|saved| saved != plan.digest) => unsaid(),
            answer => answer,
        };
        match answer {
            Answer::Given(how) => {
                if !self.out.is_json() {
                    self.out.text(&format!("\nApproved by {} ({how}).\n", self.who)).ok()?;
                }
                yes(how)
            }
            // The ledger alone changes: nobody need be asked.
            _ if effects == 0 => yes("no effects"),
            Answer::Nobody => None,
            Answer::Ask => {
                let question = format!("\nApply {}? [y/N] ", count(effects, "effect"));
                let asked = tokio::task::spawn_blocking(move || ask(&question)).await;
                if matches!(asked, Ok(true)) { yes("terminal") } else { None }
            }
        }
    }
}

/// Asks on stderr, so that stdout may go elsewhere. Anything but a yes is a no.
pub(super) fn ask(question: &str) -> bool {
    let mut err = std::io::stderr().lock();
    if err.write_all(question.as_bytes()).and_then(|()| err.flush()).is_err() {
        return false;
    }
    drop(err);
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.is_ok() && matches!(line.trim().to_lowercase().as_str(), "y" | "yes")
}

fn exit(applied: &Applied) -> Exit {
    match applied.end {
        _ if !applied.plan.errors.is_empty() && applied.plan.lanes.is_empty() => Exit::Error,
        _ if !applied.plan.errors.is_empty() => Exit::Partly,
        RunEnd::Done | RunEnd::Nothing if applied.mismatches.is_empty() && applied.plan.errors.is_empty() => Exit::Done,
        RunEnd::Done | RunEnd::Nothing | RunEnd::Partly | RunEnd::Interrupted => Exit::Partly,
        RunEnd::Failed => Exit::Error,
        RunEnd::Waiting => Exit::Waiting,
        RunEnd::Refused => Exit::Refused,
    }
}

fn as_json(applied: &Applied) -> serde_json::Value {
    json!({
        "format": "tidelock.apply/1",
        "end": applied.end,
        "runs": applied.runs,
        "overtaken": applied.overtaken,
        "failures": applied.failures.iter().map(|(address, fault)| json!({ "address": address, "fault": fault })).collect::<Vec<_>>(),
        "skipped": applied.skipped.iter().map(|(address, why)| json!({ "address": address, "why": why })).collect::<Vec<_>>(),
        "mismatches": applied.mismatches.iter().map(|one| json!({ "address": one.address, "why": one.why })).collect::<Vec<_>>(),
        "unchecked": applied.unchecked.iter().map(|(lane, why)| json!({ "lane": lane, "why": why })).collect::<Vec<_>>(),
        "deferred": applied.deferred.iter().map(|(address, why)| json!({ "address": address, "why": why })).collect::<Vec<_>>(),
        "waits": applied.waits.iter().map(|(lane, wait)| json!({ "lane": lane, "wait": wait })).collect::<Vec<_>>(),
        "cut_short": applied.cut_short,
        "plan": applied.plan,
    })
}

/// What came of it, for people.
fn report(context: &Context, args: &Args, applied: &Applied, was_shown: bool) -> Result<(), CliError> {
    let (out, paint) = (&context.out, context.out.paint);
    if !was_shown {
        out.text(&shown(&applied.plan, out, args.length))?;
    }
    let mut text = String::from("\n");
    if !applied.overtaken.is_empty() {
        let runs = count(applied.overtaken.len(), "run");
        text.push_str(&format!("planned anew after {runs}: somebody else changed what the plan relied on\n"));
    }
    for (address, fault) in &applied.failures {
        text.push_str(&format!("{} {address}: {}\n", paint.bad("failed"), one_line(&fault.message)));
        text.push_str(&hinted(fault.hint.as_deref()));
    }
    text.push_str(&by_reason(&paint.warn("skipped"), applied.skipped.iter().map(|(of, why)| (of, why))));
    text.push_str(&by_reason(&paint.warn("not known yet"), applied.deferred.iter().map(|(of, why)| (of, why))));
    text.push_str(&by_reason(
        &paint.bad("not as planned"),
        applied.mismatches.iter().map(|one| (&one.address, &one.why)),
    ));
    for (lane, why) in &applied.unchecked {
        text.push_str(&format!("{} {lane}: {}\n", paint.bad("check failed"), one_line(why)));
    }
    for problem in &applied.cut_short {
        let place = problem.place.as_ref().map(|place| format!("{}:{}: ", one_line(&place.file), place.line));
        let place = place.unwrap_or_default();
        text.push_str(&format!("{} {place}{}\n", paint.bad("cut short"), one_line(&problem.message)));
        text.push_str(&hinted(problem.hint.as_deref()));
    }
    let counts = applied.runs.iter().fold(RunCounts::default(), |sum, run| RunCounts {
        done: sum.done + run.counts.done,
        failed: sum.failed + run.counts.failed,
        skipped: sum.skipped + run.counts.skipped,
        unknown: sum.unknown + run.counts.unknown,
    });
    let numbers = format!(
        "{} done, {} failed, {} skipped, {} unknown",
        counts.done, counts.failed, counts.skipped, counts.unknown
    );
    let again = || args.again(context);
    let missing = missing(applied);
    text.push_str(&match applied.end {
        RunEnd::Done if performed(applied) => {
            format!("{}: {} done.\n", paint.good("Done"), count(counts.done, "change"))
        }
        RunEnd::Done => format!(
            "{}: {} put on record, and nothing on a target was to be changed.\n",
            paint.good("Done"),
            count(counts.done, "change")
        ),
        RunEnd::Nothing if applied.overtaken.is_empty() => return Ok(()),
        RunEnd::Nothing => format!("{}: nothing was left to do.\n", paint.good("Done")),
        // The same again would come to the same.
        RunEnd::Partly if counts == RunCounts::default() && missing.is_some() => {
            format!("{}: {}.\n", paint.warn("Nothing was changed"), missing.as_deref().unwrap_or_default())
        }
        RunEnd::Partly => match &missing {
            Some(missing) => format!("{}: {numbers}; {missing}.\n", paint.warn("Partly applied")),
            None => {
                // What fails its check would fail it again.
                let next = if applied.unchecked.is_empty() { again() } else { context.command(&["why"]) };
                format!("{}: {numbers}.\nNext: {next}\n", paint.warn("Partly applied"))
            }
        },
        RunEnd::Interrupted => format!("{}: {numbers}.\nNext: {}\n", paint.warn("Ended early"), again()),
        RunEnd::Failed => format!("{}: {numbers}.\nNext: {}\n", paint.bad("Failed"), context.command(&["status"])),
        RunEnd::Waiting | RunEnd::Refused if counts.done > 0 => {
            format!("{}: {} done.\n", paint.good("Done"), count(counts.done, "change"))
        }
        RunEnd::Waiting | RunEnd::Refused => String::new(),
    });
    // After a failure the rest of a rollout waits too, and says for what.
    if applied.end == RunEnd::Waiting || !applied.waits.is_empty() && applied.end.is_bad() {
        let next = Some(again()).filter(|_| !args.yes);
        text.push_str(&waiting(applied, counts.done > 0, next.as_deref()));
    }
    out.text(&text)
}

/// Whether anything was to be done to a target, in whichever pass: what is only put on record has no effect there.
fn performed(applied: &Applied) -> bool {
    let plan = &applied.plan;
    let mut lanes: BTreeSet<Lane> =
        plan.groups.iter().filter(|group| !group.effects.is_empty()).map(|group| group.lane.clone()).collect();
    let deferred = plan.changes.iter().filter(|change| change.action == Action::Deferred);
    lanes.extend(deferred.map(|change| change.address.lane()));
    applied.runs.iter().any(|run| run.counts.done > 0 && lanes.contains(&run.lane))
}

/// What has to be mended before the rest can be applied, where saying yes again would not help.
fn missing(applied: &Applied) -> Option<String> {
    // What failed on a target may work the next time.
    if !applied.failures.is_empty() || !applied.cut_short.is_empty() || !applied.mismatches.is_empty() {
        return None;
    }
    if let Some(first) = applied.plan.errors.first() {
        let more = match applied.plan.errors.len() {
            1 => String::new(),
            number => format!(" and {} more", number - 1),
        };
        return Some(match &first.place {
            Some(place) => format!(
                "{}{more} could not be planned, which has to be mended first: see the errors above",
                one_line(&place.to_string())
            ),
            None => "not everything could be planned, which has to be mended first: see the errors above".to_owned(),
        });
    }
    match applied.deferred.len() {
        0 => None,
        1 => Some("1 change is not known yet, for the reason above".to_owned()),
        number => Some(format!("{number} changes are not known yet, for the reasons above")),
    }
}

fn hinted(hint: Option<&str>) -> String {
    let lines = hint.map(|hint| tidelock_model::error::tame(hint, 4096).replace('\n', "\n        "));
    lines.map(|lines| format!("  hint: {lines}\n")).unwrap_or_default()
}

/// What the rest waits for. `next` is what says the yes, where that was not given already.
fn waiting(applied: &Applied, partly: bool, next: Option<&str>) -> String {
    let what = if partly { "The rest was not changed" } else { "Nothing was changed" };
    // Whose turn it is not yet is told where the one before does not wait for something itself.
    let waits = |lane: &Lane| applied.waits.iter().any(|(of, _)| of == lane);
    let own = || applied.waits.iter().filter(|(_, wait)| !wait.on.as_ref().is_some_and(waits));
    let all_for_a_yes = own().all(|(_, wait)| wait.approvable);
    let mut text = format!("{what}: {}.\n", if all_for_a_yes { "this waits for a yes" } else { "this waits" });
    // A sentence that names its lane is the same of another that names its own, and needs no other name before it.
    let unnamed = |lane: &Lane, wait: &Wait| wait.message.replace(&lane.to_string(), "\0");
    let mut told: Vec<(&Wait, String, Vec<&Lane>)> = Vec::new();
    for (lane, wait) in own() {
        let said = unnamed(lane, wait);
        match told.iter_mut().find(|(known, as_said, _)| known.code == wait.code && *as_said == said) {
            Some((_, _, lanes)) => lanes.push(lane),
            None => told.push((wait, said, vec![lane])),
        }
    }
    for (wait, said, lanes) in told {
        let message = one_line(&wait.message);
        text.push_str(&match lanes.len() - 1 {
            _ if !said.contains('\0') => format!("  {}: {message}\n", these(&lanes)),
            0 => format!("  {message}\n"),
            more => format!("  {message} (and {})\n", count(more, "more lane")),
        });
        if let (false, Some(hint)) = (wait.approvable, &wait.hint) {
            text.push_str(&format!("    hint: {}\n", one_line(hint)));
        }
    }
    if let Some(next) = next.filter(|_| all_for_a_yes) {
        text.push_str(&format!("Next: {next}\n"));
    }
    text
}

/// Stacks that are named where lanes of several wait for the same.
const NAMED: usize = 4;

/// Lanes in few words: the one, or how many of which stacks.
fn these(lanes: &[&Lane]) -> String {
    if let [one] = lanes {
        return one.to_string();
    }
    let stacks: BTreeSet<&str> = lanes.iter().map(|lane| lane.stack.as_str()).collect();
    let more = stacks.len().saturating_sub(NAMED);
    let named = stacks.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" and {}", count(more, "more stack")) } else { String::new() };
    format!("{} of {named}{more}", count(lanes.len(), "lane"))
}
