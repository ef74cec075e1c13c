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

/// What makes a folder a stack.
const STACK: &str = "stack.yaml";

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads alone. Put what it gives into a directory of a repository, look through it and commit it:\n the next plan takes it over as it is, and changes nothing."
)]
pub(crate) struct Args {
    /// The target to look at
    target: String,
    /// Only these kinds, such as postgres.role; else all that plugins with a grant on the target look for
    #[arg(long, short, value_name = "KIND")]
    kind: Vec<ResourceKind>,
    /// Writes one file for each kind into this directory, and a stack.yaml where it belongs to no
    /// stack; else everything goes to standard output
    #[arg(long, value_name = "DIRECTORY")]
    into: Option<PathBuf>,
    /// Also what a stack owns already
    #[arg(long)]
    owned: bool,
    /// Also what is as a new one would have it, and `owns: all` where a kind knows that: each change of it by
    /// hand is then found
    #[arg(long)]
    all_fields: bool,
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
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    let (mut silent, mut terse) = (Vec::new(), false);
    for plugin in &plugins {
        match wire::block_on(tidelock_reconcile::discover(&runtime, &target, plugin, &args.kind, args.all_fields))?? {
            Some(more) => {
                found.extend(more.found);
                left_out.extend(more.left_out);
                terse |= more.silent;
            }
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
        context.out.json(&as_json(&target, &found, &left_out))?;
        return Ok(Exit::Done);
    }
    for remark in remarks(&found) {
        context.out.note(&remark_on(remark));
    }
    for (kind, remark) in &left_out {
        context.out.note(&remark_on(format!("{kind}: {remark}")));
    }
    let mut kinds: BTreeMap<&ResourceKind, Vec<&Discovered>> = BTreeMap::new();
    for one in &found {
        kinds.entry(&one.kind).or_default().push(one);
    }
    match &args.into {
        Some(into) => write(context, into, &target, &kinds)?,
        None => {
            let documents: Vec<String> = found.iter().map(document).collect::<Result<_, _>>()?;
            context.out.text(&documents.join("---\n"))?;
        }
    }
    if all > found.len() {
        let owned = count(all - found.len(), "resource");
        context.out.note(&remark_on(format!("left out: {owned} that stacks own already (--owned shows them)")));
    }
    if terse && !found.is_empty() {
        let remark = "left out: fields that are as a new one would have them; who changes one by hand is not found \
            out (--all-fields writes them, and `owns: all`)";
        context.out.note(&remark_on(remark.to_owned()));
    }
    Ok(Exit::Done)
}

/// So many resources are named that have the same remark.
const NAMED: usize = 3;

/// What is remarked, each sentence once for all resources of a kind that have it.
fn remarks(found: &[Discovered]) -> Vec<String> {
    let mut of: BTreeMap<(&ResourceKind, &str), Vec<&Name>> = BTreeMap::new();
    let mut order = Vec::new();
    for one in found {
        for remark in &one.remarks {
            let names = of.entry((&one.kind, remark.as_str())).or_default();
            if names.is_empty() {
                order.push((&one.kind, remark.as_str()));
            }
            names.push(&one.name);
        }
    }
    let said = |key: &(&ResourceKind, &str)| {
        let names = &of[key];
        let named: Vec<&str> = names.iter().take(NAMED).map(|name| name.as_str()).collect();
        let more = match names.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}/{}{more}: {}", key.0, named.join(", "), key.1)
    };
    order.iter().map(said).collect()
}

fn remark_on(message: String) -> Note {
    Note::from(&Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message, None) })
}

/// One file for each kind; none that is there is written over. A folder of no stack becomes one.
fn write(
    context: &Context,
    into: &Path,
    target: &Name,
    kinds: &BTreeMap<&ResourceKind, Vec<&Discovered>>,
) -> Result<(), CliError> {
    let files: Vec<(PathBuf, &Vec<&Discovered>)> =
        kinds.iter().map(|(kind, found)| (into.join(format!("{kind}.yaml")), found)).collect();
    if let Some((there, _)) = files.iter().find(|(file, _)| file.exists()) {
        let message = format!("{} is there already, and is not written over", there.display());
        return Err(CliError::new(Kind::Io, message).hint("name another directory with --into, or move it away"));
    }
    std::fs::create_dir_all(into).map_err(|error| CliError::file("make", into, &error))?;
    let mut text = String::new();
    let mut tell = |file: &Path, what: &str| {
        text.push_str(&format!("{}: {what}\n", one_line(&file.display().to_string())));
    };
    if !belongs_to_a_stack(into)? {
        let name = stack_name(into, target)?;
        let file = into.join(STACK);
        write_new(&file, &stack_file(&name, target)?)?;
        tell(&file, &format!("a new stack, {name}, for {target}"));
    }
    for (file, found) in files {
        let documents: Vec<String> = found.iter().map(|found| document(found)).collect::<Result<_, _>>()?;
        write_new(&file, &documents.join("---\n"))?;
        tell(&file, &count(found.len(), "resource"));
    }
    context.out.text(&text)
}

fn write_new(file: &Path, text: &str) -> Result<(), CliError> {
    let mut options = std::fs::OpenOptions::new();
    let open = options.write(true).create_new(true).open(file);
    open.and_then(|mut open| open.write_all(text.as_bytes())).map_err(|error| CliError::file("write", file, &error))
}

/// Whether a stack is declared in the folder or in one above it, up to the repository's own.
fn belongs_to_a_stack(folder: &Path) -> Result<bool, CliError> {
    let folder = folder.canonicalize().map_err(|error| CliError::file("find", folder, &error))?;
    for folder in folder.ancestors() {
        if folder.join(STACK).exists() {
            return Ok(true);
        }
        if folder.join(".git").exists() {
            break;
        }
    }
    Ok(false)
}

/// What a new stack is called: as its folder, else as the target.
fn stack_name(folder: &Path, target: &Name) -> Result<Name, CliError> {
    let folder = folder.canonicalize().map_err(|error| CliError::file("find", folder, &error))?;
    let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let name = folder.file_name().and_then(|name| name.to_str()).filter(plain);
    Ok(name.and_then(|name| Name::new(name).ok()).unwrap_or_else(|| target.clone()))
}

/// The `stack.yaml` of a new stack.
fn stack_file(name: &Name, target: &Name) -> Result<String, CliError> {
    yaml(&json!({ "name": name, "targets": target }), STACK)
}

/// A resource as a file of a stack has it.
fn document(found: &Discovered) -> Result<String, CliError> {
    let resource = json!({ "kind": found.kind, "name": found.name, "spec": found.spec });
    yaml(&resource, &format!("{}/{}", found.kind, found.name))
}

fn yaml(value: &serde_json::Value, what: &str) -> Result<String, CliError> {
    let text = serde_saphyr::to_string(value)
        .map_err(|error| CliError::new(Kind::Io, format!("{what} cannot be written as YAML: {error}")))?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

fn as_json(target: &Name, found: &[Discovered], left_out: &[(ResourceKind, String)]) -> serde_json::Value {
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
        "left_out": left_out.iter().map(|(kind, remark)| json!({ "kind": kind, "remark": remark })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use tidelock_model::stack::Selector;
    use tidelock_reconcile::read::stack;

    use super::*;

    #[test]
    fn one_remark_on_many_is_said_once() {
        let one = |name: &str, remark: &str| Discovered {
            kind: ResourceKind::new("postgres.role").unwrap(),
            name: Name::new(name).unwrap(),
            identity: tidelock_model::name::Identity::new(format!("role:{name}")),
            spec: json!({}),
            remarks: vec![remark.to_owned()],
            owned: false,
        };
        let found = [one("a", "no password"), one("b", "odd"), one("c", "no password")];
        assert_eq!(remarks(&found), ["postgres.role/a, c: no password", "postgres.role/b: odd"]);
        let many: Vec<Discovered> = (0..2_000).map(|at| one(&format!("r{at}"), "no password")).collect();
        assert_eq!(remarks(&many), ["postgres.role/r0, r1, r2 and 1997 more: no password"]);
    }

    #[test]
    fn a_new_stack_is_read_as_it_was_meant_whatever_it_is_called() {
        for text in ["grown", "2024", "true", "null", "1e5", "0x1", "-", "no", "a-1"] {
            let name = Name::new(text).unwrap();
            let written = stack_file(&name, &name).unwrap();
            let read = stack::parse(&written, "a").unwrap_or_else(|problems| panic!("{written}: {problems:?}"));
            assert_eq!((read.decl.name, read.decl.targets), (name, Selector::One(text.to_owned())));
        }
    }
}
