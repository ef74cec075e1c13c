//! OpenSSH's `allowed_signers`: which keys may sign, for what, and when.
//!
//! Stricter than `ssh-keygen` where leniency could widen trust: a line that cannot be
//! read whole is an error that names file and line, never a line passed over.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ssh_key::PublicKey;
use ssh_key::public::KeyData;
use tidelock_model::port::SourceError;

/// The namespace that Git signs in.
pub(crate) const NAMESPACE: &str = "git";

/// The longest file that is read, in bytes.
const MAX_FILE: usize = 1 << 20;

/// A parsed file.
#[derive(Debug, Clone)]
pub struct AllowedSigners {
    file: String,
    lines: Vec<Signer>,
}

/// One line: a key, and what it may do.
#[derive(Debug, Clone)]
struct Signer {
    line: usize,
    principals: String,
    options: Options,
    key: PublicKey,
}

/// What narrows a line. Nothing said, nothing narrowed.
#[derive(Debug, Clone, Default)]
struct Options {
    namespaces: Option<Vec<String>>,
    valid_after: Option<Timestamp>,
    valid_before: Option<Timestamp>,
}

/// A key that may sign commits, with the name that the file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed<'a> {
    /// The principals, as written.
    pub principal: &'a str,
    /// The key.
    pub key: &'a PublicKey,
}

impl AllowedSigners {
    /// The line that lets `key` sign in `namespace` at each of `times`.
    ///
    /// # Errors
    /// A sentence that says why no line does, for a [`SourceError`]'s message.
    pub fn allow(&self, key: &KeyData, namespace: &str, times: &[Timestamp]) -> Result<Allowed<'_>, String> {
        let mut refusal = None;
        for signer in self.lines.iter().filter(|signer| signer.key.key_data() == key) {
            match signer.options.refuse(namespace, times) {
                None => return Ok(Allowed { principal: &signer.principals, key: &signer.key }),
                Some(why) => {
                    refusal = Some(format!("{}:{}: the key of {} {why}", self.file, signer.line, signer.principals));
                }
            }
        }
        Err(refusal.unwrap_or_else(|| {
            let print = PublicKey::from(key.clone()).fingerprint(ssh_key::HashAlg::Sha256);
            format!("the key {print} is not listed in {}", self.file)
        }))
    }

    /// How many keys are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether nobody may sign.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl Options {
    fn refuse(&self, namespace: &str, times: &[Timestamp]) -> Option<String> {
        if let Some(patterns) = &self.namespaces
            && !matches_list(patterns, namespace)
        {
            return Some(format!("may sign in {:?} only, not in {namespace:?}", patterns.join(",")));
        }
        for time in times {
            if let Some(after) = self.valid_after.filter(|after| time < after) {
                return Some(format!("is valid from {after} only, and {time} is before that"));
            }
            if let Some(before) = self.valid_before.filter(|before| time >= before) {
                return Some(format!("was valid until {before}, and {time} is after that"));
            }
        }
        None
    }
}

/// Reads a file's text. `file` is its name for errors.
///
/// # Errors
/// `invalid`, naming file and line: a line that cannot be read, a certificate
/// authority, or a kind of key that is not known.
pub fn parse(text: &str, file: &str) -> Result<AllowedSigners, SourceError> {
    if text.len() > MAX_FILE {
        return Err(SourceError::new(
            "invalid",
            format!("{file} has {} bytes; at most {MAX_FILE} are read", text.len()),
        ));
    }
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let signer = parse_line(line, number)
            .map_err(|(message, hint)| SourceError::new("invalid", format!("{file}:{number}: {message}")).hint(hint))?;
        lines.push(signer);
    }
    Ok(AllowedSigners { file: file.to_owned(), lines })
}

type Bad = (String, String);

fn bad<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Bad> {
    Err((message.into(), hint.into()))
}

fn parse_line(line: &str, number: usize) -> Result<Signer, Bad> {
    if let Some(c) = line.chars().find(|c| c.is_control() && *c != '\t') {
        return bad(format!("the line holds the control character {c:?}"), "remove it");
    }
    let (principals, rest) = principals(line)?;
    let first = rest.split([' ', '\t']).next().unwrap_or_default();
    let (options, key) = if looks_like_key_type(first) { (Options::default(), rest) } else { options(rest)? };
    if let (Some(after), Some(before)) = (options.valid_after, options.valid_before)
        && after >= before
    {
        return bad("valid-after is not before valid-before, so the key is never valid", "swap or correct the dates");
    }
    Ok(Signer { line: number, principals: principals.to_owned(), options, key: public_key(key)? })
}

/// The first field, which may stand in double quotes, and the rest.
fn principals(line: &str) -> Result<(&str, &str), Bad> {
    let hint = "write: principal [options] key-type base64-key, such as `ann@example.com ssh-ed25519 AAAA...`";
    let (field, rest) = match line.strip_prefix('"') {
        Some(quoted) => match quoted.split_once('"') {
            Some((field, rest)) if rest.starts_with([' ', '\t']) => (field, rest),
            Some(_) => return bad("there is no space after the quoted principals", hint),
            None => return bad("the quote of the principals is not closed", "add the closing double quote"),
        },
        None => match line.split_once([' ', '\t']) {
            Some((field, _)) if field.contains('"') => {
                return bad("a quote stands within the principals", "quote the whole field or nothing of it");
            }
            Some((field, rest)) => (field, rest),
            None => return bad("the line has one field only", hint),
        },
    };
    if field.split(',').any(|name| name.trim().is_empty()) {
        return bad("a principal is empty", "remove the superfluous comma, or name the signer");
    }
    Ok((field, rest.trim_start_matches([' ', '\t'])))
}

/// A key type is told from options as OpenSSH does: by what the first word is.
fn looks_like_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|prefix| word.starts_with(prefix)) && !word.contains(['=', ',', '"'])
}

/// Reads comma-separated options; gives what follows them.
fn options(text: &str) -> Result<(Options, &str), Bad> {
    let mut options = Options::default();
    let mut rest = text;
    loop {
        let end = rest.find(['=', ',', ' ', '\t']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = if let Some(value) = after.strip_prefix('=') {
            let (value, after) = quoted(name, value)?;
            option(name, value, &mut options)?;
            after
        } else {
            flag(name)?;
            after
        };
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.starts_with([' ', '\t']) => {
                return Ok((options, rest.trim_start_matches([' ', '\t'])));
            }
            None if rest.is_empty() => return bad("the key is missing", "add the key's type and its base64 text"),
            None => return bad(format!("{rest:?} follows option {name}"), "part options by commas without spaces"),
        }
    }
}

fn flag(name: &str) -> Result<(), Bad> {
    if name.eq_ignore_ascii_case("cert-authority") {
        return bad(
            "certificate authorities are not supported",
            "list the signers' own public keys, one line for each, and remove this line",
        );
    }
    bad(
        format!("{name:?} is neither an option nor a key type"),
        "options are namespaces=\"...\", valid-after=\"...\" and valid-before=\"...\"; keys begin with ssh-, ecdsa- or sk-",
    )
}

fn quoted<'a>(name: &str, text: &'a str) -> Result<(&'a str, &'a str), Bad> {
    let Some(text) = text.strip_prefix('"') else {
        return bad(format!("the value of {name} is not quoted"), format!("write {name}=\"...\""));
    };
    match text.split_once('"') {
        Some((value, _)) if value.contains('\\') => {
            bad(format!("the value of {name} holds a backslash"), "write it without escapes")
        }
        Some(parts) => Ok(parts),
        None => bad(format!("the quote of {name} is not closed"), "add the closing double quote"),
    }
}

fn option(name: &str, value: &str, options: &mut Options) -> Result<(), Bad> {
    let twice = || bad(format!("{name} stands twice"), "keep one of them");
    match name.to_ascii_lowercase().as_str() {
        "namespaces" => {
            let patterns: Vec<String> = value.split(',').map(str::to_owned).collect();
            if patterns.iter().any(String::is_empty) {
                return bad("a namespace is empty", "write namespaces=\"git\"");
            }
            if options.namespaces.replace(patterns).is_some() {
                return twice();
            }
        }
        "valid-after" => {
            if options.valid_after.replace(time(name, value)?).is_some() {
                return twice();
            }
        }
        "valid-before" => {
            if options.valid_before.replace(time(name, value)?).is_some() {
                return twice();
            }
        }
        _ => return flag(name),
    }
    Ok(())
}

/// `YYYYMMDD[Z]` or `YYYYMMDDHHMM[SS][Z]`; local time without the `Z`, as OpenSSH reads it.
fn time(name: &str, text: &str) -> Result<Timestamp, Bad> {
    let wrong = || {
        (
            format!("{text:?} is not a time for {name}"),
            format!("write {name}=\"YYYYMMDD\", \"YYYYMMDDHHMM\" or \"YYYYMMDDHHMMSS\", with a Z at the end for UTC"),
        )
    };
    let (digits, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, TimeZone::UTC),
        None => (text, TimeZone::system()),
    };
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or("0").parse::<i16>().map_err(|_| wrong());
    let small = |from, to| part(from, to).and_then(|value| i8::try_from(value).map_err(|_| wrong()));
    DateTime::new(part(0, 4)?, small(4, 6)?, small(6, 8)?, small(8, 10)?, small(10, 12)?, small(12, 14)?, 0)
        .and_then(|time| zone.to_timestamp(time))
        .map_err(|_| wrong())
}

fn public_key(text: &str) -> Result<PublicKey, Bad> {
    let mut fields = text.split([' ', '\t']).filter(|field| !field.is_empty());
    let (Some(kind), Some(base64)) = (fields.next(), fields.next()) else {
        return bad("the key is missing", "add the key's type and its base64 text");
    };
    if kind.contains("-cert-") {
        return bad("a certificate is not a key", "list the signer's own public key");
    }
    let key = PublicKey::from_openssh(&format!("{kind} {base64}")).map_err(|error| {
        (format!("the {kind} key cannot be read: {error}"), "copy the line of the signer's .pub file".to_owned())
    })?;
    match key.algorithm() {
        ssh_key::Algorithm::Dsa | ssh_key::Algorithm::Other(_) => {
            bad(format!("keys of type {kind} are not supported"), "use ed25519, ecdsa or rsa")
        }
        _ => Ok(key),
    }
}

/// OpenSSH's pattern list: `*` and `?`; a match of a pattern with `!` refuses at once.
fn matches_list(patterns: &[String], text: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if wildcard(pattern.as_bytes(), text.as_bytes()) => return false,
            Some(_) => {}
            None => found |= wildcard(pattern.as_bytes(), text.as_bytes()),
        }
    }
    found
}

/// Matches with one point to go back to, so no pattern takes more than `pattern * text` steps.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPBtbuH4qGWmX7pXyBe0D/r8ZWjbv3x/wD0Yq52kFCEN";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGGn+8lJbDzmxuQId5jpqBq1+Cttfxq/0n6S8CjxwMxl";

    fn key(text: &str) -> KeyData {
        PublicKey::from_openssh(text).unwrap().key_data().clone()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn allow(line: &str, namespace: &str, time: &str) -> Result<String, String> {
        let signers = parse(line, "signers").unwrap();
        signers.allow(&key(KEY), namespace, &[at(time)]).map(|allowed| allowed.principal.to_owned())
    }

    const NOW: &str = "2026-06-01T12:00:00Z";

    #[test]
    fn reads_what_openssh_documents() {
        for (line, principal) in [
            (format!("ann@example.com {KEY} a comment here"), "ann@example.com"),
            (format!("ann@a,ann@b\t{KEY}"), "ann@a,ann@b"),
            (format!("\"Ann Example\" {KEY}"), "Ann Example"),
            (format!("ann namespaces=\"git\" {KEY}"), "ann"),
            (format!("ann Namespaces=\"file,g*\",valid-after=\"20260101Z\" {KEY}"), "ann"),
            (format!("# note\n\n  ann valid-before=\"202606011200\",namespaces=\"git\" {KEY}\r\n"), "ann"),
        ] {
            assert_eq!(allow(&line, "git", "2026-05-30T00:00:00Z").as_deref(), Ok(principal), "{line}");
        }
    }

    #[test]
    fn a_key_is_trusted_only_as_far_as_its_line_goes() {
        let unlisted = allow(&format!("ann {OTHER}"), "git", NOW).unwrap_err();
        assert!(unlisted.contains("is not listed in signers"), "{unlisted}");
        let namespace = allow(&format!("ann namespaces=\"file\" {KEY}"), "git", NOW).unwrap_err();
        assert!(namespace.starts_with("signers:1: the key of ann may sign in \"file\" only"), "{namespace}");
        assert!(allow(&format!("ann namespaces=\"*,!git\" {KEY}"), "git", NOW).is_err());
        let early = allow(&format!("ann valid-after=\"20270101Z\" {KEY}"), "git", NOW).unwrap_err();
        assert!(early.contains("is valid from 2027-01-01T00:00:00Z"), "{early}");
        let late = allow(&format!("\n\nann valid-before=\"20260101Z\" {KEY}"), "git", NOW).unwrap_err();
        assert!(late.starts_with("signers:3: the key of ann was valid until 2026-01-01"), "{late}");
        // The end is not part of the span.
        assert!(allow(&format!("ann valid-before=\"20260601120000Z\" {KEY}"), "git", NOW).is_err());
        assert!(allow(&format!("ann valid-before=\"20260601120001Z\" {KEY}"), "git", NOW).is_ok());
    }

    #[test]
    fn every_time_has_to_fit() {
        let signers = parse(&format!("ann valid-before=\"20260601Z\" {KEY}"), "signers").unwrap();
        let (then, now) = (at("2026-05-01T00:00:00Z"), at(NOW));
        assert!(signers.allow(&key(KEY), "git", &[then]).is_ok());
        assert!(signers.allow(&key(KEY), "git", &[then, now]).is_err());
    }

    #[test]
    fn a_second_line_may_trust_what_the_first_does_not() {
        let text = format!("old valid-before=\"20200101Z\" {KEY}\nnew valid-after=\"20200101Z\" {KEY}\n");
        assert_eq!(allow(&text, "git", NOW).as_deref(), Ok("new"));
    }

    #[test]
    fn errors_name_file_and_line() {
        for (line, says) in [
            ("ann".to_owned(), "one field only"),
            (format!("ann cert-authority {KEY}"), "certificate authorities are not supported"),
            (format!("ann cert-authority,namespaces=\"git\" {KEY}"), "certificate authorities are not supported"),
            (format!("ann namespaces=git {KEY}"), "the value of namespaces is not quoted"),
            (format!("ann namespaces=\"git {KEY}"), "the quote of namespaces is not closed"),
            (format!("ann namespaces=\"git\",namespaces=\"file\" {KEY}"), "namespaces stands twice"),
            (format!("ann namespaces=\"git\"x {KEY}"), "follows option namespaces"),
            (format!("ann namespaces=\"\" {KEY}"), "a namespace is empty"),
            (format!("ann touch-required {KEY}"), "neither an option nor a key type"),
            (format!("ann valid-after=\"2026\" {KEY}"), "is not a time"),
            (format!("ann valid-after=\"20261301\" {KEY}"), "is not a time"),
            (format!("ann valid-after=\"20260101\",valid-before=\"20250101\" {KEY}"), "never valid"),
            (format!("\"ann {KEY}"), "the quote of the principals is not closed"),
            (format!("ann,, {KEY}"), "a principal is empty"),
            ("ann namespaces=\"git\"".to_owned(), "the key is missing"),
            ("ann ssh-ed25519".to_owned(), "the key is missing"),
            ("ann ssh-ed25519 AAAA".to_owned(), "cannot be read"),
            ("ann ssh-ed25519 !!!!".to_owned(), "cannot be read"),
            (format!("an\u{7}n {KEY}"), "control character"),
        ] {
            let error = parse(&format!("# first\n{line}\n"), "etc/signers").unwrap_err();
            assert_eq!(error.code, "invalid");
            assert!(error.message.starts_with("etc/signers:2: "), "{}", error.message);
            assert!(error.message.contains(says), "{:?} should say {says:?}", error.message);
            assert!(error.hint.is_some());
        }
    }

    #[test]
    fn wildcards_take_little_time() {
        assert!(wildcard(b"g*t", b"git"));
        assert!(wildcard(b"?it*", b"git"));
        assert!(!wildcard(b"g*x", b"git"));
        assert!(!wildcard("*a".repeat(2000).as_bytes(), "a".repeat(1000).as_bytes()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(ann|\"a b\"|,|=|\"|namespaces|valid-after|ssh-ed25519|AAAA|[ \t\n#*!Z0-9]|\\PC){0,40}") {
            let _ = parse(&text, "signers");
        }
    }
}
