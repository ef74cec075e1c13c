//! One resource on its way through the planner, before it is a change.
//!
//! Holds what a provider must be asked and what the ledger will say. Everything here
//! is owned: a draft outlives the input that it was made from.

use serde_json::Value;
use tidelock_model::effect::Effect;
use tidelock_model::error::Place;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::name::{Address, Identity};
use tidelock_model::plan::{Action, Cause, FieldChange};
use tidelock_model::port::StepRequest;
use tidelock_model::resource::Notify;

/// Where the question to the provider stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing is performed, so nothing is asked.
    No,
    /// To be asked.
    Wants,
    /// Answered.
    Answered,
}

/// What brings an item into the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Git wants it.
    Wanted,
    /// The ledger has it and Git does not.
    Left,
    /// Something notifies it.
    Notified,
}

/// One resource, or one trigger.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) address: Address,
    pub(crate) identity: Identity,
    pub(crate) origin: Origin,
    pub(crate) action: Action,
    /// What the provider is asked to do. Differs from `action` where a take-over can
    /// only be done by a replace.
    pub(crate) ask: Action,
    pub(crate) asked: Asked,
    pub(crate) cause: Option<Cause>,
    pub(crate) reason: Option<String>,
    /// What has to be there first, where it is put off for that alone.
    pub(crate) awaits: Option<Identity>,
    pub(crate) moved_from: Option<Address>,
    pub(crate) desired: Option<Value>,
    pub(crate) observed: Option<Value>,
    pub(crate) last: Option<Value>,
    pub(crate) handle: Option<String>,
    pub(crate) seen: Vec<String>,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
    pub(crate) fields: Vec<FieldChange>,
    pub(crate) unknown: Vec<String>,
    pub(crate) sensitive: Vec<String>,
    pub(crate) beneath: Vec<Identity>,
    pub(crate) trigger: Option<String>,
    pub(crate) place: Option<Place>,
    /// The ledger's line once the change is done; `None` where the line goes.
    pub(crate) entry: Option<InventoryEntry>,
    pub(crate) notify: Vec<Notify>,
    /// Whether a replace is refused.
    pub(crate) protected: bool,
    pub(crate) effects: Vec<Effect>,
}

impl Item {
    pub(crate) fn new(origin: Origin, address: Address, identity: Identity, action: Action) -> Self {
        Self {
            address,
            identity,
            origin,
            action,
            ask: action,
            asked: Asked::No,
            cause: None,
            reason: None,
            awaits: None,
            moved_from: None,
            desired: None,
            observed: None,
            last: None,
            handle: None,
            seen: Vec::new(),
            before: None,
            after: None,
            fields: Vec::new(),
            unknown: Vec::new(),
            sensitive: Vec::new(),
            beneath: Vec::new(),
            trigger: None,
            place: None,
            entry: None,
            notify: Vec::new(),
            protected: false,
            effects: Vec::new(),
        }
    }

    /// Sets what is planned, and that the provider is to be asked for effects.
    pub(crate) fn ask_for(&mut self, action: Action) {
        self.action = action;
        self.ask = action;
        self.asked = Asked::Wants;
    }

    /// Puts it off: nothing is performed and the ledger stays as it is.
    pub(crate) fn defer(&mut self, reason: String) {
        self.action = Action::Deferred;
        self.asked = Asked::No;
        self.reason = Some(reason);
        self.awaits = None;
        self.effects.clear();
    }

    /// Puts it off until something else is there.
    pub(crate) fn await_for(&mut self, on: &Identity, why: &str) {
        self.defer(format!("waits for {on}: {why}"));
        self.awaits = Some(on.clone());
    }

    /// Whether something will be performed for it, as far as is known now.
    pub(crate) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    pub(crate) fn request(&self) -> StepRequest {
        StepRequest {
            address: self.address.clone(),
            identity: self.identity.clone(),
            kind: self.address.resource.kind.clone(),
            action: self.ask,
            desired: self.desired.clone(),
            observed: self.observed.clone(),
            last: self.last.clone(),
            handle: self.handle.clone(),
            fields: self.fields.iter().map(|field| field.path.clone()).collect(),
            seen: self.seen.clone(),
            trigger: self.trigger.clone(),
            beneath: self.beneath.clone(),
        }
    }
}
