//! Changes: what is to become of a resource, and what a provider answers.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error;
use crate::observation::covers;
use crate::spec;

/// What is to become of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make it.
    Create,
    /// Change it.
    Update,
    /// Remove it and make it anew.
    Replace,
    /// Remove it. There is no desired spec: work from `identity`, `last` and `observed`.
    Delete,
    /// Overwrite what was there before Tidelock.
    TakeOver,
    /// Do what a `notify` asks.
    Trigger,
}

/// A change to find effects for.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<S> {
    /// Given back with each effect.
    pub id: u32,
    /// `kind/name`.
    pub address: String,
    /// What it is on its target.
    pub identity: String,
    /// Its kind.
    pub kind: String,
    /// What is to become of it.
    pub action: Action,
    /// The normalised desired spec. None for a delete.
    pub desired: Option<S>,
    /// What was observed.
    pub observed: Option<Value>,
    /// What was last applied; an older version of the plugin may have written it.
    pub last: Option<Value>,
    /// The target's own id.
    pub handle: Option<String>,
    /// Fields that differ, as JSON pointers.
    pub fields: Vec<String>,
    /// Tokens that `observe` gave in this pass.
    pub seen: Vec<String>,
    /// For [`Action::Trigger`]: what is asked.
    pub trigger: Option<String>,
}

impl<S> Change<S> {
    /// The desired spec.
    ///
    /// # Errors
    /// There is none, as for a delete.
    pub fn wanted(&self) -> Result<&S, Error> {
        self.desired.as_ref().ok_or_else(|| Error::plugin(format!("{} has no desired spec", self.address)))
    }

    /// What was last applied, where it can still be read as this spec.
    #[must_use]
    pub fn last_applied(&self) -> Option<S>
    where
        S: DeserializeOwned,
    {
        self.last.clone().and_then(|last| spec::read_value(last).ok())
    }

    /// Whether a field, or a part of it, differs and is to be changed.
    #[must_use]
    pub fn differs(&self, pointer: &str) -> bool {
        self.fields.iter().any(|field| field.is_empty() || covers(pointer, field))
    }

    /// Whether the resource is to be made, so that every field counts.
    #[must_use]
    pub fn makes(&self) -> bool {
        matches!(self.action, Action::Create | Action::Replace)
    }
}

/// What came of one change.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Its effects were proposed; there may be none.
    Proposed,
    /// These fields can only change with a new resource.
    NeedsReplace(Vec<String>),
    /// Not yet known what to do.
    Waits {
        /// The identity that must be there first.
        on: String,
        /// Why, for a person.
        why: String,
    },
    /// It cannot be done.
    Refused(Error),
}
