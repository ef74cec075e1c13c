//! `[sources.NAME]`: Git repositories, how to reach them, and what they may touch.

use serde::{Deserialize, Serialize};

use super::{DecryptDecl, OneOrMany};
use crate::check::CheckGrant;

/// `[sources.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceDecl {
    /// A path, `file://`, `https://`, `http://`, `git://`, `ssh://user@host/path` or
    /// `user@host:path`.
    pub url: String,
    /// A branch. One of branch, tag and commit; default the branch `main`.
    #[serde(default)]
    pub branch: Option<String>,
    /// A tag.
    #[serde(default)]
    pub tag: Option<String>,
    /// A commit's full id.
    #[serde(default)]
    pub commit: Option<String>,
    /// How often to look, such as `60s`.
    #[serde(default)]
    pub poll: Option<String>,
    /// Whose signatures count.
    #[serde(default)]
    pub verify: Option<VerifyDecl>,
    /// What the source may touch. No match: not rendered.
    #[serde(default)]
    pub allow: Vec<AllowDecl>,
    /// How to sign in.
    #[serde(default)]
    pub auth: Option<AuthDecl>,
    /// How encrypted files in it are read. Default not at all.
    #[serde(default)]
    pub decrypt: Option<OneOrMany<DecryptDecl>>,
    /// How its forge says that somebody has pushed. Without it no webhook is taken.
    #[serde(default)]
    pub webhook: Option<WebhookDecl>,
    /// The proxy to a server over HTTP: its address, or `env` for what the environment of
    /// Tidelock says. Default none, whatever the environment says.
    #[serde(default)]
    pub proxy: Option<String>,
    /// User and password for the proxy.
    #[serde(default)]
    pub proxy_auth: Option<AuthDecl>,
    /// How to sign in over SSH, and which host keys to believe.
    #[serde(default)]
    pub ssh: Option<SshDecl>,
    /// Whether unsigned commits may come over `git://`, or over `http://` from another
    /// machine, where anyone on the way can put in their own. Default no.
    #[serde(default)]
    pub insecure: bool,
    /// PEM file of certificates to trust besides the system's.
    #[serde(default)]
    pub ca: Option<String>,
    /// Wall clock of a fetch in seconds. Default 120.
    #[serde(default)]
    pub timeout: Option<u64>,
    /// Whether symbolic links are followed within the source. Default: an error.
    #[serde(default)]
    pub symlinks: bool,
    /// Whether submodules are passed over. Default: an error.
    #[serde(default)]
    pub submodules: bool,
    /// Sizes that a revision may have.
    #[serde(default)]
    pub limits: SourceLimits,
}

/// `[sources.NAME.limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceLimits {
    /// Bytes of one file.
    pub blob: u64,
    /// Files of a revision.
    pub files: u64,
    /// Directories in directories.
    pub depth: u64,
    /// Bytes of all files of a revision.
    pub total: u64,
    /// Bytes that a fetch may write.
    pub pack: u64,
    /// Bytes of memory that a fetch may take.
    pub memory: u64,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self { blob: 32 << 20, files: 200_000, depth: 32, total: 1 << 30, pack: 1 << 30, memory: 2 << 30 }
    }
}

/// `verify = { signers = "allowed_signers" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyDecl {
    /// An OpenSSH `allowed_signers` file.
    pub signers: String,
}

/// `auth = { token_env = "..." }`. Values never stand in the file itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthDecl {
    /// User name for basic.
    pub username: Option<String>,
    /// Environment variable that holds the password.
    pub password_env: Option<String>,
    /// File that holds the password.
    pub password_file: Option<String>,
    /// Environment variable that holds a bearer token.
    pub token_env: Option<String>,
    /// File that holds a bearer token.
    pub token_file: Option<String>,
    /// Whether credentials may go over plain `http://`. Default no.
    pub insecure: bool,
}

/// `[sources.NAME.webhook]`: the secret stands elsewhere. Without one, the webhook is for the
/// machine that the daemon runs on alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookDecl {
    /// Environment variable that holds the secret.
    pub secret_env: Option<String>,
    /// File that holds the secret.
    pub secret_file: Option<String>,
}

/// `[sources.NAME.ssh]`: what OpenSSH's client is given, and all that it is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshDecl {
    /// File that holds the private key, without a passphrase.
    pub key: String,
    /// File that holds the host keys of the server, as `known_hosts` of OpenSSH. No other
    /// file is asked, and a host that it does not name is refused.
    pub known_hosts: String,
}

/// `[[sources.NAME.allow]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowDecl {
    /// Glob of stack directories. Default all.
    #[serde(default = "everything")]
    pub stacks: String,
    /// Names or globs of targets.
    pub targets: Vec<String>,
    /// Globs of kinds.
    pub kinds: Vec<String>,
    /// Globs of secrets.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// What its stacks may have checked. Default nothing.
    #[serde(default)]
    pub checks: CheckGrant,
}

fn everything() -> String {
    "**".to_owned()
}
