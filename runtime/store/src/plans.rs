//! Plans by digest: what `apply` compares its own plan with, and what history points at.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction};
use tidelock_model::digest::Digest;
use tidelock_model::plan::Plan;

use crate::column::{from_json, json};
use crate::error::Kept;

/// Keeps a plan. An equal digest is the same plan, seen again.
pub(crate) fn put(transaction: &Transaction<'_>, at: Timestamp, plan: &Plan) -> Kept<()> {
    transaction
        .prepare_cached(
            "INSERT INTO plans (digest, at, plan) VALUES (?1, ?2, ?3)
             ON CONFLICT (digest) DO UPDATE SET at = excluded.at, plan = excluded.plan WHERE plan != excluded.plan",
        )?
        .execute([plan.digest.to_string(), at.to_string(), json("a plan", plan)?])?;
    Ok(())
}

/// A plan by its digest.
pub(crate) fn get(connection: &Connection, digest: &Digest) -> Kept<Option<Plan>> {
    let text: Option<String> = connection
        .prepare_cached("SELECT plan FROM plans WHERE digest = ?1")?
        .query_row([digest.to_string()], |row| row.get(0))
        .optional()?;
    text.map(|text| from_json(&format!("the plan {}", digest.short()), &text)).transpose()
}
