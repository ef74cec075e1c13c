//! A small site of Tidelock whose target is a DNS server of its own.

use std::ops::Deref;

use crate::dns::{DnsServer, KEY, ZONE};
use crate::environment::TestEnvironment;
use crate::served::{Served, source};

/// The operator's config of a site whose target `ns` is a server at a port.
fn config(port: u16) -> String {
    let target = format!(
        "[targets.ns]\ntype = \"dns\"\nhost = \"127.0.0.1\"\nport = {port}\nzones = [\"{ZONE}\"]\n\
         key = {{ name = \"{KEY}\", secret = {{ file = \"tsig.secret\" }} }}\n\n\
         [grants.network]\ntargets = [\"ns\"]\nrecords = [\"**.{ZONE} *\"]\n"
    );
    source("ns", "network.*") + &target
}

/// A site with the stack `zones`.
pub struct Zones(Served<DnsServer>);

impl Deref for Zones {
    type Target = Served<DnsServer>;
    fn deref(&self) -> &Served<DnsServer> {
        &self.0
    }
}

impl Zones {
    /// A site whose stack is empty, with a grant on all records.
    #[must_use]
    pub fn new(start: impl FnOnce(&std::path::Path) -> DnsServer) -> Self {
        let world = TestEnvironment::stocked();
        let server = start(&world.path("server"));
        world.secret("tsig.secret", format!("{}\n", server.secret()));
        let config = config(server.port());
        let site = Self(Served::new(world, server, &config));
        site.repo().write(
            "zones/stack.yaml",
            "name: zones\ntargets: ns\non_commit: apply\non_drift: apply\nbudget: { destroy: 2000, take_over: 10 }\n",
        );
        site
    }

    /// Writes the config, with the server at a port. A line of `replaced` that begins like one of
    /// the config stands in its place.
    pub fn config(&self, port: u16, replaced: &str) {
        let config = config(port);
        let word = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        let stands_in = |line: &str| replaced.lines().find(|other| line.contains('=') && word(other) == word(line));
        let lines: Vec<&str> = config.lines().map(|line| stands_in(line).unwrap_or(line)).collect();
        self.world().write("tidelock.toml", lines.join("\n") + "\n");
    }

    /// Has the zone hold records: resources of these names and specs, applied.
    pub fn holds(&self, records: &[(&str, &str)]) {
        records.iter().for_each(|(name, spec)| self.put(name, spec));
        self.repo().commit("Records");
        self.apply();
    }

    /// A resource; `spec` in YAML's flow style, without the zone.
    pub fn put(&self, name: &str, spec: &str) {
        let spec = spec.trim().trim_start_matches('{');
        let text = format!("kind: network.dns-record\nname: {name}\nspec: {{ zone: {ZONE}, {spec}\n");
        self.repo().write(&format!("zones/{name}.yaml"), text);
    }
}
