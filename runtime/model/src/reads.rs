//! What a render read, so that a commit that touches none of it renders nothing.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::port::{RenderInputs, SourceError};
use crate::stack::resolve;

/// One question that a renderer asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "read", content = "of", rename_all = "kebab-case")]
pub enum Question {
    /// A file's content, by path from the root.
    File(String),
    /// A directory's names, by path from the root.
    List(String),
    /// The module's files that match a pattern.
    Glob(String),
    /// The stack's settings.
    Settings,
    /// The merged values at a JSON pointer.
    Values(String),
    /// The target's name.
    Target,
    /// A label.
    Label(String),
    /// A fact.
    Fact(String),
}

/// A question and the digest of its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// What was asked.
    pub question: Question,
    /// Digest of the answer; equal answers, equal digests.
    pub answer: Digest,
}

/// Answers a question's digest against inputs. The host records with it, the render
/// cache checks with it: one function, so the two cannot differ.
///
/// # Errors
/// The tree cannot be read.
pub fn answer(question: &Question, inputs: &RenderInputs) -> Result<Digest, SourceError> {
    let none = || Digest::of(b"none");
    let some = |bytes: &[u8]| Digest::of_parts([b"some".as_slice(), bytes]);
    let json =
        |value: Option<&Value>| value.map_or_else(none, |value| some(crate::digest::canonical(value).as_bytes()));
    Ok(match question {
        // Git's own id stands for the content: nothing is read to compare.
        Question::File(path) => match inputs.tree.entry(path)? {
            Some(entry) if !entry.is_dir() => some(entry.id.as_bytes()),
            _ => none(),
        },
        Question::List(path) => match inputs.tree.list(path)? {
            Some(entries) => {
                let names: Vec<String> =
                    entries.iter().map(|entry| format!("{}\0{}\0{}", entry.name, entry.is_dir(), entry.size)).collect();
                Digest::of_parts(names.iter().map(String::as_bytes))
            }
            None => none(),
        },
        Question::Glob(pattern) => {
            let names = inputs.tree.glob(&inputs.module, pattern)?;
            Digest::of_parts(names.iter().map(String::as_bytes))
        }
        Question::Settings => json(Some(&inputs.settings)),
        Question::Values(pointer) => json(inputs.values.pointer(pointer)),
        Question::Target => some(inputs.target.as_str().as_bytes()),
        Question::Label(name) => inputs.labels.get(name).map_or_else(none, |value| some(value.as_bytes())),
        Question::Fact(name) => json(inputs.facts.get(name)),
    })
}

/// A path that a renderer asked for, from the source's root.
#[must_use]
pub fn module_path(module: &str, path: &str) -> String {
    resolve(module, path)
}
