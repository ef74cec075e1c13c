//! `tidelock import`: what is on a target already, as resources for a stack.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tidelock_model::error::{Diagnostic, Severity};
use tidelock_model::name::{Kind as ResourceKind, Name};
use tidelock_reconcile::Discovered;

use crate::config::toml::nearest;
use crate::context::Context;
use crate::error::{CliError, Exit, Kind, Note};
use crate::estate::any_matches;
use crate::output::progress::Progress;
use crate::output::{count, one_line};
use crate::wire;

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads alone. Put what it gives into a directory of a repository beside a stack.yaml, look through it and\ncommit it: the next plan takes it over as it is, and changes nothing."
)]
pub(crate) struct Args {
    /// The target to look at
    target: String,
    /// Only these kinds, such as postgres.role; else all that plugins with a grant on the target look for
    #[arg(long, short, value_name = "KIND")]
    kind: Vec<ResourceKind>,
    /// Writes one file for each kind into this directory; else everything goes to standard output
    #[arg(long, value_name = "DIRECTORY")]
    into: Option<PathBuf>,
    /// Also what a stack owns already
    #[arg(long)]
    owned: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let loaded = context.config()?;
    let target = Name::new(&*args.target)?;
    if !loaded.config.targets.contains_key(&target) {
        let known: Vec<&str> = loaded.config.targets.keys().map(Name::as_str).collect();
        let hint = match nearest(target.as_str(), &known) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("declared: {}", known.join(", ")),
        };
        return Err(CliError::new(Kind::Usage, format!("there is no target {target}")).hint(hint));
    }
    let progress = Arc::new(Progress::new(true));
    let runtime = wire::runtime(&loaded, progress.clone())?;
    let mut plugins: Vec<String> = args.kind.iter().map(|kind| kind.plugin().to_owned()).collect();
    if plugins.is_empty() {
        for (plugin, grants) in &loaded.config.grants {
            for grant in grants.iter() {
                if any_matches(&grant.targets, &target)? {
                    plugins.push(plugin.clone());
                }
            }
        }
    }
    plugins.sort_unstable();
    plugins.dedup();
    let mut found = Vec::new();
    let mut silent = Vec::new();
    for plugin in &plugins {
        match wire::block_on(tidelock_reconcile::discover(&runtime, &target, plugin, &args.kind))?? {
            Some(more) => found.extend(more),
            None => silent.push(plugin.as_str()),
        }
    }
    progress.clear();
    if plugins.len() == silent.len() {
        return Err(match silent[..] {
            [] => CliError::new(Kind::Usage, format!("no plugin has a grant on {target}"))
                .hint("add a [grants.PLUGIN] for it; `tidelock doctor` says what is missing"),
            _ => CliError::new(
                Kind::Usage,
                format!("{} cannot import: it does not list what is there", silent.join(", ")),
            )
            .hint(format!("no other plugin has a grant on {target}; README names the kinds that can be imported")),
        });
    }
    let all = found.len();
    found.retain(|found| args.owned || !found.owned);
    if context.out.is_json() {
        context.out.json(&as_json(&target, &found))?;
        return Ok(Exit::Done);
    }
    for one in &found {
        for remark in &one.remarks {
            context.out.note(&remark_on(format!("{}/{}: {remark}", one.kind, one.name)));
        }
    }
    let mut kinds: BTreeMap<&ResourceKind, Vec<&Discovered>> = BTreeMap::new();
    for one in &found {
        kinds.entry(&one.kind).or_default().push(one);
    }
    match &args.into {
        Some(into) => write(context, into, &kinds)?,
        None => {
            let documents: Vec<String> = found.iter().map(document).collect::<Result<_, _>>()?;
            context.out.text(&documents.join("---\n"))?;
        }
    }
    if all > found.len() {
        let owned = count(all - found.len(), "resource");
        context.out.note(&remark_on(format!("left out: {owned} that stacks own already (--owned shows them)")));
    }
    Ok(Exit::Done)
}

fn remark_on(message: String) -> Note {
    Note::from(&Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message, None) })
}

/// One file for each kind; none that is there is written over.
fn write(context: &Context, into: &Path, kinds: &BTreeMap<&ResourceKind, Vec<&Discovered>>) -> Result<(), CliError> {
    let files: Vec<(PathBuf, &Vec<&Discovered>)> =
        kinds.iter().map(|(kind, found)| (into.join(format!("{kind}.yaml")), found)).collect();
    if let Some((there, _)) = files.iter().find(|(file, _)| file.exists()) {
        let message = format!("{} is there already, and is not written over", there.display());
        return Err(CliError::new(Kind::Io, message).hint("name another directory with --into, or move it away"));
    }
    std::fs::create_dir_all(into).map_err(|error| CliError::file("make", into, &error))?;
    let mut text = String::new();
    for (file, found) in files {
        let documents: Vec<String> = found.iter().map(|found| document(found)).collect::<Result<_, _>>()?;
        let mut options = std::fs::OpenOptions::new();
        let mut open =
            options.write(true).create_new(true).open(&file).map_err(|error| CliError::file("write", &file, &error))?;
        open.write_all(documents.join("---\n").as_bytes()).map_err(|error| CliError::file("write", &file, &error))?;
        text.push_str(&format!("{}: {}\n", one_line(&file.display().to_string()), count(found.len(), "resource")));
    }
    context.out.text(&text)
}

/// A resource as a file of a stack has it.
fn document(found: &Discovered) -> Result<String, CliError> {
    let resource = json!({ "kind": found.kind, "name": found.name, "spec": found.spec });
    serde_saphyr::to_string(&resource).map(|text| if text.ends_with('\n') { text } else { text + "\n" }).map_err(
        |error| CliError::new(Kind::Io, format!("{}/{} cannot be written as YAML: {error}", found.kind, found.name)),
    )
}

fn as_json(target: &Name, found: &[Discovered]) -> serde_json::Value {
    let each = |found: &Discovered| {
        json!({
            "kind": found.kind, "name": found.name, "identity": found.identity, "spec": found.spec,
            "remarks": found.remarks, "owned": found.owned,
        })
    };
    json!({
        "format": "tidelock.import/1",
        "target": target,
        "resources": found.iter().map(each).collect::<Vec<_>>(),
    })
}
