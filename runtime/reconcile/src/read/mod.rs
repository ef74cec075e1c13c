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

/// A sentence of serde's about an unknown word, shortened, and a hint: what was likely meant, or
/// all that is known there. Other sentences stay as they are.
#[must_use]
pub fn in_words(message: &str) -> (String, Option<String>) {
    let unknown = |head: &str| head.contains("unknown field") || head.contains("unknown variant");
    let Some((head, tail)) = message.split_once(", expected ").filter(|(head, _)| unknown(head)) else {
        return (message.to_owned(), None);
    };
    let Some(word) = head.split('`').nth(1) else { return (message.to_owned(), None) };
    let known: Vec<&str> = tail
        .trim_start_matches("one of ")
        .split([',', ' '])
        .map(|word| word.trim_matches(['`', '"', '\'', '.']))
        .filter(|word| !word.is_empty() && *word != "or")
        .collect();
    let hint = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    (head.replace("unknown variant", "unknown value"), Some(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let message = "unknown field `targts`, expected one of `name`, `targets`, `values`";
        assert_eq!(
            in_words(message),
            ("unknown field `targts`".to_owned(), Some("did you mean `targets`?".to_owned()))
        );
        assert_eq!(in_words("unknown field `zzz`, expected `name`").1.unwrap(), "known here: name");
        let message = "unknown variant `heal`, expected one of `apply`, `ask`";
        assert_eq!(in_words(message), ("unknown value `heal`".to_owned(), Some("known here: apply, ask".to_owned())));
        assert_eq!(in_words("unknown field `nam`, expected one of name, kind").1.unwrap(), "did you mean `name`?");
        assert_eq!(in_words("invalid type"), ("invalid type".to_owned(), None));
    }
}
