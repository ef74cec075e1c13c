//! What is known of sources: the revision in force, whether it can be asked, and what is wrong.
//!
//! As with lanes, a write that would change nothing touches no page.

use rusqlite::{Connection, OptionalExtension, Transaction};
use tidelock_model::name::Name;
use tidelock_model::revision::{Revision, Stale, Trouble};

use crate::column::{from_json, json, parse};
use crate::error::Kept;

/// The revision in force.
pub(crate) fn revision(connection: &Connection, source: &Name) -> Kept<Option<Revision>> {
    let mut select = connection.prepare_cached("SELECT revision FROM revisions WHERE source = ?1")?;
    let text: Option<String> = select.query_row([source.as_str()], |row| row.get(0)).optional()?;
    text.map(|text| from_json("a source's revision", &text)).transpose()
}

/// Keeps the revision in force.
pub(crate) fn put_revision(transaction: &Transaction<'_>, revision: &Revision) -> Kept<()> {
    transaction
        .prepare_cached(
            "INSERT INTO revisions (source, revision) VALUES (?1, ?2)
             ON CONFLICT (source) DO UPDATE SET revision = excluded.revision WHERE revision != excluded.revision",
        )?
        .execute([revision.source.as_str(), &json("a revision", revision)?])?;
    Ok(())
}

/// Since when a source cannot be asked.
pub(crate) fn stale(connection: &Connection, source: &Name) -> Kept<Option<Stale>> {
    let mut select = connection.prepare_cached("SELECT since, why FROM stale WHERE source = ?1")?;
    let row: Option<(String, String)> =
        select.query_row([source.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    row.map(|(since, why)| Ok(Stale { since: parse("a source's time", &since)?, why })).transpose()
}

/// Keeps since when a source cannot be asked.
pub(crate) fn put_stale(transaction: &Transaction<'_>, source: &Name, stale: Option<&Stale>) -> Kept<()> {
    match stale {
        None => transaction.prepare_cached("DELETE FROM stale WHERE source = ?1")?.execute([source.as_str()])?,
        Some(stale) => transaction
            .prepare_cached(
                "INSERT INTO stale (source, since, why) VALUES (?1, ?2, ?3)
                 ON CONFLICT (source) DO UPDATE SET since = excluded.since, why = excluded.why
                 WHERE since != excluded.since OR why != excluded.why",
            )?
            .execute([source.as_str(), &stale.since.to_string(), &stale.why])?,
    };
    Ok(())
}

/// What the last looks found wrong with a source.
pub(crate) fn trouble(connection: &Connection, source: &Name) -> Kept<Trouble> {
    let mut select = connection.prepare_cached("SELECT trouble FROM troubles WHERE source = ?1")?;
    let text: Option<String> = select.query_row([source.as_str()], |row| row.get(0)).optional()?;
    Ok(text.map(|text| from_json("a source's trouble", &text)).transpose()?.unwrap_or_default())
}

/// Keeps what the last looks found wrong with a source.
pub(crate) fn put_trouble(transaction: &Transaction<'_>, source: &Name, trouble: &Trouble) -> Kept<()> {
    transaction
        .prepare_cached(
            "INSERT INTO troubles (source, trouble) VALUES (?1, ?2)
             ON CONFLICT (source) DO UPDATE SET trouble = excluded.trouble WHERE trouble != excluded.trouble",
        )?
        .execute([source.as_str(), &json("a source's trouble", trouble)?])?;
    Ok(())
}
