//! The words that differ from run to run, in one place.

use std::path::Path;

/// Replaces what no two runs have in common, so that the rest can be compared
/// with a snapshot: the world's folder, digests, commit ids, times, durations
/// and ports.
#[must_use]
pub fn redact(text: &str, root: &Path) -> String {
    let root = root.display().to_string();
    let mut out = String::new();
    let mut rest = text.replace(&root, "[root]");
    while !rest.is_empty() {
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        if end == 0 {
            let after = rest.chars().next().map_or(rest.len(), char::len_utf8);
            out.push_str(&rest[..after]);
            rest.drain(..after);
        } else {
            // A full stop or colon at the end belongs to the sentence.
            let word = rest[..end].trim_end_matches(['.', ':']);
            out.push_str(&replacement(word).unwrap_or_else(|| word.to_owned()));
            let length = word.len().max(1);
            if word.is_empty() {
                out.push_str(&rest[..length]);
            }
            rest.drain(..length);
        }
    }
    out
}

/// The letters of digests, times and addresses.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '-' | '_')
}

fn replacement(word: &str) -> Option<String> {
    if let Some(hex) = word.strip_prefix("sha256:") {
        return is_hex(hex, 8..=64).then(|| "sha256:[digest]".to_owned());
    }
    if is_hex(word, 40..=40) || is_hex(word, 64..=64) {
        return Some("[id]".to_owned());
    }
    if let Some((address, port)) = word.rsplit_once(':')
        && matches!(address, "127.0.0.1" | "localhost")
        && port.bytes().all(|digit| digit.is_ascii_digit())
    {
        return Some(format!("{address}:[port]"));
    }
    if is_time(word) {
        return Some("[time]".to_owned());
    }
    is_duration(word).then(|| "[duration]".to_owned())
}

fn is_hex(word: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&word.len()) && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `2026-01-01T00:00:00Z`, with or without fractions of a second.
fn is_time(word: &str) -> bool {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape.starts_with("0000-00-00T00:00:00") && shape.ends_with('Z')
}

/// `12ms`, `0.8s`.
fn is_duration(word: &str) -> bool {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &word[digits.len()..];
    matches!(unit, "ms" | "s" | "us") && !digits.is_empty() && digits.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(redact(text, Path::new("/tmp/world")), expected);
    }

    #[test]
    fn what_differs_from_run_to_run_is_replaced() {
        check("see /tmp/world/t1/a.txt.", "see [root]/t1/a.txt.");
        check("plan sha256:0123456789abcdef0123456789abcdef.", "plan sha256:[digest].");
        check("commit 0123456789012345678901234567890123456789: done", "commit [id]: done");
        check("http://127.0.0.1:40123/infra.git", "http://127.0.0.1:[port]/infra.git");
        check("at 2026-01-01T00:00:00.123Z in 12ms", "at [time] in [duration]");
    }

    #[test]
    fn ordinary_words_stay() {
        for text in ["mode 0644, 5 files ... done: yes", "server.file/motd", "é — ü", "web-1:prod", "...", ""] {
            check(text, text);
        }
    }
}
