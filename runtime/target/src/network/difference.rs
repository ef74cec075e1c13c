//! What an effect on a network changes, for people: fields with a sign before each, and a
//! table as a difference of texts. Pure.

use std::time::Duration;

use serde_json::{Map, Value};
use similar::TextDiff;
use tidelock_model::network::{NetworkEffect, Object};
use tidelock_model::secret::SecretRef;

/// Lines that begin with `-` for what goes and `+` for what comes.
pub(crate) fn difference(effect: &NetworkEffect, before: Option<&Object>) -> String {
    let after = match effect {
        NetworkEffect::Put { object } => Some(object),
        NetworkEffect::Remove { .. } => None,
    };
    if let Some(Object::Table(_)) = before.or(after) {
        let text = |object: Option<&Object>| match object {
            Some(Object::Table(table)) => table.ruleset.clone(),
            _ => String::new(),
        };
        let (old, new) = (text(before), text(after));
        // Bounds what two large tables can cost; a difference past it is right but not minimal.
        let difference = TextDiff::configure().timeout(Duration::from_millis(500)).diff_lines(&old, &new);
        return difference.unified_diff().context_radius(3).to_string();
    }
    let (old, new) = (fields(before), fields(after));
    let mut lines = String::new();
    for (name, value) in &old {
        // A field that is not asked for stays as it is.
        let within = |name: &str| name.starts_with("peers ");
        let goes = after.is_none() || new.get(name).map_or(within(name), |new| new != value);
        if goes {
            lines.push_str(&format!("-{name} {}\n", plain(value)));
        }
    }
    for (name, value) in &new {
        if old.get(name) != Some(value) {
            lines.push_str(&format!("+{name} {}\n", plain(value)));
        }
    }
    lines
}

fn fields(object: Option<&Object>) -> Map<String, Value> {
    let mut fields = match object.map(serde_json::to_value) {
        Some(Ok(Value::Object(fields))) => fields,
        _ => Map::new(),
    };
    fields.shift_remove("object");
    let mut flat = Map::new();
    for (name, value) in fields {
        flatten(name, value, &mut flat);
    }
    flat
}

/// What is within another is a field of its own: the peers of WireGuard.
fn flatten(name: String, value: Value, into: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) if !fields.contains_key(tidelock_model::secret::KEY) => {
            for (field, value) in fields {
                flatten(format!("{name} {field}"), value, into);
            }
        }
        value => {
            into.insert(name, value);
        }
    }
}

fn plain(value: &Value) -> String {
    if let Some(secret) = SecretRef::read(value) {
        return secret.shown();
    }
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_model::network::{Link, Table};

    #[test]
    fn fields_that_are_not_asked_for_are_not_shown() {
        let link = |mtu, up| Object::Link(Link { name: "a".into(), mtu: Some(mtu), up, ..Link::default() });
        let put = NetworkEffect::Put { object: link(9000, None) };
        assert_eq!(difference(&put, Some(&link(1500, Some(true)))), "-mtu 1500\n+mtu 9000\n");
        let remove = NetworkEffect::Remove { object: link(1, None).name() };
        assert_eq!(difference(&remove, Some(&link(1500, None))), "-name a\n-mtu 1500\n");
    }

    #[test]
    fn tables_are_compared_as_texts() {
        let table =
            |ruleset: &str| Object::Table(Table { family: "inet".into(), name: "t".into(), ruleset: ruleset.into() });
        let put = NetworkEffect::Put { object: table("a\nc\n") };
        assert!(difference(&put, Some(&table("a\nb\n"))).ends_with(" a\n-b\n+c\n"));
    }
}
