//! Directories that a plan writes into, that are not there, and that nothing of it makes: an apply would
//! fail there, and whoever reads the plan can know.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::effect::{Effect, EffectBody};
use tidelock_model::error::{Diagnostic, Severity};
use tidelock_model::name::{Lane, Name};
use tidelock_model::plan::Plan;

use crate::error::RunError;
use crate::runtime::Runtime;

/// Warns of them, each at the resource that is to be there.
pub(super) async fn told(runtime: &Runtime, plan: &mut Plan) -> Result<(), RunError> {
    let mut on: BTreeMap<&Name, Vec<(&Lane, &Effect)>> = BTreeMap::new();
    for group in &plan.groups {
        let effects = group.effects.iter().map(|planned| (&group.lane, &planned.effect));
        on.entry(&group.lane.target).or_default().extend(effects);
    }
    let mut warnings = Vec::new();
    for (name, all) in on {
        let effects: Vec<Effect> = all.iter().map(|(_, effect)| (*effect).clone()).collect();
        let missing = runtime.targets.target(name)?.without_folder(&effects).await?;
        let made: BTreeSet<&str> = effects.iter().flat_map(|effect| makes(&effect.body)).collect();
        for (at, folder) in missing.into_iter().filter(|(_, folder)| !made.contains(folder.as_str())) {
            let Some((lane, effect)) = all.get(at) else { continue };
            let change = plan.changes_of(lane).find(|change| change.address.resource == effect.resource);
            let message =
                format!("{}: the directory {folder} is not there, and nothing of this plan makes it", effect.resource);
            let warning = Diagnostic::error(message, change.and_then(|change| change.place.clone()));
            let warning = warning.hint("declare the directory, or let the parents be made (`parents: true`)");
            warnings.push(Diagnostic { severity: Severity::Warning, ..warning });
        }
    }
    plan.warnings.extend(warnings);
    Ok(())
}

/// The directories that an effect makes.
fn makes(body: &EffectBody) -> Vec<&str> {
    let (path, own, above) = match body {
        EffectBody::MakeDirectory { path, parents, .. } => (path, true, *parents),
        EffectBody::PutFile { path, parents, .. } => (path, false, *parents),
        _ => return vec![],
    };
    let mut made: Vec<&str> = if own { vec![path.as_str()] } else { vec![] };
    if above {
        made.extend(path.match_indices('/').map(|(at, _)| &path[..at]).filter(|path| !path.is_empty()));
    }
    made
}
