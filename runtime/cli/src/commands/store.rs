//! `tidelock store backup` and `tidelock store restore`.

use std::path::PathBuf;

use serde_json::json;
use tidelock_store::{Backup, Restored};

use super::apply::who;
use crate::context::Context;
use crate::error::{CliError, Exit, Kind};
use crate::output::{count, time};

/// What can be done with the store.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Copies the store to a new file, also while a daemon writes it
    #[command(
        after_help = "The copy is one file, mode 0600, and holds the store as it was at one moment. It is never written\nover a file. What was applied tells of specs and of old contents: keep it as you keep the store."
    )]
    Backup(BackupArgs),
    /// Puts a copy in the store's place; the store from before is kept beside it
    #[command(
        after_help = "Nothing may use the store meanwhile: end the daemon first. What was done after the copy was made is\nnot known afterwards, and is found out by looking: begun effects are settled, what is there and equal\nis adopted. What holds the loop now, stops and suspensions, still does. `tidelock plan` shows the rest."
    )]
    Restore(RestoreArgs),
}

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The file to make
    file: PathBuf,
}

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// A file that `store backup` made
    file: PathBuf,
}

pub(crate) fn run(context: &Context, command: &Command) -> Result<Exit, CliError> {
    match command {
        Command::Backup(args) => backup(context, args),
        Command::Restore(args) => restore(context, args),
    }
}

fn backup(context: &Context, args: &BackupArgs) -> Result<Exit, CliError> {
    let loaded = context.config()?;
    let Some(store) = context.store(&loaded)? else {
        let message = format!("there is no store at {} yet", loaded.store().display());
        return Err(CliError::new(Kind::Store, message)
            .hint("the first `tidelock plan` makes it; check --config and [store] url in tidelock.toml"));
    };
    let made = store.backup(&context.here.join(&args.file))?;
    if context.out.is_json() {
        let mut json = serde_json::to_value(&made).unwrap_or_default();
        json["format"] = json!("tidelock.backup/1");
        context.out.json(&json)?;
        return Ok(Exit::Done);
    }
    let Backup { file, taken, bytes, .. } = &made;
    let words = ["store", "restore", &file.display().to_string()].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    context.out.text(&format!(
        "Copied the store as of {} to {} ({}).\nTo put it back: {}\n",
        time(*taken),
        file.display(),
        count(usize::try_from(*bytes).unwrap_or(usize::MAX), "byte"),
        context.command(&words)
    ))?;
    Ok(Exit::Done)
}

fn restore(context: &Context, args: &RestoreArgs) -> Result<Exit, CliError> {
    let loaded = context.config()?;
    let done = tidelock_store::restore(&context.here.join(&args.file), &loaded.store(), &who())?;
    if context.out.is_json() {
        let mut json = serde_json::to_value(&done).unwrap_or_default();
        json["format"] = json!("tidelock.restore/1");
        context.out.json(&json)?;
        return Ok(Exit::Done);
    }
    let Restored { from, taken, kept, holds, .. } = &done;
    let of = taken.map(|at| format!(" as of {}", time(at))).unwrap_or_default();
    let mut text = format!("Put back {}{of}.\n", from.display());
    if let Some(first) = kept.first() {
        text.push_str(&format!("The store from before is kept as {}.\n", first.display()));
    }
    if *holds > 0 {
        text.push_str(&format!(
            "{} in force before, and still {}.\n",
            count(*holds, "hold"),
            if *holds == 1 { "is" } else { "are" }
        ));
    }
    text.push_str(&format!("What was done since is found out by looking.\nNext: {}\n", context.command(&["plan"])));
    context.out.text(&text)?;
    Ok(Exit::Done)
}
