//! Who sends a webhook, and whether it knows the secret.
//!
//! - GitHub: `X-Hub-Signature-256: sha256=HEX`, the HMAC-SHA256 of the body.
//! - Gitea, Forgejo, Gogs: `X-Gitea-Signature: HEX` and the like, the same without a prefix.
//! - GitLab: its secret token in `X-Gitlab-Token`; or, where the secret is a signing token
//!   (`whsec_...`), `webhook-signature` as the Standard Webhooks have it.
//! - Others: `X-Tidelock-Signature-256: sha256=HEX`.
//!
//! **Invariant.** Each comparison takes as long for a value that is nearly right as for one
//! that is wrong from its first byte on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use sha2::Sha256;

/// How far the time of a signed request may lie from ours, in seconds; the figure of the
/// Standard Webhooks' own libraries.
const SKEW: i64 = 300;

/// What GitLab's signing tokens begin with.
const SIGNING: &str = "whsec_";

/// Whose webhook it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Forge {
    GitHub,
    GitLab,
    /// Gitea and what came of it.
    Gitea,
    Generic,
}

impl Forge {
    /// Reads it from the header that names the event. Gitea sends GitHub's too, so it is
    /// asked for first.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let has = |names: &[&str]| names.iter().any(|name| headers.contains_key(*name));
        if has(&["x-forgejo-event", "x-gitea-event", "x-gogs-event"]) {
            Self::Gitea
        } else if has(&["x-gitlab-event"]) {
            Self::GitLab
        } else if has(&["x-github-event"]) {
            Self::GitHub
        } else {
            Self::Generic
        }
    }

    /// The word for logs and labels.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
            Self::Generic => "generic",
        }
    }

    /// The event that it says it is.
    pub(crate) fn event(self, headers: &HeaderMap) -> &str {
        let names: &[&str] = match self {
            Self::GitHub => &["x-github-event"],
            Self::GitLab => &["x-gitlab-event"],
            Self::Gitea => &["x-forgejo-event", "x-gitea-event", "x-gogs-event"],
            Self::Generic => &[],
        };
        first(headers, names).unwrap_or_default()
    }

    /// Whether the sender knows the secret. `now` is in seconds since 1970.
    pub(crate) fn knows(self, secret: &str, headers: &HeaderMap, body: &[u8], now: i64) -> bool {
        let signed = |names: &[&str]| first(headers, names).is_some_and(|given| is_hmac(secret, given, body));
        match self {
            Self::GitHub => signed(&["x-hub-signature-256"]),
            Self::Gitea => {
                signed(&["x-forgejo-signature", "x-gitea-signature", "x-gogs-signature", "x-hub-signature-256"])
            }
            Self::GitLab if secret.starts_with(SIGNING) => is_standard(secret, headers, body, now),
            Self::GitLab => first(headers, &["x-gitlab-token"]).is_some_and(|given| is_equal(secret, given)),
            Self::Generic => signed(&["x-tidelock-signature-256"]),
        }
    }

    /// What should have been sent.
    pub(crate) fn proof(self, secret: &str) -> &'static str {
        match self {
            Self::GitHub => "X-Hub-Signature-256",
            Self::Gitea => "X-Gitea-Signature",
            Self::GitLab if secret.starts_with(SIGNING) => "webhook-signature",
            Self::GitLab => "X-Gitlab-Token",
            Self::Generic => "X-Tidelock-Signature-256",
        }
    }
}

fn first<'h>(headers: &'h HeaderMap, names: &[&str]) -> Option<&'h str> {
    names.iter().find_map(|name| headers.get(*name))?.to_str().ok()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    // A key of any length will do.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac)
}

fn is_hmac(secret: &str, given: &str, body: &[u8]) -> bool {
    let Ok(given) = hex::decode(given.strip_prefix("sha256=").unwrap_or(given)) else { return false };
    mac(secret.as_bytes(), &[body]).is_some_and(|mac| mac.verify_slice(&given).is_ok())
}

/// Compares the HMACs of both: that takes as long whatever they have in common.
fn is_equal(secret: &str, given: &str) -> bool {
    let of = |text: &str| mac(secret.as_bytes(), &[text.as_bytes()]);
    match (of(secret), of(given)) {
        (Some(right), Some(given)) => right.verify(&given.finalize().into_bytes()).is_ok(),
        _ => false,
    }
}

/// `v1,BASE64` of `ID.TIME.BODY`, several with blanks between them while a key is replaced.
fn is_standard(secret: &str, headers: &HeaderMap, body: &[u8], now: i64) -> bool {
    let header = |name| first(headers, &[name]);
    let (Some(id), Some(at), Some(signatures)) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"))
    else {
        return false;
    };
    let Ok(key) = STANDARD.decode(secret.strip_prefix(SIGNING).unwrap_or(secret)) else { return false };
    // Replayed, it would wake a source once more; it is refused all the same.
    let fresh = at.parse::<i64>().is_ok_and(|at| now.abs_diff(at) <= SKEW.unsigned_abs());
    let parts: [&[u8]; 5] = [id.as_bytes(), b".", at.as_bytes(), b".", body];
    fresh
        && signatures.split(' ').take(8).filter_map(|one| one.strip_prefix("v1,")).any(|given| {
            let given = STANDARD.decode(given).unwrap_or_default();
            mac(&key, &parts).is_some_and(|mac| mac.verify_slice(&given).is_ok())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    /// The example of "Validating webhook deliveries" in GitHub's documentation.
    #[test]
    fn the_example_of_github_is_right_and_nothing_beside_it() {
        let secret = "It's a Secret to Everybody";
        let body = b"Hello, World!";
        let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let with = |value: &str| headers(&[("x-github-event", "push"), ("x-hub-signature-256", value)]);
        assert!(Forge::GitHub.knows(secret, &with(right), body, 0));
        assert!(!Forge::GitHub.knows(secret, &with(right), b"Hello, World?", 0));
        assert!(!Forge::GitHub.knows("It's a Secret", &with(right), body, 0));
        for wrong in ["", "sha256=", "sha256=75", "sha1=757107ea", &right[..70], &format!("{right}00"), "sha256=é"] {
            let Ok(value) = wrong.parse::<hyper::header::HeaderValue>() else { continue };
            let headers: HeaderMap = [("x-hub-signature-256".parse().unwrap(), value)].into_iter().collect();
            assert!(!Forge::GitHub.knows(secret, &headers, body, 0), "{wrong}");
        }
        assert!(!Forge::GitHub.knows(secret, &headers(&[]), body, 0));
    }

    /// Each forge has its own header, and another's does not do.
    #[test]
    fn a_signature_counts_in_the_header_of_its_forge_alone() {
        let secret = "It's a Secret to Everybody";
        let hex = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let all = [Forge::GitHub, Forge::GitLab, Forge::Gitea, Forge::Generic];
        for (header, forges) in [
            ("x-hub-signature-256", &[Forge::GitHub, Forge::Gitea][..]),
            ("x-gitea-signature", &[Forge::Gitea]),
            ("x-forgejo-signature", &[Forge::Gitea]),
            ("x-tidelock-signature-256", &[Forge::Generic]),
            ("x-gitlab-token", &[]),
            ("x-hub-signature", &[]),
        ] {
            for forge in all {
                let known = forge.knows(secret, &headers(&[(header, hex)]), b"Hello, World!", 0);
                assert_eq!(known, forges.contains(&forge), "{header} {forge:?}");
            }
        }
        let two = headers(&[("x-forgejo-signature", &"0".repeat(64)), ("x-gitea-signature", hex)]);
        assert!(!Forge::Gitea.knows(secret, &two, b"Hello, World!", 0), "a wrong one is not mended by a right one");
    }

    #[test]
    fn the_token_of_gitlab_is_the_secret_itself() {
        let with = |token| headers(&[("x-gitlab-event", "Push Hook"), ("x-gitlab-token", token)]);
        assert!(Forge::GitLab.knows("hunter2", &with("hunter2"), b"", 0));
        for wrong in ["", "hunter", "hunter22", "Hunter2"] {
            assert!(!Forge::GitLab.knows("hunter2", &with(wrong), b"", 0), "{wrong}");
        }
    }

    /// The example of the Standard Webhooks' documentation, by which GitLab signs.
    #[test]
    fn the_example_of_the_standard_webhooks_is_right_for_five_minutes() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let right = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let body = br#"{"test": 2432232314}"#;
        let with = |signature: &str| {
            headers(&[
                ("x-gitlab-event", "Push Hook"),
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", "1614265330"),
                ("webhook-signature", signature),
            ])
        };
        let known = |signature: &str, now| Forge::GitLab.knows(secret, &with(signature), body, now);
        assert!(known(right, 1_614_265_330));
        assert!(known(&format!("v1a,AAAA v1,AAAA {right}"), 1_614_265_600));
        assert!(!known(right, 1_614_265_330 + 301) && !known(right, 1_614_265_330 - 301));
        assert!(!known(right, i64::MIN) && !known(right, i64::MAX));
        assert!(!known(&right[3..], 1_614_265_330) && !known("v1,", 1_614_265_330) && !known("", 1_614_265_330));
        // Who has a signing token signs: sending it is no proof.
        let token = headers(&[("x-gitlab-event", "Push Hook"), ("x-gitlab-token", secret)]);
        assert!(!Forge::GitLab.knows(secret, &token, body, 1_614_265_330));
    }

    #[test]
    fn a_forge_is_known_by_its_event() {
        let gitea = [("x-github-event", "push"), ("x-gogs-event", "push"), ("x-gitea-event", "push")];
        assert_eq!(Forge::of(&headers(&gitea)), Forge::Gitea);
        assert_eq!(Forge::of(&headers(&gitea[..1])), Forge::GitHub);
        assert_eq!(Forge::of(&headers(&[("x-gitlab-event", "Push Hook")])), Forge::GitLab);
        assert_eq!(Forge::of(&headers(&[])), Forge::Generic);
    }
}
