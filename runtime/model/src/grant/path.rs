//! Paths of a machine, and what files there may be.

use super::{Grant, invalid};
use crate::effect::EffectBody;
use crate::error::{Blame, Fault};

impl Grant {
    pub(super) fn path(&self, path: &str, write: bool) -> Result<(), Fault> {
        well_formed(path)?;
        let verb = if write { "write" } else { "read" };
        if self.own.iter().any(|own| within(path, own) || (write && within(own, path))) {
            return Err(Fault::new(
                "denied",
                Blame::Target,
                format!("{path} holds Tidelock's own files; no grant lets a plugin {verb} it"),
            ));
        }
        if self.paths.iter().any(|pattern| pattern.is_match(path)) {
            return Ok(());
        }
        let message = format!("plugin {} may not {verb} {path} on target {}", self.plugin, self.target);
        Err(self.denied(message, "paths", path))
    }

    /// A file that runs with its owner's rights is a grant of its own.
    pub(super) fn attributes(&self, body: &EffectBody) -> Result<(), Fault> {
        let attributes = match body {
            EffectBody::PutFile { attributes, .. }
            | EffectBody::SetAttributes { attributes, .. }
            | EffectBody::MakeDirectory { attributes, .. } => attributes,
            EffectBody::Link { .. }
            | EffectBody::Remove { .. }
            | EffectBody::Exec { .. }
            | EffectBody::Sql(_)
            | EffectBody::Network(_)
            | EffectBody::Dns(_) => {
                return Ok(());
            }
        };
        match attributes.mode {
            Some(mode) if mode & 0o6000 != 0 && !self.special_modes => {
                let message = format!(
                    "plugin {} may not set the mode {mode:04o} on target {}: it runs programs with their owner's rights",
                    self.plugin, self.target
                );
                let (where_to, head) = match self.keys {
                    Some(_) => (format!("add to [grants.{}]", self.plugin), String::new()),
                    None => ("grant it".to_owned(), self.table()),
                };
                let hint = format!("if that is meant, {where_to} in tidelock.toml:\n\n{head}special_modes = true");
                Err(Fault::new("denied", Blame::Target, message).at("/mode").hint(hint))
            }
            _ => Ok(()),
        }
    }
}

/// Whether `path` is `folder` or lies below it.
#[must_use]
pub fn within(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Checks that a path is absolute and holds no empty, `.` or `..` part and no NUL.
///
/// # Errors
/// `invalid`.
pub fn well_formed(path: &str) -> Result<(), Fault> {
    let bad = |why: &str| Err(invalid(format!("path {path:?} {why}")));
    let Some(rest) = path.strip_prefix('/') else { return bad("is not absolute") };
    if path.contains('\0') {
        return bad("holds a NUL");
    }
    if path.len() > 4095 {
        return bad("is longer than 4095 bytes");
    }
    if path != "/" && rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return bad("holds an empty, `.` or `..` part");
    }
    Ok(())
}
