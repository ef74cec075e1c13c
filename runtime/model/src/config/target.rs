//! `[targets.NAME]`: systems that may be reconciled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dns::{DnsDecl, DnsKeyDecl};
use super::server::{Given, Hosts, Kept, ReaderDecl, Require, ServerDecl, TimeoutsDecl, TlsDecl};

/// `[targets.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetDecl {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: TargetKind,
    /// For a machine: the folder that its paths lie below. Default `/`.
    #[serde(default)]
    pub root: Option<String>,
    /// For a machine: the network namespace that its network is looked at and written in, and
    /// that commands are run in. Default: this process's own.
    #[serde(default)]
    pub netns: Option<String>,
    /// For a machine: what its system keeps its network in, so that what is set is there after the
    /// next start, too. Default: nothing is kept.
    #[serde(default)]
    pub persist: Option<Keeper>,
    /// For a database in a file: the file, which is there.
    #[serde(default)]
    pub file: Option<String>,
    /// Labels for stacks to choose by, and for renderers.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Facts for renderers.
    #[serde(default)]
    pub facts: BTreeMap<String, serde_json::Value>,
    /// How often to look for drift, such as `5m`.
    #[serde(default)]
    pub drift_every: Option<String>,
    /// For a database server: names or addresses, tried in turn; a path is a Unix socket.
    /// For a DNS server: its one name or address.
    #[serde(default)]
    pub host: Hosts,
    /// For a server: its port.
    #[serde(default)]
    pub port: Option<u16>,
    /// For a database server: the database that is opened first.
    #[serde(default)]
    pub database: Option<String>,
    /// For a database server: who signs in.
    #[serde(default)]
    pub user: Option<Given>,
    /// For a database server: with what.
    #[serde(default)]
    pub password: Option<Kept>,
    /// For a database server: with what, where `password` is refused. So the password of the
    /// very role or user that signs in can be changed from Git.
    #[serde(default)]
    pub next_password: Option<Kept>,
    /// For a database server: who signs in for reads.
    #[serde(default)]
    pub read: Option<ReaderDecl>,
    /// For a database server: which of several hosts will do.
    #[serde(default)]
    pub require: Require,
    /// For a database server: how the connection is encrypted.
    #[serde(default)]
    pub tls: TlsDecl,
    /// For a database: how long it may take over something.
    #[serde(default)]
    pub timeouts: TimeoutsDecl,
    /// For a DNS server: the zones that may be looked at and written.
    #[serde(default)]
    pub zones: Vec<String>,
    /// For a DNS server: the key that signs what is said to it.
    #[serde(default)]
    pub key: Option<DnsKeyDecl>,
}

impl TargetDecl {
    /// What it says of a database server.
    #[must_use]
    pub fn server(&self) -> ServerDecl {
        ServerDecl {
            host: self.host.clone(),
            port: self.port,
            database: self.database.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            next_password: self.next_password.clone(),
            read: self.read.clone(),
            require: self.require,
            tls: self.tls.clone(),
        }
    }

    /// What it says of a DNS server.
    #[must_use]
    pub fn dns(&self) -> DnsDecl {
        DnsDecl { host: self.host.clone(), port: self.port, zones: self.zones.clone(), key: self.key.clone() }
    }

    /// Does something with every path in what it says of a server: of our own files about it, and
    /// of the server's sockets.
    pub fn each_path(&mut self, mut each: impl FnMut(&mut String)) {
        self.each_file(&mut each);
        let mut server = self.server();
        server.sockets().for_each(each);
        self.set_server(server);
    }

    /// Does something with the path of every file of our own in what it says of a server.
    pub fn each_file(&mut self, mut each: impl FnMut(&mut String)) {
        let mut server = self.server();
        server.files().for_each(&mut each);
        self.set_server(server);
        if let Some(file) = self.key.as_mut().and_then(|key| key.secret.file()) {
            each(file);
        }
    }

    /// Whether it is a database server.
    #[must_use]
    pub fn is_server(&self) -> bool {
        matches!(self.kind, TargetKind::Postgres | TargetKind::Mysql)
    }

    /// Takes what it says of a database server.
    pub fn set_server(&mut self, server: ServerDecl) {
        let ServerDecl { host, port, database, user, password, next_password, read, require, tls } = server;
        *self =
            Self { host, port, database, user, password, next_password, read, require, tls, ..std::mem::take(self) };
    }
}

/// What a system keeps its network in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeper {
    /// systemd-networkd.
    Networkd,
    /// ifupdown: `/etc/network/interfaces.d`.
    Ifupdown,
}

impl Keeper {
    /// The word for it in the config and for plugins.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Networkd => "networkd",
            Self::Ifupdown => "ifupdown",
        }
    }
}

/// Kinds of targets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// A machine: files and commands.
    #[default]
    Machine,
    /// A PostgreSQL server.
    Postgres,
    /// A MariaDB or MySQL server.
    Mysql,
    /// A SQLite database in a file.
    Sqlite,
    /// A DNS server that takes updates.
    Dns,
}

impl TargetKind {
    /// The word for it in the config.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Sqlite => "sqlite",
            Self::Dns => "dns",
        }
    }
}
