//! A module in memory, with everything else that a render may depend on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    given: Given,
    last: RefCell<Arc<Session>>,
}

/// What a render may depend on.
#[derive(Clone, Default)]
struct Given {
    files: BTreeMap<String, Vec<u8>>,
    settings: Value,
    values: Value,
    target: String,
    labels: BTreeMap<String, String>,
    facts: BTreeMap<String, Value>,
}

/// One render: what was given, what was asked, what came out.
#[derive(Default)]
pub(super) struct Session {
    given: Given,
    asked: Mutex<Vec<Question>>,
    emitted: Mutex<Vec<Vec<Rendered>>>,
}

impl Tree {
    /// A module with these files, for a target `web-1` without labels or facts.
    pub fn new<P: Into<String>, C: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, C)>) -> Self {
        let given = Given {
            files: files.into_iter().map(|(path, content)| (path.into(), content.into())).collect(),
            settings: json!({}),
            values: json!({}),
            target: "web-1".to_owned(),
            ..Given::default()
        };
        Self { given, last: RefCell::default() }
    }

    /// The stack's `settings:`.
    #[must_use]
    pub fn settings(mut self, settings: Value) -> Self {
        self.given.settings = settings;
        self
    }

    /// The merged values.
    #[must_use]
    pub fn values(mut self, values: Value) -> Self {
        self.given.values = values;
        self
    }

    /// The target's name.
    #[must_use]
    pub fn target(mut self, name: &str) -> Self {
        name.clone_into(&mut self.given.target);
        self
    }

    /// A label of the target.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.given.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A fact of the target.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.given.facts.insert(name.to_owned(), value.into());
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
        let session = Arc::new(Session { given: self.given.clone(), ..Session::default() });
        self.last.replace(Arc::clone(&session));
        renderer::render::<R>(RenderPort(Arc::clone(&session)))?;
        let each = |rendered: &Rendered| {
            (serde_json::from_str(&rendered.document).expect("a resource is JSON"), rendered.place.clone())
        };
        Ok(held(&session.emitted).iter().flatten().map(each).collect())
    }

    /// What the last render asked, sorted, each once.
    #[must_use]
    pub fn asked(&self) -> Vec<Question> {
        let mut asked = held(&self.last.borrow().asked).clone();
        asked.sort();
        asked.dedup();
        asked
    }

    /// The sizes of the pages that the last render handed over.
    #[must_use]
    pub fn pages(&self) -> Vec<usize> {
        held(&self.last.borrow().emitted).iter().map(Vec::len).collect()
    }
}

/// What a lock holds, also after a test panicked with it.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    fn ask(&self, question: Question) {
        held(&self.asked).push(question);
    }

    pub(super) fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.ask(Question::File(path.to_owned()));
        self.given.files.get(path).cloned()
    }

    pub(super) fn list(&self, path: &str) -> Option<Vec<TreeEntry>> {
        self.ask(Question::List(path.to_owned()));
        let prefix = if path.is_empty() { String::new() } else { format!("{}/", path.trim_end_matches('/')) };
        let mut names: BTreeMap<String, TreeEntry> = BTreeMap::new();
        for (file, content) in &self.given.files {
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
        let nested: Vec<&str> = self.given.files.keys().filter_map(|path| path.strip_suffix("/stack.yaml")).collect();
        let passed_over = |path: &str| {
            path.starts_with('/')
                || path.split('/').any(|part| part.starts_with('.'))
                || nested.iter().any(|stack| path.strip_prefix(stack).is_some_and(|rest| rest.starts_with('/')))
        };
        Ok(self.given.files.keys().filter(|path| !passed_over(path) && glob.is_match(path.as_str())).cloned().collect())
    }

    pub(super) fn settings_text(&self) -> String {
        self.ask(Question::Settings);
        self.given.settings.to_string()
    }

    pub(super) fn values_text(&self, pointer: &str) -> Option<String> {
        self.ask(Question::Values(pointer.to_owned()));
        self.given.values.pointer(pointer).map(Value::to_string)
    }

    pub(super) fn target_name(&self) -> String {
        self.ask(Question::Target);
        self.given.target.clone()
    }

    pub(super) fn label_value(&self, name: &str) -> Option<String> {
        self.ask(Question::Label(name.to_owned()));
        self.given.labels.get(name).cloned()
    }

    pub(super) fn fact_text(&self, name: &str) -> Option<String> {
        self.ask(Question::Fact(name.to_owned()));
        self.given.facts.get(name).map(Value::to_string)
    }

    pub(super) fn emit(&self, page: Vec<Rendered>) {
        held(&self.emitted).push(page);
    }
}
