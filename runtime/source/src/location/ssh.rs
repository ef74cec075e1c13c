//! `ssh://user@host[:port]/path` and `user@host:path`, read so that no part can be taken
//! for an option by OpenSSH's client, or for anything but a path by the server's shell.

use serde::{Deserialize, Serialize};
use tidelock_model::port::SourceError;

use super::invalid;

/// A repository on an SSH server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// Who signs in.
    pub(crate) user: String,
    /// Name or address of the server; an IPv6 address without its brackets.
    pub(crate) host: String,
    /// The port, where it is not the usual one.
    pub(crate) port: Option<u16>,
    /// The repository, as the server's `git-upload-pack` is told. Relative paths start at
    /// the home of the user there.
    pub(crate) path: String,
}

impl Address {
    /// As people write it.
    pub(crate) fn url(&self) -> String {
        let Self { user, path, .. } = self;
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        match path.strip_prefix('/') {
            Some(path) => format!("ssh://{user}@{host}{port}/{path}"),
            // What starts at the home of the user can be said with a port only where it has a ~.
            None if self.port.is_some() => format!("ssh://{user}@{host}{port}/{path}"),
            None => format!("{user}@{host}:{path}"),
        }
    }

    /// How `known_hosts` names the server.
    pub(crate) fn known_as(&self) -> String {
        match self.port {
            None | Some(22) => self.host.clone(),
            Some(port) => format!("[{}]:{port}", self.host),
        }
    }
}

/// Reads what follows `ssh://`.
pub(super) fn parse(rest: &str) -> Result<Address, SourceError> {
    let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, server) = user(server)?;
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) if port.starts_with(':') => (host, port.strip_prefix(':')),
            _ => return invalid("the source's url has a [ without its ]", "write ssh://user@[2001:db8::1]/path"),
        },
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port != 0 => Some(port),
        Some(_) => {
            return invalid(
                "the port of the source's url is not a number from 1 to 65535",
                "write ssh://user@host:port/path",
            );
        }
    };
    // As Git does: /~ann/infra is in the home of ann.
    let path = if path.starts_with('~') { path.to_owned() } else { format!("/{path}") };
    checked(Address { user: user.to_owned(), host: host.to_owned(), port, path })
}

/// Reads `user@host:path`; `None` where the text is a path on this machine.
pub(super) fn scp_like(text: &str) -> Result<Option<Address>, SourceError> {
    // A bracketed address holds colons itself.
    let end = text.find("]:").map_or_else(|| text.find(':'), |at| Some(at + 1));
    let Some((server, path)) = end.map(|at| (&text[..at], &text[at + 1..])) else { return Ok(None) };
    if server.is_empty() || server.contains('/') {
        return Ok(None);
    }
    if path.starts_with(':') {
        // `ext::` and its like are programs that Git would run.
        return invalid(format!("{server}:: is not a way to a repository"), "use https://, ssh:// or a path");
    }
    if path.split('/').next().is_some_and(|first| first.contains('@')) && !server.contains('@') {
        return invalid(
            "the url of the source holds credentials",
            "take them out of the url; over SSH a key signs in: [sources.NAME.ssh]",
        );
    }
    let (user, host) = user(server)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    checked(Address { user: user.to_owned(), host: host.to_owned(), port: None, path: path.to_owned() }).map(Some)
}

fn user(server: &str) -> Result<(&str, &str), SourceError> {
    let Some((user, host)) = server.rsplit_once('@') else {
        return invalid(
            "the source's url does not say who signs in",
            "write the user into it: ssh://git@host/path, or git@host:path",
        );
    };
    if user.contains(':') {
        // Not echoed: what stands behind the colon is a secret.
        return invalid(
            "the url of the source holds a password",
            "take it out; over SSH a key signs in: [sources.NAME.ssh] key = \"...\"",
        );
    }
    Ok((user, host))
}

fn checked(address: Address) -> Result<Address, SourceError> {
    let Address { user, host, path, .. } = &address;
    let word = |text: &str, more: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    if !word(host, ".-_:%") {
        return invalid(
            format!("{host:?} is not the name of a host"),
            "letters, digits, dots, dashes and underscores, and no dash at the beginning",
        );
    }
    if !word(user, ".-_+") {
        return invalid(
            format!("{user:?} is not a user's name"),
            "letters, digits, dots, dashes and underscores, and no dash at the beginning",
        );
    }
    if path.trim_matches('/').is_empty() {
        return invalid("the source's url names no repository", "write ssh://user@host/path");
    }
    if path.starts_with('-') {
        return invalid(
            format!("the repository's path {path:?} begins with a dash, which Git would take for an option"),
            "write an absolute path: ssh://user@host/path",
        );
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Address, SourceError> {
        match text.strip_prefix("ssh://") {
            Some(rest) => parse(rest),
            None => scp_like(text).map(|address| address.expect("an address")),
        }
    }

    #[test]
    fn both_ways_to_write_it() {
        for (text, host, port, path) in [
            ("ssh://git@host/srv/infra.git", "host", None, "/srv/infra.git"),
            ("ssh://git@host:2222/infra", "host", Some(2222), "/infra"),
            ("ssh://git@[2001:db8::1]:22/infra", "2001:db8::1", Some(22), "/infra"),
            ("ssh://git@[::1]/infra", "::1", None, "/infra"),
            ("ssh://git@host/~ann/infra", "host", None, "~ann/infra"),
            ("ssh://git@host/it's $(here)", "host", None, "/it's $(here)"),
            ("git@host:infra.git", "host", None, "infra.git"),
            ("git@host:/srv/infra", "host", None, "/srv/infra"),
            ("git@[::1]:infra", "::1", None, "infra"),
        ] {
            let address = read(text).unwrap();
            assert_eq!((address.host.as_str(), address.port, address.path.as_str()), (host, port, path), "{text}");
            assert_eq!(address.user, "git");
            assert_eq!(read(&address.url()).unwrap(), address, "{text}");
        }
        assert_eq!(scp_like("./a:b").unwrap(), None);
        assert_eq!(scp_like("infra").unwrap(), None);
    }

    #[test]
    fn nothing_of_it_can_be_an_option_or_a_command() {
        for text in [
            "ssh://git@-oProxyCommand=id/infra",
            "ssh://-oProxyCommand=id/infra",
            "ssh://-lroot@host/infra",
            "git@-oProxyCommand=id:infra",
            "-oProxyCommand=id:infra",
            "git@host:-u/infra",
            "ssh://git@ho st/infra",
            "ssh://git@$(id)/infra",
            "ssh://gi`t@host/infra",
            "ssh://git@host;id/infra",
            "ssh://git@host",
            "ssh://git@host/",
            "ssh://host/infra",
            "host:infra",
            "ssh://git@host:0/infra",
            "ssh://git@host:x/infra",
            "ssh://git@[::1/infra",
            "ssh://git@/infra",
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.code, "invalid", "{text}");
            assert!(error.hint.is_some(), "{text}");
        }
    }

    #[test]
    fn known_hosts_has_ports_in_brackets() {
        assert_eq!(read("git@host:x").unwrap().known_as(), "host");
        assert_eq!(read("ssh://git@host:22/x").unwrap().known_as(), "host");
        assert_eq!(read("ssh://git@host:2222/x").unwrap().known_as(), "[host]:2222");
    }
}
