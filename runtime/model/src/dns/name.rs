//! Names of the DNS in their one spelling: absolute, in lower case, with a dot at the end,
//! and every byte that is no letter, digit, hyphen, underscore or asterisk as `\DDD`.

/// The longest label, in bytes (RFC 1035, 2.3.4).
const LABEL: usize = 63;
/// The longest name as it is sent, in bytes (RFC 1035, 2.3.4).
const NAME: usize = 255;

/// A name in its one spelling. The dot at its end may be left out: it is absolute either way.
///
/// # Errors
/// It is no name; a sentence that says why.
pub fn absolute(text: &str) -> Result<String, String> {
    labels(text).map(|labels| spelled(labels.iter().map(Vec::as_slice)))
}

/// The labels of a name, in lower case; none for the root. `\.` and `\DDD` stand for a byte,
/// as in zone files.
///
/// # Errors
/// It is no name; a sentence that says why.
pub fn labels(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let bad = |why: &str| Err(format!("{text:?} is no name: {why}"));
    if text == "." {
        return Ok(vec![]);
    }
    let mut labels = vec![vec![]];
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'.' => {
                labels.push(vec![]);
                continue;
            }
            b'\\' => match escaped(&mut bytes) {
                Some(byte) => byte,
                None => return bad("a backslash stands before a character, or before three digits up to 255"),
            },
            byte if byte.is_ascii_graphic() => byte,
            byte if byte.is_ascii() => return bad("it holds a space or a control character"),
            _ => return bad("it holds letters beyond ASCII; write it as `xn--...`"),
        };
        if let Some(label) = labels.last_mut() {
            label.push(byte.to_ascii_lowercase());
        }
    }
    // What follows the last dot.
    if labels.last().is_some_and(Vec::is_empty) && labels.len() > 1 {
        labels.pop();
    }
    if labels.iter().any(Vec::is_empty) {
        return bad("a part of it is empty");
    }
    if labels.iter().any(|label| label.len() > LABEL) {
        return bad("a part of it is longer than 63 bytes");
    }
    if labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1 > NAME {
        return bad("it is longer than 255 bytes");
    }
    Ok(labels)
}

fn escaped(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return first.is_ascii().then_some(first);
    }
    let digits = [first, bytes.next()?, bytes.next()?];
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// Labels in the one spelling of a name.
pub fn spelled<'l>(labels: impl IntoIterator<Item = &'l [u8]>) -> String {
    let mut out = String::new();
    for label in labels {
        for byte in label {
            match byte.to_ascii_lowercase() {
                plain @ (b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'*') => out.push(char::from(plain)),
                other => out.push_str(&format!("\\{other:03}")),
            }
        }
        out.push('.');
    }
    if out.is_empty() { ".".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        for (text, spelled) in [
            ("WWW.Example.COM", "www.example.com."),
            ("www.example.com.", "www.example.com."),
            (".", "."),
            ("_sip._udp.example", "_sip._udp.example."),
            ("*.example", "*.example."),
            ("0/25.2.0.192.in-addr.arpa", "0\\04725.2.0.192.in-addr.arpa."),
            ("a\\.b.example", "a\\046b.example."),
            ("a\\046b.example", "a\\046b.example."),
        ] {
            assert_eq!(absolute(text).as_deref(), Ok(spelled), "{text}");
            assert_eq!(absolute(spelled).as_deref(), Ok(spelled));
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(64);
        let endless = vec!["abcdefgh"; 40].join(".");
        for text in ["", "..", ".a", "a..b", "a b", "bücher.example", "a\\", "a\\25", "a\\256", &long, &endless, "a\n"]
        {
            assert!(absolute(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_byte_survives_its_spelling() {
        for byte in 0..=u8::MAX {
            let named = [vec![b'a', byte], b"example".to_vec()];
            let lower: Vec<Vec<u8>> = named.iter().map(|label| label.to_ascii_lowercase()).collect();
            assert_eq!(labels(&spelled(named.iter().map(Vec::as_slice))), Ok(lower), "{byte}");
        }
    }
}
