//! Where a source is: a folder on this machine, or a server and the way to it.

mod ssh;

use std::path::{Path, PathBuf};

use tidelock_model::port::SourceError;

pub(crate) use ssh::Address;

/// Where a repository is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A repository on this machine; read in place.
    Path(PathBuf),
    /// A server; fetched into the cache.
    Server(Server),
}

/// A server that is fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// The URL, without credentials.
    pub(crate) url: String,
    /// How it is reached.
    pub(crate) way: Way,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// Smart HTTP.
    Http {
        /// Whether it is encrypted on the way.
        tls: bool,
    },
    /// OpenSSH's client.
    Ssh(Address),
    /// Git's own protocol, which nobody signs in to and nothing protects.
    Git,
}

impl Server {
    /// Whether somebody on the way could answer in the server's stead. What does not leave
    /// this machine has no way, but for `git://`, whose port any user may open.
    pub(crate) fn can_be_impersonated(&self) -> bool {
        match self.way {
            Way::Git => true,
            Way::Http { tls } => !tls && !is_loopback(&self.url),
            Way::Ssh(_) => false,
        }
    }

    /// Its host and port.
    pub(crate) fn place(&self) -> Option<(String, u16)> {
        match &self.way {
            Way::Http { tls } => place(&self.url, if *tls { 443 } else { 80 }),
            Way::Ssh(address) => Some((address.host.clone(), address.port.unwrap_or(22))),
            Way::Git => place(&self.url, 9418),
        }
    }
}

/// The host and the port of a URL without credentials, by what is written; `usual` is the port of
/// one that names none. An IPv6 address is without its brackets.
pub(crate) fn place(url: &str, usual: u16) -> Option<(String, u16)> {
    let place = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let (host, port) = match place.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(usual), |port| port.parse().ok())?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// Whether a URL's host is this machine, by what is written.
pub(crate) fn is_loopback(url: &str) -> bool {
    let here = |host: &str| host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    place(url, 0).is_some_and(|(host, _)| host == "localhost" || here(&host))
}

impl Location {
    /// Reads what the operator's config says. Relative paths start at `base`.
    pub(crate) fn parse(text: &str, base: &Path) -> Result<Self, SourceError> {
        if text.is_empty() {
            return invalid("the source's url is empty", "write url = \"https://...\" or a path");
        }
        if text.chars().any(char::is_control) {
            return invalid("the source's url holds a control character", "remove it");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return match ssh::scp_like(text)? {
                Some(address) => Ok(Self::ssh(address)),
                None => Ok(Self::Path(base.join(text))),
            };
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
                let url = plain(scheme, rest)?;
                Ok(Self::Server(Server { url, way: Way::Http { tls: scheme == "https" } }))
            }
            "ssh" | "git+ssh" | "ssh+git" => Ok(Self::ssh(ssh::parse(rest)?)),
            "git" => Ok(Self::Server(Server { url: plain("git", rest)?, way: Way::Git })),
            other => invalid(
                format!("{other}:// is not a way to a repository"),
                "use https://, ssh://, http://, git://, file:// or a path",
            ),
        }
    }

    fn ssh(address: Address) -> Self {
        Self::Server(Server { url: address.url(), way: Way::Ssh(address) })
    }
}

/// A URL of host and path, with nothing that is a secret or means something else.
fn plain(scheme: &str, rest: &str) -> Result<String, SourceError> {
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        let hint = if scheme == "git" {
            "take them out of the url: nobody signs in over git://"
        } else {
            "take them out of the url; write auth = { username = \"...\", password_env = \"...\" } or { token_env = \"...\" }"
        };
        // Not echoed: what stands before the @ is a secret.
        return invalid(format!("the {scheme}:// url of the source holds credentials"), hint);
    }
    if host.is_empty() {
        return invalid(format!("{scheme}://{rest} names no host"), &format!("write {scheme}://host/path"));
    }
    if rest.contains(['?', '#', ' ']) {
        return invalid(
            format!("{scheme}://{rest} is not the url of a repository"),
            "leave out spaces, queries and fragments",
        );
    }
    Ok(format!("{scheme}://{}", rest.trim_end_matches('/')))
}

fn invalid<T>(message: impl Into<String>, hint: &str) -> Result<T, SourceError> {
    Err(SourceError::new("invalid", message).hint(hint))
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
            ("git://", "invalid"),
            ("git://git@host/infra", "invalid"),
            ("ext::sh -c id", "invalid"),
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
    fn who_could_answer_instead() {
        let can = |url: &str| match parse(url).unwrap() {
            Location::Server(server) => server.can_be_impersonated(),
            Location::Path(_) => panic!("{url} is a server"),
        };
        for url in
            ["git://host/x", "git://127.0.0.1/x", "http://host/x", "http://localhost.evil/x", "http://10.0.0.1/x"]
        {
            assert!(can(url), "{url}");
        }
        for url in
            ["https://host/x", "git@host:x", "http://127.0.0.1:8080/x", "http://[::1]:80/x", "http://localhost/x"]
        {
            assert!(!can(url), "{url}");
        }
    }

    #[test]
    fn secrets_in_a_url_are_refused_and_not_repeated() {
        for url in ["https://bot:hunter2@host/infra", "ssh://git:hunter2@host/infra", "git:hunter2@host:infra"] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.code, "invalid");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
