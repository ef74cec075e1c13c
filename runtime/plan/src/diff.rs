//! What differs between a desired and an observed spec, field by field.
//!
//! The host compares, never a plugin, so that every kind is compared by the same
//! rules. Must not decide what comes of a difference.

use std::collections::BTreeMap;

use serde_json::{Number, Value};
use tidelock_model::kind::{FieldInfo, KindInfo, Roles};
use tidelock_model::plan::FieldChange;
use tidelock_model::pointer;
use tidelock_model::secret::SecretRef;

/// What stands where a sensitive value would. A digest of a short password can be
/// guessed, so not even that is shown.
pub const WITHHELD: &str = "(sensitive)";

/// Fields that differ, in order of their pointers.
///
/// A field that `desired` lacks is unmanaged, unless the kind has a default for it.
/// Lists of objects with a key are compared by key and the key's value stands in the
/// pointer (`/members/alice/role`); other lists are compared whole, except that a
/// list which owns only what it lists leaves the rest alone. Numbers are compared by
/// value. What a sensitive field holds is withheld on both sides.
#[must_use]
pub fn fields(desired: &Value, observed: &Value, info: Option<&KindInfo>, ignore: &[String]) -> Vec<FieldChange> {
    fields_since(desired, observed, None, info, ignore)
}

/// As [`fields`], with what was last applied. Of a list or an object that owns only what it
/// lists, what it listed then, lists no longer and is still there differs: it is to go.
#[must_use]
pub fn fields_since(
    desired: &Value,
    observed: &Value,
    last: Option<&Value>,
    info: Option<&KindInfo>,
    ignore: &[String],
) -> Vec<FieldChange> {
    let mut walk = Walk { info, ignore, out: Vec::new() };
    walk.value("", desired, Some(observed), last);
    for (path, default) in missing_defaults(desired, info) {
        walk.value(path, default, observed.pointer(path), last.and_then(|last| last.pointer(path)));
    }
    walk.out.sort_by(|a, b| a.path.cmp(&b.path));
    walk.out
}

/// Defaults that a spec leaves unsaid.
pub(crate) fn missing_defaults<'a>(
    desired: &'a Value,
    info: Option<&'a KindInfo>,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    info.into_iter()
        .flat_map(|info| &info.fields)
        .filter(|field| !field.path.contains('*') && desired.pointer(&field.path).is_none())
        .filter_map(|field| field.default.as_ref().map(|default| (field.path.as_str(), default)))
}

/// A value with every sensitive part withheld. `at` is where it stands in the spec.
#[must_use]
pub fn withheld(value: &Value, at: &str, info: Option<&KindInfo>) -> Value {
    let sensitive = |path: &str| covering(info, path, |roles| roles.sensitive);
    if let Some(secret) = SecretRef::read(value) {
        return Value::String(secret.shown());
    }
    if !info.is_some_and(|info| info.fields.iter().any(|field| field.roles.sensitive)) {
        return value.clone();
    }
    if sensitive(at) && !value.is_null() {
        return Value::String(WITHHELD.to_owned());
    }
    match value {
        Value::Object(map) => Value::Object(
            map.iter().map(|(key, value)| (key.clone(), withheld(value, &pointer::push(at, key), info))).collect(),
        ),
        Value::Array(items) => Value::Array(
            items
                .iter()
                .enumerate()
                .map(|(i, item)| withheld(item, &pointer::push(at, &i.to_string()), info))
                .collect(),
        ),
        scalar => scalar.clone(),
    }
}

/// Whether a field with a role covers a pointer.
pub(crate) fn covering(info: Option<&KindInfo>, path: &str, role: impl Fn(&Roles) -> bool) -> bool {
    info.is_some_and(|info| {
        info.fields.iter().any(|field| role(&field.roles) && tidelock_model::kind::covers(&field.path, path))
    })
}

/// Equal in value: numbers by what they are worth, objects in any order.
#[must_use]
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => same_number(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn same_number(a: &Number, b: &Number) -> bool {
    if a == b {
        return true;
    }
    // Integers are compared exactly: as floats, large neighbours would be equal.
    let whole = |n: &Number| n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a.as_f64() == b.as_f64(),
    }
}

struct Walk<'a> {
    info: Option<&'a KindInfo>,
    ignore: &'a [String],
    out: Vec<FieldChange>,
}

impl Walk<'_> {
    fn field(&self, at: &str) -> Option<&FieldInfo> {
        self.info?.fields.iter().find(|field| pointer::names(&field.path, at))
    }

    fn value(&mut self, at: &str, desired: &Value, observed: Option<&Value>, last: Option<&Value>) {
        if !at.is_empty() && pointer::covered(self.ignore, at) {
            return;
        }
        let field = self.field(at);
        // How a resource is brought about is nothing that a target could show.
        if field.is_some_and(|field| field.roles.how) {
            return;
        }
        if field.is_some_and(|field| field.roles.content) {
            if !same_content(desired, observed) {
                self.differs(at, observed, Some(desired));
            }
            return;
        }
        if SecretRef::read(desired).is_some() {
            if observed != Some(desired) {
                self.differs(at, observed, Some(desired));
            }
            return;
        }
        let key = field.and_then(|field| field.list_key.clone());
        let owns_listed = field.is_some_and(|field| field.owns_listed);
        match (desired, observed) {
            (Value::Null, None | Some(Value::Null)) => {}
            (Value::Object(wanted), Some(seen @ Value::Object(_))) => {
                for (name, value) in wanted {
                    let last = last.and_then(|last| last.get(name));
                    self.value(&pointer::push(at, name), value, seen.get(name), last);
                }
                for name in last.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name) {
                    if owns_listed && !wanted.contains_key(name) {
                        self.gone(&pointer::push(at, name), seen.get(name));
                    }
                }
            }
            (Value::Array(wanted), Some(Value::Array(seen))) => {
                let keyed = key.as_deref().and_then(|key| Some((by_key(wanted, key)?, by_key(seen, key)?)));
                let last = last.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                match keyed {
                    Some((wanted, seen)) => {
                        let last = key.as_deref().and_then(|key| by_key(last, key)).unwrap_or_default();
                        self.keyed(at, &wanted, &seen, &last, owns_listed);
                    }
                    None if owns_listed => self.listed(at, wanted, seen, last),
                    None if same(desired, &Value::Array(seen.clone())) => {}
                    None => self.differs(at, observed, Some(desired)),
                }
            }
            (desired, Some(observed)) if same(desired, observed) => {}
            (desired, observed) => self.differs(at, observed, Some(desired)),
        }
    }

    fn keyed(&mut self, at: &str, wanted: &Keyed<'_>, seen: &Keyed<'_>, last: &Keyed<'_>, owns_listed: bool) {
        for (key, value) in wanted {
            self.value(&pointer::push(at, key), value, seen.get(key).copied(), last.get(key).copied());
        }
        for (key, value) in seen.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
            if !owns_listed || last.contains_key(key) {
                self.gone(&pointer::push(at, key), Some(value));
            }
        }
    }

    /// Others add to this list: it differs only where something listed is missing, or
    /// something that was listed before is still there.
    fn listed(&mut self, at: &str, wanted: &[Value], seen: &[Value], last: &[Value]) {
        let among = |list: &[Value], value: &Value| list.iter().any(|other| same(value, other));
        let goes = |value: &&Value| !among(wanted, value) && among(last, value);
        let stays: Vec<&Value> = seen.iter().filter(|value| !goes(value)).collect();
        let missing: Vec<&Value> = wanted.iter().filter(|value| !among(seen, value)).collect();
        if !missing.is_empty() || stays.len() < seen.len() {
            let after = stays.into_iter().chain(missing).cloned().collect();
            self.differs(at, Some(&Value::Array(seen.to_vec())), Some(&Value::Array(after)));
        }
    }

    /// Something that is there and is not to be.
    fn gone(&mut self, at: &str, seen: Option<&Value>) {
        if seen.is_some_and(|seen| !seen.is_null()) && !pointer::covered(self.ignore, at) {
            self.differs(at, seen, None);
        }
    }

    fn differs(&mut self, at: &str, before: Option<&Value>, after: Option<&Value>) {
        let show = |value: Option<&Value>| value.map(|value| withheld(value, at, self.info));
        let (shown_before, shown_after) = (show(before), show(after));
        let sensitive = shown_before.as_ref() != before || shown_after.as_ref() != after;
        self.out.push(FieldChange { path: at.to_owned(), before: shown_before, after: shown_after, sensitive });
    }
}

type Keyed<'a> = BTreeMap<String, &'a Value>;

/// Elements by key; `None` where one has no key or two have the same.
fn by_key<'a>(items: &'a [Value], key: &str) -> Option<Keyed<'a>> {
    let mut out = BTreeMap::new();
    for item in items {
        let name = match item.get(key)? {
            Value::String(text) => text.clone(),
            Value::Object(_) | Value::Array(_) | Value::Null => return None,
            scalar => scalar.to_string(),
        };
        if out.insert(name, item).is_some() {
            return None;
        }
    }
    Some(out)
}

/// Contents are told apart by digest; sizes follow from it.
fn same_content(desired: &Value, observed: Option<&Value>) -> bool {
    let Some(observed) = observed else { return desired.is_null() };
    match (desired.get("digest"), observed.get("digest")) {
        (Some(a), Some(b)) => a == b,
        _ => same(desired, observed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn info(fields: &Value) -> KindInfo {
        serde_json::from_value(json!({
            "name": "role", "doc": "", "schema": {}, "fields": fields, "holds_data": false,
            "whole_target": false, "settle_ms": 0, "triggers": [],
        }))
        .unwrap()
    }

    /// One line per field: `path: before -> after`.
    fn check(desired: &Value, observed: &Value, info: Option<&KindInfo>, ignore: &[&str]) -> Vec<String> {
        let ignore: Vec<String> = ignore.iter().map(ToString::to_string).collect();
        let show = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
        fields(desired, observed, info, &ignore)
            .iter()
            .map(|field| format!("{}: {} -> {}", field.path, show(&field.before), show(&field.after)))
            .collect()
    }

    #[test]
    fn what_is_absent_from_desired_is_unmanaged() {
        assert!(check(&json!({"a": 1}), &json!({"a": 1.0, "b": 2}), None, &[]).is_empty());
        assert_eq!(check(&json!({"a": {"x": 1, "y": 2}}), &json!({"a": {"x": 1}}), None, &[]), ["/a/y: nothing -> 2"]);
    }

    #[test]
    fn numbers_are_compared_by_value_and_exactly() {
        assert!(same(&json!(3), &json!(3.0)));
        assert!(!same(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)));
        assert!(!same(&json!(-1), &json!(u64::MAX)));
    }

    #[test]
    fn null_asks_for_absence() {
        assert!(check(&json!({"a": null}), &json!({}), None, &[]).is_empty());
        assert_eq!(check(&json!({"a": null}), &json!({"a": 1}), None, &[]), ["/a: 1 -> null"]);
    }

    #[test]
    fn defaults_stand_in_for_what_is_unsaid() {
        let info = info(&json!([{"path": "/mode", "roles": {}, "default": "0644"}]));
        assert_eq!(check(&json!({}), &json!({"mode": "0600"}), Some(&info), &[]), [r#"/mode: "0600" -> "0644""#]);
        assert!(check(&json!({}), &json!({"mode": "0600"}), Some(&info), &["/mode"]).is_empty());
    }

    #[test]
    fn keyed_lists_ignore_order_and_name_the_element() {
        let info = info(&json!([{"path": "/members", "roles": {}, "list_key": "name"}]));
        let desired = json!({"members": [{"name": "a", "role": "x"}, {"name": "b"}]});
        let observed = json!({"members": [{"name": "c"}, {"name": "b"}, {"name": "a", "role": "y"}]});
        assert_eq!(
            check(&desired, &observed, Some(&info), &[]),
            [r#"/members/a/role: "y" -> "x""#, r#"/members/c: {"name":"c"} -> nothing"#]
        );
    }

    #[test]
    fn a_shared_list_owns_what_it_lists() {
        let info = info(&json!([
            {"path": "/tags", "roles": {}, "owns_listed": true},
            {"path": "/members", "roles": {}, "owns_listed": true, "list_key": "name"},
        ]));
        let observed = json!({"tags": ["x", "a"], "members": [{"name": "other"}, {"name": "a", "n": 1}]});
        assert!(
            check(&json!({"tags": ["a"], "members": [{"name": "a", "n": 1}]}), &observed, Some(&info), &[]).is_empty()
        );
        assert_eq!(
            check(&json!({"tags": ["b", "a"]}), &observed, Some(&info), &[]),
            [r#"/tags: ["x","a"] -> ["x","a","b"]"#]
        );
    }

    #[test]
    fn what_a_shared_list_no_longer_lists_goes_and_nothing_else() {
        let info = info(&json!([
            {"path": "/tags", "roles": {}, "owns_listed": true},
            {"path": "/members", "roles": {}, "owns_listed": true, "list_key": "name"},
            {"path": "/rights", "roles": {}, "owns_listed": true},
            {"path": "/rights/*", "roles": {}, "owns_listed": true},
        ]));
        let last = json!({
            "tags": ["a", "b", "gone"], "members": [{"name": "a"}, {"name": "b"}],
            "rights": {"t": {"read": true, "write": true}, "u": {"read": true}, "v": {"read": true}}, "mode": 1,
        });
        let desired = json!({"tags": ["a"], "members": [{"name": "a"}], "rights": {"t": {"read": true}}});
        let observed = json!({
            "tags": ["x", "b", "a"], "members": [{"name": "other"}, {"name": "b"}, {"name": "a"}],
            "rights": {"t": {"read": true, "write": true, "others": true}, "u": {"read": true}, "w": {"read": true}},
            "mode": 1,
        });
        let paths = |last, ignore: &[String]| -> Vec<String> {
            let fields = fields_since(&desired, &observed, last, Some(&info), ignore);
            fields
                .iter()
                .map(|field| format!("{} {:?}", field.path, field.after.as_ref().map(Value::to_string)))
                .collect()
        };
        assert_eq!(
            paths(Some(&last), &[]),
            ["/members/b None", "/rights/t/write None", "/rights/u None", r#"/tags Some("[\"x\",\"a\"]")"#]
        );
        assert!(paths(None, &[]).is_empty(), "of what others put there nothing goes");
        assert_eq!(paths(Some(&last), &["/rights".to_owned(), "/tags".to_owned()]), ["/members/b None"]);
    }

    #[test]
    fn sensitive_values_are_never_shown_wherever_they_stand() {
        let info = info(&json!([
            {"path": "/password", "roles": {"sensitive": true}},
            {"path": "/members/*/key", "roles": {"sensitive": true}},
        ]));
        let lines = check(
            &json!({"password": "hunter2", "members": [{"key": "k1"}]}),
            &json!({"password": "hunter1", "members": [{"key": "k2"}, {"key": "k3"}]}),
            Some(&info),
            &[],
        )
        .join("\n");
        assert!(!lines.contains("hunter") && !lines.contains("k1") && !lines.contains("k3"), "{lines}");
        assert_eq!(lines.lines().count(), 2);
    }

    #[test]
    fn contents_differ_by_digest() {
        let info = info(&json!([{"path": "/content", "roles": {"content": true}}]));
        let content = |digest: &str, size: u32| json!({"content": {"digest": digest, "size": size}});
        assert!(check(&content("sha256:a", 1), &content("sha256:a", 2), Some(&info), &[]).is_empty());
        assert_eq!(check(&content("sha256:a", 1), &content("sha256:b", 1), Some(&info), &[]).len(), 1);
        assert_eq!(check(&content("sha256:a", 1), &json!({}), Some(&info), &[]).len(), 1);
    }
}
