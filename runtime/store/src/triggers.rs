//! What changes ask of other resources: due from the intent that asks until it is
//! done, or until it is known that the change which asked never began.
//!
//! Each intent that asks has a row of its own. So one that takes its word back
//! cannot take back another's, and a trigger that is done clears what was asked up to
//! then, not what was asked since.

use rusqlite::{Connection, Transaction, params};
use tidelock_model::name::{Address, Lane, ResourceRef};
use tidelock_model::run::Trigger;

use crate::column::parse;
use crate::error::Kept;

/// Makes the triggers of an intent due.
pub(crate) fn make_due(transaction: &Transaction<'_>, intent: i64, triggers: &[Trigger]) -> Kept<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO triggers (intent, n, source, stack, target, to_address, ask, from_resource, fate)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'due')",
    )?;
    for (n, trigger) in (0_i64..).zip(triggers) {
        insert.execute(params![
            intent,
            n,
            trigger.to.source.as_str(),
            trigger.to.stack.as_str(),
            trigger.to.target.as_str(),
            trigger.to.to_string(),
            trigger.ask,
            trigger.from.to_string(),
        ])?;
    }
    Ok(())
}

/// What an intent asks, whatever came of it.
pub(crate) fn of(connection: &Connection, intent: i64) -> Kept<Vec<Trigger>> {
    read(
        connection,
        "SELECT to_address, ask, from_resource FROM triggers WHERE intent = ?1 ORDER BY n",
        params![intent],
    )
}

/// What is due in a lane, sorted, once each.
pub(crate) fn due(connection: &Connection, lane: &Lane) -> Kept<Vec<Trigger>> {
    let mut due = read(
        connection,
        "SELECT DISTINCT to_address, ask, from_resource FROM triggers
         WHERE source = ?1 AND stack = ?2 AND target = ?3 AND fate = 'due'",
        params![lane.source.as_str(), lane.stack.as_str(), lane.target.as_str()],
    )?;
    // In the model's order, which is not that of the texts.
    due.sort_unstable();
    Ok(due)
}

/// Cancels what a change of an intent asked.
pub(crate) fn cancel(transaction: &Transaction<'_>, intent: i64, from: &ResourceRef) -> Kept<()> {
    transaction
        .prepare_cached(
            "UPDATE triggers SET fate = 'cancelled' WHERE intent = ?1 AND from_resource = ?2 AND fate = 'due'",
        )?
        .execute(params![intent, from.to_string()])?;
    Ok(())
}

/// Clears what was asked of a resource, up to the intent that did it.
pub(crate) fn done(transaction: &Transaction<'_>, intent: i64, to: &Address) -> Kept<()> {
    transaction
        .prepare_cached(
            "UPDATE triggers SET fate = 'done'
             WHERE source = ?1 AND stack = ?2 AND target = ?3 AND to_address = ?4 AND fate = 'due' AND intent <= ?5",
        )?
        .execute(params![to.source.as_str(), to.stack.as_str(), to.target.as_str(), to.to_string(), intent])?;
    Ok(())
}

/// Makes due again what a change of an intent asked, and what was done since.
pub(crate) fn due_again(transaction: &Transaction<'_>, intent: i64, from: &ResourceRef) -> Kept<()> {
    transaction
        .prepare_cached("UPDATE triggers SET fate = 'due' WHERE intent = ?1 AND from_resource = ?2 AND fate = 'done'")?
        .execute(params![intent, from.to_string()])?;
    Ok(())
}

/// Drops what is asked of a resource that is no longer ours: nobody will do it.
pub(crate) fn forget(transaction: &Transaction<'_>, to: &Address) -> Kept<()> {
    transaction
        .prepare_cached(
            "UPDATE triggers SET fate = 'cancelled'
             WHERE source = ?1 AND stack = ?2 AND target = ?3 AND to_address = ?4 AND fate = 'due'",
        )?
        .execute(params![to.source.as_str(), to.stack.as_str(), to.target.as_str(), to.to_string()])?;
    Ok(())
}

/// Lets what is asked of a resource follow it to its new address.
pub(crate) fn readdress(transaction: &Transaction<'_>, from: &Address, to: &Address) -> Kept<()> {
    transaction
        .prepare_cached(
            "UPDATE triggers SET source = ?5, stack = ?6, target = ?7, to_address = ?8
             WHERE source = ?1 AND stack = ?2 AND target = ?3 AND to_address = ?4 AND fate = 'due'",
        )?
        .execute(params![
            from.source.as_str(),
            from.stack.as_str(),
            from.target.as_str(),
            from.to_string(),
            to.source.as_str(),
            to.stack.as_str(),
            to.target.as_str(),
            to.to_string(),
        ])?;
    Ok(())
}

fn read(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> Kept<Vec<Trigger>> {
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(values)?;
    let mut triggers = Vec::new();
    while let Some(row) = rows.next()? {
        triggers.push(Trigger {
            to: parse("a trigger's receiver", &row.get::<_, String>(0)?)?,
            ask: row.get(1)?,
            from: parse("a trigger's sender", &row.get::<_, String>(2)?)?,
        });
    }
    Ok(triggers)
}
