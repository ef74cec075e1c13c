//! `tidelock blame ADDRESS`: who last changed a resource, and why.

use std::collections::BTreeSet;

use serde_json::json;
use tidelock_model::port::Filter;
use tidelock_model::run::HistoryLine;

use super::history::{lines, word};
use crate::address::Short;
use crate::context::Context;
use crate::error::{CliError, Exit, Kind};
use crate::output::{Output, one_line, time};

/// Arguments of `blame`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// kind/name, a name, or an identity such as path:/etc/motd
    address: String,
    /// Only on this target
    #[arg(long)]
    target: Option<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let short = Short::parse(&args.address)?;
    let loaded = context.config()?;
    let mut last = match context.store_of_deeds(&loaded)? {
        None => vec![],
        Some(store) => {
            let filter = Filter { target: args.target.clone(), ..Filter::default() };
            lines(&store, filter, Some(&short), usize::MAX)?
        }
    };
    let taken_back = last.iter().any(|line| line.end == HistoryLine::TAKEN_BACK);
    // Newest first: of each resource the first line that was done and stands, or whose end is not known.
    HistoryLine::standing(&mut last);
    let mut seen = BTreeSet::new();
    last.retain(|line| {
        matches!(line.end.as_str(), "done" | "unknown")
            && seen.insert((line.address.target.clone(), line.identity.clone()))
    });
    if last.is_empty() {
        let what = if taken_back { "everything was taken back that was done to" } else { "nothing was ever done to" };
        return Err(CliError::new(Kind::Usage, format!("{what} {}", one_line(&args.address)))
            .hint(format!("`{}` lists what was", context.command(&["history"]))));
    }
    last.sort_by(|a, b| a.address.cmp(&b.address));
    if context.out.is_json() {
        context.out.json(&json!({ "format": "tidelock.blame/1", "blame": last }))?;
    } else {
        show(&context.out, &last)?;
    }
    Ok(Exit::Done)
}

fn show(out: &Output, lines: &[HistoryLine]) -> Result<(), CliError> {
    let blocks: Vec<String> = lines.iter().map(|line| block(out, line)).collect();
    out.text(&blocks.join("\n"))
}

fn block(out: &Output, line: &HistoryLine) -> String {
    let identity = out.paint.dim(&one_line(line.identity.as_str()));
    let mut text = format!("{}  {identity}\n", out.paint.bold(&line.address.to_string()));
    let mut field = |name: &str, value: &str| text.push_str(&format!("  {name:<9} {}\n", one_line(value)));
    let signed = match &line.signer {
        Some(signer) => format!("signed by {signer}"),
        None => "unsigned".to_owned(),
    };
    let ended = if line.end == "done" { String::new() } else { format!(" ({})", line.end) };
    field("what", &format!("{}{ended} at {}, run {}", word(&line.action), time(line.at), line.run));
    field("why", &word(&line.cause));
    field("commit", &format!("{} ({signed})", line.revision));
    field("author", &line.author);
    field("asked by", &line.who);
    field("approved", line.approver.as_deref().unwrap_or("by nobody; nothing asked for it"));
    field("plugin", line.plugin.as_deref().unwrap_or("none"));
    text
}
