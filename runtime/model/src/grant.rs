//! What the operator gave, and the one function that decides by it.

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use crate::effect::{EffectBody, shown};
use crate::error::{Blame, Fault};
use crate::name::Identity;
use crate::network::{NetworkEffect, NetworkGrant, ObjectName};
use crate::sql::{Act, SqlEffect, is_privilege};

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
}

/// The grants of one plugin on one target, and the paths that no grant opens.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    plugin: String,
    target: String,
    paths: Vec<GlobMatcher>,
    exec: Vec<Vec<WordPattern>>,
    exec_read: Vec<Vec<WordPattern>>,
    env: Vec<GlobMatcher>,
    special_modes: bool,
    databases: Vec<GlobMatcher>,
    sql: Vec<GlobMatcher>,
    privileges: Vec<String>,
    network: NetworkGrant,
    /// Tidelock's own files: refused whatever `paths` says. Absolute, as the
    /// *target* sees them.
    own: Vec<String>,
}

#[derive(Debug, Clone)]
enum WordPattern {
    /// The word itself.
    Exact(String),
    /// A word that fits, and that no wildcard made into an option or a path elsewhere.
    Fits(GlobMatcher),
    Rest,
}

impl Grant {
    /// Joins what was granted to a plugin on a target. `own` are paths that stay shut.
    ///
    /// # Errors
    /// A pattern that cannot be read, or a path pattern that is not absolute.
    pub fn new<'a>(
        plugin: &str,
        target: &str,
        decls: impl IntoIterator<Item = &'a GrantDecl>,
        own: Vec<String>,
    ) -> Result<Self, Fault> {
        let mut grant = Self { plugin: plugin.to_owned(), target: target.to_owned(), own, ..Self::default() };
        for decl in decls {
            grant.special_modes |= decl.special_modes;
            grant.network.add(plugin, decl)?;
            for pattern in &decl.env {
                grant.env.push(glob(pattern, false)?);
            }
            for pattern in &decl.databases {
                grant.databases.push(glob(pattern, false)?);
            }
            for pattern in &decl.sql {
                grant.sql.push(glob(pattern, true)?);
            }
            for name in &decl.privileges {
                if !is_privilege(name) {
                    return Err(invalid(format!(
                        "grants.{plugin}.privileges: {name:?} is neither superuser, replication, bypassrls or createrole \
                         nor a role of the server's own, such as pg_monitor"
                    )));
                }
                grant.privileges.push(name.clone());
            }
            for pattern in &decl.paths {
                if !pattern.starts_with('/') {
                    return Err(invalid(format!("grants.{plugin}.paths: {pattern:?} is not absolute")));
                }
                grant.paths.push(glob(pattern, true)?);
            }
            for argv in &decl.exec {
                grant.exec.push(command_pattern(&format!("grants.{plugin}.exec"), argv)?);
            }
            for argv in &decl.exec_read {
                grant.exec_read.push(command_pattern(&format!("grants.{plugin}.exec_read"), argv)?);
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
            other => other.path().map_or(Ok(()), |path| self.decide(Access::Write(path))),
        }
    }

    /// Where a statement is performed, and each thing that it names must be granted. What it
    /// touches beside that (a role whose membership changes) is part of the same right; what it
    /// takes from elsewhere (a template, an owner, a role that is joined) is not.
    fn statement(&self, statement: &SqlEffect) -> Result<(), Fault> {
        if let Some(database) = &statement.database {
            self.database(database, "change anything in")?;
            if matches!(&statement.act, Act::Grant(grant) if grant.is_on_pattern()) {
                self.every_database(database)?;
            }
        }
        let touches = statement.touches();
        let both = matches!(statement.act, Act::Rename { .. });
        for identity in touches.iter().take(if both { touches.len() } else { 1 }) {
            if self.sql.iter().any(|pattern| pattern.is_match(identity.as_str())) {
                continue;
            }
            let message = format!("plugin {} may not change {identity} on target {}", self.plugin, self.target);
            return Err(self.denied(message, "sql", identity.as_str()));
        }
        for identity in statement.leans_on() {
            if !self.sql.iter().any(|pattern| pattern.is_match(identity.as_str())) {
                let message = format!("plugin {} may not use {identity} on target {}", self.plugin, self.target);
                return Err(self.denied(message, "sql", identity.as_str()));
            }
        }
        for name in statement.powers() {
            if !self.privileges.contains(&name) {
                let message = format!("plugin {} may not give anybody {name} on target {}", self.plugin, self.target);
                return Err(self.denied(message, "privileges", &name));
            }
        }
        if let (Some(role), Some(membership)) = (statement.joins(), touches.first()) {
            self.joins(&role, membership)?;
        }
        Ok(())
    }

    /// Who joins a role may do what it may. So the role is granted itself, or the membership by
    /// a pattern that names the role in full: a wildcard there stands for roles of the grant.
    fn joins(&self, role: &Identity, membership: &Identity) -> Result<(), Fault> {
        let names_it = |pattern: &GlobMatcher| {
            let text = pattern.glob().glob();
            let last = text.rsplit_once('/').map_or(text, |(_, last)| last);
            pattern.is_match(membership.as_str()) && !last.contains(['*', '?', '[', ']', '{', '}', '\\'])
        };
        let open = self.sql.iter().any(|pattern| pattern.is_match(role.as_str()) || names_it(pattern));
        // Which of the server's own are open, `privileges` says.
        let own =
            role.as_str().strip_prefix("role:").is_some_and(|name| self.privileges.iter().any(|open| open == name));
        if open || own {
            return Ok(());
        }
        let message =
            format!("plugin {} may not make anybody a member of {role} on target {}", self.plugin, self.target);
        Err(self.denied(message, "sql", membership.as_str()))
    }

    /// The object itself, and every link that it would be joined to.
    fn network_effect(&self, effect: &NetworkEffect) -> Result<(), Fault> {
        self.object(&effect.object(), "write")?;
        for name in effect.leans_on() {
            self.object(&ObjectName::Link { name: name.to_owned() }, "use")?;
        }
        Ok(())
    }

    fn database(&self, name: &str, what: &str) -> Result<(), Fault> {
        if self.databases.iter().any(|pattern| pattern.is_match(name)) {
            return Ok(());
        }
        let message = format!("plugin {} may not {what} the database {name} on target {}", self.plugin, self.target);
        Err(self.denied(message, "databases", name))
    }

    /// A pattern means databases that no list of names knows of.
    fn every_database(&self, like: &str) -> Result<(), Fault> {
        if self.databases.iter().any(|pattern| matches!(pattern.glob().glob(), "*" | "**")) {
            return Ok(());
        }
        let message = format!(
            "plugin {} may not grant anything on all databases like {like} on target {}",
            self.plugin, self.target
        );
        Err(self.denied(message, "databases", "").hint(format!(
            "grant it in tidelock.toml:\n\n[grants.{}]\ntargets = [{}]\ndatabases = [\"*\"]",
            self.plugin,
            quoted(&self.target)
        )))
    }

    fn denied(&self, message: String, key: &str, value: &str) -> Fault {
        Fault::new("denied", Blame::Target, message).hint(format!(
            "grant it in tidelock.toml:\n\n[grants.{}]\ntargets = [{}]\n{key} = [{}]",
            self.plugin,
            quoted(&self.target),
            quoted(&globset::escape(value))
        ))
    }

    fn object(&self, object: &ObjectName, verb: &str) -> Result<(), Fault> {
        let Err((key, value)) = self.network.opens(object) else { return Ok(()) };
        let (plugin, target) = (&self.plugin, &self.target);
        Err(Fault::new("denied", Blame::Target, format!("plugin {plugin} may not {verb} {object} on target {target}"))
            .hint(format!(
                "grant it in tidelock.toml:\n\n[grants.{plugin}]\ntargets = [{}]\n{key} = [{}]",
                quoted(target),
                quoted(&value)
            )))
    }

    fn path(&self, path: &str, write: bool) -> Result<(), Fault> {
        well_formed(path)?;
        let verb = if write { "write" } else { "read" };
        if self.own.iter().any(|own| within(path, own) || (write && within(own, path))) {
            return Err(Fault::new(
                "denied",
                Blame::Target,
                format!("{path} holds Tidelock's own files; no grant lets a plugin {verb} it"),
            ));
        }
        if self.paths.iter().any(|pattern| pattern.is_match(path)) {
            return Ok(());
        }
        Err(Fault::new(
            "denied",
            Blame::Target,
            format!("plugin {} may not {verb} {path} on target {}", self.plugin, self.target),
        )
        .hint(format!(
            "grant it in tidelock.toml:\n\n[grants.{}]\ntargets = [{}]\npaths = [{}]",
            self.plugin,
            quoted(&self.target),
            quoted(&globset::escape(path))
        )))
    }

    /// A grant is for words; a variable can make the same words do something else, so
    /// each is granted by name.
    fn environment(&self, env: &[(String, String)]) -> Result<(), Fault> {
        for (name, value) in env {
            let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !plain || value.contains('\0') {
                return Err(invalid(format!("{name:?} cannot be the name of an environment variable")));
            }
            if !self.env.iter().any(|pattern| pattern.is_match(name)) {
                let message =
                    format!("plugin {} may not set the variable {name} on target {}", self.plugin, self.target);
                return Err(Fault::new("denied", Blame::Target, message).hint(format!(
                    "if no value of it can make a granted command run something else, grant it in tidelock.toml:\n\n[grants.{}]\ntargets = [{}]\nenv = [\"{name}\"]",
                    self.plugin,
                    quoted(&self.target)
                )));
            }
        }
        Ok(())
    }

    /// A file that runs with its owner's rights is a grant of its own.
    fn attributes(&self, body: &EffectBody) -> Result<(), Fault> {
        let attributes = match body {
            EffectBody::PutFile { attributes, .. }
            | EffectBody::SetAttributes { attributes, .. }
            | EffectBody::MakeDirectory { attributes, .. } => attributes,
            EffectBody::Link { .. }
            | EffectBody::Remove { .. }
            | EffectBody::Exec { .. }
            | EffectBody::Sql(_)
            | EffectBody::Network(_) => {
                return Ok(());
            }
        };
        match attributes.mode {
            Some(mode) if mode & 0o6000 != 0 && !self.special_modes => {
                let message = format!(
                    "plugin {} may not set the mode {mode:04o} on target {}: it runs programs with their owner's rights",
                    self.plugin, self.target
                );
                Err(Fault::new("denied", Blame::Target, message).at("/mode").hint(format!(
                    "if that is meant, grant it in tidelock.toml:\n\n[grants.{}]\ntargets = [{}]\nspecial_modes = true",
                    self.plugin,
                    quoted(&self.target)
                )))
            }
            _ => Ok(()),
        }
    }

    fn command(&self, argv: &[String], granted: &[Vec<WordPattern>], key: &str) -> Result<(), Fault> {
        if let Some(program) = argv.first() {
            well_formed(program)?;
        }
        if granted.iter().any(|pattern| fits(pattern, argv)) {
            return Ok(());
        }
        let words = argv.iter().map(|word| quoted(&globset::escape(word))).collect::<Vec<_>>().join(", ");
        let when = if key == "exec_read" { " while a plan is made" } else { "" };
        Err(Fault::new(
            "denied",
            Blame::Target,
            format!("plugin {} may not run `{}`{when} on target {}", self.plugin, shown(argv), self.target),
        )
        .hint(format!(
            "grant it in tidelock.toml:\n\n[grants.{}]\ntargets = [{}]\n{key} = [[{words}]]",
            self.plugin,
            quoted(&self.target)
        )))
    }
}

/// A pattern of a command, word by word.
#[derive(Debug, Clone)]
pub struct CommandPattern(Vec<WordPattern>);

impl CommandPattern {
    /// Reads one; `key` is where the config has it.
    ///
    /// # Errors
    /// A pattern that cannot be read.
    pub fn new(key: &str, argv: &[String]) -> Result<Self, Fault> {
        command_pattern(key, argv).map(Self)
    }

    /// Whether a command is meant.
    #[must_use]
    pub fn fits(&self, argv: &[String]) -> bool {
        fits(&self.0, argv)
    }
}

/// Reads a pattern of a command.
fn command_pattern(key: &str, argv: &[String]) -> Result<Vec<WordPattern>, Fault> {
    let mut words = Vec::new();
    for (i, word) in argv.iter().enumerate() {
        if word == "**" {
            if i == 0 || i + 1 != argv.len() {
                return Err(invalid(format!("{key}: `**` may only end a command")));
            }
            words.push(WordPattern::Rest);
        } else {
            words.push(match is_glob(word) {
                true => WordPattern::Fits(glob(word, true)?),
                false => WordPattern::Exact(word.clone()),
            });
        }
    }
    if !argv.first().is_some_and(|program| program.starts_with('/')) {
        return Err(invalid(format!("{key}: a command starts with an absolute path")));
    }
    Ok(words)
}

/// Whether a pattern stands for more than itself.
fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{', '\\'])
}

/// A text as TOML writes it. JSON's strings are strings of TOML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether `path` is `folder` or lies below it.
#[must_use]
pub fn within(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Checks that a path is absolute and holds no empty, `.` or `..` part and no NUL.
///
/// # Errors
/// `invalid`.
pub fn well_formed(path: &str) -> Result<(), Fault> {
    let bad = |why: &str| Err(invalid(format!("path {path:?} {why}")));
    let Some(rest) = path.strip_prefix('/') else { return bad("is not absolute") };
    if path.contains('\0') {
        return bad("holds a NUL");
    }
    if path.len() > 4095 {
        return bad("is longer than 4095 bytes");
    }
    if path != "/" && rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return bad("holds an empty, `.` or `..` part");
    }
    Ok(())
}

fn fits(pattern: &[WordPattern], argv: &[String]) -> bool {
    for (i, part) in pattern.iter().enumerate() {
        let fit = match (part, argv.get(i)) {
            (WordPattern::Rest, _) => return true,
            (_, None) => false,
            (WordPattern::Exact(exact), Some(word)) => exact == word,
            (WordPattern::Fits(glob), Some(word)) => {
                let option = word.starts_with('-') && !glob.glob().glob().starts_with('-');
                let climbs = word.split('/').any(|part| part == "..");
                !word.is_empty() && !option && !climbs && glob.is_match(word)
            }
        };
        if !fit {
            return false;
        }
    }
    pattern.len() == argv.len()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        let decl = GrantDecl {
            targets: vec!["web-1".into()],
            paths: vec!["/etc/app/**".into(), "/etc/motd".into(), "/var/lib/tidelock/**".into()],
            exec: vec![
                vec!["/usr/sbin/nginx".into(), "-t".into()],
                vec!["/bin/systemctl".into(), "reload".into(), "*".into()],
                vec!["/bin/echo".into(), "**".into()],
                vec!["/opt/scripts/*".into()],
                vec!["/bin/cat".into(), "/etc/app/*".into()],
            ],
            exec_read: vec![vec!["/bin/systemctl".into(), "is-active".into(), "*".into()]],
            env: vec!["APP_*".into()],
            databases: vec!["app*".into()],
            sql: vec!["role:app*".into(), "schema:app/**".into(), "grant:*/app/**".into()],
            ..GrantDecl::default()
        };
        Grant::new("server", "web-1", [&decl], vec!["/var/lib/tidelock".into()]).unwrap()
    }

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn paths_are_denied_unless_granted() {
        let grant = grant();
        assert!(grant.decide(Access::Write("/etc/motd")).is_ok());
        assert!(grant.decide(Access::Write("/etc/app/a/b")).is_ok());
        let fault = grant.decide(Access::Write("/etc/shadow")).unwrap_err();
        assert_eq!(fault.code, "denied");
        assert!(fault.hint.unwrap().contains("paths = [\"/etc/shadow\"]"));
    }

    #[test]
    fn paths_that_climb_are_refused_before_patterns_are_asked() {
        for path in ["/etc/app/../shadow", "etc/motd", "/etc//motd", "/etc/app/./x", "/etc/app/\0", ""] {
            assert_eq!(grant().decide(Access::Read(path)).unwrap_err().code, "invalid", "{path:?}");
        }
    }

    #[test]
    fn own_files_stay_shut_whatever_is_granted() {
        let grant = grant();
        for path in ["/var/lib/tidelock", "/var/lib/tidelock/tidelock.db", "/var/lib"] {
            assert!(grant.decide(Access::Write(path)).unwrap_err().message.contains("own files"), "{path}");
        }
    }

    #[test]
    fn what_may_be_run_may_not_be_run_while_planning() {
        let grant = grant();
        let reload = argv(&["/bin/systemctl", "reload", "nginx"]);
        let look = argv(&["/bin/systemctl", "is-active", "nginx"]);
        assert!(grant.decide(Access::Exec(&reload)).is_ok() && grant.decide(Access::Probe(&look)).is_ok());
        assert!(grant.decide(Access::Exec(&look)).is_err(), "a look is no right to run it as an effect");
        let fault = grant.decide(Access::Probe(&reload)).unwrap_err();
        assert!(fault.message.contains("while a plan is made"), "{fault}");
        let hint = fault.hint.unwrap();
        assert!(hint.contains(r#"exec_read = [["/bin/systemctl", "reload", "nginx"]]"#), "{hint}");
        let lines = hint.split_once("\n\n").unwrap().1;
        assert!(lines.starts_with("[grants.server]\ntargets = [\"web-1\"]\n"), "{lines}");
        assert!(grant.decide(Access::Probe(&argv(&["/bin/systemctl", "is-active", "--root=/x"]))).is_err());
    }

    #[test]
    fn statements_are_granted_by_what_they_touch_and_where() {
        use crate::sql::{Dialect, Object, Statement, Verb};
        let execute = |class: &str, name: &[&str], database: Option<&str>| {
            let name = name.iter().map(ToString::to_string).collect();
            let statement = Statement { verb: Verb::Drop, object: Object { class: class.into(), name }, parts: vec![] };
            let database = database.map(ToOwned::to_owned);
            let act = Act::Execute(statement);
            EffectBody::Sql(Box::new(SqlEffect { dialect: Dialect::Postgres, database, act, unread: false }))
        };
        let decide = |body: &EffectBody| grant().decide_effect(body);
        assert!(decide(&execute("role", &["app_1"], None)).is_ok());
        assert!(decide(&execute("schema", &["s"], Some("app"))).is_ok());
        for (class, name, database) in [
            ("role", "other", None),
            ("role", "app/x", Some("postgres")),
            ("schema", "s", Some("apple")),
            ("schema", "s", Some("other")),
            ("database", "app", None),
        ] {
            let fault = decide(&execute(class, &[name], database)).unwrap_err();
            assert_eq!(fault.code, "denied", "{class} {name}");
        }
        let fault = decide(&execute("database", &["a*b"], None)).unwrap_err();
        assert!(fault.hint.unwrap().ends_with(r#"sql = ["database:a[*]b"]"#));
        let rename = |from: &str, to: &str| {
            let object = Object { class: "role".into(), name: vec![from.into()] };
            let act = Act::Rename { object, to: to.into() };
            EffectBody::Sql(Box::new(SqlEffect { dialect: Dialect::Postgres, database: None, act, unread: false }))
        };
        assert!(decide(&rename("app", "app2")).is_ok());
        assert!(decide(&rename("other", "app")).is_err() && decide(&rename("app", "other")).is_err());
        let look = |name, maintenance| grant().decide(Access::Database { name, maintenance });
        assert!(look("apple", false).is_ok() && look("postgres", true).is_ok() && look("postgres", false).is_err());
    }

    #[test]
    fn what_a_statement_takes_from_elsewhere_is_granted_too() {
        use crate::sql::{Dialect, Granted, Grantee, Object, Part, Statement, Verb};
        let decl = |privileges: &[&str], sql: &[&str]| GrantDecl {
            databases: vec!["shop*".into()],
            sql: sql.iter().map(ToString::to_string).collect(),
            privileges: privileges.iter().map(ToString::to_string).collect(),
            ..GrantDecl::default()
        };
        let sql = [
            "role:shop*",
            "database:shop*",
            "schema:shop*/**",
            "table:shop/sales/*",
            "membership:shop*/*",
            "user:shop*",
        ];
        let grant = Grant::new("postgres", "db", [&decl(&[], &sql)], vec![]).unwrap();
        let text = |text: &str| Part::Text(text.into());
        let name = |name: &str| Part::Identifier(vec![name.into()]);
        let body = |dialect, database: Option<&str>, act| {
            let database = database.map(ToOwned::to_owned);
            EffectBody::Sql(Box::new(SqlEffect { dialect, database, act, unread: false }))
        };
        let execute = |verb, class: &str, on: &[&str], parts: Vec<Part>| {
            let object = Object { class: class.into(), name: on.iter().map(ToString::to_string).collect() };
            let database = matches!(class, "schema" | "table").then_some("shop");
            body(Dialect::Postgres, database, Act::Execute(Statement { verb, object, parts }))
        };
        let member = |of: &str, who: &str| {
            let grant = crate::sql::Grant {
                revoke: false,
                granted: Granted::Membership(of.into()),
                grantee: Grantee::Role(who.into()),
                with_option: false,
                options: vec![],
                granted_by: None,
                cascade: false,
            };
            body(Dialect::Postgres, None, Act::Grant(grant))
        };
        let (create, alter) = (Verb::Create, Verb::Alter);
        let copy = |parts| execute(create, "database", &["shop_copy"], parts);
        for good in [
            copy(vec![text("TEMPLATE"), name("shop"), text("OWNER"), name("shop_web")]),
            copy(vec![text("TEMPLATE"), name("template0"), text("TABLESPACE"), name("pg_default")]),
            copy(vec![text("TEMPLATE DEFAULT OWNER ="), Part::Literal("shop_web".into())]),
            execute(Verb::Reassign, "owned", &["shop_web"], vec![text("TO"), name("shop_owner")]),
            execute(alter, "role", &["shop_web"], vec![text("LOGIN NOSUPERUSER NOCREATEROLE")]),
            execute(create, "schema", &["s"], vec![text("AUTHORIZATION"), name("shop_web")]),
            member("shop_owner", "shop_web"),
        ] {
            grant.decide_effect(&good).unwrap_or_else(|fault| panic!("{}: {fault}", good.summary()));
        }
        for (bad, hint) in [
            (copy(vec![text("TEMPLATE"), name("payroll")]), r#"sql = ["database:payroll"]"#),
            (copy(vec![text("TEMPLATE ="), Part::Literal("payroll".into())]), r#"sql = ["database:payroll"]"#),
            (copy(vec![text("OWNER"), name("shop_web"), text("TEMPLATE"), name("payroll")]), "database:payroll"),
            (copy(vec![text("TEMPLATE"), name("shop"), name("payroll")]), "database:payroll"),
            (copy(vec![text("TABLESPACE"), name("fast")]), "tablespace:fast"),
            (copy(vec![text("owner to"), name("postgres")]), r#"sql = ["role:postgres"]"#),
            (execute(alter, "database", &["shop"], vec![text("OWNER TO"), name("postgres")]), "role:postgres"),
            (execute(create, "schema", &["s"], vec![text("AUTHORIZATION"), name("other")]), "role:other"),
            (execute(alter, "table", &["sales", "t"], vec![text("OWNER TO"), name("postgres")]), "role:postgres"),
            (execute(alter, "table", &["sales", "t"], vec![text("SET SCHEMA"), name("hr")]), "table:shop/hr/t"),
            (execute(Verb::Reassign, "owned", &["shop_web"], vec![text("TO"), name("postgres")]), "role:postgres"),
            (execute(alter, "role", &["shop_web"], vec![text("login SuperUser")]), r#"privileges = ["superuser"]"#),
            (execute(create, "role", &["shop_web"], vec![text("REPLICATION")]), r#"privileges = ["replication"]"#),
            (execute(create, "role", &["shop_web"], vec![text("BYPASSRLS")]), r#"privileges = ["bypassrls"]"#),
            (execute(create, "role", &["shop_web"], vec![text("CREATEROLE")]), r#"privileges = ["createrole"]"#),
            (member("postgres", "shop_web"), r#"sql = ["membership:shop_web/postgres"]"#),
            (member("pg_execute_server_program", "shop_web"), r#"privileges = ["pg_execute_server_program"]"#),
        ] {
            let fault = grant.decide_effect(&bad).expect_err(&bad.summary());
            assert!(
                fault.code == "denied" && fault.hint.as_ref().unwrap().contains(hint),
                "{}: {fault:?}",
                bad.summary()
            );
        }
        let maria = |class: &str, on: &[&str], parts| {
            let object = Object { class: class.into(), name: on.iter().map(ToString::to_string).collect() };
            body(Dialect::MariaDb, None, Act::Execute(Statement { verb: create, object, parts }))
        };
        let admin = Part::Identifier(vec!["root".into(), "localhost".into()]);
        let fault = grant.decide_effect(&maria("role", &["shop_r"], vec![text("WITH ADMIN"), admin])).unwrap_err();
        assert!(fault.hint.unwrap().contains("user:root@localhost"));
        let role = maria("user", &["shop", "%"], vec![text("DEFAULT ROLE"), name("dba")]);
        assert!(grant.decide_effect(&role).unwrap_err().hint.unwrap().contains("role:dba"));
        // What names the role in full opens it; of the server's own, `privileges` does.
        let sql = ["role:**", "membership:shop*/staff", "membership:shop*/*"];
        let wide = Grant::new("postgres", "db", [&decl(&["superuser", "pg_monitor"], &sql)], vec![]).unwrap();
        assert!(wide.decide_effect(&member("pg_monitor", "shop_web")).is_ok());
        let fault = wide.decide_effect(&member("pg_read_server_files", "shop_web")).unwrap_err();
        assert!(fault.hint.unwrap().contains(r#"privileges = ["pg_read_server_files"]"#));
        assert!(wide.decide_effect(&execute(alter, "role", &["x"], vec![text("SUPERUSER")])).is_ok());
        let narrow = Grant::new("postgres", "db", [&decl(&[], &sql[1..])], vec![]).unwrap();
        assert!(narrow.decide_effect(&member("staff", "shop_web")).is_ok());
        assert!(narrow.decide_effect(&member("postgres", "shop_web")).is_err());
        for wrong in ["SUPERUSER", "postgres", "login", "*"] {
            let fault = Grant::new("postgres", "db", [&decl(&[wrong], &[])], vec![]).unwrap_err();
            assert!(fault.message.contains("grants.postgres.privileges"), "{fault}");
        }
    }

    #[test]
    fn variables_are_granted_by_name() {
        let exec = |name: &str| EffectBody::Exec {
            argv: argv(&["/usr/sbin/nginx", "-t"]),
            cwd: None,
            env: vec![(name.to_owned(), "x".to_owned())],
            timeout_ms: 1,
        };
        for name in ["LD_PRELOAD", "PATH", "PERL5OPT", "BASH_FUNC_ls%%", "a=b", ""] {
            assert!(grant().decide_effect(&exec(name)).is_err(), "{name}");
        }
        assert!(grant().decide_effect(&exec("APP_MODE")).is_ok());
    }

    #[test]
    fn programs_and_wildcards_stay_where_they_were_meant() {
        let grant = grant();
        for bad in [
            &["/opt/scripts/../../bin/sh"][..],
            &["/opt/scripts/deep/er"],
            &["/opt/scripts/"],
            &["/bin/systemctl", "reload", ""],
            &["/bin/systemctl", "reload", "--force"],
            &["/bin/systemctl", "reload", "../../x"],
            &["/bin/cat", "/etc/app/../shadow"],
        ] {
            assert!(grant.decide(Access::Exec(&argv(bad))).is_err(), "{bad:?}");
        }
        assert!(grant.decide(Access::Exec(&argv(&["/opt/scripts/deploy"]))).is_ok());
        assert!(grant.decide(Access::Exec(&argv(&["/bin/cat", "/etc/app/x"]))).is_ok());
    }

    #[test]
    fn set_user_id_is_a_grant_of_its_own() {
        let set = |mode| EffectBody::SetAttributes {
            path: "/etc/motd".into(),
            attributes: crate::effect::Attributes { mode: Some(mode), ..Default::default() },
        };
        assert!(grant().decide_effect(&set(0o1777)).is_ok());
        for mode in [0o4755, 0o2755, 0o6755] {
            assert_eq!(grant().decide_effect(&set(mode)).unwrap_err().code, "denied", "{mode:o}");
        }
    }

    #[test]
    fn what_a_hint_says_to_paste_grants_that_and_nothing_else() {
        for path in ["/z\"] exec = [[\"/bin/sh\",\"**\"]] #/y", "/**/y", "/etc/{a,b}"] {
            let hint = grant().decide(Access::Write(path)).unwrap_err().hint.unwrap();
            let line = hint.lines().last().unwrap();
            let pasted: Vec<String> = serde_json::from_str(line.strip_prefix("paths = ").unwrap()).unwrap();
            let decl = GrantDecl { paths: pasted, ..GrantDecl::default() };
            let grant = Grant::new("server", "web-1", [&decl], vec![]).unwrap();
            assert!(grant.decide(Access::Write(path)).is_ok(), "{path}");
            for other in ["/z", "/x/y", "/etc/a"] {
                assert!(grant.decide(Access::Write(other)).is_err(), "{path} opens {other}");
            }
        }
    }

    #[test]
    fn commands_match_word_by_word() {
        let grant = grant();
        assert!(grant.decide(Access::Exec(&argv(&["/usr/sbin/nginx", "-t"]))).is_ok());
        assert!(grant.decide(Access::Exec(&argv(&["/bin/systemctl", "reload", "nginx"]))).is_ok());
        assert!(grant.decide(Access::Exec(&argv(&["/bin/echo", "a", "b"]))).is_ok());
        for bad in [&["/usr/sbin/nginx"][..], &["/usr/sbin/nginx", "-t", "-x"], &["/bin/sh", "-c", "x"], &[]] {
            assert!(grant.decide(Access::Exec(&argv(bad))).is_err(), "{bad:?}");
        }
    }
}
