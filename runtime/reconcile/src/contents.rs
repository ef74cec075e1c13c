//! Contents: what `$file`, a string or base64 stands for. A plugin sees digest and
//! size only; the bytes go from Git to the target without passing a guest.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Value, json};
use tidelock_model::digest::Digest;
use tidelock_model::error::{Blame, Diagnostic, Fault, Place};
use tidelock_model::kind::KindInfo;
use tidelock_model::port::{Blobs, Store, Tree};
use tidelock_model::stack::resolve;

/// Where a content is found.
#[derive(Clone)]
enum Origin {
    Inline(Arc<[u8]>),
    /// A path in the files of its lane's revision.
    File(Arc<dyn Tree>, String),
}

/// The contents that a lane's resources name, by digest.
#[derive(Clone)]
pub(crate) struct BlobSet {
    tree: Arc<dyn Tree>,
    store: Arc<dyn Store>,
    origins: HashMap<Digest, Origin>,
}

impl BlobSet {
    pub(crate) fn new(tree: Arc<dyn Tree>, store: Arc<dyn Store>) -> Self {
        Self { tree, store, origins: HashMap::new() }
    }

    /// Takes the contents of another lane of the same source in.
    pub(crate) fn extend(&mut self, other: BlobSet) {
        self.origins.extend(other.origins);
    }

    /// Replaces the contents in a spec. `dir` is the directory of the file that holds it.
    ///
    /// # Errors
    /// Every content that cannot be had, with its field.
    pub(crate) fn replace(&mut self, spec: &mut Value, info: &KindInfo, place: &Place) -> Result<(), Vec<Diagnostic>> {
        let dir = place.file.rsplit_once('/').map_or("", |(dir, _)| dir);
        let mut problems: Vec<Diagnostic> = Vec::new();
        for field in info.fields.iter().filter(|field| field.roles.content) {
            for pointer in expand(spec, &field.path) {
                let Some(value) = spec.pointer_mut(&pointer) else { continue };
                match self.resolve(value, dir) {
                    Ok((digest, size)) => *value = json!({ "digest": digest, "size": size }),
                    Err(message) => {
                        problems.push(Diagnostic::error(message, Some(place.clone())).at(format!("/spec{pointer}")));
                    }
                }
            }
        }
        let mut stray = Vec::new();
        reserved(spec, &mut String::from("/spec"), &mut stray);
        // What could not be resolved is named already.
        stray.retain(|(pointer, _)| !problems.iter().any(|problem| problem.field.as_ref() == Some(pointer)));
        for (pointer, key) in stray {
            let message = match key.as_str() {
                "$file" => "`$file` may only stand in a field that holds contents",
                "$template" => "`$template` is for the renderer jinja; this stack has another",
                _ => "keys that start with `$` are reserved; `$secret` and `$ref` are not served by this version",
            };
            problems.push(Diagnostic::error(message, Some(place.clone())).at(pointer));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn resolve(&mut self, value: &Value, dir: &str) -> Result<(Digest, u64), String> {
        let inline = |set: &mut Self, bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            let size = bytes.len() as u64;
            set.origins.insert(digest, Origin::Inline(bytes.into()));
            Ok((digest, size))
        };
        match value {
            Value::String(text) => inline(self, text.clone().into_bytes()),
            Value::Object(map) if map.len() == 1 => match map.iter().next() {
                Some((key, Value::String(path))) if key == "$file" => {
                    let path = resolve(dir, path);
                    match self.tree.digest(&path) {
                        Ok(Some((digest, size))) => {
                            self.origins.insert(digest, Origin::File(self.tree.clone(), path));
                            Ok((digest, size))
                        }
                        Ok(None) => Err(format!("the file {path} does not exist in the source")),
                        Err(error) => Err(error.message),
                    }
                }
                Some((key, Value::String(text))) if key == "base64" => {
                    let text: String = text.split_ascii_whitespace().collect();
                    let bytes = base64::engine::general_purpose::STANDARD
                        .decode(text)
                        .map_err(|error| format!("this is not base64: {error}"))?;
                    inline(self, bytes)
                }
                Some((key, _)) if key == "$template" => {
                    Err("`$template` is for the renderer jinja; this stack has another".to_owned())
                }
                Some((key, _)) if key == "$secret" => Err("`$secret` is not served by this version".to_owned()),
                _ => Err("a content is a string, { $file: path } or { base64: text }".to_owned()),
            },
            _ => Err("a content is a string, { $file: path } or { base64: text }".to_owned()),
        }
    }
}

impl Blobs for BlobSet {
    fn read(&self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        let missing = |why: String| Fault::new("not-found", Blame::Host, format!("content {digest}: {why}"));
        match self.origins.get(digest) {
            Some(Origin::Inline(bytes)) => Ok(bytes.to_vec()),
            Some(Origin::File(tree, path)) => match tree.read(path) {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => Err(missing(format!("{path} is gone from the source"))),
                Err(error) => Err(missing(error.message)),
            },
            None => match self.store.blob(digest) {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => Err(missing("not known".to_owned())),
                Err(error) => Err(missing(error.message)),
            },
        }
    }
}

/// The pointers of a spec that a field's pattern stands for.
pub(crate) fn expand(spec: &Value, pattern: &str) -> Vec<String> {
    let mut found = vec![(String::new(), spec)];
    for part in pattern.split('/').skip(1) {
        let mut next = Vec::new();
        for (pointer, value) in found {
            match (part, value) {
                ("*", Value::Array(items)) => {
                    next.extend(items.iter().enumerate().map(|(i, item)| (format!("{pointer}/{i}"), item)));
                }
                (key, Value::Object(map)) => {
                    let plain = key.replace("~1", "/").replace("~0", "~");
                    next.extend(map.get(&plain).map(|value| (format!("{pointer}/{key}"), value)));
                }
                _ => {}
            }
        }
        found = next;
    }
    found.into_iter().map(|(pointer, _)| pointer).collect()
}

fn reserved(value: &Value, pointer: &mut String, found: &mut Vec<(String, String)>) {
    let mut step = |part: &str, value: &Value| {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(part);
        reserved(value, pointer, found);
        pointer.truncate(length);
    };
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                step(&i.to_string(), item);
            }
        }
        Value::Object(map) => {
            let keys: Vec<&String> = map.keys().filter(|key| key.starts_with('$')).collect();
            for (key, value) in map.iter().filter(|(key, _)| !key.starts_with('$')) {
                step(key, value);
            }
            found.extend(keys.into_iter().map(|key| (pointer.clone(), key.clone())));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_their_pointers() {
        let spec = json!({"files": [{"content": 1}, {"other": 2}, {"content": 3}], "content": 4});
        assert_eq!(expand(&spec, "/content"), ["/content"]);
        assert_eq!(expand(&spec, "/files/*/content"), ["/files/0/content", "/files/2/content"]);
        assert_eq!(expand(&spec, "/none"), Vec::<String>::new());
    }

    #[test]
    fn dollar_keys_are_found_wherever_they_hide() {
        let mut found = Vec::new();
        reserved(&json!({"a": [{"$secret": "x"}]}), &mut String::new(), &mut found);
        assert_eq!(found, [("/a/0".to_owned(), "$secret".to_owned())]);
    }
}
