//! A secret's name, where a spec would have its value.

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A secret in a spec: `password: { $secret: app-db }`. The value never comes here: an effect
/// carries the name, and the host puts the value, or a verifier of it, in.
///
/// A field that holds one is declared [`sensitive`](crate::Field::sensitive), is left out of
/// what `observe` answers, and is answered by a [probe](crate::SecretProbe) instead.
///
/// ```
/// let secret: tidelock_sdk::sql::Secret = serde_json::from_str(r#"{"$secret": "app-db"}"#)?;
/// assert_eq!(secret.name(), "app-db");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// The secret's name in the operator's config.
    #[serde(rename = "$secret")]
    name: String,
    /// The host's mark of the value, by which it knows a new one. It says nothing to a plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

/// What is said of anything else in its place. It may be the secret itself, and is not said.
const NO_NAME: &str = "a secret does not stand in Git; write { $secret: NAME }";

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(&Value::deserialize(deserializer)?).ok_or_else(|| D::Error::custom(NO_NAME))
    }
}

impl Secret {
    /// Reads `{ $secret: NAME }`, with the host's mark beside the name where that is there.
    fn of(value: &Value) -> Option<Self> {
        let map = value.as_object()?;
        let name = map.get("$secret")?.as_str()?.to_owned();
        let mac = match map.get("mac") {
            None | Some(Value::Null) => None,
            Some(mac) => Some(mac.as_str()?.to_owned()),
        };
        map.keys().all(|key| key == "$secret" || key == "mac").then_some(Self { name, mac })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_in_the_place_of_a_name_is_never_said() {
        for value in [
            json!("hunter2"),
            json!(12_345),
            json!(["hunter2"]),
            json!({ "$secret": ["hunter2"] }),
            json!({ "hunter2": 1 }),
            json!({ "$secret": "db", "value": "hunter2" }),
        ] {
            let said = serde_json::from_value::<Secret>(value).unwrap_err().to_string();
            assert_eq!(said, NO_NAME);
        }
        let secret: Secret = serde_json::from_value(json!({ "$secret": "db", "mac": "1f" })).unwrap();
        assert_eq!(serde_json::to_value(secret).unwrap(), json!({ "$secret": "db", "mac": "1f" }));
    }
}
