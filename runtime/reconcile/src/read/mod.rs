//! From what Git says to nouns, or to errors with file, line, field and a way out.

pub mod resource;
pub mod stack;
pub mod values;
pub mod yaml;

/// Of `known`, the word nearest to a mistyped one.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Turns serde's `unknown field` and `unknown variant` messages into a hint.
#[must_use]
pub fn did_you_mean(message: &str) -> Option<String> {
    let (head, tail) = message.split_once(", expected ")?;
    if !head.contains("unknown field") && !head.contains("unknown variant") {
        return None;
    }
    let word = head.split('`').nth(1)?;
    let known: Vec<&str> = tail
        .trim_start_matches("one of ")
        .split([',', ' '])
        .map(|word| word.trim_matches(['`', '"', '\'', '.']))
        .filter(|word| !word.is_empty() && *word != "or")
        .collect();
    Some(match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let message = "unknown field `targts`, expected one of `name`, `targets`, `values`";
        assert_eq!(did_you_mean(message).unwrap(), "did you mean `targets`?");
        assert_eq!(did_you_mean("unknown field `zzz`, expected `name`").unwrap(), "known here: name");
        assert_eq!(did_you_mean("unknown field `nam`, expected one of name, kind").unwrap(), "did you mean `name`?");
        assert_eq!(did_you_mean("invalid type"), None);
    }
}
