//! What comes before what, and what is performed together.

use serde_json::json;

use super::check;
use super::example::{Example, path};

#[test]
fn edges_come_from_needs_and_from_what_providers_say() {
    let mut example = Example::new();
    example.file("a-last", "/etc/app/x", "0644").requires.push(path("/etc/app"));
    example.file("b-first", "/opt", "0755");
    let unpacks = example.file("c-provides", "/opt/unpack", "0644");
    unpacks.needs.push("server.file/b-first".parse().unwrap());
    unpacks.provides.push(path("/etc/app"));
    insta::assert_snapshot!(check(&example), @"
    create server.file/b-first [1] revision
    create server.file/c-provides [2] revision
    create server.file/a-last [3] revision
    group 1 after []: put-file
    group 2 after [1]: put-file
    group 3 after [2]: put-file
    ");
}

#[test]
fn order_passes_through_what_does_not_change() {
    let mut example = Example::new();
    example.file("a-last", "/a", "0644").needs.push("server.file/b-same".parse().unwrap());
    example.have("b-same", "/b", "0644").needs.push("server.file/c-first".parse().unwrap());
    example.file("b-same", "/b", "0644").needs.push("server.file/c-first".parse().unwrap());
    example.file("c-first", "/c", "0644");
    insta::assert_snapshot!(check(&example), @"
    create server.file/c-first [1] revision
    create server.file/a-last [2] revision
    group 1 after []: put-file
    group 2 after [1]: put-file
    ");
}

#[test]
fn circles_are_named_with_their_places() {
    let mut example = Example::new();
    for (id, need) in [("a", "b"), ("b", "c"), ("c", "a")] {
        example.file(id, &format!("/{id}"), "0644").needs.push(format!("server.file/{need}").parse().unwrap());
    }
    insta::assert_snapshot!(check(&example), @"refused: web.yaml:1:1: resources need each other in a circle: server.file/a -> server.file/b -> server.file/c -> server.file/a (at web.yaml:1:1, web.yaml:2:1, web.yaml:3:1) (remove one of these `needs`, or what a provider derives from the specs)");

    let mut example = Example::new();
    example.file("self", "/self", "0644").needs.push("server.file/self".parse().unwrap());
    insta::assert_snapshot!(check(&example), @"refused: web.yaml:1:1: resources need each other in a circle: server.file/self -> server.file/self (at web.yaml:1:1) (remove one of these `needs`, or what a provider derives from the specs)");
}

#[test]
fn equal_keys_form_one_atomic_group() {
    let mut example = Example::new();
    for id in ["a", "b", "c"] {
        let at = format!("/{id}");
        let spec = if id == "b" {
            json!({"path": at, "mode": "0644"})
        } else {
            json!({"path": at, "mode": "0644", "together": "check"})
        };
        example.want(&format!("server.file/{id}"), &spec);
    }
    insta::assert_snapshot!(check(&example), @"
    create server.file/a [1] revision
    create server.file/c [1] revision
    create server.file/b [2] revision
    group 1 atomic after []: put-file, put-file
    group 2 after []: put-file
    ");

    // b must come between the two that are performed together.
    example.resources[1].needs.push("server.file/a".parse().unwrap());
    example.resources[2].needs.push("server.file/b".parse().unwrap());
    insta::assert_snapshot!(check(&example), @"refused: what is performed together and what is needed first make a circle: (server.file/a with server.file/c) -> server.file/b -> (server.file/a with server.file/c); a plugin asked for effects in one group that cannot be in one (remove one of the `needs` between them)");
}

#[test]
fn many_through_something_unchanged_stay_linear() {
    let mut example = Example::new();
    example.have("barrier", "/barrier", "0644");
    example.file("barrier", "/barrier", "0644");
    for i in 0..300 {
        let id = format!("before-{i}");
        example.file(&id, &format!("/{id}"), "0644");
        let need = format!("server.file/{id}").parse().unwrap();
        example.resources[0].needs.push(need);
        let id = format!("after-{i}");
        example.file(&id, &format!("/{id}"), "0644").needs.push("server.file/barrier".parse().unwrap());
    }
    let part = example.part().unwrap();
    let edges: usize = part.groups.iter().map(|group| group.after.len()).sum();
    assert_eq!(edges, 600, "one group stands for the 300 before");
    assert_eq!(part.groups.iter().filter(|group| group.effects.is_empty()).count(), 1);
}

#[test]
fn a_hundred_thousand_resources_are_planned_in_seconds() {
    let mut example = Example::new();
    for i in 0..100_000 {
        let need = (i % 100 != 0).then(|| format!("server.file/f{:06}", i - 1).parse().unwrap());
        example.file(&format!("f{i:06}"), &format!("/d/f{i}"), "0644").needs.extend(need);
    }
    let begun = std::time::Instant::now();
    let (plan, _) = example.plan();
    assert_eq!(plan.groups.len(), 100_000);
    // Far above what it takes: this fails for quadratic work, not for a busy machine.
    assert!(begun.elapsed().as_secs() < 120, "{:?}", begun.elapsed());
}
