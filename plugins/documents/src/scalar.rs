//! Plain scalars by the core schema of YAML 1.2.

use serde_json::{Number, Value};

/// What a plain scalar means. `None` for a number that JSON cannot hold.
pub(crate) fn plain(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "-.inf" | "-.Inf" | "-.INF" => return None,
        _ => match text.as_bytes() {
            [b'0', b'x', digits @ ..] if all(digits, u8::is_ascii_hexdigit) => radix(&text[2..], 16)?,
            [b'0', b'o', digits @ ..] if all(digits, |byte| matches!(byte, b'0'..=b'7')) => radix(&text[2..], 8)?,
            [b'+' | b'-', digits @ ..] if all(digits, u8::is_ascii_digit) => integer(text)?,
            digits if all(digits, u8::is_ascii_digit) => integer(text)?,
            _ if is_float(text) => Value::Number(Number::from_f64(text.parse().ok()?)?),
            _ => Value::String(text.to_owned()),
        },
    })
}

fn all(digits: &[u8], test: impl Fn(&u8) -> bool) -> bool {
    !digits.is_empty() && digits.iter().all(test)
}

fn radix(digits: &str, base: u32) -> Option<Value> {
    u64::from_str_radix(digits, base).ok().map(Value::from)
}

fn integer(text: &str) -> Option<Value> {
    let text = text.strip_prefix('+').unwrap_or(text);
    text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).ok()
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let number_fits = match number.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty()),
        None => !number.is_empty() && digits(number),
    };
    number_fits && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::plain;

    #[test]
    fn words_mean_what_the_core_schema_says() {
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("true", json!(true)),
            ("no", json!("no")),
            ("on", json!("on")),
            ("12", json!(12)),
            ("-3", json!(-3)),
            ("+3", json!(3)),
            ("0644", json!(644)),
            ("0o644", json!(420)),
            ("0x1F", json!(31)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("1.2.3", json!("1.2.3")),
            ("12:30", json!("12:30")),
            ("1_000", json!("1_000")),
            ("0x", json!("0x")),
            (".", json!(".")),
            ("e3", json!("e3")),
            ("-", json!("-")),
            ("2001-01-01", json!("2001-01-01")),
        ] {
            assert_eq!(plain(text), Some(value), "{text}");
        }
    }

    #[test]
    fn numbers_that_json_cannot_hold_are_refused() {
        for text in [".inf", "-.inf", ".nan", "99999999999999999999", "1e999", "0xffffffffffffffffff"] {
            assert_eq!(plain(text), None, "{text}");
        }
    }
}
