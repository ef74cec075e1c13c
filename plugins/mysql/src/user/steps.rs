//! What brings an account about: one statement for all of its attributes, one for each role
//! that differs, and one for the role that its sessions begin with.

use serde_json::{Map, Value as Json};
use tidelock_sdk::effect::Effect;
use tidelock_sdk::sql::statement::Execute;
use tidelock_sdk::sql::{Rows, Server, Value, alter, create, drop};
use tidelock_sdk::{Action, Change, Error, Machine, Proposals, Step, nearest};

use super::{LIMITS, NATIVE, UserSpec, fields};
use crate::accounts::{Accounts, Moves};
use crate::name::Who;
use crate::own::Own;

/// What stands for a password that nobody has, by plugin. MariaDB takes `invalid` for such a hash;
/// the key of ed25519 is no point of its curve, so that nothing can be signed with it.
const NOBODYS: &[(&str, &str)] = &[(NATIVE, "invalid"), ("ed25519", "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")];

/// What runs with the rights of whoever made it, and stops when that account goes.
const DEFINED: &str = "SELECT 'view' AS class, TABLE_SCHEMA AS db, TABLE_NAME AS name FROM information_schema.views WHERE DEFINER = ? \
    UNION ALL SELECT LOWER(ROUTINE_TYPE), ROUTINE_SCHEMA, ROUTINE_NAME FROM information_schema.routines WHERE DEFINER = ? \
    UNION ALL SELECT 'trigger', TRIGGER_SCHEMA, TRIGGER_NAME FROM information_schema.triggers WHERE DEFINER = ? \
    UNION ALL SELECT 'event', EVENT_SCHEMA, EVENT_NAME FROM information_schema.events WHERE DEFINER = ? \
    ORDER BY 2, 3, 1 LIMIT 21";

const PLUGINS: &str = "SELECT PLUGIN_NAME AS name FROM information_schema.plugins \
    WHERE PLUGIN_TYPE = 'AUTHENTICATION' AND PLUGIN_STATUS = 'ACTIVE' ORDER BY 1";

pub(super) fn steps(change: &Change<UserSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
    if change.action == Action::Delete {
        let who = Who::of_part(change.identity.strip_prefix("user:").unwrap_or_default());
        let definer = Value::from(who.to_string());
        let held = Server::of(machine)
            .home()?
            .query(DEFINED, &[definer.clone(), definer.clone(), definer.clone(), definer])?;
        if !held.is_empty() {
            return Ok(Step::Refused(still_defines(&who, &held)?));
        }
        propose.add(drop("user", [who.name, who.host]))?;
        return Ok(Step::Proposed);
    }
    let spec = change.wanted()?;
    let who = spec.who();
    let accounts = Accounts::of(machine)?;
    let there = accounts.get(&who);
    let found = there.map(|account| fields(&who, account));
    if let Some(plugin) = &spec.plugin
        && found.as_ref().and_then(|found| found.get("plugin")).and_then(Json::as_str) != Some(plugin)
        && let Some(unknown) = unknown_plugin(plugin, machine)?
    {
        return Ok(Step::Refused(unknown));
    }
    let held = found.as_ref().and_then(|found| found.get("default_role")).and_then(Json::as_str).unwrap_or_default();
    let default_role = spec.default_role.as_deref().filter(|role| *role != held);
    if let Some(role) = default_role.filter(|role| !role.is_empty()) {
        let is_listed = spec.member_of.as_ref().is_some_and(|members| members.roles().any(|one| one.as_str() == role));
        if !is_listed && there.is_none_or(|there| !there.member_of.contains_key(role)) {
            let message = format!("{who} is no member of {role}, its default role: name that in `member_of`, too");
            return Ok(Step::Refused(Error::target("invalid", message).at("/default_role")));
        }
    }
    let last = change.last_applied().and_then(|last| last.member_of);
    let moves = spec.member_of.as_ref().map(|wanted| Moves::of(wanted, last.as_ref(), spec.owns, there));
    let moves = moves.unwrap_or_default();
    if let Some(barred) = moves.barred(&who, machine, propose)? {
        return Ok(barred);
    }
    if default_role.is_some() && !held.is_empty() {
        let own = Own::of(machine)?;
        if *own.who() == who {
            return Ok(Step::Refused(own.keeps(&format!("the default role {held}"), &who).at("/default_role")));
        }
    }
    attributes(change, spec, found.as_ref(), propose)?;
    moves.propose(&who, propose)?;
    if let Some(role) = default_role {
        let account = alter("user", [&who.name, &who.host]);
        propose.add(match role {
            "" => account.text("DEFAULT ROLE NONE"),
            role => account.text("DEFAULT ROLE").identifier([role]),
        })?;
    }
    Ok(Step::Proposed)
}

/// That the server has no such plugin, and which it has.
fn unknown_plugin(plugin: &str, machine: &Machine<'_>) -> Result<Option<Error>, Error> {
    let rows = Server::of(machine).home()?.query(PLUGINS, &[])?;
    let known = rows.iter().map(|row| row.get("name")).collect::<Result<Vec<String>, _>>()?;
    if known.iter().any(|name| name.eq_ignore_ascii_case(plugin)) {
        return Ok(None);
    }
    let meant = nearest(plugin, known.iter().map(String::as_str));
    let meant = meant.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    let message = format!("the server has no plugin {plugin}; those that sign in are {}{meant}", known.join(", "));
    Ok(Some(Error::target("invalid", message).at("/plugin")))
}

fn attributes(
    change: &Change<UserSpec>,
    spec: &UserSpec,
    found: Option<&Map<String, Json>>,
    propose: &Proposals<'_>,
) -> Result<(), Error> {
    let name = [spec.name.as_str(), spec.host.as_str()];
    let mut statement = if found.is_some() { alter("user", name) } else { create("user", name) };
    let field = |name: &str| found.and_then(|found| found.get(name));
    let other_plugin = spec.plugin.is_some() && field("plugin").and_then(Json::as_str) != spec.plugin.as_deref();
    let other_password = spec.password.is_some() && (found.is_none() || change.makes() || change.differs("/password"));
    // Without a word the server takes this plugin, and lets in whoever comes with no password.
    let plugin = spec.plugin.as_deref().or_else(|| found.is_none().then_some(NATIVE));
    if let Some(plugin) = plugin.filter(|_| found.is_none() || other_plugin || other_password) {
        statement = statement.text("IDENTIFIED VIA").identifier([plugin]);
        if let Some(password) = &spec.password {
            statement = statement.text("USING").verifier(password);
        } else if let Some((_, nobodys)) = NOBODYS.iter().find(|(name, _)| *name == plugin) {
            statement = statement.text("USING").literal(nobodys);
        }
    }
    if let Some(require) = &spec.require
        && field("require") != Some(&serde_json::json!(require))
        && (found.is_some() || require.said().is_some())
    {
        statement = require.say(statement);
    }
    statement = limits(spec, field("limits"), statement);
    if let Some(locked) = spec.locked
        && field("locked").and_then(Json::as_bool).unwrap_or_default() != locked
    {
        statement = statement.text(if locked { "ACCOUNT LOCK" } else { "ACCOUNT UNLOCK" });
    }
    if found.is_none() || !statement.is_bare() {
        propose.add(statement)?;
    }
    Ok(())
}

fn limits(spec: &UserSpec, found: Option<&Json>, mut statement: Effect<Execute>) -> Effect<Execute> {
    let Some(wanted) = &spec.limits else { return statement };
    let mut before = "WITH ";
    for (field, _, word) in LIMITS {
        let Some(wanted) = wanted.get(field) else { continue };
        let held = found.and_then(|found| found.get(*field)).and_then(Json::as_f64).unwrap_or_default();
        if wanted.as_f64() == Some(held) {
            continue;
        }
        statement = match wanted.as_i64() {
            // Less than nothing is a sign and a number to whoever reads the words.
            Some(number) => statement.text(&format!("{before}{word}")).integer(number),
            None => statement.text(&format!("{before}{word} {wanted}")),
        };
        before = "";
    }
    statement
}

fn still_defines(who: &Who, held: &Rows) -> Result<Error, Error> {
    let one = |row: &tidelock_sdk::sql::Row| -> Result<String, Error> {
        Ok(format!("{} {}.{}", row.get::<String>("class")?, row.get::<String>("db")?, row.get::<String>("name")?))
    };
    let mut names = held.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    let more = if names.len() > 20 { " and more" } else { "" };
    names.truncate(20);
    let message = format!(
        "{who} is the definer of {}{more}, which would stop working without the account; make them another's first",
        names.join(", ")
    );
    Ok(Error::target("refused", message))
}
