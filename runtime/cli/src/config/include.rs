//! `include = ["targets.d/*.toml"]`: which files it means, and how they join.

use std::path::{Component, Path, PathBuf};

use tidelock_model::config::{Config, OneOrMany};

use crate::error::{CliError, Kind};

/// Directories in directories that a pattern may reach.
const DEPTH: usize = 8;

/// The part of a pattern before its first wildcard; all of it where it names one file.
fn fixed(pattern: &str) -> PathBuf {
    Path::new(pattern).components().take_while(|part| !is_pattern(part)).collect()
}

/// Whether a pattern lies in a directory of its own below the config's, which can be shut
/// as a whole. A path without a wildcard names one file, and that file is shut by itself.
pub(super) fn lies_apart(pattern: &str) -> bool {
    let fixed = fixed(pattern);
    let below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    fixed == Path::new(pattern)
        || fixed.components().all(below) && fixed.components().any(|part| matches!(part, Component::Normal(_)))
}

/// What a pattern starts at, be it there or not, and the files that match it, sorted.
pub(super) fn matching(from: &Path, pattern: &str) -> Result<(PathBuf, Vec<PathBuf>), CliError> {
    let dir = from.parent().unwrap_or(Path::new("/"));
    let bad = |why: String| CliError::new(Kind::Config, format!("{}: include {pattern:?}: {why}", from.display()));
    let matcher = globset::GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|error| bad(error.kind().to_string()))?
        .compile_matcher();
    let fixed = fixed(pattern);
    if fixed == Path::new(pattern) {
        let file = dir.join(&fixed);
        if !file.is_file() {
            return Err(bad(format!("{} is not a file", file.display())).hint("mend the path, or take the line out"));
        }
        return Ok((file.clone(), vec![file]));
    }
    let start = dir.join(&fixed);
    let mut found = Vec::new();
    walk(&start, DEPTH, &mut |file| {
        let relative = file.strip_prefix(dir).unwrap_or(file);
        if matcher.is_match(relative) && file != from {
            found.push(file.to_owned());
        }
    })
    .map_err(|error| bad(error.to_string()))?;
    found.sort();
    Ok((start, found))
}

fn is_pattern(part: &Component<'_>) -> bool {
    part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{'])
}

fn walk(dir: &Path, depth: usize, found: &mut dyn FnMut(&Path)) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        // Links to files count, since operators like them; links to directories could loop.
        if entry.file_type()?.is_dir() {
            if depth > 0 {
                walk(&path, depth - 1, found)?;
            }
        } else if path.is_file() {
            found(&path);
        }
    }
    Ok(())
}

/// Adds what an included file says. The same name twice is an error, but for grants, which add up.
pub(super) fn merge(into: &mut Config, part: Config, from: &Path, first: &Path) -> Result<(), CliError> {
    let twice = |what: &str, name: &str| {
        let message =
            format!("[{what}.{name}] is in {} and in {} or another included file", from.display(), first.display());
        Err(CliError::new(Kind::Config, message).hint("keep one of the two"))
    };
    for (name, source) in part.sources {
        if into.sources.insert(name.clone(), source).is_some() {
            return twice("sources", name.as_str());
        }
    }
    for (name, target) in part.targets {
        if into.targets.insert(name.clone(), target).is_some() {
            return twice("targets", name.as_str());
        }
    }
    for (name, limits) in part.limits {
        if into.limits.insert(name.clone(), limits).is_some() {
            return twice("limits", &name);
        }
    }
    for (plugin, grants) in part.grants {
        let all = into.grants.remove(&plugin).iter().flat_map(OneOrMany::iter).chain(grants.iter()).cloned().collect();
        into.grants.insert(plugin, OneOrMany::Many(all));
    }
    into.accept_new.extend(part.accept_new);
    Ok(())
}
