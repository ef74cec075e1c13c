//! Where a source is: a folder on this machine, or a server.

use std::path::{Path, PathBuf};

use tidelock_model::port::SourceError;

/// Where a repository is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A repository on this machine; read in place.
    Path(PathBuf),
    /// A server; fetched into the cache.
    Http {
        /// The URL, without credentials.
        url: String,
        /// Whether it is encrypted on the way.
        tls: bool,
    },
}

impl Location {
    /// Reads what the operator's config says. Relative paths start at `base`.
    pub(crate) fn parse(text: &str, base: &Path) -> Result<Self, SourceError> {
        let invalid = |message: String, hint: &str| Err(SourceError::new("invalid", message).hint(hint));
        if text.is_empty() {
            return invalid("the source's url is empty".to_owned(), "write url = \"https://...\" or a path");
        }
        if text.chars().any(char::is_control) {
            return invalid("the source's url holds a control character".to_owned(), "remove it");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            if is_scp_like(text) {
                return unsupported("ssh");
            }
            return Ok(Self::Path(base.join(text)));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                let path = rest.strip_prefix("localhost").unwrap_or(rest);
                if !path.starts_with('/') {
                    return invalid(
                        format!("{text} names a host"),
                        "write file:// and an absolute path: file:///srv/git/infra",
                    );
                }
                Ok(Self::Path(PathBuf::from(path)))
            }
            scheme @ ("http" | "https") => {
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                if host.contains('@') {
                    // Not echoed: what stands before the @ is a secret.
                    return invalid(
                        format!("the {scheme}:// url of the source holds credentials"),
                        "take them out of the url; write auth = { username = \"...\", password_env = \"...\" } or { token_env = \"...\" }",
                    );
                }
                if host.is_empty() {
                    return invalid(format!("{text} names no host"), "write https://host/path");
                }
                if rest.contains(['?', '#', ' ']) {
                    return invalid(
                        format!("{text} is not the url of a repository"),
                        "leave out spaces, queries and fragments",
                    );
                }
                Ok(Self::Http { url: format!("{scheme}://{}", rest.trim_end_matches('/')), tls: scheme == "https" })
            }
            "ssh" | "git+ssh" | "ssh+git" => unsupported("ssh"),
            "git" => unsupported("git"),
            other => {
                invalid(format!("{other}:// is not a way to a repository"), "use https://, http://, file:// or a path")
            }
        }
    }
}

/// `host:path` and `user@host:path`, which Git takes for ssh.
fn is_scp_like(text: &str) -> bool {
    text.split_once(':').is_some_and(|(host, _)| !host.is_empty() && !host.contains('/'))
}

fn unsupported<T>(scheme: &str) -> Result<T, SourceError> {
    Err(SourceError::new("unsupported", format!("{scheme}:// sources are not supported yet"))
        .hint("use the repository's https:// url, or a path on this machine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, SourceError> {
        Location::parse(text, Path::new("/etc/tidelock"))
    }

    #[test]
    fn paths_start_at_the_config() {
        assert_eq!(parse("infra").unwrap(), Location::Path("/etc/tidelock/infra".into()));
        assert_eq!(parse("/srv/git").unwrap(), Location::Path("/srv/git".into()));
        assert_eq!(parse("file:///srv/git").unwrap(), Location::Path("/srv/git".into()));
        assert_eq!(parse("./a:b").unwrap(), Location::Path("/etc/tidelock/./a:b".into()));
    }

    #[test]
    fn what_is_not_served_says_so() {
        for (url, code) in [
            ("ssh://git@host/infra", "unsupported"),
            ("git@host:infra.git", "unsupported"),
            ("git://host/infra", "unsupported"),
            ("ext::sh -c id", "unsupported"),
            ("ftp://host/x", "invalid"),
            ("file://host/x", "invalid"),
            ("https://", "invalid"),
            ("https://host/x?y", "invalid"),
            ("", "invalid"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.code, code, "{url}: {error}");
            assert!(error.hint.is_some());
        }
    }

    #[test]
    fn secrets_in_a_url_are_refused_and_not_repeated() {
        let error = parse("https://bot:hunter2@host/infra").unwrap_err();
        assert_eq!(error.code, "invalid");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
