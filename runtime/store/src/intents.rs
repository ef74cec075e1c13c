//! What is about to happen, durable before it does.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tidelock_model::name::{Identity, Lane};
use tidelock_model::run::{Intent, IntentChange};

use crate::column::{from_word, parse, word};
use crate::error::{Kept, Trouble};
use crate::packed::{pack, unpack};
use crate::{inventory, triggers};

/// An intent in the file.
pub(crate) struct Put {
    /// Its number in the file; grows.
    pub(crate) id: i64,
    /// What became of each change, as far as it is known.
    pub(crate) outcomes: Vec<Option<String>>,
}

/// Writes an intent, and makes what it notifies due.
pub(crate) fn put(transaction: &Transaction<'_>, intent: &Intent) -> Kept<i64> {
    let (run, group) = (&intent.run, intent.group);
    let lane = transaction
        .prepare_cached("SELECT source, stack, target FROM runs WHERE id = ?1")?
        .query_row([run], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)))
        .optional()?
        .ok_or_else(|| Trouble::invalid(format!("an intent of run {run} was put, which never began")))?;
    if find(transaction, intent)?.is_some() {
        return Err(Trouble::invalid(format!("run {run} has an intent for group {group} already")));
    }
    transaction
        .prepare_cached(
            "INSERT INTO intents (run, grp, source, stack, target, packed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![run, group, lane.0, lane.1, lane.2, pack("effects", &intent.effects)?])?;
    let id = transaction.last_insert_rowid();
    let mut insert = transaction.prepare_cached(
        "INSERT INTO intent_changes (intent, n, address, identity, action, cause, packed, moved_from, guarded,
           before)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for (n, change) in (0_i64..).zip(&intent.changes) {
        let before = match change.guarded {
            true => inventory::line(transaction, &change.address.target, &change.identity)?,
            false => None,
        };
        insert.execute(params![
            id,
            n,
            change.address.to_string(),
            change.identity.as_str(),
            word(&change.action)?,
            word(&change.cause)?,
            change.entry.as_ref().map(|entry| pack("an inventory's line", entry)).transpose()?,
            change.moved_from.as_ref().map(ToString::to_string),
            change.guarded,
            before.as_ref().map(|line| pack("an inventory's line", line)).transpose()?,
        ])?;
    }
    triggers::make_due(transaction, id, &intent.triggers)?;
    Ok(id)
}

/// Finds an intent by its run and group.
pub(crate) fn find(connection: &Connection, intent: &Intent) -> Kept<Option<Put>> {
    let id: Option<i64> = connection
        .prepare_cached("SELECT id FROM intents WHERE run = ?1 AND grp = ?2")?
        .query_row(params![intent.run, intent.group], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Ok(None) };
    let outcomes = connection
        .prepare_cached("SELECT outcome FROM intent_changes WHERE intent = ?1 ORDER BY n")?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(Some(Put { id, outcomes }))
}

/// Intents of a lane that were never settled, oldest first.
pub(crate) fn open(connection: &Connection, lane: &Lane) -> Kept<Vec<Intent>> {
    let mut select = connection.prepare_cached(
        "SELECT id, run, grp, packed FROM intents
         WHERE source = ?1 AND stack = ?2 AND target = ?3 AND settled IS NULL ORDER BY id",
    )?;
    let mut rows = select.query(params![lane.source.as_str(), lane.stack.as_str(), lane.target.as_str()])?;
    let mut intents = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        intents.push(Intent {
            run: row.get(1)?,
            group: row.get(2)?,
            changes: changes(connection, id)?,
            effects: unpack("an intent's effects", row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?)?,
            triggers: triggers::of(connection, id)?,
        });
    }
    Ok(intents)
}

fn changes(connection: &Connection, intent: i64) -> Kept<Vec<IntentChange>> {
    let mut select = connection.prepare_cached(
        "SELECT address, identity, action, cause, packed, moved_from, guarded FROM intent_changes WHERE intent = ?1
         ORDER BY n",
    )?;
    let mut rows = select.query([intent])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        let entry: Option<Vec<u8>> = row.get(4)?;
        let moved_from: Option<String> = row.get(5)?;
        changes.push(IntentChange {
            address: parse("an intent's address", &row.get::<_, String>(0)?)?,
            identity: Identity::new(row.get::<_, String>(1)?),
            action: from_word("an intent's action", row.get(2)?)?,
            cause: from_word("an intent's cause", row.get(3)?)?,
            entry: entry.map(|packed| unpack("an intent's line of the inventory", &packed)).transpose()?,
            moved_from: moved_from.map(|text| parse("an intent's old address", &text)).transpose()?,
            guarded: row.get(6)?,
        });
    }
    Ok(changes)
}
