//! `tidelock values [--explain]`: what the values files say together.

use std::sync::Arc;

use serde_json::{Value, json};

use super::selecting::Selecting;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::one_line;
use crate::output::progress::Progress;
use crate::output::table::{Cell, table};
use crate::wire;

/// Arguments of `values`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selecting: Selecting,
    /// Says which file set each value
    #[arg(long)]
    explain: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let mut loaded = context.config()?;
    let selection = args.selecting.select(context, &mut loaded)?;
    let progress = Arc::new(Progress::new(true));
    let runtime = wire::runtime(&loaded, progress.clone())?;
    let lanes = wire::block_on(tidelock_reconcile::values(&runtime, &selection))??;
    progress.clear();
    if context.out.is_json() {
        let lanes: Vec<Value> = lanes
            .iter()
            .map(|(lane, layers)| {
                let mut out = json!({ "lane": lane, "values": layers.values, "files": layers.files });
                if args.explain {
                    out["set_by"] = json!(layers.set_by);
                }
                out
            })
            .collect();
        context.out.json(&json!({ "format": "tidelock.values/1", "lanes": lanes }))?;
        return Ok(Exit::Done);
    }
    let paint = context.out.paint;
    let mut text = String::new();
    for (i, (lane, layers)) in lanes.iter().enumerate() {
        let gap = if i == 0 { "" } else { "\n" };
        text.push_str(&format!("{gap}{}\n", paint.bold(&lane.to_string())));
        if layers.set_by.is_empty() {
            text.push_str("no values\n");
        } else if args.explain {
            let rows: Vec<Vec<Cell>> = layers
                .set_by
                .iter()
                .map(|(pointer, file)| {
                    let value = layers.values.pointer(pointer).unwrap_or(&Value::Null);
                    vec![Cell::plain(pointer), Cell::plain(value.to_string()), Cell::dim(file)]
                })
                .collect();
            text.push_str(&table(&["VALUE", "IS", "SET BY"], &rows, paint));
        } else {
            let shown = format!("{:#}", layers.values);
            shown.lines().for_each(|line| text.push_str(&format!("{}\n", one_line_kept(line))));
        }
    }
    context.out.text(&text)?;
    Ok(Exit::Done)
}

/// A line of JSON with its indent.
fn one_line_kept(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    format!("{}{}", " ".repeat(indent), one_line(line.trim_start()))
}
