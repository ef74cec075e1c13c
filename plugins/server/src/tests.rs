//! The provider through the test kit: each kind goes the whole way round.

use serde_json::{Value, json};
use tidelock_sdk::provider::{AnyChange, Declared, check, describe, normalise, observe};
use tidelock_sdk::testkit::{Body, Machine, Node, Proposal, declared};
use tidelock_sdk::{Action, AfterCrash, Observation, Subject};

use crate::Server;

mod commands;
mod directories;
mod files;
mod laws;

fn file(name: &str, spec: Value) -> Declared {
    declared(&format!("server.file/{name}"), spec)
}

fn lines(proposals: &[Proposal]) -> Vec<String> {
    proposals.iter().map(|proposal| proposal.body.line()).collect()
}

fn converge(machine: &Machine, resources: &[Declared]) -> Vec<String> {
    lines(&machine.converge::<Server>(resources).unwrap())
}

/// The first error's message, of a resource that is refused at whatever stage.
fn refused(machine: &Machine, resource: Declared) -> (String, Option<String>) {
    let error = machine.converge::<Server>(&[resource]).unwrap_err();
    (error.message, error.field)
}

fn subject(kind: &str, identity: &str, fields: &[&str]) -> Subject {
    Subject {
        identity: identity.to_owned(),
        kind: kind.to_owned(),
        handle: None,
        fields: fields.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_kind_is_described() {
    let described = describe::<Server>();
    let names: Vec<&str> = described.kinds.iter().map(|kind| kind.name.as_str()).collect();
    assert_eq!(names, ["file", "directory", "link", "command"]);
    for kind in &described.kinds {
        assert_eq!(kind.schema["additionalProperties"], json!(false), "{}: unknown keys must be found", kind.name);
        for field in &kind.fields {
            let known = kind.schema["properties"].get(field.path.trim_start_matches('/')).is_some();
            assert!(known || field.roles.strays, "{}{}", kind.name, field.path);
        }
    }
    assert_eq!(described.kinds[3].triggers, ["run"]);
}

#[test]
fn unknown_kinds_and_keys_are_named() {
    let resources = [
        declared("server.fiel/x", json!({})),
        file("x", json!({ "path": "/x", "content": { "digest": "sha256:0", "size": 0 }, "moed": "0644" })),
        file("y", json!({ "path": "/y" })),
    ];
    let checked = check::<Server>(&resources);
    assert_eq!(checked[0].diagnostics[0].hint.as_deref(), Some("did you mean `server.file`?"));
    assert_eq!(checked[1].diagnostics[0].field.as_deref(), Some("/moed"));
    assert_eq!(checked[1].diagnostics[0].hint.as_deref(), Some("did you mean `mode`?"));
    assert_eq!(checked[2].diagnostics[0].message, "`content` is missing");
    assert_ne!(checked[1].identity, checked[2].identity);
}
