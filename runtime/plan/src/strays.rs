//! Strays: what lies beneath a resource that nobody spoke for.
//!
//! A provider lists what it finds; only the host knows what other stacks own or
//! claim, so the host takes that out before anything is compared or purged.

use std::collections::BTreeSet;

use serde_json::Value;
use tidelock_model::kind::KindInfo;
use tidelock_model::name::Identity;
use tidelock_model::pointer;

use crate::input::Index;

/// Every identity that somebody speaks for, and what lies above them.
pub(crate) struct Spoken {
    identities: BTreeSet<Identity>,
    above: BTreeSet<Identity>,
    /// Whether somebody's word is missing.
    unheard: bool,
}

impl Spoken {
    pub(crate) fn new(index: &Index<'_>) -> Self {
        let desired = &index.input.desired.resources;
        let identities: BTreeSet<Identity> = desired
            .iter()
            .flat_map(|resource| std::iter::once(&resource.identity).chain(&resource.provides))
            .chain(index.input.claims.iter().map(|claim| &claim.identity))
            .chain(index.owned.keys().copied())
            .cloned()
            .collect();
        let mut above = BTreeSet::new();
        for identity in &identities {
            let mut at = parent(identity);
            while let Some(up) = at {
                at = parent(&up);
                // Whatever lies above a known one is known as well.
                if !above.insert(up) {
                    break;
                }
            }
        }
        Self { identities, above, unheard: !index.input.unheard.is_empty() }
    }

    /// Whether a stray beneath `root` may go: nobody speaks for it, for anything in
    /// it, or for a directory between it and the root.
    fn is_stray(&self, stray: &Identity, root: &Identity) -> bool {
        if self.unheard || self.identities.contains(stray) || self.above.contains(stray) || stray == root {
            return false;
        }
        let mut at = parent(stray);
        while let Some(up) = at {
            if up == *root {
                break;
            }
            if self.identities.contains(&up) {
                return false;
            }
            at = parent(&up);
        }
        true
    }
}

/// The identity of the directory that holds a path.
fn parent(identity: &Identity) -> Option<Identity> {
    let (folder, name) = identity.path()?.rsplit_once('/')?;
    (!name.is_empty()).then(|| Identity::of_path(if folder.is_empty() { "/" } else { folder }))
}

/// Takes what somebody speaks for out of the stray fields of `observed`, and returns
/// what remains.
pub(crate) fn sift(observed: &mut Value, root: &Identity, info: Option<&KindInfo>, spoken: &Spoken) -> Vec<Identity> {
    let mut beneath = Vec::new();
    for field in info.into_iter().flat_map(|info| &info.fields).filter(|field| field.roles.strays) {
        for at in pointer::matching(observed, &field.path) {
            if let Some(Value::Array(items)) = observed.pointer_mut(&at) {
                items.retain(|item| item.as_str().is_some_and(|text| spoken.is_stray(&Identity::new(text), root)));
                beneath.extend(items.iter().filter_map(Value::as_str).map(Identity::new));
            }
        }
    }
    beneath.sort_unstable();
    beneath.dedup();
    beneath
}

/// Whether any field of the kind lists strays.
pub(crate) fn listed_by(info: Option<&KindInfo>) -> bool {
    info.is_some_and(|info| info.fields.iter().any(|field| field.roles.strays))
}
