//! What parent and fetch child say to each other: one JSON value each way.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidelock_model::port::SourceError;

use crate::location::Address;

/// What a child is to do.
#[derive(Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Job {
    /// Brings objects from a server into the cache.
    Fetch(Box<Request>),
    /// Copies what is needed of a cache into a new one.
    Rebuild(Rebuild),
}

/// What to copy. Nothing of it comes from a server any more, but it did.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Rebuild {
    /// The bare repository to copy from.
    pub(crate) from: PathBuf,
    /// The folder to make the new one in.
    pub(crate) into: PathBuf,
    /// The references to copy, by their names there, with all that they lead to.
    pub(crate) names: Vec<String>,
    /// Commits to copy besides, with all that they lead to, as far as they are there.
    pub(crate) kept: Vec<String>,
    /// Address space in bytes.
    pub(crate) memory: u64,
    /// Bytes of one file that is written.
    pub(crate) file_size: u64,
    /// Bytes of one object.
    pub(crate) object: u64,
    /// The parent's wall clock, in seconds.
    pub(crate) timeout: u64,
}

/// What to fetch. The child learns secrets here and nowhere else.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The repository.
    pub(crate) url: String,
    /// The bare repository to fetch into; made where it is missing.
    pub(crate) dir: PathBuf,
    /// Names on the server, best first: full ref names, or a commit's id.
    pub(crate) names: Vec<String>,
    /// Names to bring along, as far as the server has them.
    pub(crate) also: Vec<String>,
    /// The `Authorization` header.
    pub(crate) authorization: Option<String>,
    /// PEM certificates to trust besides the system's.
    pub(crate) ca: Option<String>,
    /// The proxy to go through.
    pub(crate) proxy: Option<Proxy>,
    /// How to sign in over SSH; there for servers that are reached so.
    pub(crate) ssh: Option<Ssh>,
    /// Address space in bytes.
    pub(crate) memory: u64,
    /// Bytes of one file that is written.
    pub(crate) file_size: u64,
    /// Bytes of one object.
    pub(crate) object: u64,
    /// The parent's wall clock, in seconds.
    pub(crate) timeout: u64,
}

/// A proxy for HTTP.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proxy {
    /// Its address, with credentials where the environment has it so.
    pub(crate) url: String,
    /// Its address, for people.
    pub(crate) shown: String,
    /// User and password.
    pub(crate) sign_in: Option<(String, String)>,
    /// The hosts that are reached without it, as `no_proxy` writes them.
    pub(crate) except: Option<String>,
}

// Written by hand: passwords are not for logs.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Proxy").field(&self.shown).finish()
    }
}

/// A program with its first arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    /// The file.
    pub(crate) file: PathBuf,
    /// Arguments.
    pub(crate) args: Vec<String>,
}

/// What OpenSSH's client is given. Secrets are named by their file, which it reads itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ssh {
    /// The client.
    pub(crate) client: PathBuf,
    /// The fetch child, which starts the client in such a way that it dies with its parent.
    pub(crate) helper: Program,
    /// Where the repository is.
    pub(crate) address: Address,
    /// The private key's file.
    pub(crate) key: PathBuf,
    /// The host keys' file.
    pub(crate) known_hosts: PathBuf,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// The objects are in the cache.
    Fetched {
        /// The name that was found first.
        name: String,
        /// The object's id in hexadecimal.
        id: String,
        /// Whether a pack came.
        received: bool,
    },
    /// The new cache is there, and written out.
    Rebuilt {
        /// How many objects it holds.
        objects: usize,
    },
    /// It failed.
    Failed {
        /// As [`SourceError::code`].
        code: String,
        /// As [`SourceError::message`].
        message: String,
        /// As [`SourceError::hint`].
        hint: Option<String>,
        /// As [`SourceError::retryable`].
        retryable: bool,
    },
}

impl From<SourceError> for Answer {
    fn from(error: SourceError) -> Self {
        Self::Failed { code: error.code, message: error.message, hint: error.hint, retryable: error.retryable }
    }
}
