//! YAML text to JSON documents, each with its place. Shared by the renderers.
//!
//! Strict where YAML is slippery: keys are strings and stand once, tags and directives
//! of other schemas are refused, plain words follow the core schema of YAML 1.2 (`no`
//! is a string, `0644` is the number 644). Every limit counts what is really built, so
//! that aliases cannot multiply unseen.

mod build;
mod scalar;

pub use build::read;

use serde_json::Value;

/// Limits on one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the text.
    pub bytes: usize,
    /// Lists and mappings in each other.
    pub depth: usize,
    /// Scalars, lists and mappings, aliases written out.
    pub nodes: usize,
    /// Nodes that aliases and merges add.
    pub copied: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 4 << 20, depth: 64, nodes: 500_000, copied: 50_000 }
    }
}

/// A document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it holds.
    pub value: Value,
    /// Line of its first content, from 1.
    pub line: u32,
    /// Column of its first content, from 1.
    pub column: u32,
}

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// One sentence.
    pub message: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// How to mend it.
    pub hint: Option<String>,
}
