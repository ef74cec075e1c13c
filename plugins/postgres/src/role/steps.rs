//! What brings a role about: one statement for its attributes, one for each membership and
//! setting that differs.

use serde_json::{Map, Value as Json};
use tidelock_sdk::effect::Effect;
use tidelock_sdk::sql::statement::Execute;
use tidelock_sdk::sql::{Value, alter, create, grant_role, identity, rename, reset, revoke_role, set, set_comment};
use tidelock_sdk::{Action, Change, Error, Machine, Proposals, Step};

use super::members::Options;
use super::{RoleSpec, SWITCHES, fields, removal, roles};
use crate::name::{Owns, together::ROLES};
use crate::settings::{Catalog, Setting, Settings};

pub(super) fn steps(change: &Change<RoleSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
    if change.action == Action::Delete {
        return removal::steps(change, machine, propose);
    }
    let spec = change.wanted()?;
    let name = spec.name.as_str();
    let rows = roles(machine)?;
    let catalog = Catalog::of(machine)?;
    let mut there = rows.find("rolname", name)?;
    if let (None, Some(old)) = (there, &spec.renamed_from)
        && let Some(row) = rows.find("rolname", old.as_str())?
    {
        let seen = rows.seen(&[Value::from(old.as_str())])?;
        propose.add(rename("role", [old.as_str()], name).seen(seen).together(ROLES))?;
        there = Some(row);
    }
    let found = there.map(|row| fields(row, Some(&catalog))).transpose()?;
    attributes(change, spec, found.as_ref(), propose)?;
    let empty = Map::new();
    let found = found.as_ref().unwrap_or(&empty);
    let last = change.last_applied();
    memberships(spec, last.as_ref(), found, propose)?;
    settings(spec, last.as_ref(), found, &strays(change), propose)?;
    let comment =
        spec.comment.as_deref().filter(|wanted| found.get("comment").and_then(Json::as_str).unwrap_or("") != *wanted);
    if let Some(comment) = comment {
        let comment = Some(comment).filter(|comment| !comment.is_empty());
        propose.add(set_comment("role", [name], comment).together(ROLES))?;
    }
    Ok(Step::Proposed)
}

fn attributes(
    change: &Change<RoleSpec>,
    spec: &RoleSpec,
    found: Option<&Map<String, Json>>,
    propose: &Proposals<'_>,
) -> Result<(), Error> {
    let name = [spec.name.as_str()];
    let mut statement = if found.is_some() { alter("role", name) } else { create("role", name) };
    for (field, _, word) in SWITCHES {
        let there = match found {
            Some(found) => found.get(*field).and_then(Json::as_bool),
            // What CREATE ROLE does unasked. Some words are refused to those who may not turn
            // them on, even to leave them off.
            None => Some(*field == "inherit"),
        };
        match spec.switch(field) {
            Some(wanted) if there != Some(wanted) => {
                statement = statement.text(&format!("{}{word}", if wanted { "" } else { "NO" }));
            }
            _ => {}
        }
    }
    if let Some(limit) = spec.connection_limit.map(i64::from) {
        let there = found.map_or(Some(-1), |found| found.get("connection_limit").and_then(Json::as_i64));
        if there != Some(limit) {
            statement = statement.text("CONNECTION LIMIT").integer(limit);
        }
    }
    if let Some(until) = &spec.valid_until {
        let there = found.map_or(Some(crate::until::INFINITY), |found| found.get("valid_until").and_then(Json::as_str));
        if there != Some(until.as_str()) {
            statement = statement.text("VALID UNTIL").literal(until.as_str());
        }
    }
    if let Some(password) = &spec.password
        && (found.is_none() || change.makes() || change.differs("/password"))
    {
        statement = statement.text("PASSWORD").verifier(password);
    }
    add(statement, found.is_none(), propose)
}

/// Adds a statement unless it says nothing.
fn add(statement: Effect<Execute>, makes: bool, propose: &Proposals<'_>) -> Result<(), Error> {
    if makes || !statement.is_bare() {
        propose.add(statement.together(ROLES))?;
    }
    Ok(())
}

fn memberships(
    spec: &RoleSpec,
    last: Option<&RoleSpec>,
    found: &Map<String, Json>,
    propose: &Proposals<'_>,
) -> Result<(), Error> {
    let Some(wanted) = &spec.member_of else { return Ok(()) };
    let member = spec.name.as_str();
    let there = found.get("member_of").and_then(Json::as_object);
    for (role, held) in there.into_iter().flatten() {
        let ours = last
            .and_then(|last| last.member_of.as_ref())
            .is_some_and(|last| last.0.keys().any(|name| name.as_str() == role));
        let listed = wanted.0.keys().any(|name| name.as_str() == role);
        if !listed && (ours || spec.owns == Owns::All) {
            propose.add(revoke_role(role).from(member).together(ROLES))?;
        } else if let Some(options) =
            wanted.0.iter().find(|(name, _)| name.as_str() == role).map(|(_, options)| options)
        {
            change_options(role, member, options, held, propose)?;
        }
    }
    for (role, options) in wanted.0.iter() {
        if !there.is_some_and(|there| there.contains_key(role.as_str())) {
            let mut grant = grant_role(role.as_str()).to(member).with_option(options.admin == Some(true));
            for (name, value) in [("INHERIT", options.inherit), ("SET", options.set)] {
                if let Some(value) = value {
                    grant = grant.option(name, value);
                }
            }
            propose.add(grant.together(ROLES))?;
        }
    }
    Ok(())
}

fn change_options(
    role: &str,
    member: &str,
    wanted: &Options,
    held: &Json,
    propose: &Proposals<'_>,
) -> Result<(), Error> {
    let held = |option: &str| held.get(option).and_then(Json::as_bool).unwrap_or_default();
    let admin = wanted.admin.unwrap_or_else(|| held("admin"));
    let differs = |option: &str, value: Option<bool>| value.is_some_and(|value| value != held(option));
    if differs("inherit", wanted.inherit) || differs("set", wanted.set) {
        // A grant with options says all of them.
        let mut grant = grant_role(role).to(member).with_option(admin);
        for (name, key, value) in [("INHERIT", "inherit", wanted.inherit), ("SET", "set", wanted.set)] {
            grant = grant.option(name, value.unwrap_or_else(|| held(key)));
        }
        return propose.add(grant.together(ROLES));
    }
    match (held("admin"), admin) {
        (false, true) => propose.add(grant_role(role).to(member).with_option(true).together(ROLES)),
        (true, false) => propose.add(revoke_role(role).from(member).with_option(true).together(ROLES)),
        _ => Ok(()),
    }
}

/// The names of settings that nobody speaks for, not even a `postgres.setting` of another stack.
fn strays(change: &Change<RoleSpec>) -> Vec<String> {
    let observed = change.observed.as_ref().and_then(|observed| observed.pointer("/exactly/settings"));
    let identities = observed.and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    identities.filter_map(|identity| identity::parts(identity).pop()).collect()
}

fn settings(
    spec: &RoleSpec,
    last: Option<&RoleSpec>,
    found: &Map<String, Json>,
    strays: &[String],
    propose: &Proposals<'_>,
) -> Result<(), Error> {
    let Some(wanted) = &spec.settings else { return Ok(()) };
    let there = found.get("settings").cloned().unwrap_or_default();
    let there: Settings = serde_json::from_value(there).unwrap_or_default();
    let ours = last.and_then(|last| last.settings.clone()).unwrap_or_default();
    for (name, value) in crate::setting::changes(wanted, &there, &ours, strays) {
        let identity = crate::setting::of_role(spec.name.as_str(), "", &name);
        let effect = match &value {
            Setting::Unset if crate::setting::is_kept(&identity, propose) => continue,
            Setting::Unset => reset(&name),
            value => set(&name, value.values().unwrap_or_default()),
        };
        propose.add(effect.of_role(spec.name.as_str()).together(ROLES))?;
    }
    Ok(())
}
