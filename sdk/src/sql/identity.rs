//! Identities as the host tells them from statements: `table:app/public/orders`. The host
//! compares them with those of changes, so a plugin must spell them the same way.

/// One part of an identity: a name with `%`, `/`, `@`, control characters and characters that
/// nobody sees written as their numbers.
///
/// ```
/// assert_eq!(tidelock_sdk::sql::identity::part("50%/a@b"), "50%25%2Fa%40b");
/// ```
#[must_use]
pub fn part(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '%' | '/' | '@') || c.is_control() || invisible(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Bidirectional marks and overrides, spaces without width, line separators, tags: the host's own
/// list.
fn invisible(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// An identity of a class and the parts of a name.
///
/// ```
/// assert_eq!(tidelock_sdk::sql::identity::of("table", ["app", "public", "a/b"]), "table:app/public/a%2Fb");
/// ```
pub fn of(class: &str, name: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let name: Vec<String> = name.into_iter().map(|name| part(name.as_ref())).collect();
    format!("{class}:{}", name.join("/"))
}

/// The parts of an identity's name, outermost first: those that [`of`] was given.
///
/// ```
/// assert_eq!(tidelock_sdk::sql::identity::parts("table:app/public/a%2Fb"), ["app", "public", "a/b"]);
/// ```
#[must_use]
pub fn parts(identity: &str) -> Vec<String> {
    let (_, name) = identity.split_once(':').unwrap_or_default();
    name.split('/').map(plain).collect()
}

/// The name that a [`part`] was made of.
#[must_use]
pub fn plain(part: &str) -> String {
    let bytes = part.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_comes_back() {
        for name in ["", "a", "50%", "%2F", "a/b@c", "tab\there", "\u{85}", "ünïcode 🦀", "\"quoted\""] {
            assert_eq!(plain(&part(name)), name);
            assert_eq!(parts(&of("x", ["db", name])), ["db", name]);
        }
    }
}
