//! Signing in to MariaDB or MySQL: which host, as whom, how encrypted; and few sessions, kept
//! for a while.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;
use mysql_async::{ClientIdentity, Conn, OptsBuilder, SslOpts};
use tidelock_model::config::{Require, ServerDecl, TlsDecl, TlsMode};
use tidelock_model::error::Fault;
use tidelock_model::name::Name;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::of;
use crate::sql::credential;
use crate::sql::session::{CONNECT, IDLE, Purpose, SESSIONS, is_loopback, no_host, no_user, plain, standby};
use crate::sql::value::{SqlFault, fault};

/// What every session begins with: texts that read the same whatever the server's defaults,
/// and UTF-8.
const SETUP: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', NAMES utf8mb4";

/// The largest message, in bytes: as much as one call of a plugin may move.
const MAX_MESSAGE: usize = 16 << 20;

type Idle = Arc<Mutex<HashMap<Purpose, Vec<(Conn, Instant)>>>>;

/// The sessions with one server.
pub(super) struct Pool {
    name: Name,
    decl: ServerDecl,
    /// Where relative paths of the config start.
    base: PathBuf,
    places: Arc<Semaphore>,
    idle: Idle,
}

/// A session, lent. Closed when it is dropped, unless it was given back.
pub(super) struct Session {
    conn: Conn,
    purpose: Purpose,
    idle: Idle,
    _place: OwnedSemaphorePermit,
}

impl Deref for Session {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl Session {
    /// Gives the session back, in no transaction and as it was.
    pub(super) fn give_back(self) {
        let Self { conn, purpose, idle, _place } = self;
        if conn.is_disconnected() {
            return;
        }
        idle.lock().unwrap_or_else(PoisonError::into_inner).entry(purpose).or_default().push((conn, Instant::now()));
        tokio::spawn(async move {
            tokio::time::sleep(IDLE + Duration::from_secs(1)).await;
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.values_mut().for_each(|sessions| sessions.retain(|(_, since)| since.elapsed() < IDLE));
        });
    }
}

impl Pool {
    pub(super) fn new(name: &Name, decl: ServerDecl, base: PathBuf) -> Self {
        let places = Arc::new(Semaphore::new(SESSIONS));
        Self { name: name.clone(), decl, base, places, idle: Arc::default() }
    }

    /// A session. None is in any database: everything is named in full.
    pub(super) async fn session(&self, purpose: Purpose) -> Result<Session, SqlFault> {
        // Without a reader of its own, one kind of session does for both.
        let purpose = if self.decl.read.is_some() { purpose } else { Purpose::Write };
        let gone = |_| fault("io", "Tidelock is ending");
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(gone)?;
        let idle = || {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            std::iter::from_fn(|| idle.get_mut(&purpose).and_then(Vec::pop)).find(|(conn, _)| !conn.is_disconnected())
        };
        let found = idle();
        let conn = match found {
            Some((conn, _)) => conn,
            None => self.connect(purpose).await.map_err(SqlFault::at_sign_in)?,
        };
        Ok(Session { conn, purpose, idle: Arc::clone(&self.idle), _place: place })
    }

    /// Signs in with the first host that will do.
    async fn connect(&self, purpose: Purpose) -> Result<Conn, SqlFault> {
        let (user, password) = self.who(purpose)?;
        let port = self.decl.port.unwrap_or(3306);
        let mut failed: Option<SqlFault> = None;
        let mut standbys = Vec::new();
        for host in self.decl.host.all() {
            let host = credential::host(host, &self.base)?;
            let options = OptsBuilder::default()
                .user(Some(&user))
                .pass(password.as_deref())
                .prefer_socket(false)
                .tcp_keepalive(Some(Duration::from_secs(30)))
                .setup(vec![SETUP])
                .stmt_cache_size(0)
                // Whoever asks for the password itself does not get it.
                .enable_cleartext_plugin(false)
                .max_allowed_packet(Some(MAX_MESSAGE));
            let (options, there) = if host.starts_with('/') {
                (options.socket(Some(&host)), host.clone())
            } else {
                let tls = ssl(&self.decl.tls, &self.base)?;
                if tls.is_none() && !is_loopback(&host) && !self.decl.tls.plain_to_others {
                    return Err(plain(&self.name, &host).into());
                }
                (options.ip_or_hostname(host.clone()).tcp_port(port).ssl_opts(tls), format!("{host} port {port}"))
            };
            let what = format!("target {}: {there}, as {user}", self.name);
            let mut conn = match tokio::time::timeout(CONNECT, Conn::new(options)).await {
                Ok(Ok(conn)) => conn,
                Ok(Err(error)) => {
                    failed = Some(of(&error, &what));
                    continue;
                }
                Err(_) => {
                    failed = Some(fault("unavailable", format!("{what}: no answer in time")).retryable().into());
                    continue;
                }
            };
            if self.decl.require == Require::Any {
                return Ok(conn);
            }
            match conn.query_first::<i64, _>("SELECT @@global.read_only + 0").await {
                Ok(Some(0)) => return Ok(conn),
                Ok(_) => standbys.push(there),
                Err(error) => failed = Some(of(&error, &what)),
            }
        }
        Err(match failed {
            _ if !standbys.is_empty() => standby(&self.name, &standbys).into(),
            Some(failed) => failed,
            None => no_host(&self.name).into(),
        })
    }

    fn who(&self, purpose: Purpose) -> Result<(String, Option<String>), Fault> {
        let (user, password) = match (&self.decl.read, purpose) {
            (Some(reader), Purpose::Read) => (Some(&reader.user), reader.password.as_ref()),
            _ => (self.decl.user.as_ref(), self.decl.password.as_ref()),
        };
        let user = user.ok_or_else(|| no_user(&self.name))?;
        let user = credential::given(user, &self.base, "user")?;
        let password = password.map(|kept| credential::secret(kept, &self.base, "password")).transpose()?;
        Ok((user, password))
    }
}

/// Encryption as the config demands it; `None` where nothing is encrypted.
fn ssl(decl: &TlsDecl, base: &Path) -> Result<Option<SslOpts>, Fault> {
    let mut tls = match decl.mode {
        TlsMode::Off => return Ok(None),
        TlsMode::Require => {
            SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true)
        }
        TlsMode::VerifyFull => SslOpts::default(),
    };
    if let Some(ca) = &decl.ca {
        tls = tls.with_root_certs(vec![base.join(ca).into()]).with_disable_built_in_roots(true);
    }
    if let (Some(cert), Some(key)) = (&decl.cert, &decl.key) {
        // The driver reads it again by itself.
        drop(credential::private(&base.join(key), "key")?);
        tls = tls.with_client_identity(Some(ClientIdentity::new(base.join(cert).into(), base.join(key).into())));
    }
    Ok(Some(tls))
}
