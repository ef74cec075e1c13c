//! Stops, suspensions and pins: what a person put in the loop's way.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};
use tidelock_model::hold::{Hold, Pin};
use tidelock_model::name::Name;

use crate::column::{count, from_json, from_word, json, maybe_time, number, parse, word};
use crate::error::Kept;

/// Holds that nobody ended, oldest first.
pub(crate) fn open(connection: &Connection) -> Kept<Vec<Hold>> {
    let mut select = connection
        .prepare_cached("SELECT id, kind, scope, who, at, until, reason FROM holds WHERE ended IS NULL ORDER BY id")?;
    let mut rows = select.query([])?;
    let mut holds = Vec::new();
    while let Some(row) = rows.next()? {
        holds.push(Hold {
            id: count("a hold's id", row.get(0)?)? as u64,
            kind: from_word("a hold's kind", row.get(1)?)?,
            scope: from_json("a hold's scope", &row.get::<_, String>(2)?)?,
            who: row.get(3)?,
            at: parse("a hold's time", &row.get::<_, String>(4)?)?,
            until: maybe_time("a hold's end", row.get(5)?)?,
            reason: row.get(6)?,
        });
    }
    Ok(holds)
}

/// Keeps a hold; its id is given here.
pub(crate) fn put(transaction: &Transaction<'_>, hold: &Hold) -> Kept<u64> {
    transaction
        .prepare_cached("INSERT INTO holds (kind, scope, who, at, until, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            word(&hold.kind)?,
            json("a hold's scope", &hold.scope)?,
            hold.who,
            hold.at.to_string(),
            hold.until.map(|until| until.to_string()),
            hold.reason,
        ])?;
    Ok(count("a hold's id", transaction.last_insert_rowid())? as u64)
}

/// Ends a hold that is open.
pub(crate) fn end(transaction: &Transaction<'_>, id: u64, at: Timestamp, who: &str) -> Kept<bool> {
    let ended = transaction
        .prepare_cached("UPDATE holds SET ended = ?2, ended_by = ?3 WHERE id = ?1 AND ended IS NULL")?
        .execute(params![number(id), at.to_string(), who])?;
    Ok(ended > 0)
}

/// Every pin, in the model's order.
pub(crate) fn pins(connection: &Connection) -> Kept<Vec<Pin>> {
    let mut select = connection.prepare_cached("SELECT pin FROM pins ORDER BY source, stack")?;
    let mut rows = select.query([])?;
    let mut pins = Vec::new();
    while let Some(row) = rows.next()? {
        pins.push(from_json("a pin", &row.get::<_, String>(0)?)?);
    }
    Ok(pins)
}

/// Pins a stack anew.
pub(crate) fn put_pin(transaction: &Transaction<'_>, pin: &Pin) -> Kept<()> {
    transaction
        .prepare_cached(
            "INSERT INTO pins (source, stack, pin) VALUES (?1, ?2, ?3)
             ON CONFLICT (source, stack) DO UPDATE SET pin = excluded.pin",
        )?
        .execute([pin.source.as_str(), pin.stack.as_str(), &json("a pin", pin)?])?;
    Ok(())
}

/// Ends a stack's pin.
pub(crate) fn drop_pin(transaction: &Transaction<'_>, source: &Name, stack: &Name) -> Kept<bool> {
    let dropped = transaction
        .prepare_cached("DELETE FROM pins WHERE source = ?1 AND stack = ?2")?
        .execute([source.as_str(), stack.as_str()])?;
    Ok(dropped > 0)
}
