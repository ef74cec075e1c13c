//! Where the values of secrets come from: `outside`, what the operator's config names, and
//! `encrypted`, files of a source that the operator's keys open; `sops`, what SOPS makes of them.
//! `private` reads every file that holds one, here and for the rooms that sign in to servers.
//!
//! **Invariant.** No value leaves this crate but as a [`SecretValue`], and no error of ours
//! holds anything of one; what a command complains about is its own. Nothing is kept from one
//! call to the next but what a command printed a moment ago, since a pass asks for each lane.

mod encrypted;
mod key;
mod outside;
pub mod private;
mod sops;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tidelock_model::config::{DecryptDecl, SecretDecl};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::name::Name;
use tidelock_model::port::{Secrets, Tree};
use tidelock_model::secret::{SecretName, SecretValue};

use self::key::Key;
use self::private::Refused;

/// The longest value, in bytes: room for a certificate chain.
const MAX_VALUE: usize = 1 << 20;
/// How long what a command printed is used again: a pass over many lanes.
const KEPT: Duration = Duration::from_secs(10);

/// The secrets of an operator's config. Paths in it are absolute.
pub struct OperatorSecrets {
    secrets: BTreeMap<SecretName, SecretDecl>,
    decrypt: BTreeMap<Name, Vec<DecryptDecl>>,
    key: Key,
    printed: Mutex<HashMap<SecretName, (Instant, SecretValue)>>,
}

impl OperatorSecrets {
    /// Takes the config's words; reads nothing yet. `key` is the file of the key that values
    /// are digested by; it is made when it is first needed.
    #[must_use]
    pub fn new(
        secrets: BTreeMap<SecretName, SecretDecl>,
        decrypt: BTreeMap<Name, Vec<DecryptDecl>>,
        key: PathBuf,
    ) -> Self {
        Self { secrets, decrypt, key: Key::new(key), printed: Mutex::default() }
    }

    async fn outside(&self, name: &SecretName) -> Result<SecretValue, Fault> {
        let Some(decl) = self.secrets.get(name) else {
            return Err(Fault::new(
                "not-found",
                Blame::Target,
                format!("the config says nothing of the secret {name}"),
            )
            .hint(format!(
                "add to tidelock.toml:\n\n[secrets.{}]\nfile = \"secrets/{}\"",
                toml_key(name),
                last(name)
            )));
        };
        if decl.command.is_none() {
            return outside::read(name, decl).await;
        }
        if let Some((_, value)) = self.printed().get(name).filter(|(at, _)| at.elapsed() < KEPT) {
            return Ok(value.clone());
        }
        let value = outside::read(name, decl).await?;
        self.printed().insert(name.clone(), (Instant::now(), value.clone()));
        Ok(value)
    }

    fn printed(&self) -> std::sync::MutexGuard<'_, HashMap<SecretName, (Instant, SecretValue)>> {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        printed.retain(|_, (at, _)| at.elapsed() < KEPT);
        printed
    }
}

#[async_trait]
impl Secrets for OperatorSecrets {
    async fn read(&self, source: &Name, tree: &dyn Tree, name: &SecretName) -> Result<SecretValue, Fault> {
        match name.file() {
            None => self.outside(name).await,
            Some((path, pointer)) => {
                let keys = self.decrypt.get(source).map_or(&[][..], Vec::as_slice);
                encrypted::read(source, keys, tree, name, path, pointer)
            }
        }
    }

    async fn own(&self, name: &SecretName) -> Result<SecretValue, Fault> {
        self.outside(name).await
    }

    fn mac(&self, name: &SecretName, value: &SecretValue) -> Result<String, Fault> {
        self.key.mac(name, value)
    }
}

/// A fault of a secret's value: who must act is whoever keeps it.
fn unreadable(name: &SecretName, why: impl std::fmt::Display) -> Fault {
    Fault::new("secret", Blame::Target, format!("the secret {name} cannot be read: {why}"))
}

/// A fault of the file that holds a value.
fn refused(name: &SecretName, refused: &Refused) -> Fault {
    unreadable(name, refused).hint(refused.hint())
}

/// A value within bounds.
fn value(name: &SecretName, bytes: Vec<u8>) -> Result<SecretValue, Fault> {
    let value = SecretValue::new(bytes);
    match value.reveal().len() {
        0 => Err(unreadable(name, "it is empty")),
        size if size > MAX_VALUE => Err(unreadable(name, format_args!("it is larger than {MAX_VALUE} bytes"))),
        _ => Ok(value),
    }
}

/// A name as a key of TOML.
fn toml_key(name: &SecretName) -> String {
    let bare = name.as_str().chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if bare { name.to_string() } else { format!("\"{name}\"") }
}

fn last(name: &SecretName) -> &str {
    name.as_str().rsplit('/').next().unwrap_or_default()
}
