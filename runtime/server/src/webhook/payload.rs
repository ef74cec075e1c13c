//! What a webhook is about: a push to some ref, or nothing of ours. No other word of it is
//! read: neither the commit nor the repository that it names.

use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use serde::Deserialize;

use super::forge::Forge;

/// What it is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A push; `None` where the sender does not say to what.
    Push(Option<String>),
    /// The forge asks whether somebody is here.
    Ping,
    /// Something else.
    Other,
}

/// The one field that is read.
#[derive(Deserialize)]
struct Push {
    #[serde(default, rename = "ref")]
    to: Option<String>,
}

/// Reads it.
///
/// # Errors
/// A push that is not JSON, or does not say where it went.
pub(super) fn about(forge: Forge, headers: &HeaderMap, body: &[u8]) -> Result<About, &'static str> {
    match (forge, forge.event(headers)) {
        (Forge::GitHub | Forge::Gitea, "push") | (Forge::GitLab, "Push Hook" | "Tag Push Hook") => {
            let to = read(headers, body)?;
            to.map(|to| About::Push(Some(to))).ok_or("a push that names no ref")
        }
        // A hook of the whole server: of all that it tells, only pushes have a ref.
        (Forge::GitLab, "System Hook") => Ok(read(headers, body)?.map_or(About::Other, |to| About::Push(Some(to)))),
        (Forge::GitHub, "ping") => Ok(About::Ping),
        (Forge::Generic, _) if body.is_empty() => Ok(About::Push(None)),
        (Forge::Generic, _) => Ok(About::Push(read(headers, body)?)),
        _ => Ok(About::Other),
    }
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Option<String>, &'static str> {
    const NO_JSON: &str = "the body is not a push in JSON";
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let push: Push = if kind.starts_with("application/x-www-form-urlencoded") {
        // What GitHub and Gitea send where the hook says so: the JSON in a field.
        let payload = form_urlencoded::parse(body).find(|(name, _)| name == "payload").ok_or(NO_JSON)?;
        serde_json::from_str(&payload.1).map_err(|_| NO_JSON)?
    } else {
        serde_json::from_slice(body).map_err(|_| NO_JSON)?
    };
    Ok(push.to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn pushes_are_told_from_the_rest() {
        let main = br#"{"ref": "refs/heads/main", "after": "..."}"#;
        let of = |forge, event: (&'static str, &str), body: &[u8]| about(forge, &headers(&[event]), body);
        let push = || Ok(About::Push(Some("refs/heads/main".to_owned())));
        assert_eq!(of(Forge::GitHub, ("x-github-event", "push"), main), push());
        assert_eq!(of(Forge::GitHub, ("x-github-event", "ping"), b"{}"), Ok(About::Ping));
        assert_eq!(of(Forge::GitHub, ("x-github-event", "issues"), b"no JSON at all"), Ok(About::Other));
        assert_eq!(of(Forge::GitLab, ("x-gitlab-event", "Push Hook"), main), push());
        assert_eq!(of(Forge::GitLab, ("x-gitlab-event", "Tag Push Hook"), main), push());
        assert_eq!(of(Forge::GitLab, ("x-gitlab-event", "System Hook"), main), push());
        assert_eq!(of(Forge::GitLab, ("x-gitlab-event", "System Hook"), b"{}"), Ok(About::Other));
        assert_eq!(of(Forge::GitLab, ("x-gitlab-event", "Job Hook"), main), Ok(About::Other));
        assert_eq!(of(Forge::Gitea, ("x-forgejo-event", "push"), main), push());
        assert_eq!(of(Forge::Generic, ("accept", "*/*"), b""), Ok(About::Push(None)));
        assert_eq!(of(Forge::Generic, ("accept", "*/*"), b"{}"), Ok(About::Push(None)));
        assert_eq!(of(Forge::Generic, ("accept", "*/*"), main), push());
    }

    #[test]
    fn what_cannot_be_read_is_said_to_be_so() {
        let push = headers(&[("x-github-event", "push")]);
        for body in [&b""[..], b"{", b"[]", b"{\"ref\": 3}", b"\xff", &b"[".repeat(10_000)] {
            assert!(about(Forge::GitHub, &push, body).is_err(), "{body:.20?}");
        }
        assert_eq!(about(Forge::GitHub, &push, b"{}"), Err("a push that names no ref"));
    }

    #[test]
    fn a_form_holds_the_same() {
        let form = headers(&[("x-github-event", "push"), ("content-type", "application/x-www-form-urlencoded")]);
        let body = b"payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D";
        assert_eq!(about(Forge::GitHub, &form, body), Ok(About::Push(Some("refs/heads/main".to_owned()))));
        assert!(about(Forge::GitHub, &form, b"other=1").is_err());
    }
}
