//! Errors and warnings of a plan, with the line that each is about.

use tidelock_model::error::Diagnostic;

use super::value::{plain, tamed_lines};
use super::{Ink, Style};

/// All remarks of a sort; what several lanes say in the same words, once.
pub(super) fn section(word: &str, ink: Ink, list: &[Diagnostic], style: &Style) -> String {
    let mut told: Vec<(&Diagnostic, usize)> = Vec::new();
    for diagnostic in list {
        match told.iter_mut().find(|(known, _)| *known == diagnostic) {
            Some((_, times)) => *times += 1,
            None => told.push((diagnostic, 1)),
        }
    }
    told.into_iter().map(|(diagnostic, times)| remark(word, ink, diagnostic, times, style)).collect()
}

fn remark(word: &str, ink: Ink, diagnostic: &Diagnostic, times: usize, style: &Style) -> String {
    let mut message = plain(&diagnostic.message, 2_000);
    if times > 1 {
        message.push_str(&format!(" ({times} lanes)"));
    }
    let told = match &diagnostic.place {
        Some(place) => format!("{}: {message}", plain(&place.to_string(), 400)),
        None => message,
    };
    let mut out = format!("{} {told}\n", style.paint(ink, &format!("{word}:")));
    out.push_str(&excerpt(diagnostic, ink, style));
    if let Some(hint) = &diagnostic.hint {
        for line in tamed_lines(hint, 2_000) {
            out.push_str(&format!("  {}\n", style.paint(Ink::Dim, &line)));
        }
    }
    out
}

/// The line that a remark is about, with a mark below its column. Nothing where the
/// line is not at hand.
fn excerpt(diagnostic: &Diagnostic, ink: Ink, style: &Style) -> String {
    let (Some(place), Some(snippet)) = (&diagnostic.place, &diagnostic.snippet) else { return String::new() };
    // A renderer may hand over several lines; the place is that of the first.
    let Some(line) = tamed_lines(snippet, 2_000).into_iter().next().filter(|_| place.line > 0) else {
        return String::new();
    };
    let number = place.line.to_string();
    let gutter = " ".repeat(number.len());
    // Tabs stand as four spaces in what is shown, so the mark moves with them.
    let before = snippet.chars().take((place.column as usize).saturating_sub(1));
    let indent: usize = before.map(|c| if c == '\t' { 4 } else { 1 }).sum();
    let (indent, room) = (indent.min(line.chars().count()), style.width.saturating_sub(number.len() + 5).max(20));
    // Of a long line the part is shown that the mark is in.
    let skipped = if indent >= room { indent - room / 2 } else { 0 };
    let shown: String = line.chars().skip(skipped).take(room).collect();
    let mut out = format!("  {} {}\n", style.paint(Ink::Dim, &format!("{number} |")), shown.trim_end());
    if place.column > 0 {
        let mark = format!("{}{}", " ".repeat(indent - skipped), style.paint(ink, "^"));
        out.push_str(&format!("  {} {mark}\n", style.paint(Ink::Dim, &format!("{gutter} |"))));
    }
    out
}
