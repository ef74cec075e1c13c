//! A table as nft prints it: which sets it has, which of their elements last, and which
//! will run out or came from packets. Pure.

use std::collections::BTreeSet;

use super::carry::Elements;

/// A printed table.
pub(super) struct Listing {
    /// Lines, and sets between them, in order.
    parts: Vec<Part>,
}

enum Part {
    Line(String),
    Set(Set),
}

/// A named set or map.
struct Set {
    name: String,
    /// Lines of its own, without elements.
    head: Vec<String>,
    elements: Vec<String>,
}

/// Whether a table has sets whose elements may run out or come from packets: such a set says so
/// itself, since an element with a time-out needs its set's flag. Where in doubt, yes.
pub(super) fn may_run_out(text: &str) -> bool {
    words(text).flat_map(|word| word.split(',')).any(|word| matches!(word, "timeout" | "dynamic"))
}

impl Listing {
    pub(super) fn read(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let opens = ["\tset ", "\tmap "].iter().find_map(|word| line.strip_prefix(word));
            let Some(name) = opens.and_then(|rest| rest.strip_suffix(" {")) else {
                parts.push(Part::Line(line.trim_end().to_owned()));
                continue;
            };
            let mut set = Set { name: name.to_owned(), head: vec![line.to_owned()], elements: vec![] };
            while let Some(line) = lines.next() {
                if line == "\t}" {
                    break;
                }
                let Some(first) = line.trim_start().strip_prefix("elements = {") else {
                    set.head.push(line.trim_end().to_owned());
                    continue;
                };
                let mut all = first.to_owned();
                let mut braces = Braces::default();
                braces.follow(first);
                while !braces.closed
                    && let Some(line) = lines.next()
                {
                    let line = line.trim_start();
                    all.push(' ');
                    all.push_str(line);
                    braces.follow(line);
                }
                let inner = all.trim_end().strip_suffix('}').unwrap_or(&all);
                set.elements = split(inner).into_iter().map(|element| element.trim().to_owned()).collect();
                set.elements.retain(|element| !element.is_empty());
            }
            parts.push(Part::Set(set));
        }
        Self { parts }
    }

    /// The text without what does not last: one element to a line, so that a difference is
    /// one of lines.
    pub(super) fn lasting(&self) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Line(line) => {
                    out.push_str(line);
                    out.push('\n');
                }
                Part::Set(set) => {
                    for line in &set.head {
                        out.push_str(line);
                        out.push('\n');
                    }
                    let lasting: Vec<&str> =
                        set.elements.iter().filter(|element| !set.runs_out(element)).map(String::as_str).collect();
                    if !lasting.is_empty() {
                        out.push_str("\t\telements = {\n\t\t\t");
                        out.push_str(&lasting.join(",\n\t\t\t"));
                        out.push_str("\n\t\t}\n");
                    }
                    out.push_str("\t}\n");
                }
            }
        }
        out
    }

    /// Whether it has a set of that name.
    pub(super) fn has_set(&self, name: &str) -> bool {
        self.sets().any(|set| set.name == name)
    }

    /// Elements of its largest set that last.
    pub(super) fn largest_set(&self) -> usize {
        let lasting = |set: &Set| set.elements.iter().filter(|element| !set.runs_out(element)).count();
        self.sets().map(lasting).max().unwrap_or(0)
    }

    /// The first element that does not last, and its set.
    pub(super) fn first_that_runs_out(&self) -> Option<(&str, &str)> {
        self.sets()
            .flat_map(|set| set.elements.iter().map(move |element| (set, element)))
            .find(|(set, element)| set.runs_out(element))
            .map(|(set, element)| (set.name.as_str(), element.as_str()))
    }

    /// The elements of this table that do not last, by set: those that a new one may take, and those that it
    /// has no such set for.
    pub(super) fn carried_over_to(&self, new: &Listing) -> (Vec<Elements>, Vec<Elements>) {
        let (mut carried, mut lost) = (Vec::new(), Vec::new());
        for old in self.sets() {
            let same = new.sets().find(|set| set.name == old.name && set.kind() == old.kind());
            let taken: BTreeSet<&str> = same.iter().flat_map(|set| &set.elements).map(|element| key(element)).collect();
            let of_old = old.elements.iter().filter(|element| old.runs_out(element) && !taken.contains(key(element)));
            let of_old: Vec<String> = of_old.cloned().collect();
            if !of_old.is_empty() {
                let into = if same.is_some() { &mut carried } else { &mut lost };
                into.push((old.name.clone(), of_old));
            }
        }
        (carried, lost)
    }

    fn sets(&self) -> impl Iterator<Item = &Set> {
        self.parts.iter().filter_map(|part| match part {
            Part::Set(set) => Some(set),
            Part::Line(_) => None,
        })
    }
}

impl Set {
    /// What it holds and how: its own lines but for size and remarks.
    fn kind(&self) -> Vec<&str> {
        let lines = self.head[1..].iter().map(|line| line.trim());
        lines
            .filter(|line| line.starts_with("type ") || line.starts_with("typeof ") || line.starts_with("flags "))
            .collect()
    }

    /// Whether an element is not Git's: it goes by itself, or packets bring it.
    fn runs_out(&self, element: &str) -> bool {
        let line = |start: &str| self.head.iter().any(|line| line.trim().starts_with(start));
        let dynamic = self.head.iter().any(|line| {
            line.trim()
                .strip_prefix("flags ")
                .is_some_and(|flags| flags.split(',').any(|flag| flag.trim() == "dynamic"))
        });
        dynamic || line("timeout ") || words(element).any(|word| word == "timeout")
    }
}

/// The key of an element: what stands before its first attribute or its value.
fn key(element: &str) -> &str {
    let end = [" timeout ", " expires ", " counter", " comment ", " limit ", " : "]
        .iter()
        .filter_map(|word| element.find(word))
        .min();
    element[..end.unwrap_or(element.len())].trim()
}

/// Words outside of quotes.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').step_by(2).flat_map(str::split_whitespace)
}

/// Where the braces of a set's elements stand, of which one is open. A line at a time: a set has
/// ten thousand of them.
#[derive(Default)]
struct Braces {
    /// How many more are open.
    depth: u32,
    quoted: bool,
    /// The first one was closed.
    closed: bool,
}

impl Braces {
    fn follow(&mut self, line: &str) {
        for c in line.chars() {
            match c {
                '"' => self.quoted = !self.quoted,
                '{' if !self.quoted => self.depth += 1,
                '}' if !self.quoted && self.depth == 0 => self.closed = true,
                '}' if !self.quoted => self.depth -= 1,
                _ => {}
            }
        }
    }
}

/// Parts between commas, outside of quotes and braces.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut from) = (0_i32, false, 0);
    let mut parts = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "table inet t {
\tset banned {
\t\ttype ipv4_addr
\t\tflags timeout
\t\telements = { 10.0.0.1 comment \"a, { b\", 10.0.0.2 timeout 5m,
\t\t\t     10.0.0.3 }
\t}

\tset seen {
\t\ttype ipv4_addr
\t\tflags dynamic,timeout
\t\ttimeout 1m
\t\telements = { 10.0.0.9 expires 59s980ms }
\t}

\tchain in {
\t\tip saddr { 10.0.0.1, 10.0.0.2 } drop
\t}
}
";

    #[test]
    fn what_runs_out_is_no_part_of_what_lasts() {
        let listing = Listing::read(PRINTED);
        let lasting = listing.lasting();
        assert!(
            lasting.contains("\t\telements = {\n\t\t\t10.0.0.1 comment \"a, { b\",\n\t\t\t10.0.0.3\n\t\t}\n\t}\n"),
            "{lasting}"
        );
        assert!(!lasting.contains("10.0.0.9") && !lasting.contains("10.0.0.2 timeout"), "{lasting}");
        assert!(lasting.contains("ip saddr { 10.0.0.1, 10.0.0.2 } drop"));
        assert_eq!(listing.first_that_runs_out(), Some(("banned", "10.0.0.2 timeout 5m")));
        assert_eq!(Listing::read(&lasting).lasting(), lasting, "it is its own spelling");
        assert_eq!(Listing::read(&lasting).first_that_runs_out(), None);
        assert!(may_run_out(&lasting), "the sets say so");
        assert!(may_run_out("flags dynamic,timeout") && may_run_out("flags interval,timeout"));
        assert!(!may_run_out("set s { type ipv4_addr; flags interval; comment \"no timeout\" }"));
    }

    #[test]
    fn what_runs_out_goes_over_to_a_set_of_the_same_type() {
        let old = Listing::read(PRINTED);
        let new = PRINTED.replace("10.0.0.2 timeout 5m", "10.0.0.2").replace(" expires 59s980ms", "");
        let none = new.replace("\t\telements = { 10.0.0.9 }\n", "");
        // One that the new table says itself is not said twice.
        assert_eq!(
            old.carried_over_to(&Listing::read(&none)),
            (vec![("seen".to_owned(), vec!["10.0.0.9 expires 59s980ms".to_owned()])], vec![])
        );
        let other = none.replace("type ipv4_addr", "type ipv6_addr");
        let (carried, lost) = old.carried_over_to(&Listing::read(&other));
        let sets: Vec<&str> = lost.iter().map(|(set, _)| set.as_str()).collect();
        assert_eq!((carried.is_empty(), sets), (true, vec!["banned", "seen"]));
    }

    #[test]
    fn a_set_of_a_hundred_thousand_elements_is_read_in_one_go() {
        // Each line counted from the first one would take minutes.
        let elements: Vec<String> =
            (0..100_000).map(|n| format!("10.{}.{}.{} comment \"{{ {n}\"", n >> 16, n >> 8 & 255, n & 255)).collect();
        let text = format!(
            "table inet t {{\n\tset s {{\n\t\ttype ipv4_addr\n\t\telements = {{ {} }}\n\t}}\n}}\n",
            elements.join(",\n\t\t\t     ")
        );
        let lasting = Listing::read(&text).lasting();
        assert_eq!(lasting.lines().count(), elements.len() + 7);
        assert_eq!(Listing::read(&lasting).lasting(), lasting);
    }
}
