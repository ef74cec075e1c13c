//! A database server: what its catalog says, and statements that change it.
//!
//! Start at [`Server::postgres`]. `guard` decides which queries of plugins are sent; `postgres`
//! and `mariadb` speak to servers; `perform` is the only way to their functions that write.
//! Credentials stay here. An error about signing in names host, port, database and user.

pub(crate) mod credential;
pub mod guard;
mod keyed;
mod mariadb;
mod perform;
mod postgres;
mod session;
mod sqlite;
mod tls;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tidelock_model::config::ServerDecl;
use tidelock_model::effect::{Effect, EffectBody};
use tidelock_model::error::Fault;
use tidelock_model::grant::Grant;
use tidelock_model::name::Name;
use tidelock_model::observation::SecretProbe;
use tidelock_model::plan::{Group, Preview};
use tidelock_model::port::{Blobs, Target, Until};
use tidelock_model::run::{EffectEnd, Outcome};
use tidelock_model::secret::SecretValue;
use tidelock_model::sql::{Dialect, Reach, SqlEffect};

use self::guard::{Judged, judge};
pub use self::keyed::Keyed;
use self::mariadb::MariaDb;
use self::perform::Ready;
use self::postgres::Postgres;
use self::sqlite::Sqlite;
use self::value::fault;
pub use self::value::{Answer, Column, SqlFault, Value};
use crate::right::Right;

/// Bounds of what is asked and done. Times are milliseconds, sizes bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A query.
    pub statement_ms: u32,
    /// Waiting for a lock on an object. Longer waits hold up others behind us.
    pub lock_ms: u32,
    /// A statement that changes something, within a transaction or by itself. MySQL has no such limit.
    pub write_ms: u32,
    /// Waiting for others who perform on the same server.
    pub turn_ms: u32,
    /// Rows of one answer.
    pub rows: usize,
    /// Memory of one answer.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement_ms: 30_000,
            lock_ms: 2_000,
            write_ms: 600_000,
            turn_ms: 120_000,
            rows: 1_000_000,
            bytes: 64 << 20,
        }
    }
}

impl Limits {
    fn hold(&self, rows: usize, bytes: usize) -> Result<(), Fault> {
        if rows <= self.rows && bytes <= self.bytes {
            return Ok(());
        }
        Err(fault(
            "limit",
            format!("an answer has more than {} rows or {} bytes; ask for less at once", self.rows, self.bytes),
        ))
    }
}

/// What a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What it speaks.
    pub dialect: Dialect,
    /// Its version, as it says it.
    pub version: String,
    /// Its version, to compare: 150020 for 15.20, 101119 for 10.11.19.
    pub number: u32,
    /// The database that is opened where none is named.
    pub database: String,
    /// Who performs.
    pub acts_as: String,
    /// Whether that is somebody who may do anything.
    pub superuser: bool,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
}

/// A database server with the grants on it. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    name: Name,
    driver: Driver,
    grants: Arc<BTreeMap<String, Grant>>,
    limits: Limits,
    /// One `perform` at a time.
    performing: tokio::sync::Mutex<()>,
    /// Queries that were judged: a provider asks the same ones in each pass.
    judged: std::sync::Mutex<BTreeMap<String, Judged>>,
}

/// How a probe says that the password of a role or account is to be compared.
const PASSWORD: &str = "sql-password";
/// Judged queries that are kept.
const JUDGED: usize = 256;

/// What speaks to a server.
enum Driver {
    Postgres(Postgres),
    MariaDb(MariaDb),
    Sqlite(Sqlite),
}

/// A turn to perform on a server.
enum Turn {
    Postgres(postgres::Turn),
    MariaDb(mariadb::Turn),
    /// The lock of the file, which comes with a transaction.
    Sqlite,
}

impl Driver {
    async fn perform(
        &self,
        limits: &Limits,
        grants: &BTreeMap<String, Grant>,
        database: &str,
        effects: &[Ready<'_>],
        alone: bool,
        right: &Right,
    ) -> Vec<EffectEnd> {
        match self {
            Self::Postgres(server) => server.perform(limits, grants, database, effects, alone, right).await,
            // None of its statements is part of a transaction: each is a stretch by itself.
            Self::MariaDb(server) => vec![server.perform(limits, grants, &effects[0], right).await],
            Self::Sqlite(server) => server.perform(limits, effects, right).await,
        }
    }

    async fn turn(&self, limits: &Limits) -> Result<Turn, SqlFault> {
        match self {
            Self::Postgres(server) => server.turn(limits).await.map(Turn::Postgres),
            Self::MariaDb(server) => server.turn(limits).await.map(Turn::MariaDb),
            Self::Sqlite(_) => Ok(Turn::Sqlite),
        }
    }

    async fn end_turn(&self, turn: Turn) {
        match (self, turn) {
            (Self::Postgres(server), Turn::Postgres(turn)) => server.end_turn(turn).await,
            (Self::MariaDb(server), Turn::MariaDb(turn)) => server.end_turn(turn).await,
            // Dropped, and its session closed: turns are given back where they were taken.
            (Self::Postgres(_) | Self::MariaDb(_) | Self::Sqlite(_), _) => {}
        }
    }
}

impl Server {
    /// Takes a PostgreSQL server. Nothing is connected yet. `base` is where relative paths of
    /// the config start.
    #[must_use]
    pub fn postgres(name: &Name, decl: ServerDecl, base: PathBuf, grants: Vec<Grant>, limits: Limits) -> Self {
        Self::new(name, Driver::Postgres(Postgres::new(name, decl, base)), grants, limits)
    }

    /// Takes a MariaDB or MySQL server, as [`Server::postgres`].
    #[must_use]
    pub fn mysql(name: &Name, decl: ServerDecl, base: PathBuf, grants: Vec<Grant>, limits: Limits) -> Self {
        Self::new(name, Driver::MariaDb(MariaDb::new(name, decl, base)), grants, limits)
    }

    /// Takes a SQLite database in a file, which must be there once it is looked at.
    #[must_use]
    pub fn sqlite(name: &Name, file: PathBuf, grants: Vec<Grant>, limits: Limits) -> Self {
        Self::new(name, Driver::Sqlite(Sqlite::new(name, file)), grants, limits)
    }

    fn new(name: &Name, driver: Driver, grants: Vec<Grant>, limits: Limits) -> Self {
        let grants = Arc::new(grants.into_iter().map(|grant| (grant.plugin().to_owned(), grant)).collect());
        let inner = Inner {
            name: name.clone(),
            driver,
            grants,
            limits,
            performing: tokio::sync::Mutex::new(()),
            judged: std::sync::Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// All grants on it, by plugin.
    #[must_use]
    pub fn grants(&self) -> Arc<BTreeMap<String, Grant>> {
        Arc::clone(&self.inner.grants)
    }

    /// The database that is opened where none is named.
    #[must_use]
    pub fn maintenance(&self) -> &str {
        match &self.inner.driver {
            Driver::Postgres(server) => server.maintenance(),
            // Sessions are in none: everything is named in full.
            Driver::MariaDb(_) => "",
            Driver::Sqlite(_) => sqlite::MAIN,
        }
    }

    /// What its effects are written in.
    ///
    /// # Errors
    /// It has to be asked, and cannot be.
    pub async fn dialect(&self) -> Result<Dialect, SqlFault> {
        match &self.inner.driver {
            Driver::Postgres(_) => Ok(Dialect::Postgres),
            Driver::MariaDb(server) => server.dialect().await,
            Driver::Sqlite(_) => Ok(Dialect::Sqlite),
        }
    }

    /// Whether the free text of a statement can be read as what it claims to be.
    #[must_use]
    pub fn reads_as(&self, statement: &SqlEffect) -> bool {
        guard::understood(statement)
    }

    /// What its roles reach beyond what they were granted; nothing where it has no such roles.
    ///
    /// # Errors
    /// As [`Server::facts`].
    pub async fn reach(&self) -> Result<Reach, SqlFault> {
        match &self.inner.driver {
            Driver::Postgres(server) => server.reach().await,
            Driver::MariaDb(server) => server.reach().await,
            Driver::Sqlite(_) => Ok(Reach::default()),
        }
    }

    /// What the server is.
    ///
    /// # Errors
    /// It cannot be reached, or does not let us in.
    pub async fn facts(&self) -> Result<Facts, SqlFault> {
        match &self.inner.driver {
            Driver::Postgres(server) => server.facts().await,
            Driver::MariaDb(server) => server.facts().await,
            Driver::Sqlite(server) => server.facts(),
        }
    }

    /// What the server is to whoever signs in for reads, where the config names somebody else for
    /// them.
    ///
    /// # Errors
    /// As [`Server::facts`].
    pub async fn reader(&self) -> Result<Option<Facts>, SqlFault> {
        match &self.inner.driver {
            Driver::Postgres(server) => server.reader().await,
            Driver::MariaDb(server) => server.reader().await,
            Driver::Sqlite(_) => Ok(None),
        }
    }

    /// Whether statements that set passwords, which hold what proves them, stay out of the server's log.
    ///
    /// # Errors
    /// As [`Server::facts`].
    pub async fn quiet(&self) -> Result<bool, SqlFault> {
        match &self.inner.driver {
            Driver::Postgres(server) => server.quiet().await,
            Driver::MariaDb(server) => server.quiet().await,
            Driver::Sqlite(_) => Ok(true),
        }
    }

    /// The databases that do not let in whoever looks, each with the statement that would have it let in. None
    /// where one catalog tells of all of them.
    ///
    /// # Errors
    /// As [`Server::facts`].
    pub async fn shut(&self) -> Result<Vec<(String, String)>, SqlFault> {
        match &self.inner.driver {
            Driver::Postgres(server) => server.shut().await,
            Driver::MariaDb(_) | Driver::Sqlite(_) => Ok(vec![]),
        }
    }

    /// Judges a query of a plugin; see [`guard`].
    ///
    /// # Errors
    /// It does more than look.
    pub async fn judge(&self, text: &str) -> Result<Judged, SqlFault> {
        let kept = || self.inner.judged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(judged) = kept().get(text) {
            return Ok(judged.clone());
        }
        let judged = judge(self.dialect().await?, text)?;
        let mut kept = kept();
        if kept.len() >= JUDGED {
            kept.clear();
        }
        kept.insert(text.to_owned(), judged.clone());
        Ok(judged)
    }

    /// Asks a judged query. The caller has decided on the grant.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or answers with more than the limits allow.
    pub async fn ask(
        &self,
        database: Option<&str>,
        query: &Judged,
        parameters: &[Option<String>],
    ) -> Result<Answer, SqlFault> {
        match &self.inner.driver {
            Driver::Postgres(server) => {
                let database = database.unwrap_or(server.maintenance());
                server.ask(&self.inner.limits, database, query, parameters).await
            }
            // One catalog tells of all its databases.
            Driver::MariaDb(server) => server.ask(&self.inner.limits, query, parameters).await,
            Driver::Sqlite(server) => server.ask(&self.inner.limits, query, parameters).await,
        }
    }

    /// Whether the passwords of roles or users, given by their identities, are certain ones:
    /// `None` where that cannot be told, an error where the server cannot be asked.
    async fn passwords_fit(&self, asked: &[(&str, &str)]) -> Vec<Result<Option<bool>, SqlFault>> {
        match &self.inner.driver {
            Driver::Postgres(server) => server.passwords_fit(asked).await,
            Driver::MariaDb(server) => {
                let mut answers = Vec::with_capacity(asked.len());
                for (identity, password) in asked {
                    answers.push(server.password_fits(identity, password).await);
                }
                answers
            }
            Driver::Sqlite(_) => vec![Ok(None); asked.len()],
        }
    }
}

#[async_trait]
impl Target for Server {
    async fn fingerprint(&self) -> Result<String, Fault> {
        match &self.inner.driver {
            Driver::Postgres(server) => server.fingerprint().await.map_err(SqlFault::whole),
            Driver::MariaDb(server) => server.fingerprint().await.map_err(SqlFault::whole),
            Driver::Sqlite(server) => server.fingerprint().map_err(SqlFault::whole),
        }
    }

    async fn running(&self) -> Result<Option<String>, Fault> {
        let said = match &self.inner.driver {
            Driver::Postgres(server) => server.running().await,
            Driver::MariaDb(server) => server.running().await,
            // A file is told by its device and inode, by whatever path it is reached.
            Driver::Sqlite(server) => server.fingerprint(),
        };
        said.map(Some).map_err(SqlFault::whole)
    }

    async fn preview(&self, effect: &Effect, _: &dyn Blobs) -> Result<Preview, Fault> {
        // The statement is the summary.
        let EffectBody::Sql(statement) = &effect.body else { return Ok(Preview::default()) };
        if let Driver::MariaDb(server) = &self.inner.driver
            && let Some(taken) = server.taken(statement).await.map_err(SqlFault::whole)?
        {
            return Ok(Preview { text: format!("own-access: {}: it is refused", taken.message), cut: false });
        }
        let ours = match &self.inner.driver {
            Driver::Postgres(server) => server.own(statement),
            Driver::MariaDb(server) => server.own(statement).await.map_err(SqlFault::whole)?,
            Driver::Sqlite(_) => None,
        };
        Ok(ours.map_or_else(Preview::default, |who| Preview { text: session::own_access(&who), cut: false }))
    }

    async fn matches(&self, asked: &[(&SecretProbe, &SecretValue)]) -> Vec<Result<Option<bool>, Fault>> {
        let mut answers = vec![Ok(None); asked.len()];
        let (mut places, mut passwords) = (Vec::new(), Vec::new());
        for (place, (probe, value)) in asked.iter().enumerate() {
            match std::str::from_utf8(value.reveal()) {
                _ if probe.method != PASSWORD => {}
                Ok(password) => {
                    places.push(place);
                    passwords.push((probe.material.as_str(), password));
                }
                // No password is anything but text.
                Err(_) => answers[place] = Ok(Some(false)),
            }
        }
        if !passwords.is_empty() {
            for (place, answer) in places.into_iter().zip(self.passwords_fit(&passwords).await) {
                answers[place] = answer.map_err(SqlFault::whole);
            }
        }
        answers
    }

    async fn replaced(&self, _: &Effect, _: u64) -> Result<Option<Vec<u8>>, Fault> {
        Ok(None)
    }

    async fn perform(&self, run: &str, groups: &[Group], blobs: &dyn Blobs, until: &Until) -> Vec<Outcome> {
        perform::perform(self, run, groups, blobs, until).await
    }

    async fn sweep(&self, _: &[Effect]) -> Result<usize, Fault> {
        // Nothing is left beside anything: what was not committed is gone.
        Ok(0)
    }
}
