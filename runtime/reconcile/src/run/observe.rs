//! The third stage: looking.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidelock_model::error::{Blame, Fault};
use tidelock_model::name::Identity;
use tidelock_model::observation::{Observation, Subject};
use tidelock_model::port::Provider;

use crate::error::RunError;

/// What was seen, by identity.
pub(crate) type Snapshot = BTreeMap<Identity, Observation>;

/// Asks each provider for its subjects.
pub(crate) async fn observe(
    providers: &BTreeMap<String, Arc<dyn Provider>>,
    subjects: &[Subject],
) -> Result<Snapshot, RunError> {
    let mut by_plugin: BTreeMap<&str, Vec<Subject>> = BTreeMap::new();
    for subject in subjects {
        by_plugin.entry(subject.kind.plugin()).or_default().push(subject.clone());
    }
    let mut snapshot = Snapshot::new();
    for (name, subjects) in by_plugin {
        let Some(provider) = providers.get(name) else {
            let fault = Fault::new("not-found", Blame::Target, format!("no plugin {name} is installed"));
            snapshot.extend(subjects.into_iter().map(|s| (s.identity, Observation::Failed { fault: fault.clone() })));
            continue;
        };
        let seen = provider.observe(&subjects).await?;
        snapshot.extend(subjects.into_iter().map(|subject| subject.identity).zip(seen));
    }
    Ok(snapshot)
}
