//! JSON with sorted keys and no spaces: equal values give equal bytes.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, Write};
use std::ops::Range;
use std::rc::Rc;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// A JSON value in its canonical form.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::String(text) => write_text(text, out),
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
    }
}

/// A text as JSON: what needs no escape, which is nearly all of it, goes as it is.
fn write_text(text: &str, out: &mut String) {
    if text.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
        out.push_str(&Value::String(text.to_owned()).to_string());
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

/// The same of anything that is written as JSON, without a [`Value`] of it in between.
///
/// # Errors
/// It cannot be written as JSON: a key of a map that is no text, or a value that says so itself.
pub fn canonical_of(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let written = Rc::new(RefCell::new(Vec::new()));
    let sorted = Sorted { written: Rc::clone(&written), open: vec![] };
    value.serialize(&mut Serializer::with_formatter(Into(Rc::clone(&written)), sorted))?;
    Ok(written.take())
}

/// Writes objects as they come, and puts each in order at its end.
struct Sorted {
    written: Rc<RefCell<Vec<u8>>>,
    /// Of each object that is open, where its entries begin.
    open: Vec<Vec<usize>>,
}

/// What is written, as a place to write to.
struct Into(Rc<RefCell<Vec<u8>>>);

impl Write for Into {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Formatter for Sorted {
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open.push(vec![]);
        writer.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, _: &mut W, _: bool) -> io::Result<()> {
        let at = self.written.borrow().len();
        self.open.last_mut().ok_or(io::ErrorKind::InvalidData)?.push(at);
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let starts = self.open.pop().ok_or(io::ErrorKind::InvalidData)?;
        if let Some(first) = starts.first() {
            in_order(&mut self.written.borrow_mut(), *first, &starts)?;
        }
        writer.write_all(b"}")
    }
}

/// Puts the entries of an object in order, which stand one behind the other from `first` on.
fn in_order(written: &mut Vec<u8>, first: usize, starts: &[usize]) -> io::Result<()> {
    let entries = written.split_off(first);
    let ends = starts.iter().skip(1).map(|start| start - first).chain([entries.len()]);
    let ranges = starts.iter().map(|start| start - first).zip(ends).map(|(start, end)| start..end);
    let mut keyed: Vec<(Cow<'_, [u8]>, Range<usize>)> =
        ranges.map(|range| Ok((key(&entries[range.clone()])?, range))).collect::<io::Result<_>>()?;
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (i, (_, range)) in keyed.into_iter().enumerate() {
        if i > 0 {
            written.push(b',');
        }
        written.extend_from_slice(&entries[range]);
    }
    Ok(())
}

/// The key that an entry begins with, as it is sorted by.
fn key(entry: &[u8]) -> io::Result<Cow<'_, [u8]>> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let inside = entry.get(1..).ok_or_else(broken)?;
    let end = inside.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or_else(broken)?;
    if inside[end] == b'"' {
        return Ok(Cow::Borrowed(&inside[..end]));
    }
    // One with escapes is sorted by what it stands for.
    let spelled = serde_json::Deserializer::from_slice(entry).into_iter::<String>().next();
    Ok(Cow::Owned(spelled.ok_or_else(broken)??.into_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn canonical_json_does_not_depend_on_key_order() {
        let a: Value = serde_json::from_str(r#"{"b":[1,{"y":2,"x":null}],"a":"é\n"}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"a":"é\n","b":[1,{"x":null,"y":2}]}"#).unwrap();
        assert_eq!(canonical(&a), canonical(&b));
        assert_eq!(canonical(&a), r#"{"a":"é\n","b":[1,{"x":null,"y":2}]}"#);
    }

    #[test]
    fn texts_are_spelled_as_json_spells_them() {
        for number in 0..=0x2_100 {
            let Some(letter) = char::from_u32(number) else { continue };
            let text = Value::String(format!("a{letter}b"));
            assert_eq!(canonical(&text), text.to_string());
        }
    }

    #[test]
    fn a_value_is_written_the_same_with_and_without_a_value_of_it() {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case", tag = "is")]
        enum Shape {
            Absent,
            Point { z: f64, y: Vec<u8>, x: Option<i64> },
        }
        #[derive(Serialize)]
        struct Nested<'n> {
            b: Shape,
            a: (u64, &'n str),
            empty: BTreeMap<String, u8>,
            #[serde(flatten)]
            flat: BTreeMap<&'n str, Value>,
        }
        let flat = ["a b", "a", "a\"", "a\nb", "zé", "A", "", "\u{1}"].map(|key| (key, json!([{"q": 1, "p": key}])));
        for b in [Shape::Absent, Shape::Point { z: 1.5, y: vec![], x: None }] {
            let mut flat: BTreeMap<&str, Value> = flat.clone().into();
            flat.remove("a");
            let nested = Nested { b, a: (u64::MAX, "\t\u{2028}"), empty: BTreeMap::new(), flat };
            let value = serde_json::to_value(&nested).unwrap();
            assert_eq!(String::from_utf8(canonical_of(&nested).unwrap()).unwrap(), canonical(&value));
            assert_eq!(canonical_of(&value).unwrap(), canonical(&value).into_bytes());
        }
        assert_eq!(canonical_of(&json!(7)).unwrap(), b"7");
        assert!(canonical_of(&BTreeMap::from([((1, 2), 3)])).is_err());
    }
}
