//! Signing in to PostgreSQL: which host, as whom, how encrypted; and few sessions, kept for
//! a while.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use tidelock_model::config::{Require, ServerDecl, TlsMode};
use tidelock_model::error::Fault;
use tidelock_model::name::Name;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{chain, of};
use super::watch::{ASKED, Rules, Watched, Within};
use crate::sql::session::{CONNECT, IDLE, Purpose, SESSIONS, is_loopback, no_host, no_user, plain, standby};
use crate::sql::value::{SqlFault, fault};
use crate::sql::{credential, tls};

/// How long a connection may be idle before it is asked whether it still stands.
const KEEPALIVE: Duration = Duration::from_secs(30);

type Key = (Purpose, String);
type Idle = Arc<Mutex<HashMap<Key, Vec<(SignedIn, Instant)>>>>;

/// Somebody let in.
pub(super) struct SignedIn {
    client: Client,
    /// Whether the server sent more at once than is read.
    too_large: Arc<AtomicBool>,
}

impl Deref for SignedIn {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

/// The sessions with one server.
pub(super) struct Pool {
    name: Name,
    decl: ServerDecl,
    /// Where relative paths of the config start.
    base: PathBuf,
    places: Arc<Semaphore>,
    idle: Idle,
    /// Whether the next password is the one that was last let in.
    next: AtomicBool,
}

/// A session, lent. Closed when it is dropped, unless it was given back.
pub(super) struct Session {
    client: SignedIn,
    key: Key,
    idle: Idle,
    _place: OwnedSemaphorePermit,
}

impl Deref for Session {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Session {
    /// Whether it ended since the server sent more at once than is read.
    pub(super) fn got_too_much(&self) -> bool {
        self.client.too_large.load(Ordering::Acquire)
    }

    /// Gives the session back, in no transaction and as it was.
    pub(super) fn give_back(self) {
        let Self { client, key, idle, _place } = self;
        if client.is_closed() {
            return;
        }
        idle.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().push((client, Instant::now()));
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
        Self { name: name.clone(), decl, base, places, idle: Arc::default(), next: AtomicBool::new(false) }
    }

    /// The database that is opened where none is named.
    pub(super) fn maintenance(&self) -> &str {
        self.decl.database.as_deref().unwrap_or("postgres")
    }

    /// A session with a database.
    pub(super) async fn session(&self, purpose: Purpose, database: &str) -> Result<Session, SqlFault> {
        // Without a reader of its own, one kind of session does for both.
        let purpose = if self.decl.read.is_some() { purpose } else { Purpose::Write };
        let gone = |_| fault("io", "Tidelock is ending");
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(gone)?;
        let key = (purpose, database.to_owned());
        let idle = || {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            std::iter::from_fn(|| idle.get_mut(&key).and_then(Vec::pop)).find(|(client, _)| !client.is_closed())
        };
        let client = match idle() {
            Some((client, _)) => client,
            None => self.connect(purpose, database).await.map_err(SqlFault::at_sign_in)?,
        };
        Ok(Session { client, key, idle: Arc::clone(&self.idle), _place: place })
    }

    /// Signs in with the first host that will do. Where the password is refused and the config
    /// has a next one, with that.
    pub(super) async fn connect(&self, purpose: Purpose, database: &str) -> Result<SignedIn, SqlFault> {
        if purpose == Purpose::Read || self.decl.next_password.is_none() {
            return self.sign_in(purpose, database, false).await;
        }
        let first = self.next.load(Ordering::Relaxed);
        let refused = match self.sign_in(purpose, database, first).await {
            Err(refused) if refused.fault.code == "auth" => refused,
            other => return other,
        };
        let client = self.sign_in(purpose, database, !first).await.map_err(|_| refused)?;
        self.next.store(!first, Ordering::Relaxed);
        Ok(client)
    }

    async fn sign_in(&self, purpose: Purpose, database: &str, next: bool) -> Result<SignedIn, SqlFault> {
        let (user, password) = self.who(purpose, next)?;
        let port = self.decl.port.unwrap_or(5432);
        let encryption = tls::client(&self.decl.tls, &self.base)?;
        let mut failed: Option<SqlFault> = None;
        let mut standbys = Vec::new();
        for host in self.decl.host.all() {
            let host = credential::host(host, &self.base)?;
            let mut config = tokio_postgres::Config::new();
            config.host(&host).port(port).user(&user).dbname(database).application_name("tidelock");
            config.connect_timeout(CONNECT).keepalives_idle(KEEPALIVE);
            if let Some(password) = &password {
                config.password(password);
            }
            let socket = host.starts_with('/');
            let there = if socket { format!("{host}/.s.PGSQL.{port}") } else { format!("{host} port {port}") };
            let what = format!("target {}: {there}, database {database}, as {user}", self.name);
            let rules = Rules { give_password: self.decl.tls.plain_password, too_large: Arc::default() };
            let connected = match &encryption {
                Some(client) if !socket => {
                    config.ssl_mode(SslMode::Require);
                    encrypted(&config, MakeRustlsConnect::new(client.clone()), rules).await
                }
                None if !socket && !is_loopback(&host) && !self.decl.tls.plain_to_others => {
                    return Err(plain(&self.name, &host).into());
                }
                _ => {
                    config.ssl_mode(SslMode::Disable);
                    plainly(&config, &host, port, rules).await
                }
            };
            let client = match connected {
                Ok(client) => client,
                Err(error) => {
                    failed = Some(match error {
                        Error::Driver(error) => explained(&error, &what, self.decl.tls.mode),
                        Error::Unreached(why) => {
                            fault("unavailable", format!("{what}: error connecting to server: {why}"))
                                .retryable()
                                .into()
                        }
                    });
                    continue;
                }
            };
            if self.decl.require == Require::Any {
                return Ok(client);
            }
            match client.query_typed_one("SELECT pg_catalog.pg_is_in_recovery()", &[]).await {
                Ok(row) if row.try_get::<_, bool>(0).is_ok_and(|standby| !standby) => return Ok(client),
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

    /// The roles that we sign in as, and for what. None where the config's own places cannot be
    /// read: then nobody signs in.
    pub(super) fn roles(&self) -> Vec<(Purpose, String)> {
        let reader = self.decl.read.as_ref().map(|reader| (Purpose::Read, &reader.user));
        let all = self.decl.user.iter().map(|user| (Purpose::Write, user)).chain(reader);
        all.filter_map(|(purpose, user)| Some((purpose, credential::given(user, &self.base, "user").ok()?))).collect()
    }

    /// The password that we sign in with.
    pub(super) fn password(&self, purpose: Purpose) -> Option<String> {
        let next = purpose == Purpose::Write && self.next.load(Ordering::Relaxed);
        self.who(purpose, next).ok().and_then(|(_, password)| password)
    }

    fn who(&self, purpose: Purpose, next: bool) -> Result<(String, Option<String>), Fault> {
        let (user, password) = match (&self.decl.read, purpose) {
            (Some(reader), Purpose::Read) => (Some(&reader.user), reader.password.as_ref()),
            _ if next => (self.decl.user.as_ref(), self.decl.next_password.as_ref()),
            _ => (self.decl.user.as_ref(), self.decl.password.as_ref()),
        };
        let user = user.ok_or_else(|| no_user(&self.name))?;
        let user = credential::given(user, &self.base, "user")?;
        let password = password.map(|kept| credential::secret(kept, &self.base, "password")).transpose()?;
        Ok((user, password))
    }
}

/// Why nobody was let in.
enum Error {
    Unreached(std::io::Error),
    Driver(tokio_postgres::Error),
}

async fn encrypted(config: &tokio_postgres::Config, tls: MakeRustlsConnect, rules: Rules) -> Result<SignedIn, Error> {
    let too_large = Arc::clone(&rules.too_large);
    let (client, connection) = config.connect(Within { tls, rules }).await.map_err(Error::Driver)?;
    // It ends with its client; what it has to say of an error, the client says too.
    tokio::spawn(async move { drop(connection.await) });
    Ok(SignedIn { client, too_large })
}

async fn plainly(config: &tokio_postgres::Config, host: &str, port: u16, rules: Rules) -> Result<SignedIn, Error> {
    let late = |_| Error::Unreached(std::io::ErrorKind::TimedOut.into());
    if host.starts_with('/') {
        let path = format!("{host}/.s.PGSQL.{port}");
        let stream = tokio::time::timeout(CONNECT, UnixStream::connect(path)).await.map_err(late)?;
        return through(config, stream.map_err(Error::Unreached)?, rules).await;
    }
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect((host, port))).await.map_err(late)?;
    let stream = stream.map_err(Error::Unreached)?;
    stream.set_nodelay(true).map_err(Error::Unreached)?;
    let lasting =
        sockopt::set_socket_keepalive(&stream, true).and_then(|()| sockopt::set_tcp_keepidle(&stream, KEEPALIVE));
    lasting.map_err(|error| Error::Unreached(error.into()))?;
    through(config, stream, rules).await
}

async fn through<S>(config: &tokio_postgres::Config, stream: S, rules: Rules) -> Result<SignedIn, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let too_large = Arc::clone(&rules.too_large);
    let stream = Watched::new(stream, rules);
    let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(Error::Driver)?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(SignedIn { client, too_large })
}

fn explained(error: &tokio_postgres::Error, what: &str, mode: TlsMode) -> SqlFault {
    let mut fault = of(error, what);
    let text = chain(error);
    if text.contains(ASKED) {
        fault.fault.code = "auth".to_owned();
        fault.fault.retryable = false;
        fault.fault.hint = Some(
            "let the server use scram-sha-256 for this role (password_encryption, pg_hba.conf); or, where that is meant, \
             set tls.plain_password to true"
                .into(),
        );
    } else if text.contains("certificate") || text.contains("UnknownIssuer") || text.contains("TLS") {
        fault.fault.code = "tls".to_owned();
        fault.fault.hint = Some(match mode {
            TlsMode::VerifyFull => {
                "give the authority's file as tls.ca, and as `host` a name of the certificate".into()
            }
            _ => "let the server speak TLS, or see `tls` of the target".into(),
        });
    } else if fault.fault.code == "io" {
        fault.fault.code = "unavailable".to_owned();
    }
    fault
}
