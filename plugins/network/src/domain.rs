//! Names of the DNS as people write them, and in the host's one spelling: absolute, in lower
//! case, with a dot at the end.

/// A name in the one spelling.
pub(crate) fn absolute(text: &str) -> Result<String, String> {
    let bad = |why: &str| format!("{text:?} is no name: {why}");
    if text == "." {
        return Ok(text.to_owned());
    }
    let mut out = String::new();
    // Of the label, and of all so far with a byte for each label's length.
    let (mut label, mut whole) = (0, 1);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'.' => {
                if label == 0 {
                    return Err(bad("a part of it is empty"));
                }
                out.push('.');
                whole += label + 1;
                label = 0;
                continue;
            }
            b'\\' => escaped(&mut bytes)
                .ok_or_else(|| bad("a backslash stands before a character, or before three digits up to 255"))?,
            byte if byte.is_ascii_graphic() => byte,
            byte if byte.is_ascii() => return Err(bad("it holds a space or a control character")),
            _ => return Err(bad("it holds letters beyond ASCII; write it as `xn--...`")),
        };
        label += 1;
        match byte.to_ascii_lowercase() {
            plain @ (b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'*') => out.push(char::from(plain)),
            other => out.push_str(&format!("\\{other:03}")),
        }
        if label > 63 {
            return Err(bad("a part of it is longer than 63 bytes"));
        }
    }
    if label > 0 {
        out.push('.');
        whole += label + 1;
    }
    match out.is_empty() {
        true => Err(bad("it is empty")),
        false if whole > 255 => Err(bad("it is longer than 255 bytes")),
        false => Ok(out),
    }
}

fn escaped(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return first.is_ascii().then_some(first);
    }
    let digits = [first, bytes.next()?, bytes.next()?];
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// Whose records are meant in a zone. One that ends in the zone stands for itself, `@` is the
/// zone, and any other is within the zone, unless a dot at its end says that it is not.
pub(crate) fn owner(text: &str, zone: &str) -> Result<String, String> {
    let zone = absolute(zone)?;
    if text == "@" {
        return Ok(zone);
    }
    let name = absolute(text)?;
    if name == zone || zone == "." || name.ends_with(&format!(".{zone}")) {
        return Ok(name);
    }
    if text.ends_with('.') {
        return Err(format!("{text} is not in the zone {zone}"));
    }
    absolute(&format!("{name}{zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_meant_within_the_zone() {
        for (text, zone, name) in [
            ("www", "example.com", "www.example.com."),
            ("WWW", "Example.COM.", "www.example.com."),
            ("@", "example.com", "example.com."),
            ("www.example.com", "example.com", "www.example.com."),
            ("www.example.com.", "example.com", "www.example.com."),
            ("a.b", "example.com", "a.b.example.com."),
            ("badexample.com", "example.com", "badexample.com.example.com."),
            ("*", "example.com", "*.example.com."),
            ("_sip._udp", "example.com", "_sip._udp.example.com."),
            ("0/25", "2.0.192.in-addr.arpa", "0\\04725.2.0.192.in-addr.arpa."),
            ("example", ".", "example."),
        ] {
            assert_eq!(owner(text, zone).as_deref(), Ok(name), "{text} in {zone}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(64);
        let endless = vec!["abcdefgh"; 40].join(".");
        for (text, zone) in [
            ("www.example.org.", "example.com"),
            ("", "example.com"),
            ("a..b", "example.com"),
            (".", "example.com"),
            ("bücher", "example.com"),
            ("a b", "example.com"),
            ("a\\256", "example.com"),
            ("www", ""),
            (&long, "example.com"),
            (&endless, "example.com"),
        ] {
            assert!(owner(text, zone).is_err(), "{text:?} in {zone:?}");
        }
    }
}
