//! JSON from guests, and the short texts around it: bounded before it is parsed,
//! and checked before it is used.

use serde_json::Value;
use tidelock_model::error::tame;
use tidelock_model::name::Identity;

/// One JSON text of a guest. The largest are those with a ruleset of 8 MiB, whose lines and tabs take two
/// bytes each here. What one call hands over at all is bounded by `limits.NAME.output`.
const MAX_TEXT: usize = 15 << 20;
/// Values in one text. A parsed value takes some 50 times the room of its text.
const MAX_NODES: usize = 1 << 17;
/// An identity, a handle, a key of a group.
const MAX_KEY: usize = 4 << 10;

/// Parses JSON of a guest. Depth is bounded by the parser (128).
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    if let Some(why) = too_long(text) {
        return Err(why);
    }
    if nodes(text) > MAX_NODES {
        return Err(format!("JSON of more than {MAX_NODES} values"));
    }
    serde_json::from_str(text).map_err(|error| format!("JSON that cannot be read: {error}"))
}

/// Why a text is not even read, where it is too long.
pub(crate) fn too_long(text: &str) -> Option<String> {
    (text.len() > MAX_TEXT).then(|| format!("JSON of {} bytes; {MAX_TEXT} are the most", text.len()))
}

/// How many values a text holds, at most: each but the first comes after a comma or
/// a bracket. Those inside of strings do not count, for a file's content has many.
pub(crate) fn nodes(text: &str) -> usize {
    let (mut nodes, mut inside, mut escaped) = (1_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b',' | b'[' | b'{' if !inside => nodes += 1,
            _ => {}
        }
    }
    nodes
}

/// Parses JSON of a guest that must be an object.
pub(crate) fn object(text: &str) -> Result<Value, String> {
    match parse(text)? {
        value @ Value::Object(_) => Ok(value),
        _ => Err("JSON that is not an object".to_owned()),
    }
}

/// A text that is kept and compared: neither empty nor long, no control characters.
pub(crate) fn key(what: &str, text: String) -> Result<String, String> {
    if text.is_empty() {
        return Err(format!("an empty {what}"));
    }
    if text.len() > MAX_KEY {
        return Err(format!("one {what} of {} bytes, where {MAX_KEY} are the most", text.len()));
    }
    // Line breaks, control sequences, and what turns a line around.
    if text.chars().any(char::is_control) || tame(&text, usize::MAX) != text {
        return Err(format!("the {what} {text:?}, which holds control characters"));
    }
    Ok(text)
}

/// An identity as a guest gave it.
pub(crate) fn identity(text: String) -> Result<Identity, String> {
    key("identity", text).map(Identity::new)
}

/// A JSON pointer as a guest gave it.
pub(crate) fn pointer(text: String) -> Result<String, String> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err(format!("{text:?}, which is not a JSON pointer"));
    }
    if text.is_empty() { Ok(text) } else { key("JSON pointer", text) }
}

/// JSON pointers as a guest gave them.
pub(crate) fn pointers(texts: Vec<String>) -> Result<Vec<String>, String> {
    texts.into_iter().map(pointer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_bounded_in_size_depth_and_values() {
        assert!(parse(&format!("\"{}\"", "x".repeat(MAX_TEXT))).unwrap_err().contains("bytes"));
        assert!(parse(&"[".repeat(1000)).unwrap_err().contains("recursion"));
        assert!(parse(&format!("[{}0]", "0,".repeat(MAX_NODES + 1))).unwrap_err().contains("values"));
        assert!(parse(&format!("\"{}\"", ",".repeat(MAX_NODES + 1))).is_ok(), "commas of a text are no values");
        assert!(object("[]").is_err());
        assert!(object("{}").is_ok());
    }

    #[test]
    fn identities_are_short_visible_texts() {
        assert!(identity("path:/etc/motd".into()).is_ok());
        for bad in [String::new(), "a\u{1b}[2J".into(), "a\nb".into(), "a\u{202e}b".into(), "x".repeat(MAX_KEY + 1)] {
            assert!(identity(bad.clone()).is_err(), "{bad:?}");
        }
        assert!(pointer("/a/b".into()).is_ok() && pointer(String::new()).is_ok() && pointer("a".into()).is_err());
    }
}
