//! A saved plan is evidence, never instruction.

use std::fs;

use serde_json::Value;
use tidelock_tests::{Ran, Site};

/// A converged site with a commit to apply, and the plan for it in `saved.json`.
fn site_with_saved_plan() -> Site {
    let site = Site::with_files([("a", "one\n"), ("b", "two\n")]);
    site.apply();
    site.repo().edit("web/a.txt", "one", "another");
    site.repo().commit("Another a");
    site.tidelock(["plan", "--save", "saved.json"]).run().ok();
    site
}

fn apply_saved(site: &Site) -> Ran {
    site.tidelock(["apply", "--plan", "saved.json"]).run()
}

/// Applies the saved plan, which must be refused and touch nothing.
#[track_caller]
fn refused(site: &Site) -> Ran {
    let before = site.world().fingerprint("machine");
    let ran = apply_saved(site);
    assert_ne!(ran.code, 0, "not refused\n{}", ran.story());
    assert_eq!(before, site.world().fingerprint("machine"), "refused, and yet something changed\n{}", ran.story());
    ran
}

#[test]
fn an_unchanged_plan_is_applied() {
    let site = site_with_saved_plan();
    apply_saved(&site).ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("another\n"));
}

#[test]
fn a_file_changed_by_hand_makes_it_stale() {
    let site = site_with_saved_plan();
    fs::write(site.machine("srv/a"), "by hand\n").unwrap();
    refused(&site).exit(3).says("stale");
}

#[test]
fn a_commit_that_changes_the_stack_makes_it_stale() {
    let site = site_with_saved_plan();
    site.repo().edit("web/b.txt", "two", "something else");
    site.repo().commit("Another b");
    refused(&site).exit(3).says("stale");
}

#[test]
fn a_commit_elsewhere_does_not() {
    let site = site_with_saved_plan();
    site.repo().write("README.md", "Nothing of the stack.\n").commit("A readme");
    apply_saved(&site).ok();
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("another\n"));
}

#[test]
fn a_forged_plan_is_refused() {
    type Forgery = (&'static str, fn(&mut Value));
    let forgeries: [Forgery; 4] = [
        ("its effects", |plan| plan["groups"] = Value::Array(Vec::new())),
        ("its changes", |plan| plan["changes"][0]["after"] = serde_json::json!({ "path": "/etc/evil" })),
        ("its digest", |plan| plan["digest"] = plan["digest"].as_str().unwrap().replace(['0', '1', '2'], "3").into()),
        ("its lane's digest", |plan| {
            plan["lanes"][0]["digest"] =
                plan["lanes"][0]["digest"].as_str().unwrap().replace(['0', '1', '2'], "3").into();
        }),
    ];
    for (what, forge) in forgeries {
        let site = site_with_saved_plan();
        let mut plan: Value = serde_json::from_str(&site.world().read("saved.json")).unwrap();
        let honest = plan.clone();
        forge(&mut plan);
        assert_ne!(honest, plan, "{what} was not forged");
        site.world().write("saved.json", plan.to_string());
        let ran = refused(&site);
        assert!(matches!(ran.code, 1 | 3), "{what}\n{}", ran.story());
    }
}

#[test]
fn what_is_no_plan_is_refused_by_name() {
    for text in ["", "{}", "[1, 2]", "{\"format\": \"tidelock.plan/99\"}", "not json"] {
        let site = site_with_saved_plan();
        site.world().write("saved.json", text);
        refused(&site).says("saved.json");
    }
}

#[test]
fn a_plan_without_an_end_is_refused_and_not_swallowed() {
    let site = Site::with_files([("a", "one\n")]);
    // A device says that it has no bytes, and gives as many as are asked for.
    let refused = site.tidelock(["apply", "--yes", "--plan", "/dev/zero"]).run().exit(3);
    let _ = refused.says("is not a saved plan");
    assert_eq!(site.on_machine("srv/a"), None);
}
