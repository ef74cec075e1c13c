//! Signing in to PostgreSQL: which host, as whom, how encrypted.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::sockopt;
use tidelock_model::config::{Require, ServerDecl, TlsMode};
use tidelock_model::name::Name;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{chain, of};
use super::watch::{ASKED, Rules, Watched, Within};
use crate::sql::session::{
    self, Access, CONNECT, Purpose, Sessions, SignedIn, Tried, advice, is_loopback, plain, without_tls,
};
use crate::sql::tls;
use crate::sql::value::{SqlFault, fault};

/// How long a connection may be idle before it is asked whether it still stands.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What makes a session one as we want it, whatever settings its role, its database or the server
/// have: somebody else's functions do not stand before the catalog's, writes are not refused beforehand, and
/// whoever signed in is who acts.
pub(super) const AS_NEW: &str =
    "RESET ALL; SET search_path TO ''; SET default_transaction_read_only TO off; SET ROLE NONE";

/// How the driver says that the server has no TLS.
const NO_TLS: &str = "server does not support TLS";

/// Somebody let in.
pub(super) struct Connection {
    client: Client,
    /// Whether the server sent more at once than is read.
    too_large: Arc<AtomicBool>,
}

impl SignedIn for Connection {
    fn is_over(&self) -> bool {
        self.client.is_closed()
    }
}

impl Connection {
    /// Whether it ended since the server sent more at once than is read.
    pub(super) fn got_too_much(&self) -> bool {
        self.too_large.load(Ordering::Acquire)
    }
}

impl Deref for Connection {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

/// A session with a database, for a purpose.
pub(super) type Session = session::Session<(Purpose, String), Connection>;

/// The sessions with one server.
pub(super) struct Pool {
    pub(super) access: Access,
    sessions: Sessions<(Purpose, String), Connection>,
}

impl Pool {
    pub(super) fn new(name: &Name, decl: ServerDecl, base: PathBuf) -> Self {
        Self { access: Access::new(name, decl, base), sessions: Sessions::new() }
    }

    /// The database that is opened where none is named.
    pub(super) fn maintenance(&self) -> &str {
        self.access.decl.database.as_deref().unwrap_or("postgres")
    }

    /// A session with a database.
    pub(super) async fn session(&self, purpose: Purpose, database: &str) -> Result<Session, SqlFault> {
        let purpose = self.access.purpose(purpose);
        self.sessions.lend((purpose, database.to_owned()), self.connect(purpose, database)).await
    }

    /// Ends idle sessions with all databases but the one that is opened where none is named.
    pub(super) fn leave_databases(&self) {
        self.sessions.end_idle(|(_, database)| database != self.maintenance());
    }

    /// Signs in with the first host that will do.
    pub(super) async fn connect(&self, purpose: Purpose, database: &str) -> Result<Connection, SqlFault> {
        self.access.sign_in(purpose, |next| self.sign_in(purpose, database, next)).await
    }

    async fn sign_in(&self, purpose: Purpose, database: &str, next: bool) -> Result<Connection, SqlFault> {
        let (user, password) = self.access.who(purpose, next)?;
        let (user, password) = (&user, password.as_deref());
        self.access.first(|host| self.try_host(host, database, user, password)).await
    }

    async fn try_host(
        &self,
        host: String,
        database: &str,
        user: &str,
        password: Option<&str>,
    ) -> Result<Tried<Connection>, SqlFault> {
        let Access { name, decl, base, .. } = &self.access;
        let port = decl.port.unwrap_or(5432);
        let mut config = tokio_postgres::Config::new();
        config.host(&host).port(port).user(user).dbname(database).application_name("tidelock");
        config.connect_timeout(CONNECT).keepalives_idle(KEEPALIVE);
        if let Some(password) = password {
            config.password(password);
        }
        let socket = host.starts_with('/');
        let there = if socket { format!("{host}/.s.PGSQL.{port}") } else { format!("{host} port {port}") };
        let what = format!("target {name}: {there}, database {database}, as {user}");
        let rules = Rules { give_password: decl.tls.plain_password, too_large: Arc::default() };
        // Reading the system's authorities takes longer than the rest of it.
        let encryption = if socket { None } else { tls::client(&decl.tls, base)? };
        let connected = match encryption {
            Some(client) => {
                config.ssl_mode(SslMode::Require);
                encrypted(&config, MakeRustlsConnect::new(client), rules).await
            }
            None if !socket && !is_loopback(&host) && !decl.tls.plain_to_others => {
                return Err(plain(name, &host).into());
            }
            _ => {
                config.ssl_mode(SslMode::Disable);
                plainly(&config, &host, port, rules).await
            }
        };
        let client = match connected {
            Ok(client) => client,
            Err(error) => {
                let mut why: SqlFault = match error {
                    Error::Driver(error) if chain(&error).contains(NO_TLS) => {
                        let none = fault("tls", format!("{what}: the server has no TLS"));
                        none.hint(without_tls(name, &host, "")).into()
                    }
                    Error::Driver(error) => explained(&error, &what, decl.tls.mode),
                    Error::Unreached(why) => {
                        fault("unavailable", format!("{what}: error connecting to server: {why}")).retryable().into()
                    }
                };
                // Whoever signs in may sign in elsewhere: what is missing is one right on this database.
                if why.sqlstate.as_deref() == Some("42501") {
                    why.fault.hint = Some(may_not_connect(name, database, user));
                }
                // What the server said itself speaks for itself, unless it is who we are.
                if why.fault.hint.is_none() && (why.sqlstate.is_none() || why.fault.code == "auth") {
                    why.fault.hint = advice(name, &host, &why.fault);
                }
                return Ok(Tried::Failed(why));
            }
        };
        if let Err(error) = client.batch_execute(AS_NEW).await {
            return Ok(Tried::Failed(of(&error, &what)));
        }
        if decl.require == Require::Any {
            return Ok(Tried::In(client));
        }
        Ok(match client.query_typed_one("SELECT pg_catalog.pg_is_in_recovery()", &[]).await {
            Ok(row) if row.try_get::<_, bool>(0).is_ok_and(|standby| !standby) => Tried::In(client),
            Ok(_) => Tried::Copies(there),
            Err(error) => Tried::Failed(of(&error, &what)),
        })
    }
}

/// What lets a role into a database that it was kept out of.
fn may_not_connect(target: &Name, database: &str, user: &str) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!(
        "let it in, by hand or with a postgres.grant:\n\nGRANT CONNECT ON DATABASE {} TO {};\n\nnothing more is needed for \
         looking; `tidelock doctor` lists all databases that shut out whom [targets.{target}] names",
        quoted(database),
        quoted(user)
    )
}

/// Why nobody was let in.
enum Error {
    Unreached(std::io::Error),
    Driver(tokio_postgres::Error),
}

async fn encrypted(config: &tokio_postgres::Config, tls: MakeRustlsConnect, rules: Rules) -> Result<Connection, Error> {
    let too_large = Arc::clone(&rules.too_large);
    let (client, connection) = config.connect(Within { tls, rules }).await.map_err(Error::Driver)?;
    // It ends with its client; what it has to say of an error, the client says too.
    tokio::spawn(async move { drop(connection.await) });
    Ok(Connection { client, too_large })
}

async fn plainly(config: &tokio_postgres::Config, host: &str, port: u16, rules: Rules) -> Result<Connection, Error> {
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

async fn through<S>(config: &tokio_postgres::Config, stream: S, rules: Rules) -> Result<Connection, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let too_large = Arc::clone(&rules.too_large);
    let stream = Watched::new(stream, rules);
    let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(Error::Driver)?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(Connection { client, too_large })
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
