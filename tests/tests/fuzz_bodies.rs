//! The fuzz targets under proptest: what stands in `tests/fuzz/bodies.rs` holds for
//! seeds, for seeds that were tampered with, and for noise in the words of the format.
//!
//! libFuzzer goes further, where a nightly compiler is: see `tests/fuzz/README.md`.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

#[path = "../fuzz/bodies.rs"]
#[allow(unreachable_pub, reason = "the fuzz targets use it as a library")]
mod bodies;

use bodies::Body;

/// Cases of each sort for each target; PROPTEST_CASES, where set, overrides it.
const CASES: u32 = 400;

/// Pieces that mean something to one of the parsers.
const WORDS: &[&str] = &[
    "\n",
    "\n  ",
    "\n- ",
    ": ",
    ", ",
    "- ",
    "? ",
    "{",
    "}",
    "[",
    "]",
    "'",
    "\"",
    "|",
    ">-",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "!!binary ",
    "---\n",
    "\n---\n",
    "...\n",
    "%YAML 1.2\n",
    "# ",
    "~",
    "null",
    "yes",
    "true",
    ".nan",
    ".inf",
    "-0.0",
    "0x10",
    "1e400",
    "1e-7",
    "18446744073709551616",
    "123456789.123456789e-15",
    "\t",
    "\r\n",
    "\u{0}",
    "\u{feff}",
    "\u{2028}",
    "\u{1f319}",
    "\\u0000",
    "\\",
    "..",
    "/",
    "//",
    "?",
    "name",
    "kind",
    "spec",
    "targets",
    "values",
    "needs",
    "{target}",
    "server.file/motd",
    "25%",
    "\"kind\":",
    "\"spec\":{}",
    "sha256:",
    "infra:web:server.file/a@b",
    "ssh-ed25519 ",
    "AAAA",
    "namespaces=\"git\",",
    "valid-after=\"20260101\" ",
    "cert-authority ",
    "!*",
    "ann@example.com ",
    "{}",
    "[[[[[[[[",
];

/// Something done to a text.
#[derive(Debug, Clone)]
enum Tamper {
    Flip(Index, u8),
    Insert(Index, &'static str),
    Number(Index, f64),
    Delete(Index, usize),
    Repeat(Index, usize, usize),
    Cut(Index),
}

impl Tamper {
    fn apply(&self, text: &mut Vec<u8>) {
        let end = text.len();
        match self {
            Self::Flip(at, with) if end > 0 => text[at.index(end)] ^= with,
            Self::Insert(at, word) => {
                let at = at.index(end + 1);
                text.splice(at..at, word.bytes());
            }
            // In the place of a digit, so that it often stays a number.
            Self::Number(at, number) => {
                let digits: Vec<usize> = (0..end).filter(|i| text[*i].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    let at = digits[at.index(digits.len())];
                    text.splice(at..=at, format!("{number:e}").bytes());
                }
            }
            Self::Delete(at, length) if end > 0 => {
                let at = at.index(end);
                text.drain(at..(at + length).min(end));
            }
            Self::Repeat(at, length, times) if end > 0 => {
                let at = at.index(end);
                let piece = text[at..(at + length).min(end)].repeat(*times);
                text.splice(at..at, piece);
            }
            Self::Cut(at) => text.truncate(at.index(end + 1)),
            _ => {}
        }
    }
}

fn tamper() -> impl Strategy<Value = Tamper> {
    let at = any::<Index>;
    // Mostly gentle, so that much of it is still accepted and has to hold.
    prop_oneof![
        4 => (at(), 0..8_u32).prop_map(|(at, bit)| Tamper::Flip(at, 1 << bit)),
        4 => (at(), select(WORDS)).prop_map(|(at, word)| Tamper::Insert(at, word)),
        8 => (at(), any::<f64>()).prop_map(|(at, number)| Tamper::Number(at, number)),
        2 => (at(), 1..20_usize).prop_map(|(at, length)| Tamper::Delete(at, length)),
        2 => (at(), 1..40_usize, 1..60_usize).prop_map(|(at, length, times)| Tamper::Repeat(at, length, times)),
        1 => at().prop_map(Tamper::Cut),
    ]
}

/// The seeds of a target: name and content, sorted.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|found| found.unwrap())
        .map(|found| (found.file_name().into_string().unwrap(), fs::read(found.path()).unwrap()))
        .collect();
    seeds.sort();
    assert!(seeds.len() > 2, "{target} has too few seeds");
    seeds
}

fn hold<S: Strategy<Value = Vec<u8>>>(body: Body, inputs: S) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    // Failures are printed with their input; a file of them beside the test would be one more thing to keep.
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&inputs, |input| {
        body(&input);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn check(target: &str) {
    let (_, body) = bodies::ALL.into_iter().find(|(name, _)| *name == target).expect("a target of that name");
    let seeds = seeds(target);
    for (name, content) in &seeds {
        assert_eq!(body(content), !name.starts_with("refused-"), "the seed {target}/{name}");
    }
    let contents: Vec<Vec<u8>> = seeds.into_iter().map(|(_, content)| content).collect();
    let tampered = (select(contents), prop::collection::vec(tamper(), 1..4)).prop_map(|(mut text, tampers)| {
        for tamper in tampers {
            tamper.apply(&mut text);
        }
        text
    });
    hold(body, tampered);
    hold(body, prop::collection::vec(select(WORDS), 0..40).prop_map(|words| words.concat().into_bytes()));
    hold(body, prop::collection::vec(any::<u8>(), 0..200));
}

#[test]
fn stacks() {
    check("stack");
}

#[test]
fn resources() {
    check("resource");
}

#[test]
fn values() {
    check("values");
}

#[test]
fn plans() {
    check("plan");
}

#[test]
fn allowed_signers() {
    check("allowed_signers");
}
