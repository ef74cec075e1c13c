//! What a ruleset may consist of, before nft is asked to read it: tables and what goes into
//! them. nft's language has more, which looks at the kernel, waits for news of it, or reads
//! files. Pure.
//!
//! This is a second opinion of where nft's statements begin, and it errs to the safe side: what
//! it takes for the beginning of one and does not know is refused. Where it were wrong all the
//! same, nft runs where it finds nothing (`confine`), and only what it prints back goes on.

use tidelock_model::error::Fault;

use super::super::fault;

/// What a statement can be about. One that begins with it adds it.
const THINGS: [&str; 15] = [
    "table",
    "chain",
    "rule",
    "set",
    "map",
    "element",
    "flowtable",
    "counter",
    "quota",
    "limit",
    "meter",
    "ct",
    "secmark",
    "synproxy",
    "tunnel",
];
/// What can be done with one.
const VERBS: [&str; 7] = ["add", "create", "insert", "replace", "delete", "destroy", "flush"];
/// Names for values, in the text alone.
const NAMES: [&str; 3] = ["define", "redefine", "undefine"];

/// Refuses what is no table and nothing in one.
pub(super) fn only_tables(text: &str) -> Result<(), Fault> {
    for (line, statement) in statements(text)? {
        let known = match statement[..] {
            [first, ..] if THINGS.contains(&first) || NAMES.contains(&first) => true,
            ["flush", "ruleset"] => true,
            [verb, second] => VERBS.contains(&verb) && THINGS.contains(&second),
            _ => false,
        };
        if !known {
            let said = statement.join(" ");
            return Err(fault("invalid", format!("line {line}: `{said}` is no part of a table"))
                .hint("a ruleset is `table FAMILY NAME { ... }`, or statements that add to one, delete or flush it")
                .at("/ruleset"));
        }
    }
    Ok(())
}

/// The first two words of each statement outside of braces, and its line.
fn statements(text: &str) -> Result<Vec<(usize, Vec<&str>)>, Fault> {
    let mut found = Vec::new();
    let mut open: Option<(usize, Vec<&str>)> = None;
    let (mut line, mut depth) = (1_usize, 0_usize);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        // How much is taken, and whether it is a word of a statement.
        let (length, is_word) = match first {
            '\n' | ';' | '{' | '}' => (1, false),
            '#' => (rest.find('\n').unwrap_or(rest.len()), false),
            '\\' if rest[1..].starts_with('\n') => (2, false),
            '"' => match rest[1..].find('"') {
                Some(end) => (end + 2, true),
                None => {
                    let message = format!("line {line}: a string begins that does not end");
                    return Err(fault("invalid", message).at("/ruleset"));
                }
            },
            c if c.is_whitespace() => (c.len_utf8(), false),
            c if is_of_word(c) => (rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()), true),
            c => (c.len_utf8(), true),
        };
        let (token, after) = rest.split_at(length);
        match first {
            '\n' | ';' if depth == 0 => found.extend(open.take()),
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1).ok_or_else(|| {
                    fault("invalid", format!("line {line}: a brace closes that none opened")).at("/ruleset")
                })?;
            }
            _ => {}
        }
        // A brace that begins a statement is a word of it: of none that is known.
        if depth == 0 && is_word || depth == 1 && first == '{' && open.is_none() {
            let (_, words) = open.get_or_insert_with(|| (line, Vec::new()));
            if words.len() < 2 {
                words.push(token);
            }
        }
        line += token.matches('\n').count();
        rest = after;
    }
    found.extend(open);
    Ok(found)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_what_goes_into_them_is_let_through() {
        for text in [
            "",
            "# only a remark: list tables",
            "table inet t { }\n",
            "table inet t {\n chain c { type filter hook input priority 0; policy drop; }\n}\n",
            "table inet t {\n chain c {\n ip saddr { 1.1.1.1, 2.2.2.2 } log prefix \"a; }\nlist \" accept\n }\n}\n",
            "define lan = { 10.0.0.0/24,\n 10.0.1.0/24 }\ndefine web = 10.0.0.2\ntable inet t { }",
            "add table inet t; add chain inet t c { type filter hook input priority 0 ; }\nadd rule inet t c accept comment \"x\"",
            "table inet t\ndelete table inet t\nflush ruleset\nrule inet t c tcp dport \\\n 22 accept",
            "\ttable inet t {\n} ;\n;; add element inet t s { 1.1.1.1 }",
        ] {
            only_tables(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        }
    }

    #[test]
    fn all_else_is_refused_by_its_line() {
        for (text, at, said) in [
            ("monitor", 1, "monitor"),
            ("table inet t { }\nlist ruleset", 2, "list ruleset"),
            ("table inet t { }; describe tcp dport", 1, "describe tcp"),
            ("# \"\nexport vm json # \"", 2, "export vm"),
            ("add table inet t\n\\\n  reset counters", 3, "reset counters"),
            ("import ruleset json", 1, "import ruleset"),
            ("include \"/etc/shadow\"", 1, "include \"/etc/shadow\""),
            ("get element inet t s { 1 }", 1, "get element"),
            ("rename chain inet t a b", 1, "rename chain"),
            ("table inet t { comment \"}\" }\ninet t c accept", 2, "inet t"),
            ("add list tables", 1, "add list"),
            ("add", 1, "add"),
            ("flush rulesets", 1, "flush rulesets"),
            ("{ list tables }", 1, "{"),
            ("\"list\" tables", 1, "\"list\" tables"),
            ("$x list", 1, "$ x"),
        ] {
            let fault = only_tables(text).unwrap_err();
            let expected = format!("line {at}: `{said}` is no part of a table");
            assert_eq!((fault.code.as_str(), fault.message.as_str()), ("invalid", expected.as_str()), "{text}");
        }
        for text in ["table inet t { comment \"", "table inet t { } }", "\""] {
            assert_eq!(only_tables(text).unwrap_err().code, "invalid", "{text}");
        }
    }
}
