//! Reads one file of the config and turns what the TOML reader says into a note with
//! a place, a guess at what was meant, and a way out.

use std::ops::Range;

use tidelock_model::config::Config;
use tidelock_model::error::Severity;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{CliError, Excerpt, Kind, Note};

/// One file, read: the text stays at hand so that later checks can point into it.
pub(super) struct File<'a> {
    /// The file, as the person knows it.
    pub(super) name: &'a str,
    text: &'a str,
    doc: DeTable<'a>,
}

impl<'a> File<'a> {
    /// Reads the syntax, then the shape.
    pub(super) fn read(name: &'a str, text: &'a str) -> Result<(Self, Config), CliError> {
        let doc = DeTable::parse(text)
            .map_err(|error| {
                let message = plain(error.message());
                let hint = message.starts_with("duplicate key").then(|| twice(text, error.span())).flatten();
                let refused = refuse(name, text, error.span(), message, None, hint);
                // What cannot be read has no path that would tell.
                match error.span().is_some_and(|at| sounds_secret(text, at.start)) {
                    true => unseen(refused),
                    false => refused,
                }
            })?
            .into_inner();
        let file = Self { name, text, doc };
        let config = toml::from_str(text).map_err(|error| file.explain(&error))?;
        Ok((file, config))
    }

    /// Whether the file says anything under a key.
    pub(super) fn says(&self, key: &str) -> bool {
        self.doc.contains_key(key)
    }

    /// An error at the key that a path leads to, or at the nearest one above it.
    pub(super) fn wrong(&self, path: &[&str], message: impl Into<String>, hint: Option<String>) -> CliError {
        refuse(self.name, self.text, spot(&self.doc, path), message.into(), None, hint)
    }

    fn explain(&self, error: &toml::de::Error) -> CliError {
        let message = plain(error.message());
        let at = error.span();
        let path = at.as_ref().map(|at| path_of(&self.doc, at)).unwrap_or_default();
        match holds_secrets(&path) {
            true => unseen(self.explained(&message, at, &path)),
            false => self.explained(&message, at, &path),
        }
    }

    fn explained(&self, message: &str, at: Option<Range<usize>>, path: &[String]) -> CliError {
        if let Some((found, known)) = unknown(message, "unknown field ") {
            let table = path.split_last().map(|(_, table)| table).unwrap_or_default();
            let label = nearest(found, &known).map(|near| format!("did you mean `{near}`?"));
            let hint = format!("{} takes: {}", title(table), known.join(", "));
            return refuse(
                self.name,
                self.text,
                at,
                format!("unknown key `{found}` in {}", title(table)),
                label,
                Some(hint),
            );
        }
        let of_places =
            unknown(message, "unknown variant ").is_some_and(|(_, known)| known.starts_with(&["env", "file"]));
        let kept = kept(path);
        let of_another_type = ["invalid type: ", "wanted "].iter().any(|begin| message.starts_with(begin));
        if of_places || kept.is_some() && of_another_type {
            let path = kept.unwrap_or(path);
            let key = path.last().map_or("password", String::as_str);
            let hint = format!("write it as: {key} = {{ file = \"{key}\" }}, or {key} = {{ env = \"NAME\" }}");
            let message = format!("`{}` says where the value is kept, not what it is", path.join("."));
            return unseen(refuse(self.name, self.text, at, message, None, Some(hint)));
        }
        if let Some((found, known)) = unknown(message, "unknown variant ") {
            let label = nearest(found, &known).map(|near| format!("did you mean {near:?}?"));
            let hint = format!("`{}` takes: {}", path.join("."), known.join(", "));
            let message = format!("{found:?} is nothing that `{}` can be", path.join("."));
            return refuse(self.name, self.text, at, message, label, Some(hint));
        }
        if let Some(field) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            let message = format!("{} needs `{field}`", title(path));
            let hint = example(path, field).map(|line| format!("add to {}:\n{line}", title(path)));
            return refuse(self.name, self.text, at, message, None, hint);
        }
        let kinds = ["invalid type: ", "invalid value: "];
        let mistaken = kinds.iter().find_map(|kind| message.strip_prefix(kind)?.split_once(", expected "));
        let mistaken = mistaken.map(|(found, wanted)| (shape(wanted), Some(shape(found)))).or_else(|| {
            let untagged = message.strip_prefix("data did not match any variant of untagged enum ")?;
            Some((shape(untagged), None))
        });
        if let Some((wanted, found)) = mistaken {
            let found = found.filter(|_| !holds_secrets(path));
            let found = found.map_or_else(String::new, |found| format!(", not {found}"));
            let message = format!("`{}` should be {wanted}{found}", path.join("."));
            let hint = path
                .last()
                .and_then(|key| example(&path[..path.len() - 1], key))
                .map(|line| format!("write it as: {line}"));
            return refuse(self.name, self.text, at, message, None, hint);
        }
        refuse(self.name, self.text, at, message.to_owned(), None, None)
    }
}

/// The part of a path that leads to where a password or a key is kept, where it leads there.
fn kept(path: &[String]) -> Option<&[String]> {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    match words[..] {
        ["targets", _, "password" | "next_password", ..] => path.get(..3),
        ["targets", _, "read", "password", ..] | ["targets", _, "key", "secret", ..] => path.get(..4),
        _ => None,
    }
}

/// Whether somebody may have written a secret where a path leads to, though none belongs into the config.
fn holds_secrets(path: &[String]) -> bool {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let there = matches!(
        words[..],
        ["sources", _, "auth" | "proxy_auth" | "webhook", ..] | ["secrets", _, ..] | ["targets", _, "key"]
    );
    there || kept(path).is_some()
}

/// Whether a line that is no TOML is about a secret, as far as its words say.
fn sounds_secret(text: &str, at: usize) -> bool {
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |before| before + 1);
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    ["password", "secret", "token"].iter().any(|word| line.contains(word))
}

/// An error without the line that it is about, which holds what is to be secret: its number will do.
fn unseen(mut error: CliError) -> CliError {
    for note in &mut error.notes {
        let Some(shown) = &mut note.shown else { continue };
        let (line, _) = shown.position();
        (shown.line, shown.text, shown.span) = (line, String::new(), 0..0);
        // It would stand below the line.
        let said = [note.label.take(), note.hint.take()];
        note.hint = Some(said.into_iter().flatten().collect::<Vec<_>>().join(" ")).filter(|said| !said.is_empty());
    }
    error
}

/// What to do with a table or a key that is there already.
fn twice(text: &str, at: Option<Range<usize>>) -> Option<String> {
    let at = at?;
    let line = |at: usize| text.get(..at).map_or(0, |before| before.matches('\n').count());
    let second = line(at.start);
    let shown = text.lines().nth(second)?.trim();
    if shown.starts_with('[') {
        let first = text.lines().take(second).position(|line| line.trim() == shown)?;
        let several = if shown.starts_with("[grants.") {
            format!("; for other targets, write both as [{shown}]")
        } else {
            String::new()
        };
        return Some(format!("{shown} is there already, at line {}: add to its keys{several}", first + 1));
    }
    let key = text.get(at)?;
    let of_key = |line: &str| line.trim().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    let lines: Vec<&str> = text.lines().take(second).collect();
    let first = lines.iter().rposition(|line| of_key(line))?;
    Some(format!("`{key}` is there already, at line {}: one of the two goes, or their lists become one", first + 1))
}

/// What the reader calls a type, or a value of it, in the words of TOML.
fn shape(said: &str) -> &str {
    let number =
        |said: &str| said.len() < 6 && said.starts_with(['u', 'i']) && said.ends_with(|c: char| c.is_ascii_digit());
    match said {
        "a sequence" | "sequence" => "a list",
        "a map" | "map" => "a table",
        "a boolean" => "true or false",
        "Given" => "a text, or where it is kept: { env = \"NAME\" } or { file = \"PATH\" }",
        "Hosts" => "a name, a list of names, or where it is kept: { env = \"NAME\" } or { file = \"PATH\" }",
        "u8" => "a whole number up to 255",
        "u16" => "a whole number up to 65535",
        said if said.starts_with("struct ") => "a table",
        said if said == "usize" || number(said) => "a whole number",
        said if said.chars().next().is_some_and(char::is_uppercase) => "something else",
        said => said,
    }
}

/// Where a file says something of a target: at a key, else where its table begins.
pub(super) fn place_of_target(text: &str, name: &str, key: &str) -> Option<Range<usize>> {
    let doc = DeTable::parse(text).ok()?.into_inner();
    doc.get("targets")?.get_ref().as_table()?.get(name)?;
    spot(&doc, &["targets", name, key])
}

/// A line that would be right, for the keys that people get wrong.
fn example(table: &[String], key: &str) -> Option<String> {
    let line = match (table.first().map(String::as_str), key) {
        (Some("sources"), "url") => r#"url = "https://git.example.com/infra.git""#,
        (Some("sources"), "targets") | (Some("grants"), "targets") => r#"targets = ["web-*"]"#,
        (Some("sources"), "kinds") => r#"kinds = ["server.*"]"#,
        (Some("sources"), "key") => r#"key = "deploy_key""#,
        (Some("sources"), "known_hosts") => r#"known_hosts = "known_hosts""#,
        (Some("sources"), "signers") => r#"signers = "allowed_signers""#,
        (Some("sources"), "verify") => r#"verify = { signers = "allowed_signers" }"#,
        (Some("sources"), "webhook") => r#"webhook = { secret_file = "webhook.secret" }"#,
        (Some("targets"), "type") => r#"type = "machine""#,
        (Some("targets"), "tls") => r#"tls = { mode = "verify-full", ca = "ca.pem" }"#,
        (Some("targets"), "read") => r#"read = { user = "tidelock_read", password = { file = "read.password" } }"#,
        (Some("targets"), "port") => "port = 5432",
        (Some("targets"), "host") => r#"host = "db.example.com""#,
        (Some("targets"), "user") => r#"user = "tidelock""#,
        (Some("targets"), "labels") => r#"labels = { role = "web" }"#,
        (Some("secrets"), "env") => r#"env = "APP_DB_PASSWORD""#,
        (Some("secrets"), "file") => r#"file = "secrets/app-db""#,
        (Some("secrets"), "command") => r#"command = ["/usr/bin/pass", "show", "app-db"]"#,
        (Some("grants"), "paths") => r#"paths = ["/etc/**"]"#,
        (Some("grants"), "exec") => r#"exec = [["/usr/sbin/nginx", "-t"]]"#,
        (Some("grants"), "exec_read") => r#"exec_read = [["/usr/bin/systemctl", "is-enabled", "nginx"]]"#,
        (Some("http"), "listen") => r#"listen = "127.0.0.1:9477""#,
        (Some("gate"), "stacks") => r#"stacks = "envs/prod/**""#,
        (Some("gate"), "targets") => r#"targets = ["web-*"]"#,
        (Some("gate"), "window") => r#"window = "Sun 02:00-04:00 Europe/Berlin""#,
        (Some("gate"), "approvals") => "approvals = 1",
        (Some("gate"), "approvers") => r#"approvers = ["ada", "@dba"]"#,
        (Some("gate"), "budget") => "budget = { destroy = 3 }",
        (Some("groups"), _) => r#"dba = ["ada", "grace"]"#,
        (Some("people"), _) => r#"ada = "ada@example.com""#,
        (None, "include") => r#"include = ["targets.d/*.toml"]"#,
        _ => return None,
    };
    Some(line.to_owned())
}

fn refuse(
    name: &str,
    text: &str,
    at: Option<Range<usize>>,
    message: String,
    label: Option<String>,
    hint: Option<String>,
) -> CliError {
    let span = at.unwrap_or(0..0);
    let shown = Some(Excerpt { file: name.to_owned(), line: 1, text: text.to_owned(), span });
    CliError::at(Kind::Config, Note { severity: Severity::Error, message, shown, label, hint })
}

/// `[sources.infra]`, or `the file` at the top.
fn title(path: &[String]) -> String {
    if path.is_empty() { "the file".to_owned() } else { format!("[{}]", path.join(".")) }
}

/// The reader's sentence on one line.
fn plain(message: &str) -> String {
    message.trim().replace('\n', ", ")
}

/// ``unknown field `x`, expected one of `a`, `b` `` -> (x, [a, b]).
fn unknown<'m>(message: &'m str, what: &str) -> Option<(&'m str, Vec<&'m str>)> {
    let mut quoted = message.strip_prefix(what)?.split('`').skip(1).step_by(2);
    let found = quoted.next()?;
    Some((found, quoted.collect()))
}

/// The known word that was most likely meant.
pub(crate) fn nearest<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|known| (strsim::jaro_winkler(found, known), *known))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// Where a path of keys leads; the nearest key above it where it leads nowhere.
fn spot(doc: &DeTable<'_>, path: &[&str]) -> Option<Range<usize>> {
    let (first, rest) = path.split_first()?;
    let (key, value) = doc.iter().find(|(key, _)| key.get_ref() == first)?;
    let below = match value.get_ref() {
        DeValue::Table(table) => spot(table, rest),
        DeValue::Array(items) => match rest.split_first() {
            Some((index, rest)) => index.parse().ok().and_then(|index: usize| items.get(index)).map(|item| {
                let below = item.get_ref().as_table().and_then(|table| spot(table, rest));
                below.unwrap_or_else(|| item.span())
            }),
            None => None,
        },
        _ if rest.is_empty() => Some(value.span()),
        _ => None,
    };
    Some(below.unwrap_or_else(|| key.span()))
}

/// The keys that lead to a span; empty where nothing has that very span.
fn path_of(doc: &DeTable<'_>, at: &Range<usize>) -> Vec<String> {
    fn walk(table: &DeTable<'_>, at: &Range<usize>, path: &mut Vec<String>) -> bool {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            if key.span() == *at || inside(value, at, path) {
                return true;
            }
            path.pop();
        }
        false
    }
    fn inside(value: &Spanned<DeValue<'_>>, at: &Range<usize>, path: &mut Vec<String>) -> bool {
        let below = match value.get_ref() {
            DeValue::Table(table) => walk(table, at, path),
            DeValue::Array(items) => items.iter().any(|item| inside(item, at, path)),
            _ => false,
        };
        below || value.span() == *at
    }
    let mut path = Vec::new();
    walk(doc, at, &mut path);
    path
}
