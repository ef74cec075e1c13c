//! On files that SOPS itself made: see `testdata/sops/make.sh`.

use std::io::Read as _;

use age::armor::ArmoredReader;
use age::{DecryptError, Decryptor};

use super::*;

const FIRST: &str = include_str!("../../testdata/sops/first.key");
const ALL: &str = include_str!("../../testdata/sops/all.yaml");
const EDITED: &str = include_str!("../../testdata/sops/edited.yaml");
const JSON: &str = include_str!("../../testdata/sops/all.json");
const ENV: &str = include_str!("../../testdata/sops/all.env");
const WHOLE: &str = include_str!("../../testdata/sops/whole.bin");
const BOTH: &str = include_str!("../../testdata/sops/both.yaml");
const SECOND: &str = include_str!("../../testdata/sops/second.yaml");
const REGEX: &str = include_str!("../../testdata/sops/regex.yaml");
const CLEAR_REGEX: &str = include_str!("../../testdata/sops/clear-regex.yaml");
const SUFFIX: &str = include_str!("../../testdata/sops/suffix.yaml");
const MAC_ONLY: &str = include_str!("../../testdata/sops/mac-only.yaml");

struct First;

impl Opener for First {
    type Error = String;

    fn refused(&self, refusal: Refusal) -> String {
        refusal.why
    }

    fn open(&self, encrypted: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        let key = FIRST.lines().last().unwrap().parse::<age::x25519::Identity>()?;
        let opened = Decryptor::new_buffered(ArmoredReader::new(encrypted)).map_err(|error| error.to_string())?;
        let mut bytes = Zeroizing::new(Vec::new());
        match opened.decrypt(std::iter::once(&key as &dyn age::Identity)) {
            Err(DecryptError::NoMatchingKeys) => Ok(None),
            Err(error) => Err(error.to_string()),
            Ok(mut reader) => {
                reader.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
                Ok(Some(bytes))
            }
        }
    }
}

fn read(text: &str, format: Format, pointer: &str) -> Result<String, String> {
    value(text.as_bytes(), format, pointer, &First).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn yaml(text: &str, pointer: &str) -> Result<String, String> {
    read(text, Format::Yaml, pointer)
}

#[track_caller]
fn refused(text: &str, pointer: &str, why: &str) {
    let said = yaml(text, pointer).expect_err(text);
    assert!(said.contains(why), "{said}\n{text}");
}

/// The text of the line that holds a key.
fn line<'t>(text: &'t str, key: &str) -> &'t str {
    text.lines().find(|line| line.trim_start().starts_with(&format!("{key}:"))).unwrap()
}

fn encrypted<'t>(text: &'t str, key: &str) -> &'t str {
    line(text, key).split_once(": ").unwrap().1
}

#[test]
fn values_are_read_from_each_format() {
    assert_eq!(yaml(ALL, "/db/password").unwrap(), "hünter2 and \"more\"");
    assert_eq!(yaml(ALL, "/a~1b~0c:d").unwrap(), "odd key");
    assert_eq!(yaml(ALL, "/lines").unwrap(), "line 1\nline 2\n");
    assert_eq!(yaml(EDITED, "/db/password").unwrap(), "another");
    assert_eq!(read(JSON, Format::Json, "/db/password").unwrap(), "hunter2");
    assert_eq!(read(ENV, Format::Dotenv, "/DB_PASSWORD").unwrap(), "hunter2");
    assert_eq!(read(ENV, Format::Dotenv, "/LINES").unwrap(), "a\nb=c");
    assert_eq!(whole(WHOLE.as_bytes(), &First).unwrap().unwrap().as_slice(), b"the whole\nfile");
    assert_eq!(whole(ALL.as_bytes(), &First).unwrap(), None);
    assert_eq!(whole(b"{}", &First).unwrap(), None);
    assert_eq!(whole(b"\xff", &First).unwrap(), None);
}

#[test]
fn each_rule_of_what_is_encrypted_counts() {
    for text in [REGEX, CLEAR_REGEX, MAC_ONLY, BOTH] {
        assert_eq!(yaml(text, "/data/password").unwrap(), "hunter2", "{text}");
    }
    assert_eq!(yaml(SUFFIX, "/data/password").unwrap(), "hunter2");
    refused(REGEX, "/kind", "not encrypted: whoever reads the repository knows it");
    refused(ALL, "/clear_unencrypted/text", "not encrypted");
    let two = format!("{REGEX}    encrypted_suffix: x\n");
    refused(&two, "/data/password", "several rules");
    let other = ALL.replace("unencrypted_suffix: _unencrypted", "encrypted_comment_regex: x");
    refused(&other, "/lines", "encrypted_comment_regex is not served");
}

#[test]
fn what_is_no_single_text_is_refused() {
    for (pointer, why) in [
        ("/db", "no single value: there is password, port"),
        ("/db/pasword", "nothing at /db/pasword: there is password, port"),
        ("/db/password/x", "what comes before is a single value"),
        ("/nothing", "nothing at /nothing"),
        ("/db/nothing", "is empty"),
        ("/db/empty", "is empty"),
        ("/db/port", "of type int"),
        ("/db/ratio", "of type float"),
        ("/db/tls", "of type bool"),
        ("/db/since", "of type time"),
        ("/db/list/0", "in a list"),
        ("/db/list/1/key", "in a list"),
        ("/sops/mac", "nothing at /sops/mac"),
    ] {
        refused(ALL, pointer, why);
    }
    assert!(read(JSON, Format::Json, "/db/port").unwrap_err().contains("of type float"));
    assert!(read("{}", Format::Json, "/a").unwrap_err().contains("no file that SOPS encrypted"));
    refused(SECOND, "/data/password", "encrypted to none of our keys");
    let nobody = ALL.replace("        - recipient", "        - x").replace("          enc:", "          other:");
    refused(&nobody, "/lines", "no age recipient");
    assert!(yaml(&" ".repeat(MAX_FILE + 1), "/a").unwrap_err().contains("are read"));
}

#[test]
fn a_value_belongs_to_its_keys() {
    let (password, odd) = (encrypted(ALL, "password"), encrypted(ALL, "a/b~c:d"));
    // Another name, another map, and each in the place of the other.
    refused(&ALL.replace("    password:", "    passwort:"), "/db/passwort", "not encrypted for there");
    refused(&ALL.replace("db:\n", "du:\n"), "/du/password", "not encrypted for there");
    let swapped = ALL.replace(password, "X").replace(odd, password).replace(": X", &format!(": {odd}"));
    refused(&swapped, "/db/password", "not encrypted for there");
    // Out of one file into the other, though both have one data key: it is an old value.
    let old = EDITED.replace(encrypted(EDITED, "password"), password);
    refused(&old, "/db/password", "not those that its MAC was made of");
    // A text of somebody who has no key.
    refused(&ALL.replace(password, "in-the-clear"), "/db/password", "not encrypted for there");
    refused(&ALL.replace(password, "12"), "/db/password", "is in the clear");
}

#[test]
fn whatever_else_was_changed_is_noticed() {
    let fine = "/lines";
    for (from, to) in [
        ("    text: visible\n", "    text: invisible\n"),
        ("    number: 16\n", "    number: 17\n"),
        ("    \"yes\": true\n", "    \"yes\": false\n"),
        ("    text: visible\n", ""),
        ("    empty: \"\"\n", "    empty: more\n"),
        ("unencrypted_suffix: _unencrypted", "unencrypted_suffix: nothing"),
        ("unencrypted_suffix: _unencrypted", "encrypted_regex: lines"),
        ("    version: 3.11.0\n", "    version: 3.11.0\n    mac_only_encrypted: true\n"),
        ("lastmodified: \"2", "lastmodified: \"1"),
    ] {
        assert!(ALL.contains(from), "{from}");
        refused(&ALL.replace(from, to), fine, "changed by something else than SOPS");
    }
    let without = ALL.replace(&format!("{}\n", line(ALL, "a/b~c:d")), "");
    refused(&without, fine, "not those that its MAC was made of");
    let broken = |text: &str, from: &str| {
        let place = text.find(from).unwrap() + from.len();
        let other = if text.as_bytes()[place] == b'A' { 'B' } else { 'A' };
        let mut broken = text.to_owned();
        broken.replace_range(place..=place, other.encode_utf8(&mut [0; 4]));
        broken
    };
    for (text, from, format, pointer) in [
        (JSON, "\"port\": \"ENC[AES256_GCM,data:", Format::Json, "/db/password"),
        (ENV, "DB_PASSWORD=ENC[AES256_GCM,data:", Format::Dotenv, "/LINES"),
        (WHOLE, "\"data\": \"ENC[AES256_GCM,data:", Format::Json, "/data"),
        (ALL, "mac: ENC[AES256_GCM,data:", Format::Yaml, "/lines"),
    ] {
        let said = read(&broken(text, from), format, pointer).unwrap_err();
        assert!(said.contains("changed by something else than SOPS"), "{said}");
    }
}
