//! Commands that run while a plan is made: by a grant of their own, and never by the
//! grant for effects.

use tidelock_tests::{Site, site};

const COMMAND: &str =
    "kind: server.command\nname: enable\nspec:\n  argv: [/usr/bin/true]\n  unless: [/usr/bin/test, -e, /proc/self]\n";

/// A site with a guarded command, and these lines in the grant.
fn guarded(grant: &str) -> Site {
    let site = Site::new();
    site.stack("web");
    site.repo().write("web/enable.yaml", COMMAND).commit("A guarded command");
    site.world().write("tidelock.toml", format!("{}{grant}", site::config("infra")));
    site
}

#[test]
fn a_guard_runs_by_a_grant_of_its_own() {
    let site = guarded("exec = [[\"/usr/bin/true\"], [\"/usr/bin/test\", \"**\"]]\n");
    let refused = site.tidelock(["plan"]).run();
    assert_eq!(refused.code, 4, "{}", refused.story());
    let refused = refused
        .says("may not run `/usr/bin/test -e /proc/self` while a plan is made on target local")
        .says("exec_read = [[\"/usr/bin/test\", \"-e\", \"/proc/self\"]]");

    // The lines of the hint, pasted, are enough.
    let story = refused.stderr + &refused.stdout;
    let line = story.lines().find(|line| line.trim_start().starts_with("exec_read")).expect("the line to paste");
    let config = site.world().read("tidelock.toml");
    site.world().write("tidelock.toml", format!("{config}{}\n", line.trim()));
    site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2).says("it is not to run by itself now");
}

#[test]
fn a_grant_to_look_is_none_to_act() {
    let site = guarded("exec_read = [[\"/usr/bin/true\"], [\"/usr/bin/test\", \"**\"]]\n");
    site.repo().edit("web/enable.yaml", "/proc/self", "/nowhere").commit("Not enabled yet");
    site.tidelock(["plan"]).run().says("may not run `/usr/bin/true` on target local").says("exec = [[");
}
