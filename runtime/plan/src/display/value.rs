//! Values and foreign text, made short and harmless.

use serde_json::Value;
use tidelock_model::error::tame;

/// Foreign text on one line.
pub(crate) fn plain(text: &str, max: usize) -> String {
    tame(text, max).replace(['\n', '\t'], " ").trim_end().to_owned()
}

/// Foreign text of several lines.
pub(crate) fn tamed_lines(text: &str, max: usize) -> Vec<String> {
    tame(text, max).lines().map(|line| line.replace('\t', "    ")).collect()
}

/// One side of a field. `room` is in characters.
pub(crate) fn side(value: Option<&Value>, room: usize) -> String {
    let text = match value {
        None => return "nothing".to_owned(),
        Some(Value::String(text)) if text == crate::diff::WITHHELD => text.clone(),
        Some(value) => match content(value) {
            Some(text) => text,
            None => value.to_string(),
        },
    };
    cut(&plain(&text, 4_096), room)
}

/// A content stands as digest and size: `sha256:…` is of no use in full.
fn content(value: &Value) -> Option<String> {
    let map = value.as_object().filter(|map| map.len() <= 2)?;
    let digest = map.get("digest")?.as_str()?.strip_prefix("sha256:")?;
    let size = map.get("size").and_then(Value::as_u64);
    let short = digest.get(..12).unwrap_or(digest);
    Some(match size {
        Some(size) => format!("{short} ({size} bytes)"),
        None => short.to_owned(),
    })
}

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{kept}…")
}
