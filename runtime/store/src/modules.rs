//! What the tags and commits stood for that stacks take their modules from. A row stays when
//! no stack names it any more: a tag that moved meanwhile is noticed when one does again.

use rusqlite::{Connection, Transaction, params};
use tidelock_model::name::Name;
use tidelock_model::port::KnownModule;

use crate::column::{from_json, json};
use crate::error::Kept;

/// Those of a source, sorted; with `used` only those that a stack names now.
pub(crate) fn all(connection: &Connection, source: &Name, used: bool) -> Kept<Vec<KnownModule>> {
    let mut select = connection
        .prepare_cached("SELECT rev, revision, moved FROM modules WHERE source = ?1 AND used >= ?2 ORDER BY rev")?;
    let mut rows = select.query(params![source.as_str(), used])?;
    let mut modules = Vec::new();
    while let Some(row) = rows.next()? {
        let revision = from_json("a module's revision", &row.get::<_, String>(1)?)?;
        modules.push(KnownModule { rev: row.get(0)?, revision, moved: row.get(2)? });
    }
    Ok(modules)
}

/// Keeps what one stands for, and that a stack names it.
pub(crate) fn put(transaction: &Transaction<'_>, source: &Name, module: &KnownModule) -> Kept<()> {
    transaction
        .prepare_cached(
            "INSERT INTO modules (source, rev, revision, moved, used) VALUES (?1, ?2, ?3, ?4, 1)
             ON CONFLICT (source, rev) DO UPDATE SET revision = excluded.revision, moved = excluded.moved, used = 1",
        )?
        .execute(params![source.as_str(), module.rev, json("a module's revision", &module.revision)?, module.moved,])?;
    Ok(())
}

/// Notes which of them stacks name now.
pub(crate) fn mark_used(transaction: &Transaction<'_>, source: &Name, revs: &[String]) -> Kept<()> {
    transaction
        .prepare_cached(
            "UPDATE modules SET used = rev IN (SELECT value FROM json_each(?2))
             WHERE source = ?1 AND used <> (rev IN (SELECT value FROM json_each(?2)))",
        )?
        .execute(params![source.as_str(), json("names of revisions", &revs)?])?;
    Ok(())
}
