//! Targets that are database servers: where they are and how to sign in. Nothing of it ever
//! reaches a plugin, a plan or a log.

use serde::{Deserialize, Serialize};

/// What `[targets.NAME]` says of a database server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerDecl {
    /// Names or addresses, tried in turn. What holds a slash is a path: the folder of a Unix
    /// socket (`/run/postgresql`), or for MariaDB and MySQL the socket itself.
    pub host: Hosts,
    /// The port; the dialect's own by default.
    pub port: Option<u16>,
    /// The database that is opened first, where locks are taken. Default `postgres`; for
    /// MariaDB and MySQL none.
    pub database: Option<String>,
    /// Who signs in.
    pub user: Option<Given>,
    /// With what. Never in the config itself.
    pub password: Option<Kept>,
    /// With what once the password was changed: tried where `password` is refused.
    pub next_password: Option<Kept>,
    /// Who signs in for reads, where that is somebody else.
    pub read: Option<ReaderDecl>,
    /// Which of several hosts will do. Default `primary`.
    pub require: Require,
    /// How the connection is encrypted.
    pub tls: TlsDecl,
}

/// One host or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Hosts {
    /// One.
    One(Given),
    /// Several, tried in turn.
    Several(Vec<Given>),
}

impl Default for Hosts {
    fn default() -> Self {
        Self::Several(vec![])
    }
}

impl ServerDecl {
    /// The path of each Unix socket among its hosts, to be made absolute.
    pub fn sockets(&mut self) -> impl Iterator<Item = &mut String> {
        self.host.all_mut().iter_mut().filter_map(Given::socket)
    }

    /// Every path of a file in it, to be made absolute.
    pub fn files(&mut self) -> impl Iterator<Item = &mut String> {
        let hosts = self.host.all_mut();
        let reader = self.read.iter_mut().flat_map(|reader| {
            let ReaderDecl { user, password } = reader;
            user.file().into_iter().chain(password.as_mut().and_then(Kept::file))
        });
        let TlsDecl { ca, cert, key, .. } = &mut self.tls;
        let passwords = [&mut self.password, &mut self.next_password].into_iter().flatten().filter_map(Kept::file);
        let own = self.user.as_mut().and_then(Given::file).into_iter().chain(passwords);
        hosts.iter_mut().filter_map(Given::file).chain(own).chain(reader).chain([ca, cert, key].into_iter().flatten())
    }
}

impl Given {
    fn socket(&mut self) -> Option<&mut String> {
        match self {
            Self::Literal(text) => text.contains('/').then_some(text),
            Self::Kept(_) => None,
        }
    }

    fn file(&mut self) -> Option<&mut String> {
        match self {
            Self::Literal(_) => None,
            Self::Kept(kept) => kept.file(),
        }
    }
}

impl Kept {
    /// The path of its file, where it is in one.
    pub fn file(&mut self) -> Option<&mut String> {
        match self {
            Self::Env(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

impl Hosts {
    fn all_mut(&mut self) -> &mut [Given] {
        match self {
            Self::One(host) => std::slice::from_mut(host),
            Self::Several(hosts) => hosts.as_mut_slice(),
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Given] {
        match self {
            Self::One(host) => std::slice::from_ref(host),
            Self::Several(hosts) => hosts,
        }
    }
}

/// A value that is no secret: written out, or kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Given {
    /// Written out.
    Literal(String),
    /// Kept elsewhere.
    Kept(Kept),
}

/// A value that is kept elsewhere: `{ env = "NAME" }` or `{ file = "path" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Kept {
    /// In a variable of the environment.
    Env(String),
    /// In a file, of which the last line break is no part. Relative paths start at the config.
    File(String),
}

/// How long a database may take over something, each a length of time such as `30s`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsDecl {
    /// A query of a plugin. Default `30s`.
    pub statement: Option<String>,
    /// Waiting for a lock on an object; then it is tried again. Default `2s`.
    pub lock: Option<String>,
    /// A statement that changes something, also one that takes no transaction, such as `CREATE
    /// DATABASE`. Default `10m`. MySQL has no such limit.
    pub write: Option<String>,
    /// Waiting for others who perform on the same server. Default `2m`.
    pub turn: Option<String>,
}

/// Who signs in for reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReaderDecl {
    /// Who.
    pub user: Given,
    /// With what.
    #[serde(default)]
    pub password: Option<Kept>,
}

/// Which of several hosts will do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Require {
    /// One that takes writes; with none, lanes wait.
    #[default]
    Primary,
    /// Any. Writes fail on a standby.
    Any,
}

/// How a connection is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsDecl {
    /// What is demanded of it.
    pub mode: TlsMode,
    /// A file of certificates of the authorities that are trusted; the system's by default.
    pub ca: Option<String>,
    /// A file of our own certificate and what vouches for it.
    pub cert: Option<String>,
    /// A file of its key.
    pub key: Option<String>,
    /// With `off`: also to hosts that are not this one.
    pub plain_to_others: bool,
    /// Whether a server is given the password itself, where it asks for that. PostgreSQL's may ask
    /// for its MD5, too; else only SCRAM proves who we are, which tells the server nothing. MariaDB
    /// and MySQL choose the way, so without this they get no password unless `verify-full` says
    /// who they are.
    pub plain_password: bool,
}

/// What is demanded of encryption.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// A certificate of a trusted authority, for the very name.
    #[default]
    VerifyFull,
    /// Encryption, whoever it is. Whoever sits on the way can read along.
    Require,
    /// None.
    Off,
}
