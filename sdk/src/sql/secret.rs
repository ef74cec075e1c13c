//! A secret's name, where a spec would have its value.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// The secret's name in the operator's config.
    #[serde(rename = "$secret")]
    name: String,
    /// The host's mark of the value, by which it knows a new one. It says nothing to a plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

impl Secret {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}
