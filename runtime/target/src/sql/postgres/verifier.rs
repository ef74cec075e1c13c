//! What PostgreSQL keeps instead of a password: making it, and telling whether a password is
//! the one that a kept verifier was made of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

/// More rounds than anybody sets; a server that says more only wants to keep us busy.
const MAX_ROUNDS: u32 = 1_000_000;

/// A new verifier, with a salt of its own.
pub(super) fn make(password: &str) -> String {
    postgres_protocol::password::scram_sha_256(password.as_bytes())
}

/// Whether a password fits what the server keeps. What is no verifier such as we make, MD5 of a
/// time before above all, does not: it is made anew.
pub(super) fn fits(password: &str, kept: &str) -> bool {
    scram_fits(password, kept).unwrap_or(false)
}

fn scram_fits(password: &str, kept: &str) -> Option<bool> {
    let rest = kept.strip_prefix("SCRAM-SHA-256$")?;
    let (head, keys) = rest.split_once('$')?;
    let (rounds, salt) = head.split_once(':')?;
    let (stored, _) = keys.split_once(':')?;
    let rounds: u32 = rounds.parse().ok().filter(|rounds| (1..=MAX_ROUNDS).contains(rounds))?;
    let salt = STANDARD.decode(salt).ok()?;
    let stored = STANDARD.decode(stored).ok()?;
    let prepared = stringprep::saslprep(password).map_or_else(|_| password.to_owned(), std::borrow::Cow::into_owned);
    let salted = salted(prepared.as_bytes(), &salt, rounds);
    let client = mac(&salted, &[b"Client Key"]);
    Some(Sha256::digest(client).as_slice() == stored)
}

fn salted(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    let keyed = keyed(password);
    let mut block = finish(keyed.clone(), &[salt, &[0, 0, 0, 1]]);
    let mut out = block;
    for _ in 1..rounds {
        block = finish(keyed.clone(), &[&block]);
        out.iter_mut().zip(block).for_each(|(out, byte)| *out ^= byte);
    }
    out
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    finish(keyed(key), parts)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn finish(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_fits_the_password_that_it_was_made_of() {
        for password in ["geheim", "ünï çødé \u{2168}", ""] {
            let kept = make(password);
            assert!(fits(password, &kept), "{kept}");
            assert!(!fits("other", &kept));
        }
        assert_ne!(make("x"), make("x"), "each has its own salt");
        // The second is MD5 of the very password, of a role `r`.
        for odd in [
            "",
            "md5819b5fc4045d86661a3e630bd20fdec7",
            "SCRAM-SHA-256$x:y$z:w",
            "SCRAM-SHA-256$99999999:AAAA$AAAA:AAAA",
        ] {
            assert!(!fits("x", odd), "{odd}");
        }
    }
}
