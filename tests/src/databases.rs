//! A small site of Tidelock whose target is a PostgreSQL server of its own.

use crate::environment::TestEnvironment;
use crate::postgres::Postgres;
use crate::repo::Repo;
use crate::tidelock::{Ran, Tidelock};

/// A server, a repository with the stack `db`, and the config between them.
pub struct Databases {
    // Ended before its folder goes.
    server: Postgres,
    repo: Repo,
    world: TestEnvironment,
}

impl Databases {
    /// A site with these files in the stack `db`, committed; all may be changed.
    #[must_use]
    pub fn with_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let world = TestEnvironment::new();
        let server = Postgres::start(&world.path("server"));
        let repo = world.repo("infra");
        let config = format!(
            "[sources.infra]\nurl = \"infra\"\n\n\
             [[sources.infra.allow]]\ntargets = [\"pg\"]\nkinds = [\"postgres.*\"]\nsecrets = [\"*\"]\n\n\
             [targets.pg]\ntype = \"postgres\"\nhost = {:?}\nport = {}\nuser = \"postgres\"\n\n\
             [grants.postgres]\ntargets = [\"pg\"]\ndatabases = [\"*\"]\nsql = [\"**\"]\n",
            server.socket().display().to_string(),
            server.port()
        );
        world.write("tidelock.toml", config);
        let site = Self { server, repo, world };
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
        let text =
            format!("name: db\ntargets: pg\non_commit: apply\non_drift: apply\nbudget: {{ destroy: 100 }}\n{more}");
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
    pub fn server(&self) -> &Postgres {
        &self.server
    }

    /// Does something on the server by hand, statement by statement (`; ` stands between), and
    /// gives the last answer.
    #[track_caller]
    pub fn by_hand(&self, database: &str, sql: &str) -> String {
        sql.split("; ").fold(String::new(), |_, statement| self.server.psql(database, statement))
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

    /// As [`Databases::apply`], where something has to wait for what comes first: in two steps.
    #[track_caller]
    pub fn apply_in_two(&self) {
        self.tidelock(["apply", "--yes"]).run().ok();
        self.apply();
    }

    /// Asserts that there is nothing left to do.
    #[track_caller]
    pub fn converged(&self) {
        self.tidelock(["plan", "--detailed-exitcode"]).run().ok();
    }
}
