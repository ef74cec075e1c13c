//! Which proxy a source is reached through: the one that the config names, the one that
//! the environment names where the config says so, or none.

use std::path::Path;

use tidelock_model::config::SourceDecl;
use tidelock_model::port::SourceError;

use crate::credentials;
use crate::location::{Location, Way, place};
use crate::wire::Proxy;

/// The word for "as the environment says".
const FROM_ENVIRONMENT: &str = "env";

/// Reads `proxy` alone.
///
/// # Errors
/// `invalid`: it is neither a proxy's address nor `env`.
pub(crate) fn check(text: &str) -> Result<(), SourceError> {
    if text == FROM_ENVIRONMENT {
        return Ok(());
    }
    let hint = "write proxy = \"http://proxy.example.com:3128\", or proxy = \"env\" for what the environment says";
    let invalid = |message: String| Err(SourceError::new("invalid", message).hint(hint));
    let Some(host) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return invalid("proxy is neither an http:// or https:// address nor `env`".to_owned());
    };
    if host.contains('@') {
        // Not echoed: what stands before the @ is a secret.
        return Err(SourceError::new("invalid", "the address of the proxy holds credentials")
            .hint("take them out; write proxy_auth = { username = \"...\", password_file = \"...\" }"));
    }
    let host = host.strip_suffix('/').unwrap_or(host);
    let fit = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    if host.is_empty() || !host.chars().all(fit) {
        return invalid(format!("{text:?} is not the address of a proxy"));
    }
    Ok(())
}

/// Whether a proxy is reached unencrypted, and from another machine.
pub(crate) fn is_open(text: &str) -> bool {
    text.starts_with("http://") && !crate::location::is_loopback(text)
}

/// The proxy for a server, with its password. Read anew for each fetch.
///
/// # Errors
/// As [`check`]; `auth`, where the password cannot be had.
pub(crate) fn resolve(decl: &SourceDecl, base: &Path, tls: bool) -> Result<Option<Proxy>, SourceError> {
    match decl.proxy.as_deref() {
        None => Ok(None),
        Some(FROM_ENVIRONMENT) => Ok(from_environment(tls, |name| std::env::var(name).ok())),
        Some(url) => {
            check(url)?;
            let sign_in = decl.proxy_auth.as_ref().map(|auth| credentials::password(auth, base)).transpose()?;
            Ok(Some(Proxy { url: url.to_owned(), shown: url.to_owned(), sign_in, except: None }))
        }
    }
}

/// The host and port that are connected to for a source: the proxy's that the config names, else
/// the server's. `None` where the environment names one: which hosts it leaves out is for curl's
/// rules to say.
pub(crate) fn connected_to(decl: &SourceDecl, location: &Location) -> Option<(String, u16)> {
    let Location::Server(server) = location else { return None };
    let tls = matches!(server.way, Way::Http { tls: true });
    match decl.proxy.as_deref() {
        Some(FROM_ENVIRONMENT) if from_environment(tls, |name| std::env::var(name).ok()).is_some() => None,
        None | Some(FROM_ENVIRONMENT) => server.place(),
        Some(url) => place(url, if url.starts_with("https://") { 443 } else { 80 }),
    }
}

/// As curl reads the environment. `HTTP_PROXY` is passed over: where a web server starts
/// programs, a client of it decides what that says.
fn from_environment(tls: bool, variable: impl Fn(&str) -> Option<String>) -> Option<Proxy> {
    let said = |names: &[&str]| names.iter().filter_map(|name| variable(name)).find(|value| !value.is_empty());
    let own: &[&str] = if tls { &["https_proxy", "HTTPS_PROXY"] } else { &["http_proxy"] };
    let url = said(own).or_else(|| said(&["all_proxy", "ALL_PROXY"]))?;
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    let shown = match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default()),
        None => String::new(),
    };
    Some(Proxy { url, shown, sign_in: None, except: said(&["no_proxy", "NO_PROXY"]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_env() {
        for good in ["env", "http://proxy:3128", "https://proxy.example.com", "http://[::1]:3128/", "http://10.0.0.1"] {
            check(good).unwrap();
        }
        for bad in ["", "proxy:3128", "socks5://proxy", "http://", "http://a b", "http://proxy/path", "http://x?y"] {
            assert_eq!(check(bad).unwrap_err().code, "invalid", "{bad}");
        }
        let error = check("http://bot:hunter2@proxy").unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_connected_to_is_the_proxy_or_the_server_however_it_is_written() {
        let told = |url: &str, proxy: Option<&str>| {
            let decl = SourceDecl { url: url.into(), proxy: proxy.map(str::to_owned), ..SourceDecl::default() };
            let location = Location::parse(url, Path::new("/etc/tidelock")).unwrap();
            connected_to(&decl, &location).map(|(host, port)| format!("{host} {port}"))
        };
        for (url, place) in [
            ("https://git.example.com/infra.git", "git.example.com 443"),
            ("HTTPS://git.example.com/infra.git", "git.example.com 443"),
            ("http://127.0.0.1:8080/infra.git", "127.0.0.1 8080"),
            ("https://[2001:db8::1]:7/x", "2001:db8::1 7"),
            ("ssh://git@host/x", "host 22"),
            ("git+ssh://git@host:2222/x", "host 2222"),
            ("git@host.example.com:infra.git", "host.example.com 22"),
            ("git@[2001:db8::1]:infra.git", "2001:db8::1 22"),
            ("git://h/x", "h 9418"),
        ] {
            assert_eq!(told(url, None).as_deref(), Some(place), "{url}");
        }
        for here in ["infra", "/srv/git/infra", "./a:b", "file:///srv/infra"] {
            assert_eq!(told(here, None), None, "{here}");
        }
        let proxied = |proxy: &str| told("https://git.example.com/x", Some(proxy));
        assert_eq!(proxied("http://proxy:3128").as_deref(), Some("proxy 3128"));
        assert_eq!(proxied("https://proxy/").as_deref(), Some("proxy 443"));
    }

    #[test]
    fn the_environment_is_read_as_curl_reads_it() {
        let with = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(from_environment(true, with(&[])), None);
        assert_eq!(from_environment(true, with(&[("http_proxy", "http://a"), ("HTTP_PROXY", "http://b")])), None);
        assert_eq!(from_environment(false, with(&[("HTTP_PROXY", "http://b")])), None);
        let found = from_environment(true, with(&[("HTTPS_PROXY", "bot:hunter2@a:1"), ("no_proxy", "x")])).unwrap();
        assert_eq!((found.url.as_str(), found.shown.as_str()), ("http://bot:hunter2@a:1", "http://a:1"));
        assert_eq!(found.except.as_deref(), Some("x"));
        let all = from_environment(false, with(&[("http_proxy", ""), ("ALL_PROXY", "https://c")])).unwrap();
        assert_eq!(all.url, "https://c");
    }
}
