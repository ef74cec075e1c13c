//! Who said yes to which digest of which lane, and whether that counts still: a yes is spent
//! by the run that it let go on, once that is done, and revoked by who takes back what it was
//! about.

use rusqlite::{Connection, Transaction, params};
use tidelock_model::digest::Digest;
use tidelock_model::name::{Lane, Name};
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

/// Approvals of a digest that count still, oldest first.
pub(crate) fn of(connection: &Connection, digest: &Digest) -> Kept<Vec<Approval>> {
    let mut select = connection.prepare_cached(
        "SELECT source, stack, target, who, at, how, comment, yes FROM approvals
         WHERE digest = ?1 AND ended IS NULL ORDER BY seq",
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

/// Spends what was said of a digest of a lane, and of those under which a run of it has begun: one
/// that was cut short left its yes to those after it.
pub(crate) fn spend(transaction: &Transaction<'_>, lane: &Lane, digest: &Digest) -> Kept<()> {
    let Lane { source, stack, target } = lane;
    transaction
        .prepare_cached(
            "UPDATE approvals SET ended = 'spent'
             WHERE source = ?1 AND stack = ?2 AND target = ?3 AND ended IS NULL
               AND (digest = ?4 OR EXISTS (SELECT 1 FROM runs WHERE runs.source = ?1 AND runs.stack = ?2
                      AND runs.target = ?3 AND runs.digest = approvals.digest AND runs.began >= approvals.at))",
        )?
        .execute(params![source.as_str(), stack.as_str(), target.as_str(), digest.to_string()])?;
    Ok(())
}

/// Revokes each yes to what was planned of a stack, on one target or on all; with it goes a no that
/// it had taken back. A no that stands, stands on.
pub(crate) fn revoke(transaction: &Transaction<'_>, source: &Name, stack: &Name, target: Option<&Name>) -> Kept<()> {
    transaction
        .prepare_cached(
            "UPDATE approvals SET ended = 'revoked'
             WHERE source = ?1 AND stack = ?2 AND (?3 IS NULL OR target = ?3) AND ended IS NULL
               AND (yes = 1 OR EXISTS (SELECT 1 FROM approvals AS later WHERE later.digest = approvals.digest
                      AND later.source = ?1 AND later.stack = ?2 AND later.target = approvals.target
                      AND later.seq > approvals.seq AND later.yes = 1
                      AND replace(later.who, ' (sudo)', '') = replace(approvals.who, ' (sudo)', '')))",
        )?
        .execute(params![source.as_str(), stack.as_str(), target.map(Name::as_str)])?;
    Ok(())
}
