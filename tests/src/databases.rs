//! A small site of Tidelock whose target is a database server of its own.

use crate::environment::TestEnvironment;
use crate::mariadb::{self, MariaDb};
use crate::postgres::Postgres;
use crate::repo::Repo;
use crate::tidelock::{Ran, Tidelock};

/// A server, a repository with the stack `db`, and the config between them.
pub struct Databases<S = Postgres> {
    // Ended before its folder goes.
    server: S,
    /// The name of the target.
    target: &'static str,
    repo: Repo,
    world: TestEnvironment,
}

impl Databases {
    /// A site with a PostgreSQL server and these files in the stack `db`, committed; all may be
    /// changed.
    #[must_use]
    pub fn with_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let world = TestEnvironment::new();
        let server = Postgres::start(&world.path("server"));
        let config = format!(
            "[targets.pg]\ntype = \"postgres\"\nhost = {:?}\nport = {}\nuser = \"postgres\"\n\n\
             [grants.postgres]\ntargets = [\"pg\"]\ndatabases = [\"*\"]\nsql = [\"**\"]\n",
            server.socket().display().to_string(),
            server.port()
        );
        Self::new(world, server, "pg", "postgres.*", &config, files)
    }

    /// Does something on the server by hand, statement by statement (`; ` stands between), and
    /// gives the last answer.
    #[track_caller]
    pub fn by_hand(&self, database: &str, sql: &str) -> String {
        sql.split("; ").fold(String::new(), |_, statement| self.server.psql(database, statement))
    }
}

impl Databases<MariaDb> {
    /// As [`Databases::with_files`] with a MariaDB server, over TLS.
    #[must_use]
    pub fn on_mariadb<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let world = TestEnvironment::new();
        let server = MariaDb::start(&world.path("server"));
        world.secret("db.password", mariadb::PASSWORD);
        let config = format!(
            "[targets.my]\ntype = \"mysql\"\nhost = \"localhost\"\nport = {}\nuser = {:?}\n\
             password = {{ file = \"db.password\" }}\ntls = {{ ca = {:?} }}\n\n\
             [grants.mysql]\ntargets = [\"my\"]\ndatabases = [\"*\"]\nsql = [\"**\"]\n",
            server.port(),
            mariadb::USER,
            server.authority().display().to_string()
        );
        Self::new(world, server, "my", "mysql.*", &config, files)
    }

    /// Ends the server as [`MariaDb::kill`] does.
    pub fn kill_server(&mut self) {
        self.server.kill();
    }

    /// Starts the server again with what its files say now.
    pub fn restart_server(&mut self) {
        let before = self.server.port();
        self.server.restart();
        let port = |port: u16| format!("\nport = {port}\n");
        // Somebody else may have got the port.
        let config = self.world.read("tidelock.toml").replace(&port(before), &port(self.server.port()));
        self.world.write("tidelock.toml", config);
    }

    /// Does something on the server by hand, as root, and gives the answer.
    #[track_caller]
    pub fn by_hand(&self, sql: &str) -> String {
        self.server.sql(sql)
    }
}

impl<S> Databases<S> {
    fn new<'a>(
        world: TestEnvironment,
        server: S,
        target: &'static str,
        kinds: &str,
        config: &str,
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let repo = world.repo("infra");
        let source = format!(
            "[sources.infra]\nurl = \"infra\"\n\n\
             [[sources.infra.allow]]\ntargets = [{target:?}]\nkinds = [{kinds:?}]\nsecrets = [\"*\"]\n\n"
        );
        world.write("tidelock.toml", source + config);
        let site = Self { server, target, repo, world };
        site.tidelock(["plugin", "accept", "--all"]).run().ok();
        site.stack("");
        for (name, text) in files {
            site.write(name, text);
        }
        site.commit("The first commit");
        site
    }

    /// Writes the stack's own file, with more lines.
    pub fn stack(&self, more: &str) {
        let target = self.target;
        let text = format!(
            "name: db\ntargets: {target}\non_commit: apply\non_drift: apply\nbudget: {{ destroy: 100 }}\n{more}"
        );
        self.repo.write("db/stack.yaml", text);
    }

    /// Writes a file of the stack.
    pub fn write(&self, name: &str, text: &str) {
        self.repo.write(&format!("db/{name}"), text);
    }

    /// Removes a file of the stack.
    pub fn remove(&self, name: &str) {
        self.repo.remove(&format!("db/{name}"));
    }

    /// Commits what was written.
    pub fn commit(&self, message: &str) {
        self.repo.commit(message);
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &S {
        &self.server
    }

    /// The world around it.
    #[must_use]
    pub fn world(&self) -> &TestEnvironment {
        &self.world
    }

    /// A call of the binary in the site's folder.
    #[must_use]
    pub fn tidelock<I: IntoIterator<Item: AsRef<str>>>(&self, arguments: I) -> Tidelock {
        self.world.tidelock(arguments)
    }

    /// `apply --yes`, which must end well and leave nothing to do.
    #[track_caller]
    pub fn apply(&self) -> Ran {
        let ran = self.tidelock(["apply", "--yes"]).run().ok();
        self.converged();
        ran
    }

    /// Asserts that there is nothing left to do.
    #[track_caller]
    pub fn converged(&self) {
        self.tidelock(["plan", "--detailed-exitcode"]).run().ok();
    }
}
