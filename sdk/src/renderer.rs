//! A renderer: files in, resources out.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Diagnostic, Error};
use crate::host::RenderPort;
use crate::tree::{Inputs, Tree};

/// Resources of one page: both sides stay small.
const PAGE: usize = 500;
/// Bytes of one page, whatever the number of resources: far below what one call may carry.
const PAGE_BYTES: usize = 1 << 20;

/// A renderer. Export it with [`register_renderer!`](crate::register_renderer).
pub trait Renderer: 'static {
    /// The name that a stack gives as `renderer:`.
    const NAME: &'static str;
    /// The plugin's own version, usually `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// One line for people.
    const SUMMARY: &'static str;

    /// The stack's `settings:` for this renderer.
    type Settings: Serialize + DeserializeOwned + JsonSchema;

    /// Renders the module for one target: a pure function of what it reads.
    ///
    /// # Errors
    /// All problems that it found, not only the first.
    fn render(tree: &Tree, inputs: &Inputs, out: &mut Output) -> Result<(), Problems>;
}

/// A renderer, described.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The name that a stack gives as `renderer:`.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// JSON Schema of the settings.
    pub settings_schema: Value,
}

/// Describes a renderer. No reads.
#[must_use]
pub fn describe<R: Renderer>() -> Description {
    Description {
        name: R::NAME.to_owned(),
        version: R::VERSION.to_owned(),
        summary: R::SUMMARY.to_owned(),
        settings_schema: schemars::schema_for!(R::Settings).to_value(),
    }
}

/// Renders, and hands over the last page.
pub(crate) fn render<R: Renderer>(port: RenderPort) -> Result<(), Problems> {
    let mut out = Output { port: port.clone(), page: Vec::new(), bytes: 0 };
    R::render(&Tree::new(port.clone()), &Inputs::new(port), &mut out)?;
    out.flush().map_err(Problems::from)
}

/// A place in a file of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path as the renderer knows it: relative to the module, or with a leading slash.
    pub file: String,
    /// Line, from 1; 0 where only the file is known.
    pub line: u32,
    /// Column in characters, from 1; 0 where only the line is known.
    pub column: u32,
}

impl Place {
    /// A whole file.
    pub fn file(file: impl Into<String>) -> Self {
        Self { file: file.into(), line: 0, column: 0 }
    }

    /// A line and column of a file.
    pub fn at(file: impl Into<String>, line: u32, column: u32) -> Self {
        Self { file: file.into(), line, column }
    }
}

/// One thing that is wrong with the desired state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// One sentence.
    pub message: String,
    /// Where.
    pub place: Option<Place>,
    /// How to mend it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, hint: None }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Says how to mend it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Problems, gathered so that a person sees all of them at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds those of a part that failed, and gives what it made otherwise.
    pub fn take<T>(&mut self, outcome: Result<T, Self>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(more) => {
                self.0.extend(more.0);
                None
            }
        }
    }

    /// Nothing, where there are no problems.
    ///
    /// # Errors
    /// There are.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            if let Some(Place { file, line, column }) = &problem.place {
                write!(f, "{file}:{line}:{column}: ")?;
            }
            writeln!(f, "{}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl From<Error> for Problems {
    fn from(error: Error) -> Self {
        Problem::new(error.message).into()
    }
}

impl From<Diagnostic> for Problem {
    fn from(remark: Diagnostic) -> Self {
        Self { message: remark.message, place: None, hint: remark.hint }
    }
}

/// One resource, handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The whole resource as a JSON object.
    pub document: String,
    /// Where it came from; `$file` is relative to this file's directory.
    pub place: Place,
}

/// Where rendered resources go, page by page.
pub struct Output {
    port: RenderPort,
    page: Vec<Rendered>,
    bytes: usize,
}

impl Output {
    /// Hands over one resource: `kind`, `name`, `spec` and the other fields that a
    /// resource file may hold.
    ///
    /// # Errors
    /// The host's output limit is reached.
    pub fn emit(&mut self, document: &Value, place: Place) -> Result<(), Problems> {
        let document = document.to_string();
        self.bytes += document.len();
        self.page.push(Rendered { document, place });
        if self.page.len() >= PAGE || self.bytes >= PAGE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.bytes = 0;
        if self.page.is_empty() { Ok(()) } else { self.port.emit(std::mem::take(&mut self.page)) }
    }
}
