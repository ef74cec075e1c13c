//! Specs made ready to compare, to hand out and to show.
//!
//! What is ignored is left alone in diff *and* apply: the observed value is carried
//! into what a provider is asked to bring about.

use serde_json::{Map, Value};
use tidelock_model::digest::Digest;
use tidelock_model::kind::KindInfo;
use tidelock_model::observation::SecretProbe;
use tidelock_model::pointer;

use crate::diff::{covering, missing_defaults, withheld};

/// The desired spec with defaults filled in and what is ignored taken from `observed`.
pub(crate) fn effective(spec: &Value, observed: Option<&Value>, info: Option<&KindInfo>, ignore: &[String]) -> Value {
    let mut out = spec.clone();
    for (path, default) in missing_defaults(spec, info) {
        pointer::set(&mut out, path, default.clone());
    }
    // Where nothing is there yet, an ignored field is still wanted once.
    let Some(observed) = observed else { return out };
    for pattern in ignore.iter().filter(|pattern| !pattern.is_empty()) {
        for at in pointer::matching(&out, pattern) {
            if observed.pointer(&at).is_none() {
                pointer::remove(&mut out, &at);
            }
        }
        for at in pointer::matching(observed, pattern) {
            if let Some(value) = observed.pointer(&at) {
                pointer::set(&mut out, &at, value.clone());
            }
        }
    }
    out
}

/// What was seen, made comparable: fields that cannot be read back stand as they were
/// last written, and probed secrets as what they turned out to be.
pub(crate) struct Comparable {
    pub(crate) observed: Value,
    /// Pointers that nothing is known of, not even what was last written.
    pub(crate) unknown: Vec<String>,
    /// Pointers that rest on what was last written.
    pub(crate) unverified: Vec<String>,
}

pub(crate) fn comparable(
    observed: Value,
    unknown: &[String],
    probes: &[SecretProbe],
    desired: &Value,
    last: Option<&Value>,
    info: Option<&KindInfo>,
) -> Comparable {
    let mut out = Comparable { observed, unknown: Vec::new(), unverified: Vec::new() };
    let fields = info.into_iter().flat_map(|info| &info.fields).filter(|field| field.roles.write_only);
    let write_only = fields.flat_map(|field| pointer::matching(desired, &field.path));
    for at in unknown.iter().cloned().chain(write_only) {
        // A new value in Git is written, though nobody can say whether it differs.
        if let Some(written) = last.and_then(|last| last.pointer(&at)) {
            pointer::set(&mut out.observed, &at, written.clone());
            out.unverified.push(at);
        } else if unknown.contains(&at) {
            out.unknown.push(at);
        }
    }
    for probe in probes {
        let Some(wanted) = desired.pointer(&probe.field) else { continue };
        let digest = wanted.as_str().map(|text| Digest::of(text.as_bytes()).to_string());
        match (probe.method.as_str(), digest) {
            ("sha256", Some(digest)) => {
                let equal = digest.trim_start_matches("sha256:") == probe.material.trim_start_matches("sha256:");
                let seen = if equal { wanted.clone() } else { Value::String(probe.material.clone()) };
                pointer::set(&mut out.observed, &probe.field, seen);
            }
            _ => out.unknown.push(probe.field.clone()),
        }
    }
    out.unknown.sort_unstable();
    out.unknown.dedup();
    out
}

/// The part of `observed` that `spec` manages, fit to show.
pub(crate) fn shown_before(spec: &Value, observed: &Value, info: Option<&KindInfo>) -> Value {
    sorted(withheld(&part(spec, observed, "", info), "", info))
}

/// A spec fit to show.
pub(crate) fn shown(spec: &Value, info: Option<&KindInfo>) -> Value {
    sorted(withheld(spec, "", info))
}

/// Pointers of a spec's values that are withheld, with those of its contents that hold secrets.
pub(crate) fn sensitive<'a>(
    spec: &Value,
    contents: impl IntoIterator<Item = &'a String>,
    info: Option<&KindInfo>,
) -> Vec<String> {
    let mut out: Vec<String> = info
        .into_iter()
        .flat_map(|info| &info.fields)
        .filter(|field| field.roles.sensitive)
        .flat_map(|field| pointer::matching(spec, &field.path))
        .chain(contents.into_iter().cloned())
        .collect();
    out.sort_unstable();
    out.dedup();
    out
}

fn part(spec: &Value, observed: &Value, at: &str, info: Option<&KindInfo>) -> Value {
    match (spec, observed) {
        (Value::Object(spec), Value::Object(seen)) if !covering(info, at, |roles| roles.content) => Value::Object(
            spec.iter()
                .filter_map(|(key, spec)| {
                    let value = part(spec, seen.get(key)?, &pointer::push(at, key), info);
                    Some((key.clone(), value))
                })
                .collect(),
        ),
        (_, observed) => observed.clone(),
    }
}

/// Keys in order, so that equal specs give equal bytes however they were written.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<(String, Value)> = map.into_iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(pairs.into_iter().map(|(key, value)| (key, sorted(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_ignored_is_carried_over_or_left_out() {
        let spec = json!({"mode": "0644", "owner": "root", "content": "x"});
        let ignore = ["/mode".to_owned(), "/owner".to_owned()];
        let seen = json!({"mode": "0600", "content": "y"});
        assert_eq!(effective(&spec, Some(&seen), None, &ignore), json!({"mode": "0600", "content": "x"}));
        assert_eq!(effective(&spec, None, None, &ignore), spec);
    }

    #[test]
    fn a_probe_says_whether_a_secret_is_the_same() {
        let desired = json!({"password": "hunter2"});
        let probe = |material: &str, method: &str| SecretProbe {
            field: "/password".into(),
            method: method.into(),
            material: material.into(),
        };
        let digest = Digest::of(b"hunter2").to_string();
        let look = |probe: SecretProbe| comparable(json!({}), &[], &[probe], &desired, None, None);
        assert_eq!(look(probe(&digest, "sha256")).observed, desired);
        assert_ne!(look(probe("sha256:00", "sha256")).observed, desired);
        assert_eq!(look(probe(&digest, "other")).unknown, ["/password"]);
    }
}
