//! The harness of the end-to-end cases: real Git, real servers, the real binary.
//!
//! ```text
//! environment   one throw-away folder, and programs that see nothing outside of it
//! compiled      compiled plugins, which cases hand on to each other
//! tidelock      a call of the binary, and what came of it
//! repo          a Git repository with commits that are equal on every machine
//! git_http      Git over HTTP, which can misbehave
//! http_proxy    an HTTP proxy, with tunnels
//! tls           stands before a server, and speaks TLS
//! git_daemon    Git's own server
//! relay         stands before a server, cuts and stalls
//! small_disk    a disk that is full soon
//! ssh_server    an OpenSSH server of the tests' own
//! keys          SSH keys that sign commits
//! mariadb       a MariaDB server of the tests' own
//! postgres      a PostgreSQL server of the tests' own
//! dns           a DNS server of the tests' own, knot or BIND
//! served        a site whose target is a server of its own
//! zones         such a site with a DNS server
//! site          a repository, a machine, and the config between them
//! http          requests to a daemon that listens, and its figures
//! router        routers in such namespaces, and what Git says of them
//! booted        a machine with a start and an end: systemd in a container
//! netns         network namespaces, which may be broken
//! guards        processes that take effects back unless somebody confirms
//! fleet         a site with several machines and one stack on all of them
//! dice          random numbers that can be had again
//! daemon        a running `tidelock run`, and waiting for what it does
//! redact        the words that differ from run to run, in one place
//! ```
//!
//! Everything here panics with the whole story when it fails: a case is a
//! story of what a user does, and reads best without error handling.

pub mod booted;
mod compiled;
pub mod daemon;
pub mod databases;
pub mod dice;
pub mod dns;
pub mod environment;
pub mod fleet;
pub mod git_daemon;
pub mod git_http;
pub mod guards;
pub mod http;
pub mod http_proxy;
pub mod keys;
pub mod mariadb;
pub mod netns;
mod owned;
pub mod postgres;
pub mod redact;
pub mod relay;
pub mod repo;
pub mod router;
pub mod served;
pub mod site;
pub mod small_disk;
pub mod ssh_server;
pub mod tidelock;
pub mod tls;
pub mod tunnel;
pub mod zones;

pub use booted::Booted;
pub use daemon::Daemon;
pub use databases::Databases;
pub use environment::TestEnvironment;
pub use git_daemon::GitDaemon;
pub use git_http::GitHttp;
pub use http_proxy::HttpProxy;
pub use keys::SigningKey;
pub use mariadb::MariaDb;
pub use netns::Netns;
pub use postgres::Postgres;
pub use redact::redact;
pub use relay::Relay;
pub use repo::Repo;
pub use site::Site;
pub use small_disk::SmallDisk;
pub use ssh_server::SshServer;
pub use tidelock::{Ran, Tidelock};
pub use tls::Tls;
