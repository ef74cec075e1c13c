//! Targets that the config names in full and declares nowhere. Only all of its files together
//! can tell: what one names another may declare.

use std::path::Path;

use tidelock_model::config::{Config, OneOrMany};
use tidelock_model::name::Name;

use super::toml::{File, nearest};
use crate::error::CliError;

/// Names that are listed where none was meant.
const LISTED: usize = 10;

/// Checks one file against what all files declare. A pattern may mean no target; a name that means
/// none is a slip, and what it was to allow or to hold up would silently be something else.
pub(super) fn check(file: &Path, text: &str, whole: &Config) -> Result<(), CliError> {
    let name = file.display().to_string();
    let (file, own) = File::read(&name, text)?;
    let known: Vec<&str> = whole.targets.keys().map(Name::as_str).collect();
    let declared = |path: &[&str], what: &str, targets: &[String]| {
        for (i, target) in targets.iter().enumerate() {
            if is_name(target) && !known.contains(&target.as_str()) {
                let message = format!("{what} names the target {target}, and the config declares none of that name");
                let index = i.to_string();
                let path: Vec<&str> = path.iter().copied().chain([index.as_str()]).collect();
                return Err(file.wrong(&path, message, Some(meant(target, &known))));
            }
        }
        Ok(())
    };
    for (source, decl) in &own.sources {
        for (i, allow) in decl.allow.iter().enumerate() {
            let path = ["sources", source.as_str(), "allow", &i.to_string(), "targets"];
            declared(&path, "this rule of `allow`", &allow.targets)?;
        }
    }
    for (plugin, grants) in &own.grants {
        for (i, grant) in grants.iter().enumerate() {
            let index = i.to_string();
            let path = match grants {
                OneOrMany::One(_) => vec!["grants", plugin, "targets"],
                OneOrMany::Many(_) => vec!["grants", plugin, &index, "targets"],
            };
            declared(&path, "this grant", &grant.targets)?;
        }
    }
    for (i, gate) in own.gate.iter().enumerate() {
        declared(&["gate", &i.to_string(), "targets"], "this [[gate]]", &gate.targets.0)?;
    }
    declared(&["accept_new"], "`accept_new`", &own.accept_new)
}

/// Whether a pattern is a name.
fn is_name(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', ']', '{', '}', '\\', '!'])
}

fn meant(target: &str, known: &[&str]) -> String {
    if let Some(near) = nearest(target, known) {
        return format!("did you mean {near}?");
    }
    let more = known.len().saturating_sub(LISTED);
    let listed = known.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    match (known.is_empty(), more) {
        (true, _) => "declare it: [targets.NAME], with a type".replace("NAME", target),
        (false, 0) => format!("declared: {listed}; a pattern, such as \"web-*\", may mean none"),
        (false, more) => format!("declared: {listed} and {more} more; a pattern, such as \"web-*\", may mean none"),
    }
}
