//! Database servers: which databases may be opened, and what may be changed in them.

use globset::GlobMatcher;

use super::Grant;
use crate::error::{Blame, Fault};
use crate::name::Identity;
use crate::sql::{Act, EVERYTHING, Reach, SqlEffect, granted_classes};

/// A class that nothing has would open nothing, and nobody would know why.
pub(super) fn known_class(plugin: &str, pattern: &str) -> Result<(), Fault> {
    let class = pattern.split(':').next().unwrap_or(pattern);
    if class.contains(['*', '?', '[', '{'])
        || (class.len() < pattern.len() && granted_classes().any(|known| known == class))
    {
        return Ok(());
    }
    let known: Vec<String> = granted_classes().collect();
    let message = format!(
        "grants.{plugin}.sql: {class:?} in {pattern:?} is no class of things in databases; there are {}",
        known.join(", ")
    );
    Err(Fault::new("invalid", Blame::Target, message).at("sql"))
}

impl Grant {
    /// Where a statement is performed, and each thing that it names must be granted. What it
    /// touches beside that (a role whose membership changes) is part of the same right; what it
    /// takes from elsewhere (a template, an owner, a role that is joined) is not.
    pub(super) fn statement(&self, statement: &SqlEffect) -> Result<(), Fault> {
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
        if let (Some(setting), Some(identity)) = (statement.reserved(), touches.first()) {
            self.reserved(setting, identity)?;
        }
        Ok(())
    }

    /// A setting that is a superuser's to choose, or by which programs are loaded, is granted by its name.
    fn reserved(&self, setting: &str, identity: &Identity) -> Result<(), Fault> {
        let names_it = |pattern: &GlobMatcher| {
            let last = pattern.glob().glob().rsplit('/').next().unwrap_or_default();
            pattern.is_match(identity.as_str()) && last.eq_ignore_ascii_case(setting)
        };
        if self.sql.iter().any(names_it) {
            return Ok(());
        }
        let message = format!(
            "plugin {} may not change {identity}, a setting that no wildcard opens, on target {}",
            self.plugin, self.target
        );
        Err(self.denied(message, "sql", identity.as_str()))
    }

    /// Decides whether somebody may come to act as a role or account, by what that reaches on the server:
    /// attributes and the server's own roles are named in `privileges`, what is held on everything can be
    /// granted by the plugin, and other roles that it is a member of are granted as if they were joined. `taken` are attributes that it is about to lose.
    ///
    /// # Errors
    /// `denied`, with the lines that would grant it.
    pub fn decide_reach(&self, role: &str, reach: &Reach, taken: impl Fn(&str) -> bool) -> Result<(), Fault> {
        for other in reach.of(role) {
            let itself = other == role;
            let who = if itself { role.to_owned() } else { format!("{role}, a member of {other}") };
            for power in reach.powers(other).filter(|power| !itself || !taken(power)) {
                let message = format!(
                    "plugin {} may not let anybody act as {who}, which has {power}, on target {}",
                    self.plugin, self.target
                );
                let grants_it = format!("grant:{other}//system");
                let (open, key, value) = match power {
                    EVERYTHING => (self.sql.iter().any(|open| open.is_match(&grants_it)), "sql", grants_it.as_str()),
                    _ => (self.privileges.iter().any(|open| open == power), "privileges", power),
                };
                if !open {
                    return Err(self.denied(message, key, value));
                }
            }
            if !itself && !reach.predefined(other) {
                let membership = Identity::new(format!("membership:{role}/{other}"));
                self.joins(&Identity::new(format!("role:{other}")), &membership).map_err(|fault| {
                    let message =
                        format!("plugin {} may not let anybody act as {who}, on target {}", self.plugin, self.target);
                    Fault { message, ..fault }
                })?;
            }
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

    pub(super) fn database(&self, name: &str, what: &str) -> Result<(), Fault> {
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
        Err(self.denied_but_by(message, "databases", "*"))
    }
}
