//! Values: files in layers. The last wins, maps merge, lists replace.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use tidelock_model::error::{Diagnostic, Place};
use tidelock_model::pointer;
use tidelock_model::port::Tree;
use tidelock_model::stack::{Stack, resolve};

use super::{stack, yaml};

/// Merged values, and which file set each of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layers {
    /// The merged values; an object.
    pub values: Value,
    /// The file that set the value at each JSON pointer; leaves only.
    pub set_by: BTreeMap<String, String>,
    /// The files that were read, from the root.
    pub files: Vec<String>,
    /// What files said and a later one took back, by pointer, the later words first.
    pub overridden: Vec<Overridden>,
}

/// A value that a file gave and a later file replaced.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overridden {
    /// JSON pointer.
    pub pointer: String,
    /// What the file said.
    pub value: Value,
    /// The file that said it.
    pub file: String,
    /// The file whose word counts.
    pub by: String,
}

/// Puts `upper` over `lower`: maps merge, everything else is replaced.
pub fn merge(lower: &mut Value, upper: Value) {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) => {
            for (key, value) in upper {
                match lower.get_mut(&key) {
                    Some(place) => merge(place, value),
                    None => {
                        lower.insert(key, value);
                    }
                }
            }
        }
        (lower, upper) => *lower = upper,
    }
}

/// Reads and merges the values files of a stack for a target.
///
/// # Errors
/// A file that must be there is not, or cannot be read.
pub fn layers(tree: &dyn Tree, owner: &Stack, target: &str) -> Result<Layers, Vec<Diagnostic>> {
    let mut layers = Layers { values: Value::Object(Map::new()), ..Layers::default() };
    let mut problems = Vec::new();
    let place = || {
        let dir = &owner.dir;
        Some(Place::file(if dir.is_empty() { stack::FILE.to_owned() } else { format!("{dir}/{}", stack::FILE) }))
    };
    let mut said = Vec::new();
    for (i, path) in owner.decl.values.iter().enumerate() {
        let may_be_missing = path.ends_with('?');
        let path = resolve(&owner.dir, &path.trim_end_matches('?').replace("{target}", target));
        let bytes = match tree.read(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) if may_be_missing => continue,
            Ok(None) => {
                problems.push(
                    Diagnostic::error(format!("the values file {path} does not exist"), place())
                        .at(format!("/values/{i}"))
                        .hint(format!("add it, or write `{path}?` if it may be missing")),
                );
                continue;
            }
            Err(error) => {
                problems.push(Diagnostic::error(error.message, Some(Place::file(path))));
                continue;
            }
        };
        let Ok(text) = String::from_utf8(bytes) else {
            problems.push(Diagnostic::error("the file is not UTF-8", Some(Place::file(path))));
            continue;
        };
        match yaml::value(&text, &path) {
            Ok(Value::Null) => layers.files.push(path),
            Ok(Value::Object(map)) => {
                note(&Value::Object(map.clone()), &path, &mut String::new(), &mut layers.set_by);
                said.push((path.clone(), Value::Object(map.clone())));
                merge(&mut layers.values, Value::Object(map));
                layers.files.push(path);
            }
            Ok(_) => problems.push(Diagnostic::error("a values file must hold a map", Some(Place::file(path)))),
            Err(problem) => problems.push(problem),
        }
    }
    layers.overridden = overridden(&said, &layers.set_by);
    if problems.is_empty() { Ok(layers) } else { Err(problems) }
}

/// What files said, first to last, and does not count in the end.
fn overridden(said: &[(String, Value)], set_by: &BTreeMap<String, String>) -> Vec<Overridden> {
    let mut all = Vec::new();
    for (i, (file, value)) in said.iter().enumerate() {
        let later = &said[i + 1..];
        for (pointer, value) in leaves(value) {
            // The last one that says something there, above, or (a map over a leaf) below.
            let replaces = |upper: &Value| replaces(upper, &pointer, value);
            let Some((by, _)) = later.iter().rev().find(|(_, upper)| replaces(upper)) else { continue };
            let by = set_by.get(&pointer).unwrap_or(by).clone();
            all.push((pointer, i, Overridden { pointer: String::new(), value: value.clone(), file: file.clone(), by }));
        }
    }
    all.sort_by(|a, b| (&a.0, b.1).cmp(&(&b.0, a.1)));
    all.into_iter().map(|(pointer, _, one)| Overridden { pointer, ..one }).collect()
}

/// Whether a file that comes later takes back a leaf, as [`merge`] does.
fn replaces(upper: &Value, pointer: &str, leaf: &Value) -> bool {
    for (at, _) in pointer.match_indices('/').skip(1).chain([(pointer.len(), "")]) {
        match upper.pointer(&pointer[..at]) {
            Some(there) if there.is_object() => {}
            there => return there.is_some(),
        }
    }
    // Both are maps: they merge. A map over anything else replaces it.
    !leaf.is_object()
}

/// The leaves of a map with their pointers; a map without keys is one.
fn leaves(value: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), value)];
    while let Some((pointer, value)) = open.pop() {
        match value {
            Value::Object(map) if !map.is_empty() => {
                let below = map.iter().map(|(key, value)| (pointer::push(&pointer, key), value));
                open.extend(below);
            }
            Value::Object(_) if pointer.is_empty() => {}
            leaf => found.push((pointer, leaf)),
        }
    }
    found
}

/// Notes which file set each leaf, as [`merge`] lets it win.
fn note(value: &Value, file: &str, pointer: &mut String, set_by: &mut BTreeMap<String, String>) {
    // Below a pointer lies what starts with it and a slash; `0` is the character after `/`.
    let below = format!("{pointer}/")..format!("{pointer}0");
    if let Value::Object(map) = value {
        if map.is_empty() && (pointer.is_empty() || set_by.range(below).next().is_some()) {
            // An empty map over a map changes nothing.
            return;
        }
        if !map.is_empty() {
            // A map over a leaf takes the leaf away.
            set_by.remove(pointer.as_str());
            for (key, value) in map {
                let length = pointer.len();
                pointer::step(pointer, key);
                note(value, file, pointer, set_by);
                pointer.truncate(length);
            }
            return;
        }
    } else {
        let gone: Vec<String> = set_by.range(below).map(|(known, _)| known.clone()).collect();
        for known in gone {
            set_by.remove(&known);
        }
    }
    set_by.insert(pointer.clone(), file.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn maps_merge_and_lists_replace() {
        let mut lower = json!({"a": {"x": 1, "y": 2}, "l": [1, 2], "s": "t"});
        merge(&mut lower, json!({"a": {"y": 3}, "l": [9], "s": {"deep": true}}));
        assert_eq!(lower, json!({"a": {"x": 1, "y": 3}, "l": [9], "s": {"deep": true}}));
    }

    #[test]
    fn the_last_file_to_set_a_leaf_is_remembered() {
        let mut set_by = BTreeMap::new();
        note(&json!({"a": {"x": 1, "y": 2}}), "one", &mut String::new(), &mut set_by);
        note(&json!({"a": {"y": 3}}), "two", &mut String::new(), &mut set_by);
        assert_eq!(set_by["/a/x"], "one");
        assert_eq!(set_by["/a/y"], "two");
        note(&json!({"a": 5}), "three", &mut String::new(), &mut set_by);
        assert_eq!(set_by.keys().collect::<Vec<_>>(), ["/a"]);
        note(&json!({"a": {"b": 1}, "a0": 1}), "four", &mut String::new(), &mut set_by);
        note(&json!({"a": {}}), "five", &mut String::new(), &mut set_by);
        note(&json!({}), "six", &mut String::new(), &mut set_by);
        assert_eq!(set_by.iter().map(|(k, v)| format!("{k} {v}")).collect::<Vec<_>>(), ["/a/b four", "/a0 four"]);
    }

    #[test]
    fn what_a_later_file_took_back_is_told() {
        let said = [
            ("common".to_owned(), json!({"port": 80, "tls": {"cert": "a", "key": "k"}, "on": true, "map": {}})),
            ("prod".to_owned(), json!({"port": 8080, "tls": {"cert": "b"}, "on": {"since": 1}, "map": {"x": 1}})),
            ("host".to_owned(), json!({"port": 9090, "tls": {}})),
        ];
        let mut set_by = BTreeMap::new();
        said.iter().for_each(|(file, value)| note(value, file, &mut String::new(), &mut set_by));
        let told: Vec<String> = overridden(&said, &set_by)
            .iter()
            .map(|one| format!("{} {} {} {}", one.pointer, one.value, one.file, one.by))
            .collect();
        assert_eq!(
            told,
            ["/on true common prod", "/port 8080 prod host", "/port 80 common host", "/tls/cert \"a\" common prod"]
        );
        let said = [said[0].clone(), ("flat".to_owned(), json!({"tls": false}))];
        let set_by = [("/tls".to_owned(), "flat".to_owned())].into();
        let told = overridden(&said, &set_by);
        assert_eq!(told.iter().map(|one| one.pointer.as_str()).collect::<Vec<_>>(), ["/tls/cert", "/tls/key"]);
    }
}
