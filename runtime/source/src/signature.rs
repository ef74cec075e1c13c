//! Whether a commit is signed by somebody whom the operator lists. SSH signatures,
//! verified here: no program is started, no trust database consulted.

use jiff::Timestamp;
use ssh_key::{Algorithm, SshSig};

use crate::allowed_signers::{AllowedSigners, NAMESPACE};
use crate::repository::Commit;
use tidelock_model::revision::Signature;

/// The smallest RSA key that counts, in bits.
const MIN_RSA_BITS: usize = 2048;

/// Verifies a commit. `now` is given for a commit that is new: its signer chose the
/// committer's date, and could choose one from before the key's end.
///
/// # Errors
/// A sentence that says why the commit is not trusted.
pub(crate) fn verify(commit: &Commit, signers: &AllowedSigners, now: Option<Timestamp>) -> Result<Signature, String> {
    let (pem, payload) = split(&commit.raw)?;
    if pem.starts_with("-----BEGIN PGP") {
        return Err("it is signed with OpenPGP; only SSH signatures are verified".to_owned());
    }
    let signature = SshSig::from_pem(&pem).map_err(|error| format!("its signature cannot be read: {error}"))?;
    if signature.namespace() != NAMESPACE {
        return Err(format!("its signature is for {:?}, not for {NAMESPACE:?}", signature.namespace()));
    }
    if matches!(signature.algorithm(), Algorithm::Dsa | Algorithm::Rsa { hash: None } | Algorithm::Other(_)) {
        return Err(format!("its signature's algorithm {} is too weak", signature.algorithm()));
    }
    let times: Vec<Timestamp> = std::iter::once(commit.at).chain(now).collect();
    let allowed = signers.allow(signature.public_key(), NAMESPACE, &times)?;
    if let Some(rsa) = allowed.key.key_data().rsa() {
        let bits = rsa.n.as_positive_bytes().map_or(0, |bytes| bytes.len() * 8);
        if bits < MIN_RSA_BITS {
            return Err(format!("the RSA key of {} has {bits} bits; {MIN_RSA_BITS} is the least", allowed.principal));
        }
    }
    allowed
        .key
        .verify(NAMESPACE, &payload, &signature)
        .map_err(|_| "its signature does not fit its content: it was changed after signing".to_owned())?;
    Ok(Signature::Verified {
        signer: allowed.principal.to_owned(),
        key: allowed.key.fingerprint(ssh_key::HashAlg::Sha256).to_string(),
    })
}

/// The signature of a commit, and the bytes that it was made over: the commit without it.
/// Exactly one is taken, so that no reader can pick another one than we do.
fn split(raw: &[u8]) -> Result<(String, Vec<u8>), String> {
    let mut payload = Vec::with_capacity(raw.len());
    let mut pem: Option<Vec<u8>> = None;
    let mut in_signature = false;
    let mut rest = raw;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = rest.split_at(end + 1);
        if line == b"\n" {
            break;
        }
        if let Some(value) = line.strip_prefix(b"gpgsig ") {
            if pem.is_some() {
                return Err("it holds more than one signature".to_owned());
            }
            pem = Some(value.to_vec());
            in_signature = true;
        } else if let Some(more) = line.strip_prefix(b" ").filter(|_| in_signature) {
            pem.get_or_insert_default().extend_from_slice(more);
        } else if line.starts_with(b"gpgsig") {
            return Err("it holds a signature of a kind that is not known".to_owned());
        } else {
            in_signature = false;
            payload.extend_from_slice(line);
        }
        rest = after;
    }
    // The blank line and the message.
    payload.extend_from_slice(rest);
    let pem = pem.ok_or_else(|| "it is not signed".to_owned())?;
    String::from_utf8(pem).map(|pem| (pem, payload)).map_err(|_| "its signature is not text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_the_commit_without_its_signature() {
        let raw = b"tree 1\nauthor a\ngpgsig BEGIN\n one\n two\nencoding x\n\nsubject\n\ngpgsig not me\n";
        let (pem, payload) = split(raw).unwrap();
        assert_eq!(pem, "BEGIN\none\ntwo\n");
        assert_eq!(payload, b"tree 1\nauthor a\nencoding x\n\nsubject\n\ngpgsig not me\n");
    }

    #[test]
    fn one_signature_is_enough() {
        for (raw, says) in [
            (b"tree 1\n\nmessage\n".as_slice(), "not signed"),
            (b"tree 1\ngpgsig a\ngpgsig b\n\nm\n".as_slice(), "more than one"),
            (b"tree 1\ngpgsig a\ngpgsig-sha256 b\n\nm\n".as_slice(), "not known"),
            (b"tree 1\ngpgsig \xff\n\nm\n".as_slice(), "not text"),
        ] {
            let why = split(raw).unwrap_err();
            assert!(why.contains(says), "{why:?} should say {says:?}");
        }
    }
}
