//! Who said yes to which digest of which lane.

use rusqlite::{Connection, Transaction, params};
use tidelock_model::digest::Digest;
use tidelock_model::run::Approval;

use crate::column::{self, parse};
use crate::error::Kept;

/// Keeps an approval.
pub(crate) fn put(transaction: &Transaction<'_>, approval: &Approval) -> Kept<()> {
    transaction
        .prepare_cached(
            "INSERT INTO approvals (digest, source, stack, target, who, at, how, comment, yes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            approval.digest.to_string(),
            approval.lane.source.as_str(),
            approval.lane.stack.as_str(),
            approval.lane.target.as_str(),
            approval.who,
            approval.at.to_string(),
            approval.how,
            approval.comment,
            approval.yes,
        ])?;
    Ok(())
}

/// Approvals of a digest, oldest first.
pub(crate) fn of(connection: &Connection, digest: &Digest) -> Kept<Vec<Approval>> {
    let mut select = connection.prepare_cached(
        "SELECT source, stack, target, who, at, how, comment, yes FROM approvals WHERE digest = ?1 ORDER BY seq",
    )?;
    let mut rows = select.query([digest.to_string()])?;
    let mut approvals = Vec::new();
    while let Some(row) = rows.next()? {
        approvals.push(Approval {
            digest: *digest,
            lane: column::lane(row.get(0)?, row.get(1)?, row.get(2)?)?,
            who: row.get(3)?,
            at: parse("an approval's time", &row.get::<_, String>(4)?)?,
            how: row.get(5)?,
            comment: row.get(6)?,
            yes: row.get(7)?,
        });
    }
    Ok(approvals)
}
