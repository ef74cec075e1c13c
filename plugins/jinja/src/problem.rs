//! From the engine's errors to problems that a person can mend.

use std::error::Error as _;

use minijinja::{Error, ErrorKind};
use serde_json::Value;
use tidelock_sdk::{Inputs, Place, Problem, nearest};

use crate::scope::OWN;

/// The problem behind an error of rendering `file`.
pub(crate) fn of(error: &Error, file: &str, inputs: &Inputs) -> Problem {
    let innermost = innermost(error);
    let name = innermost.name().unwrap_or(file).to_owned();
    let message = innermost.detail().map_or_else(|| innermost.kind().to_string(), str::to_owned);
    let mut problem = Problem::new(message).at(place(innermost, &name));
    if name != file {
        problem.message.push_str(&format!(" (while rendering {file})"));
    }
    match innermost.kind() {
        ErrorKind::UndefinedError => problem.hint = undefined(innermost, inputs),
        ErrorKind::OutOfFuel => {
            problem.message = "the template runs too long; see its loops".to_owned();
        }
        ErrorKind::TemplateNotFound => {
            problem.hint = Some("paths start at the file that names them; a leading / is the source's root".to_owned());
        }
        _ => {}
    }
    problem
}

/// Errors of included templates are wrapped by those of the templates that include them.
fn innermost(error: &Error) -> &Error {
    let mut innermost = error;
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<Error>().filter(|cause| cause.line().is_some()) {
            innermost = cause;
        }
        source = cause.source();
    }
    innermost
}

fn place(error: &Error, file: &str) -> Place {
    let at = error.range().zip(error.template_source()).and_then(|(range, source)| source.get(..range.start));
    match at {
        Some(before) => {
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            Place::at(file, number(line), number(column))
        }
        None => Place::at(file, number(error.line().unwrap_or_default()), 0),
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Which name was meant: the expression is followed through the values as far as it
/// goes, and the first part that is not there is compared with those that are.
fn undefined(error: &Error, inputs: &Inputs) -> Option<String> {
    let expression = error.range().zip(error.template_source()).and_then(|(range, source)| source.get(range))?;
    let path =
        expression.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.'))).find(|part| !part.is_empty())?;
    let mut parts = path.split('.').filter(|part| !part.is_empty()).peekable();
    match parts.peek() {
        Some(&"target") => {
            return Some(
                "the operator's config says which labels and facts a target has; `| default(...)` stands in".to_owned(),
            );
        }
        Some(&"values") => {
            parts.next();
        }
        _ => {}
    }
    let all = inputs.value("")?;
    let mut here: &Value = &all;
    let mut top = true;
    for part in parts {
        let Some(map) = here.as_object() else { break };
        if let Some(next) = map.get(part) {
            (here, top) = (next, false);
            continue;
        }
        let known = map.keys().map(String::as_str).chain(OWN.into_iter().filter(|_| top));
        return Some(match nearest(part, known) {
            Some(name) => format!("did you mean `{name}`?"),
            None if top => {
                format!("no values file of the stack sets `{part}`; `{{{{ {part} | default(...) }}}}` stands in")
            }
            None => format!("there are {}", map.keys().cloned().collect::<Vec<_>>().join(", ")),
        });
    }
    None
}
