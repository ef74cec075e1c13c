//! Trying a ruleset where it can do nothing: in a network namespace that is made for it,
//! with placeholders for the links that it names, and that ends with the trial.
//!
//! Each turn starts `nft` twice, and that is what a plan of a large table takes its time for. So
//! what was found is kept: the answer to a text, and that the answer prints itself, which is
//! all that is asked once more before it goes to the target.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tidelock_model::digest::Digest;
use tidelock_model::error::Fault;
use tidelock_model::network::{Link, Object, Table, table_name};

use super::listing::Listing;
use super::{kept, program, statements, whole};
use crate::network::namespace::Namespace;
use crate::network::rtnetlink::Rtnetlink;
use crate::network::view::View;
use crate::network::{fault, put};

/// The longest ruleset. One of 20,000 elements has half a megabyte.
const MAX_TEXT: usize = 8 << 20;
/// The largest set that a ruleset may ask for. The kernel makes room for it beforehand: 14 bytes
/// for each element, measured with 20,000,000 of them.
const MAX_SET: u64 = 1 << 20;
/// Placeholders of one trial.
const MAX_LINKS: usize = 256;
/// What nft says of a link that is not there.
pub(super) const NO_LINK: &str = "Interface does not exist";
/// How often a text is printed anew until it prints itself. nft merges some intervals only
/// when it reads them back.
const TURNS: usize = 4;
/// Answers that are kept: a trial takes longer than all else that a look at a table does.
const KEPT: usize = 256;

/// Texts by what was asked.
static ANSWERS: LazyLock<Mutex<BTreeMap<Digest, Arc<str>>>> = LazyLock::new(Mutex::default);

/// What nft makes of a text, which must be one table of this family and name. Where `answers` is
/// given it may be what nft made of it in another run of this program.
pub(in crate::network) fn of_text(
    family: &str,
    name: &str,
    text: &str,
    links: &[String],
    answers: Option<&Path>,
) -> Result<Table, Fault> {
    table_name(family, name).map_err(|why| fault("invalid", why))?;
    harmless(text)?;
    let key = key(family, name, text, links);
    let table = |ruleset: String| Table { family: family.to_owned(), name: name.to_owned(), ruleset };
    let memory = || ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = memory().get(&key).cloned();
    let ruleset = match answer {
        Some(ruleset) => ruleset,
        None => {
            if let Some(ruleset) = answers.and_then(|folder| kept::read(folder, &key)) {
                whole::remember(&ruleset);
                return Ok(table(ruleset));
            }
            let ruleset: Arc<str> = settled(family, name, text, links)?.into();
            let mut memory = memory();
            if memory.len() >= KEPT {
                memory.clear();
            }
            memory.insert(self::key(family, name, &ruleset, links), Arc::clone(&ruleset));
            memory.insert(key, Arc::clone(&ruleset));
            drop(memory);
            if let Some(folder) = answers {
                kept::write(folder, &key, &ruleset);
            }
            ruleset
        }
    };
    Ok(table(ruleset.as_ref().to_owned()))
}

/// What an answer rests on.
fn key(family: &str, name: &str, text: &str, links: &[String]) -> Digest {
    let named = named_in(text, links);
    let parts = [family, name, text].into_iter().chain(named);
    Digest::of_parts(parts.map(str::as_bytes))
}

/// Proves that a text is what nft prints for the table, and so says nothing else: no other
/// table, no file, no command.
pub(in crate::network) fn proven(table: &Table, links: &[String]) -> Result<(), Fault> {
    if of_text(&table.family, &table.name, &table.ruleset, links, None)?.ruleset == table.ruleset {
        return Ok(());
    }
    let Table { family, name, .. } = table;
    Err(fault("invalid", format!("the ruleset of table {family} {name} is not as nft prints it")))
}

fn settled(family: &str, name: &str, text: &str, links: &[String]) -> Result<String, Fault> {
    let mut text = text.to_owned();
    for _ in 0..TURNS {
        let named = named_in(&text, links);
        let printed = Namespace::fresh(|| printed(family, name, &text, &named))?;
        let listing = Listing::read(&printed);
        if let Some((set, element)) = listing.first_that_runs_out() {
            let message =
                format!("the element {element} of {set} runs out by itself, or belongs to a set that packets fill");
            return Err(fault("invalid", message)
                .hint("leave such elements to the target: they are kept when the table is replaced")
                .at("/ruleset"));
        }
        let lasting = listing.lasting();
        if lasting == text {
            return Ok(text);
        }
        whole::remember(&lasting);
        text = lasting;
    }
    let message = format!("nft prints table {family} {name} in another way each time it reads its own words");
    Err(fault("unsupported", message).at("/ruleset"))
}

/// Loads a text into this thread's namespace and prints what came of it.
fn printed(family: &str, name: &str, text: &str, links: &[&str]) -> Result<String, Fault> {
    let mut view = View::new(Rtnetlink::open()?);
    for link in links {
        // A bridge is the one sort of link that every kernel with filters has.
        let placeholder = Link { name: (*link).to_owned(), kind: Some("bridge".to_owned()), ..Link::default() };
        put::put(&mut view, &Object::Link(placeholder), None)?;
    }
    let tried = match program::tried(text) {
        // One that is made later, or was lost: the text may name it, and the target is asked when it is loaded.
        Err(fault) if fault.message.contains(NO_LINK) => {
            for name in may_be_links(text).filter(|name| !links.contains(name)).take(MAX_LINKS) {
                let placeholder = Link { name: name.to_owned(), kind: Some("bridge".to_owned()), ..Link::default() };
                put::put(&mut view, &Object::Link(placeholder), None)?;
            }
            program::tried(text)
        }
        tried => tried,
    };
    let all = tried.map_err(|fault| fault.at("/ruleset"))?;
    // Nothing in a table stands at the beginning of a line, unless in a string, and then there is
    // one too many.
    let found: Vec<&str> = all.lines().filter(|line| line.starts_with("table ")).collect();
    let wanted = format!("table {family} {name}");
    if found != [format!("{wanted} {{")] {
        let found: Vec<&str> = found.iter().map(|line| line.trim_end_matches(['{', ' '])).collect();
        let found = if found.is_empty() { "no table".to_owned() } else { found.join(", ") };
        let message = format!("the ruleset makes {found}, and the resource is for {wanted} alone");
        return Err(fault("invalid", message).at("/ruleset"));
    }
    Ok(all)
}

/// Refuses what reads files or takes the kernel's memory, before anything reads it. The words
/// are refused wherever they stand: a second opinion of where nft's comments and strings end
/// could be wrong.
fn harmless(text: &str) -> Result<(), Fault> {
    if text.len() > MAX_TEXT {
        return Err(fault("limit", format!("a ruleset has {MAX_TEXT} bytes at most")).at("/ruleset"));
    }
    if text.contains('\0') {
        return Err(fault("invalid", "a ruleset holds no NUL").at("/ruleset"));
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_');
    if text.split(|c| !is_word(c)).any(|word| word == "include") {
        return Err(fault("invalid", "`include` reads files of the target; a ruleset is whole without them")
            .hint("put it all into one file; the word may not stand in a comment either")
            .at("/ruleset"));
    }
    let words: Vec<&str> = text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).collect();
    let mut sizes = words.windows(2).filter(|pair| pair[0] == "size").filter_map(|pair| number(pair[1]));
    if let Some(size) = sizes.find(|size| *size > MAX_SET) {
        return Err(fault(
            "limit",
            format!("a set of {size} elements; {MAX_SET} are the most that a ruleset asks for"),
        )
        .at("/ruleset"));
    }
    statements::only_tables(text)
}

/// A number as nft reads it; one that is too large for us is the largest.
fn number(word: &str) -> Option<u64> {
    let (digits, radix) = match word.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None => (word, 10),
    };
    let all = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    all.then(|| u64::from_str_radix(digits, radix).unwrap_or(u64::MAX))
}

/// Words of a text that could be names of links that it asks for by their numbers, those first that stand on a line
/// with such a question. A word that is none costs a placeholder.
fn may_be_links(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | '+');
    let asks = |line: &&str| ["iif", "oif", "device", "define"].iter().any(|word| line.contains(word));
    let (asking, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(asks);
    let words = asking.into_iter().chain(rest).flat_map(move |line| line.split(move |c| !is_name(c)));
    let mut seen = BTreeSet::new();
    words.filter(move |word| {
        (1..=15).contains(&word.len())
            && word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && !matches!(*word, "all" | "default" | "lo")
            && seen.insert(*word)
    })
}

/// The links that a text may name, of those that are there.
fn named_in<'a>(text: &str, links: &'a [String]) -> Vec<&'a str> {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '@' | '+');
    let words: BTreeSet<&str> = text.split(|c| !is_name(c)).collect();
    links.iter().map(String::as_str).filter(|link| words.contains(link)).take(MAX_LINKS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_refused_wherever_the_word_stands() {
        for text in
            ["include \"/etc/shadow\"", "# include", "\tinclude\t\"x\"", "# \"\ninclude \"/etc/x\"", "a;include\"x\""]
        {
            assert_eq!(harmless(text).unwrap_err().code, "invalid", "{text}");
        }
        assert!(harmless("chain includes { }").is_ok());
        for size in ["size 20000000", "size\\\n0x1000000", "set a { size 99999999999999999999999; }"] {
            assert_eq!(harmless(size).unwrap_err().code, "limit", "{size}");
        }
        assert!(harmless("set a { type ipv4_addr; size 65535; }").is_ok());
        assert!(harmless("a\0b").is_err());
    }

    #[test]
    fn links_are_found_as_words() {
        let links = ["eth0", "eth0.100", "br-lan", "wan"].map(String::from);
        assert_eq!(named_in("iif \"eth0.100\" oifname br-lan; wan0", &links), ["eth0.100", "br-lan"]);
        let text = "table inet t {\n set s { type iface_index; elements = {\n lan9, lo } }\n iif { lan0, \"lan-1\" } accept\n}";
        let words: Vec<&str> = may_be_links(text).collect();
        assert_eq!(words[..4], ["iif", "lan0", "lan-1", "accept"]);
        assert!(words.contains(&"lan9") && !words.contains(&"lo"), "{words:?}");
    }
}
