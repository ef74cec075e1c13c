//! Listings that are whole. Linux makes room in a set some time after elements were added, and
//! moves them about meanwhile. A listing takes many messages, each of which counts from the
//! beginning: while elements move, one is in it twice and another not at all, and nobody says so
//! (seen on Linux 6.1 with 20,000 elements: one in ten was missing). What is there is what two
//! listings in a row agree on, or what is known to be whole.

use std::collections::BTreeSet;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tidelock_model::digest::Digest;
use tidelock_model::error::Fault;

use super::fault;
use super::listing::Listing;

/// Elements of a set that surely fit into one message, which has 8 KiB at least.
const ONE_MESSAGE: usize = 64;
/// Listings until two agree. Moving a million elements takes less than a second.
const TRIES: u32 = 20;
/// Texts that are remembered at most.
const KNOWN: usize = 256;

/// Texts that are whole.
static WHOLE: LazyLock<Mutex<BTreeSet<Digest>>> = LazyLock::new(Mutex::default);

/// Remembers that a text, as [`Listing::lasting`] spells it, lacks nothing: what is listed like it
/// need not be listed once more.
pub(super) fn remember(lasting: &str) {
    let mut known = WHOLE.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= KNOWN {
        known.clear();
    }
    known.insert(Digest::of(lasting.as_bytes()));
}

fn is_known(lasting: &str) -> bool {
    WHOLE.lock().unwrap_or_else(PoisonError::into_inner).contains(&Digest::of(lasting.as_bytes()))
}

/// A table, listed until what lasts of it is whole; `None` where there is none.
///
/// # Errors
/// `busy`: it is another one each time; the listing's own.
pub(super) fn listed(mut list: impl FnMut() -> Result<Option<String>, Fault>) -> Result<Option<String>, Fault> {
    let mut before: Option<String> = None;
    for turn in 0..TRIES {
        // At once, and then with more and more time between.
        std::thread::sleep(Duration::from_millis(5) * turn.saturating_sub(1));
        let Some(text) = list()? else { return Ok(None) };
        let listing = Listing::read(&text);
        if listing.largest_set() <= ONE_MESSAGE {
            return Ok(Some(text));
        }
        let lasting = listing.lasting();
        if before.as_ref() == Some(&lasting) || is_known(&lasting) {
            return Ok(Some(text));
        }
        before = Some(lasting);
    }
    Err(fault("busy", "the table is another one each time that nft lists it")
        .hint("try again; something changes it all the time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(elements: impl IntoIterator<Item = u32>) -> String {
        let elements: Vec<String> = elements.into_iter().map(|n| format!("10.0.0.{n}")).collect();
        format!(
            "table ip t {{\n\tset s {{\n\t\ttype ipv4_addr\n\t\telements = {{ {} }}\n\t}}\n}}\n",
            elements.join(", ")
        )
    }

    /// What is listed, and how often nft was asked, where it says these one after the other.
    fn asked(answers: &[String]) -> (Result<Option<String>, String>, usize) {
        let mut asked = 0;
        let listed = listed(|| {
            asked += 1;
            Ok(answers.get((asked - 1).min(answers.len() - 1)).cloned())
        });
        (listed.map_err(|fault| fault.code), asked)
    }

    #[test]
    fn what_lacks_an_element_is_listed_again() {
        let whole = table(0..100);
        let lacking = table((0..100).filter(|n| *n != 7));
        let twice = table((0..100).map(|n| if n == 7 { 8 } else { n }));
        assert_eq!(asked(&[lacking, twice, whole.clone()]), (Ok(Some(whole)), 4));
    }

    #[test]
    fn what_fits_into_a_message_or_is_known_is_asked_for_once() {
        let small = table(0..64);
        assert_eq!(asked(std::slice::from_ref(&small)), (Ok(Some(small)), 1));
        let known = table(1..120);
        remember(&Listing::read(&known).lasting());
        assert_eq!(asked(std::slice::from_ref(&known)), (Ok(Some(known)), 1));
        assert_eq!(listed(|| Ok(None)).unwrap(), None);
    }

    #[test]
    fn what_is_another_each_time_is_none() {
        let answers: Vec<String> = (0..100).map(|n| table(n..n + 100)).collect();
        assert_eq!(asked(&answers), (Err("busy".to_owned()), TRIES as usize));
    }
}
