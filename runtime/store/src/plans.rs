//! Plans by digest: what `apply` compares its own plan with, and what history points at.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tidelock_model::digest::Digest;
use tidelock_model::plan::Plan;

use crate::error::Kept;
use crate::packed::{pack, unpack};

/// Keeps a plan. An equal digest is the same plan, seen again.
pub(crate) fn put(transaction: &Transaction<'_>, at: Timestamp, plan: &Plan) -> Kept<()> {
    transaction
        .prepare_cached(
            "INSERT INTO plans (digest, at, packed) VALUES (?1, ?2, ?3)
             ON CONFLICT (digest) DO UPDATE SET at = excluded.at, packed = excluded.packed
               WHERE packed != excluded.packed",
        )?
        .execute(params![plan.digest.to_string(), at.to_string(), pack("a plan", plan)?])?;
    Ok(())
}

/// A plan by its digest.
pub(crate) fn get(connection: &Connection, digest: &Digest) -> Kept<Option<Plan>> {
    let packed: Option<Vec<u8>> = connection
        .prepare_cached("SELECT packed FROM plans WHERE digest = ?1")?
        .query_row([digest.to_string()], |row| row.get(0))
        .optional()?;
    packed.map(|packed| unpack(&format!("the plan {}", digest.short()), &packed)).transpose()
}
