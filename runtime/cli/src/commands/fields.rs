//! What may be written, told from the JSON Schema that a plugin carries: each field with its
//! type in words, whether it is required, what it is without being said, and what it means.

use serde_json::{Value, json};
use tidelock_model::error::tame;
use tidelock_model::kind::{FieldInfo, Roles};

use crate::output::one_line;

/// Fields in fields that are told; a schema may lead back into itself.
const DEEPEST: usize = 4;
/// A schema is a plugin's word; more fields than these help nobody.
const MOST: usize = 500;
/// Bytes of a paragraph that are shown.
const LONGEST: usize = 4000;
/// Columns of a paragraph.
const WIDTH: usize = 100;

/// Of a reference that leads nowhere.
static NOTHING: Value = Value::Null;

/// One field.
pub(super) struct Field {
    /// Where it is: `hops[].via` of each in a list, `peers.*.endpoint` of each by its name.
    name: String,
    /// What may stand there, in words.
    what: String,
    required: bool,
    default: Option<Value>,
    doc: String,
    roles: Roles,
}

impl Field {
    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name, "type": self.what, "required": self.required, "default": self.default,
            "doc": self.doc, "roles": self.roles,
        })
    }

    /// Two lines or more, two columns in.
    pub(super) fn text(&self) -> String {
        let mut said = one_line(&self.what).to_string();
        match &self.default {
            _ if self.required => said.push_str(", required"),
            Some(default) => said.push_str(&format!(", default {}", one_line(&default.to_string()))),
            None => {}
        }
        if self.roles.immutable {
            said.push_str("; a new value needs a new resource");
        }
        if self.roles.sensitive {
            said.push_str("; never shown");
        }
        format!("    {}: {said}\n{}", one_line(&self.name), paragraph(&self.doc, 8))
    }
}

/// All fields of a schema, those within others behind them; `special` says more of some.
pub(super) fn of(schema: &Value, special: &[FieldInfo]) -> Vec<Field> {
    let mut walk = Walk { root: schema, special, found: Vec::new() };
    walk.object(schema, "", "", 0);
    walk.found
}

struct Walk<'s> {
    root: &'s Value,
    special: &'s [FieldInfo],
    found: Vec<Field>,
}

impl<'s> Walk<'s> {
    fn object(&mut self, schema: &'s Value, before: &str, pointer: &str, depth: usize) {
        let Some(properties) = schema["properties"].as_object() else { return };
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, property) in properties {
            if self.found.len() >= MOST {
                return;
            }
            let (name, pointer) = (format!("{before}{key}"), format!("{pointer}/{key}"));
            let inner = self.plain(property);
            let info = self.special.iter().find(|info| info.path == pointer);
            let doc = [property, inner].iter().find_map(|schema| schema["description"].as_str());
            let default = property.get("default").filter(|default| !default.is_null());
            self.found.push(Field {
                what: self.what(property, 0),
                required: required.contains(&key.as_str()),
                default: default.or(info.and_then(|info| info.default.as_ref())).cloned(),
                doc: doc.unwrap_or_default().to_owned(),
                roles: info.map(|info| info.roles).unwrap_or_default(),
                name: name.clone(),
            });
            if depth < DEEPEST && !is_word(inner) {
                let (each, of_map) = (self.plain(&inner["items"]), self.plain(&inner["additionalProperties"]));
                self.object(inner, &format!("{name}."), &pointer, depth + 1);
                self.object(each, &format!("{name}[]."), &format!("{pointer}/*"), depth + 1);
                self.object(of_map, &format!("{name}.*."), &format!("{pointer}/*"), depth + 1);
            }
        }
    }

    /// The schema behind references, and behind "or nothing".
    fn plain(&self, mut schema: &'s Value) -> &'s Value {
        for _ in 0..=DEEPEST {
            if let Some(at) = schema["$ref"].as_str().and_then(|at| at.strip_prefix('#')) {
                schema = self.root.pointer(at).unwrap_or(&NOTHING);
                continue;
            }
            match alternatives(schema)[..] {
                [only] => schema = only,
                _ => break,
            }
        }
        schema
    }

    fn what(&self, schema: &'s Value, depth: usize) -> String {
        if depth > DEEPEST {
            return "anything".to_owned();
        }
        let schema = self.plain(schema);
        if let Some(only) = schema.get("const") {
            return word(only);
        }
        if let Some(words) = schema["enum"].as_array() {
            let words: Vec<String> = words.iter().filter(|word| !word.is_null()).map(word).collect();
            return format!("one of {}", words.join(", "));
        }
        let each = alternatives(schema);
        if !each.is_empty() {
            let mut words: Vec<String> = each.iter().map(|schema| self.what(schema, depth + 1)).collect();
            words.dedup();
            let constant = each.iter().all(|schema| self.plain(schema).get("const").is_some());
            return if constant { format!("one of {}", words.join(", ")) } else { words.join(" or ") };
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
            name => name.as_str().into_iter().collect(),
        };
        let words: Vec<String> = types.iter().map(|name| self.typed(name, schema, depth)).collect();
        if words.is_empty() { "anything".to_owned() } else { words.join(" or ") }
    }

    fn typed(&self, name: &str, schema: &'s Value, depth: usize) -> String {
        let of = |within: &str| match &schema[within] {
            inner @ Value::Object(_) => format!(" of {}", self.what(inner, depth + 1)),
            _ => String::new(),
        };
        match name {
            "string" => "text".to_owned(),
            "integer" => "whole number".to_owned(),
            "boolean" => "true or false".to_owned(),
            "array" => format!("list{}", of("items")),
            "object" => match schema["required"].as_array() {
                // One of several by the keys that tell it from the others, and `{ $secret }` by its own.
                Some(keys) if depth > 0 || is_word(schema) => {
                    let keys: Vec<String> = keys.iter().map(word).collect();
                    format!("{{ {} }}", keys.join(", "))
                }
                _ => format!("mapping{}", of("additionalProperties")),
            },
            other => other.to_owned(),
        }
    }
}

/// What a schema may be instead of one thing, without "or nothing".
fn alternatives(schema: &Value) -> Vec<&Value> {
    let each = ["oneOf", "anyOf", "allOf"].iter().find_map(|key| schema[key].as_array());
    each.into_iter().flatten().filter(|schema| schema["type"] != "null").collect()
}

/// Whether it is a mapping that stands for something else, such as `{ $secret: name }`.
fn is_word(schema: &Value) -> bool {
    schema["properties"].as_object().is_some_and(|keys| keys.keys().any(|key| key.starts_with('$')))
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A text in lines of a readable width, so many columns in; nothing where there is none.
pub(super) fn paragraph(text: &str, indent: usize) -> String {
    let (margin, mut out, mut column) = (" ".repeat(indent), String::new(), 0);
    for word in tame(text, LONGEST).split_whitespace() {
        let width = word.chars().count();
        if column == 0 || column + 1 + width > WIDTH {
            out.push_str(if column == 0 { "" } else { "\n" });
            out.push_str(&margin);
            column = indent;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(schema: &Value, special: &[FieldInfo]) -> Vec<String> {
        of(schema, special)
            .iter()
            .map(|field| field.text().lines().map(str::trim).collect::<Vec<_>>().join(" | "))
            .collect()
    }

    #[test]
    fn a_schema_becomes_fields_in_words() {
        let schema = json!({
            "properties": {
                "path": { "$ref": "#/$defs/Path", "description": "Where it is." },
                "mode": { "type": ["string", "null"], "description": "Bits." },
                "how": { "anyOf": [{ "$ref": "#/$defs/How" }, { "type": "null" }] },
                "table": { "oneOf": [{ "type": "integer" }, { "type": "string" }], "default": 254 },
                "hops": { "type": "array", "items": { "$ref": "#/$defs/Hop" } },
                "peers": { "type": "object", "additionalProperties": { "$ref": "#/$defs/Hop" } },
            },
            "required": ["path"],
            "$defs": {
                "Path": { "type": "string", "description": "A path." },
                "How": { "oneOf": [{ "const": "fast" }, { "const": "slow" }] },
                "Hop": { "type": "object", "properties": { "via": { "type": "boolean" } }, "required": ["via"] },
            },
        });
        let immutable = Roles { immutable: true, ..Roles::default() };
        let info = |path: &str, default: serde_json::Value| FieldInfo {
            path: path.to_owned(),
            roles: if default == Value::Null { immutable } else { Roles::default() },
            list_key: None,
            owns_listed: false,
            default: Some(default).filter(|default| !default.is_null()),
        };
        assert_eq!(
            told(&schema, &[info("/path", Value::Null), info("/hops/*/via", json!(true)), info("/how", json!("slow"))]),
            [
                "path: text, required; a new value needs a new resource | Where it is.",
                "mode: text | Bits.",
                "how: one of fast, slow, default \"slow\"",
                "table: whole number or text, default 254",
                "hops: list of { via }",
                "hops[].via: true or false, required",
                "peers: mapping of { via }",
                "peers.*.via: true or false, required",
            ]
        );
    }

    #[test]
    fn a_schema_that_leads_into_itself_ends() {
        let schema = json!({
            "properties": { "a": { "$ref": "#/$defs/A" }, "b": { "$ref": "#/$defs/B" } },
            "$defs": { "A": { "properties": { "a": { "$ref": "#/$defs/A" } } }, "B": { "$ref": "#/$defs/B" } },
        });
        assert_eq!(told(&schema, &[]).len(), DEEPEST + 2);
        assert!(of(&json!({ "properties": { "x": 7 } }), &[]).len() == 1 && of(&json!(7), &[]).is_empty());
    }

    #[test]
    fn a_paragraph_is_no_wider_than_a_page() {
        let text = paragraph(&"word ".repeat(60), 8);
        assert!(
            text.lines().count() == 4 && text.lines().all(|line| line.len() <= WIDTH && line.starts_with("        w"))
        );
        assert_eq!(paragraph("", 4), "");
    }
}
