//! Targets that are DNS servers: where they are, and the key that signs what is said to them.
//! Nothing of the key ever reaches a plugin, a plan or a log.

use serde::{Deserialize, Serialize};

use super::server::Hosts;
use crate::secret::SecretName;

/// What `[targets.NAME]` says of a DNS server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsDecl {
    /// Its name or address: the primary, which takes updates.
    pub host: Hosts,
    /// Its port. Default 53.
    pub port: Option<u16>,
    /// The zones that may be looked at and written. No plugin reaches another one.
    pub zones: Vec<String>,
    /// The key that signs each question and update, and every answer.
    pub key: Option<DnsKeyDecl>,
}

/// A key for TSIG (RFC 8945).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsKeyDecl {
    /// What the server calls it.
    pub name: String,
    /// What it signs with. Default `hmac-sha256`.
    #[serde(default)]
    pub algorithm: DnsAlgorithm,
    /// The key in base64, as `tsig-keygen` and `keymgr` print it. Never in the config itself.
    pub secret: KeyPlace,
}

/// Where a key is kept: `{ env = "NAME" }`, `{ file = "path" }` or `{ secret = "NAME" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum KeyPlace {
    /// In a variable of the environment.
    Env(String),
    /// In a file. Relative paths start at the config.
    File(String),
    /// Where `[secrets.NAME]` says, such as in what a command prints.
    Secret(SecretName),
}

impl KeyPlace {
    /// The path of its file, where it is in one.
    pub fn file(&mut self) -> Option<&mut String> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) | Self::Secret(_) => None,
        }
    }
}

/// What a key signs with: those that RFC 8945 recommends or that are longer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnsAlgorithm {
    /// HMAC with SHA-256.
    #[default]
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SHA-512.
    HmacSha512,
}
