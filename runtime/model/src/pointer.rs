//! JSON pointers (RFC 6901): the one place that knows how they are spelled and walked.
//!
//! Must not interpret what it finds: roles of fields are the business of whoever asks.

use serde_json::{Map, Value};

use crate::kind::covers;

/// Goes one step further down with a pointer.
pub fn step(pointer: &mut String, key: &str) {
    pointer.push('/');
    for c in key.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

/// A pointer one step further down.
#[must_use]
pub fn push(base: &str, key: &str) -> String {
    let mut out = String::with_capacity(base.len() + key.len() + 1);
    out.push_str(base);
    step(&mut out, key);
    out
}

/// Whether a pattern names exactly this pointer, not something above it.
#[must_use]
pub fn names(pattern: &str, pointer: &str) -> bool {
    depth(pattern) == depth(pointer) && covers(pattern, pointer)
}

/// Whether any of the patterns covers the pointer. An empty pattern covers nothing:
/// it would cover everything, which nobody means.
#[must_use]
pub fn covered(patterns: &[String], pointer: &str) -> bool {
    patterns.iter().any(|pattern| !pattern.is_empty() && covers(pattern, pointer))
}

fn depth(pointer: &str) -> usize {
    pointer.bytes().filter(|byte| *byte == b'/').count()
}

fn parts(pointer: &str) -> impl Iterator<Item = String> + '_ {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"))
}

/// Puts a value at a pointer. Objects on the way are made; a way through a list that
/// does not exist, or through a scalar, is left alone.
pub fn set(root: &mut Value, pointer: &str, value: Value) {
    let mut at = root;
    let mut parts = parts(pointer).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        at = match at {
            Value::Object(map) if last => {
                map.insert(part, value);
                return;
            }
            Value::Object(map) => map.entry(part).or_insert_with(|| Value::Object(Map::new())),
            Value::Array(items) => match part.parse::<usize>().ok().and_then(|i| items.get_mut(i)) {
                Some(item) => item,
                None => return,
            },
            _ => return,
        };
        if last {
            *at = value;
            return;
        }
    }
}

/// Takes away what is at a pointer into objects.
pub fn remove(root: &mut Value, pointer: &str) {
    let Some((parent, _)) = pointer.rsplit_once('/') else { return };
    let Some(last) = parts(pointer).last() else { return };
    if let Some(Value::Object(map)) = root.pointer_mut(parent) {
        map.shift_remove(&last);
    }
}

/// Concrete pointers of a value that a pattern names.
#[must_use]
pub fn matching(value: &Value, pattern: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for part in pattern.split('/').skip(1) {
        let mut next = Vec::new();
        for base in found {
            let Some(at) = value.pointer(&base) else { continue };
            match (part, at) {
                ("*", Value::Array(items)) => next.extend((0..items.len()).map(|i| push(&base, &i.to_string()))),
                ("*", Value::Object(map)) => next.extend(map.keys().map(|key| push(&base, key))),
                ("*", _) => {}
                (part, _) => {
                    let pointer = format!("{base}/{part}");
                    if value.pointer(&pointer).is_some() {
                        next.push(pointer);
                    }
                }
            }
        }
        found = next;
    }
    found
}

/// Pointers of all leaves. Lists and empty objects are leaves, and so is whatever
/// `whole` says is looked at in one piece.
#[must_use]
pub fn leaves(value: &Value, whole: &dyn Fn(&str) -> bool) -> Vec<String> {
    fn walk(value: &Value, at: String, whole: &dyn Fn(&str) -> bool, out: &mut Vec<String>) {
        match value {
            Value::Object(map) if at.is_empty() || (!map.is_empty() && !whole(&at)) => {
                for (key, value) in map {
                    walk(value, push(&at, key), whole, out);
                }
            }
            _ => out.push(at),
        }
    }
    let mut out = Vec::new();
    walk(value, String::new(), whole, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_put_and_taken_away() {
        let mut value = json!({"a": {"b/c": 1}, "list": [{"x": 1}]});
        set(&mut value, "/a/b~1c", json!(2));
        set(&mut value, "/new/deep", json!(true));
        set(&mut value, "/list/0/x", json!(9));
        set(&mut value, "/list/7/x", json!(9));
        remove(&mut value, "/a/b~1c");
        remove(&mut value, "/nowhere/x");
        assert_eq!(value, json!({"a": {}, "list": [{"x": 9}], "new": {"deep": true}}));
    }

    #[test]
    fn patterns_become_pointers() {
        let value = json!({"members": [{"p": 1}, {}, {"p": 2}], "o": {"a": 1}});
        assert_eq!(matching(&value, "/members/*/p"), ["/members/0/p", "/members/2/p"]);
        assert_eq!(matching(&value, "/o/*"), ["/o/a"]);
        assert!(matching(&value, "/none").is_empty());
        assert_eq!(matching(&json!({"a/b": {"c": 1}}), "/a~1b/c"), ["/a~1b/c"]);
    }

    #[test]
    fn an_empty_pattern_covers_nothing() {
        assert!(!covered(&[String::new()], "/mode"));
        assert!(names("/a/*", "/a/b") && !names("/a", "/a/b"));
    }

    #[test]
    fn keys_are_spelled_as_they_are_read() {
        let value = json!({"a~1/b": {"": 1}});
        assert_eq!(value.pointer(&push(&push("", "a~1/b"), "")), Some(&json!(1)));
        assert_eq!(leaves(&value, &|_| false), ["/a~01~1b/"]);
    }
}
