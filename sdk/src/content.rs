//! Contents: what a file holds, known to a plugin by digest and size only.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A content. In Git it is a string, `{ $file: path }`, `{ $template: path }`,
/// `{ $secret: name }`, `{ base64: text }` or `{ $parts: [...] }` of these; the host puts this in its place before a plugin sees the spec,
/// so that bytes never cross the boundary. Declare the field with
/// [`Field::content`](crate::Field::content).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

impl JsonSchema for Content {
    fn schema_name() -> Cow<'static, str> {
        "Content".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // What a person may write, and what the host makes of it.
        json_schema!({
            "description": "Text, or where the content comes from.",
            "anyOf": [
                { "type": "string" },
                { "type": "object", "required": ["$file"], "additionalProperties": false,
                  "properties": { "$file": { "type": "string", "description": "Path of a file, relative to this one." } } },
                { "type": "object", "required": ["$template"], "additionalProperties": false,
                  "properties": { "$template": { "type": "string", "description": "Path of a template, for renderers that have them." } } },
                { "type": "object", "required": ["$secret"], "additionalProperties": false,
                  "properties": { "$secret": { "type": "string", "description": "Name of a secret, or ./file of an encrypted one." } } },
                { "type": "object", "required": ["$parts"], "additionalProperties": false,
                  "properties": { "$parts": { "type": "array", "description": "Contents that are joined." } } },
                { "type": "object", "required": ["base64"], "additionalProperties": false,
                  "properties": { "base64": { "type": "string" } } },
                { "type": "object", "required": ["digest", "size"], "additionalProperties": false,
                  "properties": { "digest": { "type": "string" }, "size": { "type": "integer", "minimum": 0 } } }
            ]
        })
    }
}
