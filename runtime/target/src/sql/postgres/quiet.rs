//! Keeping verifiers of passwords out of what the server writes down: its log and the statistics of
//! statements, which people read who may not read `pg_authid`.

use tokio_postgres::Client;

use super::error::of;
use crate::sql::value::SqlFault;

/// Settings that keep a statement's text to those who perform it, with what they are set to. A
/// superuser's, or whose he lets since PostgreSQL 15.
const QUIET: [(&str, &str); 7] = [
    ("log_statement", "none"),
    ("log_min_error_statement", "panic"),
    ("log_min_duration_statement", "-1"),
    ("log_min_duration_sample", "-1"),
    ("log_transaction_sample_rate", "0"),
    ("track_activities", "off"),
    ("pg_stat_statements.track_utility", "off"),
];

/// Which of them we may set here, and whether those are all that the server has.
///
/// # Errors
/// The server does not tell.
async fn ours(client: &Client) -> Result<(Vec<(&'static str, &'static str)>, bool), SqlFault> {
    let failed = |error| of(&error, "the server does not say what of its log may be left out");
    let who = "SELECT rolsuper, pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 150000 \
        FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER";
    let who = client.query_typed_one(who, &[]).await.map_err(failed)?;
    let (superuser, asks): (bool, bool) = (who.try_get(0).map_err(failed)?, who.try_get(1).map_err(failed)?);
    let may = match (superuser, asks) {
        (true, _) => "true",
        // Each is named in the catalog once somebody was let, so that asking about one is no error.
        (false, true) => "pg_catalog.has_parameter_privilege(name, 'SET')",
        (false, false) => "false",
    };
    let names = QUIET.map(|(name, _)| format!("'{name}'")).join(", ");
    let query = format!("SELECT name, {may} FROM pg_catalog.pg_settings WHERE name IN ({names})");
    let rows = client.query_typed(&query, &[]).await.map_err(failed)?;
    let (mut ours, mut all) = (vec![], true);
    for row in &rows {
        let (name, may): (String, bool) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        all &= may;
        ours.extend(QUIET.into_iter().filter(|(known, _)| may && *known == name));
    }
    Ok((ours, all))
}

/// The statements that keep a secret out of the server's log, as far as we may: of this transaction
/// alone, or of the session.
///
/// # Errors
/// The server does not tell.
pub(super) async fn statements(client: &Client, local: bool) -> Result<String, SqlFault> {
    let set = if local { "SET LOCAL" } else { "SET" };
    let (ours, _) = ours(client).await?;
    Ok(ours.iter().map(|(name, value)| format!("; {set} {name} TO '{value}'")).collect())
}

/// Whether nothing of a statement with a secret is written down.
///
/// # Errors
/// The server does not tell.
pub(super) async fn whole(client: &Client) -> Result<bool, SqlFault> {
    Ok(ours(client).await?.1)
}
