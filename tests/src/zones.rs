//! A small site of Tidelock whose target is a DNS server of its own.

use crate::dns::{DnsServer, KEY, ZONE};
use crate::environment::TestEnvironment;
use crate::repo::Repo;
use crate::tidelock::{Ran, Tidelock};

/// A server, a repository with the stack `zones`, and the config between them.
pub struct Zones {
    // Ended before its folder goes.
    server: DnsServer,
    repo: Repo,
    world: TestEnvironment,
}

impl Zones {
    /// A site whose stack is empty, with a grant on all records.
    #[must_use]
    pub fn new(start: impl FnOnce(&std::path::Path) -> DnsServer) -> Self {
        let world = TestEnvironment::new();
        let server = start(&world.path("server"));
        let repo = world.repo("infra");
        world.secret("tsig.secret", format!("{}\n", server.secret()));
        let site = Self { server, repo, world };
        site.config(site.server.port(), "");
        site.tidelock(["plugin", "accept", "--all"]).run().ok();
        site.repo.write(
            "zones/stack.yaml",
            "name: zones\ntargets: ns\non_commit: apply\non_drift: apply\nbudget: { destroy: 2000, take_over: 10 }\n",
        );
        site
    }

    /// Writes the config, with the server at a port. A line of `replaced` that begins like one of
    /// the config stands in its place.
    pub fn config(&self, port: u16, replaced: &str) {
        let config = format!(
            "[sources.infra]\nurl = \"infra\"\n\n[[sources.infra.allow]]\ntargets = [\"ns\"]\nkinds = [\"network.*\"]\n\n\
             [targets.ns]\ntype = \"dns\"\nhost = \"127.0.0.1\"\nport = {port}\nzones = [\"{ZONE}\"]\n\
             key = {{ name = \"{KEY}\", secret = {{ file = \"tsig.secret\" }} }}\n\n\
             [grants.network]\ntargets = [\"ns\"]\nrecords = [\"**.{ZONE} *\"]\n"
        );
        let word = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        let stands_in = |line: &str| replaced.lines().find(|other| line.contains('=') && word(other) == word(line));
        let lines: Vec<&str> = config.lines().map(|line| stands_in(line).unwrap_or(line)).collect();
        self.world.write("tidelock.toml", lines.join("\n") + "\n");
    }

    /// A resource; `spec` in YAML's flow style, without the zone.
    pub fn put(&self, name: &str, spec: &str) {
        let spec = spec.trim().trim_start_matches('{');
        let text = format!("kind: network.dns-record\nname: {name}\nspec: {{ zone: {ZONE}, {spec}\n");
        self.repo.write(&format!("zones/{name}.yaml"), text);
    }

    /// Its repository.
    #[must_use]
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &DnsServer {
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
