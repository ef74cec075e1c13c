//! Reading `CREATE TABLE` and `CREATE INDEX`: into words, and words into parts. Not a parser of
//! SQL: it knows quotes, comments, parentheses and commas, and the database knows the rest.

use std::collections::BTreeMap;

/// A word of a text, and where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    /// As it is compared: what needs no quotes has none, and no capitals matter.
    plain: String,
    /// As it was written.
    written: String,
    /// Whether it is a name or a keyword.
    is_name: bool,
    end: usize,
}

/// A table, in parts that are compared one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// What follows the name, as it was written.
    pub(crate) rest: String,
    /// Definitions by column, without the name, as they are compared.
    pub(crate) columns: BTreeMap<String, String>,
    /// The same as they were written, with the name as it was written.
    pub(crate) written: BTreeMap<String, (String, String)>,
    /// Constraints of the table.
    pub(crate) constraints: Vec<String>,
    /// `STRICT`, `WITHOUT ROWID`.
    pub(crate) options: Vec<String>,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) unique: bool,
    pub(crate) table: String,
    /// What follows the table, as it was written.
    pub(crate) rest: String,
    /// The same, as it is compared.
    pub(crate) on: String,
}

/// Reads `CREATE TABLE name (...)`.
///
/// # Errors
/// It is something else, as a sentence.
pub(crate) fn table(sql: &str) -> Result<Table, String> {
    let words = words(sql)?;
    let rest = begins(&words, &["CREATE", "TABLE"]).ok_or("it is no CREATE TABLE")?;
    if begins(rest, &["IF"]).is_some() {
        return Err("it says IF NOT EXISTS, which Tidelock sees to".to_owned());
    }
    let [name, open, ..] = rest else { return Err("it names no table".to_owned()) };
    if !name.is_name || open.plain != "(" {
        return Err("after its name, the columns of a table stand in parentheses".to_owned());
    }
    let (body, after) = enclosed(&rest[1..])?;
    let mut table = Table {
        name: bare(&name.written),
        rest: sql.get(name.end..).unwrap_or_default().trim().to_owned(),
        columns: BTreeMap::new(),
        written: BTreeMap::new(),
        constraints: Vec::new(),
        options: after.split(|word| word.plain == ",").map(joined).filter(|option| !option.is_empty()).collect(),
    };
    table.options.sort();
    for part in apart(body) {
        let Some(first) = part.first() else { return Err("there is nothing between two commas".to_owned()) };
        let constraint = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"].contains(&first.plain.as_str())
            && !first.written.starts_with(['"', '`', '[']);
        if constraint {
            table.constraints.push(joined(part));
            continue;
        }
        if !first.is_name {
            return Err(format!("{} is no name of a column", first.written));
        }
        let key = bare(&first.written).to_ascii_lowercase();
        let definition: Vec<&str> = part[1..].iter().map(|word| word.written.as_str()).collect();
        table.written.insert(key.clone(), (bare(&first.written), definition.join(" ")));
        if table.columns.insert(key, joined(&part[1..])).is_some() {
            return Err(format!("it has two columns {}", first.written));
        }
    }
    table.constraints.sort();
    Ok(table)
}

/// Reads `CREATE [UNIQUE] INDEX name ON table (...)`.
///
/// # Errors
/// As [`table`].
pub(crate) fn index(sql: &str) -> Result<Index, String> {
    let words = words(sql)?;
    let unique = begins(&words, &["CREATE", "UNIQUE"]).is_some();
    let rest = begins(&words, if unique { &["CREATE", "UNIQUE", "INDEX"] } else { &["CREATE", "INDEX"] });
    let rest = rest.ok_or("it is no CREATE INDEX")?;
    match rest {
        [name, on, table, rest @ ..] if name.is_name && on.plain == "ON" && table.is_name => Ok(Index {
            name: bare(&name.written),
            unique,
            table: bare(&table.written),
            rest: sql.get(table.end..).unwrap_or_default().trim().to_owned(),
            on: joined(rest),
        }),
        _ => Err("an index is written as CREATE INDEX name ON table (columns)".to_owned()),
    }
}

/// What follows certain keywords.
fn begins<'w>(words: &'w [Word], with: &[&str]) -> Option<&'w [Word]> {
    let begins = words.len() >= with.len() && words.iter().zip(with).all(|(word, with)| word.plain == *with);
    begins.then(|| &words[with.len()..])
}

/// What stands between the parenthesis that words begin with and its other half, and what follows.
fn enclosed(words: &[Word]) -> Result<(&[Word], &[Word]), String> {
    let mut depth = 0;
    for (at, word) in words.iter().enumerate() {
        match word.plain.as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok((&words[1..at], &words[at + 1..]));
        }
    }
    Err("a parenthesis is not closed".to_owned())
}

/// Words at the commas that are in no parenthesis.
fn apart(words: &[Word]) -> Vec<&[Word]> {
    let mut depth = 0;
    let parts = words.split(|word| {
        match word.plain.as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        depth == 0 && word.plain == ","
    });
    parts.collect()
}

fn joined(words: &[Word]) -> String {
    words.iter().map(|word| word.plain.as_str()).collect::<Vec<_>>().join(" ")
}

/// A name without its quotes.
fn bare(written: &str) -> String {
    let inside = || written[1..written.len().saturating_sub(1)].to_owned();
    match written.chars().next() {
        Some(quote @ ('"' | '`')) => inside().replace(&format!("{quote}{quote}"), &quote.to_string()),
        Some('[') => inside(),
        _ => written.to_owned(),
    }
}

fn words(sql: &str) -> Result<Vec<Word>, String> {
    let mut out = Vec::new();
    let bytes = sql.as_bytes();
    let mut at = 0;
    while let Some(first) = sql.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = &sql[at..];
        let start = at;
        at += match first {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '-' if rest.starts_with("--") => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            '/' if rest.starts_with("/*") => {
                at += rest.find("*/").ok_or("a comment is not closed")? + 2;
                continue;
            }
            ';' if rest.trim_end() == ";" => break,
            ';' => return Err("it holds more than one statement".to_owned()),
            quote @ ('\'' | '"' | '`' | '[') => quoted(rest, if quote == '[' { ']' } else { quote })?,
            c if c.is_alphanumeric() || c == '_' || c == '$' => {
                rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$' | '.'))).unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        let written = sql[start..at].to_owned();
        let quote = matches!(bytes[start], b'"' | b'`' | b'[');
        let letters = first.is_alphabetic() || first == '_';
        let plain = match () {
            () if quote => {
                let name = bare(&written);
                let simple = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty();
                if simple { name.to_ascii_uppercase() } else { format!("\"{}\"", name.to_ascii_uppercase()) }
            }
            () if letters => written.to_ascii_uppercase(),
            () => written.clone(),
        };
        out.push(Word { plain, written, is_name: quote || letters, end: at });
    }
    Ok(out)
}

/// How long a quoted text is; its quote doubled is one of its characters.
fn quoted(text: &str, close: char) -> Result<usize, String> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == close {
            if close != ']' && chars.peek().is_some_and(|(_, next)| *next == close) {
                chars.next();
                continue;
            }
            return Ok(at + 1);
        }
    }
    Err(format!("a {close} is not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_tables_are_equal_however_they_are_written() {
        let one = table(
            "create table Orders (id integer primary key, [the note] TEXT DEFAULT 'It''s, (odd)', CHECK (id>0)) strict;",
        );
        let other = table(
            "CREATE TABLE \"orders\" ( -- the orders\n ID INTEGER PRIMARY KEY, /* , */ \"The Note\" text default 'It''s, (odd)',\n check (\"id\" > 0)\n) STRICT",
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(
            (&one.columns, &one.constraints, &one.options),
            (&other.columns, &other.constraints, &other.options)
        );
        assert_eq!(one.columns.keys().collect::<Vec<_>>(), ["id", "the note"]);
        assert_eq!(one.columns["the note"], "TEXT DEFAULT 'It''s, (odd)'");
        assert_eq!(one.written["the note"].0, "the note");
        assert_eq!(one.constraints, ["CHECK ( ID > 0 )"]);
        assert_ne!(
            table("CREATE TABLE t (a TEXT DEFAULT 'x')").unwrap().columns,
            table("CREATE TABLE t (a TEXT DEFAULT 'X')").unwrap().columns
        );
    }

    #[test]
    fn a_column_that_was_added_is_one_like_any_other() {
        let added = table("CREATE TABLE t (a INT, UNIQUE (a), b NUMERIC(10, 2))").unwrap();
        assert_eq!(added.columns["b"], "NUMERIC ( 10 , 2 )");
        assert_eq!(added.constraints, ["UNIQUE ( A )"]);
    }

    #[test]
    fn indexes_are_read_and_other_statements_are_refused() {
        let one = index("CREATE UNIQUE INDEX by_note ON \"orders\"(note desc) WHERE note IS NOT NULL").unwrap();
        assert_eq!((one.name.as_str(), one.table.as_str(), one.unique), ("by_note", "orders", true));
        assert_eq!(one.on, "( NOTE DESC ) WHERE NOTE IS NOT NULL");
        assert_eq!(one.rest, "(note desc) WHERE note IS NOT NULL");
        for wrong in [
            "CREATE TEMP TABLE t (a)",
            "CREATE TABLE IF NOT EXISTS t (a)",
            "CREATE TABLE t AS SELECT 1",
            "CREATE TABLE t (a); DROP TABLE u",
            "CREATE TABLE t (a, A)",
            "CREATE TABLE t (a",
            "CREATE TABLE t ('a)",
            "DROP TABLE t",
            "",
        ] {
            assert!(table(wrong).is_err(), "{wrong}");
        }
        assert!(index("CREATE INDEX i").is_err());
    }
}
