//! What a plugin proposes during one `steps`, held against the changes that it was
//! asked about. An effect belongs to a change when its object is the change's own
//! identity (or one beneath it that the host let through) and what it writes or runs
//! stands in the spec that a person can review. What is at a path is believed of the
//! target alone: an effect that shows no look rests on one that the host takes itself.
//! The rest is for that person.

use std::future::Future;

use serde_json::Value;
use tidelock_model::digest::Digest;
use tidelock_model::effect::{AfterCrash, Attributes, Effect, EffectBody, PathState, Precondition};
use tidelock_model::error::Fault;
use tidelock_model::grant::Grant;
use tidelock_model::name::Identity;
use tidelock_model::plan::Action;
use tidelock_model::port::{StepAnswer, StepRequest};

use crate::door;
use crate::json;
use crate::seen::SeenTable;

/// Effects of one change. Purging a directory is one effect for each stray.
const MAX_EFFECTS: usize = 100_000;
/// Words and variables of a command.
const MAX_WORDS: usize = 1_024;

/// An effect as a guest offered it.
pub(crate) struct Offer {
    pub(crate) change: u32,
    pub(crate) body: EffectBody,
    pub(crate) precondition: Option<String>,
    pub(crate) together: Option<String>,
    pub(crate) after_crash: AfterCrash,
}

/// What the host sees at a path.
#[derive(Debug)]
pub(crate) struct There {
    pub(crate) state: PathState,
    /// What a directory holds, in byte order.
    pub(crate) names: Vec<String>,
}

/// Why an offer is not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The operator did not grant it.
    Denied(Fault),
    /// What is at its path could not be looked at.
    Unseen(Fault),
    /// It breaks the contract: what the plugin did, after "it ".
    Broken(String),
}

/// The changes of one `steps` and the effects that were proposed for each.
pub(crate) struct Proposals {
    changes: Vec<Slot>,
}

struct Slot {
    request: StepRequest,
    effects: Vec<Effect>,
    refused: Option<Fault>,
}

/// What the guest answered for one change, in the model's words.
pub(crate) enum Said {
    Proposed,
    NeedsReplace(Vec<String>),
    Waits { on: Identity, why: String },
    Refused(Fault),
}

impl Proposals {
    pub(crate) fn new(requests: Vec<StepRequest>) -> Self {
        let changes = requests.into_iter().map(|request| Slot { request, effects: vec![], refused: None }).collect();
        Self { changes }
    }

    /// Takes an offer, or says why not. `look` sees what is at a path of the target, and
    /// what a directory there holds; it is asked after the grant said yes, and only where
    /// the guest shows no look, or one that leaves out what the effect would take away.
    pub(crate) async fn take<L: Future<Output = Result<There, Fault>>>(
        &mut self,
        offer: Offer,
        grant: Option<&Grant>,
        seen: &SeenTable,
        plugin: &str,
        target: &str,
        look: impl FnOnce(String) -> L,
    ) -> Result<(), Refusal> {
        let Offer { change, body, precondition, together, after_crash } = offer;
        let Some(slot) = self.changes.get_mut(change as usize) else {
            return Err(Refusal::Broken(format!(
                "proposed `{}` for change {change}, which does not exist",
                body.summary()
            )));
        };
        let broken = |slot: &Slot, rule: &str| {
            Refusal::Broken(format!(
                "proposed `{}` for {}, whose identity is {}: {rule}",
                body.summary(),
                slot.request.address.resource,
                slot.request.identity
            ))
        };
        if slot.effects.len() >= MAX_EFFECTS {
            return Err(broken(slot, "these are more effects than one change may have"));
        }
        fits(&body, &slot.request).map_err(|rule| broken(slot, &rule))?;
        let precondition = relies_on(&body, precondition.as_deref(), seen).map_err(|rule| broken(slot, &rule))?;
        let together = together.map(|key| json::key("group key", key)).transpose();
        let together = together.map_err(|what| broken(slot, &format!("it has {what}")))?;
        let granted = match grant {
            Some(grant) => grant.decide_effect(&body),
            None => Err(door::no_grant(plugin, target)),
        };
        if let Err(fault) = granted.map_err(door::tamed) {
            slot.refused.get_or_insert_with(|| fault.clone());
            return Err(Refusal::Denied(fault));
        }
        let enough = precondition.as_ref().is_some_and(|shown| shows_all(&body, &shown.state));
        let (precondition, inside) = match body.path() {
            Some(path) if !enough => match look(path.to_owned()).await.map_err(door::tamed) {
                Ok(there) => (Some(Precondition { path: path.to_owned(), state: there.state }), there.names),
                // Too large to be read, and to be taken away none the less.
                Err(fault) if fault.code == "limit" && precondition.is_some() && is_removal(&body) => {
                    (precondition, vec![])
                }
                Err(fault) => {
                    slot.refused.get_or_insert_with(|| fault.clone());
                    return Err(Refusal::Unseen(fault));
                }
            },
            _ => (precondition, vec![]),
        };
        let inside = if matches!(body, EffectBody::Remove { tree: false, .. }) { inside } else { vec![] };
        if precondition.as_ref().is_some_and(|before| denies(&slot.request, before)) {
            return Err(broken(slot, "it says that nothing is there, and there is"));
        }
        let inverse = precondition.as_ref().and_then(|before| body.inverse(&before.state)).map(Box::new);
        slot.effects.push(Effect {
            resource: slot.request.address.resource.clone(),
            identity: slot.request.identity.clone(),
            plugin: plugin.to_owned(),
            body,
            precondition,
            after_crash,
            together,
            inverse,
            inside,
        });
        Ok(())
    }

    /// Joins what was proposed with what was said, in the order of the question. A
    /// refused effect refuses its change, whatever the guest made of the refusal.
    pub(crate) fn settle(self, said: Vec<Said>) -> Result<Vec<StepAnswer>, String> {
        let mut answers = Vec::with_capacity(said.len());
        for (slot, said) in self.changes.into_iter().zip(said) {
            let resource = &slot.request.address.resource;
            answers.push(match (slot.refused, said) {
                (Some(fault), _) => StepAnswer::Refused(fault),
                (None, Said::Proposed) => StepAnswer::Effects(slot.effects),
                (None, _) if !slot.effects.is_empty() => {
                    return Err(format!("proposed effects for {resource}, and then said that there are none"));
                }
                (None, Said::NeedsReplace(fields)) => StepAnswer::NeedsReplace(fields),
                (None, Said::Waits { on, why }) => StepAnswer::Waits { on, why },
                (None, Said::Refused(fault)) => StepAnswer::Refused(fault),
            });
        }
        Ok(answers)
    }
}

/// Whether an effect belongs to a change.
fn fits(body: &EffectBody, request: &StepRequest) -> Result<(), String> {
    if let Some(path) = body.path() {
        let own = request.identity.path() == Some(path);
        let beneath = || request.beneath.iter().any(|identity| identity.path() == Some(path));
        if !own && !beneath() {
            return Err(
                "an effect may touch the identity of its change alone, or what was let through beneath it".into()
            );
        }
    }
    match body {
        EffectBody::PutFile { content, attributes, validate, backup, .. } => {
            well_formed(attributes)?;
            visible("backup suffix", backup.as_deref())?;
            let specs = [&request.desired, &request.last];
            if !specs.into_iter().flatten().any(|spec| names_digest(spec, content)) {
                return Err("the content's digest is neither in the desired spec nor in the last one".into());
            }
            validate.as_ref().map_or(Ok(()), |argv| command(argv, request))
        }
        EffectBody::SetAttributes { attributes, .. } | EffectBody::MakeDirectory { attributes, .. } => {
            well_formed(attributes)
        }
        EffectBody::Link { to, .. } => visible("link text", Some(to)),
        EffectBody::Exec { argv, cwd, env, .. } => {
            visible("directory", cwd.as_deref())?;
            if env.len() > MAX_WORDS {
                return Err(format!("more than {MAX_WORDS} variables"));
            }
            if env.iter().any(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')) {
                return Err("the name of a variable is empty or holds `=`, or one holds a NUL".into());
            }
            command(argv, request)
        }
        EffectBody::Remove { .. } => Ok(()),
    }
}

/// What a person reviews must be what is done: no empty, endless or invisible text.
fn visible(what: &str, text: Option<&str>) -> Result<(), String> {
    let checked = text.map(|text| json::key(what, text.to_owned())).transpose();
    checked.map(drop).map_err(|what| format!("it has {what}"))
}

fn well_formed(attributes: &Attributes) -> Result<(), String> {
    if attributes.mode.is_some_and(|mode| mode > 0o7777) {
        return Err("the mode has more than the permission bits".into());
    }
    for who in [&attributes.owner, &attributes.group].into_iter().flatten() {
        visible("owner or group", Some(who))?;
    }
    Ok(())
}

/// A command must stand in the desired spec, word for word.
fn command(argv: &[String], request: &StepRequest) -> Result<(), String> {
    if argv.is_empty() || argv.len() > MAX_WORDS || argv.iter().any(|word| word.contains('\0')) {
        return Err(format!("a command has 1 to {MAX_WORDS} words without a NUL"));
    }
    if request.desired.as_ref().is_some_and(|spec| names_argv(spec, argv)) {
        return Ok(());
    }
    Err("the command is not in the desired spec, word for word".into())
}

/// What an effect relies on, from the token that it carries.
fn relies_on(body: &EffectBody, token: Option<&str>, seen: &SeenTable) -> Result<Option<Precondition>, String> {
    let Some(token) = token else { return Ok(None) };
    let Some(precondition) = seen.resolve(token) else {
        return Err("its precondition is a token that was not given out in this pass".into());
    };
    if body.path().is_some_and(|path| path != precondition.path) {
        return Err(format!("its precondition is about another path, {}", precondition.path));
    }
    Ok(Some(precondition))
}

/// Whether a look shows all that an effect would take away. One without a digest does not
/// know what a file holds, and one at a directory not what lies in it: a change by hand
/// since then would pass unnoticed.
fn shows_all(body: &EffectBody, seen: &PathState) -> bool {
    match (body, seen) {
        (EffectBody::SetAttributes { .. }, _) => true,
        (_, PathState::File { digest, .. }) => digest.is_some(),
        (EffectBody::Remove { tree, .. }, PathState::Directory { .. }) => *tree,
        _ => true,
    }
}

fn is_removal(body: &EffectBody) -> bool {
    matches!(body, EffectBody::Remove { .. })
}

/// Whether a change creates what is there already. It follows from an `observe` that
/// did not tell the truth, and would pass by the wait for a take-over.
fn denies(request: &StepRequest, before: &Precondition) -> bool {
    request.action == Action::Create
        && request.identity.path() == Some(&before.path)
        && before.state != PathState::Absent
}

fn names_digest(spec: &Value, digest: &Digest) -> bool {
    match spec {
        Value::String(text) => text.parse().is_ok_and(|named: Digest| named == *digest),
        Value::Array(items) => items.iter().any(|item| names_digest(item, digest)),
        Value::Object(map) => map.values().any(|item| names_digest(item, digest)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn names_argv(spec: &Value, argv: &[String]) -> bool {
    match spec {
        Value::Array(items) => {
            let equal = items.len() == argv.len()
                && items.iter().zip(argv).all(|(item, word)| item.as_str() == Some(word.as_str()));
            equal || items.iter().any(|item| names_argv(item, argv))
        }
        Value::Object(map) => map.values().any(|item| names_argv(item, argv)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use futures::FutureExt;
    use serde_json::json;
    use tidelock_model::error::Blame;
    use tidelock_model::grant::GrantDecl;

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
        Offer { change: 0, body, precondition: None, together: None, after_crash: AfterCrash::Observe }
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
        let token = seen.keep("/etc/motd", &PathState::Absent);
        let answers =
            take_for(request(), &seen, Offer { precondition: token, ..offer(put("/etc/motd", CONTENT)) }).unwrap();
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
        let elsewhere = seen.keep("/etc/hosts", &PathState::Absent);
        let refused = take_for(request(), &seen, Offer { precondition: elsewhere, ..offer(put("/etc/motd", CONTENT)) });
        assert!(matches!(refused, Err(Refusal::Broken(what)) if what.contains("another path, /etc/hosts")));
        let forged = Offer { precondition: Some("00".repeat(16)), ..offer(put("/etc/motd", CONTENT)) };
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
            let offer = Offer { precondition: seen.keep("/etc/motd", shown), ..offer(body) };
            take_into(&mut proposals, &seen, offer, there).unwrap();
            let StepAnswer::Effects(mut effects) = proposals.settle(vec![Said::Proposed]).unwrap().remove(0) else {
                panic!()
            };
            let effect = effects.remove(0);
            (effect.precondition.unwrap().state, effect.inside)
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
        let shown =
            Offer { precondition: seen.keep("/etc/motd", &PathState::Other), ..offer(put("/etc/motd", CONTENT)) };
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
            assert_eq!(effects[0].precondition.as_ref().unwrap().state, PathState::Other);
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
}
