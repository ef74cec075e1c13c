//! What MariaDB and MySQL keep instead of a password, for the plugin that both know.

use sha1::{Digest as _, Sha1};
use tidelock_model::error::Fault;

use crate::sql::value::fault;

const NATIVE: &str = "mysql_native_password";

/// The hash for a statement whose other words name the account's plugin, or none.
pub(super) fn make(words: &str, password: &str) -> Result<String, Fault> {
    let words = words.to_ascii_lowercase();
    for other in ["ed25519", "caching_sha2_password", "sha256_password", "parsec", "unix_socket"] {
        if words.contains(other) {
            return Err(fault("invalid", format!("no hash for the plugin {other} can be made here"))
                .hint(format!("use {NATIVE} for accounts whose passwords come from secrets")));
        }
    }
    Ok(native(password))
}

/// Whether a password fits what the server keeps. `None` where it keeps something that cannot
/// be compared.
pub(super) fn fits(password: &str, plugin: &str, kept: &str) -> Option<bool> {
    (plugin == NATIVE).then(|| !kept.is_empty() && kept.eq_ignore_ascii_case(&native(password)))
}

fn native(password: &str) -> String {
    if password.is_empty() {
        return String::new();
    }
    format!("*{}", hex::encode_upper(Sha1::digest(Sha1::digest(password.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_servers_own() {
        let hash = make("IDENTIFIED VIA mysql_native_password USING", "password").unwrap();
        assert_eq!(hash, "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
        assert_eq!(fits("password", NATIVE, &hash.to_lowercase()), Some(true));
        assert_eq!(fits("other", NATIVE, &hash), Some(false));
        assert_eq!(fits("password", "ed25519", "x"), None);
        assert!(make("IDENTIFIED VIA ed25519 USING", "password").is_err());
    }
}
