//! Turns what is known of an intent into the ledger's lines and history. Only `done`
//! moves the ledger: what failed, was not begun or is not known leaves it as it was.

use jiff::Timestamp;
use rusqlite::{Transaction, params};
use tidelock_model::plan::Action;
use tidelock_model::port::Settled;
use tidelock_model::run::{Intent, IntentChange};

use crate::error::{Kept, Trouble};
use crate::{history, intents, inventory, triggers};

/// What may be known of a change.
const OUTCOMES: [&str; 4] = ["done", "failed", "unknown", "not-begun"];

/// Settles one intent.
///
/// What was settled stays so: the same word again is passed over, another one is
/// refused. Only `unknown` may become something else, once somebody has found out.
pub(crate) fn settle(transaction: &Transaction<'_>, at: Timestamp, settled: &Settled) -> Kept<()> {
    let Settled { intent, changes: outcomes } = settled;
    check(intent, outcomes)?;
    let (id, known) = match intents::find(transaction, intent)? {
        Some(put) if put.outcomes.len() == outcomes.len() => (put.id, put.outcomes),
        Some(put) => {
            return Err(Trouble::invalid(format!(
                "{} outcomes were given for the {} changes of {}",
                outcomes.len(),
                put.outcomes.len(),
                named(intent)
            )));
        }
        // Only the ledger changes (adopt, move, release): there was nothing to be durable before.
        None if intent.effects.is_empty() => (intents::put(transaction, intent)?, vec![None; outcomes.len()]),
        None => {
            return Err(Trouble::invalid(format!("{} has effects and was settled, but was never put", named(intent))));
        }
    };
    for (n, ((change, (outcome, why)), known)) in (0_i64..).zip(intent.changes.iter().zip(outcomes).zip(known)) {
        match known.as_deref() {
            Some(known) if known == outcome => continue,
            None | Some("unknown") => {}
            Some(known) => {
                return Err(Trouble::invalid(format!(
                    "{} was settled as {known} before, and now as {outcome}",
                    change.address
                )));
            }
        }
        transaction
            .prepare_cached("UPDATE intent_changes SET outcome = ?3 WHERE intent = ?1 AND n = ?2")?
            .execute(params![id, n, outcome])?;
        history::add(transaction, at, intent, change, outcome, why.as_deref())?;
        match outcome.as_str() {
            "done" => take_effect(transaction, id, change)?,
            "not-begun" => triggers::cancel(transaction, id, &change.address.resource)?,
            _ => {}
        }
    }
    transaction
        .prepare_cached("UPDATE intents SET settled = ?2 WHERE id = ?1")?
        .execute(params![id, at.to_string()])?;
    Ok(())
}

fn check(intent: &Intent, outcomes: &[(String, Option<String>)]) -> Kept<()> {
    if outcomes.len() != intent.changes.len() {
        return Err(Trouble::invalid(format!(
            "{} outcomes were given for the {} changes of {}",
            outcomes.len(),
            intent.changes.len(),
            named(intent)
        )));
    }
    match outcomes.iter().find(|(outcome, _)| !OUTCOMES.contains(&outcome.as_str())) {
        Some((outcome, _)) => Err(Trouble::invalid(format!(
            "{outcome:?} is not something that can become of a change; expected one of {}",
            OUTCOMES.join(", ")
        ))),
        None => Ok(()),
    }
}

/// Moves the ledger to where the target is.
fn take_effect(transaction: &Transaction<'_>, intent: i64, change: &IntentChange) -> Kept<()> {
    match (&change.entry, change.action) {
        (Some(entry), _) => inventory::put(transaction, entry)?,
        // Nothing becomes of the resource itself, so its line stays as it is.
        (None, Action::Trigger | Action::None | Action::Deferred) => {}
        (None, _) => {
            inventory::strike(transaction, &change.address.target, &change.identity)?;
            triggers::forget(transaction, &change.address)?;
        }
    }
    if change.action == Action::Trigger {
        triggers::done(transaction, intent, &change.address)?;
    }
    if let Some(old) = &change.moved_from {
        triggers::readdress(transaction, old, &change.address)?;
    }
    Ok(())
}

fn named(intent: &Intent) -> String {
    format!("group {} of run {}", intent.group, intent.run)
}
