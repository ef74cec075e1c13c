//! Whom changes notify.

use serde_json::json;
use tidelock_model::name::Address;
use tidelock_model::run::Trigger;

use super::check;
use super::example::{Example, notify};

fn with_service() -> Example {
    let mut example = Example::new();
    example.have("x", "/nginx", "");
    let entry = &mut example.inventory[0];
    entry.address.resource = "server.service/nginx".parse().unwrap();
    example.want("server.service/nginx", &json!({"path": "/nginx", "mode": ""}));
    example
}

#[test]
fn a_trigger_runs_once_after_all_who_ask() {
    let mut example = with_service();
    for id in ["a", "z"] {
        notify(example.file(id, &format!("/{id}"), "0644"), "server.service/nginx", "reload");
    }
    example.have("same", "/same", "0644");
    notify(example.file("same", "/same", "0644"), "server.service/nginx", "restart");
    insta::assert_snapshot!(check(&example), @"
    create server.file/a [1] revision
    create server.file/z [2] revision
    trigger server.service/nginx [3] revision -- reload: server.file/a changes
    group 1 after []: put-file
    group 2 after []: put-file
    group 3 after [1, 2]: exec
    ");

    let (plan, ledger) = example.plan();
    let due: Vec<String> = ledger
        .iter()
        .flat_map(|(_, line)| line.triggers.iter().map(|due| format!("{} {} {}", due.from, due.to, due.ask)))
        .collect();
    assert_eq!(
        due,
        [
            "server.file/a infra:web:server.service/nginx@web-1 reload",
            "server.file/z infra:web:server.service/nginx@web-1 reload",
        ]
    );
    let trigger = plan.changes.last().unwrap();
    let kept = ledger.get(trigger).unwrap().entry.clone().unwrap();
    assert_eq!(kept, example.inventory[0], "a trigger leaves the ledger's line as it is");
}

#[test]
fn what_is_left_due_runs_though_nothing_else_changes() {
    let mut example = with_service();
    let to = Address::new(&example.lane, "server.service/nginx".parse().unwrap());
    example.due.push(Trigger { to, ask: "reload".into(), from: "server.file/a".parse().unwrap() });
    let to = Address::new(&example.lane, "server.service/gone".parse().unwrap());
    example.due.push(Trigger { to, ask: "reload".into(), from: "server.file/a".parse().unwrap() });
    insta::assert_snapshot!(check(&example), @"
    trigger server.service/nginx [1] revision -- reload: still due: server.file/a asked for it
    group 1 after []: exec
    warning: server.file/a asked server.service/gone to reload, but that is gone
    ");
}

#[test]
fn no_trigger_for_what_is_refused_or_put_off() {
    let mut example = with_service();
    let spec = json!({"path": "/a", "refuse": true});
    notify(example.want("server.file/a", &spec), "server.service/nginx", "reload");
    insta::assert_snapshot!(check(&example), @"
    deferred server.file/a revision -- not allowed here
    error: server.file/a: not allowed here
    ");
}

#[test]
fn a_trigger_of_what_cannot_be_seen_waits() {
    let mut example = with_service();
    notify(example.file("a", "/a", "0644"), "server.service/nginx", "reload");
    example.fails("/nginx", "bus is down");
    insta::assert_snapshot!(check(&example), @"
    create server.file/a [1] revision
    deferred server.service/nginx -- could not be looked at: bus is down
    deferred server.service/nginx revision -- reload waits for server.service/nginx, which could not be looked at
    group 1 after []: put-file
    error: server.service/nginx could not be looked at: bus is down
    ");
}

#[test]
fn a_replace_notifies_too() {
    let mut example = with_service();
    example.have("a", "/a", "0644");
    let spec = json!({"path": "/a", "mode": "0600", "inplace": false});
    notify(example.want("server.file/a", &spec), "server.service/nginx", "restart");
    insta::assert_snapshot!(check(&example), @"
    replace server.file/a [1] /inplace /mode revision -- /inplace cannot change in place
    trigger server.service/nginx [2] revision -- restart: server.file/a changes
    group 1 after []: remove, put-file
    group 2 after [1]: exec
    ");
}
