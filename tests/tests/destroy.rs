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
    let ends =
        "`tidelock destroy web --target local` removes what it owns, `tidelock forget web --target local` lets it be";
    let _ = site.tidelock(["why", "web"]).run().ok().says("orphaned:").says("its resources stay").says(ends);
    for words in [&["plan"][..], &["apply", "--yes"]] {
        let told = site.tidelock(words).run().ok().says("web@local is orphaned and owns 2 resources").says(ends);
        let _ = told.says("the stack left Git at ");
    }
    let _ = site.tidelock(["plan", "db"]).run().ok().never_says("orphaned");
    let waits = site.tidelock(["destroy", "web"]).run().exit(5);
    let waits = waits.says("server.file/a").says("its stack is destroyed").says("takes a person's yes");
    let _ = waits.says("tidelock destroy web --yes");
    assert!(site.on_machine("srv/a").is_some() && site.on_machine("srv/b").is_some());

    let json = site.tidelock(["destroy", "web", "--yes", "--output", "json"]).run().ok().json();
    assert_eq!((&json["end"], &json["plan"]["lanes"][0]["destroys"]), (&"done".into(), &true.into()), "{json}");
    assert_eq!((site.on_machine("srv/a"), site.on_machine("srv/b")), (None, None));
    assert_eq!(site.on_machine("srv/d").as_deref(), Some("three\n"));
    assert_eq!(lane(&site, "web"), None);
    let _ = site.tidelock(["plan"]).run().ok().never_says("orphaned");
    site.converged();
    let _ = site.tidelock(["history"]).run().ok().says("delete");
    let _ = site.tidelock(["destroy", "web", "--yes"]).run().exit(64).says("nothing is known of a stack web");
    let _ = site.tidelock(["destroy", "bd", "--yes"]).run().exit(64);
}

#[test]
fn the_last_stack_that_left_git_is_not_forgotten_about() {
    let site = Site::with_files([("a", "one\n")]);
    site.apply();
    site.repo().git(["rm", "-q", "-r", "web"]);
    site.repo().write("README.md", "Nothing is here\n").commit("Web is gone");
    let told = site.tidelock(["plan"]).run();
    assert_ne!(told.code, 0, "{}", told.story());
    let told = told.says("holds no stack").says("web@local is orphaned and owns 1 resource");
    let _ = told.says("`tidelock destroy web --target local` removes what it owns");
    site.tidelock(["destroy", "web", "--target", "local", "--yes"]).run().ok();
    let _ = site.tidelock(["status"]).run().ok().says("No stack is there").never_says("tidelock plan");
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

/// `web` needs `db`, on one machine; both have a file.
fn stacked() -> Site {
    let site = two();
    site.repo().edit("web/stack.yaml", "targets:", "needs: [db]\ntargets:").commit("web needs db");
    site.apply();
    site
}

/// The stacks of what was deleted, in order.
fn deleted(site: &Site) -> Vec<String> {
    let json = site.tidelock(["history", "--output", "json"]).run().ok().json();
    let lines = json["history"].as_array().unwrap_or_else(|| panic!("{json}")).iter().rev();
    let deleted = lines.filter(|line| line["action"] == "delete");
    deleted.map(|line| line["address"].as_str().unwrap().split(':').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn stacks_are_torn_down_in_reverse_of_what_they_need() {
    let site = stacked();
    site.tidelock(["suspend", "--all", "--reason", "the site closes"]).run().ok();
    let waits = site.tidelock(["destroy", "db", "--yes"]).run().exit(5);
    let _ = waits.says("web needs it, and web@local still owns something");
    assert!(site.on_machine("srv/d").is_some());
    let _ = site.tidelock(["destroy", "db", "web"]).run().exit(5).says("tidelock destroy db web --yes");
    let done = site.tidelock(["destroy", "db", "web", "--yes"]).run().ok();
    assert_eq!(done.stdout.matches("Approved by").count(), 1, "one yes is for all of it\n{}", done.story());
    assert_eq!(deleted(&site), ["web", "web", "db"]);
    assert_eq!((site.on_machine("srv/a"), site.on_machine("srv/d")), (None, None));
}

#[test]
fn what_could_not_be_removed_keeps_what_it_needs() {
    let site = stacked();
    let guarded = site.world().read("infra/web/a.yaml") + "protect: true\n";
    site.repo().write("web/a.yaml", guarded).commit("a is kept");
    site.apply();
    site.tidelock(["suspend", "--all", "--reason", "the site closes"]).run().ok();
    let ran = site.tidelock(["destroy", "db", "web", "--yes"]).run();
    assert_ne!(ran.code, 0, "{}", ran.story());
    assert!(site.on_machine("srv/a").is_some() && site.on_machine("srv/d").is_some(), "{}", ran.story());
}

#[test]
fn all_that_is_orphaned_goes_in_the_same_order() {
    let site = stacked();
    let _ = site.tidelock(["destroy", "--orphaned", "--yes"]).run().exit(64).says("no lane is orphaned");
    site.stack("stays");
    site.file("stays", "s", "four\n");
    site.repo().git(["rm", "-q", "-r", "web", "db"]);
    site.repo().commit("Both are gone");
    site.apply();
    let _ = site.tidelock(["destroy", "--orphaned"]).run().exit(5).says("tidelock destroy --orphaned --yes");
    site.tidelock(["destroy", "--orphaned", "--yes"]).run().ok();
    assert_eq!(deleted(&site), ["web", "web", "db"]);
    assert_eq!(site.on_machine("srv/s").as_deref(), Some("four\n"));
    assert_eq!((lane(&site, "web"), lane(&site, "db")), (None, None));
    site.converged();
}

#[test]
fn what_is_released_is_let_be_while_git_still_asks_for_it() {
    let site = two();
    let _ =
        site.tidelock(["release", "web:server.file/a"]).run().exit(5).says("tidelock release web:server.file/a --yes");
    site.tidelock(["release", "web:server.file/a", "--reason", "by hand for now", "--yes"]).run().ok();
    site.world().write("machine/srv/a", "by hand\n");
    site.converged();
    site.apply();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("by hand\n"), "neither healed nor removed");
    for words in [&["status"][..], &["plan"], &["why", "web"], &["events"]] {
        let _ = site.tidelock(words).run().ok().says("released infra:web:server.file/a@local").says("by hand for now");
    }
    // Git goes on about it, and about its neighbour.
    site.repo().write("web/a.txt", "new\n").write("web/b.txt", "new\n").commit("Both change");
    site.apply();
    assert_eq!((site.on_machine("srv/a"), site.on_machine("srv/b")), (Some("by hand\n".into()), Some("new\n".into())));
    let _ = site.tidelock(["undo", "web:server.file/a", "--end"]).run().ok().says("nothing to end");

    let _ = site.tidelock(["release", "web:server.file/a", "--end"]).run().ok().says("follows Git again");
    let _ = site.tidelock(["plan"]).run().ok().says("to take over");
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("by hand\n"));
}

#[test]
fn what_is_released_stays_when_it_leaves_git_and_is_not_purged() {
    let site = Site::with_files([("keep", "one\n")]);
    let folder = "kind: server.directory\nname: app\nspec: { path: /srv/app, purge: true }\n";
    let file = "kind: server.file\nname: conf\nspec: { path: /srv/app/conf, content: one }\n";
    site.repo().write("web/app.yaml", folder).write("web/conf.yaml", file).commit("A directory of ours alone");
    site.apply();
    site.tidelock(["release", "server.file/conf", "--yes"]).run().ok();
    site.world().write("machine/srv/app/stray", "x");
    site.apply();
    assert!(site.on_machine("srv/app/stray").is_none(), "what nobody speaks for is purged");
    assert_eq!(site.on_machine("srv/app/conf").as_deref(), Some("one"));
    let _ = site.tidelock(["release", "server.file/conf", "--yes"]).run().exit(64).says("no such resource is ours");
}
