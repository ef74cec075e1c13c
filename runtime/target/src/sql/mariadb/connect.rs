//! Signing in to MariaDB or MySQL: which host, as whom, how encrypted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{ClientIdentity, Conn, DriverError, Error, OptsBuilder, SslOpts};
use tidelock_model::config::{Require, ServerDecl, TlsDecl, TlsMode};
use tidelock_model::error::Fault;
use tidelock_model::name::Name;

use super::error::{of, said};
use crate::sql::credential;
use crate::sql::session::{
    self, Access, CONNECT, Purpose, Sessions, SignedIn, Tried, advice, is_loopback, plain, without_tls,
};
use crate::sql::value::{SqlFault, fault};

/// What every session begins with: texts that read the same whatever the server's defaults, and
/// UTF-8. A grant to nobody makes no account that anybody may sign in to: MySQL does not know the
/// word for that, and never makes one.
const SETUP: &str = "SET SESSION sql_mode = IF(VERSION() LIKE '%MariaDB%', \
    'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_CREATE_USER', 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'), \
    NAMES utf8mb4";

/// The largest message, in bytes: as much as one call of a plugin may move.
const MAX_MESSAGE: usize = 16 << 20;

impl SignedIn for Conn {
    fn is_over(&self) -> bool {
        self.is_disconnected()
    }
}

/// A session for a purpose. None is in any database: everything is named in full.
pub(super) type Session = session::Session<Purpose, Conn>;

/// The sessions with one server.
pub(super) struct Pool {
    pub(super) access: Access,
    sessions: Sessions<Purpose, Conn>,
}

impl Pool {
    pub(super) fn new(name: &Name, decl: ServerDecl, base: PathBuf) -> Self {
        Self { access: Access::new(name, decl, base), sessions: Sessions::new() }
    }

    /// A session.
    pub(super) async fn session(&self, purpose: Purpose) -> Result<Session, SqlFault> {
        let purpose = self.access.purpose(purpose);
        self.sessions.lend(purpose, self.connect(purpose)).await
    }

    /// Signs in with the first host that will do.
    pub(super) async fn connect(&self, purpose: Purpose) -> Result<Conn, SqlFault> {
        self.access.sign_in(purpose, |next| self.sign_in(purpose, next)).await
    }

    async fn sign_in(&self, purpose: Purpose, next: bool) -> Result<Conn, SqlFault> {
        let (user, password) = self.access.who(purpose, next)?;
        let (user, password) = (&user, password.as_deref());
        self.access.first(|host| self.try_host(host, user, password)).await
    }

    async fn try_host(&self, host: String, user: &str, password: Option<&str>) -> Result<Tried<Conn>, SqlFault> {
        let Access { name, decl, base, .. } = &self.access;
        let port = decl.port.unwrap_or(3306);
        let options = OptsBuilder::default()
            .user(Some(user))
            .pass(password)
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
            let tls = ssl(&decl.tls, base)?;
            if tls.is_none() && !is_loopback(&host) && !decl.tls.plain_to_others {
                return Err(plain(name, &host).into());
            }
            if password.is_some() && decl.tls.mode != TlsMode::VerifyFull && !decl.tls.plain_password {
                return Err(to_anybody(name, &host).into());
            }
            (options.ip_or_hostname(host.clone()).tcp_port(port).ssl_opts(tls), format!("{host} port {port}"))
        };
        let what = format!("target {name}: {there}, as {user}");
        let mut conn = match tokio::time::timeout(CONNECT, Conn::new(options)).await {
            Ok(Ok(conn)) => conn,
            Ok(Err(Error::Driver(DriverError::NoClientSslFlagFromServer))) => {
                let none = fault("tls", format!("{what}: the server has no TLS"));
                return Ok(Tried::Failed(none.hint(without_tls(name, &host, ", plain_password = true")).into()));
            }
            Ok(Err(error)) => {
                let mut why = of(&error, &what);
                // What the server said itself speaks for itself, unless it is who we are.
                if why.fault.hint.is_none() && (!said(&error) || why.fault.code == "auth") {
                    why.fault.hint = advice(name, &host, &why.fault);
                }
                return Ok(Tried::Failed(why));
            }
            Err(_) => {
                let late = fault("unavailable", format!("{what}: no answer in time")).retryable();
                let hint = advice(name, &host, &late);
                return Ok(Tried::Failed(Fault { hint, ..late }.into()));
            }
        };
        if decl.require == Require::Any {
            return Ok(Tried::In(conn));
        }
        Ok(match conn.query_first::<i64, _>("SELECT @@global.read_only + 0").await {
            Ok(Some(0)) => Tried::In(conn),
            Ok(_) => Tried::Copies(there),
            Err(error) => Tried::Failed(of(&error, &what)),
        })
    }
}

/// The server chooses how a password is proved. By `caching_sha2_password` it may ask for the
/// password itself: within TLS, or encrypted to a key that it sends. The driver does either, so
/// whoever is not known to be the server gets none.
fn to_anybody(name: &Name, host: &str) -> Fault {
    fault("denied", format!("target {name} would give its password to whoever answers as {host}, if that asks for it"))
        .hint(
            "set tls.mode to \"verify-full\", or name the server's socket as `host`; or, where whoever can answer there \
             may have the password, set tls.plain_password to true",
        )
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
