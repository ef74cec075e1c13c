//! The gate decides lane by lane, as a caller sees it: what one stack waits for, or is
//! refused for, holds up no other.

use serde_json::Value;
use tidelock_tests::Site;

/// Two stacks on one machine, both applied.
fn two_stacks() -> Site {
    let site = Site::with_files([("a", "one\n")]);
    site.stack("db");
    site.file("db", "b", "one\n");
    site.repo().commit("A second stack");
    site.apply();
    site.converged();
    site
}

#[test]
fn a_refused_stack_holds_up_no_other() {
    let site = two_stacks();
    site.repo().remove("db/b.yaml").write("web/a.txt", "two\n");
    site.repo().commit("An empty stack, and a change elsewhere");

    let ran = site.tidelock(["apply", "--yes"]).run().exit(3);
    assert!(ran.stderr.contains("refused a part of it"), "{}", ran.stderr);
    assert!(ran.stderr.contains("rendered to nothing"), "{}", ran.stderr);
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("two\n"));
    assert_eq!(site.on_machine("srv/b").as_deref(), Some("one\n"), "nothing of the refused stack was touched");

    let status = site.tidelock(["status", "--output", "json"]).run().ok().json();
    let of = |stack: &str| -> Value {
        let lanes = status["lanes"].as_array().unwrap();
        lanes.iter().find(|lane| lane["stack"] == stack).unwrap()["status"].clone()
    };
    assert_eq!((of("web"), of("db")), ("converged".into(), "waiting".into()));
}

#[test]
fn a_refusal_is_not_taken_for_no_changes() {
    let site = two_stacks();
    site.repo().remove("db/b.yaml");
    site.repo().commit("An empty stack");
    let _ = site.tidelock(["plan", "--detailed-exitcode"]).run().exit(2);
}

#[test]
fn a_stack_that_waits_holds_up_no_other_and_is_told() {
    let site = two_stacks();
    site.stack("late");
    site.file("late", "c", "one\n");
    site.repo().write("web/a.txt", "two\n");
    site.repo().commit("A third stack, never applied before");

    // Nobody is there to say yes, so nothing is performed, and both are told.
    let ran = site.tidelock(["apply"]).run().exit(5);
    assert!(ran.stdout.contains("never applied"), "{}", ran.stdout);
    assert_eq!(site.on_machine("srv/a").as_deref(), Some("one\n"));

    let applied = site.tidelock(["apply", "--yes", "--output", "json"]).run().ok().json();
    assert_eq!(applied["end"], "done");
    assert_eq!(applied["runs"].as_array().unwrap().len(), 2, "{applied:#}");
    assert_eq!(site.on_machine("srv/c").as_deref(), Some("one\n"));
    site.converged();
}

#[test]
fn every_stack_that_cannot_be_read_is_shown_with_its_line() {
    let site = two_stacks();
    site.repo().edit("web/a.yaml", "mode:", "mod:").edit("db/b.yaml", "path:", "pth:");
    site.repo().commit("A mistake in each of two stacks");
    let ran = site.tidelock(["plan"]).run().exit(1);
    for (place, line, mark) in
        [("web/a.yaml:5:3", "5 |   mod: \"0644\"", "^"), ("db/b.yaml:4:3", "4 |   pth: /srv/b", "^")]
    {
        assert!(ran.stdout.contains(place) && ran.stdout.contains(line), "{place}: {}", ran.story());
        let below = ran.stdout.split(line).nth(1).and_then(|rest| rest.lines().nth(1)).unwrap_or_default();
        assert!(below.contains(mark), "{place}: {}", ran.story());
    }
}

#[test]
fn what_the_planner_refuses_is_shown_with_its_line() {
    let site = Site::with_files([("a", "one\n")]);
    site.repo().edit("web/a.yaml", "name: a\n", "name: a\nneeds: [server.file/c]\n");
    site.repo().commit("It needs what is not there");
    let ran = site.tidelock(["plan"]).run().exit(1);
    assert!(ran.stderr.contains("web/a.yaml:3:1"), "{}", ran.story());
    assert!(ran.stderr.contains("3 | needs: [server.file/c]"), "{}", ran.story());
    assert!(!ran.stderr.contains("did you mean server.file/a"), "it cannot need itself: {}", ran.story());
}
