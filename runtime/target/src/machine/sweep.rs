//! What a killed process left beside the paths of its effects, removed; and links that it was about to make
//! anew, brought back.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use tidelock_model::effect::{Effect, EffectBody};
use tidelock_model::error::Fault;
use tidelock_model::grant::well_formed;
use tidelock_model::network::{NetworkEffect, ObjectName};

use super::Machine;
use super::fault::io;
use super::folder::{EntryKind, Folder as _};
use super::perform::tree;
use super::temporary::is_beside;
use super::walk::{Walker, split};

/// Removes leftovers and counts them. Effects that the grant no longer covers are passed
/// over: what may not be written may not be tidied either.
pub(super) fn sweep(machine: &Machine, effects: &[Effect]) -> Result<usize, Fault> {
    let mut folders: BTreeMap<&str, BTreeSet<OsString>> = BTreeMap::new();
    let mut count = 0;
    for effect in effects {
        let allowed = machine.grant(&effect.plugin).is_some_and(|grant| grant.decide_effect(&effect.body).is_ok());
        if let EffectBody::Network(NetworkEffect::Remove { object: ObjectName::Link { name } }) = &effect.body {
            count += usize::from(allowed && machine.network().recover(name)?);
            continue;
        }
        let Some((folder, name)) = effect.body.path().filter(|path| well_formed(path).is_ok()).and_then(split) else {
            continue;
        };
        if !allowed {
            continue;
        }
        let names = folders.entry(folder).or_default();
        names.insert(name.into());
        if let EffectBody::PutFile { backup: Some(suffix), .. } = &effect.body {
            names.insert(format!("{name}{suffix}").into());
        }
    }
    let mut walker = Walker::new(machine.root());
    for (path, names) in folders {
        let Some(folder) = walker.folder(path)? else { continue };
        let mut found = false;
        for candidate in folder.names().map_err(|error| io("list", path, &error))? {
            // Cheap first: almost every name fails here.
            if !candidate.to_string_lossy().contains(".tidelock-")
                || !names.iter().any(|name| is_beside(name, &candidate))
            {
                continue;
            }
            let failed = |error: std::io::Error| io("remove the leftover", &candidate.to_string_lossy(), &error);
            match folder.look(&candidate).map_err(failed)?.map(|entry| entry.kind) {
                None => continue,
                Some(EntryKind::Directory) => {
                    tree::remove(&folder, &candidate, &format!("{path}/{}", candidate.display()))?;
                }
                Some(_) => folder.remove_file(&candidate).map_err(failed)?,
            }
            found = true;
            count += 1;
        }
        if found && machine.options.fsync {
            folder.flush().map_err(|error| io("flush", path, &error))?;
        }
    }
    Ok(count)
}
