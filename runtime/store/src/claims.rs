//! Which stack says that an identity is its own. Written whole, per lane, at each
//! newest revision; most revisions change none, and then nothing but the revision is
//! written.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tidelock_model::digest::Digest;
use tidelock_model::inventory::Claim;
use tidelock_model::name::{Identity, Lane, Name};

use crate::column::parse;
use crate::error::{Kept, Trouble};

/// Replaces the claims of a lane.
pub(crate) fn put(transaction: &Transaction<'_>, lane: &Lane, revision: &str, claims: &[Claim]) -> Kept<()> {
    let stray = claims
        .iter()
        .find(|claim| claim.target != lane.target || claim.source != lane.source || claim.stack != lane.stack);
    if let Some(claim) = stray {
        return Err(Trouble::invalid(format!(
            "a claim on {} was put with lane {lane}, which is not its own",
            claim.identity
        )));
    }
    let mut lines: Vec<(&str, String)> =
        claims.iter().map(|claim| (claim.identity.as_str(), claim.resource.to_string())).collect();
    lines.sort_unstable();
    lines.dedup();
    let parts = lines.iter().flat_map(|(identity, resource)| [identity.as_bytes(), resource.as_bytes()]);
    let digest = Digest::of_parts(parts).to_string();

    let key = params![lane.source.as_str(), lane.stack.as_str(), lane.target.as_str()];
    let last: Option<String> = transaction
        .prepare_cached("SELECT digest FROM claim_sets WHERE source = ?1 AND stack = ?2 AND target = ?3")?
        .query_row(key, |row| row.get(0))
        .optional()?;
    transaction
        .prepare_cached(
            "INSERT INTO claim_sets (source, stack, target, revision, digest) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (source, stack, target) DO UPDATE SET revision = excluded.revision, digest = excluded.digest
             WHERE revision != excluded.revision OR digest != excluded.digest",
        )?
        .execute(params![lane.source.as_str(), lane.stack.as_str(), lane.target.as_str(), revision, digest])?;
    if last.as_deref() == Some(&digest) {
        return Ok(());
    }
    transaction.prepare_cached("DELETE FROM claims WHERE source = ?1 AND stack = ?2 AND target = ?3")?.execute(key)?;
    let mut insert = transaction
        .prepare_cached("INSERT INTO claims (source, stack, target, identity, resource) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (identity, resource) in lines {
        insert.execute(params![lane.source.as_str(), lane.stack.as_str(), lane.target.as_str(), identity, resource])?;
    }
    Ok(())
}

/// All claims on a target, sorted by identity.
pub(crate) fn on(connection: &Connection, target: &Name) -> Kept<Vec<Claim>> {
    let mut select = connection.prepare_cached(
        "SELECT identity, source, stack, resource FROM claims WHERE target = ?1
         ORDER BY identity, source, stack, resource",
    )?;
    let mut rows = select.query([target.as_str()])?;
    let mut claims = Vec::new();
    while let Some(row) = rows.next()? {
        claims.push(Claim {
            target: target.clone(),
            identity: Identity::new(row.get::<_, String>(0)?),
            source: parse("a claim", row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?,
            stack: parse("a claim", row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?,
            resource: parse("a claim", row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?)?,
        });
    }
    Ok(claims)
}

/// The revision at which each lane on a target last gave its claims.
pub(crate) fn given_at(connection: &Connection, target: &Name) -> Kept<Vec<(Lane, String)>> {
    let mut select = connection.prepare_cached(
        "SELECT source, stack, target, revision FROM claim_sets WHERE target = ?1 ORDER BY source, stack",
    )?;
    let mut rows = select.query([target.as_str()])?;
    let mut given = Vec::new();
    while let Some(row) = rows.next()? {
        given.push((crate::column::lane(row.get(0)?, row.get(1)?, row.get(2)?)?, row.get(3)?));
    }
    Ok(given)
}
