//! Files of a source that are encrypted to the operator's age identities: one value that age
//! encrypted, or many that SOPS did.

use std::path::Path;

use age::armor::ArmoredReader;
use age::{DecryptError, Decryptor, IdentityFile};
use tidelock_model::config::DecryptDecl;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::glob;
use tidelock_model::name::Name;
use tidelock_model::port::Tree;
use tidelock_model::secret::{SecretName, SecretValue};
use zeroize::Zeroizing;

use crate::sops::{self, Format, Opener, Refusal};
use crate::{MAX_VALUE, private, refused, unreadable, value};

/// Reads and opens a file of the source, or with a pointer one value of it, with the keys that are
/// for its path. The value is taken byte for byte.
///
/// Whoever may write to one folder can put the ciphertext of another there: what binds it to its
/// place is that the key of that place does not open it.
pub(crate) fn read(
    source: &Name,
    keys: &[DecryptDecl],
    tree: &dyn Tree,
    name: &SecretName,
    path: &str,
    pointer: Option<&str>,
) -> Result<SecretValue, Fault> {
    let mut identities = Vec::new();
    for key in keys {
        if is_for(key, path)? {
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
    let keys = Keys::read(name, &identities)?;
    let opened = match (pointer, Format::of(path)) {
        (Some(pointer), Some(format)) => sops::value(&encrypted, format, pointer, &keys)?,
        (Some(_), None) => {
            return Err(unreadable(name, "values within a file are read from .yaml, .json and .env alone")
                .hint(format!("name the file: /{path}; or encrypt the value with SOPS into a .yaml")));
        }
        (None, format) => match sops::whole(&encrypted, &keys)? {
            Some(whole) => whole,
            None => keys.file(&encrypted).map_err(|fault| match format {
                Some(_) => fault.hint(format!("of a file that SOPS encrypted name one value: /{path}#/key")),
                None => fault,
            })?,
        },
    };
    let mut opened = opened;
    value(name, std::mem::take(&mut *opened))
}

/// Whether a key is for a file, by its path in the source.
fn is_for(key: &DecryptDecl, path: &str) -> Result<bool, Fault> {
    for pattern in &key.paths {
        if glob(pattern, true)?.is_match(format!("/{path}")) {
            return Ok(true);
        }
    }
    Ok(key.paths.is_empty())
}

/// The operator's identities, for one secret.
struct Keys<'k> {
    name: &'k SecretName,
    paths: &'k [&'k Path],
    identities: Vec<Box<dyn age::Identity + Send + Sync>>,
}

impl<'k> Keys<'k> {
    fn read(name: &'k SecretName, paths: &'k [&'k Path]) -> Result<Self, Fault> {
        let mut identities = Vec::new();
        for path in paths {
            let cannot = |error: &dyn std::fmt::Display| unreadable(name, format_args!("{}: {error}", path.display()));
            let bytes = private::read(path, MAX_VALUE).map_err(|why| refused(name, &why))?;
            let file = IdentityFile::from_buffer(bytes.as_slice()).map_err(|error| cannot(&error))?;
            identities.extend(file.into_identities().map_err(|error| cannot(&error))?);
        }
        Ok(Self { name, paths, identities })
    }

    /// Opens a file that is for one of them.
    fn file(&self, encrypted: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        self.open(encrypted)?.ok_or_else(|| {
            let keys: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
            unreadable(self.name, format_args!("it is not encrypted to any of the keys in {}", keys.join(", ")))
                .hint("encrypt it anew, to the public key of this operator too: age -r age1... -o FILE")
        })
    }
}

impl Opener for Keys<'_> {
    type Error = Fault;

    fn refused(&self, Refusal { why, hint }: Refusal) -> Fault {
        let fault = unreadable(self.name, why);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }

    fn open(&self, encrypted: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
        let refuse = |error: DecryptError| unreadable(self.name, format_args!("it is no file that age opens: {error}"));
        let opened = Decryptor::new_buffered(ArmoredReader::new(encrypted)).map_err(refuse)?;
        let keys = self.identities.iter().map(|key| &**key as &dyn age::Identity);
        let reader = match opened.decrypt(keys) {
            Err(DecryptError::NoMatchingKeys) => return Ok(None),
            opened => opened.map_err(refuse)?,
        };
        private::read_all(reader, MAX_VALUE + 1)
            .map(Some)
            .map_err(|error| unreadable(self.name, format_args!("it is damaged: {error}")))
    }
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
        super::Keys::read(&"/db.age".parse().unwrap(), &[keys.path.as_path()])?
            .file(encrypted)
            .map(|value| value.to_vec())
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
        let is_for = |paths: &[&str], name: &str| is_for(&key(paths), name).unwrap();
        assert!(is_for(&[], "envs/dev/db.age"));
        assert!(is_for(&["/keys/*", "/envs/prod/**"], "envs/prod/a/db.age"));
        assert!(!is_for(&["/envs/prod/**"], "envs/dev/db.age"));
        assert!(!is_for(&["/envs/*"], "envs/prod/db.age"), "it stops at slashes");
    }
}
