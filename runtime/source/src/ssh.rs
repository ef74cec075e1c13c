//! What OpenSSH's client is given for a source, checked before anything is started.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tidelock_model::config::SshDecl;
use tidelock_model::port::SourceError;

use crate::fault;
use crate::location::Address;
use crate::wire::{Program, Ssh};

/// The client.
const CLIENT: &str = "ssh";

/// Looks at the files of `[sources.NAME.ssh]` and finds the client. Done anew for each
/// fetch, so that what is mended counts from the next poll on.
///
/// # Errors
/// `invalid`, where the section is missing; `auth`, where the key cannot be used, and
/// `host-key`, where the host keys cannot be trusted.
pub(crate) fn prepare(
    decl: Option<&SshDecl>,
    base: &Path,
    address: &Address,
    helper: Program,
) -> Result<Ssh, SourceError> {
    let Some(decl) = decl else { return Err(undeclared()) };
    let key = option_value("key", &base.join(&decl.key))?;
    let known_hosts = option_value("known_hosts", &base.join(&decl.known_hosts))?;
    private_key(&key)?;
    host_keys(&known_hosts)?;
    Ok(Ssh { client: client()?, helper, address: address.clone(), key, known_hosts })
}

/// An ssh:// source without the section that says how to sign in.
pub(crate) fn undeclared() -> SourceError {
    SourceError::new("invalid", "a source over SSH needs a key, and the host keys of its server")
        .hint("add to the source: ssh = { key = \"deploy_key\", known_hosts = \"known_hosts\" }")
}

/// A path that the client's options can hold: they know quotes, escapes, tokens and
/// variables of their own, and nothing of that is meant.
fn option_value(what: &str, path: &Path) -> Result<PathBuf, SourceError> {
    let fit = path.to_str().is_some_and(|text| !text.contains(['"', '\\', '%', '$']));
    let fit = fit && !path.to_string_lossy().chars().any(char::is_control);
    if fit {
        return Ok(path.to_owned());
    }
    Err(SourceError::new("invalid", format!("ssh.{what} {} cannot be said to the client", path.display()))
        .hint("keep the file where no quote, backslash, % or $ is in its path"))
}

fn private_key(path: &Path) -> Result<(), SourceError> {
    let about = std::fs::metadata(path).map_err(|error| {
        SourceError::new("auth", format!("cannot read ssh.key {}: {error}", path.display()))
            .hint("put the private key there; it is looked for again at the next poll")
    })?;
    let ours = about.uid() == nix::unistd::geteuid().as_raw();
    let open = if ours { 0o077 } else { 0o007 };
    if about.mode() & open != 0 {
        return Err(SourceError::new(
            "auth",
            format!("ssh.key {} can be read by others (mode {:04o})", path.display(), about.mode() & 0o7777),
        )
        .hint(format!("chmod 600 {}; where others may have read it, make a new key", path.display())));
    }
    Ok(())
}

/// Whoever can write the file decides which server we believe.
fn host_keys(path: &Path) -> Result<(), SourceError> {
    let about = std::fs::metadata(path).map_err(|error| {
        SourceError::new("host-key", format!("cannot read ssh.known_hosts {}: {error}", path.display()))
            .hint("write the server's host keys there, as `ssh-keyscan` prints them, after you have compared them")
    })?;
    if about.mode() & 0o022 != 0 {
        return Err(SourceError::new(
            "host-key",
            format!("ssh.known_hosts {} can be written by others than its owner", path.display()),
        )
        .hint(format!("chmod go-w {}; then compare what is in it", path.display())));
    }
    Ok(())
}

/// The client by its full path: the fetch child has no search path.
fn client() -> Result<PathBuf, SourceError> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let found = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(CLIENT));
    found.into_iter().find(|file| fault::is_program(file)).ok_or_else(|| {
        SourceError::new("io", "sources over SSH need OpenSSH's client, and there is no `ssh` on the search path")
            .hint("apt-get install openssh-client")
    })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn address() -> Address {
        Address { user: "git".into(), host: "host".into(), port: None, path: "infra".into() }
    }

    fn with(dir: &Path, key: &str) -> Result<Ssh, SourceError> {
        let decl = SshDecl { key: key.into(), known_hosts: "hosts".into() };
        prepare(Some(&decl), dir, &address(), Program { file: "/bin/false".into(), args: vec![] })
    }

    #[test]
    fn the_files_are_looked_at_before_anything_starts() {
        let dir = tempfile::tempdir().unwrap();
        let (key, hosts) = (dir.path().join("key"), dir.path().join("hosts"));
        let code = || with(dir.path(), "key").unwrap_err().code;
        assert_eq!(code(), "auth");
        std::fs::write(&key, "x").unwrap();
        for (mode, good) in [(0o644, false), (0o640, false), (0o604, false), (0o600, true), (0o400, true)] {
            std::fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
            assert_eq!(code(), if good { "host-key" } else { "auth" }, "{mode:o}");
        }
        std::fs::write(&hosts, "x").unwrap();
        for (mode, good) in [(0o666, false), (0o664, false), (0o644, true)] {
            std::fs::set_permissions(&hosts, Permissions::from_mode(mode)).unwrap();
            assert_eq!(with(dir.path(), "key").is_ok(), good, "{mode:o}");
        }
        assert_eq!(with(dir.path(), "a\"b").unwrap_err().code, "invalid");
        assert_eq!(with(dir.path(), "%d/key").unwrap_err().code, "invalid");
        let none = prepare(None, dir.path(), &address(), Program { file: "/bin/false".into(), args: vec![] });
        assert!(none.unwrap_err().hint.unwrap().contains("known_hosts"));
    }
}
