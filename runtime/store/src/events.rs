//! The stream of events: numbered without gaps, in the order in which they were told.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};
use tidelock_model::event::{RunEvent, StoredEvent};
use tidelock_model::name::{Address, Lane};
use tidelock_model::port::Filter;

use crate::column::{self, by_run, count, from_json, json, limit, number, parse};
use crate::error::Kept;

/// Adds an event and gives its number.
pub(crate) fn add(
    transaction: &Transaction<'_>,
    at: Timestamp,
    run: Option<&str>,
    lane: Option<&Lane>,
    event: &RunEvent,
) -> Kept<u64> {
    transaction
        .prepare_cached(
            "INSERT INTO events (at, run, source, stack, target, address, event) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            at.to_string(),
            run,
            lane.map(|lane| lane.source.as_str()),
            lane.map(|lane| lane.stack.as_str()),
            lane.map(|lane| lane.target.as_str()),
            address(event).map(ToString::to_string),
            json("an event", event)?,
        ])?;
    Ok(count("an event's number", transaction.last_insert_rowid())? as u64)
}

/// Numbers the next events above those that were given out before.
pub(crate) fn number_after(transaction: &Transaction<'_>, last: i64) -> Kept<()> {
    let raised = transaction.execute("UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'events'", [last])?;
    if raised == 0 {
        transaction.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?1)", [last])?;
    }
    Ok(())
}

/// The resource that an event is about.
fn address(event: &RunEvent) -> Option<&Address> {
    match event {
        RunEvent::ChangeEnded { address, .. } | RunEvent::Mismatch { address, .. } | RunEvent::Lost { address, .. } => {
            Some(address)
        }
        _ => None,
    }
}

/// The newest events that the filter lets through, oldest first; after a number, the ones
/// that follow it.
pub(crate) fn list(connection: &Connection, filter: &Filter) -> Kept<Vec<StoredEvent>> {
    let order = if filter.after.is_some() { "ASC" } else { "DESC" };
    let mut select = connection.prepare_cached(&format!(
        "SELECT seq, at, run, source, stack, target, event FROM events
         WHERE (?1 IS NULL OR stack = ?1) AND (?2 IS NULL OR target = ?2)
           AND (?3 IS NULL OR instr(address, ?3) > 0) AND seq > ?6 AND {}
         ORDER BY seq {order} LIMIT ?5",
        by_run(filter.run.as_deref(), "run")
    ))?;
    let after = number(filter.after.unwrap_or(0));
    let mut rows =
        select.query(params![filter.stack, filter.target, filter.address, filter.run, limit(filter.limit), after])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let lane = match (row.get(3)?, row.get(4)?, row.get(5)?) {
            (Some(source), Some(stack), Some(target)) => Some(column::lane(source, stack, target)?),
            _ => None,
        };
        events.push(StoredEvent {
            seq: count("an event's number", row.get(0)?)? as u64,
            at: parse("an event's time", &row.get::<_, String>(1)?)?,
            run: row.get(2)?,
            lane,
            event: from_json("an event", &row.get::<_, String>(6)?)?,
        });
    }
    if filter.after.is_none() {
        events.reverse();
    }
    Ok(events)
}
