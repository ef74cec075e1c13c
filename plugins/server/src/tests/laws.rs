//! Laws that hold for whatever is declared and found.

use proptest::prelude::*;

use super::*;

fn machine() -> Machine {
    Machine::new()
        .file("/etc/a", "a")
        .file("/etc/b", "b")
        .directory("/srv/d")
        .file("/srv/d/x", "x")
        .with("/etc/l", Node::Symlink { to: "a".into() })
        .with("/dev/null", Node::Other)
        .unreadable("/etc/secret")
        .command(["/bin/true"], 0)
        .command(["/bin/false"], 1)
}

fn spec() -> impl Strategy<Value = Declared> {
    let path = prop::sample::select(vec!["/etc/a", "/etc//b/", "/srv/d", "/etc/l", "/etc/new", "/./etc/c"]);
    let mode = prop::option::of(prop::sample::select(vec!["644", "0600", "1777", "000"]));
    let owner = prop::option::of(prop::sample::select(vec!["root", "0", "33", "www-data", "777"]));
    (0_usize..4, path, mode, owner, any::<bool>()).prop_map(|(kind, path, mode, owner, flag)| {
        let mut spec = match kind {
            0 => json!({ "path": path, "content": { "digest": "sha256:00", "size": 2 }, "parents": flag }),
            1 => json!({ "path": path, "purge": flag }),
            2 => json!({ "path": path, "to": "x" }),
            _ => json!({ "argv": ["/bin/x", path], "creates": path }),
        };
        if kind < 2 {
            if let Some(mode) = mode {
                spec["mode"] = json!(mode);
            }
            if let Some(owner) = owner {
                spec["owner"] = json!(owner);
                spec["group"] = json!(owner);
            }
        }
        declared(&format!("server.{}/x", ["file", "directory", "link", "command"][kind]), spec)
    })
}

fn any_subject() -> impl Strategy<Value = Subject> {
    let paths = vec![
        "path:/etc/a",
        "path:/etc/b",
        "path:/srv/d",
        "path:/etc/l",
        "path:/gone",
        "path:/dev/null",
        "path:/etc/secret",
        "nonsense",
    ];
    let commands = vec![
        r#"command:{"argv":["/bin/x"]}"#,
        r#"command:{"argv":["/bin/x"],"creates":"/etc/a"}"#,
        r#"command:{"argv":["/bin/x"],"creates":"/gone","unless":["/bin/true"]}"#,
        r#"command:{"argv":["/bin/x"],"creates":"/etc/a","unless":["/bin/false"]}"#,
        "command:nonsense",
    ];
    let fields = prop::sample::subsequence(vec!["/path", "/content", "/mode", "/owner", "/strays", "/to"], 0..=6);
    let by_path =
        (prop::sample::select(vec!["server.file", "server.directory", "server.link"]), prop::sample::select(paths));
    let by_command = (Just("server.command"), prop::sample::select(commands));
    (prop_oneof![by_path, by_command], fields).prop_map(|((kind, identity), fields)| subject(kind, identity, &fields))
}

/// What was seen, without the tokens: two looks have different ones.
fn shape(observation: Observation) -> Observation {
    match observation {
        Observation::Present(mut present) => {
            present.seen = vec![String::new(); present.seen.len()];
            Observation::Present(present)
        }
        Observation::Absent(seen) => Observation::Absent(vec![String::new(); seen.len()]),
        other => other,
    }
}

proptest! {
    #[test]
    fn normalising_a_normal_spec_changes_nothing(declared in spec()) {
        let machine = machine();
        let once = normalise::<Server>(std::slice::from_ref(&declared), &machine.eyes()).remove(0).unwrap();
        let again = Declared { spec: once.clone(), ..declared };
        prop_assert_eq!(normalise::<Server>(std::slice::from_ref(&again), &machine.eyes()).remove(0).unwrap(), once);
        prop_assert!(check::<Server>(&[again])[0].diagnostics.is_empty(), "a normal spec passes the check");
    }

    #[test]
    fn what_is_seen_does_not_depend_on_the_split(subjects in prop::collection::vec(any_subject(), 0..20), at in 0_usize..20) {
        let machine = machine();
        let look = |subjects: &[Subject]| -> Vec<Observation> {
            observe::<Server>(subjects.to_vec(), &machine.eyes()).unwrap().into_iter().map(shape).collect()
        };
        let whole = look(&subjects);
        let (left, right) = subjects.split_at(at.min(subjects.len()));
        prop_assert_eq!(whole.len(), subjects.len());
        prop_assert_eq!(whole, [look(left), look(right)].concat());
    }

    #[test]
    fn hostile_specs_end_in_remarks(kind in 0_usize..4, json in "\\PC{0,60}", path in "\\PC{0,20}") {
        let kind = ["server.file", "server.directory", "server.link", "server.command"][kind];
        for spec in [json, json!({ "path": path, "argv": [path], "to": path }).to_string()] {
            let checked = check::<Server>(&[Declared { address: format!("{kind}/x"), kind: kind.into(), spec }]);
            prop_assert!(!checked[0].diagnostics.is_empty());
        }
    }
}

#[test]
fn ten_thousand_files_are_a_handful_of_calls() {
    let machine = Machine::new().directory("/srv");
    let subjects: Vec<Subject> = (0..10_000)
        .map(|n| subject("server.file", &format!("path:/srv/{n}"), if n % 2 == 0 { &["/content"] } else { &["/mode"] }))
        .collect();
    observe::<Server>(subjects, &machine.eyes()).unwrap();
    assert_eq!(machine.calls(), 2);

    let specs: Vec<Declared> = (0..10_000)
        .map(|n| file(&n.to_string(), json!({ "path": format!("/srv/{n}"), "content": { "digest": "sha256:0", "size": 0 }, "owner": "0", "group": "root" })))
        .collect();
    let before = machine.calls();
    assert!(normalise::<Server>(&specs, &machine.eyes()).iter().all(Result::is_ok));
    assert_eq!(machine.calls() - before, 2, "one question per name");
}
