//! Targets that are one system by two names. What a stack claims by one of them it claims by the other, too:
//! else each would undo what the other does. A fingerprint alone does not tell, since a standby and a copy
//! have their original's; and no target is asked as long as nothing is claimed by both.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::config::TargetKind;
use tidelock_model::desired::DesiredResource;
use tidelock_model::inventory::Claim;
use tidelock_model::name::{Identity, Name};

use super::render::RenderedLane;
use crate::error::RunError;
use crate::runtime::Runtime;

/// Claims by target.
type Claims = BTreeMap<Name, Vec<Claim>>;

/// Adds to the claims of the targets of these lanes what is claimed on others that are the same system. Stacks
/// that could not be heard there count as unheard here.
pub(super) async fn put(
    runtime: &Runtime,
    rendered: &[RenderedLane],
    claims: &mut Claims,
    unheard: &mut BTreeMap<Name, Vec<String>>,
) -> Result<(), RunError> {
    let targets: BTreeSet<&Name> = rendered.iter().map(|lane| &lane.desired.lane.target).collect();
    let mut asked = Asked::default();
    let (mut more, mut silent) = (Claims::new(), BTreeMap::new());
    for target in targets {
        let known = runtime.store.fingerprint(target)?;
        for other in alike(runtime, target) {
            // What is known of both tells most apart, and costs next to nothing where there are hundreds.
            if known.is_some() && runtime.store.fingerprint(other)?.is_some_and(|other| Some(other) != known) {
                continue;
            }
            let theirs = match claims.get(other) {
                Some(theirs) => theirs.clone(),
                None => runtime.store.claims(other)?,
            };
            if !meet(runtime, target, rendered, &theirs)? || !asked.same(runtime, target, other).await {
                continue;
            }
            more.entry(target.clone()).or_default().extend(theirs);
            if let Some(theirs) = unheard.get(other) {
                silent.entry(target.clone()).or_insert_with(Vec::new).extend(theirs.iter().cloned());
            }
        }
    }
    for (target, theirs) in more {
        claims.entry(target).or_default().extend(theirs);
    }
    for (target, theirs) in silent {
        unheard.entry(target).or_default().extend(theirs);
    }
    Ok(())
}

/// The other database servers of the config that are of the same type.
fn alike<'r>(runtime: &'r Runtime, target: &Name) -> impl Iterator<Item = &'r Name> {
    let kind = runtime.config.targets.get(target).map(|decl| decl.kind);
    let kind = kind.filter(|kind| matches!(kind, TargetKind::Postgres | TargetKind::Mysql | TargetKind::Sqlite));
    let target = target.clone();
    let others = runtime.config.targets.iter().filter(move |(name, decl)| **name != target && Some(decl.kind) == kind);
    others.map(|(name, _)| name)
}

/// Whether anything is claimed there that is wanted or owned here.
fn meet(runtime: &Runtime, target: &Name, rendered: &[RenderedLane], theirs: &[Claim]) -> Result<bool, RunError> {
    if theirs.is_empty() {
        return Ok(false);
    }
    let theirs: BTreeSet<&Identity> = theirs.iter().map(|claim| &claim.identity).collect();
    let here = rendered.iter().filter(|lane| lane.desired.lane.target == *target);
    let mut wanted = here.flat_map(|lane| &lane.desired.resources);
    let meets = |resource: &DesiredResource| {
        theirs.contains(&resource.identity) || resource.parts.iter().any(|part| theirs.contains(part))
    };
    Ok(wanted.any(meets) || runtime.store.inventory(target)?.iter().any(|entry| theirs.contains(&entry.identity)))
}

/// Who targets are, each asked once; `None` where it does not answer, which its own lanes tell.
#[derive(Default)]
struct Asked {
    running: BTreeMap<Name, Option<String>>,
}

impl Asked {
    async fn same(&mut self, runtime: &Runtime, one: &Name, other: &Name) -> bool {
        for name in [one, other] {
            if !self.running.contains_key(name) {
                let target = runtime.targets.target(name);
                let said = match target {
                    Ok(target) => target.running().await.ok().flatten(),
                    Err(_) => None,
                };
                self.running.insert(name.clone(), said);
            }
        }
        let (one, other) = (&self.running[one], &self.running[other]);
        one.is_some() && one == other
    }
}
