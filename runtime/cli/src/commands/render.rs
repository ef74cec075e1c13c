//! `tidelock render`: the resources that stacks declare, after rendering and checking.

use std::sync::Arc;

use serde_json::json;
use tidelock_model::error::tame;

use super::selecting::Selecting;
use crate::context::Context;
use crate::error::{CliError, Exit, Note};
use crate::output::progress::Progress;
use crate::output::{count, one_line};
use crate::wire;

/// The longest spec that is shown to a person, in bytes.
const LONGEST: usize = 256 << 10;

/// Arguments of `render`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selecting: Selecting,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let mut loaded = context.config()?;
    let selection = args.selecting.select(context, &mut loaded)?;
    let progress = Arc::new(Progress::new(true));
    let runtime = wire::runtime(&loaded, progress.clone())?;
    let lanes = wire::block_on(tidelock_reconcile::render(&runtime, &selection))??;
    progress.clear();
    if context.out.is_json() {
        context.out.json(&json!({ "format": "tidelock.render/1", "lanes": lanes }))?;
        return Ok(Exit::Done);
    }
    let paint = context.out.paint;
    let mut text = String::new();
    for (i, desired) in lanes.iter().enumerate() {
        let gap = if i == 0 { "" } else { "\n" };
        let heading = paint.bold(&desired.lane.to_string());
        text.push_str(&format!("{gap}{heading}: {}\n", count(desired.resources.len(), "resource")));
        for resource in &desired.resources {
            let place = paint.dim(&one_line(&resource.place.to_string()));
            text.push_str(&format!("\n  {}  {place}\n", paint.bold(&resource.id.to_string())));
            for line in tame(&format!("{:#}", resource.spec), LONGEST).lines() {
                text.push_str(&format!("    {line}\n"));
            }
        }
        desired.warnings.iter().for_each(|warning| context.out.note(&Note::from(warning)));
    }
    context.out.text(&text)?;
    Ok(Exit::Done)
}
