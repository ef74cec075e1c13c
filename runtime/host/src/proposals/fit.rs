//! Whether an effect belongs to the change that it is proposed for, and what it rests on.

use serde_json::Value;
use tidelock_model::desired::text_under;
use tidelock_model::digest::Digest;
use tidelock_model::dns::DnsEffect;
use tidelock_model::effect::{Attributes, Effect, EffectBody, PathState, Precondition};
use tidelock_model::error::{Blame, Fault, NOT_OURS};
use tidelock_model::name::Identity;
use tidelock_model::network::{NetworkEffect, Object};
use tidelock_model::plan::Action;
use tidelock_model::port::StepRequest;
use tidelock_model::sql::{Act, SqlEffect, Verb, covers};

use crate::json;
use crate::seen::SeenTable;

/// Preconditions of one effect.
const MAX_LOOKS: usize = 64;
/// Words and variables of a command.
const MAX_WORDS: usize = 1_024;

/// What takes back an effect that makes a link anew, where one before it removes what was there.
pub(super) fn made_anew(body: &EffectBody, before: &[Effect]) -> Option<EffectBody> {
    let EffectBody::Network(put @ NetworkEffect::Put { object: Object::Link(_) }) = body else { return None };
    let remove = EffectBody::Network(NetworkEffect::Remove { object: put.object() });
    before.iter().any(|effect| effect.body == remove).then_some(remove)
}

/// Whether an effect belongs to a change.
pub(super) fn fits(body: &EffectBody, request: &StepRequest) -> Result<(), String> {
    if let Some(object) = body.object()
        && request.identity != object
        && !request.beneath.contains(&object)
        && !own_text(body, request)
    {
        return Err("an effect may touch the identity of its change alone, or what was let through beneath it".into());
    }
    match body {
        EffectBody::PutFile { content, attributes, validate, backup, .. } => {
            well_formed(attributes)?;
            visible("backup suffix", backup.as_deref())?;
            let specs = [&request.desired, &request.last];
            if !own_text(body, request) && !specs.into_iter().flatten().any(|spec| names_digest(spec, content)) {
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
        EffectBody::Network(NetworkEffect::Put { object: Object::Wireguard(set) }) if set.private_key.is_none() => {
            // Its secrets are among the fields that are compared.
            Err("it has no `private_key`".into())
        }
        EffectBody::Network(NetworkEffect::Put { object }) => spelled_out(object, request),
        EffectBody::Dns(DnsEffect::PutRecords { set, .. }) => spelled_out(set, request),
        EffectBody::Remove { .. }
        | EffectBody::Network(NetworkEffect::Remove { .. })
        | EffectBody::Dns(DnsEffect::RemoveRecords { .. }) => Ok(()),
        EffectBody::Sql(statement) => sql(statement, request),
    }
}

/// Whether an effect is about a text of the plugin's own making that a person can review: put
/// as it stands in the desired spec under its path, or removed where the last spec had it.
fn own_text(body: &EffectBody, request: &StepRequest) -> bool {
    let under = |spec: &Option<Value>, path: &str| {
        spec.as_ref().and_then(|spec| text_under(spec, path)).map(|text| Digest::of(text.as_bytes()))
    };
    match body {
        EffectBody::PutFile { path, content, .. } => under(&request.desired, path) == Some(*content),
        EffectBody::Remove { path, tree: false } => under(&request.last, path).is_some(),
        _ => false,
    }
}

/// A statement must touch the change's identity or something beneath it, and name no secret
/// that the change's specs do not name.
fn sql(statement: &SqlEffect, request: &StepRequest) -> Result<(), String> {
    statement.pieces()?;
    let mine = |identity: &Identity| {
        covers(&request.identity, identity) || request.beneath.iter().any(|beneath| covers(beneath, identity))
    };
    // What makes changed settings count is part of changing one of them.
    let reloads = matches!(&statement.act, Act::Execute(execute) if execute.verb == Verb::Reload)
        && statement.touches().iter().any(|all| covers(all, &request.identity));
    if !reloads && !statement.touches().iter().any(mine) {
        let touched = statement.touches().first().map_or_else(String::new, ToString::to_string);
        return Err(format!("it touches {touched}, which is neither the identity of its change nor beneath it"));
    }
    let specs = || [&request.desired, &request.last].into_iter().flatten();
    if let Some(secret) = statement.secrets().find(|secret| !specs().any(|spec| names_secret(spec, secret))) {
        return Err(format!("the secret {secret} is neither in the desired spec nor in the last one"));
    }
    if let Act::Rename { object, .. } = &statement.act {
        let old = object.own_name().unwrap_or_default();
        let observed = request.observed.iter();
        if !specs().chain(observed).any(|spec| holds_text(spec, old)) {
            return Err(format!("the old name {old:?} stands in no spec of its change"));
        }
    }
    Ok(())
}

/// Whether `{"$secret": NAME}` stands anywhere in a spec.
fn names_secret(spec: &Value, secret: &str) -> bool {
    match spec {
        Value::Array(items) => items.iter().any(|item| names_secret(item, secret)),
        Value::Object(map) => {
            map.get("$secret").and_then(Value::as_str) == Some(secret)
                || map.values().any(|item| names_secret(item, secret))
        }
        _ => false,
    }
}

fn holds_text(spec: &Value, text: &str) -> bool {
    match spec {
        Value::String(held) => held == text,
        Value::Array(items) => items.iter().any(|item| holds_text(item, text)),
        Value::Object(map) => map.values().any(|item| holds_text(item, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Each field that would be put must stand in the desired spec as it is, where a person can
/// review it.
fn spelled_out(object: &impl serde::Serialize, request: &StepRequest) -> Result<(), String> {
    let put = serde_json::to_value(object).map_err(|error| format!("it cannot be written: {error}"))?;
    let desired = request.desired.as_ref();
    for (field, value) in put.as_object().into_iter().flatten().filter(|(field, _)| *field != "object") {
        if desired.and_then(|spec| spec.get(field)) != Some(value) {
            return Err(format!("its field `{field}` is not as the desired spec says"));
        }
    }
    Ok(())
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

/// What an effect relies on, from the tokens that it carries.
pub(super) fn relies_on(
    body: &EffectBody,
    tokens: &[String],
    seen: &SeenTable,
) -> Result<Option<Precondition>, String> {
    if tokens.len() > MAX_LOOKS {
        return Err(format!("more than {MAX_LOOKS} preconditions"));
    }
    let mut all: Option<Precondition> = None;
    for token in tokens {
        let Some(next) = seen.resolve(token) else {
            return Err("its precondition is a token that was not given out in this pass".into());
        };
        all = Some(match (all, next) {
            (None, next) => next,
            (Some(Precondition::Rows { mut looks }), Precondition::Rows { looks: more }) => {
                looks.extend(more);
                Precondition::Rows { looks }
            }
            _ => return Err("it has preconditions that cannot be held together".into()),
        });
    }
    let Some(precondition) = all else { return Ok(None) };
    if matches!(body, EffectBody::Sql(_)) != matches!(precondition, Precondition::Rows { .. }) {
        return Err("its precondition is about another kind of target".into());
    }
    if let (Some(object), Some(seen)) = (body.object(), precondition.object())
        && object != seen
    {
        return Err(format!("its precondition is about {seen}, not about {object}"));
    }
    Ok(Some(precondition))
}

/// The fault of an effect on what somebody else made of a network: it would be refused when it is performed.
pub(super) fn not_ours(body: &EffectBody, before: &Precondition) -> Option<Fault> {
    let (EffectBody::Network(effect), Precondition::Network { object: Some(now), .. }) = (body, before) else {
        return None;
    };
    let why = effect.not_ours(now, true)?;
    Some(
        Fault::new(NOT_OURS, Blame::Target, why)
            .hint("give it another metric or priority, or have whoever made it take it back"),
    )
}

/// Whether a look shows all that an effect would take away. One without a digest does not
/// know what a file holds, and one at a directory not what lies in it: a change by hand
/// since then would pass unnoticed.
pub(super) fn shows_all(body: &EffectBody, seen: &Precondition) -> bool {
    let Some((_, seen)) = seen.path() else { return true };
    match (body, seen) {
        (EffectBody::SetAttributes { .. }, _) => true,
        (_, PathState::File { digest, .. }) => digest.is_some(),
        (EffectBody::Remove { tree, .. }, PathState::Directory { .. }) => *tree,
        _ => true,
    }
}

pub(super) fn is_removal(body: &EffectBody) -> bool {
    matches!(body, EffectBody::Remove { .. })
}

/// Whether a change creates what is there already. It follows from an `observe` that
/// did not tell the truth, and would pass by the wait for a take-over.
pub(super) fn denies(request: &StepRequest, before: &Precondition) -> bool {
    // Rows tell of more than one object: whether they deny it is for the statement to find.
    request.action == Action::Create && before.object().as_ref() == Some(&request.identity) && before.shows_something()
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
