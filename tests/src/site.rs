//! A small site of Tidelock: a repository, a machine, and the config between them.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::environment::TestEnvironment;
use crate::repo::Repo;
use crate::tidelock::{Ran, Tidelock};

/// The operator's config of a site, for a source at an address.
///
/// It allows the stacks of the source everything on the target `local`, the
/// folder `machine/`, below `/etc` and `/srv`.
#[must_use]
pub fn config(url: &str) -> String {
    format!(
        "[sources.infra]\n\
         url = {url:?}\n\n\
         [[sources.infra.allow]]\n\
         targets = [\"local\"]\n\
         kinds = [\"server.*\"]\n\n\
         [targets.local]\n\
         type = \"machine\"\n\
         root = \"machine\"\n\n\
         [grants.server]\n\
         targets = [\"local\"]\n\
         paths = [\"/etc/*\", \"/srv\", \"/srv/**\"]\n"
    )
}

/// One folder with `infra/` (Git), `machine/` (the target) and `tidelock.toml`.
pub struct Site {
    world: TestEnvironment,
    repo: Repo,
}

impl Site {
    /// A site whose repository is empty, with all plugins accepted.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "it makes folders and runs programs, which nobody expects of a default"
    )]
    pub fn new() -> Self {
        let world = TestEnvironment::stocked();
        let repo = world.repo("infra");
        world.write("tidelock.toml", config("infra"));
        world.write("machine/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        world.write("machine/srv/.keep", "");
        let site = Self { world, repo };
        site.tidelock(["plugin", "accept", "--all"]).run().ok();
        site
    }

    /// A site with the stack `web` of these files, committed.
    #[must_use]
    pub fn with_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let site = Self::new();
        site.stack("web");
        for (name, contents) in files {
            site.file("web", name, contents);
        }
        site.repo.commit("The first commit");
        site
    }

    /// The world around it.
    #[must_use]
    pub fn world(&self) -> &TestEnvironment {
        &self.world
    }

    /// Its repository.
    #[must_use]
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// A path on its machine.
    #[must_use]
    pub fn machine(&self, path: &str) -> PathBuf {
        self.world.path("machine").join(path)
    }

    /// What a file of the machine holds, if it is there.
    #[must_use]
    pub fn on_machine(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.machine(path)).ok()
    }

    /// Writes `stack.yaml` of a stack in a directory of the same name.
    pub fn stack(&self, name: &str) {
        let text = format!("name: {name}\ntargets: local\non_commit: apply\non_drift: apply\n");
        self.repo.write(&format!("{name}/stack.yaml"), text);
    }

    /// Writes a resource: the file `/srv/NAME` with its contents beside it, by `$file`.
    pub fn file(&self, stack: &str, name: &str, contents: &str) {
        let text = format!(
            "kind: server.file\nname: {name}\nspec:\n  path: /srv/{name}\n  mode: \"0644\"\n  content: {{ $file: {name}.txt }}\n"
        );
        self.repo.write(&format!("{stack}/{name}.yaml"), text).write(&format!("{stack}/{name}.txt"), contents);
    }

    /// A call of the binary in the site's folder.
    #[must_use]
    pub fn tidelock<I: IntoIterator<Item: AsRef<str>>>(&self, arguments: I) -> Tidelock {
        self.world.tidelock(arguments)
    }

    /// `apply --yes`, which must end well.
    #[track_caller]
    pub fn apply(&self) -> Ran {
        self.tidelock(["apply", "--yes"]).run().ok()
    }

    /// Asserts that there is nothing left to do.
    #[track_caller]
    pub fn converged(&self) {
        self.tidelock(["plan", "--detailed-exitcode"]).run().ok();
    }

    /// The stored events, each with its number `seq`.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let json = self.tidelock(["events", "--limit", "100000", "--output", "json"]).run().ok().json();
        json["events"].as_array().unwrap_or_else(|| panic!("no events in {json}")).clone()
    }

    /// The number of the newest event.
    #[must_use]
    pub fn last_event(&self) -> u64 {
        self.events().iter().filter_map(|event| event["seq"].as_u64()).max().unwrap_or(0)
    }

    /// The lanes that a renderer ran for after an event, sorted.
    #[must_use]
    pub fn rendered_since(&self, seq: u64) -> Vec<String> {
        let events = self.events();
        let ran = events.iter().filter(|event| {
            event["seq"].as_u64() > Some(seq) && event["event"] == "rendered" && event["cached"] == false
        });
        let mut lanes: Vec<String> = ran.map(|event| event["lane"].to_string()).collect();
        lanes.sort();
        lanes
    }
}
