//! Guests that do what a plugin must not: each is contained, named and recorded, and
//! the machine is byte for byte as it was.

mod common;

use std::time::{Duration, Instant};

use common::{
    World, change, commanded, core, declared, describing, desired, guest, name, observed, patched, stepped, subject,
    tight,
};
use serde_json::json;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::limits::Limits;
use tidelock_model::observation::Observation;
use tidelock_model::plan::Action;
use tidelock_model::port::{Plugins, StepAnswer};

/// A misdeed in an export is a fault with these words, told to the operator.
fn contained(world: &World, fault: &Fault, words: &str) {
    assert!(fault.message.contains(words), "{fault:?} does not say {words:?}");
    assert!(fault.message.contains("guest"), "{fault:?} does not name the plugin");
    world.assert_recorded(fault);
    world.assert_untouched();
}

/// Misdeeds that every export can commit, and what the fault must say.
const ANYWHERE: &[(&str, &str, &str)] = &[
    ("loop", "timeout", "within 1500 ms"),
    ("recurse", "trap", "stack overflowed"),
    ("recurse-wide", "trap", "out of bounds memory access"),
    ("grow-memory", "limit", "wants more memory"),
    ("panic", "trap", "panicked: out of"),
    ("trap", "trap", "aborted without a word"),
    ("huge-string", "limit", "hands over more than"),
    ("call-flood", "limit", "asks the host too often"),
    ("handles", "limit", "more than 10000 handles"),
];

fn limits() -> Limits {
    Limits { host_calls: 600_000, ..tight() }
}

async fn everywhere(export: &str) {
    for (word, code, words) in ANYWHERE {
        let world = World::with(limits());
        let began = Instant::now();
        let fault = match export {
            "describe" => {
                let room = world.room(describing(word));
                room.provider("guest", &name("web-1")).await.map(|_| ()).unwrap_err()
            }
            "check" => world.provider().await.check(&[declared(word)]).await.unwrap_err(),
            "normalise" => world.provider().await.normalise(&[declared(word)]).await.unwrap_err(),
            "observe" => observed(&world, word).await.unwrap_err(),
            _ => stepped(&world, word).await.unwrap_err(),
        };
        assert_eq!((fault.code.as_str(), fault.blame), (*code, Blame::Plugin), "{export} {word}: {fault:?}");
        contained(&world, &fault, words);
        assert!(began.elapsed() < Duration::from_secs(60), "{export} {word} took {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_misdeed_in_describe() {
    everywhere("describe").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_misdeed_in_check() {
    everywhere("check").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_misdeed_in_normalise() {
    everywhere("normalise").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_misdeed_in_observe() {
    everywhere("observe").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_misdeed_in_steps() {
    everywhere("steps").await;
}

#[tokio::test]
async fn a_loop_ends_on_a_single_thread_too_and_others_go_on() {
    let world = World::new();
    let provider = world.provider().await;
    let began = Instant::now();
    let subjects = [subject("do:loop")];
    let honest = [subject("path:/etc/motd")];
    let (looped, honest) = tokio::join!(provider.observe(&subjects), async {
        let answer = provider.observe(&honest).await;
        (answer, began.elapsed())
    });
    assert_eq!(looped.unwrap_err().code, "timeout");
    assert!(matches!(honest.0.unwrap()[0], Observation::Present { .. }));
    assert!(honest.1 < Duration::from_millis(1_400), "the honest call waited for the loop: {:?}", honest.1);
}

#[tokio::test]
async fn the_fault_names_the_key_that_raises_the_limit() {
    let world = World::new();
    let fault = observed(&world, "grow-memory").await.unwrap_err();
    assert!(fault.hint.unwrap().contains("limits.guest.memory"));
    let fault = observed(&world, "loop").await.unwrap_err();
    assert!(fault.hint.unwrap().contains("limits.guest.observe_ms"));
}

#[tokio::test]
async fn a_panic_says_where() {
    let world = World::new();
    let fault = stepped(&world, "panic").await.unwrap_err();
    assert!(fault.message.starts_with("plugin guest panicked: out of \u{fffd}[31mluck at "), "{fault}");
    assert!(fault.message.contains("misdeeds.rs:"), "{fault}");
}

#[tokio::test]
async fn a_table_that_is_too_large_is_refused_by_name() {
    // One table at the limit, and the adapter's own beside it.
    let world = World::new();
    let component = common::componentize(&with_table(&core("provider"), 20_000));
    let fault = world.room(component).provider("guest", &name("web-1")).await.map(|_| ()).unwrap_err();
    assert_eq!(fault.code, "limit", "{fault:?}");
    assert!(fault.hint.as_ref().unwrap().contains("limits.guest.table_elements"), "{fault:?}");
    contained(&world, &fault, "wants more table elements");

    let world = World::new();
    let component = common::componentize(&with_table(&core("provider"), 10_000_000));
    let fault = world.room(component).provider("guest", &name("web-1")).await.map(|_| ()).unwrap_err();
    assert!(fault.message.contains("guest") && fault.message.contains("limit"), "{fault:?}");
    world.assert_untouched();
}

/// A core module whose table has at least so many elements.
fn with_table(module: &[u8], elements: u32) -> Vec<u8> {
    fn leb(mut n: u32) -> Vec<u8> {
        let mut out = vec![];
        while n >= 0x80 {
            out.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
        out
    }
    let mut out = module[..8].to_vec();
    let mut at = 8;
    let mut found = false;
    while at < module.len() {
        let id = module[at];
        let (mut size, mut shift, mut next) = (0_usize, 0, at + 1);
        loop {
            let byte = module[next];
            size |= usize::from(byte & 0x7f) << shift;
            (shift, next) = (shift + 7, next + 1);
            if byte & 0x80 == 0 {
                break;
            }
        }
        if id == 4 {
            let body = [&[1, 0x70, 0][..], &leb(elements)].concat();
            out.push(4);
            out.extend(leb(body.len() as u32));
            out.extend(body);
            found = true;
        } else {
            out.extend_from_slice(&module[at..next + size]);
        }
        at = next + size;
    }
    assert!(found, "the guest has no table");
    out
}

#[tokio::test]
async fn a_huge_list_ends_the_call() {
    let world = World::new();
    let fault = observed(&world, "huge-list").await.unwrap_err();
    contained(&world, &fault, "hands over more than");
}

#[tokio::test]
async fn log_floods_are_cut_and_counted() {
    for word in ["log-flood", "empty-log-flood"] {
        let world = World::with(Limits { observe_ms: 20_000, ..tight() });
        observed(&world, word).await.unwrap();
        let log = world.heard.log();
        let bytes: usize = log.iter().map(String::len).sum();
        assert!(bytes <= (256 << 10) + 1000 && log.len() <= 20_000, "{bytes} bytes in {} lines", log.len());
        let last = log.last().unwrap();
        assert!(last.contains("more lines were dropped") && last.contains("limits.guest.log"), "{last}");
        world.assert_untouched();
    }
}

#[tokio::test]
async fn terminal_escapes_are_taken_out_of_everything() {
    let world = World::new();
    let answers = observed(&world, "escapes").await.unwrap();
    let Observation::Failed { fault } = &answers[1] else { panic!("{answers:?}") };
    assert_eq!(fault.message, "bad\u{fffd}[2Jnews\u{fffd}");
    assert_eq!(fault.code, "io2J");
    assert!(world.heard.log().iter().any(|line| line.starts_with("all \u{fffd}[2J")));
    let provider = world.provider().await;
    let checked = provider.check(&[declared("x")]).await.unwrap();
    assert_eq!(checked[0].diagnostics[0].message, "careful\u{fffd}]0;owned\u{fffd}");
    let info = provider.describe().await.unwrap();
    assert!(info.summary.starts_with("A guest\u{fffd}") && info.kinds[0].doc.ends_with("\u{fffd}[2J"));
    world.assert_tame();
}

#[tokio::test]
async fn a_flood_of_looks_comes_to_an_end() {
    let world = World::with(Limits { observe_ms: 60_000, host_calls: 20_000, ..tight() });
    let fault = observed(&world, "token-flood").await.unwrap_err();
    contained(&world, &fault, "asks the host too often");
}

#[tokio::test]
async fn a_slow_host_call_is_cut_off_with_the_call() {
    let world = World::new();
    let began = Instant::now();
    let asleep = commanded("slow-probe", &["/bin/sleep", "60"]);
    let fault = world.provider().await.observe(&[asleep]).await.unwrap_err();
    assert_eq!(fault.code, "timeout");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    contained(&world, &fault, "did not end `observe`");
}

#[tokio::test]
async fn nothing_outside_of_the_grant_is_seen() {
    let world = World::new();
    let curious = commanded("outside-grant", &["/bin/cat", "/outside/secret"]);
    world.provider().await.observe(&[curious]).await.unwrap();
    let log = world.heard.log();
    for path in ["/outside/secret:", "/etc/../outside/secret:", "/outside:", "etc/motd:", "/etc/link-out/secret:"] {
        let line = log.iter().find(|line| line.starts_with(path)).unwrap();
        assert!(!line.contains("Found") && !line.contains("Ok(Some"), "{line}");
    }
    assert!(log.iter().any(|line| line.starts_with("probe: Err") && line.contains("may not run")), "{log:?}");
    assert!(!log.concat().contains("s3cr3t") && !log.concat().contains("115, 51"));
    assert!(world.heard.faults().iter().any(|fault| fault.contains("may not read /outside/secret")));
    world.assert_untouched();
}

#[tokio::test]
async fn a_command_that_no_spec_holds_is_not_run_to_look() {
    // Granted, and still not run: nobody who reviews the stack would know of it.
    let world = World::new();
    let began = Instant::now();
    for subject in [subject("do:slow-probe"), commanded("slow-probe", &["/bin/sleep", "6"])] {
        let fault = world.provider().await.observe(&[subject]).await.unwrap_err();
        assert_eq!(fault.code, "rule");
        contained(&world, &fault, "ran `/bin/sleep 60` to look, which stands in no spec");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test]
async fn our_own_files_are_not_read_though_the_grant_covers_them() {
    let world = World::new();
    observed(&world, "own-files").await.unwrap();
    assert!(world.heard.log().iter().any(|line| line.starts_with("own: Err")));
    assert!(world.heard.faults().iter().any(|fault| fault.contains("Tidelock's own files")));
    world.assert_untouched();
}

#[tokio::test]
async fn proposals_outside_of_steps_are_refused() {
    let world = World::new();
    let fault = observed(&world, "propose").await.unwrap_err();
    assert_eq!(fault.code, "rule");
    contained(&world, &fault, "outside of `steps`");
}

#[tokio::test]
async fn what_reads_nothing_cannot_read() {
    let world = World::new();
    let fault = world.provider().await.check(&[declared("read")]).await.unwrap_err();
    contained(&world, &fault, "during `check`, which reads nothing");
    let world = World::new();
    let fault = world.room(describing("read")).provider("guest", &name("web-1")).await.map(|_| ()).unwrap_err();
    contained(&world, &fault, "during `describe`, which reads nothing");
}

#[tokio::test]
async fn effects_that_do_not_match_their_change_are_refused_by_rule() {
    for (word, words) in [
        ("wrong-path", "put file /etc/passwd"),
        ("wrong-path", "identity of its change alone"),
        ("wrong-digest", "neither in the desired spec nor in the last one"),
        ("not-a-digest", "which is not a digest"),
        ("wrong-change", "change 999, which does not exist"),
        ("forged-token", "a token that was not given out in this pass"),
        ("bad-group", "control characters"),
        ("bad-mode", "permission bits"),
        ("other-command", "the command is not in the desired spec"),
        ("other-validate", "the command is not in the desired spec"),
        ("escape-link", "control characters"),
        ("remove-all", "remove / and all below it"),
        ("effect-flood", "hands over too much"),
    ] {
        let world = World::new();
        // An honest change in the same call: nothing of the call counts.
        let changes = [change("honest", "/etc/motd", desired()), change(word, "/etc/motd", desired())];
        let fault = world.provider().await.steps(&changes).await.unwrap_err();
        assert_eq!(fault.blame, Blame::Plugin);
        contained(&world, &fault, words);
    }
}

#[tokio::test]
async fn a_rule_that_was_broken_names_the_change() {
    let world = World::new();
    let fault = stepped(&world, "wrong-path").await.unwrap_err();
    assert!(fault.message.contains("guest.file/wrong-path") && fault.message.contains("path:/etc/motd"), "{fault}");
}

#[tokio::test]
async fn tokens_of_another_pass_are_worth_nothing() {
    let world = World::new();
    let provider = world.provider().await;
    let answers = provider.observe(&[subject("path:/etc/motd")]).await.unwrap();
    let seen = answers[0].seen().to_vec();
    let request = |seen: &[String]| {
        let mut request = change("honest", "/etc/motd", desired());
        request.seen = seen.to_vec();
        [request]
    };
    assert!(
        matches!(&provider.steps(&request(&seen)).await.unwrap()[0], StepAnswer::Effects(effects) if effects.len() == 1)
    );
    let next_pass = world.provider().await;
    let fault = next_pass.steps(&request(&seen)).await.unwrap_err();
    contained(&world, &fault, "not given out in this pass");
}

#[tokio::test]
async fn a_token_of_another_path_is_no_precondition() {
    let world = World::new();
    let provider = world.provider().await;
    let answers = provider.observe(&[subject("path:/etc/app/conf")]).await.unwrap();
    let mut request = change("honest", "/etc/motd", desired());
    request.seen = answers[0].seen().to_vec();
    let fault = provider.steps(&[request]).await.unwrap_err();
    contained(&world, &fault, "its precondition is about path:/etc/app/conf");
}

#[tokio::test]
async fn what_was_not_granted_refuses_its_change_whatever_the_guest_says() {
    for word in ["honest", "swallow"] {
        for (path, words) in [("/outside/x", "may not write /outside/x"), ("/etc/tidelock/tidelock.db", "own files")] {
            let world = World::new();
            let changes = [change(word, path, desired()), change("honest", "/etc/motd", desired())];
            let answers = world.provider().await.steps(&changes).await.unwrap();
            let StepAnswer::Refused(fault) = &answers[0] else { panic!("{answers:?}") };
            assert_eq!(fault.code, "denied");
            assert!(fault.message.contains(words), "{fault}");
            if path.starts_with("/outside") {
                assert!(fault.hint.as_ref().unwrap().contains("paths = [\"/outside/x\"]"), "{fault:?}");
            }
            assert!(matches!(&answers[1], StepAnswer::Effects(effects) if effects.len() == 1), "{answers:?}");
            world.assert_recorded(fault);
            world.assert_untouched();
        }
    }
}

#[tokio::test]
async fn strays_go_only_where_the_host_let_them_through() {
    let world = World::new();
    let spec = json!({"path": "/etc/app", "strays": "/etc/app/conf"});
    let mut request = change("strays", "/etc/app", spec);
    let fault = world.provider().await.steps(&[request.clone()]).await.unwrap_err();
    contained(&world, &fault, "identity of its change alone");
    request.beneath = vec![tidelock_model::name::Identity::new("path:/etc/app/conf")];
    let answers = world.provider().await.steps(&[request]).await.unwrap();
    assert!(matches!(&answers[0], StepAnswer::Effects(effects) if effects.len() == 1), "{answers:?}");
    world.assert_untouched();
}

#[tokio::test]
async fn answers_that_do_not_fit_the_question_are_refused() {
    for (word, words) in [
        ("short", "1 answers to 2 questions"),
        ("long", "3 answers to 2 questions"),
        ("forged-token", "not given out in this pass"),
        ("not-json", "cannot be read"),
        ("not-object", "not an object"),
        ("bad-handle", "control characters"),
        ("bad-pointer", "not a JSON pointer"),
        ("bad-waits", "an empty identity"),
    ] {
        let world = World::new();
        let fault = observed(&world, word).await.unwrap_err();
        assert_eq!(fault.code, "invalid", "{word}: {fault:?}");
        contained(&world, &fault, words);
    }
    for (word, words) in [
        ("short", "0 answers to 1"),
        ("contradict", "then said that there are none"),
        ("bad-pointer", "not a JSON pointer"),
    ] {
        let world = World::new();
        let fault = stepped(&world, word).await.unwrap_err();
        contained(&world, &fault, words);
    }
}

#[tokio::test]
async fn forged_identities_and_json_are_refused() {
    for (word, words) in [
        ("empty-identity", "an empty identity"),
        ("escape-identity", "control characters"),
        ("long-identity", "4096 are the most"),
        ("short", "0 answers to 1"),
        ("fail", "failed in `check`: no \u{fffd}[2Jthanks"),
    ] {
        let world = World::new();
        let fault = world.provider().await.check(&[declared(word)]).await.unwrap_err();
        assert!(fault.message.contains(words), "{word}: {fault}");
        world.assert_untouched();
    }
    for (word, words) in [
        ("not-json", "cannot be read"),
        ("not-object", "not an object"),
        ("deep-json", "recursion"),
        ("wide-json", "values"),
    ] {
        let world = World::new();
        let fault = world.provider().await.normalise(&[declared(word)]).await.unwrap_err();
        assert!(fault.message.contains(words) || fault.code == "limit", "{word}: {fault}");
        contained(&world, &fault, "");
    }
    // Too large is one resource, and not its plugin.
    let world = World::new();
    let answers = world.provider().await.normalise(&[declared("long-json"), declared("echo")]).await.unwrap();
    let fault = answers[0].as_ref().unwrap_err();
    assert!(fault.message.contains("15728640 are the most") && fault.hint.is_some(), "{fault}");
    assert!(answers[1].is_ok());
}

#[tokio::test]
async fn a_lie_of_observe_plans_nothing() {
    for (word, tokens) in [("lie", 0), ("lie-with-token", 1)] {
        let world = World::new();
        let provider = world.provider().await;
        // It says that /etc/motd is not there, so the change that follows is a create.
        let answers = provider.observe(&[subject(&format!("do:{word}"))]).await.unwrap();
        let Observation::Absent { seen } = &answers[0] else { panic!("{answers:?}") };
        assert_eq!(seen.len(), tokens);
        let mut lie = change("honest", "/etc/motd", desired());
        lie.action = Action::Create;
        lie.seen.clone_from(seen);
        let mut other = change("honest", "/etc/none", desired());
        other.action = Action::Create;
        let fault = provider.steps(&[other, lie]).await.unwrap_err();
        assert_eq!((fault.code.as_str(), fault.blame), ("rule", Blame::Plugin));
        contained(&world, &fault, "/etc/motd");
        contained(&world, &fault, "it says that nothing is there, and there is");
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_looked_at_refuses_its_change_alone() {
    for word in ["honest", "swallow"] {
        let world = World::new();
        let changes = [change(word, "/etc/link-out/x", desired()), change("honest", "/etc/motd", desired())];
        let answers = world.provider().await.steps(&changes).await.unwrap();
        let StepAnswer::Refused(fault) = &answers[0] else { panic!("{answers:?}") };
        assert_eq!(fault.code, "symlink");
        assert!(matches!(&answers[1], StepAnswer::Effects(effects) if effects.len() == 1), "{answers:?}");
        assert!(world.heard.faults().is_empty(), "the plugin is not to blame: {:?}", world.heard.faults());
        world.assert_untouched();
    }
}

#[tokio::test]
async fn descriptions_that_do_not_fit_are_refused() {
    for (word, words) in [
        ("misnamed", "named guest in its `tidelock:plugin` section, but calls itself \"server\""),
        ("bad-schema", "for the kind file"),
        ("twice", "the kind file twice"),
        ("bad-kind", "which is not a kind"),
    ] {
        let world = World::new();
        let fault = world.room(describing(word)).provider("guest", &name("web-1")).await.map(|_| ()).unwrap_err();
        assert!(fault.message.contains(words), "{word}: {fault}");
    }
}

#[tokio::test]
async fn a_component_that_lies_about_its_role_or_name_does_not_link() {
    let world = World::new();
    // As long as before, so that the bytes around it stay valid.
    let component = patched(guest("provider"), br#""role":"provider""#, br#""role":"renderer""#);
    let fault = world.host.load_bytes("x.wasm", component.into()).unwrap_err();
    assert!(fault.message.contains("x.wasm") && fault.message.contains("machine"), "{fault}");
    let component = patched(guest("provider"), br#""name":"guest""#, br#""name":"sneak""#);
    let fault = world.room(component).provider("sneak", &name("web-1")).await.map(|_| ()).unwrap_err();
    assert!(fault.message.contains("calls itself"), "{fault}");
}

#[tokio::test]
async fn a_dropped_call_leaves_nothing_behind() {
    let world = World::with(Limits { observe_ms: 60_000, ..tight() });
    let provider = world.provider().await;
    for _ in 0..100 {
        let subjects = [subject("do:loop")];
        let call = provider.observe(&subjects);
        assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
    }
    // More calls than there are places: each dropped one gave its place back.
    let answers = provider.observe(&[subject("path:/etc/motd")]).await.unwrap();
    assert!(matches!(answers[0], Observation::Present { .. }));
    world.assert_untouched();
}
