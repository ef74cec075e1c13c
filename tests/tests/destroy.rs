//! Destroying and forgetting on the real binary.

use std::fs;

use serde_json::Value;
use tidelock_tests::{Daemon, Site, site};

/// A site with two stacks applied.
fn two() -> Site {
    let site = Site::with_files([("a", "one\n"), ("b", "two\n")]);
    site.stack("db");
    site.file("db", "d", "three\n");
    site.repo().commit("A second stack");
    site.apply();
    site
}

fn left_git(site: &Site) {
    site.repo().git(["rm", "-q", "-r", "web"]);
    site.repo().commit("Web is gone");
    site.apply();
}

fn lane(site: &Site, stack: &str) -> Option<Value> {
    let json = site.tidelock(["status", "--output", "json"]).run().ok().json();
    json["lanes"].as_array().unwrap().iter().find(|lane| lane["stack"] == stack).cloned()
}

#[test]
fn a_stack_that_left_git_is_destroyed_and_nothing_else() {
    let site = two();
    left_git(&site);
    assert_eq!(lane(&site, "web").unwrap()["status"], "orphaned");
    let _ = site.tidelock(["why", "web"]).run().ok().says("orphaned:").says("its resources stay");
    let waits = site.tidelock(["destroy", "web"]).run().exit(5);
    let waits = waits.says("server.file/a").says("its stack is destroyed").says("takes a person's yes");
    let _ = waits.says("tidelock destroy web --yes");
    assert!(site.on_machine("srv/a").is_some() && site.on_machine("srv/b").is_some());

    let json = site.tidelock(["destroy", "web", "--yes", "--output", "json"]).run().ok().json();
    assert_eq!((&json["end"], &json["plan"]["lanes"][0]["destroys"]), (&"done".into(), &true.into()), "{json}");
    assert_eq!((site.on_machine("srv/a"), site.on_machine("srv/b")), (None, None));
    assert_eq!(site.on_machine("srv/d").as_deref(), Some("three\n"));
    assert_eq!(lane(&site, "web"), None);
    site.converged();
    let _ = site.tidelock(["history"]).run().ok().says("delete");
    let _ = site.tidelock(["destroy", "web", "--yes"]).run().exit(64).says("nothing is known of a stack web");
    let _ = site.tidelock(["destroy", "bd", "--yes"]).run().exit(64);
}

#[test]
fn a_stack_that_is_still_in_git_is_destroyed_only_while_suspended() {
    let site = two();
    let refused = site.tidelock(["destroy", "web", "--yes"]).run().exit(64);
    let _ = refused.says("still in Git").says("tidelock suspend web");
    assert!(site.on_machine("srv/a").is_some());
    site.tidelock(["suspend", "web", "--reason", "it moves"]).run().ok();
    site.tidelock(["destroy", "web", "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/a"), None);
    let _ = site.tidelock(["apply", "--yes"]).run().exit(5);
    assert_eq!(site.on_machine("srv/a"), None);
    let _ = site.tidelock(["status"]).run().ok().says("suspended");
    site.tidelock(["resume", "web", "--yes"]).run().ok();
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));
}

#[test]
fn protect_refuses_release_releases_and_claims_of_others_stay() {
    let site = Site::with_files([("a", "one\n"), ("b", "two\n"), ("c", "three\n")]);
    let released = site.world().read("infra/web/b.yaml") + "on_remove: release\n";
    let guarded = site.world().read("infra/web/c.yaml") + "protect: true\n";
    site.repo().write("web/b.yaml", released).write("web/c.yaml", guarded).commit("More words");
    site.apply();
    // Another stack takes over `a` in Git, and was not applied yet.
    site.stack("db");
    site.file("db", "a", "one\n");
    site.repo().git(["rm", "-q", "-r", "web"]);
    site.repo().commit("Web is gone");
    site.tidelock(["plan"]).run().ok();
    let refused = site.tidelock(["destroy", "web", "--yes"]).run().exit(3);
    let _ = refused.says("server.file/c is protected").says("tidelock forget infra:web:server.file/c@local");
    site.tidelock(["forget", "infra:web:server.file/c@local", "--yes"]).run().ok();
    site.tidelock(["destroy", "web", "--yes"]).run().ok();
    for name in ["a", "b", "c"] {
        assert!(site.on_machine(&format!("srv/{name}")).is_some(), "{name} stays");
    }
}

#[test]
fn the_operators_budget_and_gate_hold_for_a_destroy() {
    let site = two();
    let config = site.world().read("tidelock.toml");
    site.world().write(
        "tidelock.toml",
        format!("{config}\n[[gate]]\nstacks = \"web\"\napprovals = 1\nbudget = {{ destroy = 1 }}\n"),
    );
    left_git(&site);
    let waits = site.tidelock(["destroy", "web", "--yes"]).run().exit(5);
    let _ = waits.says("asks for the approval of 1 person");
    let _ = site.tidelock(["why", "web"]).run().ok().says("approvals:").says("destroy:");
    site.tidelock(["approve", "web", "--yes"]).run().ok();
    site.tidelock(["destroy", "web", "--yes"]).run().ok();
    assert_eq!(site.on_machine("srv/a"), None);
}

#[test]
fn what_is_forgotten_is_left_alone() {
    let site = two();
    let waits = site.tidelock(["forget", "web:server.file/a"]).run().exit(5);
    let _ = waits.says("path:/srv/a").says("adopts them again").says("tidelock forget web:server.file/a --yes");
    let json = site.tidelock(["forget", "a", "--yes", "--output", "json"]).run().ok().json();
    assert_eq!(json["forgotten"][0]["resources"][0]["identity"], "path:/srv/a", "{json}");
    let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2).says("adopt");
    let _ = site.tidelock(["history"]).run().ok().says("release");

    left_git(&site);
    site.tidelock(["forget", "web", "--yes"]).run().ok();
    assert_eq!(lane(&site, "web"), None);
    assert!(site.on_machine("srv/a").is_some() && site.on_machine("srv/b").is_some());
    site.converged();
    let _ = site.tidelock(["forget", "web", "--yes"]).run().exit(64);
    let _ = site.tidelock(["forget", "--yes"]).run().exit(64);
}

#[test]
fn a_target_that_left_the_config_is_orphaned_until_it_is_forgotten() {
    let site = two();
    let config = site::config("infra");
    let other = config.replace("\"local\"", "\"other\"").replace("[targets.local]", "[targets.other]");
    let other = other.replacen("url = \"infra\"\n", "url = \"infra\"\npoll = \"200ms\"\n", 1);
    site.world().write("tidelock.toml", other);
    let daemon = Daemon::start(&site);
    daemon.eventually("its lanes are orphaned", || {
        lane(&site, "web").unwrap()["status"] == "orphaned" && lane(&site, "db").unwrap()["status"] == "orphaned"
    });
    let said = site.tidelock(["destroy", "web", "--yes"]).run().exit(64);
    let _ = said.says("tidelock forget --target local");
    site.tidelock(["forget", "--target", "local", "--yes"]).run().ok();
    assert_eq!((lane(&site, "web"), lane(&site, "db")), (None, None));
    daemon.stop();
    let _ = site.tidelock(["forget", "--target", "local", "--yes"]).run().exit(64).says("nothing is known of a target");
    assert!(fs::metadata(site.machine("srv/a")).is_ok());
}
