//! `tidelock approve` and `tidelock reject`: a person's word on the plans that wait,
//! given now, for an apply or a daemon that comes later.

use std::io::IsTerminal as _;

use jiff::Timestamp;
use serde_json::json;
use tidelock_model::hold::Scope;
use tidelock_model::name::Name;
use tidelock_model::port::Want;
use tidelock_reconcile::{Planned, Selection};
use tidelock_store::SqliteStore;

use super::apply::{ask, who};
use super::plan::{Length, shown};
use crate::context::Context;
use crate::daemon;
use crate::error::{CliError, Exit, Kind};
use crate::output::{count, one_line};

/// Arguments of both.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Stacks, by name or glob; all that wait where none is named
    stacks: Vec<String>,
    /// Targets, by name or glob
    #[arg(long, short, value_name = "TARGET")]
    target: Vec<String>,
    /// The source, where the config has several
    #[arg(long, value_name = "NAME")]
    source: Option<Name>,
    /// Why, for those who read it later
    #[arg(long, alias = "reason", value_name = "TEXT")]
    comment: Option<String>,
    /// Does not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    length: Length,
}

/// The verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// A yes.
    Approve,
    /// A no.
    Reject,
}

impl Word {
    fn verb(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

pub(crate) fn run(context: &Context, args: &Args, word: Word) -> Result<Exit, CliError> {
    let loaded = context.config()?;
    // Looked at first: a word on nothing makes no store.
    if context.store(&loaded)?.is_none() {
        return nothing(context, word);
    }
    let store = SqliteStore::open(&loaded.store())?;
    let selection = Selection {
        source: args.source.clone(),
        stacks: args.stacks.clone(),
        targets: args.target.clone(),
        want: Want::Configured,
    };
    let mut planned = tidelock_reconcile::planned(&store, &selection)?;
    if word == Word::Approve {
        planned.retain(Planned::awaits_approval);
    }
    if planned.is_empty() {
        return nothing(context, word);
    }
    let who = who();
    if word == Word::Approve {
        let own: Vec<String> = planned.iter().filter_map(|one| one.discounted(&loaded.config, &who)).collect();
        if let Some(first) = own.first() {
            return Err(CliError::new(Kind::Refused, format!("nothing was approved: {first}"))
                .hint("somebody else has to; `[people]` in tidelock.toml says who is whom"));
        }
    }
    if !context.out.is_json() {
        let mut text = String::new();
        for one in &planned {
            text.push_str(&format!("{}\n", shown(&one.plan, &context.out, args.length).trim_end()));
        }
        context.out.text(&text)?;
    }
    if !agreed(context, args, word, planned.len())? {
        return Ok(Exit::Waiting);
    }
    for one in &planned {
        let (now, comment) = (Timestamp::now(), args.comment.as_deref());
        match word {
            Word::Approve => tidelock_reconcile::approve(&store, now, one, &who, comment)?,
            Word::Reject => tidelock_reconcile::reject(&store, now, one, &who, comment)?,
        }
    }
    let mut heard = true;
    for one in &planned {
        heard &= daemon::wake(&loaded, &Scope::of(&one.lane));
    }
    told(context, args, word, &planned, &who, heard)
}

fn nothing(context: &Context, word: Word) -> Result<Exit, CliError> {
    if context.out.is_json() {
        context.out.json(&json!({ "format": "tidelock.word/1", "word": word.verb(), "lanes": [] }))?;
    } else {
        let what = match word {
            Word::Approve => "Nothing that was planned waits for a yes.",
            Word::Reject => "Nothing is planned that a no could hold up.",
        };
        context.out.text(&format!("{what}\nNext: {}\n", context.command(&["plan"])))?;
    }
    Ok(Exit::Done)
}

fn agreed(context: &Context, args: &Args, word: Word, lanes: usize) -> Result<bool, CliError> {
    if args.yes {
        return Ok(true);
    }
    if std::io::stdin().is_terminal() {
        let (verb, plans) = (if word == Word::Approve { "Approve" } else { "Reject" }, count(lanes, "plan"));
        return Ok(ask(&format!("\n{verb} {plans}? [y/N] ")));
    }
    if !context.out.is_json() {
        let (which, mut words) = (if word == Word::Approve { "yes" } else { "no" }, vec![word.verb()]);
        words.extend(args.stacks.iter().map(String::as_str));
        words.extend(args.target.iter().flat_map(|target| ["--target", target]));
        words.push("--yes");
        context.out.text(&format!(
            "\nNo {which} was recorded: it takes an answer at a terminal, or `--yes`.\nNext: {}\n",
            context.command(&words)
        ))?;
    }
    Ok(false)
}

/// Says what was recorded; `heard` is whether a daemon runs that was told, and goes on by itself.
fn told(
    context: &Context,
    args: &Args,
    word: Word,
    planned: &[Planned],
    who: &str,
    heard: bool,
) -> Result<Exit, CliError> {
    if context.out.is_json() {
        let lanes: Vec<_> = planned.iter().map(|one| json!({ "lane": one.lane, "digest": one.digest })).collect();
        let said = json!({ "format": "tidelock.word/1", "word": word.verb(), "who": who, "comment": args.comment, "lanes": lanes });
        context.out.json(&said)?;
        return Ok(Exit::Done);
    }
    let mut text = String::from("\n");
    for one in planned {
        text.push_str(&match word {
            Word::Approve => format!("Approved by {}: {}\n", one_line(who), one.lane),
            Word::Reject => format!("Rejected by {}: {}\n", one_line(who), one.lane),
        });
    }
    let note = match word {
        Word::Approve if heard => {
            let mut words = vec!["status"];
            words.extend(args.stacks.iter().map(String::as_str));
            words.extend(args.target.iter().flat_map(|target| ["--target", target]));
            let next = context.command(&words);
            format!("It counts for this very plan. A daemon runs, and goes on with it by itself.\nNext: {next}\n")
        }
        Word::Approve => {
            let mut words = vec!["apply"];
            words.extend(args.stacks.iter().map(String::as_str));
            words.extend(args.target.iter().flat_map(|target| ["--target", target]));
            format!("It counts for this very plan, by whomever it is applied.\nNext: {}\n", context.command(&words))
        }
        Word::Reject => "It holds until you approve, or until something else is planned.\n".to_owned(),
    };
    text.push_str(&note);
    context.out.text(&text)?;
    Ok(Exit::Done)
}
