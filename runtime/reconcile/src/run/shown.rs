//! What a stack said of itself before, so that no commit loosens its own gate: a policy that
//! was shown by a plan counts on, beside the new one, while the commit that changed it is the newest.

use serde::{Deserialize, Serialize};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::name::Lane;
use tidelock_model::stack::StackPolicy;

use crate::error::RunError;
use crate::runtime::Runtime;

/// What the store keeps for a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Shown {
    /// What was shown last.
    now: StackPolicy,
    /// What was shown before that, and the revision that changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<(String, StackPolicy)>,
}

/// What counts beside the policy of a lane at a revision. One that is in force is remembered
/// as shown.
///
/// # Errors
/// The store cannot be read or written.
pub(super) fn before(
    runtime: &Runtime,
    lane: &Lane,
    revision: &str,
    own: StackPolicy,
    in_force: bool,
) -> Result<Option<StackPolicy>, RunError> {
    let foreign = |error: serde_json::Error| {
        Fault::new("corrupt", Blame::Host, format!("the policies that were shown of {lane} cannot be read: {error}"))
    };
    let known: Option<Shown> =
        runtime.store.shown_policy(lane)?.map(serde_json::from_value).transpose().map_err(foreign)?;
    let (counts, shown) = match known {
        None => (None, Some(Shown { now: own, before: None })),
        Some(known) if known.now == own => {
            (known.before.filter(|(at, _)| at == revision).map(|(_, before)| before), None)
        }
        Some(known) => {
            // Changed twice within one revision: by a pin, say. What counted before counts on.
            let before = known.before.filter(|(at, _)| at == revision).map_or(known.now, |(_, before)| before);
            (Some(before), Some(Shown { now: own, before: Some((revision.to_owned(), before)) }))
        }
    };
    if let Some(shown) = shown.filter(|_| in_force) {
        runtime.store.put_shown_policy(lane, &serde_json::to_value(shown).map_err(foreign)?)?;
    }
    Ok(counts)
}
