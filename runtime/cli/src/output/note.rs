//! Notes and errors as text: the place, the line of the file, and a way out.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};
use tidelock_model::error::Severity;

use crate::error::{CliError, Note};

/// An error as text, its notes first, with a line break at its end.
pub(crate) fn error_text(error: &CliError, colour: bool) -> String {
    let mut out = String::new();
    for note in &error.notes {
        out.push_str(&note_text(note, colour));
        out.push_str("\n\n");
    }
    let said = matches!(&error.notes[..], [note] if note.message == error.message);
    let mut group = Group::with_title(Level::ERROR.primary_title(error.message.as_str()));
    for cause in &error.causes {
        group = group.element(Level::NOTE.message(cause.as_str()));
    }
    for hint in &error.hints {
        group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
    }
    if !said || !error.causes.is_empty() || !error.hints.is_empty() {
        out.push_str(&renderer(colour).render(&[group]));
        out.push('\n');
    } else {
        out.pop();
    }
    out
}

/// A note as text, without a line break at its end.
pub(crate) fn note_text(note: &Note, colour: bool) -> String {
    let level = match note.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(note.message.as_str()));
    if let Some(shown) = &note.shown {
        group = if shown.text.is_empty() {
            let mut origin = Origin::path(shown.file.as_str());
            if shown.line > 0 {
                origin = origin.line(shown.line);
            }
            group.element(origin)
        } else {
            let mut mark = AnnotationKind::Primary.span(shown.span.clone());
            if let Some(label) = &note.label {
                mark = mark.label(label.as_str());
            }
            group.element(
                Snippet::source(shown.text.as_str())
                    .line_start(shown.line.max(1))
                    .path(shown.file.as_str())
                    .annotation(mark),
            )
        };
    }
    if let Some(hint) = &note.hint {
        group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
    }
    renderer(colour).render(&[group])
}

/// An error for programs.
pub(crate) fn error_json(error: &CliError) -> Value {
    json!({
        "format": "tidelock.error/1",
        "kind": error.kind.word(),
        "exit": error.exit().code(),
        "message": error.message,
        "causes": error.causes,
        "hints": error.hints,
        "notes": error.notes.iter().map(note_json).collect::<Vec<_>>(),
    })
}

fn note_json(note: &Note) -> Value {
    let (file, line, column) = match &note.shown {
        Some(shown) => {
            let (line, column) = shown.position();
            (Some(&shown.file), Some(line), Some(column))
        }
        None => (None, None, None),
    };
    json!({
        "severity": note.severity, "message": note.message, "file": file, "line": line, "column": column,
        "label": note.label, "hint": note.hint,
    })
}

fn renderer(colour: bool) -> Renderer {
    if colour { Renderer::styled() } else { Renderer::plain() }
}
