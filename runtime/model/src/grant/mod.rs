//! What the operator gave, and the one function that decides by it: a file for each kind of
//! system, and [`Grant`] over them.

mod command;
mod dns;
mod network;
mod path;
mod sql;

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::dns::{DnsGrant, RrsetName};
use crate::effect::EffectBody;
use crate::error::{Blame, Fault};
use crate::network::{NetworkGrant, ObjectName};
use crate::sql::is_privilege;

pub use self::command::CommandPattern;
use self::command::{WordPattern, command_pattern};
pub use self::path::{well_formed, within};

/// A grant as the operator writes it: `[grants.server]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantDecl {
    /// Names or globs of targets.
    pub targets: Vec<String>,
    /// Patterns of absolute paths that may be read and written.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Commands that may be run: each a list of word patterns, and `**` at the end for
    /// the rest. `*` stops at slashes, and stands neither for nothing nor for an option.
    #[serde(default)]
    pub exec: Vec<Vec<String>>,
    /// Commands that may be run to look, in the same words. They run while a plan is made,
    /// before anybody has said yes; `exec` alone opens none of them.
    #[serde(default)]
    pub exec_read: Vec<Vec<String>>,
    /// Names, or globs of names, of the variables that commands may be given.
    #[serde(default)]
    pub env: Vec<String>,
    /// Whether files may be set-user-id or set-group-id.
    #[serde(default)]
    pub special_modes: bool,
    /// On a database server: names or globs of the databases that may be opened to look, and
    /// in which something may be changed. The one that the target names may always be opened.
    #[serde(default)]
    pub databases: Vec<String>,
    /// On a database server: patterns of the identities that may be changed, such as `role:app_*`,
    /// `schema:app/**` or `grant:*/app/**`. `*` stops at slashes.
    #[serde(default)]
    pub sql: Vec<String>,
    /// On a PostgreSQL server: `superuser`, `replication`, `bypassrls` and `createrole`, which
    /// roles may be given, and the server's own roles (`pg_monitor`), which they may join.
    #[serde(default)]
    pub privileges: Vec<String>,
    /// Names, or globs of names, of links that may be seen, made, changed and removed. No
    /// glob opens `lo`.
    #[serde(default)]
    pub links: Vec<String>,
    /// Networks, such as `10.0.0.0/8`, that addresses of those links may be in.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Networks that routes may lead to, or to parts of.
    #[serde(default)]
    pub routes: Vec<String>,
    /// Priorities of rules: `1000`, or `1000-1999`.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Settings of the network: `net.ipv4.*`. `*` stops at dots, `**` does not.
    #[serde(default)]
    pub sysctls: Vec<String>,
    /// Tables of nftables, by family and name: `inet filter`. Each may be a glob.
    #[serde(default)]
    pub tables: Vec<String>,
    /// Names, or globs of names, of WireGuard interfaces whose key and peers may be set.
    #[serde(default)]
    pub wireguard: Vec<String>,
    /// On a DNS server: records that may be seen, put and removed, by name and types:
    /// `www.example.com A,AAAA`, `*.example.com *`. `*` stops at dots, `**` does not.
    #[serde(default)]
    pub records: Vec<String>,
}

impl GrantDecl {
    /// The keys under which it opens something.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("paths", !self.paths.is_empty()),
            ("exec", !self.exec.is_empty()),
            ("exec_read", !self.exec_read.is_empty()),
            ("env", !self.env.is_empty()),
            ("special_modes", self.special_modes),
            ("databases", !self.databases.is_empty()),
            ("sql", !self.sql.is_empty()),
            ("privileges", !self.privileges.is_empty()),
            ("links", !self.links.is_empty()),
            ("addresses", !self.addresses.is_empty()),
            ("routes", !self.routes.is_empty()),
            ("rules", !self.rules.is_empty()),
            ("sysctls", !self.sysctls.is_empty()),
            ("tables", !self.tables.is_empty()),
            ("wireguard", !self.wireguard.is_empty()),
            ("records", !self.records.is_empty()),
        ];
        given.into_iter().filter_map(|(key, given)| given.then_some(key))
    }
}

/// What a plugin wants to do.
#[derive(Debug, Clone, Copy)]
pub enum Access<'a> {
    /// Look at a path.
    Read(&'a str),
    /// Write a path.
    Write(&'a str),
    /// Run a command.
    Exec(&'a [String]),
    /// Run a command that only looks, while a plan is made.
    Probe(&'a [String]),
    /// Look at a database of a server.
    Database {
        /// Its name.
        name: &'a str,
        /// Whether it is the one that the target names.
        maintenance: bool,
    },
    /// Look at an object of a network.
    Network(&'a ObjectName),
    /// Look at a set of records of a DNS server.
    Records(&'a RrsetName),
}

/// The grants of one plugin on one target, and the paths that no grant opens.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    plugin: String,
    target: String,
    /// The keys that the config has for it there; `None` where it has no table for it at all.
    keys: Option<BTreeSet<&'static str>>,
    paths: Vec<GlobMatcher>,
    exec: Vec<Vec<WordPattern>>,
    exec_read: Vec<Vec<WordPattern>>,
    env: Vec<GlobMatcher>,
    special_modes: bool,
    databases: Vec<GlobMatcher>,
    sql: Vec<GlobMatcher>,
    privileges: Vec<String>,
    network: NetworkGrant,
    dns: DnsGrant,
    /// Tidelock's own files: refused whatever `paths` says. Absolute, as the
    /// *target* sees them.
    own: Vec<String>,
}

impl Grant {
    /// Joins what was granted to a plugin on a target. `own` are paths that stay shut.
    ///
    /// # Errors
    /// A pattern that cannot be read, or a path pattern that is not absolute; `field` is the key.
    pub fn new<'a>(
        plugin: &str,
        target: &str,
        decls: impl IntoIterator<Item = &'a GrantDecl>,
        own: Vec<String>,
    ) -> Result<Self, Fault> {
        let mut grant = Self { plugin: plugin.to_owned(), target: target.to_owned(), own, ..Self::default() };
        for decl in decls {
            grant.keys.get_or_insert_default().extend(decl.keys());
            grant.special_modes |= decl.special_modes;
            grant.network.add(plugin, decl)?;
            grant.dns.add(plugin, decl)?;
            for pattern in &decl.env {
                grant.env.push(glob(pattern, false).map_err(about("env"))?);
            }
            for pattern in &decl.databases {
                grant.databases.push(glob(pattern, false).map_err(about("databases"))?);
            }
            for pattern in &decl.sql {
                grant.sql.push(glob(pattern, true).map_err(about("sql"))?);
                sql::known_class(plugin, pattern)?;
            }
            for name in &decl.privileges {
                if !is_privilege(name) {
                    return Err(invalid(format!(
                        "grants.{plugin}.privileges: {name:?} is neither superuser, replication, bypassrls or createrole \
                         nor a role of the server's own, such as pg_monitor"
                    ))
                    .at("privileges"));
                }
                grant.privileges.push(name.clone());
            }
            for pattern in &decl.paths {
                if !pattern.starts_with('/') {
                    return Err(invalid(format!("grants.{plugin}.paths: {pattern:?} is not absolute")).at("paths"));
                }
                grant.paths.push(glob(pattern, true).map_err(about("paths"))?);
            }
            for argv in &decl.exec {
                grant.exec.push(command_pattern(&format!("grants.{plugin}.exec"), argv).map_err(about("exec"))?);
            }
            for argv in &decl.exec_read {
                let pattern = command_pattern(&format!("grants.{plugin}.exec_read"), argv);
                grant.exec_read.push(pattern.map_err(about("exec_read"))?);
            }
        }
        Ok(grant)
    }

    /// The plugin that the grant is for.
    #[must_use]
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    /// Decides. Every read, every proposal and every performed effect comes by here.
    ///
    /// # Errors
    /// `denied`, with the lines that would grant it.
    pub fn decide(&self, access: Access<'_>) -> Result<(), Fault> {
        match access {
            Access::Read(path) | Access::Write(path) => self.path(path, matches!(access, Access::Write(_))),
            Access::Exec(argv) => self.command(argv, &self.exec, "exec"),
            Access::Probe(argv) => self.command(argv, &self.exec_read, "exec_read"),
            Access::Database { maintenance: true, .. } => Ok(()),
            Access::Database { name, maintenance: false } => self.database(name, "look at"),
            Access::Network(object) => self.object(object, "look at"),
            Access::Records(rrset) => self.records(rrset, "look at"),
        }
    }

    /// Decides on an effect: every path and command in it.
    ///
    /// # Errors
    /// `denied`, with the lines that would grant it.
    pub fn decide_effect(&self, body: &EffectBody) -> Result<(), Fault> {
        self.attributes(body)?;
        match body {
            EffectBody::Exec { argv, cwd, env, .. } => {
                self.decide(Access::Exec(argv))?;
                self.environment(env)?;
                cwd.as_deref().map_or(Ok(()), |cwd| self.decide(Access::Read(cwd)))
            }
            EffectBody::PutFile { path, validate, backup, .. } => {
                self.decide(Access::Write(path))?;
                if let Some(suffix) = backup {
                    if suffix.is_empty() || suffix.contains('/') {
                        return Err(invalid(format!("backup suffix {suffix:?} is empty or holds a slash")));
                    }
                    self.decide(Access::Write(&format!("{path}{suffix}")))?;
                }
                validate.as_deref().map_or(Ok(()), |argv| self.decide(Access::Exec(argv)))
            }
            EffectBody::Sql(statement) => self.statement(statement),
            EffectBody::Network(effect) => self.network_effect(effect),
            EffectBody::Dns(effect) => self.records(effect.rrset(), "write"),
            other => other.path().map_or(Ok(()), |path| self.decide(Access::Write(path))),
        }
    }

    /// What is not granted, with the lines that would grant that and nothing else.
    fn denied(&self, message: String, key: &str, value: &str) -> Fault {
        self.denied_but_by(message, key, &globset::escape(value))
    }

    /// The same where what would grant it is a pattern.
    fn denied_but_by(&self, message: String, key: &str, pattern: &str) -> Fault {
        Fault::new("denied", Blame::Target, message).hint(self.lines(key, &quoted(pattern)))
    }

    /// What to write so that a key holds one more value, as TOML has it. A table stands once in
    /// a file, and a key once in it: what is there is added to.
    fn lines(&self, key: &str, value: &str) -> String {
        let Self { plugin, .. } = self;
        match &self.keys {
            Some(keys) if keys.contains(key) => {
                format!("add to `{key}` of [grants.{plugin}] in tidelock.toml:\n\n{key} = [{value}]")
            }
            Some(_) => format!("add to [grants.{plugin}] in tidelock.toml:\n\n{key} = [{value}]"),
            None => format!("grant it in tidelock.toml:\n\n{}{key} = [{value}]", self.table()),
        }
    }

    /// The head of a new table.
    fn table(&self) -> String {
        format!("[grants.{}]\ntargets = [{}]\n", self.plugin, quoted(&self.target))
    }
}

/// The refusal of a plugin that was granted nothing on a target, with the lines that would grant
/// what it wants: `wanted` asks a grant that opens nothing.
#[must_use]
pub fn ungranted(plugin: &str, target: &str, wanted: impl FnOnce(&Grant) -> Result<(), Fault>) -> Fault {
    let nothing = Grant { plugin: plugin.to_owned(), target: target.to_owned(), ..Grant::default() };
    let refused = wanted(&nothing).err();
    // Each refusal is a sentence of its own: by it the lines are found that would grant that and nothing else.
    let (who, on) = (format!("plugin {plugin} "), format!(" on target {target}"));
    let what = refused.as_ref().map_or_else(String::new, |fault| {
        let of_it = fault.message.strip_prefix(&who).map(|rest| rest.strip_suffix(&on).unwrap_or(rest));
        of_it.map_or_else(|| format!(": {}", fault.message), |of_it| format!(": it {of_it}"))
    });
    let hint = refused
        .and_then(|fault| fault.hint)
        .unwrap_or_else(|| format!("grant it in tidelock.toml:\n\n{}", nothing.table().trim_end()));
    Fault::new("denied", Blame::Target, format!("plugin {plugin} has no grant on target {target}{what}")).hint(hint)
}

/// Compiles a pattern. With `path`, `*` stops at slashes.
///
/// # Errors
/// `invalid`, quoting the pattern.
pub fn glob(pattern: &str, path: bool) -> Result<GlobMatcher, Fault> {
    GlobBuilder::new(pattern)
        .literal_separator(path)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| invalid(format!("pattern {pattern:?}: {}", error.kind())))
}

fn invalid(message: String) -> Fault {
    Fault::new("invalid", Blame::Target, message)
}

/// Adds to a fault the key of `[grants.NAME]` that it is about.
pub(crate) fn about(key: &'static str) -> impl Fn(Fault) -> Fault {
    move |fault| fault.at(key)
}

/// A text as TOML writes it. JSON's strings are strings of TOML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
