//! The ledger of what we own: one line for each identity on each target.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::name::{Identity, Lane, Name};

use crate::column::{from_json, json};
use crate::error::{Kept, Trouble};

/// What we own on a target, sorted by identity.
pub(crate) fn on(connection: &Connection, target: &Name) -> Kept<Vec<InventoryEntry>> {
    let mut select =
        connection.prepare_cached("SELECT identity, entry FROM inventory WHERE target = ?1 ORDER BY identity")?;
    let mut rows = select.query([target.as_str()])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let text = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        entries.push(serde_json::from_str(text).map_err(|error| {
            let identity: String = row.get(0).unwrap_or_default();
            Trouble::row(format!("the inventory's line of {identity} on {target}"), &error)
        })?);
    }
    Ok(entries)
}

/// The identities that a lane owns, sorted.
pub(crate) fn identities(connection: &Connection, lane: &Lane) -> Kept<Vec<Identity>> {
    let mut select = connection.prepare_cached(
        "SELECT identity FROM inventory WHERE target = ?1 AND source = ?2 AND stack = ?3 ORDER BY identity",
    )?;
    let key = [lane.target.as_str(), lane.source.as_str(), lane.stack.as_str()];
    let rows = select.query_map(key, |row| row.get::<_, String>(0))?;
    rows.map(|text| Ok(Identity::new(text?))).collect()
}

/// The paths of files that resources of a lane put as texts of their own, sorted: such a text is a
/// field of the spec, called as its path.
pub(crate) fn texts(connection: &Connection, lane: &Lane) -> Kept<Vec<String>> {
    let mut select = connection.prepare_cached(
        "SELECT DISTINCT part.key FROM inventory, json_tree(entry, '$.applied') AS part
         WHERE target = ?1 AND source = ?2 AND stack = ?3 AND identity NOT LIKE 'path:%' AND entry LIKE '%{\"/%'
         AND part.type = 'text' AND part.key LIKE '/%' ORDER BY part.key",
    )?;
    let rows = select.query_map([lane.target.as_str(), lane.source.as_str(), lane.stack.as_str()], |row| row.get(0))?;
    rows.map(|path| Ok(path?)).collect()
}

/// One line.
pub(crate) fn line(connection: &Connection, target: &Name, identity: &Identity) -> Kept<Option<InventoryEntry>> {
    let text: Option<String> = connection
        .prepare_cached("SELECT entry FROM inventory WHERE target = ?1 AND identity = ?2")?
        .query_row([target.as_str(), identity.as_str()], |row| row.get(0))
        .optional()?;
    text.map(|text| from_json(&format!("the inventory's line of {identity} on {target}"), &text)).transpose()
}

/// Writes a line; the identity's old one, whoever's it was, gives way.
pub(crate) fn put(transaction: &Transaction<'_>, entry: &InventoryEntry) -> Kept<()> {
    let address = &entry.address;
    transaction
        .prepare_cached(
            "INSERT INTO inventory (target, identity, source, stack, resource, entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (target, identity) DO UPDATE SET source = excluded.source, stack = excluded.stack,
               resource = excluded.resource, entry = excluded.entry",
        )?
        .execute(params![
            address.target.as_str(),
            entry.identity.as_str(),
            address.source.as_str(),
            address.stack.as_str(),
            address.resource.to_string(),
            json("an inventory's line", entry)?,
        ])?;
    Ok(())
}

/// Strikes a line out.
pub(crate) fn strike(transaction: &Transaction<'_>, target: &Name, identity: &Identity) -> Kept<()> {
    transaction
        .prepare_cached("DELETE FROM inventory WHERE target = ?1 AND identity = ?2")?
        .execute([target.as_str(), identity.as_str()])?;
    Ok(())
}
