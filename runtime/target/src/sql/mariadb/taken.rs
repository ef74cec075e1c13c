//! What a statement takes from the account that performs, and that it could not give back: nobody
//! grants what they do not hold. It is refused, before anything of it happens.

use mysql_async::prelude::Queryable as _;
use tidelock_model::error::Fault;
use tidelock_model::sql::{Act, Grant, Granted, Grantee, Object, SqlEffect, Statement, Verb};

use super::connect::Pool;
use super::error::of;
use crate::sql::session::{Purpose, could_not_give_back};
use crate::sql::value::SqlFault;

/// What a statement takes from our own account, or from a role that its sessions have, for good.
///
/// # Errors
/// The server does not tell.
pub(super) async fn taken(pool: &Pool, statement: &SqlEffect) -> Result<Option<Fault>, SqlFault> {
    // Most statements are about others: for them nobody is asked.
    let ours = |user: &String| pool.access.users().iter().any(|(_, ours)| ours == user);
    let what = match &statement.act {
        Act::Execute(Statement { verb: Verb::Drop, object: Object { class, name }, .. }) if class == "role" => {
            let writer = Writer::of(pool).await?;
            let used = name.first().filter(|role| writer.roles.contains(role));
            used.map(|role| (writer.who, format!("the role {role} from it")))
        }
        Act::Grant(grant) if grant.revoke => match &grant.grantee {
            Grantee::User(user, _) if !ours(user) => None,
            // What everybody has is nobody's own.
            Grantee::Public => None,
            _ => {
                let writer = Writer::of(pool).await?;
                writer.loses(grant).map(|what| (writer.who, what))
            }
        },
        _ => None,
    };
    Ok(what.map(|(who, what)| could_not_give_back(&who, &what)))
}

/// The account that performs.
struct Writer {
    /// As the server calls it.
    who: String,
    /// The roles that its sessions have.
    roles: Vec<String>,
    /// What it holds on everything by itself, and whether it may grant it on.
    everywhere: Vec<(String, String)>,
}

impl Writer {
    async fn of(pool: &Pool) -> Result<Self, SqlFault> {
        let mut session = pool.session(Purpose::Write).await?;
        let failed = |error| of(&error, "the server does not say what we may do");
        let who: Option<String> = session.query_first("SELECT CURRENT_USER()").await.map_err(failed)?;
        let who = who.unwrap_or_default();
        let roles = "SELECT ROLE_NAME FROM information_schema.ENABLED_ROLES WHERE ROLE_NAME IS NOT NULL";
        let roles = session.query(roles).await.map_err(failed)?;
        let (user, host) = who.rsplit_once('@').unwrap_or((who.as_str(), ""));
        let held = "SELECT PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = ?";
        let everywhere = session.exec(held, (format!("'{user}'@'{host}'"),)).await.map_err(failed)?;
        session.give_back();
        Ok(Self { who, roles, everywhere })
    }

    /// What it would lose, in words.
    fn loses(&self, grant: &Grant) -> Option<String> {
        let from = match &grant.grantee {
            Grantee::User(user, host) if format!("{user}@{host}") == self.who => "it".to_owned(),
            Grantee::Role(role) if self.roles.contains(role) => format!("its role {role}"),
            _ => return None,
        };
        match &grant.granted {
            Granted::Membership(role) => {
                (!grant.with_option && self.roles.contains(role)).then(|| format!("the role {role} from {from}"))
            }
            Granted::Privileges(privileges, object) => {
                // What it holds on everything it does not lose with a part, or with a role.
                let by_itself = object.class == "system" && matches!(grant.grantee, Grantee::User(..));
                let mut held = self.everywhere.iter().filter(|_| !by_itself);
                if grant.with_option {
                    return (!held.any(|(_, grantable)| grantable == "YES"))
                        .then(|| format!("GRANT OPTION from {from}"));
                }
                let held: Vec<&str> = held.map(|(name, _)| name.as_str()).collect();
                let all = privileges.iter().map(|privilege| privilege.name.as_str());
                let lost: Vec<&str> = all.filter(|name| *name != "USAGE" && !held.contains(name)).collect();
                (!lost.is_empty()).then(|| format!("{} from {from}", lost.join(", ")))
            }
            Granted::AllInSchema(..) | Granted::Defaults(_) => None,
        }
    }
}
