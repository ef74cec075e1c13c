//! What could not be seen, and what it holds up.

use tidelock_model::observation::{Observation, Readiness};

use super::check;
use super::example::{Example, path};

#[test]
fn what_failed_to_be_seen_is_never_taken_for_absent() {
    let mut example = Example::new();
    example.have("left", "/left", "0644");
    example.file("broken", "/broken", "0644");
    example.file("user", "/user", "0644").needs.push("server.file/broken".parse().unwrap());
    example.file("users-user", "/users-user", "0644").needs.push("server.file/user".parse().unwrap());
    example.file("free", "/free", "0644");
    example.fails("/broken", "permission denied");
    example.fails("/left", "permission denied");
    insta::assert_snapshot!(check(&example), @"
    deferred server.file/broken revision -- could not be looked at: permission denied
    create server.file/free [1] revision
    deferred server.file/left revision -- could not be looked at: permission denied
    deferred server.file/user revision -- waits for server.file/broken, which could not be looked at
    deferred server.file/users-user revision -- waits for server.file/broken, which could not be looked at
    group 1 after []: put-file
    error: server.file/left could not be looked at: permission denied
    error: server.file/broken could not be looked at: permission denied
    ");
    assert!(!example.plan().0.complete);
}

#[test]
fn what_waits_is_deferred_with_its_dependants() {
    let mut example = Example::new();
    example.file("db", "/db", "0644");
    example.file("user", "/user", "0644").needs.push("server.file/db".parse().unwrap());
    let waits = Observation::Waits { on: path("/cluster"), why: "the cluster is not made yet".to_owned() };
    example.answers.insert(path("/db"), waits);
    insta::assert_snapshot!(check(&example), @"
    deferred server.file/db revision -- waits for path:/cluster: the cluster is not made yet
    deferred server.file/user revision -- waits for server.file/db, which is put off
    ");
}

#[test]
fn unknown_fields_are_listed_and_not_compared() {
    let mut example = Example::new();
    example.have("a", "/a", "0644");
    example.file("a", "/a", "0600");
    let present = Observation::Present {
        observed: serde_json::json!({"path": "/a"}),
        unknown: vec!["/mode".to_owned()],
        handle: None,
        readiness: Readiness::Broken,
        seen: vec![],
        probes: vec![],
    };
    example.answers.insert(path("/a"), present);
    insta::assert_snapshot!(check(&example), @"
    update server.file/a [1] /mode revision
    group 1 after []: put-file
    warning: server.file/a is there, but broken
    warning: server.file/a: /mode could not be read, so it is not known whether it differs
    ");
}

#[test]
fn what_a_crash_left_in_doubt_waits_for_a_word() {
    let mut example = Example::new();
    example.file("a", "/a", "0644");
    example.file("b", "/b", "0644");
    example.doubtful.push(path("/a"));
    insta::assert_snapshot!(check(&example), @"
    deferred server.file/a revision -- an earlier run ended before it was known what became of it; say `tidelock resolve infra:web:server.file/a@web-1 done|redo`
    create server.file/b [1] revision
    group 1 after []: put-file
    waits: in-doubt -- it is not known what an earlier run did to server.file/a
    ");
}

#[test]
fn a_refusal_names_the_resource_and_the_way_out() {
    let mut example = Example::new();
    example.want("server.file/a", &serde_json::json!({"path": "/a", "refuse": true}));
    let part = example.part().unwrap();
    assert_eq!(part.errors[0].message, "server.file/a: not allowed here");
    assert_eq!(part.errors[0].hint.as_deref(), Some("grant it"));
    assert_eq!(part.errors[0].place.as_ref().unwrap().to_string(), "web.yaml:1:1");
}
