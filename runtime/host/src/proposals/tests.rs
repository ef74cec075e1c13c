use std::future::ready;

use futures::FutureExt;
use serde_json::json;
use tidelock_model::error::Blame;
use tidelock_model::grant::GrantDecl;

use tidelock_model::digest::Digest;
use tidelock_model::effect::Attributes;
use tidelock_model::plan::Action;

use super::*;

const CONTENT: &[u8] = b"hello";

fn request() -> StepRequest {
    StepRequest {
        address: "infra:web:server.file/motd@web-1".parse().unwrap(),
        identity: Identity::new("path:/etc/motd"),
        kind: "server.file".parse().unwrap(),
        action: Action::Create,
        desired: Some(json!({"path": "/etc/motd", "content": {"digest": Digest::of(CONTENT), "size": 5},
                             "validate": ["/bin/check", "%s"]})),
        observed: None,
        last: None,
        handle: None,
        fields: vec![],
        seen: vec![],
        trigger: None,
        beneath: vec![Identity::new("path:/etc/motd.d/stray")],
    }
}

fn keep(seen: &SeenTable, path: &str, state: &PathState) -> Option<String> {
    seen.keep(Precondition::Path { path: path.to_owned(), state: state.clone() })
}

fn put(path: &str, content: &[u8]) -> EffectBody {
    EffectBody::PutFile {
        path: path.into(),
        content: Digest::of(content),
        attributes: Attributes::default(),
        parents: false,
        backup: None,
        validate: None,
    }
}

fn offer(body: EffectBody) -> Offer {
    Offer { change: 0, body, preconditions: vec![], together: None, after_crash: AfterCrash::Observe }
}

fn grant() -> Grant {
    let decl = GrantDecl {
        targets: vec![],
        paths: vec!["/etc/**".into()],
        exec: vec![vec!["/bin/check".into(), "**".into()]],
        ..GrantDecl::default()
    };
    Grant::new("server", "web-1", [&decl], vec!["/etc/tidelock".into()]).unwrap()
}

fn take(offer: Offer) -> Result<Vec<StepAnswer>, Refusal> {
    take_for(request(), &SeenTable::new().unwrap(), offer)
}

fn take_for(request: StepRequest, seen: &SeenTable, offer: Offer) -> Result<Vec<StepAnswer>, Refusal> {
    let mut proposals = Proposals::new(vec![request]);
    take_into(&mut proposals, seen, offer, Ok(PathState::Absent))?;
    Ok(proposals.settle(vec![Said::Proposed]).unwrap())
}

/// Takes an offer on a target where that is what is to be seen.
fn take_into(
    proposals: &mut Proposals,
    seen: &SeenTable,
    offer: Offer,
    there: Result<PathState, Fault>,
) -> Result<(), Refusal> {
    let look = |_| ready(there.map(|state| There { state, names: vec!["x".to_owned()] }));
    proposals.take(offer, Some(&grant()), seen, "server", "web-1", look).now_or_never().unwrap()
}

fn broken(offer: Offer) -> String {
    match take(offer) {
        Err(Refusal::Broken(what)) => what,
        other => panic!("taken or denied: {other:?}"),
    }
}

#[test]
fn an_effect_on_its_own_identity_is_taken_with_its_inverse() {
    let seen = SeenTable::new().unwrap();
    let token = keep(&seen, "/etc/motd", &PathState::Absent);
    let answers = take_for(
        request(),
        &seen,
        Offer { preconditions: token.into_iter().collect(), ..offer(put("/etc/motd", CONTENT)) },
    )
    .unwrap();
    let StepAnswer::Effects(effects) = &answers[0] else { panic!("{answers:?}") };
    assert_eq!(effects[0].inverse.as_deref(), Some(&EffectBody::Remove { path: "/etc/motd".into(), tree: false }));
    assert_eq!(effects[0].plugin, "server");
}

#[test]
fn strays_that_were_let_through_may_go_and_others_may_not() {
    let remove = |path: &str| offer(EffectBody::Remove { path: path.into(), tree: false });
    assert!(take(remove("/etc/motd.d/stray")).is_ok());
    assert!(broken(remove("/etc/motd.d/other")).contains("identity of its change alone"));
    assert!(broken(remove("/etc")).contains("identity of its change alone"));
}

#[test]
fn what_is_not_in_the_spec_is_not_written_or_run() {
    assert!(broken(offer(put("/etc/motd", b"evil"))).contains("neither in the desired spec"));
    let exec = |argv: &[&str]| {
        let argv = argv.iter().map(ToString::to_string).collect();
        offer(EffectBody::Exec { argv, cwd: None, env: vec![], timeout_ms: 1 })
    };
    assert!(broken(exec(&["/bin/check", "-x"])).contains("not in the desired spec"));
    assert!(broken(exec(&[])).contains("1 to 1024 words"));
    assert!(take(exec(&["/bin/check", "%s"])).is_ok());
    let mut body = put("/etc/motd", CONTENT);
    if let EffectBody::PutFile { validate, .. } = &mut body {
        *validate = Some(vec!["/bin/sh".into(), "-c".into(), "id".into()]);
    }
    assert!(broken(offer(body)).contains("not in the desired spec"));
}

#[test]
fn tokens_are_checked_against_pass_and_path() {
    let seen = SeenTable::new().unwrap();
    let elsewhere = keep(&seen, "/etc/hosts", &PathState::Absent);
    let refused = take_for(
        request(),
        &seen,
        Offer { preconditions: elsewhere.into_iter().collect(), ..offer(put("/etc/motd", CONTENT)) },
    );
    assert!(
        matches!(refused, Err(Refusal::Broken(what)) if what.contains("about path:/etc/hosts, not about path:/etc/motd"))
    );
    let forged = Offer { preconditions: vec!["00".repeat(16)], ..offer(put("/etc/motd", CONTENT)) };
    assert!(broken(forged).contains("not given out in this pass"));
}

#[test]
fn a_look_that_leaves_out_what_would_be_lost_does_not_count() {
    let file = |digest| PathState::File { digest, mode: 0o644, owner: "a".into(), group: "a".into(), size: 5 };
    let directory = PathState::Directory { mode: 0o755, owner: "a".into(), group: "a".into() };
    let there = file(Some(Digest::of(b"by hand")));
    let seen = SeenTable::new().unwrap();
    let take = |body: EffectBody, shown: &PathState, there: Result<PathState, Fault>| {
        let request = StepRequest { action: Action::Update, ..request() };
        let mut proposals = Proposals::new(vec![request]);
        let offer = Offer { preconditions: keep(&seen, "/etc/motd", shown).into_iter().collect(), ..offer(body) };
        take_into(&mut proposals, &seen, offer, there).unwrap();
        let StepAnswer::Effects(mut effects) = proposals.settle(vec![Said::Proposed]).unwrap().remove(0) else {
            panic!()
        };
        let effect = effects.remove(0);
        (effect.precondition.unwrap().path().unwrap().1.clone(), effect.inside)
    };
    let remove = || EffectBody::Remove { path: "/etc/motd".into(), tree: false };
    let set = EffectBody::SetAttributes { path: "/etc/motd".into(), attributes: Attributes::default() };
    assert_eq!(take(put("/etc/motd", CONTENT), &file(None), Ok(there.clone())).0, there);
    assert_eq!(take(remove(), &file(None), Ok(there.clone())).0, there);
    assert_eq!(take(set, &file(None), Ok(there.clone())).0, file(None), "attributes take no content away");
    let known = file(Some(Digest::of(b"seen")));
    assert_eq!(take(put("/etc/motd", CONTENT), &known, Ok(there)).0, known, "a look with a digest counts");
    let (state, inside) = take(remove(), &directory, Ok(directory.clone()));
    assert_eq!((state, inside), (directory, vec!["x".to_owned()]), "what lies in it is seen too");
    let large = Fault::new("limit", Blame::Target, "too large");
    assert_eq!(take(remove(), &file(None), Err(large)).0, file(None), "what cannot be read may still go");
}

#[test]
fn what_is_there_is_not_created() {
    let seen = SeenTable::new().unwrap();
    let shown = Offer {
        preconditions: keep(&seen, "/etc/motd", &PathState::Other).into_iter().collect(),
        ..offer(put("/etc/motd", CONTENT))
    };
    let untold = offer(put("/etc/motd", CONTENT));
    for (offer, there) in [(shown, PathState::Absent), (untold, PathState::Other)] {
        let mut proposals = Proposals::new(vec![request()]);
        let refused = take_into(&mut proposals, &seen, offer, Ok(there));
        assert!(matches!(refused, Err(Refusal::Broken(what)) if what.contains("nothing is there, and there is")));
    }
    // What is beneath it may well be there, and what is updated must be.
    let mut proposals = Proposals::new(vec![request(), StepRequest { action: Action::Update, ..request() }]);
    let stray = EffectBody::Remove { path: "/etc/motd.d/stray".into(), tree: false };
    take_into(&mut proposals, &seen, offer(stray), Ok(PathState::Other)).unwrap();
    let update = Offer { change: 1, ..offer(put("/etc/motd", CONTENT)) };
    take_into(&mut proposals, &seen, update, Ok(PathState::Other)).unwrap();
    let answers = proposals.settle(vec![Said::Proposed, Said::Proposed]).unwrap();
    for answer in answers {
        let StepAnswer::Effects(effects) = answer else { panic!("{answer:?}") };
        assert_eq!(effects[0].precondition.as_ref().unwrap().path().unwrap().1, &PathState::Other);
    }
}

#[test]
fn a_path_that_cannot_be_looked_at_refuses_its_change() {
    let mut proposals = Proposals::new(vec![request()]);
    let seen = SeenTable::new().unwrap();
    let fault = Fault::new("io", Blame::Target, "the disk is gone");
    let refused = take_into(&mut proposals, &seen, offer(put("/etc/motd", CONTENT)), Err(fault.clone()));
    assert!(matches!(refused, Err(Refusal::Unseen(_))));
    assert_eq!(proposals.settle(vec![Said::Proposed]).unwrap(), [StepAnswer::Refused(fault)]);
}

#[test]
fn a_change_that_was_not_asked_has_no_effects() {
    assert!(broken(Offer { change: 1, ..offer(put("/etc/motd", CONTENT)) }).contains("does not exist"));
    let odd = Offer { together: Some("a\u{1b}[2J".into()), ..offer(put("/etc/motd", CONTENT)) };
    assert!(broken(odd).contains("control characters"));
    let body = EffectBody::SetAttributes {
        path: "/etc/motd".into(),
        attributes: Attributes { mode: Some(0o17777), ..Attributes::default() },
    };
    assert!(broken(offer(body)).contains("permission bits"));
}

#[test]
fn a_denied_effect_refuses_its_change_with_the_lines_to_paste() {
    for (path, words) in [("/srv/x", "may not write /srv/x"), ("/etc/tidelock/lock", "Tidelock's own files")] {
        let request = StepRequest { identity: Identity::new(format!("path:{path}")), ..request() };
        let mut proposals = Proposals::new(vec![request]);
        let seen = SeenTable::new().unwrap();
        let never = |_| -> std::future::Ready<_> { panic!("looked at a path that was not granted") };
        let grant = grant();
        let taken = proposals.take(offer(put(path, CONTENT)), Some(&grant), &seen, "server", "web-1", never);
        let refused = taken.now_or_never().unwrap();
        assert!(matches!(refused, Err(Refusal::Denied(fault)) if fault.message.contains(words)));
        let answers = proposals.settle(vec![Said::Proposed]).unwrap();
        assert!(matches!(&answers[0], StepAnswer::Refused(fault) if fault.code == "denied"));
    }
}

#[test]
fn effects_and_another_answer_contradict_each_other() {
    let mut proposals = Proposals::new(vec![request()]);
    let seen = SeenTable::new().unwrap();
    take_into(&mut proposals, &seen, offer(put("/etc/motd", CONTENT)), Ok(PathState::Absent)).unwrap();
    assert!(proposals.settle(vec![Said::NeedsReplace(vec![])]).is_err());
}

#[test]
fn a_wireguard_interface_is_set_with_its_key() {
    use tidelock_model::network::{NetworkEffect, Object};
    let spec = json!({"link": "wg0", "private_key": {"$secret": "vpn/key"}, "peers": {}});
    let request = StepRequest { identity: Identity::new("wireguard:wg0"), desired: Some(spec.clone()), ..request() };
    let fits = |set: serde_json::Value| {
        let object = Object::Wireguard(serde_json::from_value(set).unwrap());
        super::fit::fits(&EffectBody::Network(NetworkEffect::Put { object }), &request)
    };
    assert_eq!(fits(spec), Ok(()));
    assert!(fits(json!({"link": "wg0", "peers": {}})).unwrap_err().contains("`private_key`"));
}

#[test]
fn effects_on_a_network_say_what_the_spec_says() {
    use tidelock_model::network::{Link, NetworkEffect, Object, ObjectName};
    let request = StepRequest {
        identity: Identity::new("link:br0"),
        desired: Some(json!({"name": "br0", "type": "bridge", "mtu": 1400})),
        ..request()
    };
    let fits = |effect: NetworkEffect| super::fit::fits(&EffectBody::Network(effect), &request);
    let link = |name: &str, mtu, up| {
        let link = Link { name: name.into(), kind: Some("bridge".into()), mtu: Some(mtu), up, ..Link::default() };
        NetworkEffect::Put { object: Object::Link(link) }
    };
    assert_eq!(fits(link("br0", 1400, None)), Ok(()));
    assert!(fits(link("br0", 1500, None)).unwrap_err().contains("`mtu`"));
    assert!(fits(link("br0", 1400, Some(false))).unwrap_err().contains("`up`"));
    assert!(fits(link("br1", 1400, None)).unwrap_err().contains("identity"));
    let other = NetworkEffect::Remove { object: ObjectName::Link { name: "br1".into() } };
    assert!(fits(other).is_err());
}

#[test]
fn a_link_that_is_made_anew_goes_before_the_old_one_comes_back() {
    use tidelock_model::network::{Link, NetworkEffect, Object};
    let link = |vni| {
        let link = Link { name: "vx7".into(), kind: Some("vxlan".into()), vni: Some(vni), ..Link::default() };
        Object::Link(link)
    };
    let request = StepRequest {
        identity: Identity::new("link:vx7"),
        action: Action::Replace,
        desired: Some(json!({"name": "vx7", "type": "vxlan", "vni": 8})),
        ..request()
    };
    let seen = SeenTable::new().unwrap();
    let name = link(7).name();
    let token = seen.keep(Precondition::Network { network: name.clone(), object: Some(link(7)) });
    let remove = NetworkEffect::Remove { object: name };
    let decl = GrantDecl { links: vec!["vx7".into()], ..GrantDecl::default() };
    let grant = Grant::new("network", "router", [&decl], vec![]).unwrap();
    let mut proposals = Proposals::new(vec![request]);
    for effect in [remove.clone(), NetworkEffect::Put { object: link(8) }] {
        let offer = Offer { preconditions: token.clone().into_iter().collect(), ..offer(EffectBody::Network(effect)) };
        let look = |_| ready(Err(Fault::new("io", Blame::Host, "no path")));
        let taken = proposals.take(offer, Some(&grant), &seen, "network", "router", look).now_or_never().unwrap();
        taken.unwrap();
    }
    let answers = proposals.settle(vec![Said::Proposed]).unwrap();
    let StepAnswer::Effects(effects) = &answers[0] else { panic!("{answers:?}") };
    let inverses: Vec<_> = effects.iter().map(|effect| effect.inverse.as_deref().cloned().unwrap()).collect();
    let put = NetworkEffect::Put { object: link(7) };
    assert_eq!(inverses, [EffectBody::Network(put), EffectBody::Network(remove)]);
}

#[test]
fn a_text_of_the_plugins_own_stands_in_the_desired_spec() {
    const PATH: &str = "/etc/network.conf";
    let spec = |text: &str| json!({"link": "br0", "persist": {"kept": {PATH: text}}});
    let request = StepRequest {
        identity: Identity::new("link:br0"),
        desired: Some(spec("new")),
        last: Some(json!({"files": [{"/etc/old.conf": "old"}]})),
        ..request()
    };
    let fits = |body: EffectBody| super::fit::fits(&body, &request);
    let text = |path: &str, text: &str| EffectBody::PutFile {
        path: path.to_owned(),
        content: Digest::of(text.as_bytes()),
        attributes: Attributes::default(),
        parents: true,
        backup: None,
        validate: None,
    };
    assert_eq!(fits(text(PATH, "new")), Ok(()));
    assert!(fits(text(PATH, "another")).is_err(), "another text");
    assert!(fits(text("/etc/other", "new")).is_err(), "another path");
    let remove = |path: &str, tree| fits(EffectBody::Remove { path: path.to_owned(), tree });
    assert_eq!(remove("/etc/old.conf", false), Ok(()));
    assert!(remove("/etc/old.conf", true).is_err());
    assert!(remove(PATH, false).is_err(), "it was never there");
    assert!(remove("files", false).is_err(), "a field that is no path");
}
