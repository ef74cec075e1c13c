//! Between the words of `wit/types` and those of the model. Whatever comes from a
//! guest is tamed and capped here, once.

use tidelock_model::error::{Blame, Diagnostic, Fault, Place, Severity, tame};
use tidelock_model::stack::resolve;

use crate::bindings::types;
use crate::door::{Door, MAX_LINE};
use crate::json;

const MAX_CODE: usize = 64;

impl types::Host for crate::call::CallState {}

/// A fault on its way to a guest.
pub(crate) fn to_guest(fault: &Fault) -> types::Error {
    types::Error {
        code: fault.code.clone(),
        message: fault.message.clone(),
        field: fault.field.clone(),
        retryable: fault.retryable,
        blame: match fault.blame {
            Blame::Plugin => types::Blame::Plugin,
            Blame::Host => types::Blame::Host,
            Blame::Target => types::Blame::Target,
        },
        extras: vec![],
    }
}

/// An error as a guest gave it. Where it passes on a refusal of the door, the
/// door's hint comes back with it, and where one of less than was known, the rest.
pub(crate) fn from_guest(door: &Door, error: types::Error) -> Fault {
    let message = tame(&error.message, MAX_LINE);
    let hint = door.hint_for(&message);
    let (message, hint) = door.in_full(&message).unwrap_or((message, hint));
    let message = if message.trim().is_empty() { format!("plugin {} gave no reason", door.plugin) } else { message };
    let code: String = error.code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(MAX_CODE).collect();
    Fault {
        code: if code.is_empty() { "other".to_owned() } else { code },
        message,
        field: error.field.and_then(|field| json::pointer(field).ok()),
        retryable: error.retryable,
        blame: match error.blame {
            types::Blame::Plugin => Blame::Plugin,
            types::Blame::Host => Blame::Host,
            types::Blame::Target => Blame::Target,
        },
        hint,
    }
}

/// A remark as a guest gave it.
pub(crate) fn diagnostic(diagnostic: types::Diagnostic) -> Diagnostic {
    Diagnostic {
        severity: match diagnostic.severity {
            types::Severity::Error => Severity::Error,
            types::Severity::Warning => Severity::Warning,
        },
        message: tame(&diagnostic.message, MAX_LINE),
        place: None,
        field: diagnostic.field.and_then(|field| json::pointer(field).ok()),
        snippet: None,
        hint: diagnostic.hint.map(|hint| tame(&hint, MAX_LINE)),
    }
}

/// A place as a guest gave it, in the file as it read it; as people see it, from the
/// source's root.
pub(crate) fn place(module: &str, place: types::Place) -> Result<Place, String> {
    let given = json::key("path of a place", place.file)?;
    let inside = given.strip_prefix('/').unwrap_or(&given);
    if inside.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("the place {given:?}, which is not a path of the source"));
    }
    Ok(Place { file: resolve(module, &given), line: place.line, column: place.column })
}
