//! Files of a source that age encrypted, and that the operator's identities open.

use std::io::Read as _;
use std::path::Path;

use age::armor::ArmoredReader;
use age::{DecryptError, Decryptor, IdentityFile};
use tidelock_model::config::DecryptDecl;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::glob;
use tidelock_model::name::Name;
use tidelock_model::port::Tree;
use tidelock_model::secret::{SecretName, SecretValue};

use crate::{MAX_VALUE, private, refused, unreadable, value};

/// Reads and opens a file of the source, with the keys that are for its path. The value is taken
/// byte for byte.
///
/// Whoever may write to one folder can put the ciphertext of another there: what binds it to its
/// place is that the key of that place does not open it.
pub(crate) fn read(
    source: &Name,
    keys: &[DecryptDecl],
    tree: &dyn Tree,
    name: &SecretName,
    path: &str,
) -> Result<SecretValue, Fault> {
    let mut identities = Vec::new();
    for key in keys {
        if is_for(key, name)? {
            identities.extend(key.age.as_deref().map(Path::new));
        }
    }
    if identities.is_empty() {
        let hint = match keys {
            [] => format!("add to tidelock.toml:\n\n[sources.{source}.decrypt]\nage = \"age.key\""),
            _ => format!("none of the `paths` in [[sources.{source}.decrypt]] covers it"),
        };
        let why = format_args!("the config names no key for it among the encrypted files of source {source}");
        return Err(unreadable(name, why).hint(hint));
    }
    let encrypted = match tree.read(path) {
        Ok(Some(encrypted)) => encrypted,
        Ok(None) => {
            return Err(Fault::new("not-found", Blame::Target, format!("there is no file {path} in the source")));
        }
        Err(error) => return Err(unreadable(name, error.message)),
    };
    open(name, &identities, &encrypted)
}

/// Whether a key is for a file. A name of a file is its path from the source's root.
fn is_for(key: &DecryptDecl, name: &SecretName) -> Result<bool, Fault> {
    for pattern in &key.paths {
        if glob(pattern, true)?.is_match(name.as_str()) {
            return Ok(true);
        }
    }
    Ok(key.paths.is_empty())
}

fn open(name: &SecretName, identities: &[&Path], encrypted: &[u8]) -> Result<SecretValue, Fault> {
    let mut keys = Vec::new();
    for path in identities {
        keys.extend(identities_in(name, path)?);
    }
    let listed = || identities.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let refuse = |error: DecryptError| match error {
        DecryptError::NoMatchingKeys => {
            unreadable(name, format_args!("it is not encrypted to any of the keys in {}", listed()))
                .hint("encrypt it anew, to the public key of this operator too: age -r age1... -o FILE")
        }
        error => unreadable(name, format_args!("it is no file that age opens: {error}")),
    };
    let opened = Decryptor::new_buffered(ArmoredReader::new(encrypted)).map_err(refuse)?;
    let mut reader = opened.decrypt(keys.iter().map(|key| &**key as &dyn age::Identity)).map_err(refuse)?;
    let mut bytes = Vec::new();
    reader
        .by_ref()
        .take(MAX_VALUE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(name, format_args!("it is damaged: {error}")))?;
    value(name, bytes)
}

fn identities_in(name: &SecretName, path: &Path) -> Result<Vec<Box<dyn age::Identity + Send + Sync>>, Fault> {
    let cannot = |error: &dyn std::fmt::Display| unreadable(name, format_args!("{}: {error}", path.display()));
    let bytes = private::read(path, MAX_VALUE).map_err(|why| refused(name, &why))?;
    let file = IdentityFile::from_buffer(bytes.as_slice()).map_err(|error| cannot(&error))?;
    file.into_identities().map_err(|error| cannot(&error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use age::secrecy::ExposeSecret as _;
    use age::x25519::Identity;

    use super::*;

    struct Keys {
        _dir: tempfile::TempDir,
        path: std::path::PathBuf,
        key: Identity,
    }

    fn keys() -> Keys {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = (dir.path().join("age.key"), Identity::generate());
        std::fs::write(&path, format!("# a comment\n{}\n", key.to_string().expose_secret())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Keys { _dir: dir, path, key }
    }

    fn opened(keys: &Keys, encrypted: &[u8]) -> Result<Vec<u8>, Fault> {
        open(&"/db.age".parse().unwrap(), &[&keys.path], encrypted).map(|value| value.reveal().to_vec())
    }

    #[test]
    fn a_file_is_opened_by_the_operators_key_armoured_or_not() {
        let keys = keys();
        let recipient = keys.key.to_public();
        assert_eq!(opened(&keys, &age::encrypt(&recipient, b"hunter2\n").unwrap()).unwrap(), b"hunter2\n");
        let armoured = age::encrypt_and_armor(&recipient, b"hunter2").unwrap();
        assert_eq!(opened(&keys, armoured.as_bytes()).unwrap(), b"hunter2");
    }

    #[test]
    fn what_is_for_another_key_or_damaged_or_no_age_file_is_refused() {
        let keys = keys();
        let other = age::encrypt(&Identity::generate().to_public(), b"hunter2").unwrap();
        assert!(opened(&keys, &other).unwrap_err().message.contains("not encrypted to any"));
        let mut damaged = age::encrypt(&keys.key.to_public(), b"hunter2").unwrap();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(opened(&keys, &damaged).unwrap_err().message.contains("damaged"));
        assert!(opened(&keys, b"password: hunter2").unwrap_err().message.contains("no file that age opens"));
        assert!(opened(&keys, b"").is_err());
        std::fs::set_permissions(&keys.path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(opened(&keys, &other).unwrap_err().message.contains("open to others"));
    }

    #[test]
    fn a_key_is_for_its_paths_and_without_any_for_all() {
        let key = |paths: &[&str]| DecryptDecl { age: None, paths: paths.iter().map(ToString::to_string).collect() };
        let is_for = |paths: &[&str], name: &str| is_for(&key(paths), &name.parse().unwrap()).unwrap();
        assert!(is_for(&[], "/envs/dev/db.age"));
        assert!(is_for(&["/keys/*", "/envs/prod/**"], "/envs/prod/a/db.age"));
        assert!(!is_for(&["/envs/prod/**"], "/envs/dev/db.age"));
        assert!(!is_for(&["/envs/*"], "/envs/prod/db.age"), "it stops at slashes");
    }
}
