//! PostgreSQL: `connect` signs in, `read` asks, `write` performs.

mod connect;
mod error;
mod own;
mod quiet;
mod reach;
mod read;
mod verifier;
mod watch;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use tidelock_model::config::ServerDecl;
use tidelock_model::error::Fault;
use tidelock_model::grant::Grant;
use tidelock_model::name::Name;
use tidelock_model::run::EffectEnd;
use tidelock_model::sql::{Dialect, Reach, SqlEffect};

use self::connect::{Pool, Session};
use super::guard::Judged;
use super::perform::Ready;
use super::session::{Purpose, plain_part};
use super::value::{Answer, SqlFault, fault};
use super::{Facts, Limits};
use crate::right::Right;

/// A PostgreSQL server.
pub(super) struct Postgres {
    pool: Pool,
}

/// The lock of a server.
pub(super) struct Turn(Session);

impl Postgres {
    pub(super) fn new(name: &Name, decl: ServerDecl, base: PathBuf) -> Self {
        Self { pool: Pool::new(name, decl, base) }
    }

    pub(super) fn maintenance(&self) -> &str {
        self.pool.maintenance()
    }

    pub(super) async fn facts(&self) -> Result<Facts, SqlFault> {
        self.facts_as(Purpose::Write).await
    }

    pub(super) async fn reader(&self) -> Result<Option<Facts>, SqlFault> {
        self.pool.access.as_reader(|purpose| self.facts_as(purpose)).await
    }

    /// The databases that do not let in whoever looks, each with what would: nobody else lacks it.
    pub(super) async fn shut(&self) -> Result<Vec<(String, String)>, SqlFault> {
        let session = self.pool.session(Purpose::Read, self.pool.maintenance()).await?;
        let query = "SELECT d.datname::pg_catalog.text, pg_catalog.format('GRANT CONNECT ON DATABASE %I TO %I', \
            d.datname, CURRENT_USER) FROM pg_catalog.pg_database d \
            WHERE d.datallowconn AND NOT pg_catalog.has_database_privilege(d.oid, 'CONNECT') ORDER BY d.datname";
        let failed = |error| error::of(&error, "the server does not say which databases are open");
        let rows = session.query_typed(query, &[]).await.map_err(failed)?;
        session.give_back();
        rows.iter().map(|row| Ok((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?))).collect()
    }

    async fn facts_as(&self, purpose: Purpose) -> Result<Facts, SqlFault> {
        let session = self.pool.session(purpose, self.pool.maintenance()).await?;
        let query = "SELECT pg_catalog.current_setting('server_version'), \
            pg_catalog.current_setting('server_version_num')::pg_catalog.int4, CURRENT_USER::pg_catalog.text, \
            (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER), \
            (SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid())";
        let failed = |error| error::of(&error, "the server does not say what it is");
        let row = session.query_typed_one(query, &[]).await.map_err(failed)?;
        session.give_back();
        let version: String = row.try_get(0).map_err(failed)?;
        let number: i32 = row.try_get(1).map_err(failed)?;
        Ok(Facts {
            dialect: Dialect::Postgres,
            // Debian adds its own in brackets.
            version: version.split_whitespace().next().unwrap_or_default().to_owned(),
            number: number.unsigned_abs(),
            database: self.pool.maintenance().to_owned(),
            acts_as: row.try_get(2).map_err(failed)?,
            superuser: row.try_get(3).map_err(failed)?,
            encrypted: row.try_get::<_, Option<bool>>(4).map_err(failed)?.unwrap_or(false),
        })
    }

    /// Whether passwords stay out of the server's log.
    pub(super) async fn quiet(&self) -> Result<bool, SqlFault> {
        let session = self.pool.session(Purpose::Write, self.pool.maintenance()).await?;
        let quiet = quiet::whole(&session).await?;
        session.give_back();
        Ok(quiet)
    }

    /// What the roles reach.
    pub(super) async fn reach(&self) -> Result<Reach, SqlFault> {
        let session = self.pool.session(Purpose::Write, self.pool.maintenance()).await?;
        let reach = reach::read(&session).await?;
        session.give_back();
        Ok(reach)
    }

    /// What tells this server from another: made when its data were.
    pub(super) async fn fingerprint(&self) -> Result<String, SqlFault> {
        let session = self.pool.session(Purpose::Write, self.pool.maintenance()).await?;
        let query = "SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()";
        let failed = |error| error::of(&error, "the server does not say who it is");
        let row = session.query_typed_one(query, &[]).await.map_err(failed)?;
        session.give_back();
        Ok(format!("postgres:{}", row.try_get::<_, String>(0).map_err(failed)?))
    }

    /// Which server of its data this one is. A standby and a copy have the same identifier, and were
    /// started at another moment.
    pub(super) async fn running(&self) -> Result<String, SqlFault> {
        let session = self.pool.session(Purpose::Write, self.pool.maintenance()).await?;
        let query = "SELECT system_identifier::pg_catalog.text, \
            extract(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.text \
            FROM pg_catalog.pg_control_system()";
        let failed = |error| error::of(&error, "the server does not say since when it runs");
        let row = session.query_typed_one(query, &[]).await.map_err(failed)?;
        session.give_back();
        let (data, since): (String, String) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        Ok(format!("postgres:{data} since {since}"))
    }

    pub(super) async fn ask(
        &self,
        limits: &Limits,
        database: &str,
        query: &Judged,
        parameters: &[Option<String>],
    ) -> Result<Answer, SqlFault> {
        read::ask(&self.pool, limits, database, query, parameters).await
    }

    /// The role of ours that a statement changes.
    pub(super) fn own(&self, statement: &SqlEffect) -> Option<String> {
        own::touched(statement, &self.pool.access.users()).map(|(_, role)| role.clone())
    }

    pub(super) async fn turn(&self, limits: &Limits) -> Result<Turn, SqlFault> {
        write::lock(&self.pool, limits).await.map(Turn)
    }

    pub(super) async fn end_turn(&self, turn: Turn) {
        write::unlock(turn.0).await;
    }

    pub(super) async fn perform(
        &self,
        limits: &Limits,
        grants: &BTreeMap<String, Grant>,
        database: &str,
        effects: &[Ready<'_>],
        alone: bool,
        right: &Right,
    ) -> Vec<EffectEnd> {
        write::perform(&self.pool, limits, grants, database, effects, alone, right).await
    }

    /// Whether passwords of roles, by their identities, are given ones; `None` where that cannot
    /// be told. One query for all.
    pub(super) async fn passwords_fit(&self, asked: &[(&str, &str)]) -> Vec<Result<Option<bool>, SqlFault>> {
        let roles: Vec<Result<String, Fault>> = asked.iter().map(|(identity, _)| role(identity)).collect();
        let kept = match self.verifiers(&roles.iter().flatten().map(String::as_str).collect::<Vec<_>>()).await {
            Ok(kept) => kept,
            Err(fault) => return vec![Err(fault); asked.len()],
        };
        let mut answers = Vec::with_capacity(asked.len());
        for (role, (_, password)) in roles.into_iter().zip(asked) {
            answers.push(match role {
                Ok(role) => Ok(Some(kept.get(&role).is_some_and(|kept| verifier::fits(password, kept)))),
                Err(fault) => Err(fault.into()),
            });
            // Each takes some milliseconds of the processor, which others are waiting for.
            tokio::task::yield_now().await;
        }
        answers
    }

    /// What the server keeps of the passwords of those roles that have one.
    async fn verifiers(&self, roles: &[&str]) -> Result<BTreeMap<String, String>, SqlFault> {
        let session = self.pool.session(Purpose::Write, self.pool.maintenance()).await?;
        let query = "SELECT rolname::pg_catalog.text, rolpassword FROM pg_catalog.pg_authid \
            WHERE rolname = ANY($1) AND rolpassword IS NOT NULL";
        let failed = |error| error::of(&error, "whether a password is still the same cannot be told");
        let names = (&roles as &(dyn tokio_postgres::types::ToSql + Sync), tokio_postgres::types::Type::NAME_ARRAY);
        let rows = session.query_typed(query, &[names]).await.map_err(failed)?;
        session.give_back();
        rows.iter().map(|row| Ok((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?))).collect()
    }
}

/// What the server keeps instead of a password.
pub(super) fn verifier(password: &str) -> String {
    verifier::make(password)
}

/// The role of an identity, `role:NAME`.
pub(super) fn role(identity: &str) -> Result<String, Fault> {
    identity
        .strip_prefix("role:")
        .filter(|name| !name.is_empty())
        .map(plain_part)
        .ok_or_else(|| fault("invalid", format!("{identity} is no role, and has no password")))
}
