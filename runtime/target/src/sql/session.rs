//! What signing in to any server has in common.

use std::net::IpAddr;
use std::time::Duration;

use tidelock_model::error::Fault;
use tidelock_model::name::Name;

use super::value::fault;

/// Sessions of one target at a time.
pub(super) const SESSIONS: usize = 8;
/// How long an idle session is kept.
pub(super) const IDLE: Duration = Duration::from_secs(30);
/// How long a host may take to answer.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// How often what stood in somebody's way is tried, and the first wait between.
pub(super) const TRIES: u32 = 6;
pub(super) const WAIT: Duration = Duration::from_millis(100);

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Reads: as the reader, where the config names one.
    Read,
    /// Everything.
    Write,
}

/// All hosts only copy another server.
pub(super) fn standby(name: &Name, standbys: &[String]) -> Fault {
    let list = standbys.join(", ");
    fault("standby", format!("target {name} has no primary: {list} only copies another server"))
        .retryable()
        .hint("wait until one of its hosts takes writes, or name the primary in `host`")
}

pub(super) fn no_host(name: &Name) -> Fault {
    fault("invalid", format!("target {name} names no host"))
        .hint(format!("add to [targets.{name}]:\n\nhost = \"db.example.com\""))
}

pub(super) fn no_user(name: &Name) -> Fault {
    fault("invalid", format!("target {name} names no user"))
        .hint(format!("add to [targets.{name}]:\n\nuser = \"tidelock\""))
}

pub(super) fn plain(name: &Name, host: &str) -> Fault {
    fault("denied", format!("target {name} would sign in to {host} without encryption"))
        .hint("set tls.mode to \"verify-full\"; or, where the network is trusted, tls.plain_to_others to true")
}

/// Whether a host is this machine, whatever its files of names say.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A part of an identity as it was before [`tidelock_model::sql::part`].
pub(super) fn plain_part(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| more.get(..2)).flatten();
        match escaped.and_then(|digits| std::str::from_utf8(digits).ok()).map(|hex| u8::from_str_radix(hex, 16)) {
            Some(Ok(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use tidelock_model::sql::part;

    use super::*;

    #[test]
    fn parts_of_identities_come_back() {
        for text in ["app", "%", "a/b@c%25", "\u{7}ü\n", "%zz", "100%"] {
            assert_eq!(plain_part(&part(text)), text);
        }
    }
}
