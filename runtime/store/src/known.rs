//! What is known of lanes and targets: one row each, the newest wins.
//!
//! A write that would change nothing touches no page, so that a pass that finds
//! everything as it was costs no flush.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::Value;
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::{LaneRecord, LaneStanding};
use tidelock_model::revision::Revision;

use crate::column::{self, from_json, from_word, json, maybe_time, parse, word};
use crate::error::Kept;

const LANE: &str = "SELECT source, stack, target, status, why, applied, planned, plugins, contacted, seen, last_run,
    since, digest, waits, attempts, retry_at, checked FROM lanes";

/// One lane.
pub(crate) fn lane(connection: &Connection, lane: &Lane) -> Kept<Option<LaneRecord>> {
    let mut select = connection.prepare_cached(&format!("{LANE} WHERE source = ?1 AND stack = ?2 AND target = ?3"))?;
    let mut rows = select.query(params![lane.source.as_str(), lane.stack.as_str(), lane.target.as_str()])?;
    rows.next()?.map(record).transpose()
}

/// Every lane, in the model's order.
pub(crate) fn lanes(connection: &Connection) -> Kept<Vec<LaneRecord>> {
    let mut select = connection.prepare_cached(&format!("{LANE} ORDER BY source, stack, target"))?;
    let mut rows = select.query([])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(record(row)?);
    }
    Ok(records)
}

/// Where the lanes of a stack stand: asked by each lane of a rollout, so no more is read of
/// the others than that takes.
pub(crate) fn standings(connection: &Connection, source: &Name, stack: &Name) -> Kept<Vec<LaneStanding>> {
    let mut select = connection.prepare_cached(
        "SELECT target, status, why, applied_id, planned_id, checked FROM lanes
         WHERE source = ?1 AND stack = ?2 ORDER BY target",
    )?;
    let mut rows = select.query([source.as_str(), stack.as_str()])?;
    let mut standings = Vec::new();
    while let Some(row) = rows.next()? {
        standings.push(LaneStanding {
            target: parse("a lane's target", &row.get::<_, String>(0)?)?,
            status: from_word("a lane's status", row.get(1)?)?,
            why: row.get(2)?,
            applied: row.get(3)?,
            planned: row.get(4)?,
            checked: row.get(5)?,
        });
    }
    Ok(standings)
}

fn record(row: &Row<'_>) -> Kept<LaneRecord> {
    let revision = |text: Option<String>| text.map(|text| from_json("a lane's revision", &text)).transpose();
    Ok(LaneRecord {
        lane: column::lane(row.get(0)?, row.get(1)?, row.get(2)?)?,
        status: from_word("a lane's status", row.get(3)?)?,
        why: row.get(4)?,
        applied: revision(row.get(5)?)?,
        planned: revision(row.get(6)?)?,
        plugins: from_json("a lane's plugins", &row.get::<_, String>(7)?)?,
        contacted: row.get(8)?,
        seen: maybe_time("a lane's time", row.get(9)?)?,
        last_run: row.get(10)?,
        since: maybe_time("a lane's time", row.get(11)?)?,
        digest: row.get::<_, Option<String>>(12)?.map(|text| parse("a lane's digest", &text)).transpose()?,
        waits: from_json("a lane's waits", &row.get::<_, String>(13)?)?,
        attempts: row.get(14)?,
        retry_at: maybe_time("a lane's time", row.get(15)?)?,
        checked: row.get(16)?,
    })
}

/// Writes what is known of a lane.
pub(crate) fn put_lane(transaction: &Transaction<'_>, record: &LaneRecord) -> Kept<()> {
    let revision = |revision: &Option<Revision>| revision.as_ref().map(|it| json("a revision", it)).transpose();
    transaction
        .prepare_cached(
            "INSERT INTO lanes (source, stack, target, status, why, applied, planned, plugins, contacted, seen, last_run,
               since, digest, waits, attempts, retry_at, checked, applied_id, planned_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
             ON CONFLICT (source, stack, target) DO UPDATE SET status = excluded.status, why = excluded.why,
               applied = excluded.applied, planned = excluded.planned, plugins = excluded.plugins,
               contacted = excluded.contacted, seen = excluded.seen, last_run = excluded.last_run,
               since = excluded.since, digest = excluded.digest, waits = excluded.waits,
               attempts = excluded.attempts, retry_at = excluded.retry_at, checked = excluded.checked,
               applied_id = excluded.applied_id, planned_id = excluded.planned_id",
        )?
        .execute(params![
            record.lane.source.as_str(),
            record.lane.stack.as_str(),
            record.lane.target.as_str(),
            word(&record.status)?,
            record.why,
            revision(&record.applied)?,
            revision(&record.planned)?,
            json("a lane's plugins", &record.plugins)?,
            record.contacted,
            record.seen.map(|at| at.to_string()),
            record.last_run,
            record.since.map(|at| at.to_string()),
            record.digest.map(|digest| digest.to_string()),
            json("a lane's waits", &record.waits)?,
            record.attempts,
            record.retry_at.map(|at| at.to_string()),
            record.checked,
            record.applied.as_ref().map(|revision| &revision.id),
            record.planned.as_ref().map(|revision| &revision.id),
        ])?;
    Ok(())
}

/// Keeps when lanes were looked at.
pub(crate) fn put_seen(transaction: &Transaction<'_>, lanes: &[Lane], at: Timestamp) -> Kept<()> {
    let mut update =
        transaction.prepare_cached("UPDATE lanes SET seen = ?4 WHERE source = ?1 AND stack = ?2 AND target = ?3")?;
    for lane in lanes {
        update.execute([lane.source.as_str(), lane.stack.as_str(), lane.target.as_str(), &at.to_string()])?;
    }
    Ok(())
}

/// Forgets a lane, its claims, and what is kept of it as it was.
pub(crate) fn drop_lane(transaction: &Transaction<'_>, lane: &Lane) -> Kept<()> {
    let key = [lane.source.as_str(), lane.stack.as_str(), lane.target.as_str()];
    for table in ["lanes", "claim_sets", "shown_policies", "undos"] {
        transaction
            .prepare_cached(&format!("DELETE FROM {table} WHERE source = ?1 AND stack = ?2 AND target = ?3"))?
            .execute(key)?;
    }
    Ok(())
}

/// The policies that a plan of a lane has shown.
pub(crate) fn shown_policy(connection: &Connection, lane: &Lane) -> Kept<Option<Value>> {
    let mut select = connection
        .prepare_cached("SELECT policy FROM shown_policies WHERE source = ?1 AND stack = ?2 AND target = ?3")?;
    let key = [lane.source.as_str(), lane.stack.as_str(), lane.target.as_str()];
    let text: Option<String> = select.query_row(key, |row| row.get(0)).optional()?;
    text.map(|text| from_json("a lane's policy", &text)).transpose()
}

/// Keeps the policies that a plan of a lane has shown.
pub(crate) fn put_shown_policy(transaction: &Transaction<'_>, lane: &Lane, policy: &Value) -> Kept<()> {
    transaction
        .prepare_cached(
            "INSERT INTO shown_policies (source, stack, target, policy) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (source, stack, target) DO UPDATE SET policy = excluded.policy
             WHERE policy != excluded.policy",
        )?
        .execute([
            lane.source.as_str(),
            lane.stack.as_str(),
            lane.target.as_str(),
            &json("a lane's policy", policy)?,
        ])?;
    Ok(())
}

/// A target's fingerprint.
pub(crate) fn fingerprint(connection: &Connection, target: &Name) -> Kept<Option<String>> {
    let mut select = connection.prepare_cached("SELECT fingerprint FROM fingerprints WHERE target = ?1")?;
    Ok(select.query_row([target.as_str()], |row| row.get(0)).optional()?)
}

/// Keeps a target's fingerprint.
pub(crate) fn put_fingerprint(transaction: &Transaction<'_>, target: &Name, fingerprint: &str) -> Kept<()> {
    transaction
        .prepare_cached(
            "INSERT INTO fingerprints (target, fingerprint) VALUES (?1, ?2)
             ON CONFLICT (target) DO UPDATE SET fingerprint = excluded.fingerprint
             WHERE fingerprint != excluded.fingerprint",
        )?
        .execute([target.as_str(), fingerprint])?;
    Ok(())
}

/// Forgets a target's fingerprint.
pub(crate) fn drop_fingerprint(transaction: &Transaction<'_>, target: &Name) -> Kept<()> {
    transaction.prepare_cached("DELETE FROM fingerprints WHERE target = ?1")?.execute([target.as_str()])?;
    Ok(())
}
