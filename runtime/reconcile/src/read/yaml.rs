//! YAML within budgets: bombs, nesting and duplicate keys end as named errors.

use serde::de::DeserializeOwned;
use serde_json::Value;
use tidelock_model::error::{Diagnostic, Place};

use super::in_words;

/// The longest YAML file that is read, in bytes.
pub const MAX_BYTES: usize = 4 << 20;

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_nodes: 250_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_documents: 1,
            max_recorded_anchor_events: 100_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            // What a document may grow by through aliases.
            max_total_replayed_events: 100_000,
        },
        strict_booleans: true,
    }
}

/// Reads one document into a type.
///
/// # Errors
/// One diagnostic with the place, the line as a snippet, and a hint where a word was mistyped.
pub fn typed<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, Diagnostic> {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len());
        return Err(Diagnostic::error(message, Some(Place::file(file))));
    }
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| diagnostic(text, file, &error))
}

/// Reads one document as JSON. An empty one is `null`.
///
/// # Errors
/// As [`typed`].
pub fn value(text: &str, file: &str) -> Result<Value, Diagnostic> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Value::Null);
    }
    typed(text, file)
}

fn diagnostic(text: &str, file: &str, error: &serde_saphyr::Error) -> Diagnostic {
    let location = error.location();
    let place = match location {
        Some(location) => Place {
            file: file.to_owned(),
            line: u32::try_from(location.line()).unwrap_or(0),
            column: u32::try_from(location.column()).unwrap_or(0),
        },
        None => Place::file(file),
    };
    let snippet = (place.line > 0).then(|| text.lines().nth(place.line as usize - 1)).flatten().map(str::to_owned);
    let rendered = error.without_snippet().to_string();
    let (message, hint) = in_words(&plain(&rendered));
    Diagnostic { snippet, hint, ..Diagnostic::error(message, Some(place)) }
}

/// The library's sentence without the place that it adds to the end or the front.
fn plain(rendered: &str) -> String {
    let line = rendered.lines().next().unwrap_or(rendered);
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let line = match line.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((place, rest)) if place.contains("column") => rest,
        _ => line,
    };
    let line = line.rfind(" at line ").map_or(line, |at| &line[..at]);
    // What a caller of the library could set is nothing that a reader could.
    line.split(", set DuplicateKeyPolicy").next().unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_bomb_is_an_error_and_not_a_meal() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let last = i - 1;
            text.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{last}"); 10].join(", ")));
        }
        let error = value(&text, "bomb.yaml").unwrap_err();
        assert_eq!(error.place.unwrap().file, "bomb.yaml");
    }

    #[test]
    fn duplicate_keys_and_deep_nesting_are_errors() {
        let error = value("a: 1\nb: 2\na: 3\n", "x.yaml").unwrap_err();
        assert_eq!(error.place.as_ref().unwrap().line, 3, "{error:?}");
        assert!(value(&format!("{}{}", "[".repeat(500), "]".repeat(500)), "x.yaml").is_err());
    }

    #[test]
    fn plain_words_stay_words() {
        assert_eq!(
            value("a: yes\nb: on\nc: true\n", "x.yaml").unwrap(),
            serde_json::json!({"a":"yes","b":"on","c":true})
        );
        assert_eq!(value("# nothing\n\n", "x.yaml").unwrap(), Value::Null);
    }
}
