//! Guests that do what a plugin should, and the plugins room around them.

mod common;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use common::{World, change, declared, desired, guest, name, subject, tight};
use serde_json::json;
use tidelock_host::{Eyes, Host, HostOptions, Lock, PluginRoom};
use tidelock_model::effect::{EffectBody, PathState, Precondition};
use tidelock_model::limits::Limits;
use tidelock_model::observation::Observation;
use tidelock_model::plan::Action;
use tidelock_model::plugin::Role;
use tidelock_model::port::{Plugins, StepAnswer};

#[tokio::test]
async fn a_pass_over_a_machine_ends_in_effects_with_precondition_and_inverse() {
    let world = World::new();
    let provider = world.provider().await;
    let info = provider.describe().await.unwrap();
    assert_eq!((info.name.as_str(), info.kinds.len()), ("guest", 2));
    assert!(info.kind("file").unwrap().fields[0].roles.content);

    let checked = provider.check(&[declared("a"), declared("b")]).await.unwrap();
    assert_eq!(checked[1].identity.path(), Some("/etc/motd"));
    let spec = json!({"path": "/etc/motd"});
    assert_eq!(provider.normalise(&[declared("a")]).await.unwrap()[0].as_ref().unwrap(), &spec);

    let answers = provider.observe(&[subject("path:/etc/motd"), subject("path:/etc/none")]).await.unwrap();
    let Observation::Present { observed, seen, .. } = &answers[0] else { panic!("{answers:?}") };
    let digest = tidelock_model::digest::Digest::of(b"hello\n");
    assert_eq!(observed["digest"], digest.to_string());
    assert!(matches!(&answers[1], Observation::Absent { seen } if seen.len() == 1));

    let mut request = change("honest", "/etc/motd", desired());
    request.seen = seen.clone();
    let answers = provider.steps(&[request, change("needs-replace", "/etc/x", desired())]).await.unwrap();
    let StepAnswer::Effects(effects) = &answers[0] else { panic!("{answers:?}") };
    let before = effects[0].precondition.as_ref().unwrap();
    assert!(matches!(before.path().unwrap().1, PathState::File { digest: Some(seen), .. } if *seen == digest));
    assert!(matches!(effects[0].inverse.as_deref(), Some(EffectBody::PutFile { content, .. }) if *content == digest));
    assert_eq!(answers[1], StepAnswer::NeedsReplace(vec!["/path".into()]));
    assert!(world.heard.faults().is_empty(), "{:?}", world.heard.faults());
    world.assert_untouched();
}

#[tokio::test]
async fn an_effect_without_a_token_rests_on_a_look_of_the_host() {
    let world = World::new();
    let mut create = change("honest", "/etc/none", desired());
    create.action = Action::Create;
    let changes = [change("honest", "/etc/motd", desired()), create];
    let answers = world.provider().await.steps(&changes).await.unwrap();
    let relied: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            StepAnswer::Effects(effects) => effects[0].precondition.as_ref().and_then(Precondition::path).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    let hello = tidelock_model::digest::Digest::of(b"hello\n");
    assert_eq!((relied[0].0, relied[1].0), ("/etc/motd", "/etc/none"));
    assert!(matches!(relied[0].1, PathState::File { digest: Some(seen), .. } if *seen == hello));
    assert_eq!(relied[1].1, &PathState::Absent);
    world.assert_untouched();
}

#[tokio::test]
async fn refusals_of_the_plugin_itself_concern_one_resource() {
    let world = World::new();
    let provider = world.provider().await;
    let answers = provider.normalise(&[declared("refuse"), declared("who"), declared("x")]).await.unwrap();
    assert_eq!(answers[0].as_ref().unwrap_err().message, "the mode is not a mode");
    assert_eq!(answers[1].as_ref().unwrap()["owner"], "root");
    assert!(answers[2].is_ok());
    let changes = ["refuse", "waits", "own-command"].map(|word| change(word, "/etc/motd", desired()));
    let answers = provider.steps(&changes).await.unwrap();
    assert!(matches!(&answers[0], StepAnswer::Refused(fault) if fault.message == "I would rather not"));
    assert!(matches!(&answers[1], StepAnswer::Waits { on, why } if on.path() == Some("/etc") && why.contains("yet")));
    assert!(matches!(&answers[2], StepAnswer::Effects(effects) if matches!(effects[0].body, EffectBody::Exec { .. })));
}

#[tokio::test]
async fn a_denied_read_keeps_the_lines_to_paste_on_its_way_through_the_guest() {
    let world = World::new();
    let answers = world.provider().await.observe(&[subject("path:/srv/www/x")]).await.unwrap();
    let Observation::Failed { fault } = &answers[0] else { panic!("{answers:?}") };
    assert_eq!(fault.code, "denied");
    assert!(fault.hint.as_ref().unwrap().contains("paths = [\"/srv/www/x\"]"), "{fault:?}");
}

#[tokio::test]
async fn long_lists_are_split_and_whole_kinds_are_not() {
    let world = World::with(Limits { batch: 3, ..tight() });
    let provider = world.provider().await;
    let mut subjects: Vec<_> = (0..10).map(|i| subject(&format!("path:/etc/n{i}"))).collect();
    for at in [1, 4, 6, 7, 9] {
        subjects[at].kind = "guest.whole".parse().unwrap();
    }
    subjects[9] = subject("path:/etc/motd");
    let answers = provider.observe(&subjects).await.unwrap();
    assert_eq!(answers.len(), 10);
    assert!(matches!(answers[9], Observation::Present { .. }), "answers stay in the order of the question");
    let log = world.heard.log();
    assert_eq!(log, ["observe 3 (0 whole)", "observe 3 (0 whole)", "observe 4 (4 whole)"]);
}

#[tokio::test]
async fn a_plugin_without_a_grant_is_told_what_is_missing() {
    let world = World::new();
    let component = guest("provider");
    let facts = world.host.load_bytes("test.wasm", Cow::Owned(component)).unwrap();
    let mut lock = Lock::read(world.temp.path().join("lock")).unwrap();
    lock.accept(&facts.plugin);
    let target = tidelock_model::config::TargetDecl {
        kind: tidelock_model::config::TargetKind::Machine,
        root: Some(world.temp.path().join("root").display().to_string()),
        netns: None,
        labels: BTreeMap::new(),
        facts: BTreeMap::new(),
        drift_every: None,
        ..tidelock_model::config::TargetDecl::default()
    };
    let bare = tidelock_target::Machine::open(&name("db-1"), &target, vec![], Default::default()).unwrap();
    let room = PluginRoom::new(world.host.clone(), lock, Arc::new(move |_| Ok(Eyes::on_machine(bare.clone()))));
    let provider = room.provider("guest", &name("db-1")).await.unwrap();
    let answers = provider.observe(&[subject("path:/etc/motd"), subject("path:/etc/issue")]).await.unwrap();
    for (answer, path) in answers.iter().zip(["/etc/motd", "/etc/issue"]) {
        let Observation::Failed { fault } = answer else { panic!("{answers:?}") };
        assert_eq!(fault.code, "denied");
        assert_eq!(fault.message, format!("plugin guest has no grant on target db-1: it may not read {path}"));
        let hint = fault.hint.as_ref().unwrap();
        assert!(hint.contains("[grants.guest]") && hint.contains(&format!("paths = [\"{path}\"]")), "{hint}");
    }
}

#[tokio::test]
async fn only_accepted_plugins_of_the_right_role_are_handed_out() {
    let world = World::new();
    let facts = world.host.load_bytes("test.wasm", Cow::Owned(guest("provider"))).unwrap();
    assert_eq!((facts.role, facts.api.as_str()), (Role::Provider, "0.1.0"));
    let machine = world.machine.clone();
    let lock = Lock::read(world.temp.path().join("tidelock.lock")).unwrap();
    let room =
        PluginRoom::new(world.host.clone(), lock.clone(), Arc::new(move |_| Ok(Eyes::on_machine(machine.clone()))));
    let fault = room.provider("guest", &name("web-1")).await.map(|_| ()).unwrap_err();
    assert_eq!((fault.code.as_str(), fault.hint.as_deref()), ("not-accepted", Some("tidelock plugin accept guest")));
    let fault = room.renderer("guest").await.map(|_| ()).unwrap_err();
    assert!(fault.message.contains("is a provider, not a renderer"), "{fault}");
    let fault = room.provider("gast", &name("web-1")).await.map(|_| ()).unwrap_err();
    assert!(fault.message.contains("no provider named \"gast\" is loaded; there are: guest"), "{fault}");

    // Another digest under the accepted name.
    let mut stale = lock;
    stale.accept(&common::unaccepted(b"an older build"));
    let machine = world.machine.clone();
    let room = PluginRoom::new(world.host.clone(), stale, Arc::new(move |_| Ok(Eyes::on_machine(machine.clone()))));
    let fault = room.provider("guest", &name("web-1")).await.map(|_| ()).unwrap_err();
    assert!(fault.message.contains("is not the one that was accepted"), "{fault}");
}

#[tokio::test]
async fn a_directory_of_plugins_is_read_within_limits() {
    let world = World::new();
    let dir = world.temp.path().join("plugins");
    assert!(world.host.load_dir(&dir).unwrap().is_empty(), "none is no error");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("notes.txt"), "not a plugin").unwrap();
    fs::write(dir.join("b.wasm"), guest("provider")).unwrap();
    fs::write(dir.join("a.wasm"), guest("renderer")).unwrap();
    let facts = world.host.load_dir(&dir).unwrap();
    let names: Vec<_> = facts.iter().map(|facts| facts.plugin.name.as_str()).collect();
    assert_eq!(names, ["painter", "guest"]);
    assert!(facts[1].origin.ends_with("b.wasm"));
    let permissions: Vec<_> = facts[0].permissions.iter().map(|permission| permission.import.as_str()).collect();
    assert_eq!(
        permissions,
        [
            "tidelock:log/log@0.1.0",
            "tidelock:renderer/inputs@0.1.0",
            "tidelock:renderer/output@0.1.0",
            "tidelock:tree/tree@0.1.0"
        ]
    );
    assert_eq!(world.host.load_dir(&dir).unwrap().len(), 2, "the same again is no error");

    fs::write(dir.join("c.wasm"), common::describing("other")).unwrap();
    let fault = world.host.load_dir(&dir).unwrap_err();
    assert!(fault.message.contains("two plugins are named guest") && fault.message.contains("c.wasm"), "{fault}");
    fs::write(dir.join("c.wasm"), "#!/bin/sh").unwrap();
    let fault = world.host.load_dir(&dir).unwrap_err();
    assert!(fault.message.contains("c.wasm: this is not a Wasm component"), "{fault}");
    let large = fs::File::create(dir.join("c.wasm")).unwrap();
    large.set_len(1 << 40).unwrap();
    let fault = world.host.load_dir(&dir).unwrap_err();
    assert_eq!(fault.code, "limit");
    assert!(fault.message.contains("c.wasm") && fault.hint.unwrap().contains("component"), "{}", fault.message);
}

#[tokio::test]
async fn a_second_host_takes_compiled_plugins_from_the_cache() {
    let world = World::new();
    let cache = world.temp.path().join("cache");
    let run = async || {
        let options = HostOptions { cache_dir: cache.clone(), limits: BTreeMap::new() };
        let host = Arc::new(Host::new(options, world.heard.clone()).unwrap());
        let facts = host.load_bytes("test.wasm", Cow::Owned(guest("provider"))).unwrap();
        let mut lock = Lock::read(world.temp.path().join("lock")).unwrap();
        lock.accept(&facts.plugin);
        let machine = world.machine.clone();
        let room = PluginRoom::new(host, lock, Arc::new(move |_| Ok(Eyes::on_machine(machine.clone()))));
        let provider = room.provider("guest", &name("web-1")).await.unwrap();
        provider.check(&[declared("a")]).await.unwrap();
    };
    let kept = || {
        let mut files: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "aot"));
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    };
    run().await;
    let written = fs::metadata(kept()).unwrap().modified().unwrap();
    run().await;
    assert_eq!(fs::metadata(kept()).unwrap().modified().unwrap(), written, "the cache was used");
    // Tampered: compiled anew, and replaced.
    let good = fs::read(kept()).unwrap();
    let mut bad = good.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    fs::write(kept(), &bad).unwrap();
    run().await;
    assert_ne!(fs::read(kept()).unwrap(), bad);
}

#[tokio::test]
async fn an_instance_and_a_call_take_microseconds() {
    let world = World::new();
    let provider = world.provider().await;
    let resources = [declared("a")];
    let mut best = std::time::Duration::MAX;
    for _ in 0..200 {
        let began = std::time::Instant::now();
        provider.check(&resources).await.unwrap();
        best = best.min(began.elapsed());
    }
    // Generous, since tests share the machine; `cargo xtask bench` prints the figure.
    assert!(best < std::time::Duration::from_millis(2), "{best:?}");
}
