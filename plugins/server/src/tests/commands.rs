//! `server.command`: guards, triggers, and what a crash leaves open.

use super::*;

fn command(spec: Value) -> Declared {
    declared("server.command/c", spec)
}

#[test]
fn creates_runs_it_until_the_path_is_there() {
    let machine = Machine::new().command_makes(["/bin/make", "cert"], "/etc/cert");
    let spec =
        || command(json!({ "argv": ["/bin/make", "cert"], "creates": "/etc/cert", "timeout": 7, "env": { "A": "b" } }));
    let proposals = machine.converge::<Server>(&[spec()]).unwrap();
    let Body::Exec(exec) = &proposals[0].body else { panic!("{proposals:?}") };
    assert_eq!((exec.timeout_ms, exec.env.as_slice()), (7000, &[("A".to_owned(), "b".to_owned())][..]));
    assert_eq!(proposals[0].common.after_crash, AfterCrash::Observe);
    assert!(proposals[0].common.precondition.is_some(), "it relies on the path's absence");
    assert!(converge(&machine, &[spec()]).is_empty());
    assert_eq!(machine.ran().len(), 1);
}

#[test]
fn a_command_that_does_not_do_what_its_guard_says_is_told_by_the_second_look() {
    let machine = Machine::new();
    let error = machine.converge::<Server>(&[command(json!({ "argv": ["/bin/x"], "creates": "/never" }))]).unwrap_err();
    assert!(error.message.contains("still differs"), "{error}");
}

#[test]
fn unless_is_probed() {
    let spec = || command(json!({ "argv": ["/bin/enable"], "unless": ["/bin/enabled"] }));
    let machine = Machine::new().command(["/bin/enabled"], 0);
    assert!(converge(&machine, &[spec()]).is_empty());
    let machine = Machine::new().command(["/bin/enabled"], 1);
    assert!(machine.converge::<Server>(&[spec()]).is_err(), "the guard still fails after the command");
    assert_eq!(machine.ran(), [["/bin/enable"]]);
    let (message, field) = refused(&Machine::new(), spec());
    assert_eq!((message.as_str(), field.as_deref()), ("/bin/enabled is not there", Some("/unless")));
}

#[test]
fn without_a_guard_it_runs_only_when_asked() {
    let machine = Machine::new();
    let reload = command(json!({ "argv": ["/bin/reload"], "cwd": "/srv" }));
    assert!(converge(&machine, std::slice::from_ref(&reload)).is_empty());
    let proposals = machine.trigger::<Server>(&reload, "run").unwrap();
    assert_eq!(lines(&proposals), ["exec /bin/reload"]);
    assert_eq!(proposals[0].common.after_crash, AfterCrash::Ask);
    assert!(machine.trigger::<Server>(&reload, "dance").unwrap_err().message.contains("not to `dance`"));
}

#[test]
fn the_author_may_say_that_twice_does_no_harm() {
    let machine = Machine::new();
    let reload = command(json!({ "argv": ["/bin/reload"], "after_crash": "repeat" }));
    assert_eq!(machine.trigger::<Server>(&reload, "run").unwrap()[0].common.after_crash, AfterCrash::Repeat);
}

#[test]
fn what_it_did_is_not_undone() {
    let machine = Machine::new();
    assert!(
        machine
            .delete::<Server>(&command(json!({ "argv": ["/bin/x"] })))
            .unwrap_err()
            .message
            .contains("on_remove: release")
    );
    assert!(describe::<Server>().kinds[3].holds_data, "so that leaving Git releases it");
}

#[test]
fn what_people_write_wrong_is_told() {
    for (spec, field) in [
        (json!({ "argv": [] }), "/argv"),
        (json!({ "argv": ["reload"] }), "/argv"),
        (json!({ "argv": ["/bin/a\u{0}"] }), "/argv"),
        (json!({ "argv": ["/bin/a"], "unless": ["test", "-f"] }), "/unless"),
        (json!({ "argv": ["/bin/a"], "env": { "A=B": "" } }), "/env"),
        (json!({ "argv": ["/bin/a"], "timeout": 0 }), "/timeout"),
        (json!({ "argv": ["/bin/a"], "creates": "x" }), "/creates"),
    ] {
        assert_eq!(refused(&Machine::new(), command(spec.clone())).1.as_deref(), Some(field), "{spec}");
    }
}

#[test]
fn its_identity_is_what_it_runs_and_when() {
    let specs = [
        json!({ "argv": ["/bin/sh", "-c", "a\nb"] }),
        json!({ "argv": ["/bin/sh", "-c", "a", "b"] }),
        json!({ "argv": ["/bin/sh", "-c", "a\nb"], "creates": "/x" }),
    ];
    let checked = check::<Server>(&specs.clone().map(command));
    assert_ne!(checked[0].identity, checked[1].identity);
    assert_ne!(checked[0].identity, checked[2].identity);
    assert!(checked.iter().all(|checked| !checked.identity.contains('\n')));
    assert_eq!(checked[0].requires, ["path:/bin/sh"]);
    let other_time = check::<Server>(&[command(json!({ "argv": ["/bin/sh", "-c", "a\nb"], "timeout": 9 }))]);
    assert_eq!(checked[0].identity, other_time[0].identity);
}
