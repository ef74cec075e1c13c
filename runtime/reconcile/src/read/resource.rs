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
    let unknown = || diagnostic.message.split('`').nth(1).filter(|_| diagnostic.message.starts_with("unknown field"));
    let keys: Vec<&str> = match diagnostic.field.as_deref() {
        Some(field) => field.split('/').filter(|part| !part.is_empty() && part.parse::<usize>().is_err()).collect(),
        None => unknown().into_iter().collect(),
    };
    if let Some((line, column)) = line_of_key(&text, place.line as usize - 1, &keys) {
        place.line = u32::try_from(line + 1).unwrap_or(place.line);
        place.column = column;
    }
    // What stands there by mistake is not repeated.
    if !diagnostic.message.contains(CLEAR) {
        diagnostic.snippet = snippet::line_of(&text, place.line as usize - 1, hidden);
    }
}

/// The line, from 0, and the column, from 1, of the last of these keys, each of which stands behind the one
/// before it, in the document that begins at a line. What of the first ones is not found is passed over.
fn line_of_key(text: &str, start: usize, keys: &[&str]) -> Option<(usize, u32)> {
    let lines: Vec<&str> = text.lines().collect();
    let end = (start + 1..lines.len()).find(|i| lines[*i].starts_with("---")).unwrap_or(lines.len());
    let (last, above) = keys.split_last()?;
    let (mut line, mut byte) = (start, 0);
    let next = |key: &str, line: usize, byte: usize| {
        (line..end).find_map(|i| Some((i, key_in(lines.get(i)?, key, if i == line { byte } else { 0 })?)))
    };
    for key in above {
        if let Some((i, at)) = next(key, line, byte) {
            (line, byte) = (i, at + key.len());
        }
    }
    let (i, at) = next(last, line, byte)?;
    Some((i, u32::try_from(lines[i][..at].chars().count() + 1).unwrap_or(1)))
}

/// Where a line has `key:` as a YAML key, in bytes, at `from` or behind it.
fn key_in(line: &str, key: &str, from: usize) -> Option<usize> {
    let fits = |at: &usize| {
        let before = line[..*at].trim_start();
        let free = before.is_empty() || before.ends_with(['{', ',', ' ', '"', '\'']);
        free && line[at + key.len()..].trim_start_matches(['"', '\'']).starts_with(':')
    };
    line.match_indices(key).map(|(at, _)| at).filter(|at| *at >= from).find(fits)
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
        assert_eq!(key_in("  mode: 0644", "mode", 0), Some(2));
        assert_eq!(key_in("spec: { path: /a, mode: x }", "mode", 0), Some(18));
        assert_eq!(key_in("spec: { a-mode: /a, mode: x }", "mode", 0), Some(20));
        assert_eq!(key_in("# no", "mode", 0), None);
    }

    #[test]
    fn a_field_is_found_behind_what_it_is_in() {
        let text =
            "kind: network.link\nname: lan\nspec:\n  name: br0/x\n  hops:\n  - { dev: a }\n---\nname: b\nup: x\n";
        let found = |start, keys: &[&str]| line_of_key(text, start, keys);
        assert_eq!(found(0, &["name"]), Some((1, 1)));
        assert_eq!(found(0, &["spec", "name"]), Some((3, 3)));
        assert_eq!(found(0, &["spec", "hops", "dev"]), Some((5, 7)));
        assert_eq!(found(0, &["spec", "lost", "dev"]), Some((5, 7)));
        assert_eq!(found(0, &["spec", "up"]), None, "it stands in another document");
        assert_eq!(found(6, &["up"]), Some((8, 1)));
        assert_eq!(line_of_key("{ name: a, spec: { name: b } }", 0, &["spec", "name"]), Some((0, 20)));
        assert_eq!(found(99, &["up"]), None);
    }
}
