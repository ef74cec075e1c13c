//! A module in memory, with everything else that a render may depend on.

use std::cell::RefCell;
use std::collections::BTreeMap;

use globset::GlobBuilder;
use serde_json::{Value, json};

use super::host::RenderPort;
use crate::error::Error;
use crate::renderer::{self, Problems, Rendered, Renderer};
use crate::tree::TreeEntry;

/// One question that a renderer asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the read of the same name")]
pub enum Question {
    File(String),
    List(String),
    Glob(String),
    Settings,
    Values(String),
    Target,
    Label(String),
    Fact(String),
}

/// The files of a source as the module sees them: relative paths are the module's,
/// those with a leading slash the rest of the source's.
pub struct Tree {
    files: BTreeMap<String, Vec<u8>>,
    settings: Value,
    values: Value,
    target: String,
    labels: BTreeMap<String, String>,
    facts: BTreeMap<String, Value>,
    asked: RefCell<Vec<Question>>,
    emitted: RefCell<Vec<Vec<Rendered>>>,
}

impl Tree {
    /// A module with these files, for a target `web-1` without labels or facts.
    pub fn new<P: Into<String>, C: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, C)>) -> Self {
        Self {
            files: files.into_iter().map(|(path, content)| (path.into(), content.into())).collect(),
            settings: json!({}),
            values: json!({}),
            target: "web-1".to_owned(),
            labels: BTreeMap::new(),
            facts: BTreeMap::new(),
            asked: RefCell::default(),
            emitted: RefCell::default(),
        }
    }

    /// The stack's `settings:`.
    #[must_use]
    pub fn settings(mut self, settings: Value) -> Self {
        self.settings = settings;
        self
    }

    /// The merged values.
    #[must_use]
    pub fn values(mut self, values: Value) -> Self {
        self.values = values;
        self
    }

    /// The target's name.
    #[must_use]
    pub fn target(mut self, name: &str) -> Self {
        name.clone_into(&mut self.target);
        self
    }

    /// A label of the target.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A fact of the target.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Renders.
    ///
    /// # Errors
    /// The renderer found problems.
    ///
    /// # Panics
    /// The renderer emitted something that is not JSON.
    pub fn render<R: Renderer>(&self) -> Result<Vec<(Value, crate::Place)>, Problems> {
        self.asked.take();
        self.emitted.take();
        renderer::render::<R>(RenderPort(self))?;
        let pages = self.emitted.borrow();
        let each = |rendered: &Rendered| {
            (serde_json::from_str(&rendered.document).expect("a resource is JSON"), rendered.place.clone())
        };
        Ok(pages.iter().flatten().map(each).collect())
    }

    /// What the last render asked, sorted, each once.
    #[must_use]
    pub fn asked(&self) -> Vec<Question> {
        let mut asked = self.asked.borrow().clone();
        asked.sort();
        asked.dedup();
        asked
    }

    /// The sizes of the pages that the last render handed over.
    #[must_use]
    pub fn pages(&self) -> Vec<usize> {
        self.emitted.borrow().iter().map(Vec::len).collect()
    }

    fn ask(&self, question: Question) {
        self.asked.borrow_mut().push(question);
    }

    pub(super) fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.ask(Question::File(path.to_owned()));
        self.files.get(path).cloned()
    }

    pub(super) fn list(&self, path: &str) -> Option<Vec<TreeEntry>> {
        self.ask(Question::List(path.to_owned()));
        let prefix = if path.is_empty() { String::new() } else { format!("{}/", path.trim_end_matches('/')) };
        let mut names: BTreeMap<String, TreeEntry> = BTreeMap::new();
        for (file, content) in &self.files {
            let Some(rest) = file.strip_prefix(&prefix) else { continue };
            let (name, directory) = rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
            let size = if directory { 0 } else { content.len() as u64 };
            names.insert(name.to_owned(), TreeEntry { name: name.to_owned(), directory, size });
        }
        (!names.is_empty()).then(|| names.into_values().collect())
    }

    pub(super) fn glob(&self, pattern: &str) -> Result<Vec<String>, Error> {
        self.ask(Question::Glob(pattern.to_owned()));
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .map_err(|error| Error::target("invalid", error.to_string()))?
            .compile_matcher();
        let nested: Vec<&str> = self.files.keys().filter_map(|path| path.strip_suffix("/stack.yaml")).collect();
        let passed_over = |path: &str| {
            path.starts_with('/')
                || path.split('/').any(|part| part.starts_with('.'))
                || nested.iter().any(|stack| path.strip_prefix(stack).is_some_and(|rest| rest.starts_with('/')))
        };
        Ok(self.files.keys().filter(|path| !passed_over(path) && glob.is_match(path.as_str())).cloned().collect())
    }

    pub(super) fn settings_text(&self) -> String {
        self.ask(Question::Settings);
        self.settings.to_string()
    }

    pub(super) fn values_text(&self, pointer: &str) -> Option<String> {
        self.ask(Question::Values(pointer.to_owned()));
        self.values.pointer(pointer).map(Value::to_string)
    }

    pub(super) fn target_name(&self) -> String {
        self.ask(Question::Target);
        self.target.clone()
    }

    pub(super) fn label_value(&self, name: &str) -> Option<String> {
        self.ask(Question::Label(name.to_owned()));
        self.labels.get(name).cloned()
    }

    pub(super) fn fact_text(&self, name: &str) -> Option<String> {
        self.ask(Question::Fact(name.to_owned()));
        self.facts.get(name).map(Value::to_string)
    }

    pub(super) fn emit(&self, page: Vec<Rendered>) {
        self.emitted.borrow_mut().push(page);
    }
}
