//! `tidelock history [ADDRESS]`

use serde_json::json;
use tidelock_model::port::{Filter, Store};
use tidelock_model::run::HistoryLine;

use crate::address::Short;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::table::{Cell, Look, table};
use crate::output::{Output, one_line, time};

/// Arguments of `history`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only of these resources: kind/name, a name, or an identity such as path:/etc/motd
    address: Option<String>,
    /// Only of this stack
    #[arg(long)]
    stack: Option<String>,
    /// Only on this target
    #[arg(long)]
    target: Option<String>,
    /// Only of this run
    #[arg(long)]
    run: Option<String>,
    /// At most so many lines, the newest
    #[arg(long, short = 'n', default_value_t = 50)]
    limit: usize,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let short = args.address.as_deref().map(Short::parse).transpose()?;
    let loaded = context.config()?;
    let lines = match context.store_of_deeds(&loaded)? {
        None => vec![],
        Some(store) => {
            let filter = Filter {
                stack: args.stack.clone(),
                target: args.target.clone(),
                run: args.run.clone(),
                ..Filter::default()
            };
            lines(&store, filter, short.as_ref(), args.limit)?
        }
    };
    if context.out.is_json() {
        context.out.json(&json!({ "format": "tidelock.history/1", "history": lines }))?;
    } else {
        show(&context.out, &lines, args.address.as_deref())?;
    }
    Ok(Exit::Done)
}

/// Lines of history, newest first. What a short form means is decided here: the store
/// only knows text.
pub(super) fn lines(
    store: &dyn Store,
    mut filter: Filter,
    short: Option<&Short>,
    limit: usize,
) -> Result<Vec<HistoryLine>, CliError> {
    match short {
        Some(short) => filter.address = short.needle().map(str::to_owned),
        None => filter.limit = Some(limit),
    }
    let mut lines = store.history(&filter)?;
    if let Some(short) = short {
        lines.retain(|line| short.matches(&line.address, &line.identity));
    }
    lines.truncate(limit);
    Ok(lines)
}

fn show(out: &Output, lines: &[HistoryLine], of: Option<&str>) -> Result<(), CliError> {
    if lines.is_empty() {
        return match of {
            Some(of) => out.text(&format!("Nothing was done yet to what {} means.\n", one_line(of))),
            None => out.text("Nothing was done yet.\n"),
        };
    }
    let rows: Vec<Vec<Cell>> = lines
        .iter()
        .map(|line| {
            let look = match line.end.as_str() {
                "done" => Look::Good,
                "not-begun" => Look::Dim,
                "failed" => Look::Bad,
                _ => Look::Warn,
            };
            vec![
                Cell::dim(time(line.at)),
                Cell::plain(word(&line.action)),
                Cell::new(&line.end, look),
                Cell::plain(line.address.to_string()),
                Cell::dim(word(&line.cause)),
                Cell::plain(line.revision.get(..12).unwrap_or(&line.revision)),
                Cell::plain(&line.author),
                Cell::plain(line.signer.as_deref().unwrap_or("")),
                Cell::plain(&line.who),
                Cell::plain(line.approver.as_deref().unwrap_or("")),
                Cell::dim(&line.run),
                Cell::new(line.fault.as_deref().unwrap_or(""), Look::Bad),
            ]
        })
        .collect();
    let heading = [
        "WHEN",
        "ACTION",
        "END",
        "RESOURCE",
        "CAUSE",
        "COMMIT",
        "AUTHOR",
        "SIGNER",
        "ASKED BY",
        "APPROVED BY",
        "RUN",
        "WHY",
    ];
    out.text(&table(&heading, &rows, out.paint))
}

/// The word that a value has in JSON.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => other.map(|value| value.to_string()).unwrap_or_default(),
    }
}
