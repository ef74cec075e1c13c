//! MariaDB and MySQL: `connect` signs in, `read` asks. Their statements that define things end
//! every transaction, so each is performed by itself, in order; what was done before a failure
//! stays, and is found done by the next look.

mod connect;
mod error;
mod own;
mod reach;
mod read;
mod taken;
mod verifier;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use tidelock_model::config::ServerDecl;
use tidelock_model::effect::{EffectBody, Precondition};
use tidelock_model::error::Fault;
use tidelock_model::grant::{Grant, ungranted};
use tidelock_model::name::Name;
use tidelock_model::run::EffectEnd;
use tidelock_model::sql::{Dialect, Reach, SqlEffect};
use tokio::sync::OnceCell;

use self::connect::{Pool, Session};
use self::error::{is_unknown_variable, not_prepared, of, passes, said};
use self::own::Own;
use super::guard::{Judged, judge};
use super::keyed::Keyed;
use super::perform::{Ready, changed};
use super::session::{Purpose, TRIES, WAIT};
use super::value::{Answer, SqlFault, fault};
use super::{Facts, Limits};
use crate::right::Right;

/// Who holds it performs.
const LOCK: &str = "tidelock";

/// Keeps what a session says out of the server's general log, where whoever signs in may: a hash of a
/// password proves it as well as the password.
const LOGS_NOTHING: &str = "SET SESSION sql_log_off = 1";
const LOGS_AGAIN: &str = "SET SESSION sql_log_off = @@GLOBAL.sql_log_off";

/// A MariaDB or MySQL server.
pub(super) struct MariaDb {
    name: Name,
    pool: Pool,
    dialect: OnceCell<Dialect>,
}

/// The lock of a server.
pub(super) struct Turn(Session);

impl MariaDb {
    pub(super) fn new(name: &Name, decl: ServerDecl, base: PathBuf) -> Self {
        Self { name: name.clone(), pool: Pool::new(name, decl, base), dialect: OnceCell::new() }
    }

    /// Which of the two it is.
    pub(super) async fn dialect(&self) -> Result<Dialect, SqlFault> {
        self.dialect.get_or_try_init(|| async { self.facts().await.map(|facts| facts.dialect) }).await.copied()
    }

    pub(super) async fn facts(&self) -> Result<Facts, SqlFault> {
        self.facts_as(Purpose::Write).await
    }

    pub(super) async fn reader(&self) -> Result<Option<Facts>, SqlFault> {
        self.pool.access.as_reader(|purpose| self.facts_as(purpose)).await
    }

    /// Whether passwords stay out of the server's general log.
    pub(super) async fn quiet(&self) -> Result<bool, SqlFault> {
        let mut session = self.pool.session(Purpose::Write).await?;
        // Who may not leave it out may not say what holds already.
        let quiet = session.query_drop(LOGS_AGAIN).await.is_ok();
        session.give_back();
        Ok(quiet)
    }

    async fn facts_as(&self, purpose: Purpose) -> Result<Facts, SqlFault> {
        let mut session = self.pool.session(purpose).await?;
        let failed = |error| of(&error, "the server does not say what it is");
        let found: Option<(String, String)> =
            session.query_first("SELECT VERSION(), CURRENT_USER()").await.map_err(failed)?;
        let (version, acts_as) = found.unwrap_or_default();
        let cipher: Option<(String, String)> =
            session.query_first("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await.map_err(failed)?;
        let rights: Vec<String> = session.query("SHOW GRANTS").await.map_err(failed)?;
        session.give_back();
        let dialect = if version.contains("MariaDB") { Dialect::MariaDb } else { Dialect::MySql };
        let plain = version.split('-').next().unwrap_or_default().to_owned();
        let number = plain.split('.').take(3).fold(0, |sum, part| sum * 100 + part.parse::<u32>().unwrap_or(0));
        Ok(Facts {
            dialect,
            version: plain,
            number,
            database: String::new(),
            acts_as,
            // The words are the server's own; what proves a password may follow them.
            superuser: rights.iter().any(|line| line.starts_with("GRANT ALL PRIVILEGES ON *.* ")),
            encrypted: cipher.is_some_and(|(_, cipher)| !cipher.is_empty()),
        })
    }

    /// What tells this server from another.
    pub(super) async fn fingerprint(&self) -> Result<String, SqlFault> {
        let dialect = self.dialect().await?;
        let mut session = self.pool.session(Purpose::Write).await?;
        let query = if dialect == Dialect::MySql { "SELECT @@server_uuid" } else { "SELECT @@server_uid" };
        let failed = |error: mysql_async::Error| {
            let mut fault = of(&error, "the server does not say who it is");
            if is_unknown_variable(&error) {
                fault.fault.hint = Some("a MariaDB without @@server_uid is older than what is supported: 10.11".into());
            }
            fault
        };
        let id: Option<String> = session.query_first(query).await.map_err(failed)?;
        session.give_back();
        Ok(format!("{}:{}", dialect.word(), id.unwrap_or_default()))
    }

    /// Which server this is. Its own number is made of a network card and a port, which copies of a
    /// virtual machine share, so where it runs and since when belong to it.
    pub(super) async fn running(&self) -> Result<String, SqlFault> {
        let (id, statuses) = match self.dialect().await? {
            Dialect::MySql => ("@@server_uuid", "performance_schema.global_status"),
            _ => ("@@server_uid", "information_schema.GLOBAL_STATUS"),
        };
        let mut session = self.pool.session(Purpose::Write).await?;
        let query = format!(
            "SELECT CONCAT_WS(' ', {id}, @@hostname, @@port, @@datadir, UNIX_TIMESTAMP() - VARIABLE_VALUE) \
             FROM {statuses} WHERE VARIABLE_NAME = 'Uptime'"
        );
        let failed = |error| of(&error, "the server does not say since when it runs");
        let said: Option<String> = session.query_first(query).await.map_err(failed)?;
        session.give_back();
        let said = said.ok_or_else(|| fault("unsupported", "the server does not say since when it runs"))?;
        Ok(format!("mysql:{said}"))
    }

    pub(super) async fn ask(
        &self,
        limits: &Limits,
        query: &Judged,
        parameters: &[Option<String>],
    ) -> Result<Answer, SqlFault> {
        read::ask(&self.pool, limits, self.dialect().await?, query, parameters).await
    }

    /// The account of ours that a statement changes or ends.
    pub(super) async fn own(&self, statement: &SqlEffect) -> Result<Option<String>, SqlFault> {
        Ok(own::ours(&self.pool, statement).await?.map(|(_, who)| who))
    }

    /// What accounts and roles reach.
    pub(super) async fn reach(&self) -> Result<Reach, SqlFault> {
        let dialect = self.dialect().await?;
        let mut session = self.pool.session(Purpose::Write).await?;
        let reach = reach::read(&mut session, dialect).await?;
        session.give_back();
        Ok(reach)
    }

    /// What a statement takes from the account that performs for good: it will not be performed.
    pub(super) async fn taken(&self, statement: &SqlEffect) -> Result<Option<Fault>, SqlFault> {
        taken::taken(&self.pool, statement).await
    }

    pub(super) async fn turn(&self, limits: &Limits) -> Result<Turn, SqlFault> {
        let mut session = self.pool.session(Purpose::Write).await?;
        let failed = |error| of(&error, "the lock of the server could not be taken");
        let query = format!("SELECT GET_LOCK('{LOCK}', {})", limits.turn_ms.div_ceil(1_000));
        match session.query_first::<Option<i64>, _>(query).await.map_err(failed)?.flatten() {
            Some(1) => Ok(Turn(session)),
            _ => Err(fault("unavailable", format!("target {}: somebody else performs on it", self.name))
                .retryable()
                .into()),
        }
    }

    pub(super) async fn end_turn(&self, turn: Turn) {
        let Turn(mut session) = turn;
        if session.query_drop(format!("DO RELEASE_LOCK('{LOCK}')")).await.is_ok() {
            session.give_back();
        }
    }

    /// Performs one statement by itself.
    pub(super) async fn perform(
        &self,
        limits: &Limits,
        grants: &BTreeMap<String, Grant>,
        ready: &Ready<'_>,
        right: &Right,
    ) -> EffectEnd {
        let mut wait = WAIT;
        for tries in 1.. {
            match self.once(limits, grants, ready).await {
                Ok(()) => return EffectEnd::Done,
                Err((end, again)) => {
                    if !again || tries == TRIES {
                        return end;
                    }
                    tokio::time::sleep(wait).await;
                    if right.is_over() {
                        return end;
                    }
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
            }
        }
        EffectEnd::NotReached
    }

    /// Says how it ended, and whether to try again.
    async fn once(
        &self,
        limits: &Limits,
        grants: &BTreeMap<String, Grant>,
        ready: &Ready<'_>,
    ) -> Result<(), (EffectEnd, bool)> {
        let failed = |fault: SqlFault| {
            let again = fault.passes();
            (EffectEnd::Failed { fault: fault.whole() }, again)
        };
        self.check(limits, ready).await.map_err(failed)?;
        let dialect = self.dialect().await.map_err(failed)?;
        let mut session = self.pool.session(Purpose::Write).await.map_err(failed)?;
        let what = "the server refused it";
        let bounds = read::bounds(limits, dialect, limits.write_ms);
        session.query_drop(bounds).await.map_err(|error| failed(of(&error, what)))?;
        let statement = match &ready.effect.body {
            EffectBody::Sql(statement) => Some(statement),
            _ => None,
        };
        if let Some(statement) = statement
            && let Some(taken) = self.taken(statement).await.map_err(failed)?
        {
            session.give_back();
            return Err(failed(taken.into()));
        }
        if let Some(statement) = statement.filter(|statement| !statement.lends().is_empty()) {
            let reach = reach::read(&mut session, dialect).await.map_err(failed)?;
            let plugin = &ready.effect.plugin;
            let refused = |who: String| {
                let by = |grant: &Grant| grant.decide_reach(&who, &reach, |_| false);
                grants.get(plugin).map_or_else(|| Err(ungranted(plugin, self.name.as_str(), by)), by).err()
            };
            if let Some(fault) = statement.lends().into_iter().find_map(refused) {
                session.give_back();
                return Err(failed(fault.into()));
            }
        }
        let own = match statement {
            Some(statement) => Own::look(&self.pool, &mut session, statement).await.map_err(failed)?,
            None => None,
        };
        let quiet = ready.holds_secret() && session.query_drop(LOGS_NOTHING).await.is_ok();
        let mut ended = session.exec_drop(ready.sql.as_str(), ()).await;
        // Sent as text, a statement could be two: only what was composed in full goes that way.
        let whole = statement.is_some_and(|statement| !statement.unread);
        if whole && ended.as_ref().is_err_and(not_prepared) {
            ended = session.query_drop(ready.sql.as_str()).await;
        }
        match ended {
            Ok(()) => {
                let proved = match (&own, statement) {
                    (Some(own), Some(statement)) => own.prove(&self.pool, &mut session, statement).await,
                    _ => Ok(()),
                };
                // A session that cannot be as it was is closed.
                if !quiet || session.query_drop(LOGS_AGAIN).await.is_ok() {
                    session.give_back();
                }
                proved.map_err(|(fault, unknown)| match unknown {
                    true => (EffectEnd::Unknown { why: fault.message }, false),
                    false => (EffectEnd::Failed { fault }, false),
                })
            }
            Err(error) => {
                let fault = of(&error, what).hushed(ready.holds_secret());
                if said(&error) {
                    return Err((EffectEnd::Failed { fault: fault.whole() }, passes(&error)));
                }
                Err((EffectEnd::Unknown { why: fault.fault.message }, false))
            }
        }
    }

    async fn check(&self, limits: &Limits, ready: &Ready<'_>) -> Result<(), SqlFault> {
        let Some(Precondition::Rows { looks }) = &ready.effect.precondition else { return Ok(()) };
        for look in looks {
            // What was judged is judged again: a plan may have lain in a file.
            let query = judge(self.dialect().await?, &look.query)?;
            let answer = self.ask(limits, &query, &look.parameters).await?;
            let (count, rows) = Keyed::new(answer).of_key(&look.key);
            if rows != look.rows || count != look.count {
                return Err(changed(ready.effect).into());
            }
        }
        Ok(())
    }

    /// Whether an account's password is a given one; `None` where that cannot be told.
    pub(super) async fn password_fits(&self, account: &str, password: &str) -> Result<Option<bool>, SqlFault> {
        let (user, host) = account_of(account)?;
        let query = match self.dialect().await? {
            Dialect::MySql => "SELECT plugin, authentication_string FROM mysql.user WHERE User = ? AND Host = ?",
            _ => {
                "SELECT JSON_VALUE(Priv, '$.plugin'), JSON_VALUE(Priv, '$.authentication_string') \
                 FROM mysql.global_priv WHERE User = ? AND Host = ?"
            }
        };
        let mut session = self.pool.session(Purpose::Write).await?;
        let failed = |error| of(&error, "whether a password is still the same cannot be told");
        let found: Option<(Option<String>, Option<String>)> =
            session.exec_first(query, (user, host)).await.map_err(failed)?;
        session.give_back();
        let Some((plugin, kept)) = found else { return Ok(Some(false)) };
        Ok(verifier::fits(password, plugin.as_deref().unwrap_or_default(), kept.as_deref().unwrap_or_default()))
    }
}

/// What stands in a statement for a password: the hash of the account's plugin.
pub(super) fn verifier(plugin_words: &str, password: &str) -> Result<String, Fault> {
    verifier::make(plugin_words, password)
}

/// Name and host of an identity, `user:NAME@HOST`.
fn account_of(identity: &str) -> Result<(String, String), Fault> {
    let parts = identity.strip_prefix("user:").and_then(|account| account.split_once('@'));
    let (name, host) =
        parts.ok_or_else(|| fault("invalid", format!("{identity} is no account, and has no password")))?;
    Ok((super::session::plain_part(name), super::session::plain_part(host)))
}
