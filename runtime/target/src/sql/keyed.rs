//! The rows of an answer by their first columns: a provider of a large server names them so for each
//! of its resources.

use std::sync::Arc;

use tidelock_model::digest::Digest;

use super::value::{Answer, Value};

/// An answer whose rows are found by a key without going through all of them for each.
#[derive(Debug, Clone)]
pub struct Keyed {
    answer: Arc<Answer>,
    index: Option<Index>,
}

/// Rows by the digest of their first columns. Of one width: whoever asks of an answer asks alike, and
/// whoever does not is to hold no more memory for it.
#[derive(Debug, Clone)]
struct Index {
    width: usize,
    /// In order; the second is the row's number.
    rows: Vec<(Digest, usize)>,
}

impl Keyed {
    /// Of an answer.
    #[must_use]
    pub fn new(answer: impl Into<Arc<Answer>>) -> Self {
        Self { answer: answer.into(), index: None }
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// How many rows have a key in their first columns, and a digest of them, whatever their
    /// order; an empty key is that of all rows.
    pub fn of_key(&mut self, key: &[Option<String>]) -> (u32, Digest) {
        let rows = &self.answer.rows;
        let mut digests: Vec<Digest> = if key.is_empty() {
            rows.iter().map(|row| of_texts(&texts(row))).collect()
        } else {
            let index = match self.index.take() {
                Some(index) if index.width == key.len() => index,
                _ => Index::new(rows, key.len()),
            };
            let wanted = of_texts(key);
            let from = index.rows.partition_point(|(digest, _)| *digest < wanted);
            let found = index.rows[from..].iter().take_while(|(digest, _)| *digest == wanted);
            let digests = found.map(|(_, row)| of_texts(&texts(&rows[*row]))).collect();
            self.index = Some(index);
            digests
        };
        digests.sort_unstable();
        let count = u32::try_from(digests.len()).unwrap_or(u32::MAX);
        (count, Digest::of_parts(digests.iter().map(|digest| digest.as_bytes().as_slice())))
    }
}

impl Index {
    fn new(rows: &[Vec<Value>], width: usize) -> Self {
        let all = rows.iter().enumerate().filter(|(_, row)| row.len() >= width);
        let mut rows: Vec<(Digest, usize)> = all.map(|(i, row)| (of_texts(&texts(&row[..width])), i)).collect();
        rows.sort_unstable();
        Self { width, rows }
    }
}

fn texts(values: &[Value]) -> Vec<Option<String>> {
    values.iter().map(Value::text).collect()
}

fn of_texts(texts: &[Option<String>]) -> Digest {
    let mut parts: Vec<&[u8]> = Vec::with_capacity(texts.len() * 2);
    for text in texts {
        parts.push(if text.is_some() { b"v" } else { b"n" });
        parts.push(text.as_deref().unwrap_or_default().as_bytes());
    }
    Digest::of_parts(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, number: i64) -> Vec<Value> {
        vec![Value::Text(name.into()), Value::Integer(number)]
    }

    fn of(rows: Vec<Vec<Value>>) -> Keyed {
        Keyed::new(Answer { columns: vec![], rows })
    }

    fn key(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn a_key_stands_for_its_rows_in_any_order_and_for_none() {
        let a = key(&["a"]);
        let mut first = of(vec![row("a", 1), row("b", 2), row("a", 3)]);
        let mut moved = of(vec![row("a", 3), row("a", 1), row("c", 9)]);
        assert_eq!(first.of_key(&a), moved.of_key(&a));
        assert_eq!(first.of_key(&a).0, 2);
        assert_ne!(first.of_key(&[]), moved.of_key(&[]));
        let mut changed = of(vec![row("a", 1), row("a", 4)]);
        assert_ne!(first.of_key(&a).1, changed.of_key(&a).1);
        assert_eq!(first.of_key(&key(&["z"])), of(vec![]).of_key(&a));
    }

    #[test]
    fn keys_of_other_widths_are_asked_in_turn() {
        let mut all = of(vec![row("a", 1), row("a", 2), row("b", 1), vec![Value::Text("a".into())]]);
        for _ in 0..2 {
            assert_eq!(all.of_key(&key(&["a"])).0, 3);
            assert_eq!(all.of_key(&key(&["a", "2"])), of(vec![row("a", 2)]).of_key(&[]));
            assert_eq!(all.of_key(&key(&["a", "2", "x"])).0, 0);
            assert_eq!(all.of_key(&[]).0, 4);
        }
    }

    #[test]
    fn no_value_is_not_an_empty_text() {
        let mut none = of(vec![vec![Value::Null]]);
        let mut empty = of(vec![vec![Value::Text(String::new())]]);
        assert_ne!(none.of_key(&[]), empty.of_key(&[]));
        assert_eq!((none.of_key(&[None]).0, none.of_key(&key(&[""])).0), (1, 0));
        assert_eq!((empty.of_key(&[None]).0, empty.of_key(&key(&[""])).0), (0, 1));
    }
}
