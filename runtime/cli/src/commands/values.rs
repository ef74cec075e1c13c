//! `tidelock values [--explain]`: what the values files say together.

use std::sync::Arc;

use serde_json::{Value, json};
use tidelock_reconcile::read::values::{Layers, Overridden};

use super::selecting::Selecting;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::progress::Progress;
use crate::output::table::{Cell, table};
use crate::output::{Paint, one_line};
use crate::wire;

/// Arguments of `values`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selecting: Selecting,
    /// Says which file set each value, and what earlier files had said
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
                    out["overridden"] = json!(layers.overridden);
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
            text.push_str(&explained(layers, paint));
        } else {
            let shown = format!("{:#}", layers.values);
            shown.lines().for_each(|line| text.push_str(&format!("{}\n", one_line_kept(line))));
        }
    }
    context.out.text(&text)?;
    Ok(Exit::Done)
}

/// Each value with the file that set it, and beneath it what earlier files said.
fn explained(layers: &Layers, paint: Paint) -> String {
    let mut rows: Vec<(&str, usize, Vec<Cell>)> = Vec::new();
    for (pointer, file) in &layers.set_by {
        let value = layers.values.pointer(pointer).unwrap_or(&Value::Null);
        rows.push((pointer, 0, vec![Cell::plain(pointer), Cell::plain(value.to_string()), Cell::plain(file)]));
    }
    for (i, Overridden { pointer, value, file, by }) in layers.overridden.iter().enumerate() {
        let cells = [pointer.as_str(), &value.to_string(), file, by].map(Cell::dim).to_vec();
        rows.push((pointer, i + 1, cells));
    }
    rows.sort_by_key(|(pointer, place, _)| (*pointer, *place));
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(|(_, _, cells)| cells).collect();
    table(&["VALUE", "IS", "SET BY", "OVERRIDDEN BY"], &rows, paint)
}

/// A line of JSON with its indent.
fn one_line_kept(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    format!("{}{}", " ".repeat(indent), one_line(line.trim_start()))
}
