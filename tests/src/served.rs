//! A small site of Tidelock whose target is a server of its own: a repository, the server, and
//! the config between them.

use crate::environment::TestEnvironment;
use crate::repo::Repo;
use crate::tidelock::{Ran, Tidelock};

/// What is said of the source: `kinds` may go to `target`, with all secrets.
#[must_use]
pub fn source(target: &str, kinds: &str) -> String {
    format!(
        "[sources.infra]\nurl = \"infra\"\n\n\
         [[sources.infra.allow]]\ntargets = [{target:?}]\nkinds = [{kinds:?}]\nsecrets = [\"*\"]\n\n"
    )
}

/// A server, a repository, and the config between them.
pub struct Served<S> {
    // Ended before its folder goes.
    server: S,
    repo: Repo,
    world: TestEnvironment,
}

impl<S> Served<S> {
    /// A site whose repository is empty, with all plugins accepted.
    #[must_use]
    pub fn new(world: TestEnvironment, server: S, config: &str) -> Self {
        let repo = world.repo("infra");
        world.write("tidelock.toml", config);
        let site = Self { server, repo, world };
        site.tidelock(["plugin", "accept", "--all"]).run().ok();
        site
    }

    /// Its repository.
    #[must_use]
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &S {
        &self.server
    }

    /// The server, to be ended or started anew.
    pub fn server_mut(&mut self) -> &mut S {
        &mut self.server
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
