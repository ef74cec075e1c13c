//! Contents: what `$file`, a string or base64 stands for. A plugin sees digest and
//! size only; the bytes go from Git to the target without passing a guest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Value, json};
use tidelock_model::desired::text_under;
use tidelock_model::digest::Digest;
use tidelock_model::effect::EffectBody;
use tidelock_model::error::{Blame, Diagnostic, Fault, Place};
use tidelock_model::kind::{KindInfo, covers};
use tidelock_model::plan::Plan;
use tidelock_model::pointer;
use tidelock_model::port::{Blobs, Store, Tree};
use tidelock_model::secret::{self, SecretName, SecretRef, SecretValue};
use tidelock_model::stack::resolve;

use crate::read::nearest;
use crate::secrets;

/// The key of a content that is joined from several.
const PARTS: &str = "$parts";
const CONTENT: &str =
    "a content is a string, { $file: path }, { base64: text }, { $secret: name } or { $parts: [...] } of these";

/// Where a content is found.
#[derive(Clone)]
enum Origin {
    Inline(Arc<[u8]>),
    /// Made of secrets.
    Secret(SecretValue),
    /// A path in the files of its lane's revision.
    File(Arc<dyn Tree>, String),
}

/// The contents that a lane's resources name, by digest.
#[derive(Clone)]
pub(crate) struct BlobSet {
    tree: Arc<dyn Tree>,
    store: Arc<dyn Store>,
    origins: HashMap<Digest, Origin>,
    secrets: BTreeMap<SecretName, SecretValue>,
}

impl BlobSet {
    pub(crate) fn new(tree: Arc<dyn Tree>, store: Arc<dyn Store>) -> Self {
        Self { tree, store, origins: HashMap::new(), secrets: BTreeMap::new() }
    }

    /// Takes the contents of another lane of the same source in.
    pub(crate) fn extend(&mut self, other: BlobSet) {
        self.origins.extend(other.origins);
        self.secrets.extend(other.secrets);
    }

    /// Takes in what providers wrote themselves: texts that stand in what their resources are to
    /// be, under the paths of their files.
    pub(crate) fn take_texts(&mut self, plan: &Plan) {
        let after: HashMap<_, _> = plan
            .changes
            .iter()
            .filter_map(|change| Some(((change.address.lane(), &change.address.resource), change.after.as_ref()?)))
            .collect();
        for group in &plan.groups {
            for effect in group.effects.iter().map(|planned| &planned.effect) {
                let EffectBody::PutFile { path, content, .. } = &effect.body else { continue };
                if self.origins.contains_key(content) {
                    continue;
                }
                let after = after.get(&(group.lane.clone(), &effect.resource));
                let text = after.and_then(|after| text_under(after, path));
                if let Some(text) = text.filter(|text| Digest::of(text.as_bytes()) == *content) {
                    self.origins.insert(*content, Origin::Inline(text.as_bytes().into()));
                }
            }
        }
    }

    /// Takes in that a content is made of a secret that is not known here: nothing is shown of it.
    pub(crate) fn stand_in(&mut self, content: &Value) {
        let digest = content.get("digest").and_then(Value::as_str).and_then(|digest| digest.parse().ok());
        if let Some(digest) = digest {
            self.origins.entry(digest).or_insert_with(|| Origin::Secret(SecretValue::new(vec![])));
        }
    }

    /// Keeps the value of a secret for as long as the pass lasts.
    pub(crate) fn keep_secret(&mut self, name: SecretName, value: SecretValue) {
        self.secrets.insert(name, value);
    }

    /// The value of a secret that was read.
    pub(crate) fn value(&self, name: &SecretName) -> Option<&SecretValue> {
        self.secrets.get(name)
    }

    /// Replaces the contents in a spec, and gives back which of them hold secrets, each with a
    /// digest of how it is made.
    ///
    /// # Errors
    /// Every content that cannot be had, with its field.
    pub(crate) fn replace(
        &mut self,
        spec: &mut Value,
        info: &KindInfo,
        place: &Place,
    ) -> Result<BTreeMap<String, Digest>, Vec<Diagnostic>> {
        let dir = place.file.rsplit_once('/').map_or("", |(dir, _)| dir);
        let mut problems: Vec<Diagnostic> = Vec::new();
        let mut withheld = BTreeMap::new();
        for field in info.fields.iter().filter(|field| field.roles.content) {
            for pointer in pointer::matching(spec, &field.path) {
                let Some(value) = spec.pointer_mut(&pointer) else { continue };
                let recipe = (!secret::refs(value).is_empty()).then(|| Digest::of_json(&secret::without_macs(value)));
                match self.resolve(value, dir) {
                    Ok((digest, size)) => {
                        *value = json!({ "digest": digest, "size": size });
                        withheld.extend(recipe.map(|recipe| (pointer, recipe)));
                    }
                    Err(message) => {
                        problems.push(Diagnostic::error(message, Some(place.clone())).at(format!("/spec{pointer}")));
                    }
                }
            }
        }
        for (pointer, secret) in secret::refs(spec) {
            if !info.fields.iter().any(|field| field.roles.sensitive && covers(&field.path, &pointer)) {
                let problem = match misspelt(info, &pointer) {
                    Some((key, meant)) => Diagnostic::error(format!("unknown key `{key}`"), Some(place.clone()))
                        .hint(format!("did you mean `{meant}`?")),
                    None => {
                        let message = format!(
                            "the secret {} may only stand in a field that takes secrets or holds contents",
                            secret.name
                        );
                        Diagnostic::error(message, Some(place.clone()))
                    }
                };
                problems.push(problem.at(format!("/spec{pointer}")));
            }
        }
        for field in info.fields.iter().filter(|field| field.roles.text) {
            for pointer in pointer::matching(spec, &field.path) {
                let Some(value) = spec.pointer_mut(&pointer) else { continue };
                match self.text(value, dir) {
                    Ok(Some(text)) => *value = Value::String(text),
                    Ok(None) => {}
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
                _ => "keys that start with `$` are reserved; `$ref` is not served by this version",
            };
            problems.push(Diagnostic::error(message, Some(place.clone())).at(pointer));
        }
        if problems.is_empty() { Ok(withheld) } else { Err(problems) }
    }

    /// The text of the file that a value names; `None` where it names none.
    fn text(&self, value: &Value, dir: &str) -> Result<Option<String>, String> {
        let Some(path) = file_of(value, dir) else { return Ok(None) };
        match self.tree.read(&path) {
            Ok(Some(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(format!("the file {path} is no text")),
            },
            Ok(None) => Err(format!("the file {path} does not exist in the source")),
            Err(error) => Err(error.message),
        }
    }

    fn resolve(&mut self, value: &Value, dir: &str) -> Result<(Digest, u64), String> {
        let inline = |set: &mut Self, bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            let size = bytes.len() as u64;
            set.origins.insert(digest, Origin::Inline(bytes.into()));
            Ok((digest, size))
        };
        if !secret::refs(value).is_empty() {
            let bytes = self.joined(value, dir)?;
            let (digest, size) = secrets::content(&bytes);
            self.origins.insert(digest, Origin::Secret(bytes));
            return Ok((digest, size));
        }
        match value {
            Value::String(text) => inline(self, text.clone().into_bytes()),
            Value::Object(map) if map.len() == 1 && map.contains_key(PARTS) => {
                let bytes = self.joined(value, dir)?;
                inline(self, bytes.reveal().to_vec())
            }
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
                _ => Err(CONTENT.to_owned()),
            },
            _ => Err(CONTENT.to_owned()),
        }
    }

    /// The bytes of a content that is made of parts or of a secret.
    fn joined(&mut self, value: &Value, dir: &str) -> Result<SecretValue, String> {
        if let Some(secret) = SecretRef::read(value) {
            return Ok(match self.secrets.get(&secret.name) {
                Some(value) => value.clone(),
                // Nobody may know it here: what would be written stands for itself.
                None => SecretValue::new(secret.shown().into_bytes()),
            });
        }
        match value {
            Value::Object(map) if map.len() == 1 => match map.get(PARTS) {
                Some(Value::Array(parts)) => {
                    let mut bytes = Vec::new();
                    for part in parts {
                        bytes.extend_from_slice(self.joined(part, dir)?.reveal());
                    }
                    Ok(SecretValue::new(bytes))
                }
                _ => {
                    let (digest, _) = self.resolve(value, dir)?;
                    self.read(&digest).map(SecretValue::new).map_err(|fault| fault.message)
                }
            },
            Value::String(text) => Ok(SecretValue::new(text.clone().into_bytes())),
            _ => Err(CONTENT.to_owned()),
        }
    }
}

/// A key that a kind does not know and that holds a secret, and which of those beside it that take
/// one was likely meant.
fn misspelt<'a>(info: &'a KindInfo, pointer: &'a str) -> Option<(&'a str, &'a str)> {
    let (within, key) = pointer.rsplit_once('/')?;
    let is_known = |key: &str| info.schema.pointer("/properties").is_some_and(|known| known.get(key).is_some());
    if within.is_empty() && is_known(key) {
        return None;
    }
    let beside = info.fields.iter().filter(|field| field.roles.sensitive).filter_map(|field| {
        let (parent, name) = field.path.rsplit_once('/')?;
        let level = parent.matches('/').count() == within.matches('/').count();
        (level && (parent.is_empty() || covers(parent, within))).then_some(name)
    });
    Some((key, nearest(key, beside)?))
}

/// The path of the file that a value names, from the root of the source.
fn file_of(value: &Value, dir: &str) -> Option<String> {
    let path = value.as_object().filter(|map| map.len() == 1)?.get("$file")?.as_str()?;
    Some(resolve(dir, path))
}

/// The files that texts in a spec come from, by field, before [`BlobSet::replace`] puts them in.
pub(crate) fn text_files(spec: &Value, info: &KindInfo, place: &Place) -> BTreeMap<String, String> {
    let dir = place.file.rsplit_once('/').map_or("", |(dir, _)| dir);
    let texts = info.fields.iter().filter(|field| field.roles.text);
    let fields = texts.flat_map(|field| pointer::matching(spec, &field.path));
    fields
        .filter_map(|field| Some((file_of(spec.pointer(&field)?, dir)?, field)))
        .map(|(file, at)| (at, file))
        .collect()
}

impl Blobs for BlobSet {
    fn secret(&self, name: &SecretName) -> Result<SecretValue, Fault> {
        let unknown =
            || Fault::new("not-found", Blame::Host, format!("no resource of this pass names the secret {name}"));
        self.secrets.get(name).cloned().ok_or_else(unknown)
    }

    fn is_secret(&self, digest: &Digest) -> bool {
        matches!(self.origins.get(digest), Some(Origin::Secret(_)))
    }

    fn read(&self, digest: &Digest) -> Result<Vec<u8>, Fault> {
        let missing = |why: String| Fault::new("not-found", Blame::Host, format!("content {digest}: {why}"));
        match self.origins.get(digest) {
            Some(Origin::Inline(bytes)) => Ok(bytes.to_vec()),
            Some(Origin::Secret(value)) => Ok(value.reveal().to_vec()),
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

fn reserved(value: &Value, pointer: &mut String, found: &mut Vec<(String, String)>) {
    let mut step = |part: &str, value: &Value| {
        let length = pointer.len();
        pointer::step(pointer, part);
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
            if SecretRef::read(value).is_some() {
                return;
            }
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
    fn dollar_keys_are_found_wherever_they_hide() {
        let mut found = Vec::new();
        reserved(&json!({"a": [{"$secret": "x"}]}), &mut String::new(), &mut found);
        assert_eq!(found, [("/a/0".to_owned(), "$secret".to_owned())]);
        found.clear();
        reserved(&json!({"a/b": {"$ref": "x"}}), &mut String::new(), &mut found);
        assert_eq!(found, [("/a~1b".to_owned(), "$ref".to_owned())]);
    }

    #[test]
    fn a_file_is_meant_from_where_its_resource_stands() {
        let of = |value: Value| file_of(&value, "net/edge");
        assert_eq!(of(json!({"$file": "filter.nft"})).as_deref(), Some("net/edge/filter.nft"));
        assert_eq!(of(json!({"$file": "/shared/a.nft"})).as_deref(), Some("shared/a.nft"));
        assert_eq!((of(json!("text")), of(json!({"$file": "a", "b": 1}))), (None, None));
    }
}
