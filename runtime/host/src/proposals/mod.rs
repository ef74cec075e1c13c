//! What a plugin proposes during one `steps`, held against the changes that it was
//! asked about. An effect belongs to a change when its object is the change's own
//! identity (or one beneath it that the host let through) and what it writes or runs
//! stands in the spec that a person can review. What is at a path is believed of the
//! target alone: an effect that shows no look rests on one that the host takes itself.
//! The rest is for that person.

mod fit;

use std::future::Future;

use tidelock_model::effect::{AfterCrash, Effect, EffectBody, PathState, Precondition};
use tidelock_model::error::Fault;
use tidelock_model::grant::{Grant, ungranted};
use tidelock_model::name::Identity;
use tidelock_model::port::{StepAnswer, StepRequest};

use crate::door;
use crate::json;
use crate::seen::SeenTable;

/// Effects of one change. Purging a directory is one effect for each stray.
const MAX_EFFECTS: usize = 100_000;

/// An effect as a guest offered it.
pub(crate) struct Offer {
    pub(crate) change: u32,
    pub(crate) body: EffectBody,
    /// Tokens of looks: at most one of a path, any number of answers of a server.
    pub(crate) preconditions: Vec<String>,
    pub(crate) together: Option<String>,
    pub(crate) after_crash: AfterCrash,
}

/// What the host sees at a path.
#[derive(Debug)]
pub(crate) struct There {
    pub(crate) state: PathState,
    /// What a directory holds, in byte order.
    pub(crate) names: Vec<String>,
}

/// Why an offer is not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The operator did not grant it.
    Denied(Fault),
    /// What is at its path could not be looked at.
    Unseen(Fault),
    /// It breaks the contract: what the plugin did, after "it ".
    Broken(String),
}

/// The changes of one `steps` and the effects that were proposed for each.
pub(crate) struct Proposals {
    changes: Vec<Slot>,
}

struct Slot {
    request: StepRequest,
    effects: Vec<Effect>,
    refused: Option<Fault>,
}

/// What the guest answered for one change, in the model's words.
pub(crate) enum Said {
    Proposed,
    NeedsReplace(Vec<String>),
    Waits { on: Identity, why: String },
    Refused(Fault),
}

impl Proposals {
    pub(crate) fn new(requests: Vec<StepRequest>) -> Self {
        let changes = requests.into_iter().map(|request| Slot { request, effects: vec![], refused: None }).collect();
        Self { changes }
    }

    /// Takes an offer, or says why not. `look` sees what is at a path of the target, and
    /// what a directory there holds; it is asked after the grant said yes, and only where
    /// the guest shows no look, or one that leaves out what the effect would take away.
    pub(crate) async fn take<L: Future<Output = Result<There, Fault>>>(
        &mut self,
        offer: Offer,
        grant: Option<&Grant>,
        seen: &SeenTable,
        plugin: &str,
        target: &str,
        look: impl FnOnce(String) -> L,
    ) -> Result<(), Refusal> {
        let Offer { change, body, preconditions, together, after_crash } = offer;
        let Some(slot) = self.changes.get_mut(change as usize) else {
            return Err(Refusal::Broken(format!(
                "proposed `{}` for change {change}, which does not exist",
                body.summary()
            )));
        };
        let broken = |slot: &Slot, rule: &str| {
            Refusal::Broken(format!(
                "proposed `{}` for {}, whose identity is {}: {rule}",
                body.summary(),
                slot.request.address.resource,
                slot.request.identity
            ))
        };
        if slot.effects.len() >= MAX_EFFECTS {
            return Err(broken(slot, "these are more effects than one change may have"));
        }
        fit::fits(&body, &slot.request).map_err(|rule| broken(slot, &rule))?;
        let precondition = fit::relies_on(&body, &preconditions, seen).map_err(|rule| broken(slot, &rule))?;
        let together = together.map(|key| json::key("group key", key)).transpose();
        let together = together.map_err(|what| broken(slot, &format!("it has {what}")))?;
        let granted = match grant {
            Some(grant) => grant.decide_effect(&body),
            None => Err(ungranted(plugin, target, |nothing| nothing.decide_effect(&body))),
        };
        if let Err(fault) = granted.map_err(door::tamed) {
            slot.refused.get_or_insert_with(|| fault.clone());
            return Err(Refusal::Denied(fault));
        }
        if let Some(fault) = precondition.as_ref().and_then(|before| fit::not_ours(&body, before)) {
            slot.refused.get_or_insert_with(|| fault.clone());
            return Err(Refusal::Denied(fault));
        }
        let enough = precondition.as_ref().is_some_and(|shown| fit::shows_all(&body, shown));
        let (precondition, inside) = match body.path() {
            Some(path) if !enough => match look(path.to_owned()).await.map_err(door::tamed) {
                Ok(there) => (Some(Precondition::Path { path: path.to_owned(), state: there.state }), there.names),
                // Too large to be read, and to be taken away none the less.
                Err(fault) if fault.code == "limit" && precondition.is_some() && fit::is_removal(&body) => {
                    (precondition, vec![])
                }
                Err(fault) => {
                    slot.refused.get_or_insert_with(|| fault.clone());
                    return Err(Refusal::Unseen(fault));
                }
            },
            _ => (precondition, vec![]),
        };
        let inside = if matches!(body, EffectBody::Remove { tree: false, .. }) { inside } else { vec![] };
        if precondition.as_ref().is_some_and(|before| fit::denies(&slot.request, before)) {
            return Err(broken(slot, "it says that nothing is there, and there is"));
        }
        // A link that the change removed before is another one, and is no more once that is taken back.
        let undone = || precondition.as_ref().and_then(|before| body.inverse(before));
        let inverse = fit::made_anew(&body, &slot.effects).or_else(undone).map(Box::new);
        slot.effects.push(Effect {
            resource: slot.request.address.resource.clone(),
            identity: slot.request.identity.clone(),
            plugin: plugin.to_owned(),
            body,
            precondition,
            after_crash,
            together,
            inverse,
            inside,
        });
        Ok(())
    }

    /// Joins what was proposed with what was said, in the order of the question. A
    /// refused effect refuses its change, whatever the guest made of the refusal.
    pub(crate) fn settle(self, said: Vec<Said>) -> Result<Vec<StepAnswer>, String> {
        let mut answers = Vec::with_capacity(said.len());
        for (slot, said) in self.changes.into_iter().zip(said) {
            let resource = &slot.request.address.resource;
            answers.push(match (slot.refused, said) {
                (Some(fault), _) => StepAnswer::Refused(fault),
                (None, Said::Proposed) => StepAnswer::Effects(slot.effects),
                (None, _) if !slot.effects.is_empty() => {
                    return Err(format!("proposed effects for {resource}, and then said that there are none"));
                }
                (None, Said::NeedsReplace(fields)) => StepAnswer::NeedsReplace(fields),
                (None, Said::Waits { on, why }) => StepAnswer::Waits { on, why },
                (None, Said::Refused(fault)) => StepAnswer::Refused(fault),
            });
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests;
