//! A line of a file of Git as people are shown it: without what stands under a key that holds secrets. A
//! password that stands there by mistake is else repeated by an error about its neighbour, in a terminal, a
//! log and a store.

use std::collections::BTreeSet;

use crate::kind::KindInfo;
use crate::secret::KEY;

/// What keys of secrets are called, whatever kind they belong to: whole, or as the last word of a key.
const WORDS: [&str; 9] =
    ["password", "passwd", "passphrase", "secret", "token", "credential", "private_key", "preshared_key", "api_key"];

/// What stands in the place of a value.
const WITHHELD: &str = "(not shown)";

/// Names of fields whose values are not shown, besides those that are called so.
pub type Hidden = BTreeSet<String>;

/// The fields that a kind says are never shown, by their last names.
pub fn hidden_by(kind: &KindInfo) -> impl Iterator<Item = String> {
    let sensitive = kind.fields.iter().filter(|field| field.roles.sensitive);
    sensitive.filter_map(|field| field.path.rsplit('/').find(|part| !matches!(*part, "*" | ""))).map(str::to_owned)
}

/// A line of a text, counted from 0, up to the first value that is not shown.
#[must_use]
pub fn line_of(text: &str, at: usize, hidden: &Hidden) -> Option<String> {
    let lines: Vec<&str> = text.lines().take(at + 1).collect();
    let line = lines.get(at)?;
    // What is indented below a key, or goes on from its line, is its value.
    let mut indent = depth(line);
    for above in lines[..at].iter().rev().filter(|above| !above.trim().is_empty()) {
        if indent == 0 {
            break;
        }
        if depth(above) < indent {
            indent = depth(above);
            let names = keys(line).any(|(key, _)| key == KEY);
            if !names && keys(above).any(|(key, _)| is_secret(key, hidden)) {
                return Some(format!("{}{WITHHELD}", &line[..line.len() - line.trim_start().len()]));
            }
        }
    }
    let first = keys(line).find(|(key, end)| is_secret(key, hidden) && stands_open(&line[*end..]));
    Some(match first {
        Some((_, end)) => format!("{} {WITHHELD}", &line[..end]),
        None => (*line).to_owned(),
    })
}

/// Where a line's key stands; that of an item of a list stands behind its dash.
fn depth(line: &str) -> usize {
    let mut rest = line.trim_start();
    while let Some(item) = rest.strip_prefix("- ") {
        rest = item.trim_start();
    }
    line.len() - rest.len()
}

fn is_secret(key: &str, hidden: &Hidden) -> bool {
    let plain = key.to_ascii_lowercase().replace('-', "_");
    let called = |word: &str| plain.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'));
    hidden.contains(key) || WORDS.into_iter().any(called)
}

/// Whether a value is more than the name of a secret or nothing.
fn stands_open(rest: &str) -> bool {
    let rest = rest.trim_start();
    let named = rest.strip_prefix('{').and_then(|inside| keys(inside).next());
    let named = named.is_some_and(|(key, _)| key == KEY);
    !(rest.is_empty() || rest.starts_with('#') || named)
}

/// The keys of a line, each with where its colon ends. A colon within a text counts too: one key too many
/// hides what could have been shown, and one too few would show what may not be.
fn keys(line: &str) -> impl Iterator<Item = (&str, usize)> {
    line.match_indices(':').filter_map(|(at, _)| {
        let before = line[..at].trim_end();
        let bare = before.trim_end_matches(['"', '\'']);
        let start = bare
            .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '.')))
            .map_or(0, |at| at + bare[at..].chars().next().map_or(1, char::len_utf8));
        let key = &bare[start..];
        (!key.is_empty()).then_some((key, at + 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        line_of(line, 0, &Hidden::from(["pin".to_owned()])).unwrap()
    }

    #[test]
    fn what_stands_under_a_key_of_secrets_is_not_shown() {
        for (line, wanted) in [
            ("spec: { name: a, password: hunter2, lgoin: true }", "spec: { name: a, password: (not shown)"),
            ("  password: hunter2", "  password: (not shown)"),
            ("  \"password\":\"hunter2\", \"lgoin\": true", "  \"password\": (not shown)"),
            ("{ 'db-Password' : \"a, b\" }", "{ 'db-Password' : (not shown)"),
            ("spec: { private_key: [hunter2] }", "spec: { private_key: (not shown)"),
            ("spec: { pin: 1234, lgoin: true }", "spec: { pin: (not shown)"),
            ("spec: { password: { value: hunter2 } }", "spec: { password: (not shown)"),
            ("spec: { password: {{ hunter2 }} }", "spec: { password: (not shown)"),
        ] {
            assert_eq!(shown(line), wanted);
        }
    }

    #[test]
    fn all_else_is_shown() {
        for line in [
            "spec: { name: a, password: { $secret: app/db }, lgoin: true }",
            "spec: {password: {\"$secret\": app}, lgoin: true}",
            "  password:",
            "  password: # by its name",
            "  password_file: /etc/a",
            "  spinning: true",
            "name: my-secret",
            "  path: /a:b",
        ] {
            assert_eq!(shown(line), line);
        }
        assert_eq!(line_of("a", 1, &Hidden::new()), None);
    }

    #[test]
    fn neither_are_further_lines_of_such_a_value() {
        let list = "peers:\n- private_key: hunter2\n  port: x\n- port: y\n";
        assert_eq!(line_of(list, 1, &Hidden::new()).as_deref(), Some("- private_key: (not shown)"));
        for at in [2, 3] {
            assert_eq!(line_of(list, at, &Hidden::new()).as_deref(), list.lines().nth(at));
        }
        let text = "spec:\n  password: >\n    hunter2\n\n    more\n  login: true\n  private_key:\n    $secret: key\n";
        let line = |at| line_of(text, at, &Hidden::new()).unwrap();
        assert_eq!(line(1), "  password: (not shown)");
        assert_eq!((line(2), line(4)), ("    (not shown)".into(), "    (not shown)".into()));
        assert_eq!((line(5), line(7)), ("  login: true".into(), "    $secret: key".into()));
    }
}
