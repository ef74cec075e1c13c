//! What a program may rely on in `plan`: exit codes, the schema, equal bytes.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tidelock_tests::{Site, Tidelock};

fn site() -> Site {
    Site::with_files([("a", "one\n"), ("b", "two\n")])
}

#[test]
fn detailed_exit_codes_tell_changes_from_none() {
    let site = site();
    site.tidelock(["plan"]).run().ok();
    let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2);
    site.apply();
    site.tidelock(["plan", "--detailed-exitcode"]).run().ok();
}

#[test]
fn a_plan_changes_nothing_on_the_machine() {
    let site = site();
    let before = site.world().fingerprint("machine");
    site.tidelock(["plan"]).run().ok();
    site.tidelock(["plan", "--save", "saved.json"]).run().ok();
    assert_eq!(before, site.world().fingerprint("machine"));
}

#[test]
fn first_contact_without_anybody_to_ask_ends_with_5() {
    let site = site();
    let before = site.world().fingerprint("machine");
    let _ = site.tidelock(["apply"]).run().exit(5);
    assert_eq!(before, site.world().fingerprint("machine"));
}

#[test]
fn plans_validate_against_the_published_schema() {
    let site = site();
    let schema: Value = site.tidelock(["schema", "plan"]).run().ok().json();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let check = |json: &Value| {
        let errors: Vec<String> =
            validator.iter_errors(json).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}\nin {json:#}");
    };

    check(&site.tidelock(["plan", "--output", "json"]).run().ok().json());
    site.apply();
    check(&site.tidelock(["plan", "--output", "json"]).run().ok().json());

    // Every kind of change at once: update by commit, drift, delete, move, create.
    site.repo().remove("web/b.yaml").edit("web/a.yaml", "name: a", "name: renamed");
    site.file("web", "c", "three\n");
    site.repo().commit("A bit of everything");
    fs::write(site.machine("srv/a"), "by hand\n").unwrap();
    let plan = site.tidelock(["plan", "--output", "json"]).run().ok().json();
    assert!(plan["changes"].as_array().is_some_and(|changes| changes.len() >= 3), "{plan:#}");
    check(&plan);
    check(&serde_json::json!(plan));

    // The schema is not one that takes everything.
    let mut broken = plan.clone();
    broken["changes"][0]["action"] = "explode".into();
    assert!(!validator.is_valid(&broken));
    let mut broken = plan;
    broken.as_object_mut().unwrap().remove("digest");
    assert!(!validator.is_valid(&broken));
}

#[test]
fn equal_inputs_give_equal_bytes() {
    let site = site();
    site.apply();
    site.repo().edit("web/a.txt", "one", "another");
    site.repo().commit("Another a");
    fs::write(site.machine("srv/b"), "by hand\n").unwrap();

    // The same tree, machine-id and store, at another place.
    let copy = tempfile::tempdir().unwrap();
    let status =
        Command::new("cp").arg("-a").arg(format!("{}/.", site.world().root().display())).arg(copy.path()).status();
    assert!(status.unwrap().success());

    let here = site.tidelock(["plan", "--output", "json"]).run().ok();
    let there = Tidelock::new(copy.path(), ["plan", "--output", "json"]).run().ok();
    assert_eq!(here.stdout, there.stdout);
    assert_eq!(here.json()["digest"], there.json()["digest"]);
    let again = site.tidelock(["plan", "--output", "json"]).run().ok();
    assert_eq!(here.stdout, again.stdout, "planning twice gives the same");
}
