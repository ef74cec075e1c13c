//! What is dropped, and when: so that a store that is left alone for a year stays as
//! large as its estate, not as its age. Freed pages are used again by SQLite itself.
//!
//! | what | kept |
//! |-|-|
//! | events | 90 days, and of those the newest 100,000 |
//! | plans | the newest 4,000; a lane that still waits writes its plan again at its next look |
//! | intents and outcomes of runs that ended | 90 days: `undo` goes back so far |
//! | contents for `undo` | 90 days, and of those the newest 512 MiB; what is kept as it was keeps its own |
//! | history and runs | 2 years |
//! | inventory, claims, lanes, approvals, holds, open intents and due triggers | always |
//!
//! **Invariant.** Nothing is dropped that a later pass relies on: open intents, due
//! triggers, and the runs that they and the history point at stay.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Transaction, params};

use crate::error::Kept;

const EVENT_DAYS: i64 = 90;
const EVENTS: i64 = 100_000;
const PLANS: i64 = 4_000;
const INTENT_DAYS: i64 = 90;
const BLOB_BYTES: i64 = 512 << 20;
const HISTORY_DAYS: i64 = 2 * 365;

/// Rows that one call drops of each table, so that nobody waits long for the file.
const AT_ONCE: i64 = 2_000;

/// Drops a part of what is not kept any more. Whether something is left to drop.
pub(crate) fn tidy(transaction: &Transaction<'_>, now: Timestamp) -> Kept<bool> {
    let before = |days: i64| (now - SignedDuration::from_hours(24 * days)).to_string();
    let mut most = 0;
    let mut delete = |sql: &str, params: &[&dyn rusqlite::ToSql]| -> Kept<()> {
        most = most.max(transaction.prepare_cached(sql)?.execute(params)?);
        Ok(())
    };
    // Numbers and times both grow: the oldest are found without reading the rest.
    delete(
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?3)
           AND (at < ?1 OR seq <= (SELECT max(seq) FROM events) - ?2)",
        params![before(EVENT_DAYS), EVENTS, AT_ONCE],
    )?;
    delete(
        "DELETE FROM plans WHERE digest IN (SELECT digest FROM plans ORDER BY at DESC LIMIT ?2 OFFSET ?1)",
        params![PLANS, AT_ONCE],
    )?;
    let old = "SELECT intents.id FROM intents JOIN runs ON runs.id = intents.run
               WHERE intents.settled IS NOT NULL AND runs.ended < ?1
                 AND NOT EXISTS (SELECT 1 FROM triggers WHERE triggers.intent = intents.id AND fate = 'due')
                 AND NOT EXISTS (SELECT 1 FROM intent_changes WHERE intent_changes.intent = intents.id
                                 AND outcome = 'unknown')
               ORDER BY intents.id LIMIT ?2";
    for (table, key) in [("triggers", "intent"), ("intent_changes", "intent"), ("intents", "id")] {
        let sql = format!("DELETE FROM {table} WHERE {key} IN ({old})");
        delete(&sql, params![before(INTENT_DAYS), AT_ONCE])?;
    }
    let unused = "NOT EXISTS (SELECT 1 FROM undos WHERE instr(undos.undo, blobs.digest) > 0)";
    delete(
        &format!(
            "DELETE FROM blobs WHERE digest IN (SELECT digest FROM blobs WHERE at < ?1 AND {unused} ORDER BY at LIMIT ?2)"
        ),
        params![before(INTENT_DAYS), AT_ONCE],
    )?;
    delete(
        &format!(
            "DELETE FROM blobs WHERE {unused} AND digest IN (SELECT digest FROM (
               SELECT digest, sum(length(content)) OVER (ORDER BY at DESC, digest ROWS UNBOUNDED PRECEDING) AS total
               FROM blobs) WHERE total > ?1 LIMIT ?2)"
        ),
        params![BLOB_BYTES, AT_ONCE],
    )?;
    delete(
        "DELETE FROM history WHERE seq IN (SELECT seq FROM history ORDER BY seq LIMIT ?2) AND at < ?1",
        params![before(HISTORY_DAYS), AT_ONCE],
    )?;
    delete(
        "DELETE FROM runs WHERE seq IN (SELECT seq FROM runs WHERE ended < ?1
             AND NOT EXISTS (SELECT 1 FROM history WHERE history.run = runs.id)
             AND NOT EXISTS (SELECT 1 FROM intents WHERE intents.run = runs.id)
             AND NOT EXISTS (SELECT 1 FROM lanes WHERE lanes.last_run = runs.id)
             ORDER BY seq LIMIT ?2)",
        params![before(HISTORY_DAYS), AT_ONCE],
    )?;
    Ok(most as i64 >= AT_ONCE)
}
