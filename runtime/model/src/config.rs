//! The operator's config: `tidelock.toml`. Git says what; this says who may.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::grant::GrantDecl;
use crate::limits::Limits;
use crate::name::Name;

/// The whole file, includes merged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Further files, by glob, relative to this one.
    pub include: Vec<String>,
    /// Where state is kept.
    pub store: StoreDecl,
    /// Where plugins are.
    pub plugins: PluginsDecl,
    /// Git repositories.
    pub sources: BTreeMap<Name, SourceDecl>,
    /// Systems that may be reconciled.
    pub targets: BTreeMap<Name, TargetDecl>,
    /// What plugins may do, by plugin; several entries by `[[grants.server]]` or one by `[grants.server]`.
    pub grants: BTreeMap<String, OneOrMany<GrantDecl>>,
    /// Limits, by plugin; `default` for all.
    pub limits: BTreeMap<String, Limits>,
    /// Creates on first contact that need no yes: globs of targets.
    pub accept_new: Vec<String>,
}

/// One value or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

// By hand: a derived untagged enum loses the reason and the place of an error.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Either<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a table or a list of tables")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(OneOrMany::One)
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(seq)).map(OneOrMany::Many)
            }
        }
        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}

impl<T> OneOrMany<T> {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        match self {
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::Many(many) => many.iter(),
        }
    }
}

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreDecl {
    /// `sqlite:<path>`.
    pub url: String,
    /// Where fetched repositories and compiled plugins are kept; default `cache` beside the store.
    pub cache: Option<String>,
}

impl Default for StoreDecl {
    fn default() -> Self {
        Self { url: "sqlite:tidelock.db".to_owned(), cache: None }
    }
}

/// `[plugins]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginsDecl {
    /// A directory of `*.wasm`, besides the embedded ones.
    pub dir: Option<String>,
}

/// `[sources.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceDecl {
    /// A path, `file://`, `http://` or `https://`.
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
}

fn everything() -> String {
    "**".to_owned()
}

/// `[targets.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetDecl {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: TargetKind,
    /// For a machine: the folder that its paths lie below. Default `/`.
    #[serde(default)]
    pub root: Option<String>,
    /// Labels for stacks to choose by, and for renderers.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Facts for renderers.
    #[serde(default)]
    pub facts: BTreeMap<String, serde_json::Value>,
    /// How often to look for drift, such as `5m`.
    #[serde(default)]
    pub drift_every: Option<String>,
}

/// Kinds of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// A machine: files and commands.
    Machine,
}
