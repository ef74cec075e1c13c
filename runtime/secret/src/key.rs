//! The key of this installation: with it a value's digest tells a new value from an old one,
//! and without it nobody who reads a plan or the store can try values against the digest.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::secret::{SecretName, SecretValue};
use zeroize::Zeroizing;

use crate::private;

/// Bytes of a digest that are kept: 128 bits, which nobody meets by chance.
const MAC_SIZE: usize = 16;

pub(crate) struct Key {
    path: PathBuf,
    key: OnceLock<Zeroizing<[u8; 32]>>,
}

impl Key {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, key: OnceLock::new() }
    }

    pub(crate) fn mac(&self, name: &SecretName, value: &SecretValue) -> Result<String, Fault> {
        let key = match self.key.get() {
            Some(key) => key,
            None => {
                let read = read_or_make(&self.path).map_err(|error| {
                    let message =
                        format!("cannot read {}, by which secrets are told apart: {error}", self.path.display());
                    Fault::new("io", Blame::Host, message)
                })?;
                self.key.get_or_init(|| read)
            }
        };
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&key[..])
            .map_err(|error| Fault::new("panic", Blame::Host, format!("HMAC takes no key: {error}")))?;
        mac.update(name.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(value.reveal());
        Ok(hex::encode(&mac.finalize().into_bytes()[..MAC_SIZE]))
    }
}

/// Reads the key, or makes one. Two processes that make one at once agree on the first.
fn read_or_make(path: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    match private::open(path) {
        Ok((mut file, meta)) => {
            // It is no operator's: we made it, for ourselves alone.
            if meta.mode() & 0o077 != 0 || meta.uid() != rustix::process::geteuid().as_raw() {
                return Err(io::Error::other("it must be a file of ours that nobody else can read (mode 0600)"));
            }
            file.read_exact(&mut key[..])?;
            Ok(key)
        }
        Err(refused) if refused.is_missing() => {
            getrandom::fill(&mut key[..]).map_err(io::Error::other)?;
            let mut name = [0; 8];
            getrandom::fill(&mut name).map_err(io::Error::other)?;
            let staged = path.with_added_extension(hex::encode(name));
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
            let linked =
                file.write_all(&key[..]).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&staged, path));
            fs::remove_file(&staged)?;
            // A name is durable once its folder is: else a power cut could leave digests in the store
            // that no key gives any more.
            let linked = linked.and_then(|()| File::open(folder(path))?.sync_all());
            match linked {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_or_make(path),
                Err(error) => Err(error),
                Ok(()) => Ok(key),
            }
        }
        Err(refused) => Err(io::Error::other(refused)),
    }
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mac(key: &Key, name: &str, value: &str) -> String {
        key.mac(&name.parse().unwrap(), &SecretValue::new(value.into())).unwrap()
    }

    #[test]
    fn digests_are_equal_for_equal_values_of_one_name_in_one_installation() {
        let dir = tempfile::tempdir().unwrap();
        let key = Key::new(dir.path().join("key"));
        let first = mac(&key, "db", "hunter2");
        assert_eq!(first.len(), 32);
        assert_eq!(mac(&Key::new(dir.path().join("key")), "db", "hunter2"), first, "it is kept");
        assert_ne!(mac(&key, "db", "hunter3"), first);
        assert_ne!(mac(&key, "other", "hunter2"), first);
        assert_ne!(mac(&Key::new(dir.path().join("other")), "db", "hunter2"), first);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside the keys");
        let mode = fs::metadata(dir.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        mac(&Key::new(path.clone()), "db", "x");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let fault = Key::new(path).mac(&"db".parse().unwrap(), &SecretValue::new(vec![1])).unwrap_err();
        assert!(fault.message.contains("mode 0600"), "{fault}");
    }
}
