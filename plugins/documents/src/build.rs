//! From the parser's events to values.

use std::collections::BTreeMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Map, Value};

use crate::scalar;
use crate::{Document, Fault, Limits};

/// The core schema's tags; anything else asks for a type that JSON does not have.
const CORE: &str = "tag:yaml.org,2002:";

/// Reads every document of a text, empty ones left out. A fault ends the reading, for
/// what follows it can no longer be told; the documents before it stand.
#[must_use]
pub fn read(text: &str, limits: &Limits) -> (Vec<Document>, Option<Fault>) {
    let mut documents = Vec::new();
    let fault = Reader::new(text, limits).and_then(|mut reader| reader.all(text, &mut documents)).err();
    (documents, fault)
}

/// A list or mapping that is still open.
enum Open {
    List(Vec<Value>),
    Mapping { map: Map<String, Value>, key: Option<String>, merges: Vec<Value> },
}

struct Frame {
    open: Open,
    anchor: usize,
    at: (u32, u32),
}

struct Reader<'l> {
    limits: &'l Limits,
    nodes: usize,
    copied: usize,
    /// Values by the parser's number of their anchor, with their size in nodes.
    anchors: BTreeMap<usize, (Value, usize)>,
    stack: Vec<Frame>,
    root: Option<Document>,
}

impl<'l> Reader<'l> {
    fn new(text: &str, limits: &'l Limits) -> Result<Self, Fault> {
        if text.len() > limits.bytes {
            return Err(fault(
                (1, 1),
                format!("the text has {} bytes, {} are allowed", text.len(), limits.bytes),
                Some("split it into several files"),
            ));
        }
        Ok(Self { limits, nodes: 0, copied: 0, anchors: BTreeMap::new(), stack: Vec::new(), root: None })
    }

    fn all(&mut self, text: &str, documents: &mut Vec<Document>) -> Result<(), Fault> {
        let mut options = Options::default();
        // One more than our own, so that ours, which has a better message, comes first.
        options.flow_nesting_limit = self.limits.depth + 1;
        options.block_nesting_limit = self.limits.depth + 1;
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| malformed(&error))?;
            self.event(event, at(&span), documents)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, at: (u32, u32), documents: &mut Vec<Document>) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.root = None;
            }
            Event::DocumentEnd => {
                documents.extend(self.root.take().filter(|document| !document.value.is_null()));
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(at)?;
                let value = typed(&text, style, tag.as_deref(), at)?;
                self.place(value, anchor, at, style == ScalarStyle::Plain && text == "<<")?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                expect_tag(tag.as_deref(), "seq", at)?;
                self.open(Open::List(Vec::new()), anchor, at)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                expect_tag(tag.as_deref(), "map", at)?;
                self.open(Open::Mapping { map: Map::new(), key: None, merges: Vec::new() }, anchor, at)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => {
                let Some((value, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err(fault(at, "an alias within the very thing that it names", None));
                };
                self.copied += size;
                if self.copied > self.limits.copied {
                    let message = format!("aliases write out more than {} nodes", self.limits.copied);
                    return Err(fault(at, message, Some("repeat less by `*name` and `<<`")));
                }
                self.nodes += size - 1;
                self.count(at)?;
                self.place(value, 0, at, false)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, at: (u32, u32)) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            let message = format!("more than {} values in one file", self.limits.nodes);
            return Err(fault(at, message, Some("split it into several files")));
        }
        Ok(())
    }

    fn open(&mut self, open: Open, anchor: usize, at: (u32, u32)) -> Result<(), Fault> {
        self.count(at)?;
        if self.stack.len() >= self.limits.depth {
            return Err(fault(at, format!("nested more than {} levels deep", self.limits.depth), None));
        }
        if matches!(self.stack.last(), Some(Frame { open: Open::Mapping { key: None, .. }, .. })) {
            return Err(not_a_key("a list or mapping", at));
        }
        self.stack.push(Frame { open, anchor, at });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(Frame { open, anchor, at }) = self.stack.pop() else { return Ok(()) };
        let value = match open {
            Open::List(items) => Value::Array(items),
            Open::Mapping { mut map, merges, .. } => {
                for merged in merges {
                    merge(&mut map, merged, at)?;
                }
                Value::Object(map)
            }
        };
        self.place(value, anchor, at, false)
    }

    /// Puts a finished value where it belongs: under its key, into its list, or at the root.
    fn place(&mut self, value: Value, anchor: usize, at: (u32, u32), merge_key: bool) -> Result<(), Fault> {
        if anchor > 0 {
            let size = size(&value);
            self.anchors.insert(anchor, (value.clone(), size));
        }
        let Some(frame) = self.stack.last_mut() else {
            let (line, column) = at;
            self.root = Some(Document { value, line, column });
            return Ok(());
        };
        match &mut frame.open {
            Open::List(items) => items.push(value),
            Open::Mapping { map, key, merges } => match key.take() {
                Some(name) if name == MERGE => merges.push(value),
                Some(name) => {
                    map.insert(name, value);
                }
                None if merge_key => *key = Some(MERGE.to_owned()),
                None => {
                    let Value::String(name) = value else { return Err(not_a_key(&shown(&value), at)) };
                    if map.contains_key(&name) {
                        return Err(fault(at, format!("the key `{name}` stands here a second time"), None));
                    }
                    // Claimed at once, so that a key is known while its value is read.
                    map.insert(name.clone(), Value::Null);
                    *key = Some(name);
                }
            },
        }
        Ok(())
    }
}

/// Stands for the key `<<`; no text can be equal to it, for YAML allows no NUL.
const MERGE: &str = "\0<<";

fn merge(map: &mut Map<String, Value>, merged: Value, at: (u32, u32)) -> Result<(), Fault> {
    match merged {
        Value::Object(more) => {
            for (key, value) in more {
                map.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(list) if list.iter().all(Value::is_object) => {
            list.into_iter().try_for_each(|each| merge(map, each, at))
        }
        _ => Err(fault(at, "`<<` merges a mapping, or a list of mappings", None)),
    }
}

fn typed(text: &str, style: ScalarStyle, tag: Option<&Tag>, at: (u32, u32)) -> Result<Value, Fault> {
    let string = || Value::String(text.to_owned());
    let number = |value: Option<Value>| {
        value.ok_or_else(|| fault(at, format!("`{text}` is a number that JSON cannot hold"), Some("put it in quotes")))
    };
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain { number(scalar::plain(text)) } else { Ok(string()) };
    };
    match core(tag, at)?.as_str() {
        // The non-specific tag `!` means a string.
        "str" | "" => Ok(string()),
        "int" | "float" | "bool" | "null" => number(scalar::plain(text)),
        other => Err(unknown_tag(other, at)),
    }
}

fn expect_tag(tag: Option<&Tag>, wanted: &str, at: (u32, u32)) -> Result<(), Fault> {
    match tag.map(|tag| core(tag, at)).transpose()? {
        Some(name) if name != wanted && !name.is_empty() => Err(unknown_tag(&name, at)),
        _ => Ok(()),
    }
}

fn core(tag: &Tag, at: (u32, u32)) -> Result<String, Fault> {
    let full = format!("{}{}", tag.handle(), tag.suffix());
    match full.strip_prefix(CORE) {
        Some(name) => Ok(name.to_owned()),
        None if full == "!" => Ok(String::new()),
        None => Err(unknown_tag(&full, at)),
    }
}

fn unknown_tag(tag: &str, at: (u32, u32)) -> Fault {
    fault(at, format!("the tag `{tag}` has no meaning here"), Some("leave it out"))
}

fn not_a_key(what: &str, at: (u32, u32)) -> Fault {
    fault(at, format!("{what} cannot be a key; keys are strings"), Some("put it in quotes"))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        other => format!("`{other}`"),
    }
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(map) => map.values().map(size).sum::<usize>() + map.len(),
        _ => 0,
    }
}

fn malformed(error: &ScanError) -> Fault {
    let marker = error.marker();
    let hint = error.info().contains("tab").then_some("YAML is indented with spaces");
    fault((number(marker.line()), number(marker.col() + 1)), error.info(), hint)
}

fn at(span: &Span) -> (u32, u32) {
    (number(span.start.line()), number(span.start.col() + 1))
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn fault((line, column): (u32, u32), message: impl Into<String>, hint: Option<&str>) -> Fault {
    Fault { message: message.into(), line, column, hint: hint.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good(text: &str) -> Vec<Value> {
        let (documents, fault) = read(text, &Limits::default());
        assert_eq!(fault, None, "{text}");
        documents.into_iter().map(|document| document.value).collect()
    }

    fn bad(text: &str) -> (String, u32, u32) {
        let (_, fault) = read(text, &Limits::default());
        let fault = fault.unwrap_or_else(|| panic!("no fault in {text:?}"));
        (fault.message, fault.line, fault.column)
    }

    #[test]
    fn documents_have_places_and_empty_ones_are_left_out() {
        let (documents, fault) =
            read("# first\na: 1\n---\n---\n\n  b: [x, 'y', \"1\"]\n...\n---\nc: |\n  text\n", &Limits::default());
        assert_eq!(fault, None);
        let places: Vec<_> = documents.iter().map(|document| (document.line, document.column)).collect();
        assert_eq!(places, [(2, 1), (6, 3), (9, 1)]);
        let values: Vec<_> = documents.into_iter().map(|document| document.value).collect();
        assert_eq!(values, [json!({"a": 1}), json!({"b": ["x", "y", "1"]}), json!({"c": "text\n"})]);
    }

    #[test]
    fn quoted_and_tagged_scalars_keep_their_type() {
        assert_eq!(
            good("a: '1'\nb: !!str 1\nc: !!int '7'\nd: ! 2\ne:\n"),
            [json!({"a": "1", "b": "1", "c": 7, "d": "2", "e": null})]
        );
    }

    #[test]
    fn aliases_and_merges_are_written_out() {
        let text = "base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\nboth: {<<: [*b, {z: 4}]}\nsame: *b\n";
        let value = &good(text)[0];
        assert_eq!(value["use"], json!({"x": 1, "y": 3}));
        assert_eq!(value["both"], json!({"x": 1, "y": 2, "z": 4}));
        assert_eq!(value["same"], value["base"]);
        assert!(bad("a: {<<: 3}").0.contains("merges a mapping"));
    }

    #[test]
    fn keys_are_strings_and_stand_once() {
        let (message, line, column) = bad("a: 1\nb: 2\na: 3\n");
        assert_eq!((message.as_str(), line, column), ("the key `a` stands here a second time", 3, 1));
        for text in ["1: x", "? [a]\n: b", "true: x", "~: x", "? {a: b}\n: c"] {
            assert!(bad(text).0.contains("cannot be a key"), "{text}");
        }
        assert_eq!(good("'1': x"), [json!({"1": "x"})]);
        // A second key inside a value that is still open is found as well.
        assert!(bad("a: {b: 1, b: 2}").0.contains("second time"));
    }

    #[test]
    fn what_precedes_a_fault_stands() {
        let (documents, fault) = read("a: 1\n---\nb: [\n", &Limits::default());
        assert_eq!(documents.len(), 1);
        assert!(fault.is_some());
    }

    #[test]
    fn faults_have_places() {
        let (message, line, _) = bad("a: 1\n b: 2\n");
        assert_eq!(line, 2, "{message}");
        assert!(bad("a: 1\n\tb: 2\n").0.contains("tab"));
        let (message, line, column) = bad("a: 1\nb: .inf\n");
        assert!(message.contains("JSON cannot hold"));
        assert_eq!((line, column), (2, 4));
        assert!(bad("a: !ruby/object x").0.contains("no meaning"));
        assert!(bad("a: *nothing").1 == 1);
    }

    #[test]
    fn bombs_end_in_named_limits() {
        let mut laughs = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
        for (name, last) in ('b'..='z').zip('a'..) {
            laughs.push_str(&format!(
                "{name}: &{name} [*{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}]\n"
            ));
        }
        assert!(bad(&laughs).0.contains("aliases write out more than 50000"));
        for (open, depth) in [("[", 100_000), ("{a: ", 100_000), ("- ", 1000)] {
            let message = bad(&open.repeat(depth)).0;
            assert!(
                message.contains("64")
                    || message.to_lowercase().contains("nest")
                    || message.to_lowercase().contains("limit"),
                "{message}"
            );
        }
        assert!(bad(&"x".repeat((4 << 20) + 1)).0.contains("are allowed"));
        assert!(bad(&"- 1\n".repeat(500_001)).0.contains("more than 500000"));
        assert!(bad("a: &a [*a]").0.contains("alias"));
    }
}
