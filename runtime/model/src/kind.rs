//! What providers say of their kinds.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::Identity;

/// What is special about a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// A new value needs a new resource.
    #[serde(default)]
    pub immutable: bool,
    /// Never shown.
    #[serde(default)]
    pub sensitive: bool,
    /// Cannot be read back.
    #[serde(default)]
    pub write_only: bool,
    /// Holds contents, which the host replaces by digest and size.
    #[serde(default)]
    pub content: bool,
    /// A list of identities found beneath the resource that the spec does not name.
    #[serde(default)]
    pub strays: bool,
    /// Says how to bring the resource about, not what it should be: never observed, never compared.
    #[serde(default)]
    pub how: bool,
    /// Holds a text that the plugin reads: `$file` is replaced by the file's text.
    #[serde(default)]
    pub text: bool,
}

/// One field of a kind that needs more than its schema says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldInfo {
    /// JSON pointer, `*` for each element of a list.
    pub path: String,
    /// What is special about it.
    pub roles: Roles,
    /// For a list of objects: the field that identifies an element.
    #[serde(default)]
    pub list_key: Option<String>,
    /// Whether the spec owns only what it lists.
    #[serde(default)]
    pub owns_listed: bool,
    /// What a spec without the field means.
    #[serde(default)]
    pub default: Option<Value>,
}

/// One kind of resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KindInfo {
    /// The part after the dot.
    pub name: String,
    /// A paragraph for people.
    pub doc: String,
    /// JSON Schema of the spec.
    pub schema: Value,
    /// Fields that need more than the schema says.
    pub fields: Vec<FieldInfo>,
    /// Whether deleting one loses data that Git does not have.
    pub holds_data: bool,
    /// Whether all resources of the kind on a target must be seen in one call.
    pub whole_target: bool,
    /// How long a new resource may take to be as desired.
    pub settle_ms: u32,
    /// What `notify` may ask.
    pub triggers: Vec<String>,
}

/// A provider's description of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProviderInfo {
    /// The part of a kind before the dot.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// The kinds.
    pub kinds: Vec<KindInfo>,
}

impl ProviderInfo {
    /// The kind of that short name.
    #[must_use]
    pub fn kind(&self, short: &str) -> Option<&KindInfo> {
        self.kinds.iter().find(|kind| kind.name == short)
    }
}

/// A renderer's description of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RendererInfo {
    /// The name that a stack gives as `renderer:`.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// JSON Schema of the stack's `settings:`.
    pub settings_schema: Value,
}

/// What a provider says of a declared resource, without looking at any target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// What the resource is on its target.
    pub identity: Identity,
    /// Identities that exist once this one does.
    #[serde(default)]
    pub provides: Vec<Identity>,
    /// Identities that must exist before this one.
    #[serde(default)]
    pub requires: Vec<Identity>,
    /// Identities of what the spec speaks for besides its own, and a resource of another kind could.
    #[serde(default)]
    pub parts: Vec<Identity>,
    /// Remarks; fields are relative to the spec.
    #[serde(default)]
    pub diagnostics: Vec<crate::error::Diagnostic>,
}

/// Whether a pattern of a field (`/members/*/password`) covers a pointer.
#[must_use]
pub fn covers(pattern: &str, pointer: &str) -> bool {
    let mut parts = pointer.split('/');
    for wanted in pattern.split('/') {
        match parts.next() {
            Some(part) if wanted == "*" || wanted == part => {}
            _ => return false,
        }
    }
    // A pattern covers what lies below it too.
    true
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn patterns_cover_what_lies_below() {
        assert!(covers("/content", "/content"));
        assert!(covers("/content", "/content/digest"));
        assert!(covers("/members/*/password", "/members/0/password"));
        assert!(!covers("/members/*/password", "/members/0"));
        assert!(!covers("/content", "/contents"));
    }
}
