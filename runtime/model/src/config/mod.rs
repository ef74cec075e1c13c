//! The operator's config: `tidelock.toml`. Git says what; this says who may.

mod daemon;
mod dns;
mod gate;
mod http;
mod secrets;
mod server;
mod source;
mod target;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::grant::GrantDecl;
use crate::limits::{Limits, LimitsDecl};
use crate::name::Name;
use crate::secret::SecretName;

pub use daemon::DaemonDecl;
pub use dns::{DnsAlgorithm, DnsDecl, DnsKeyDecl, KeyPlace};
pub use gate::{GateDecl, Texts};
pub use http::HttpDecl;
pub use secrets::{DecryptDecl, SecretDecl};
pub use server::{Given, Hosts, Kept, ReaderDecl, Require, ServerDecl, TimeoutsDecl, TlsDecl, TlsMode};
pub use source::{AllowDecl, AuthDecl, SourceDecl, SourceLimits, SshDecl, VerifyDecl, WebhookDecl};
pub use target::{Keeper, TargetDecl, TargetKind};

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
    /// How `tidelock run` runs.
    pub daemon: DaemonDecl,
    /// What it shows over HTTP.
    pub http: HttpDecl,
    /// Git repositories.
    pub sources: BTreeMap<Name, SourceDecl>,
    /// Where the values of secrets come from.
    pub secrets: BTreeMap<SecretName, SecretDecl>,
    /// Systems that may be reconciled.
    pub targets: BTreeMap<Name, TargetDecl>,
    /// What plugins may do, by plugin; several entries by `[[grants.server]]` or one by `[grants.server]`.
    pub grants: BTreeMap<String, OneOrMany<GrantDecl>>,
    /// Limits, by plugin; `default` for all, and for what a plugin's own leave out.
    pub limits: BTreeMap<String, LimitsDecl>,
    /// Creates on first contact that need no yes: globs of targets.
    pub accept_new: Vec<String>,
    /// What is asked for before effects are performed, by `[[gate]]`.
    pub gate: Vec<GateDecl>,
    /// Groups of users, by name, for `approvers`.
    pub groups: BTreeMap<String, Vec<String>>,
    /// What users are called as authors of commits, by user: names or mail addresses.
    pub people: BTreeMap<String, Texts>,
}

impl Config {
    /// The limits that hold, for each plugin that has its own and under `default` for the rest.
    #[must_use]
    pub fn limits_in_force(&self) -> BTreeMap<String, Limits> {
        const DEFAULT: &str = "default";
        let default = self.limits.get(DEFAULT).cloned().unwrap_or_default().over(&Limits::default());
        let mut all: BTreeMap<String, Limits> =
            self.limits.iter().map(|(name, own)| (name.clone(), own.over(&default))).collect();
        all.insert(DEFAULT.to_owned(), default);
        all
    }
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

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        match self {
            Self::One(one) => std::slice::from_mut(one).iter_mut(),
            Self::Many(many) => many.iter_mut(),
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
    /// How long a process that does not answer keeps the lanes that it works on, such as `60s`,
    /// which is the default. One that is known to be dead does not keep them at all. Equal for
    /// all that use the store.
    pub lease: Option<String>,
}

impl Default for StoreDecl {
    fn default() -> Self {
        Self { url: "sqlite:tidelock.db".to_owned(), cache: None, lease: None }
    }
}

/// `[plugins]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginsDecl {
    /// A directory of `*.wasm`, besides the embedded ones.
    pub dir: Option<String>,
}
