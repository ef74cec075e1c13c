//! What signing in to any server has in common: where it is, who signs in, and few sessions that
//! are kept for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidelock_model::config::ServerDecl;
use tidelock_model::error::Fault;
use tidelock_model::name::Name;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::credential;
use super::value::{SqlFault, fault};

/// Sessions of one target at a time.
const SESSIONS: usize = 8;
/// How long an idle session is kept.
const IDLE: Duration = Duration::from_secs(30);
/// How long a host may take to answer.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// How often what stood in somebody's way is tried, and the first wait between.
pub(super) const TRIES: u32 = 6;
pub(super) const WAIT: Duration = Duration::from_millis(100);

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Reads: as the reader, where the config names one.
    Read,
    /// Everything.
    Write,
}

/// Somebody let in by a server.
pub(super) trait SignedIn: Send + 'static {
    /// Whether the server has ended it.
    fn is_over(&self) -> bool;
}

type Idle<K, C> = Arc<Mutex<HashMap<K, Vec<(C, Instant)>>>>;

/// Few sessions with one server, kept for a while by what they are for.
pub(super) struct Sessions<K, C> {
    places: Arc<Semaphore>,
    idle: Idle<K, C>,
}

/// A session, lent. Closed when it is dropped, unless it was given back.
pub(super) struct Session<K, C> {
    conn: C,
    key: K,
    idle: Idle<K, C>,
    _place: OwnedSemaphorePermit,
}

impl<K: Eq + Hash + Send + 'static, C: SignedIn> Sessions<K, C> {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(SESSIONS)), idle: Arc::default() }
    }

    /// An idle session of a key, or one that is begun.
    pub(super) async fn lend(
        &self,
        key: K,
        connect: impl Future<Output = Result<C, SqlFault>> + Send,
    ) -> Result<Session<K, C>, SqlFault> {
        let gone = |_| fault("io", "Tidelock is ending");
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(gone)?;
        let idle = || {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            std::iter::from_fn(|| idle.get_mut(&key).and_then(Vec::pop)).find(|(conn, _)| !conn.is_over())
        };
        let conn = match idle() {
            Some((conn, _)) => conn,
            None => connect.await.map_err(SqlFault::at_sign_in)?,
        };
        Ok(Session { conn, key, idle: Arc::clone(&self.idle), _place: place })
    }

    /// Ends idle sessions by what they are for.
    pub(super) fn end_idle(&self, ends: impl Fn(&K) -> bool) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| !ends(key));
    }
}

impl<K: Eq + Hash + Send + 'static, C: SignedIn> Session<K, C> {
    /// Gives the session back, in no transaction and as it was.
    pub(super) fn give_back(self) {
        let Self { conn, key, idle, _place } = self;
        if conn.is_over() {
            return;
        }
        idle.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().push((conn, Instant::now()));
        tokio::spawn(async move {
            tokio::time::sleep(IDLE + Duration::from_secs(1)).await;
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.values_mut().for_each(|sessions| sessions.retain(|(_, since)| since.elapsed() < IDLE));
        });
    }
}

impl<K, C> Deref for Session<K, C> {
    type Target = C;
    fn deref(&self) -> &C {
        &self.conn
    }
}

impl<K, C> DerefMut for Session<K, C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.conn
    }
}

/// How trying one host went.
pub(super) enum Tried<C> {
    /// It will do.
    In(C),
    /// It only copies another one: what it is called.
    Copies(String),
    /// It does not let us in; another one may.
    Failed(SqlFault),
}

/// Where a server is and who signs in, as the config says it.
pub(super) struct Access {
    pub(super) name: Name,
    pub(super) decl: ServerDecl,
    /// Where relative paths of the config start.
    pub(super) base: PathBuf,
    /// Whether the next password is the one that was last let in.
    next: AtomicBool,
}

impl Access {
    pub(super) fn new(name: &Name, decl: ServerDecl, base: PathBuf) -> Self {
        Self { name: name.clone(), decl, base, next: AtomicBool::new(false) }
    }

    /// Without a reader of its own, one kind of session does for both.
    pub(super) fn purpose(&self, purpose: Purpose) -> Purpose {
        if self.decl.read.is_some() { purpose } else { Purpose::Write }
    }

    /// What is told to the reader, where the config names one.
    pub(super) async fn as_reader<T, F>(&self, told: impl FnOnce(Purpose) -> F) -> Result<Option<T>, SqlFault>
    where
        F: Future<Output = Result<T, SqlFault>>,
    {
        match self.decl.read {
            Some(_) => told(Purpose::Read).await.map(Some),
            None => Ok(None),
        }
    }

    /// Signs in; where the password is refused and the config has a next one, with that. Whoever
    /// signs in is told whether the next one is meant.
    pub(super) async fn sign_in<C, F>(&self, purpose: Purpose, sign_in: impl Fn(bool) -> F) -> Result<C, SqlFault>
    where
        F: Future<Output = Result<C, SqlFault>>,
    {
        if purpose == Purpose::Read || self.decl.next_password.is_none() {
            return sign_in(false).await;
        }
        let first = self.next.load(Ordering::Relaxed);
        let refused = match sign_in(first).await {
            Err(refused) if refused.fault.code == "auth" => refused,
            other => return other,
        };
        let conn = sign_in(!first).await.map_err(|_| refused)?;
        self.next.store(!first, Ordering::Relaxed);
        Ok(conn)
    }

    /// The first host that will do.
    pub(super) async fn first<C, F>(&self, try_one: impl Fn(String) -> F) -> Result<C, SqlFault>
    where
        F: Future<Output = Result<Tried<C>, SqlFault>>,
    {
        let mut failed: Option<SqlFault> = None;
        let mut standbys = Vec::new();
        for host in self.decl.host.all() {
            match try_one(credential::host(host, &self.base)?).await? {
                Tried::In(conn) => return Ok(conn),
                Tried::Copies(there) => standbys.push(there),
                Tried::Failed(why) => failed = Some(why),
            }
        }
        Err(match failed {
            _ if !standbys.is_empty() => standby(&self.name, &standbys).into(),
            Some(failed) => failed,
            None => no_host(&self.name).into(),
        })
    }

    /// Who we sign in as, and for what. None where the config's own places cannot be read: then
    /// nobody signs in.
    pub(super) fn users(&self) -> Vec<(Purpose, String)> {
        let reader = self.decl.read.as_ref().map(|reader| (Purpose::Read, &reader.user));
        let all = self.decl.user.iter().map(|user| (Purpose::Write, user)).chain(reader);
        all.filter_map(|(purpose, user)| Some((purpose, credential::given(user, &self.base, "user").ok()?))).collect()
    }

    /// The password that we sign in with.
    pub(super) fn password(&self, purpose: Purpose) -> Option<String> {
        let next = purpose == Purpose::Write && self.next.load(Ordering::Relaxed);
        self.who(purpose, next).ok().and_then(|(_, password)| password)
    }

    /// Who signs in, and with what.
    pub(super) fn who(&self, purpose: Purpose, next: bool) -> Result<(String, Option<String>), Fault> {
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

/// A change to whom we sign in as kept us out, and was put back.
pub(super) fn put_back(own: &str, password: bool) -> Fault {
    let tried = fault("own-access", format!("tried and put back: {own}"));
    let hint = "before a new password comes into force, let the target have it too: \
        next_password = { file = \"next.password\" }";
    if password { tried.hint(hint) } else { tried }
}

/// A change to whom we sign in as kept us out, and stays.
pub(super) fn not_put_back(own: &str, why: &SqlFault) -> Fault {
    fault("own-access", format!("{own}; and it could not be put back: {}", why.clone().whole().message))
}

/// Whom we sign in as would be gone, which nobody can try.
pub(super) fn would_be_gone(who: &str) -> Fault {
    fault("own-access", format!("Tidelock signs in as {who}, and could not any more: it is left as it is"))
        .hint("let the target sign in as somebody else first: `user` in tidelock.toml")
}

/// A statement takes from whom we sign in as what they could not give back to themselves.
pub(super) fn could_not_give_back(who: &str, what: &str) -> Fault {
    let message = format!("Tidelock signs in as {who}, and this takes {what}, which it could not give back to itself");
    fault("own-access", message).hint("keep it in its spec; or take it away by hand, and Git follows")
}

/// What a plan says of a change to whom we sign in as.
pub(super) fn own_access(who: &str) -> String {
    format!("own-access: Tidelock itself signs in as {who}; it tries to once more, and puts this back if it cannot")
}

/// All hosts only copy another server.
fn standby(name: &Name, standbys: &[String]) -> Fault {
    let list = standbys.join(", ");
    fault("standby", format!("target {name} has no primary: {list} only copies another server"))
        .retryable()
        .hint(
            "wait until one of its hosts takes writes, or name the primary in `host`; a MariaDB or MySQL server is taken for \
             a copy while its `read_only` is on",
        )
}

fn no_host(name: &Name) -> Fault {
    fault("invalid", format!("target {name} names no host"))
        .hint(format!("add to [targets.{name}]:\n\nhost = \"db.example.com\""))
}

fn no_user(name: &Name) -> Fault {
    fault("invalid", format!("target {name} names no user"))
        .hint(format!("add to [targets.{name}]:\n\nuser = \"tidelock\""))
}

pub(super) fn plain(name: &Name, host: &str) -> Fault {
    fault("denied", format!("target {name} would sign in to {host} without encryption"))
        .hint("set tls.mode to \"verify-full\"; or, where the network is trusted, tls.plain_to_others to true")
}

/// What to do where a server has no TLS and the config demands it. `more` is what else it takes.
pub(super) fn without_tls(name: &Name, host: &str, more: &str) -> String {
    let others = if is_loopback(host) { "" } else { ", plain_to_others = true" };
    format!(
        "switch TLS on at the server; or, where whoever is on the way may read along, add to [targets.{name}]:\n\n\
         tls = {{ mode = \"off\"{others}{more} }}"
    )
}

/// What to look at where nobody was reached at a host, or the server did not let us in.
pub(super) fn advice(name: &Name, host: &str, fault: &Fault) -> Option<String> {
    match fault.code.as_str() {
        "auth" => Some(format!("see `user` and `password` of [targets.{name}]")),
        "unavailable" if fault.message.contains("lookup") => Some(format!(
            "nobody knows the name {host:?}, the `host` of [targets.{name}]; the folder of a Unix socket has a slash in it: \
             \"./{host}\""
        )),
        "unavailable" => Some(format!(
            "does the server run? See `host` and `port` of [targets.{name}]; `tidelock doctor` asks it again"
        )),
        _ => None,
    }
}

/// Whether a host is this machine, whatever its files of names say.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A part of an identity as it was before [`tidelock_model::sql::part`].
pub(super) fn plain_part(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| more.get(..2)).flatten();
        match escaped.and_then(|digits| std::str::from_utf8(digits).ok()).map(|hex| u8::from_str_radix(hex, 16)) {
            Some(Ok(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use tidelock_model::sql::part;

    use super::*;

    #[test]
    fn parts_of_identities_come_back() {
        for text in ["app", "%", "a/b@c%25", "\u{7}ü\n", "%zz", "100%"] {
            assert_eq!(plain_part(&part(text)), text);
        }
    }
}
