//! What a renderer reads: files, settings, values, the target.
//!
//! Every answer is recorded by the host, *not found* too. A later commit that gives
//! the same answers is not rendered again: so read only what is needed.

use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error;
use crate::host::RenderPort;
use crate::renderer::{Problem, Problems};
use crate::spec;

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// The last part of the path.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// Bytes; 0 for a directory.
    pub size: u64,
}

/// The files of the source: the module's own directory by relative path, the rest by
/// a path with a leading slash. Owned and cheap to clone, so that a template engine can
/// hold one.
#[derive(Clone)]
pub struct Tree {
    port: RenderPort,
}

impl Tree {
    pub(crate) fn new(port: RenderPort) -> Self {
        Self { port }
    }

    /// A file's content; none where there is no such file.
    ///
    /// # Errors
    /// It could not be read, or is too large.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        self.port.read(path)
    }

    /// A file's content as text; none where there is no such file.
    ///
    /// # Errors
    /// As [`Tree::read`]; also where it is not UTF-8.
    pub fn text(&self, path: &str) -> Result<Option<String>, Error> {
        let Some(bytes) = self.read(path)? else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|error| {
            let line =
                error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            Error::target("invalid", format!("{path} is not UTF-8 text: see line {}", line + 1))
        })?;
        Ok(Some(text))
    }

    /// The names of a directory in byte order; none where there is no such directory.
    ///
    /// # Errors
    /// It could not be read.
    pub fn list(&self, path: &str) -> Result<Option<Vec<TreeEntry>>, Error> {
        self.port.list(path)
    }

    /// The module's files that match a pattern (`*`, `**`, `?`, `[a-z]`, `{a,b}`), in
    /// byte order. Nested stacks and names that start with a dot are passed over.
    ///
    /// # Errors
    /// The pattern or the tree could not be read.
    pub fn glob(&self, pattern: &str) -> Result<Vec<String>, Error> {
        self.port.glob(pattern)
    }
}

/// Everything but files that a render may depend on. Owned and cheap to clone.
#[derive(Clone)]
pub struct Inputs {
    port: RenderPort,
    settings: OnceLock<Value>,
}

impl Inputs {
    pub(crate) fn new(port: RenderPort) -> Self {
        Self { port, settings: OnceLock::new() }
    }

    /// The stack's `settings:`, typed. Keys that start with `$` are the host's own and
    /// are left out.
    ///
    /// # Errors
    /// They do not fit.
    pub fn settings<S: DeserializeOwned>(&self) -> Result<S, Problems> {
        let mut settings = self.raw_settings()?.clone();
        if let Some(object) = settings.as_object_mut() {
            object.retain(|key, _| !key.starts_with('$'));
        }
        spec::read_value(settings).map_err(|remarks| {
            let each = remarks.into_iter().map(|remark| {
                let field = remark.field.map(|field| field.trim_start_matches('/').replace('/', "."));
                Problem {
                    message: match field {
                        Some(field) if !remark.message.contains(&format!("`{field}`")) => {
                            format!("settings: {field}: {}", remark.message)
                        }
                        _ => format!("settings: {}", remark.message),
                    },
                    place: None,
                    hint: remark.hint,
                }
            });
            Problems(each.collect())
        })
    }

    /// The values files of the stack that lie inside the module: they are no resources.
    ///
    /// # Errors
    /// The host's settings cannot be read.
    pub fn values_files(&self) -> Result<Vec<String>, Problems> {
        let listed = self.raw_settings()?.get("$values").and_then(Value::as_array);
        Ok(listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    fn raw_settings(&self) -> Result<&Value, Problems> {
        if let Some(settings) = self.settings.get() {
            return Ok(settings);
        }
        let text = self.port.settings();
        let settings: Value = serde_json::from_str(if text.is_empty() { "{}" } else { &text })
            .map_err(|error| Problem::new(format!("the settings are not JSON: {error}")))?;
        Ok(self
            .settings
            .get_or_init(|| if settings.is_null() { Value::Object(serde_json::Map::new()) } else { settings }))
    }

    /// The merged values at a JSON pointer (`""` is all of them); none where there is nothing.
    #[must_use]
    pub fn value(&self, pointer: &str) -> Option<Value> {
        self.port.values(pointer).and_then(|text| serde_json::from_str(&text).ok())
    }

    /// The target's name.
    #[must_use]
    pub fn target(&self) -> String {
        self.port.target()
    }

    /// The target's label of that name.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<String> {
        self.port.label(name)
    }

    /// A fact of the target that the operator's config names.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<Value> {
        self.port.fact(name).and_then(|text| serde_json::from_str(&text).ok())
    }
}
