//! What lies below a directory: found for `purge`, and removed one by one.
//!
//! Every file, link and directory is a stray of its own, so that the host can spare
//! what others own however deep it lies, and so that the plan shows each loss. No
//! directory is ever removed with what is below it.

use tidelock_sdk::effect::remove;
use tidelock_sdk::{EntryKind, Error, Looked, Machine, Proposals};

use crate::path::AbsolutePath;

/// More than this is not a directory that somebody meant to purge.
const MOST: usize = 10_000;

/// What was found below a directory.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Below {
    /// Identities, in byte order.
    pub(crate) identities: Vec<String>,
    /// The tokens of those reads, in the same order.
    pub(crate) seen: Vec<String>,
}

/// Everything below a directory: one look per level, one listing per directory.
pub(crate) fn below(path: &AbsolutePath, machine: &Machine<'_>) -> Result<Below, Error> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut level = vec![path.to_string()];
    while !level.is_empty() {
        let mut children = Vec::new();
        for directory in &level {
            // Gone since it was seen: then there is nothing below it.
            for name in machine.list(directory)?.unwrap_or_default() {
                children.push(format!("{directory}/{name}"));
            }
        }
        if found.len() + children.len() > MOST {
            let message = format!("more than {MOST} files and directories lie below {path}; too many to purge");
            return Err(Error::target("limit", message).at("/purge"));
        }
        level = Vec::new();
        for (child, looked) in children.iter().zip(machine.stat(&children)?) {
            match looked {
                Looked::Found(entry) => {
                    if entry.kind == EntryKind::Directory {
                        level.push(child.clone());
                    }
                    found.push((child.clone(), entry.seen));
                }
                Looked::Absent(_) => {}
                Looked::Failed(error) => return Err(error),
            }
        }
    }
    found.sort();
    let (identities, seen) = found.into_iter().map(|(path, seen)| (format!("path:{path}"), seen)).unzip();
    Ok(Below { identities, seen })
}

/// Proposes to remove strays, what lies deepest first. A directory is left where
/// something stays below it.
pub(crate) fn remove_all(
    directory: &AbsolutePath,
    strays: &[String],
    machine: &Machine<'_>,
    propose: &Proposals<'_>,
) -> Result<(), Error> {
    let inside = format!("{directory}/");
    let mut paths: Vec<String> = strays
        .iter()
        .filter_map(|identity| AbsolutePath::of_identity(identity))
        .map(|path| path.to_string())
        .filter(|path| path.starts_with(&inside))
        .collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.matches('/').count()));
    let looked = machine.stat(&paths)?;
    let going: std::collections::BTreeSet<&String> = paths.iter().collect();
    let mut staying = std::collections::BTreeSet::new();
    for (path, looked) in paths.iter().zip(looked) {
        let entry = match looked {
            Looked::Found(entry) => entry,
            Looked::Absent(_) => continue,
            Looked::Failed(error) => return Err(error),
        };
        if entry.kind == EntryKind::Directory {
            let names = machine.list(path)?.unwrap_or_default();
            let kept = |name: &String| {
                let child = format!("{path}/{name}");
                !going.contains(&child) || staying.contains(&child)
            };
            if names.iter().any(kept) {
                staying.insert(path.clone());
                continue;
            }
        }
        propose.add(remove(path.as_str()).seen(entry.seen))?;
    }
    Ok(())
}
