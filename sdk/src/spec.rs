//! From a spec's JSON to a typed spec, with every unknown key found and a name offered for it.

use std::collections::BTreeMap;
use std::ops::Deref;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

use crate::error::{Diagnostic, nearest};

/// More unknown keys than this in one spec are not worth listing.
const MOST_UNKNOWN_KEYS: usize = 20;

/// Reads a typed spec.
///
/// # Errors
/// One remark for each unknown key, and one for the first thing that does not fit.
pub fn read<T: DeserializeOwned>(json: &str) -> Result<T, Vec<Diagnostic>> {
    let value = serde_json::from_str(json)
        .map_err(|error| vec![Diagnostic::error(format!("the spec is not JSON: {error}"))])?;
    read_value(value)
}

/// As [`read`], from a value.
///
/// # Errors
/// As [`read`].
pub fn read_value<T: DeserializeOwned>(mut value: Value) -> Result<T, Vec<Diagnostic>> {
    let mut found = Vec::new();
    // serde stops at the first unknown key. It is noted and taken out, and the rest is
    // read again, so that one look at the plan shows them all.
    while found.len() < MOST_UNKNOWN_KEYS {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(spec) if found.is_empty() => return Ok(spec),
            Ok(_) => return Err(found),
            Err(error) => error,
        };
        let message = error.inner().to_string();
        let at = pointer(error.path());
        if let Some(key) = quoted_after(&message, "unknown field ") {
            // Some deserializers count the key itself as part of the path.
            let parent = at.strip_suffix(&format!("/{}", escape(key))).unwrap_or(&at).to_owned();
            let removed = value
                .pointer_mut(&parent)
                .and_then(Value::as_object_mut)
                .is_some_and(|object| object.shift_remove(key).is_some());
            found.push(unknown_key(key, &parent, &message));
            if removed {
                continue;
            }
        } else {
            found.push(misfit(&message, &at));
        }
        return Err(found);
    }
    Err(found)
}

fn unknown_key(key: &str, parent: &str, message: &str) -> Diagnostic {
    let known: Vec<&str> =
        message.split_once("expected").map_or("", |(_, rest)| rest).split('`').skip(1).step_by(2).collect();
    let remark = Diagnostic::error(format!("unknown key `{key}`")).at(format!("{parent}/{}", escape(key)));
    match nearest(key, known.iter().copied()) {
        Some(name) => remark.hint(format!("did you mean `{name}`?")),
        None if known.is_empty() => remark,
        None => remark.hint(format!("the keys are {}", known.join(", "))),
    }
}

fn misfit(message: &str, at: &str) -> Diagnostic {
    if let Some(key) = quoted_after(message, "missing field ") {
        return Diagnostic::error(format!("`{key}` is missing")).at(format!("{at}/{}", escape(key)));
    }
    let remark = if let Some(word) = quoted_after(message, "unknown variant ") {
        let known = message.split_once("expected").map_or("", |(_, rest)| rest).split('`').skip(1).step_by(2);
        let remark = Diagnostic::error(message.to_owned());
        match nearest(word, known) {
            Some(name) => remark.hint(format!("did you mean `{name}`?")),
            None => remark,
        }
    } else {
        of_another_type(message).unwrap_or_else(|| Diagnostic::error(message.to_owned()))
    };
    if at.is_empty() { remark } else { remark.at(at) }
}

/// The whole numbers of a Rust type: the least and the greatest.
fn range(name: &str) -> Option<(i128, i128)> {
    let bits: u32 = name.trim_start_matches(['u', 'i']).parse().ok().filter(|bits| *bits <= 64)?;
    match name.split_at(1) {
        ("u", _) => Some((0, (1 << bits) - 1)),
        ("i", _) => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
        _ => None,
    }
}

/// A value of another type than is wanted, in the words of who writes YAML.
fn of_another_type(message: &str) -> Option<Diagnostic> {
    if let Some((found, wanted)) =
        message.strip_prefix("invalid value: ").and_then(|rest| rest.split_once(", expected "))
    {
        let (least, greatest) = range(wanted)?;
        let found = found.trim_start_matches("integer ").trim_matches('`');
        return Some(Diagnostic::error(format!("{found} is not a whole number from {least} to {greatest}")));
    }
    let (found, wanted) = message.strip_prefix("invalid type: ")?.split_once(", expected ")?;
    let number = ["u8", "u16", "u32", "u64", "usize", "i8", "i16", "i32", "i64", "isize"].contains(&wanted);
    let scalar = ["integer `", "boolean `", "floating point `"].iter().find_map(|kind| found.strip_prefix(kind));
    let text = found.strip_prefix("string \"").and_then(|rest| rest.strip_suffix('"'));
    let wanted = match wanted {
        _ if number => "a whole number",
        "a string" => "a text",
        "a sequence" => "a list",
        "a map" => "a mapping",
        other => other,
    };
    let remark = Diagnostic::error(format!("{found} is not {wanted}"));
    Some(match (scalar.and_then(|rest| rest.strip_suffix('`')), text) {
        (Some(value), _) if wanted == "a text" => remark.hint(format!("write it in quotes: \"{value}\"")),
        (_, Some(text)) if number && text.parse::<i64>().is_ok() => {
            remark.hint(format!("write it without quotes: {text}"))
        }
        _ => remark,
    })
}

/// The text between backticks that follows `prefix` at the start of a message.
fn quoted_after<'m>(message: &'m str, prefix: &str) -> Option<&'m str> {
    let rest = message.strip_prefix(prefix)?.strip_prefix('`')?;
    // A key may hold backticks itself: the list of expected names begins after `, `.
    let end = rest.find("`, ").or_else(|| rest.rfind('`'))?;
    Some(&rest[..end])
}

fn pointer(path: &Path) -> String {
    path.iter().fold(String::new(), |mut out, segment| {
        match segment {
            Segment::Seq { index } => out.push_str(&format!("/{index}")),
            Segment::Map { key } => out.push_str(&format!("/{}", escape(key))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
        out
    })
}

/// A key as a part of a JSON pointer.
#[must_use]
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A string that must hold `T`, checked by `T`'s own reading: for newtypes of specs.
///
/// # Errors
/// The deserializer's own, with the sentence that `parse` gave.
pub fn from_text<'de, D, T>(deserializer: D, parse: impl FnOnce(String) -> Result<T, String>) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
{
    parse(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// Names with options each: `[staff, admins]`, or `{ staff: {}, admins: { admin: true } }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent, bound = "K: Ord + Serialize, V: Serialize")]
pub struct Names<K, V>(
    /// The options by name.
    pub BTreeMap<K, V>,
);

impl<K, V> Deref for Names<K, V> {
    type Target = BTreeMap<K, V>;
    fn deref(&self) -> &BTreeMap<K, V> {
        &self.0
    }
}

impl<K, V> Default for Names<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, K: DeserializeOwned + Ord, V: DeserializeOwned> Deserialize<'de> for Names<K, V> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let map = match Value::deserialize(deserializer)? {
            Value::Array(names) => {
                let mut map = Map::new();
                for name in names {
                    let Value::String(name) = name else {
                        return Err(D::Error::custom(format!("{name} in a list of names")));
                    };
                    map.insert(name, Value::Object(Map::new()));
                }
                Value::Object(map)
            }
            other => other,
        };
        serde_json::from_value(map).map(Self).map_err(D::Error::custom)
    }
}

impl<K, V: JsonSchema> JsonSchema for Names<K, V> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("NamesWith{}", V::schema_name()).into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let options = generator.subschema_for::<V>();
        schemars::json_schema!({
            "anyOf": [
                { "type": "array", "items": { "type": "string" } },
                { "type": "object", "additionalProperties": options }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Spec {
        path: String,
        #[serde(default)]
        deep: Option<Deep>,
        #[serde(default)]
        how: How,
        #[serde(default)]
        size: u8,
    }
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Deep {
        colour: String,
    }
    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum How {
        #[default]
        Slow,
        Quick,
    }

    fn remarks(json: &str) -> Vec<(String, Option<String>, Option<String>)> {
        read::<Spec>(json).unwrap_err().into_iter().map(|d| (d.message, d.field, d.hint)).collect()
    }

    #[test]
    fn every_unknown_key_is_named_with_a_better_one() {
        let found = remarks(r#"{"path":"/a","paht":1,"deep":{"color":"red","colour":"red"},"zzzzzz":2}"#);
        let fields: Vec<_> = found.iter().map(|(_, field, _)| field.clone().unwrap()).collect();
        assert_eq!(fields.len(), 3, "{found:?}");
        for field in ["/paht", "/deep/color", "/zzzzzz"] {
            assert!(fields.iter().any(|found| found == field), "{field} in {found:?}");
        }
        assert!(found.iter().any(|(_, _, hint)| hint.as_deref() == Some("did you mean `path`?")), "{found:?}");
        assert!(found.iter().any(|(_, _, hint)| hint.as_deref() == Some("did you mean `colour`?")), "{found:?}");
        assert!(
            found.iter().any(|(_, _, hint)| hint.as_deref() == Some("the keys are path, deep, how, size")),
            "{found:?}"
        );
    }

    #[test]
    fn what_does_not_fit_is_placed() {
        assert_eq!(remarks("{}"), [("`path` is missing".into(), Some("/path".into()), None)]);
        assert_eq!(
            remarks(r#"{"path":"/a","deep":{}}"#),
            [("`colour` is missing".into(), Some("/deep/colour".into()), None)]
        );
        let found = remarks(r#"{"path":7}"#);
        assert_eq!(found[0].1.as_deref(), Some("/path"));
        assert_eq!(found[0].0, "integer `7` is not a text");
        assert_eq!(found[0].2.as_deref(), Some(r#"write it in quotes: "7""#));
        let found = remarks(r#"{"path":"/a","size":"7"}"#);
        assert_eq!(found[0].0, "string \"7\" is not a whole number");
        assert_eq!(found[0].2.as_deref(), Some("write it without quotes: 7"));
        let found = remarks(r#"{"path":"/a","size":300}"#);
        assert_eq!(found[0].0, "300 is not a whole number from 0 to 255");
        let found = remarks(r#"{"path":"/a","size":-1}"#);
        assert_eq!(found[0].0, "-1 is not a whole number from 0 to 255");
        assert_eq!(range("i16"), Some((-32_768, 32_767)));
        assert_eq!((range("usable"), range("u128"), range("6")), (None, None, None));
        let found = remarks(r#"{"path":{},"size":7}"#);
        assert_eq!((found[0].0.as_str(), found[0].2.as_deref()), ("map is not a text", None));
        let found = remarks(r#"{"path":"/a","how":"quik"}"#);
        assert_eq!((found[0].1.as_deref(), found[0].2.as_deref()), (Some("/how"), Some("did you mean `quick`?")));
    }

    #[test]
    fn hostile_keys_end_in_remarks() {
        assert_eq!(remarks("nonsense").len(), 1);
        assert_eq!(remarks(r#"{"path":"/a","a`, `b/~":1}"#).len(), 1);
        let many: String = (0..1000).map(|n| format!(r#""k{n}":1,"#)).collect();
        assert_eq!(remarks(&format!(r#"{{{many}"path":"/a"}}"#)).len(), MOST_UNKNOWN_KEYS);
    }

    #[test]
    fn names_are_a_list_or_have_options() {
        #[derive(Debug, Default, Deserialize, PartialEq)]
        #[serde(deny_unknown_fields, default)]
        struct Options {
            admin: bool,
        }
        let names = |json: &str| serde_json::from_str::<Names<String, Options>>(json).map(|names| names.0);
        let plain = names(r#"["b", "a", "b"]"#).unwrap();
        assert_eq!(plain.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(plain.values().all(|options| !options.admin));
        assert!(names(r#"{"a": {"admin": true}}"#).unwrap()["a"].admin);
        assert!(names("[1]").unwrap_err().to_string().contains("1 in a list of names"));
        assert!(names(r#"{"a": {"admn": true}}"#).unwrap_err().to_string().contains("admn"));
        assert!(names("\"a\"").is_err());
    }

    #[test]
    fn a_good_spec_is_read() {
        let spec: Spec = read(r#"{"path":"/a","how":"quick"}"#).unwrap();
        assert_eq!(spec, Spec { path: "/a".into(), deep: None, how: How::Quick, size: 0 });
    }
}
