//! The roles that a role is a member of.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::{Error, spec};

use crate::name::Name;

/// What a membership allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Whether the member may make others members. Not, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) admin: Option<bool>,
    /// Whether the member has the role's privileges without SET ROLE. Since PostgreSQL 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) inherit: Option<bool>,
    /// Whether the member may SET ROLE to it. Since PostgreSQL 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) set: Option<bool>,
}

/// Memberships by role: `[staff, admins]`, or `{ staff: {}, admins: { admin: true } }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Members(pub(crate) BTreeMap<Name, Options>);

impl Members {
    pub(super) fn normalise(&mut self, version: u32) -> Result<(), Error> {
        for (role, options) in &mut self.0 {
            options.admin.get_or_insert(false);
            if version < 160_000 && (options.inherit.is_some() || options.set.is_some()) {
                let message =
                    format!("`inherit` and `set` of a membership need PostgreSQL 16; this is {}", version / 10_000);
                return Err(Error::target("invalid", message).at(format!("/member_of/{}", spec::escape(role.as_str()))));
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let json = Json::deserialize(deserializer)?;
        let map = match json {
            Json::Array(names) => {
                let mut map = serde_json::Map::new();
                for name in names {
                    let Json::String(name) = name else {
                        return Err(D::Error::custom(format!("{name} in a list of roles; a list holds names")));
                    };
                    map.insert(name, Json::Object(serde_json::Map::new()));
                }
                Json::Object(map)
            }
            other => other,
        };
        serde_json::from_value(map).map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for Members {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Members".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let options = generator.subschema_for::<Options>();
        schemars::json_schema!({
            "anyOf": [
                { "type": "array", "items": { "type": "string" } },
                { "type": "object", "additionalProperties": options }
            ]
        })
    }
}
