//! What is special about single fields of a kind.

use serde_json::Value;

/// What is special about a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles {
    /// A new value needs a new resource.
    pub immutable: bool,
    /// Never shown.
    pub sensitive: bool,
    /// Cannot be read back.
    pub write_only: bool,
    /// Holds contents.
    pub content: bool,
    /// Identities found beneath the resource that the spec does not name.
    pub strays: bool,
    /// Says how to bring the resource about, not what it should be.
    pub how: bool,
    /// Holds a text that the plugin reads.
    pub text: bool,
}

/// A field that needs more than its schema says.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// JSON pointer, `*` for each element of a list: `/members/*/password`.
    pub path: String,
    /// What is special about it.
    pub roles: Roles,
    /// For a list of objects: the field that identifies an element.
    pub list_key: Option<String>,
    /// For a list that others also edit: whether the spec owns only what it lists.
    pub owns_listed: bool,
    /// The value that a spec without the field means.
    pub default: Option<Value>,
}

impl Field {
    /// A field with nothing special yet.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), roles: Roles::default(), list_key: None, owns_listed: false, default: None }
    }

    /// A new value needs a new resource: the change becomes `replace`.
    #[must_use]
    pub fn immutable(mut self) -> Self {
        self.roles.immutable = true;
        self
    }

    /// Never shown; compared by a keyed digest.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.roles.sensitive = true;
        self
    }

    /// Cannot be read back; compared with what was last written.
    #[must_use]
    pub fn write_only(mut self) -> Self {
        self.roles.write_only = true;
        self
    }

    /// Holds a [`Content`](crate::Content).
    #[must_use]
    pub fn content(mut self) -> Self {
        self.roles.content = true;
        self
    }

    /// A list of identities found beneath the resource, which the host cleans of all
    /// that any stack owns or claims before it compares.
    #[must_use]
    pub fn strays(mut self) -> Self {
        self.roles.strays = true;
        self
    }

    /// Says how to bring the resource about, not what it should be: it goes to `steps`,
    /// is never observed and never compared.
    #[must_use]
    pub fn how(mut self) -> Self {
        self.roles.how = true;
        self
    }

    /// Holds a text that the plugin reads; in Git it may be in a file of its own.
    #[must_use]
    pub fn text(mut self) -> Self {
        self.roles.text = true;
        self
    }

    /// For a list of objects: the field that identifies an element.
    #[must_use]
    pub fn keyed_by(mut self, key: &str) -> Self {
        self.list_key = Some(key.to_owned());
        self
    }

    /// For a list or an object that others also edit: the spec owns only what it lists. What it
    /// listed when it was last applied and lists no longer is to go.
    #[must_use]
    pub fn owns_listed(mut self) -> Self {
        self.owns_listed = true;
        self
    }

    /// What a spec without the field means. Without it, an absent field is left alone.
    #[must_use]
    pub fn default_value(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }
}
