//! A site with several machines and one stack on all of them.

use crate::site::{Site, config};

/// How many machines: `t1` to `t8`.
pub const TARGETS: usize = 8;

/// A site whose stack `web` puts one file on each machine. `stack` is more of its `stack.yaml`,
/// `allow` more of what the operator allows it.
#[must_use]
pub fn fleet(stack: &str, allow: &str) -> Site {
    let site = Site::with_files([("a", "one\n")]);
    let text = config("infra").replace("[\"local\"]", "[\"*\"]");
    let mut text = text.replace("kinds = [\"server.*\"]", &format!("kinds = [\"server.*\"]\n{allow}"));
    for n in 1..=TARGETS {
        text.push_str(&format!("\n[targets.t{n}]\ntype = \"machine\"\nroot = \"t{n}\"\n"));
        site.world().write(&format!("t{n}/srv/.keep"), "");
        site.world().write(&format!("t{n}/etc/machine-id"), format!("{n:032x}\n"));
    }
    site.world().write("tidelock.toml", text);
    let decl = format!("name: web\ntargets: \"t*\"\non_commit: apply\non_drift: apply\n{stack}");
    site.repo().write("web/stack.yaml", decl).commit("How it goes out");
    site
}

/// Commits another content of the file.
pub fn change(site: &Site, contents: &str) {
    site.repo().write("web/a.txt", contents).commit("Another greeting");
}

/// Machines on which the file holds this.
#[must_use]
pub fn with(site: &Site, contents: &str) -> Vec<String> {
    let targets = (1..=TARGETS).map(|n| format!("t{n}"));
    let read = |target: &String| std::fs::read_to_string(site.world().path(&format!("{target}/srv/a")));
    targets.filter(|target| read(target).is_ok_and(|text| text == contents)).collect()
}
