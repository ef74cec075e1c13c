//! Reads rendered documents into resources.

use std::collections::BTreeMap;

use serde_json::Value;
use tidelock_model::error::{Diagnostic, Place};
use tidelock_model::name::ResourceRef;
use tidelock_model::port::Tree;
use tidelock_model::resource::{RenderedDoc, Resource, ResourceDecl};
use tidelock_model::snippet::{self, Hidden};

use super::in_words;

/// Reads one document as a renderer gave it.
///
/// # Errors
/// One diagnostic at the document's place.
pub fn parse(doc: &RenderedDoc) -> Result<Resource, Diagnostic> {
    let place = Some(doc.place.clone());
    let value: Value = serde_json::from_str(&doc.document).map_err(|error| {
        Diagnostic::error(format!("the renderer gave a document that is not JSON: {error}"), place.clone())
    })?;
    if !value.is_object() {
        return Err(Diagnostic::error("a resource is a map with `kind`, `name` and `spec`", place));
    }
    let decl: ResourceDecl = serde_json::from_value(value).map_err(|error| misread(&error.to_string(), &place))?;
    if !decl.spec.is_object() {
        return Err(Diagnostic::error("`spec` must be a map", place).at("/spec"));
    }
    for pointer in &decl.ignore {
        if !pointer.starts_with('/') {
            return Err(Diagnostic::error(format!("{pointer:?} in `ignore` is not a JSON pointer"), place)
                .at("/ignore")
                .hint(format!("write /{pointer}")));
        }
    }
    Ok(Resource { decl, place: doc.place.clone() })
}

fn misread(said: &str, place: &Option<Place>) -> Diagnostic {
    let (message, mut hint) = in_words(said);
    // What belongs to a kind is known to its plugin alone; at the top stand few words.
    if let (Some(known), Some(field)) = (&mut hint, message.strip_prefix("unknown field "))
        && known.starts_with("known here")
    {
        *known = format!("where {field} is a field of the kind, indent it under `spec:`; {known}");
    }
    let field = match () {
        () if said.starts_with("a name may") => Some("/name"),
        () if said.contains("is not a kind") => Some("/kind"),
        () => None,
    };
    Diagnostic { hint, field: field.map(ToOwned::to_owned), ..Diagnostic::error(message, place.clone()) }
}

/// Reads all documents of a lane; names are unique per kind.
///
/// # Errors
/// Every problem, at its place.
pub fn all(docs: &[RenderedDoc]) -> Result<Vec<Resource>, Vec<Diagnostic>> {
    let mut resources = Vec::with_capacity(docs.len());
    let mut seen: BTreeMap<ResourceRef, Place> = BTreeMap::new();
    let mut problems = Vec::new();
    for doc in docs {
        match parse(doc) {
            Ok(resource) => {
                let id = resource.decl.id();
                if let Some(first) = seen.get(&id) {
                    let message = format!("{id} is declared twice; first at {first}");
                    problems.push(Diagnostic::error(message, Some(resource.place.clone())));
                    continue;
                }
                seen.insert(id, resource.place.clone());
                resources.push(resource);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(resources) } else { Err(problems) }
}

/// What providers say where a secret stands in the place of its name.
const CLEAR: &str = "a secret does not stand in Git";

/// Adds the line of the file that a diagnostic is about, and finds the line of its
/// field where only the document's start is known. Of the line what stands under a key of secrets,
/// which the kinds in use may have more of, is left out.
pub fn with_snippet(diagnostic: &mut Diagnostic, tree: &dyn Tree, hidden: &Hidden) {
    let Some(place) = &mut diagnostic.place else { return };
    if diagnostic.snippet.is_some() || place.line == 0 {
        return;
    }
    let Ok(Some(bytes)) = tree.read(&place.file) else { return };
    let text = String::from_utf8_lossy(&bytes);
    let key = diagnostic
        .field
        .as_deref()
        .and_then(|field| field.rsplit('/').find(|part| part.parse::<usize>().is_err()))
        .or_else(|| diagnostic.message.split('`').nth(1).filter(|_| diagnostic.message.starts_with("unknown field")))
        .filter(|key| !key.is_empty());
    let start = place.line as usize - 1;
    let lines = text.lines().enumerate().skip(start);
    if let Some(key) = key {
        let found = lines
            .take_while(|(i, line)| *i == start || !line.starts_with("---"))
            .find_map(|(i, line)| column_of(line, key).map(|column| (i, column)));
        if let Some((i, column)) = found {
            place.line = u32::try_from(i + 1).unwrap_or(place.line);
            place.column = column;
        }
    }
    // What stands there by mistake is not repeated.
    if !diagnostic.message.contains(CLEAR) {
        diagnostic.snippet = snippet::line_of(&text, place.line as usize - 1, hidden);
    }
}

/// Where a line has `key:` as a YAML key, from 1.
fn column_of(line: &str, key: &str) -> Option<u32> {
    let at = line.find(key)?;
    let before = line[..at].trim_start();
    let fits = before.is_empty() || before.ends_with(['-', '{', ',', ' ', '"', '\'']);
    let after = line[at + key.len()..].trim_start_matches(['"', '\'']);
    (fits && after.starts_with(':')).then(|| u32::try_from(line[..at].chars().count() + 1).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(document: &str) -> RenderedDoc {
        RenderedDoc { document: document.to_owned(), place: Place { file: "a.yaml".into(), line: 1, column: 1 } }
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest() {
        let error = parse(&doc(r#"{"kind":"server.file","name":"a","nedds":[],"spec":{}}"#)).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `needs`?"));
    }

    #[test]
    fn a_field_of_the_kind_at_the_top_is_sent_under_spec() {
        let error = parse(&doc(r#"{"kind":"server.file","name":"a","path":"/a","spec":{}}"#)).unwrap_err();
        assert_eq!(error.message, "unknown field `path`");
        let hint = error.hint.unwrap();
        assert!(
            hint.starts_with("where `path` is a field of the kind, indent it under `spec:`; known here: kind"),
            "{hint}"
        );
    }

    #[test]
    fn a_name_that_cannot_be_is_shown_at_its_line() {
        let error = parse(&doc(r#"{"kind":"server.file","name":"a b","spec":{}}"#)).unwrap_err();
        assert!(error.field.as_deref() == Some("/name") && error.message.contains("are not allowed"), "{error:?}");
    }

    #[test]
    fn kinds_and_specs_are_checked() {
        assert!(parse(&doc(r#"{"kind":"file","name":"a","spec":{}}"#)).unwrap_err().message.contains("is not a kind"));
        assert!(parse(&doc(r#"{"kind":"a.b","name":"a","spec":3}"#)).unwrap_err().message.contains("must be a map"));
        assert!(parse(&doc("[]")).is_err());
        assert!(parse(&doc("{")).is_err());
    }

    #[test]
    fn a_key_is_found_in_its_line() {
        assert_eq!(column_of("  mode: 0644", "mode"), Some(3));
        assert_eq!(column_of("spec: { path: /a, mode: x }", "mode"), Some(19));
        assert_eq!(column_of("# no", "mode"), None);
    }
}
