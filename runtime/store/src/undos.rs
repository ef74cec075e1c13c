//! Resources that are kept as they were before a change, and how they were declared.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use tidelock_model::hold::Undo;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::name::{Identity, Name};

use crate::column::{from_json, json};
use crate::error::Kept;
use crate::packed::unpack;

/// Every one, sorted by address.
pub(crate) fn all(connection: &Connection) -> Kept<Vec<Undo>> {
    let mut select = connection.prepare_cached("SELECT undo FROM undos")?;
    let mut rows = select.query([])?;
    let mut undos: Vec<Undo> = Vec::new();
    while let Some(row) = rows.next()? {
        undos.push(from_json("an undo", &row.get::<_, String>(0)?)?);
    }
    undos.sort_by(|a, b| a.address.cmp(&b.address));
    Ok(undos)
}

/// Keeps a resource as it was.
pub(crate) fn put(transaction: &Transaction<'_>, undo: &Undo) -> Kept<()> {
    let address = &undo.address;
    transaction
        .prepare_cached(
            "INSERT INTO undos (target, identity, source, stack, undo) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (target, identity) DO UPDATE SET source = excluded.source, stack = excluded.stack,
               undo = excluded.undo",
        )?
        .execute([
            address.target.as_str(),
            undo.identity.as_str(),
            address.source.as_str(),
            address.stack.as_str(),
            &json("an undo", undo)?,
        ])?;
    Ok(())
}

/// Lets a resource follow Git again.
pub(crate) fn end(transaction: &Transaction<'_>, target: &Name, identity: &Identity) -> Kept<bool> {
    let ended = transaction
        .prepare_cached("DELETE FROM undos WHERE target = ?1 AND identity = ?2")?
        .execute([target.as_str(), identity.as_str()])?;
    Ok(ended > 0)
}

/// The newest line that an intent wrote for an identity and no guard took back, while the intent is kept.
/// With `before`, the newest from before that run.
pub(crate) fn last_entry(
    connection: &Connection,
    target: &Name,
    identity: &Identity,
    before: Option<&str>,
) -> Kept<Option<InventoryEntry>> {
    let packed: Option<Vec<u8>> = connection
        .prepare_cached(
            "SELECT intent_changes.packed FROM intent_changes JOIN intents ON intents.id = intent_changes.intent
             WHERE intents.target = ?1 AND identity = ?2 AND outcome = 'done' AND taken_back IS NULL
               AND intent_changes.packed IS NOT NULL
               AND (?3 IS NULL OR intent < (SELECT MIN(id) FROM intents WHERE run = ?3))
             ORDER BY intent DESC, n DESC LIMIT 1",
        )?
        .query_row(params![target.as_str(), identity.as_str(), before], |row| row.get(0))
        .optional()?;
    packed.map(|packed| unpack(&format!("the last line of {identity} on {target}"), &packed)).transpose()
}
