//! Changes to the very roles that Tidelock signs in as: tried, and put back where they would have
//! kept it out.
//!
//! The server asks what was committed whether somebody may sign in, so nothing can be tried
//! within a transaction. The session that made the change stays signed in, whatever becomes of
//! its role, and can put it back. A process that dies between the two leaves the new.

use std::collections::BTreeMap;

use tidelock_model::error::Fault;
use tidelock_model::sql::{Act, Part, SqlEffect, Statement, Verb};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::connect::{Pool, Session};
use super::error::of;
use super::{quiet, verifier};
use crate::sql::session::{Purpose, not_put_back, put_back};
use crate::sql::value::{SqlFault, fault};

/// Whether a statement changes or ends a role of these.
pub(super) fn touched<'r>(statement: &SqlEffect, roles: &'r [(Purpose, String)]) -> Option<&'r (Purpose, String)> {
    let (Act::Execute(Statement { verb: Verb::Alter | Verb::Drop, object, .. }) | Act::Rename { object, .. }) =
        &statement.act
    else {
        return None;
    };
    roles.iter().find(|(_, role)| object.class == "role" && object.name == [role.as_str()])
}

/// The roles that a transaction will change, as they were before it.
pub(super) struct Own {
    /// By number, which no change of a name changes.
    before: BTreeMap<u32, SignsIn>,
    purposes: Vec<Purpose>,
}

/// What decides whether a role can sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SignsIn {
    name: String,
    login: bool,
    connection_limit: i32,
    valid_until: String,
    /// What the server keeps of its password, where we may know.
    verifier: Option<String>,
    /// Which of [`POWERS`] it has.
    powers: [bool; POWERS.len()],
}

/// What a role cannot give back to itself once it has lost it.
const POWERS: [&str; 3] = ["superuser", "createrole", "createdb"];

impl Own {
    /// Looks at roles, which a session is about to change.
    ///
    /// # Errors
    /// The server does not tell.
    pub(super) async fn look(pool: &Pool, session: &Session, roles: Vec<(Purpose, String)>) -> Result<Self, SqlFault> {
        let names: Vec<&str> = roles.iter().map(|(_, name)| name.as_str()).collect();
        let filter = (&names as &(dyn tokio_postgres::types::ToSql + Sync), Type::NAME_ARRAY);
        let mut before = read(session, "rolname = ANY($1)", filter).await?;
        for role in before.values_mut().filter(|role| role.verifier.is_none()) {
            // Only a superuser may read verifiers; what we sign in with makes one that does the same.
            let purpose = roles.iter().find(|(_, name)| *name == role.name).map(|(purpose, _)| *purpose);
            role.verifier =
                purpose.and_then(|purpose| pool.access.password(purpose)).map(|password| verifier::make(&password));
        }
        Ok(Self { before, purposes: roles.into_iter().map(|(purpose, _)| purpose).collect() })
    }

    /// What a statement takes from the role that performs, and that could not give it back to itself.
    pub(super) fn takes(&self, writer: &str, statement: &SqlEffect) -> Option<SqlFault> {
        let (_, before) = self.before.iter().find(|(_, role)| role.name == writer)?;
        let Act::Execute(Statement { verb: Verb::Alter, object, parts }) = &statement.act else { return None };
        if object.class != "role" || object.name != [writer] {
            return None;
        }
        let texts = parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(text) } else { None });
        let words: Vec<String> = texts.flat_map(|text| text.split_whitespace()).map(str::to_ascii_lowercase).collect();
        let taken = |power: &str| words.iter().any(|word| word.strip_prefix("no") == Some(power));
        let (power, _) = POWERS.iter().zip(before.powers).find(|(power, has)| *has && taken(power))?;
        let message = format!(
            "Tidelock signs in as {writer}, and this takes {power} from it, which it could not give back to itself"
        );
        let hint = format!("say `{power}: true` in its spec; or take it away by hand, and Git follows");
        Some(fault("own-access", message).hint(hint).into())
    }

    /// Signs in anew, as the config says. Where that fails, what was committed is put back.
    ///
    /// # Errors
    /// It had to be put back; `true` where that failed too.
    pub(super) async fn prove(&self, pool: &Pool, session: &Session) -> Result<(), (Fault, bool)> {
        let mut refused = None;
        for purpose in &self.purposes {
            if let Err(fault) = pool.connect(*purpose, pool.maintenance()).await {
                refused = Some(fault.whole());
            }
        }
        let Some(why) = refused else { return Ok(()) };
        let names: Vec<&str> = self.before.values().map(|role| role.name.as_str()).collect();
        let own = format!("Tidelock signs in as {} and could not any more: {}", names.join(" and "), why.message);
        match self.put_back(session).await {
            Ok(password) => Err((put_back(&own, password), false)),
            Err(other) => Err((not_put_back(&own, &other), true)),
        }
    }

    /// Whether a password was among it.
    async fn put_back(&self, session: &Session) -> Result<bool, SqlFault> {
        let numbers: Vec<u32> = self.before.keys().copied().collect();
        let filter = (&numbers as &(dyn tokio_postgres::types::ToSql + Sync), Type::OID_ARRAY);
        let now = read(session, "oid = ANY($1)", filter).await?;
        let mut password = false;
        for (number, before) in &self.before {
            let gone = || fault("not-found", format!("the role {} is gone", before.name));
            let now = now.get(number).ok_or_else(gone)?;
            password |= before.verifier != now.verifier;
            // With a verifier in it, it stands in nobody's log.
            let hush = quiet::statements(session, true).await?;
            for statement in before.from(now) {
                let statement = format!("BEGIN READ WRITE{hush}; {statement}; COMMIT");
                session.batch_execute(&statement).await.map_err(|error| of(&error, "a role could not be put back"))?;
            }
        }
        Ok(password)
    }
}

impl SignsIn {
    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            name: row.try_get(1)?,
            login: row.try_get(2)?,
            connection_limit: row.try_get(3)?,
            valid_until: row.try_get(4)?,
            verifier: row.try_get(5)?,
            powers: [row.try_get(6)?, row.try_get(7)?, row.try_get(8)?],
        })
    }

    /// The statements that bring it about from what there is now. Only what differs is said: who
    /// may change a password alone may say nothing else.
    fn from(&self, now: &Self) -> Vec<String> {
        let mut out = Vec::new();
        if self.name != now.name {
            out.push(format!("ALTER ROLE {} RENAME TO {}", quoted(&now.name), quoted(&self.name)));
        }
        let mut words = String::new();
        if self.login != now.login {
            words.push_str(if self.login { " LOGIN" } else { " NOLOGIN" });
        }
        if self.connection_limit != now.connection_limit {
            words.push_str(&format!(" CONNECTION LIMIT {}", self.connection_limit));
        }
        if self.valid_until != now.valid_until {
            words.push_str(&format!(" VALID UNTIL {}", literal(&self.valid_until)));
        }
        if self.verifier != now.verifier {
            let kept = self.verifier.as_deref().map_or_else(|| "NULL".to_owned(), literal);
            words.push_str(&format!(" PASSWORD {kept}"));
        }
        if !words.is_empty() {
            out.push(format!("ALTER ROLE {}{words}", quoted(&self.name)));
        }
        out
    }
}

async fn read(
    session: &Session,
    condition: &str,
    parameter: (&(dyn tokio_postgres::types::ToSql + Sync), Type),
) -> Result<BTreeMap<u32, SignsIn>, SqlFault> {
    let failed = |error| of(&error, "what the role that Tidelock signs in as is like cannot be told");
    let may = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')";
    let may: bool = session.query_typed_one(may, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
    let (verifier, table) = if may { ("rolpassword", "pg_authid") } else { ("NULL::pg_catalog.text", "pg_roles") };
    let query = format!(
        "SELECT oid, rolname::pg_catalog.text, rolcanlogin, rolconnlimit, \
         coalesce(rolvaliduntil::pg_catalog.text, 'infinity'), {verifier}, rolsuper, rolcreaterole, rolcreatedb \
         FROM pg_catalog.{table} WHERE {condition}"
    );
    let rows = session.query_typed(&query, &[parameter]).await.map_err(failed)?;
    rows.iter().map(|row| Ok((row.try_get(0)?, SignsIn::of(row)?))).collect::<Result<_, _>>().map_err(failed)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The words of a catalog, none of which holds a backslash.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_put_back() {
        let before = SignsIn {
            name: "the \"one\"".into(),
            login: true,
            connection_limit: -1,
            valid_until: "infinity".into(),
            verifier: Some("SCRAM-SHA-256$old".into()),
            powers: [false; 3],
        };
        assert!(before.from(&before).is_empty());
        let now = SignsIn { verifier: Some("SCRAM-SHA-256$new".into()), ..before.clone() };
        assert_eq!(before.from(&now), ["ALTER ROLE \"the \"\"one\"\"\" PASSWORD 'SCRAM-SHA-256$old'"]);
        let now = SignsIn {
            name: "other".into(),
            login: false,
            connection_limit: 0,
            valid_until: "2001-01-01 00:00:00+00".into(),
            ..before.clone()
        };
        assert_eq!(
            before.from(&now),
            [
                "ALTER ROLE \"other\" RENAME TO \"the \"\"one\"\"\"",
                "ALTER ROLE \"the \"\"one\"\"\" LOGIN CONNECTION LIMIT -1 VALID UNTIL 'infinity'"
            ]
        );
    }
}
