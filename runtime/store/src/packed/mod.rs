//! Large values of the model in little room: JSON, deflated against a text of what such values
//! look like. Plans and intents say the same words again and again, each in a row of its own,
//! where a compressor that begins with nothing finds little to go by.
//!
//! A packed value is the number of the text that it was packed with, its length in four bytes
//! (the lowest first), and raw deflate. **Invariant.** A text that was released never changes:
//! what was packed with it could not be read any more. Another one gets the next number.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status, compress_bound};

use crate::error::{Kept, Trouble};

/// What values look like, the commonest last. By number, from 1.
const TEXTS: [&[u8]; 1] = [include_bytes!("v1.txt")];

/// The number of the text that new values are packed with.
const NEWEST: u8 = TEXTS.len() as u8;

/// Bytes before the deflated ones.
const HEAD: usize = 5;

/// How hard is tried: beyond this it takes longer and hardly gets smaller.
const LEVEL: i32 = 6;

/// As far back as deflate can point.
const WINDOW_BITS: u8 = 15;

/// Texts up to so many bytes are deflated in little memory: most are small, and to clear it
/// would take longer than the work.
const SMALL: usize = 4 << 10;

/// A value as few bytes.
pub(crate) fn pack<T: Serialize>(what: &str, value: &T) -> Kept<Vec<u8>> {
    let text = serde_json::to_vec(value).map_err(|error| Trouble::row(what, &error))?;
    deflated(&text).map_err(|error| Trouble::row(what, &error))
}

/// A value from what [`pack`] made of it.
pub(crate) fn unpack<T: DeserializeOwned>(what: &str, packed: &[u8]) -> Kept<T> {
    let text = inflated(packed).map_err(|error| Trouble::row(what, &error))?;
    serde_json::from_slice(&text).map_err(|error| Trouble::row(what, &error))
}

/// A text as few bytes.
pub(crate) fn deflated(text: &[u8]) -> Result<Vec<u8>, String> {
    let length = u32::try_from(text.len()).map_err(|_| format!("{} bytes are too many for one row", text.len()))?;
    // The text of known words has to fit in the window as well.
    let (window_bits, mem_level) = if text.len() <= SMALL { (13, 5) } else { (i32::from(WINDOW_BITS), 8) };
    let raw = DeflateConfig { level: LEVEL, window_bits: -window_bits, mem_level, ..DeflateConfig::default() };
    let mut deflate = Deflate::new_with_config(raw);
    let known = TEXTS[usize::from(NEWEST) - 1];
    deflate.set_dictionary(known).map_err(|error| format!("it cannot be deflated: {error:?}"))?;
    let mut packed = vec![0; HEAD + compress_bound(text.len())];
    packed[0] = NEWEST;
    packed[1..HEAD].copy_from_slice(&length.to_le_bytes());
    match deflate.compress(text, &mut packed[HEAD..], DeflateFlush::Finish) {
        Ok(Status::StreamEnd) => {}
        other => return Err(format!("it cannot be deflated: {other:?}")),
    }
    let end = usize::try_from(deflate.total_out()).map_err(|error| error.to_string())?;
    packed.truncate(HEAD + end);
    Ok(packed)
}

fn inflated(packed: &[u8]) -> Result<Vec<u8>, String> {
    let (head, body) = packed.split_first_chunk::<HEAD>().ok_or("it is cut off")?;
    let [number, length @ ..] = *head;
    let known = usize::from(number).checked_sub(1).and_then(|at| TEXTS.get(at));
    let known = known.ok_or_else(|| format!("it was packed in a way that this version does not know ({number})"))?;
    let length = u32::from_le_bytes(length) as usize;
    // Deflate makes a thousandth of something at best: what says more of itself is damaged.
    if length / 1_100 > packed.len() {
        return Err("its length is damaged".to_owned());
    }
    let mut inflate = Inflate::new(false, WINDOW_BITS);
    inflate.set_dictionary(known).map_err(|error| format!("it cannot be inflated: {error:?}"))?;
    let mut text = vec![0; length];
    match inflate.decompress(body, &mut text, InflateFlush::Finish) {
        Ok(Status::StreamEnd) if inflate.total_out() == length as u64 => Ok(text),
        other => Err(format!("it cannot be inflated: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn effect(digest: &str) -> Value {
        json!([{
            "resource": "server.file/motd", "identity": "path:/etc/motd", "plugin": "server", "kind": "put-file",
            "path": "/etc/motd", "content": format!("sha256:{digest}"), "attributes": {}, "parents": false,
            "after_crash": "observe",
        }])
    }

    #[test]
    fn what_was_packed_comes_back_and_takes_a_fraction() {
        let value = effect(&"0123456789abcdef".repeat(4));
        let packed = pack("it", &value).unwrap();
        assert_eq!(unpack::<Value>("it", &packed).unwrap(), value);
        let plain = value.to_string().len();
        assert!(packed.len() * 2 < plain, "{} of {plain} bytes", packed.len());
        for value in [json!(null), json!(""), json!(vec!["x"; 100_000]), json!({})] {
            assert_eq!(unpack::<Value>("it", &pack("it", &value).unwrap()).unwrap(), value);
        }
    }

    #[test]
    fn equal_values_are_equal_bytes() {
        let value = effect("00");
        assert_eq!(pack("it", &value).unwrap(), pack("it", &value).unwrap());
    }

    #[test]
    fn what_is_damaged_is_an_error_and_takes_no_memory() {
        let packed = pack("it", &effect("00")).unwrap();
        for damaged in [&packed[..3], &packed[..packed.len() - 1], &[9, 0, 0, 0, 0], &[1, 255, 255, 255, 255, 0], &[]] {
            assert!(unpack::<Value>("it", damaged).is_err(), "{damaged:?}");
        }
        for at in 0..packed.len() {
            let mut flipped = packed.clone();
            flipped[at] ^= 0x55;
            // An error, or another value; never a panic.
            drop(unpack::<Value>("it", &flipped));
        }
    }

    #[test]
    fn what_an_older_version_packed_is_read() {
        // Fails where a text was changed that a release packed with.
        let known = tidelock_model::digest::Digest::of(TEXTS[0]).to_string();
        assert_eq!(known, "sha256:6674f78f3debdaaa96a5e99023782c57e31068afee1ad589061d9433dbbe45fc");
    }
}
