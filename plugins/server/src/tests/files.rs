//! `server.file` and `server.link`.

use super::*;

fn motd() -> Declared {
    file("motd", json!({ "path": "/etc/motd", "content": "moon\n", "mode": "644", "owner": "0", "group": "33" }))
}

#[test]
fn a_file_is_made_with_all_of_its_attributes_and_then_nothing_is_left() {
    let machine = Machine::new().directory("/etc");
    let proposals = machine.converge::<Server>(&[motd()]).unwrap();
    let Body::PutFile(put) = &proposals[0].body else { panic!("{proposals:?}") };
    assert_eq!(put.attributes.mode, Some(0o644));
    assert_eq!((put.attributes.owner.as_deref(), put.attributes.group.as_deref()), (Some("root"), Some("www-data")));
    assert_eq!(proposals[0].common.after_crash, AfterCrash::Observe);
    assert!(proposals[0].common.precondition.is_some());
    assert!(converge(&machine, &[motd()]).is_empty());
}

#[test]
fn the_smallest_effect_is_proposed() {
    let machine = Machine::new().directory("/etc");
    converge(&machine, &[motd()]);
    let Some(Node::File { content, owner, group, .. }) = machine.node("/etc/motd") else { panic!() };
    machine.put("/etc/motd", Node::File { content, mode: 0o600, owner, group });
    let proposals = machine.converge::<Server>(&[motd()]).unwrap();
    let Body::SetAttributes(set) = &proposals[0].body else { panic!("{proposals:?}") };
    assert_eq!(
        (set.attributes.mode, &set.attributes.owner),
        (Some(0o644), &None),
        "what does not differ is left alone"
    );

    machine.put("/etc/motd", Node::file("sun\n"));
    assert_eq!(converge(&machine, &[motd()]), ["put-file /etc/motd"]);
}

#[test]
fn only_managed_fields_are_observed() {
    let machine = Machine::new().file("/etc/motd", "moon\n");
    let see = |fields: &[&str]| match observe::<Server>(
        vec![subject("server.file", "path:/etc/motd", fields)],
        &machine.eyes(),
    )
    .unwrap()
    .remove(0)
    {
        Observation::Present(present) => present.observed,
        other => panic!("{other:?}"),
    };
    assert_eq!(see(&["/path"]), json!({ "path": "/etc/motd" }));
    assert_eq!(see(&["/mode"]), json!({ "path": "/etc/motd", "mode": "0644" }));
    assert_eq!(see(&["/content/digest"])["content"]["size"], 5);
}

#[test]
fn what_stands_in_the_way_is_named_and_not_replaced() {
    let machine = Machine::new().directory("/etc/motd").with("/dev/null", Node::Other);
    let (message, field) = refused(&machine, motd());
    assert!(message.starts_with("/etc/motd is a directory, and a file is wanted there"), "{message}");
    assert_eq!(field.as_deref(), Some("/path"));
    assert!(refused(&machine, file("null", json!({ "path": "/dev/null", "content": "" }))).0.contains("device"));
    let link = declared("server.link/x", json!({ "path": "/etc/motd", "to": "/x" }));
    assert!(refused(&machine, link).0.contains("a symbolic link is wanted there"));
}

#[test]
fn a_link_in_a_files_place_gives_way_with_all_attributes() {
    let machine = Machine::new().with("/etc/motd", Node::Symlink { to: "/etc/shadow".into() });
    let proposals = machine.converge::<Server>(&[motd()]).unwrap();
    let Body::PutFile(put) = &proposals[0].body else { panic!("{proposals:?}") };
    assert_eq!(put.attributes.mode, Some(0o644));
    assert!(machine.node("/etc/shadow").is_none());
}

#[test]
fn an_unreadable_path_is_never_absent() {
    let machine = Machine::new().directory("/etc").unreadable("/etc/motd");
    assert_eq!(refused(&machine, motd()).0, "/etc/motd cannot be read");
}

#[test]
fn parents_and_backup_say_how_and_are_not_compared() {
    let machine = Machine::new();
    let spec = |content: &str| {
        file("a", json!({ "path": "/srv/deep/a", "content": content, "parents": true, "backup": ".orig" }))
    };
    assert_eq!(converge(&machine, &[spec("one")]), ["put-file /srv/deep/a"]);
    assert!(converge(&machine, &[spec("one")]).is_empty());
    converge(&machine, &[spec("two")]);
    assert_eq!(machine.node("/srv/deep/a.orig"), Some(Node::file("one")));
}

#[test]
fn files_of_one_validation_stand_together() {
    let machine = Machine::new().directory("/etc/nginx");
    let check = json!(["/usr/sbin/nginx", "-t", "-c", "%s"]);
    let with = |name: &str, validate: &Value| {
        file(name, json!({ "path": format!("/etc/nginx/{name}"), "content": name, "validate": validate }))
    };
    let proposals = machine
        .converge::<Server>(&[with("a", &check), with("b", &check), with("c", &json!(["/bin/true", "%s"]))])
        .unwrap();
    let keys: Vec<_> = proposals.iter().map(|proposal| proposal.common.together.clone().unwrap()).collect();
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[0], keys[2]);
}

#[test]
fn what_people_write_wrong_is_told() {
    let machine = Machine::new().directory("/etc");
    let with = |key: &str, value: Value| {
        let mut spec = json!({ "path": "/etc/x", "content": "" });
        spec[key] = value;
        refused(&machine, file("x", spec))
    };
    for mode in [json!(644), json!("0o644"), json!("rw-r--r--"), json!("888"), json!("00644"), json!("")] {
        let (message, field) = with("mode", mode.clone());
        assert!(message.contains("octal digits in quotes") && field.as_deref() == Some("/mode"), "{mode}: {message}");
    }
    assert_eq!(with("owner", json!("nobody-here")).1.as_deref(), Some("/owner"));
    for path in ["etc/x", "/etc/../x", "/", "/a\u{0}"] {
        assert_eq!(with("path", json!(path)).1.as_deref(), Some("/path"), "{path:?}");
    }
    assert_eq!(with("backup", json!("../x")).1.as_deref(), Some("/backup"));
    assert_eq!(with("validate", json!(["nginx", "%s"])).1.as_deref(), Some("/validate"));
    assert_eq!(with("validate", json!([])).1.as_deref(), Some("/validate"));
}

#[test]
fn a_number_without_a_name_stays_a_number() {
    let machine = Machine::new().directory("/etc");
    let spec = file("x", json!({ "path": "/etc/x", "content": "", "owner": "4242" }));
    converge(&machine, std::slice::from_ref(&spec));
    assert!(converge(&machine, &[spec]).is_empty());
}

#[test]
fn deletes_need_no_desired_spec() {
    let machine = Machine::new().directory("/etc");
    converge(&machine, &[motd()]);
    assert_eq!(lines(&machine.delete::<Server>(&motd()).unwrap()), ["remove /etc/motd"]);
    assert_eq!(machine.paths(), ["/etc"]);
}

#[test]
fn links_are_made_turned_and_removed() {
    let machine = Machine::new().directory("/etc");
    let link = |to: &str| declared("server.link/l", json!({ "path": "/etc/l", "to": to }));
    assert_eq!(converge(&machine, &[link("a")]), ["link /etc/l -> a"]);
    assert!(converge(&machine, &[link("a")]).is_empty());
    assert_eq!(converge(&machine, &[link("../b")]), ["link /etc/l -> ../b"]);
    assert_eq!(lines(&machine.delete::<Server>(&link("../b")).unwrap()), ["remove /etc/l"]);
    assert_eq!(refused(&machine, link("")).1.as_deref(), Some("/to"));
}

#[test]
fn edges_lead_to_every_directory_above() {
    let machine = Machine::new();
    let resource = machine.resolve::<Server>(&file("x", json!({ "path": "/a/b//c", "content": "" })));
    let checked = check::<Server>(&[resource]);
    assert_eq!(checked[0].identity, "path:/a/b/c");
    assert_eq!(checked[0].requires, ["path:/a", "path:/a/b"]);
}
