//! What a guard took back: the ledger goes back with the target.
//!
//! Nothing is repeated: each change is taken back once, whoever learns of it first, and a line that
//! somebody wrote since is theirs. So no lease is needed for it.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::name::Identity;
use tidelock_model::run::{HistoryLine, Intent, IntentChange, Run, RunEnd};

use crate::column::{from_word, parse, word};
use crate::error::Kept;
use crate::packed::unpack;
use crate::{history, inventory, triggers};

/// A change that was done and is guarded.
pub(crate) struct Guarded {
    intent: i64,
    n: i64,
    change: IntentChange,
    before: Option<InventoryEntry>,
}

/// Puts the ledger back to where it was before what a run did under a guard, and says how many changes
/// that were. What they asked of others is due again: it was done for what is not there any more. What the
/// run made and is `left` is there still, or may be where nobody knows what is: it stays ours.
pub(crate) fn take_back(
    transaction: &Transaction<'_>,
    at: Timestamp,
    run: &str,
    left: Option<&[Identity]>,
    why: &str,
) -> Kept<usize> {
    let all = open(transaction, run, left)?;
    let intent = Intent { run: run.to_owned(), group: 0, changes: vec![], effects: vec![], triggers: vec![] };
    for Guarded { intent: id, change, .. } in &all {
        triggers::due_again(transaction, *id, &change.address.resource)?;
    }
    for Guarded { intent: id, n, change, before } in &all {
        transaction
            .prepare_cached("UPDATE intent_changes SET taken_back = ?3 WHERE intent = ?1 AND n = ?2")?
            .execute(params![id, n, at.to_string()])?;
        let target = &change.address.target;
        let now = inventory::line(transaction, target, &change.identity)?;
        let as_it_left = match &change.entry {
            Some(_) => now.is_some_and(|line| line.run == run),
            None => now.is_none(),
        };
        match before {
            _ if !as_it_left => {}
            Some(before) => inventory::put(transaction, before)?,
            None => {
                inventory::strike(transaction, target, &change.identity)?;
                triggers::forget(transaction, &change.address)?;
            }
        }
        history::add(transaction, at, &intent, change, HistoryLine::TAKEN_BACK, Some(why))?;
    }
    if !all.is_empty() {
        transaction
            .prepare_cached("UPDATE runs SET outcome = ?2, fault = ?3 WHERE id = ?1 AND outcome = ?4")?
            .execute(params![run, word(&RunEnd::Partly)?, Run::taken_back(why), word(&RunEnd::Done)?])?;
    }
    Ok(all.len())
}

/// What a run did under its guard and is not known to be taken back, the last first.
pub(crate) fn open(connection: &Connection, run: &str, left: Option<&[Identity]>) -> Kept<Vec<Guarded>> {
    let mut select = connection.prepare_cached(
        "SELECT intent, n, address, identity, action, cause, intent_changes.packed, moved_from, before
         FROM intent_changes JOIN intents ON intents.id = intent_changes.intent
         WHERE run = ?1 AND guarded AND outcome = 'done' AND taken_back IS NULL
         ORDER BY intent DESC, n DESC",
    )?;
    let mut rows = select.query(params![run])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let line = |column: usize| -> Kept<Option<InventoryEntry>> {
            let packed: Option<Vec<u8>> = row.get(column)?;
            packed.map(|packed| unpack("an intent's line of the inventory", &packed)).transpose()
        };
        let moved_from: Option<String> = row.get(7)?;
        let change = IntentChange {
            address: parse("an intent's address", &row.get::<_, String>(2)?)?,
            identity: Identity::new(row.get::<_, String>(3)?),
            action: from_word("an intent's action", row.get(4)?)?,
            cause: from_word("an intent's cause", row.get(5)?)?,
            entry: line(6)?,
            moved_from: moved_from.map(|text| parse("an intent's old address", &text)).transpose()?,
            guarded: true,
        };
        let before = line(8)?;
        if before.is_some() || left.is_some_and(|left| !left.contains(&change.identity)) {
            all.push(Guarded { intent: row.get(0)?, n: row.get(1)?, change, before });
        }
    }
    Ok(all)
}
