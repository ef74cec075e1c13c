//! A small site of Tidelock whose target is a database server of its own.

use std::ops::Deref;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::environment::TestEnvironment;
use crate::mariadb::{self, MariaDb};
use crate::postgres::Postgres;
use crate::served::{Served, source};

/// The file of the stack `db` on a target.
#[must_use]
pub fn stack(target: &str) -> String {
    format!("name: db\ntargets: {target}\non_commit: apply\non_drift: apply\nbudget: {{ destroy: 100 }}\n")
}

/// The operator's config of a site whose target `pg` is a server, through its socket.
#[must_use]
pub fn config(server: &Postgres) -> String {
    let target = format!(
        "[targets.pg]\ntype = \"postgres\"\nhost = {:?}\nport = {}\nuser = \"postgres\"\n\n\
         [grants.postgres]\ntargets = [\"pg\"]\ndatabases = [\"*\"]\nsql = [\"**\"]\n\
         privileges = [\"superuser\", \"createrole\", \"replication\", \"bypassrls\"]\n",
        server.socket().display().to_string(),
        server.port()
    );
    source("pg", "postgres.*") + &target
}

/// As [`config`], of a site whose target `my` is a MariaDB server, over TLS; the password of
/// [`mariadb::USER`] is in the file `db.password`.
#[must_use]
pub fn config_of_mariadb(server: &MariaDb) -> String {
    let target = format!(
        "[targets.my]\ntype = \"mysql\"\nhost = \"localhost\"\nport = {}\nuser = {:?}\n\
         password = {{ file = \"db.password\" }}\ntls = {{ ca = {:?} }}\n\n\
         [grants.mysql]\ntargets = [\"my\"]\ndatabases = [\"*\"]\nsql = [\"**\"]\n",
        server.port(),
        mariadb::USER,
        server.authority().display().to_string()
    );
    source("my", "mysql.*") + &target
}

/// What servers of both kinds have.
pub trait Server {
    /// All that it logged.
    fn log(&self) -> String;
    /// The port.
    fn port(&self) -> u16;
    /// Ends it as a loss of power would.
    fn kill(&mut self);
    /// Starts it with what its files say now.
    fn restart(&mut self);
}

macro_rules! servers {
    ($($server:ty),*) => { $(
        impl Server for $server {
            fn log(&self) -> String { <$server>::log(self) }
            fn port(&self) -> u16 { <$server>::port(self) }
            fn kill(&mut self) { <$server>::kill(self) }
            fn restart(&mut self) { <$server>::restart(self) }
        }
    )* };
}

servers!(Postgres, MariaDb);

/// A server, a repository with the stack `db`, and the config between them.
pub struct Databases<S = Postgres> {
    site: Served<S>,
    /// The name of the target.
    target: &'static str,
}

impl<S> Deref for Databases<S> {
    type Target = Served<S>;
    fn deref(&self) -> &Served<S> {
        &self.site
    }
}

impl Databases {
    /// A site with a PostgreSQL server and these files in the stack `db`, committed; all may be
    /// changed.
    #[must_use]
    pub fn with_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let world = TestEnvironment::stocked();
        let server = Postgres::start(&world.path("server"));
        let config = config(&server);
        Self::new(world, server, "pg", &config, files)
    }

    /// Does something on the server by hand, statement by statement (`; ` stands between), and
    /// gives the last answer.
    #[track_caller]
    pub fn by_hand(&self, database: &str, sql: &str) -> String {
        sql.split("; ").fold(String::new(), |_, statement| self.server().psql(database, statement))
    }
}

impl Databases<MariaDb> {
    /// As [`Databases::with_files`] with a MariaDB server, over TLS.
    #[must_use]
    pub fn on_mariadb<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let world = TestEnvironment::stocked();
        let server = MariaDb::start(&world.path("server"));
        world.secret("db.password", mariadb::PASSWORD);
        let config = config_of_mariadb(&server);
        Self::new(world, server, "my", &config, files)
    }

    /// Does something on the server by hand, as root, and gives the answer.
    #[track_caller]
    pub fn by_hand(&self, sql: &str) -> String {
        self.server().sql(sql)
    }
}

impl<S: Server> Databases<S> {
    /// Ends the server as a loss of power would.
    pub fn kill_server(&mut self) {
        self.site.server_mut().kill();
    }

    /// Starts the server again with what its files say now.
    pub fn restart_server(&mut self) {
        let before = self.server().port();
        self.site.server_mut().restart();
        self.moved(before, self.server().port());
    }

    /// Starts an apply and waits until the server has got a statement with these words, or it has ended.
    #[must_use]
    pub fn begins_to_write(&self, words: &str) -> Child {
        let before = self.server().log().len();
        // Nobody reads what it says, and it is not to wait for that.
        let mut child = self.tidelock(["apply", "--yes", "--summary"]).spawn_with(Stdio::null(), Stdio::null());
        let writes = || self.server().log().get(before..).is_some_and(|new| new.contains(words));
        while !writes() && child.try_wait().expect("the process").is_none() {
            std::thread::sleep(Duration::from_micros(500));
        }
        child
    }

    /// Kills an apply that goes on or, where `the_server` says so, the server beneath it, which is
    /// then started again. Says whether it was before its end.
    pub fn kill(&mut self, mut apply: Child, the_server: bool) -> bool {
        let goes_on = apply.try_wait().expect("the process").is_none();
        if the_server {
            self.kill_server();
            // It notices, and ends by itself.
            let ended = apply.wait().expect("its end");
            assert!(ended.code().is_some(), "{ended}");
            self.restart_server();
        } else {
            // It may have ended by itself, at the last moments.
            apply.kill().ok();
            apply.wait().expect("the killed process");
        }
        goes_on
    }
}

impl<S> Databases<S> {
    fn new<'a>(
        world: TestEnvironment,
        server: S,
        target: &'static str,
        config: &str,
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let site = Self { site: Served::new(world, server, config), target };
        site.stack("");
        for (name, text) in files {
            site.write(name, text);
        }
        site.commit("The first commit");
        site
    }

    /// Follows a server to another port: somebody else may have got the one that it had.
    fn moved(&self, before: u16, now: u16) {
        let port = |port: u16| format!("\nport = {port}\n");
        let config = self.world().read("tidelock.toml").replace(&port(before), &port(now));
        self.world().write("tidelock.toml", config);
    }

    /// Writes the stack's own file, with more lines.
    pub fn stack(&self, more: &str) {
        self.repo().write("db/stack.yaml", stack(self.target) + more);
    }

    /// Writes a file of the stack.
    pub fn write(&self, name: &str, text: &str) {
        self.repo().write(&format!("db/{name}"), text);
    }

    /// Removes a file of the stack.
    pub fn remove(&self, name: &str) {
        self.repo().remove(&format!("db/{name}"));
    }

    /// Commits what was written.
    pub fn commit(&self, message: &str) {
        self.repo().commit(message);
    }
}
