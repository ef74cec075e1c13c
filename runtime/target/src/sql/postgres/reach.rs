//! Who could act as which role by what was just done, and what that role reaches. The host decides by
//! what the server says itself, within the transaction: a plugin may have looked at anything.

use std::collections::{BTreeMap, BTreeSet};

use tidelock_model::effect::EffectBody;
use tidelock_model::error::Fault;
use tidelock_model::grant::{Grant, ungranted};
use tidelock_model::sql::{Reach, SqlEffect, part};
use tokio_postgres::{Client, Row};

use super::error::of;
use crate::sql::perform::Ready;
use crate::sql::value::SqlFault;

/// What the roles of the server are able to do, and whom they are members of.
pub(super) async fn read(client: &Client) -> Result<Reach, SqlFault> {
    let failed = |error| of(&error, "the server does not say what its roles may do");
    let attributes = "SELECT rolname::pg_catalog.text, pg_catalog.array_remove(ARRAY[\
        CASE WHEN rolsuper THEN 'superuser' END, CASE WHEN rolreplication THEN 'replication' END, \
        CASE WHEN rolbypassrls THEN 'bypassrls' END, CASE WHEN rolcreaterole THEN 'createrole' END, \
        CASE WHEN pg_catalog.starts_with(rolname::pg_catalog.text, 'pg_') THEN rolname::pg_catalog.text END], NULL) \
        FROM pg_catalog.pg_roles WHERE rolsuper OR rolreplication OR rolbypassrls OR rolcreaterole \
        OR pg_catalog.starts_with(rolname::pg_catalog.text, 'pg_')";
    let memberships = "SELECT m.rolname::pg_catalog.text, r.rolname::pg_catalog.text FROM pg_catalog.pg_auth_members a \
        JOIN pg_catalog.pg_roles m ON m.oid OPERATOR(pg_catalog.=) a.member \
        JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.roleid";
    let attributes = client.query_typed(attributes, &[]).await.map_err(failed)?;
    let memberships = client.query_typed(memberships, &[]).await.map_err(failed)?;
    let attributes = attributes.iter().map(|row| Ok((name(row, 0)?, row.try_get(1)?))).collect::<Result<Vec<_>, _>>();
    let memberships = memberships.iter().map(|row| Ok((name(row, 0)?, name(row, 1)?))).collect::<Result<Vec<_>, _>>();
    Ok(Reach::new(attributes.map_err(failed)?, memberships.map_err(failed)?))
}

/// A role, as identities name it.
fn name(row: &Row, at: usize) -> Result<String, tokio_postgres::Error> {
    row.try_get(at).map(|name: &str| part(name))
}

/// Decides whether what effects did may stay, as roles are now. Says at which one it may not.
///
/// # Errors
/// The server does not tell.
pub(super) async fn refused(
    client: &Client,
    grants: &BTreeMap<String, Grant>,
    effects: &[Ready<'_>],
) -> Result<Option<(usize, Fault)>, SqlFault> {
    if effects.iter().filter_map(statement).all(|statement| statement.lends().is_empty()) {
        return Ok(None);
    }
    let reach = read(client).await?;
    Ok(effects.iter().enumerate().find_map(|(i, ready)| {
        let roles = names(statement(ready)?.lends(), effects);
        let decide = |role: &String| {
            let by = |grant: &Grant| grant.decide_reach(role, &reach, |_| false);
            match grants.get(&ready.effect.plugin) {
                Some(grant) => by(grant).err(),
                None => Some(ungranted(&ready.effect.plugin, "", by)),
            }
        };
        roles.iter().find_map(decide).map(|fault| (i, fault))
    }))
}

fn statement<'e>(ready: &Ready<'e>) -> Option<&'e SqlEffect> {
    match &ready.effect.body {
        EffectBody::Sql(statement) => Some(statement),
        _ => None,
    }
}

/// All names that roles have had or got among these effects.
fn names(roles: Vec<String>, effects: &[Ready<'_>]) -> BTreeSet<String> {
    let renames = effects.iter().filter_map(|ready| statement(ready)?.renames_role());
    let renames: Vec<[String; 2]> = renames.map(|(old, new)| [part(old), part(new)]).collect();
    let mut names: BTreeSet<String> = roles.into_iter().collect();
    loop {
        let before = names.len();
        for both in &renames {
            if both.iter().any(|name| names.contains(name)) {
                names.extend(both.iter().cloned());
            }
        }
        if names.len() == before {
            return names;
        }
    }
}
