//! Secrets of a lane: found in what was rendered, read, and compared in the plugins' stead.
//!
//! A plugin, a plan and the ledger get a secret's name and a keyed digest; the value stays
//! with the pass (`contents`), and goes with it.

use globset::GlobMatcher;
use serde_json::Value;
use tidelock_model::desired::Desired;
use tidelock_model::digest::Digest;
use tidelock_model::error::{Blame, Diagnostic, Fault};
use tidelock_model::grant::glob;
use tidelock_model::inventory::InventoryEntry;
use tidelock_model::observation::{Observation, SecretProbe};
use tidelock_model::pointer;
use tidelock_model::port::{Fetched, Target};
use tidelock_model::resource::Resource;
use tidelock_model::secret::{self, SecretName, SecretRef, SecretValue};
use tidelock_model::stack::resolve;

use crate::contents::BlobSet;
use crate::error::RunError;
use crate::run::Snapshot;
use crate::runtime::Runtime;
use crate::select::{Rules, Selected};

/// Reads every secret that resources name, and puts name and digest in its place.
///
/// # Errors
/// Every one that is misspelled, not allowed, or cannot be read, at its field.
pub(crate) async fn read(
    runtime: &Runtime,
    selected: &Selected,
    fetched: &Fetched,
    resources: &mut [Resource],
    blobs: &mut BlobSet,
) -> Result<Result<(), Vec<Diagnostic>>, RunError> {
    let mut allowed: Option<Vec<GlobMatcher>> = None;
    let mut problems = Vec::new();
    for resource in resources {
        let mut found = Vec::new();
        find(&resource.decl.spec, String::new(), &mut found);
        for (at, value) in found {
            let problem =
                |message: String| Diagnostic::error(message, Some(resource.place.clone())).at(format!("/spec{at}"));
            let name = match named(&value, &resource.place.file) {
                Ok(name) => name,
                Err(message) => {
                    problems.push(problem(message).hint("write it as: { $secret: app-db-password }"));
                    continue;
                }
            };
            let globs = match &mut allowed {
                Some(globs) => globs,
                none => none.insert(patterns(runtime, selected)?),
            };
            if !globs.iter().any(|glob| glob.is_match(name.as_str())) {
                let (source, message) =
                    (&selected.lane.source, format!("the secret {name} is not allowed by this operator to this stack"));
                problems.push(
                    problem(message).hint(format!(
                        "allow it in tidelock.toml, in [[sources.{source}.allow]]: secrets = [\"{name}\"]"
                    )),
                );
                continue;
            }
            match one(runtime, fetched, &name, blobs).await {
                Ok(secret) => {
                    if let Some(value) = resource.decl.spec.pointer_mut(&at) {
                        *value = secret.write();
                    }
                }
                Err(fault) => {
                    let problem = problem(fault.message);
                    problems.push(Diagnostic { hint: fault.hint, ..problem });
                }
            }
        }
    }
    Ok(if problems.is_empty() { Ok(()) } else { Err(problems) })
}

async fn one(runtime: &Runtime, fetched: &Fetched, name: &SecretName, blobs: &mut BlobSet) -> Result<SecretRef, Fault> {
    let Some(secrets) = &runtime.secrets else {
        return Ok(SecretRef { name: name.clone(), mac: String::new() });
    };
    if blobs.value(name).is_none() {
        let value = secrets.read(&fetched.revision.source, fetched.tree.as_ref(), name).await?;
        blobs.keep_secret(name.clone(), value);
    }
    let value = blobs.value(name).ok_or_else(|| Fault::new("panic", Blame::Host, "a secret that was read is gone"))?;
    Ok(SecretRef { name: name.clone(), mac: secrets.mac(name, value)? })
}

/// The operator's word on which secrets a stack may have on a target.
fn patterns(runtime: &Runtime, selected: &Selected) -> Result<Vec<GlobMatcher>, RunError> {
    let allow = runtime.config.sources.get(&selected.lane.source).map_or(&[][..], |decl| &decl.allow);
    let mut globs = Vec::new();
    for rule in Rules::of(allow, &selected.stack)?.on(&selected.lane.target) {
        for pattern in &rule.secrets {
            globs.push(glob(pattern, true)?);
        }
    }
    Ok(globs)
}

/// Where a spec says `$secret`, and what it says.
fn find(value: &Value, at: String, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(map) if map.contains_key(secret::KEY) => found.push((at, value.clone())),
        Value::Object(map) => {
            for (key, value) in map {
                find(value, pointer::push(&at, key), found);
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                find(item, format!("{at}/{i}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The name in `{ $secret: name }`. One that starts with a dot is a file beside `file`.
fn named(value: &Value, file: &str) -> Result<SecretName, String> {
    let Value::Object(map) = value else { return Err("a secret is { $secret: name }".to_owned()) };
    let (Some(Value::String(text)), 1) = (map.get(secret::KEY), map.len()) else {
        return Err("a secret is { $secret: name }, and has no other keys".to_owned());
    };
    if !text.starts_with(['.', '/']) {
        return text.parse();
    }
    let dir = file.rsplit_once('/').map_or("", |(dir, _)| dir);
    match text.split_once('#') {
        Some((path, pointer)) => format!("/{}#{pointer}", resolve(dir, path)).parse(),
        None => format!("/{}", resolve(dir, text)).parse(),
    }
}

/// Where no secret may be read, what is made of one stands as it was last written, as long as Git says
/// it in the same words: whether there is another value by now is not known, and is no change.
pub(crate) fn as_last_written(desired: &mut Desired, inventory: &[InventoryEntry], blobs: &mut BlobSet) {
    let lane = &desired.lane;
    for resource in &mut desired.resources {
        let same = |entry: &&InventoryEntry| {
            entry.identity == resource.identity
                && entry.address.resource.kind == resource.id.kind
                && entry.address.lane() == *lane
        };
        let Some(entry) = inventory.iter().find(same) else { continue };
        for (at, recipe) in &resource.withheld {
            let written = entry.applied.pointer(at).filter(|_| entry.withheld.get(at) == Some(recipe));
            if let Some(written) = written {
                blobs.stand_in(written);
                pointer::set(&mut resource.spec, at, written.clone());
            }
        }
        for (at, secret) in secret::refs(&resource.spec) {
            let written = entry.applied.pointer(&at).and_then(SecretRef::read);
            if let Some(written) = written.filter(|written| written.name == secret.name) {
                pointer::set(&mut resource.spec, &at, written.write());
            }
        }
    }
}

/// Compares what is there with the values of a lane's secrets, since no plugin can: where it
/// is the same, what was observed reads as what is desired.
pub(crate) async fn compare(target: &dyn Target, desired: &Desired, blobs: &BlobSet, seen: &mut Snapshot) {
    let mut asked = Vec::new();
    for resource in &desired.resources {
        for (at, secret) in secret::refs(&resource.spec) {
            let Some(Observation::Present { unknown, probes, .. }) = seen.get_mut(&resource.identity) else { break };
            let place = probes.iter().position(|probe| probe.field == at);
            let Some(probe) = place.map(|place| probes.remove(place)) else { continue };
            match blobs.value(&secret.name) {
                Some(value) => asked.push((resource, at, secret, probe, value)),
                None => unknown.push(at),
            }
        }
    }
    if asked.is_empty() {
        return;
    }
    let together: Vec<(&SecretProbe, &SecretValue)> = asked.iter().map(|(.., probe, value)| (probe, *value)).collect();
    let answers = target.matches(&together).await;
    for ((resource, at, secret, ..), answer) in asked.into_iter().zip(answers) {
        let Some(Observation::Present { observed, unknown, .. }) = seen.get_mut(&resource.identity) else { continue };
        match answer {
            Ok(Some(true)) => pointer::set(observed, &at, secret.write()),
            Ok(Some(false)) => pointer::set(observed, &at, secret.another()),
            Ok(None) => unknown.push(at),
            Err(fault) => {
                tracing::warn!(%fault, resource = %resource.id, "a secret could not be compared");
                unknown.push(at);
            }
        }
    }
}

/// A secret of a resource that is not as the plan said; `None` where all are.
pub(crate) fn unlike(spec: &Value, observed: &Value) -> Option<String> {
    let differs = |(at, secret): (String, SecretRef)| {
        let there = observed.pointer(&at)?;
        (*there != secret.write())
            .then(|| format!("{at} is not the value of the secret {} after the apply", secret.name))
    };
    secret::refs(spec).into_iter().find_map(differs)
}

/// The content of a secret as contents are known: digest and size.
pub(crate) fn content(value: &SecretValue) -> (Digest, u64) {
    (Digest::of(value.reveal()), value.reveal().len() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_read_and_files_resolved() {
        let name = |text: &str| named(&json!({"$secret": text}), "envs/prod/db/role.yaml").map(|name| name.to_string());
        assert_eq!(name("app/db").unwrap(), "app/db");
        assert_eq!(name("./db.age").unwrap(), "/envs/prod/db/db.age");
        assert_eq!(name("../db.age").unwrap(), "/envs/prod/db.age");
        assert_eq!(name("/keys/db.age").unwrap(), "/keys/db.age");
        assert_eq!(
            name("../../../../etc/shadow").unwrap(),
            "/etc/shadow",
            "of the source, and no file of this machine"
        );
        assert!(name("a b").is_err());
        assert!(named(&json!({"$secret": "a", "x": 1}), "a.yaml").is_err());
        assert!(named(&json!({"$secret": 3}), "a.yaml").is_err());
    }

    #[test]
    fn secrets_are_found_wherever_they_stand() {
        let mut found = Vec::new();
        find(&json!({"a": [{"b": {"$secret": "x"}}], "c~d": {"$secret": 3}}), String::new(), &mut found);
        let places: Vec<&str> = found.iter().map(|(at, _)| at.as_str()).collect();
        assert_eq!(places, ["/a/0/b", "/c~0d"]);
    }

    #[test]
    fn a_secret_that_is_not_as_planned_is_named() {
        let spec = json!({"password": {"$secret": "db", "mac": "12"}});
        assert_eq!(unlike(&spec, &spec), None);
        assert_eq!(unlike(&spec, &json!({})), None, "what is not seen is not judged");
        let other = SecretRef::read(&spec["password"]).unwrap().another();
        assert!(unlike(&spec, &json!({"password": other})).unwrap().contains("secret db"));
    }
}
