//! `server.directory`, and what `purge` may take.

use super::*;

fn directory(spec: Value) -> Declared {
    declared("server.directory/d", spec)
}

#[test]
fn a_directory_is_made_and_its_attributes_kept() {
    let machine = Machine::new();
    let spec = || directory(json!({ "path": "/srv/d/", "mode": "750", "parents": true }));
    assert_eq!(converge(&machine, &[spec()]), ["make-directory /srv/d"]);
    machine.put("/srv/d", Node::directory());
    assert_eq!(converge(&machine, &[spec()]), ["set-attributes /srv/d"]);
    assert!(converge(&machine, &[spec()]).is_empty());
}

#[test]
fn a_file_or_link_in_its_place_is_not_replaced() {
    let machine = Machine::new().file("/a", "").with("/b", Node::Symlink { to: "/srv".into() });
    assert!(refused(&machine, directory(json!({ "path": "/a" }))).0.contains("/a is a file"));
    assert!(refused(&machine, directory(json!({ "path": "/b" }))).0.contains("a symbolic link to /srv"));
}

#[test]
fn purge_takes_what_nobody_manages_one_by_one() {
    let machine = Machine::new()
        .file("/srv/d/managed", "1")
        .file("/srv/d/stray", "2")
        .file("/srv/d/sub/deep/stray", "3")
        .file("/srv/d/kept/managed", "4")
        .file("/srv/d/kept/stray", "5")
        .file("/srv/dx/other", "6");
    let resources = [
        directory(json!({ "path": "/srv/d", "purge": true })),
        file("managed", json!({ "path": "/srv/d/managed", "content": "1" })),
        file("deep", json!({ "path": "/srv/d/kept/managed", "content": "4" })),
    ];
    assert_eq!(
        converge(&machine, &resources),
        [
            "remove /srv/d/sub/deep/stray",
            "remove /srv/d/kept/stray",
            "remove /srv/d/sub/deep",
            "remove /srv/d/stray",
            "remove /srv/d/sub"
        ]
    );
    assert_eq!(
        machine.paths(),
        ["/srv", "/srv/d", "/srv/d/kept", "/srv/d/kept/managed", "/srv/d/managed", "/srv/dx", "/srv/dx/other"]
    );
    assert!(converge(&machine, &resources).is_empty());
}

#[test]
fn without_purge_nothing_is_listed_or_taken() {
    let machine = Machine::new().file("/srv/d/stray", "2");
    assert!(converge(&machine, &[directory(json!({ "path": "/srv/d", "purge": false }))]).is_empty());
    assert_eq!(machine.paths().len(), 3);
}

#[test]
fn strays_that_the_host_took_out_stay_and_so_does_their_directory() {
    let machine = Machine::new().file("/d/sub/ours", "").file("/d/sub/theirs", "");
    let change = AnyChange {
        id: 1,
        address: "server.directory/d".into(),
        identity: "path:/d".into(),
        kind: "server.directory".into(),
        action: Action::Update,
        desired: Some(json!({ "path": "/d", "purge": true, "strays": [] }).to_string()),
        // A host that spares by name alone leaves `sub` in the list.
        observed: Some(
            json!({ "path": "/d", "strays": ["path:/d/sub", "path:/d/sub/ours", "path:/elsewhere"] }).to_string(),
        ),
        last: None,
        handle: None,
        fields: vec!["/strays".into()],
        seen: Vec::new(),
        trigger: None,
        part: false,
    };
    machine.put("/elsewhere", Node::file("safe"));
    assert_eq!(lines(&machine.take_steps::<Server>(vec![change]).unwrap()), ["remove /d/sub/ours"]);
    assert!(machine.node("/d/sub/theirs").is_some() && machine.node("/elsewhere").is_some());
}

#[test]
fn strays_cannot_be_declared() {
    let machine = Machine::new();
    let (_, field) = refused(&machine, directory(json!({ "path": "/d", "strays": ["path:/d/x"], "purge": true })));
    assert_eq!(field.as_deref(), Some("/strays"));
}

#[test]
fn a_directory_goes_only_when_it_is_empty_unless_it_was_purged() {
    let machine = Machine::new().file("/d/x", "");
    let error = machine.delete::<Server>(&directory(json!({ "path": "/d" }))).unwrap_err();
    assert!(error.message.contains("not empty"), "{error}");
    let purged = directory(json!({ "path": "/d", "purge": true }));
    assert_eq!(lines(&machine.delete::<Server>(&purged).unwrap()), ["remove /d/x", "remove /d"]);
}
