//! Which accounts and roles of MariaDB hold something on everything, and who is a member of which: what
//! somebody gets who signs in as one, or joins it.

use mysql_async::prelude::Queryable as _;
use tidelock_model::sql::{Dialect, Reach, part};

use super::connect::Session;
use super::error::of;
use crate::sql::value::SqlFault;

/// Whoever has any privilege on everything.
const POWERFUL: &str =
    "SELECT User, Host FROM mysql.global_priv WHERE CAST(IFNULL(JSON_VALUE(Priv, '$.access'), 0) AS UNSIGNED) <> 0";
const MEMBERS: &str = "SELECT User, Host, Role FROM mysql.roles_mapping";

/// What they reach. Of MySQL, for which no plugin is there yet, nothing is known.
pub(super) async fn read(session: &mut Session, dialect: Dialect) -> Result<Reach, SqlFault> {
    if dialect != Dialect::MariaDb {
        return Ok(Reach::default());
    }
    let failed = |error| of(&error, "the server does not say what its roles may do");
    let powerful: Vec<(String, String)> = session.query(POWERFUL).await.map_err(failed)?;
    let members: Vec<(String, String, String)> = session.query(MEMBERS).await.map_err(failed)?;
    let powerful = powerful.into_iter().map(|(name, host)| account(&name, &host));
    let members = members.into_iter().map(|(name, host, role)| (account(&name, &host), part(&role)));
    Ok(Reach::of_accounts(powerful, members))
}

/// An account as identities name it; a role has no host.
fn account(name: &str, host: &str) -> String {
    if host.is_empty() { part(name) } else { format!("{}@{}", part(name), part(host)) }
}
