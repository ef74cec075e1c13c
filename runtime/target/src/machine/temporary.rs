//! Names of files that stand beside their target until they are renamed over it. By
//! its name alone, one that a killed process left can be told and removed.

use std::ffi::{OsStr, OsString};

use tidelock_model::error::{Blame, Fault};

/// What Linux file systems allow.
const NAME_MAX: usize = 255;
const MIDDLE: &str = ".tidelock-";
const END: &str = ".tmp";
const DIGITS: usize = 8;

/// The part of `name` that fits.
fn stem(name: &OsStr) -> String {
    let mut stem = name.to_string_lossy().into_owned();
    let mut room = NAME_MAX - 1 - MIDDLE.len() - DIGITS - END.len();
    while !stem.is_char_boundary(room.min(stem.len())) {
        room -= 1;
    }
    stem.truncate(room);
    stem
}

/// A new name beside `name`: `.motd.tidelock-1f2e3d4c.tmp`.
pub(super) fn beside(name: &OsStr) -> Result<OsString, Fault> {
    let mut random = [0; DIGITS / 2];
    getrandom::fill(&mut random)
        .map_err(|error| Fault::new("io", Blame::Host, format!("the system gives no random numbers: {error}")))?;
    Ok(format!(".{}{MIDDLE}{}{END}", stem(name), hex::encode(random)).into())
}

/// Whether `candidate` is such a name for `name`.
pub(super) fn is_beside(name: &OsStr, candidate: &OsStr) -> bool {
    candidate
        .to_str()
        .and_then(|text| text.strip_prefix('.'))
        .and_then(|text| text.strip_prefix(stem(name).as_str()))
        .and_then(|text| text.strip_prefix(MIDDLE))
        .and_then(|text| text.strip_suffix(END))
        .is_some_and(|digits| {
            digits.len() == DIGITS && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_again_and_only_for_its_file() {
        for name in ["motd", &"ä".repeat(127), &"x".repeat(255)] {
            let name = OsStr::new(name);
            let beside = beside(name).unwrap();
            assert!(beside.len() <= NAME_MAX && is_beside(name, &beside), "{}", beside.display());
        }
        let motd = OsStr::new("motd");
        for other in [
            "motd",
            ".motd",
            ".motd.tmp",
            ".motd.tidelock-12345678",
            ".motd.tidelock-1234567g.tmp",
            ".motd2.tidelock-12345678.tmp",
            ".motd.tidelock-123456789.tmp",
        ] {
            assert!(!is_beside(motd, OsStr::new(other)), "{other}");
        }
    }
}
