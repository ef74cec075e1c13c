//! From the text of a file to what it holds, and what SOPS says of itself in it.

use granit_parser::{Event, Options, Parser, ScalarStyle};

use super::Refusal;
use super::tree::Node;

/// Lists and maps in each other.
const DEPTH: usize = 64;
/// Where SOPS keeps what it says of itself; in variables, what their names begin with.
const OWN: &str = "sops";
const OWN_VARIABLE: &str = "sops_";

/// What a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// YAML.
    Yaml,
    /// JSON, which whole files of other kinds are put into, too.
    Json,
    /// Lines of NAME=value.
    Dotenv,
}

impl Format {
    /// By the ending of a file's name, as SOPS tells it.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path.rsplit_once('.').map(|(_, ending)| ending)? {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "env" => Some(Self::Dotenv),
            _ => None,
        }
    }
}

/// A file.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Node,
    pub(super) metadata: Metadata,
}

/// What SOPS says of a file.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    /// The data key, encrypted to each age recipient.
    pub(super) age: Vec<String>,
    pub(super) mac: String,
    pub(super) last_modified: String,
    pub(super) mac_only_encrypted: bool,
    pub(super) unencrypted_suffix: Option<String>,
    pub(super) encrypted_suffix: Option<String>,
    pub(super) unencrypted_regex: Option<String>,
    pub(super) encrypted_regex: Option<String>,
    /// The name of a rule about comments, which are not read here.
    pub(super) other_rule: Option<&'static str>,
}

/// Reads a file.
pub(super) fn read(text: &str, format: Format) -> Result<Document, Refusal> {
    let root = match format {
        Format::Yaml => yaml(text)?,
        Format::Json => json(text)?,
        Format::Dotenv => return dotenv(text),
    };
    let Node::Map(mut members) = root else { return Err(no_sops()) };
    let own = members.iter().position(|(key, _)| key == OWN).ok_or_else(no_sops)?;
    let (_, own) = members.remove(own);
    Ok(Document { root: Node::Map(members), metadata: metadata(&own)? })
}

/// Whether a text is a whole file that SOPS put into JSON.
pub(super) fn is_whole(text: &str) -> bool {
    let whole = |root: Node| root.get(OWN).is_some_and(|own| own.get("mac").is_some()) && root.get("data").is_some();
    text.trim_start().starts_with('{') && json(text).is_ok_and(whole)
}

fn no_sops() -> Refusal {
    Refusal::new("it is no file that SOPS encrypted").hint("encrypt it: sops encrypt -i --age age1... FILE")
}

fn metadata(own: &Node) -> Result<Metadata, Refusal> {
    let text = |key: &str| own.get(key).and_then(Node::as_text).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    if matches!(own.get("key_groups"), Some(Node::List(groups)) if !groups.is_empty()) {
        return Err(split());
    }
    let age = match own.get("age") {
        Some(Node::List(recipients)) => {
            recipients.iter().filter_map(|one| one.get("enc")?.as_text()).map(ToOwned::to_owned).collect()
        }
        _ => vec![],
    };
    let rules = ["unencrypted_comment_regex", "encrypted_comment_regex"];
    Ok(Metadata {
        age,
        mac: text("mac").ok_or_else(no_mac)?,
        last_modified: text("lastmodified").ok_or_else(no_mac)?,
        mac_only_encrypted: own.get("mac_only_encrypted") == Some(&Node::boolean(true)),
        unencrypted_suffix: text("unencrypted_suffix"),
        encrypted_suffix: text("encrypted_suffix"),
        unencrypted_regex: text("unencrypted_regex"),
        encrypted_regex: text("encrypted_regex"),
        other_rule: rules.into_iter().find(|rule| text(rule).is_some()),
    })
}

fn no_mac() -> Refusal {
    Refusal::new("its metadata has no MAC, so nobody can tell whether it was changed")
}

fn split() -> Refusal {
    Refusal::new("its data key is split among groups of keys, which is not served by this version")
        .hint("encrypt it to age recipients of one group")
}

fn json(text: &str) -> Result<Node, Refusal> {
    // The reader's own words say where, and may quote a key; keys are in the clear.
    serde_json::from_str(text).map_err(|error| Refusal::new(format!("it is no JSON: {error}")))
}

/// Lines of NAME=value, in which `\n` stands for a line break; comments begin with `#`.
fn dotenv(text: &str) -> Result<Document, Refusal> {
    let mut members: Vec<(String, Node)> = Vec::new();
    let mut own: Vec<(String, Node)> = Vec::new();
    let mut age = Vec::new();
    for line in text.split('\n').filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) =
            line.split_once('=').ok_or_else(|| Refusal::new("a line of it is no NAME=value and no comment"))?;
        let value = value.replace("\\n", "\n");
        match name.strip_prefix(OWN_VARIABLE) {
            Some(name) if name.starts_with("key_groups__") => return Err(split()),
            Some(name) if name.starts_with("age__list_") => {
                if name.ends_with("__map_enc") {
                    age.push(value);
                }
            }
            Some("mac_only_encrypted") => own.push(("mac_only_encrypted".into(), Node::boolean(value == "true"))),
            Some(name) => own.push((name.to_owned(), Node::Text(value))),
            None => members.push((name.to_owned(), Node::Text(value))),
        }
    }
    if own.is_empty() {
        return Err(no_sops());
    }
    let root = Node::map(members).map_err(Refusal::new)?;
    Ok(Document { root, metadata: Metadata { age, ..metadata(&Node::Map(own))? } })
}

/// A list or map that is still open.
enum Open {
    List(Vec<Node>),
    Map { members: Vec<(String, Node)>, key: Option<String> },
}

/// One document of YAML.
fn yaml(text: &str) -> Result<Node, Refusal> {
    let mut options = Options::default();
    options.flow_nesting_limit = DEPTH;
    options.block_nesting_limit = DEPTH;
    let mut stack: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| Refusal::new(format!("it is no YAML: {error}")))?;
        let refuse = |why: &str| Refusal::new(format!("line {}: {why}", span.start.line()));
        let node = match event {
            Event::DocumentStart(..) if root.is_some() => {
                return Err(refuse("a second document; put it into a file of its own"));
            }
            Event::Alias(_) => return Err(refuse("an alias, which SOPS does not write")),
            Event::Scalar(.., Some(_)) | Event::SequenceStart(.., Some(_)) | Event::MappingStart(.., Some(_)) => {
                return Err(refuse("a tag, which has no meaning here"));
            }
            Event::SequenceStart(..) => {
                stack.push(Open::List(vec![]));
                continue;
            }
            Event::MappingStart(..) => {
                stack.push(Open::Map { members: vec![], key: None });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some(Open::List(items)) => Node::List(items),
                Some(Open::Map { members, .. }) => Node::map(members).map_err(|why| refuse(&why))?,
                None => continue,
            },
            Event::Scalar(text, style, ..) => {
                if let Some(Open::Map { key: key @ None, .. }) = stack.last_mut() {
                    *key = Some(text.into_owned());
                    continue;
                }
                if style == ScalarStyle::Plain { plain(&text) } else { Node::Text(text.into_owned()) }
            }
            _ => continue,
        };
        match stack.last_mut() {
            None => root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map { members, key }) => {
                let key = key.take().ok_or_else(|| refuse("a list or a map as a key"))?;
                members.push((key, node));
            }
        }
    }
    root.ok_or_else(no_sops)
}

/// What a word without quotes means to SOPS. Times are texts: it writes them as it counts them.
fn plain(text: &str) -> Node {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Node::Null,
        "true" | "True" | "TRUE" => return Node::boolean(true),
        "false" | "False" | "FALSE" => return Node::boolean(false),
        ".nan" | ".NaN" | ".NAN" => return Node::float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Node::float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Node::float(f64::NEG_INFINITY),
        _ => {}
    }
    let digits = text.replace('_', "");
    let (sign, whole) = match digits.strip_prefix(['+', '-']) {
        Some(rest) => (if digits.starts_with('-') { "-" } else { "" }, rest),
        None => ("", digits.as_str()),
    };
    let (base, part) = match whole.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &whole[2..]),
        [b'0', b'o' | b'O', ..] => (8, &whole[2..]),
        [b'0', b'b' | b'B', ..] => (2, &whole[2..]),
        [b'0', _, ..] => (8, &whole[1..]),
        _ => (10, whole),
    };
    if part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && let Ok(number) = i64::from_str_radix(&format!("{sign}{part}"), base)
    {
        return Node::Plain(number.to_string());
    }
    match digits.parse::<f64>() {
        // Rust reads words such as `infinity` too.
        Ok(number) if whole.starts_with(|c: char| c.is_ascii_digit() || c == '.') => Node::float(number),
        _ => Node::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_without_quotes_mean_what_they_mean_to_sops() {
        for (text, wanted) in [
            ("visible", Node::Text("visible".into())),
            ("yes", Node::Text("yes".into())),
            ("~", Node::Null),
            ("True", Node::Plain("True".into())),
            ("12", Node::Plain("12".into())),
            ("-7", Node::Plain("-7".into())),
            ("+7", Node::Plain("7".into())),
            ("0x10", Node::Plain("16".into())),
            ("0o17", Node::Plain("15".into())),
            ("0644", Node::Plain("420".into())),
            ("1_000", Node::Plain("1000".into())),
            ("1.50", Node::Plain("1.5".into())),
            ("1e+21", Node::Plain("1000000000000000000000".into())),
            ("1e-07", Node::Plain("0.0000001".into())),
            (".inf", Node::Plain("+Inf".into())),
            (".nan", Node::Plain("NaN".into())),
            ("infinity", Node::Text("infinity".into())),
            ("nan", Node::Text("nan".into())),
            ("-", Node::Text("-".into())),
            ("2024-01-02T00:00:00Z", Node::Text("2024-01-02T00:00:00Z".into())),
            ("12:30", Node::Text("12:30".into())),
            ("1.2.3", Node::Text("1.2.3".into())),
        ] {
            assert_eq!(plain(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_sops_does_not_write_is_refused() {
        for (text, why) in [
            ("a: &x 1\nb: *x\n", "alias"),
            ("a: !!binary aGk=\n", "a tag"),
            ("a: 1\na: 2\n", "stands there twice"),
            ("? [a]\n: 1\n", "as a key"),
            ("a: 1\n---\nb: 2\n", "a second document"),
            ("a: [\n", "no YAML"),
            ("a: 1\n", "no file that SOPS encrypted"),
            ("- a\n", "no file that SOPS encrypted"),
            ("", "no file that SOPS encrypted"),
            ("a: 1\nsops: {age: []}\n", "no MAC"),
            ("a: 1\nsops: {key_groups: [{age: []}, {age: []}], mac: x, lastmodified: y}\n", "split among groups"),
        ] {
            let refused = read(text, Format::Yaml).err().unwrap_or_else(|| panic!("{text}")).why;
            assert!(refused.contains(why), "{text}: {refused}");
        }
        assert!(read("{\"a\": 1, \"a\": 2}", Format::Json).err().unwrap().why.contains("twice"));
        assert!(read("A=1\nA=2\nsops_mac=x\n", Format::Dotenv).err().unwrap().why.contains("twice"));
        assert!(read("A\n", Format::Dotenv).err().unwrap().why.contains("no NAME=value"));
        let deep = format!("a: {}", "[".repeat(200_000));
        assert!(read(&deep, Format::Yaml).is_err());
    }
}
