//! Secrets, as the loop asks for them.

use async_trait::async_trait;

use super::Tree;
use crate::error::Fault;
use crate::name::Name;
use crate::secret::{SecretName, SecretValue};

/// Where the values of secrets come from. Whether a stack may have one is decided before.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// The value that a name stands for in a source at the revision that `tree` holds.
    ///
    /// # Errors
    /// The config says nothing of it, or it cannot be had; the message names the secret and
    /// where it should be, and holds nothing of any value.
    async fn read(&self, source: &Name, tree: &dyn Tree, name: &SecretName) -> Result<SecretValue, Fault>;

    /// A value that the config names (`[secrets.NAME]`), for Tidelock's own use: no stack has it.
    ///
    /// # Errors
    /// As [`Secrets::read`].
    async fn own(&self, name: &SecretName) -> Result<SecretValue, Fault>;

    /// A digest of a value by a key of this installation: 32 hexadecimal digits. Equal values
    /// of a name have equal ones, and without the key nobody can try values against it.
    ///
    /// # Errors
    /// The key cannot be read or made.
    fn mac(&self, name: &SecretName, value: &SecretValue) -> Result<String, Fault>;
}
