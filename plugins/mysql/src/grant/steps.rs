//! What is to be taken back and granted, from what is held now, what is wanted and what was
//! granted before.

use tidelock_sdk::effect::Effect;
use tidelock_sdk::sql::statement::Grant as GrantStatement;
use tidelock_sdk::sql::{Privilege, Server, Value, grant, identity, revoke};
use tidelock_sdk::{Action, Change, Error, Machine, Proposals, Step, nearest};

use super::GrantSpec;
use super::held::{Held, On};
use crate::name::{Owns, Who};
use crate::privileges::{Level, OPTION, Set, difference, listed};

/// So many accounts are named that may have been meant.
const MOST_NEAR: usize = 3;

const TABLES: &str =
    "SELECT TABLE_NAME AS name FROM information_schema.tables WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";
const ROUTINES: &str = "SELECT ROUTINE_NAME AS name FROM information_schema.routines \
    WHERE ROUTINE_SCHEMA = ? AND ROUTINE_NAME = ? AND ROUTINE_TYPE = ?";

pub(super) fn steps(change: &Change<GrantSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
    let last = change.last_applied();
    let gone = change.action == Action::Delete;
    let Some(spec) = (if gone { last.as_ref() } else { change.desired.as_ref() }) else {
        // Nobody knows what was granted.
        return Ok(Step::Proposed);
    };
    let held = Held::of(machine)?;
    let (who, on) = (spec.who(), spec.on());
    let wanted = if gone { Set::new() } else { spec.wanted(Server::of(machine).facts()?.number)? };
    let before = last.as_ref().map(GrantSpec::granted).unwrap_or_default();
    let found = difference(held.get(&who, &on), &wanted, &before, !gone && spec.owns == Owns::All);
    if !found.grant.is_empty()
        && !held.has(&who)
        && !is_made(&who, propose)
        && let Some(account) = who.identity()
    {
        return Ok(Step::Waits { on: account, why: nobody(&who, held.accounts()) });
    }
    if !found.grant.is_empty() && !is_there(&on, machine)? {
        let word = on.level.word();
        return Ok(Step::Waits {
            on: identity::of(word, [&on.database, &on.name]),
            why: format!(
                "there is no {word} {} in {} yet; what is granted on it follows once it is there",
                on.name, on.database
            ),
        });
    }
    let taken = listed(&found.revoke);
    if !taken.is_empty() {
        propose.add(statement(&who, &on, taken, true))?;
    }
    if found.revoke.contains(OPTION) {
        propose.add(statement(&who, &on, vec!["USAGE".into()], true).with_option(true))?;
    }
    let mut given = listed(&found.grant);
    let option = found.grant.contains(OPTION);
    if given.is_empty() && option {
        given = vec!["USAGE".into()];
    }
    if !given.is_empty() {
        propose.add(statement(&who, &on, given, false).with_option(option))?;
    }
    Ok(Step::Proposed)
}

/// Whether this plan makes an account, or may: of one that the host had to split only a part is seen.
fn is_made(who: &Who, propose: &Proposals<'_>) -> bool {
    let account = who.identity();
    let mut all = propose.all_changes().iter();
    all.any(|other| other.part || (other.action != Action::Delete && account.as_ref() == Some(&other.identity)))
}

/// That a grantee is nobody, and who was likely meant: the same user from elsewhere, or a name like it.
fn nobody<'a>(who: &Who, known: impl Iterator<Item = &'a Who>) -> String {
    let word = if who.host.is_empty() { "role" } else { "account" };
    let known: Vec<&Who> = known.collect();
    let mut near: Vec<String> =
        known.iter().filter(|other| other.name.eq_ignore_ascii_case(&who.name)).map(ToString::to_string).collect();
    if near.is_empty() {
        let alike: Vec<&Who> = known.into_iter().filter(|other| other.host.is_empty() == who.host.is_empty()).collect();
        let name = nearest(&who.name, alike.iter().map(|other| other.name.as_str()));
        near.extend(alike.iter().filter(|other| Some(other.name.as_str()) == name).map(ToString::to_string));
    }
    let more = if near.len() > MOST_NEAR { ", ..." } else { "" };
    near.truncate(MOST_NEAR);
    let near = if near.is_empty() { String::new() } else { format!("; there is {}{more}", near.join(", ")) };
    format!("there is no {word} {who}, and no spec of this plan makes it{near}")
}

/// Whether what a grant is on can be granted on: databases need not be there.
fn is_there(on: &On, machine: &Machine<'_>) -> Result<bool, Error> {
    let home = Server::of(machine).home()?;
    let name = [Value::from(&on.database), Value::from(&on.name)];
    let rows = match on.level {
        Level::Global | Level::Database => return Ok(true),
        Level::Table => home.query(TABLES, &name)?,
        level => {
            let [database, name] = name;
            home.query(ROUTINES, &[database, name, Value::from(level.word().to_ascii_uppercase())])?
        }
    };
    Ok(!rows.is_empty())
}

fn statement(who: &Who, on: &On, privileges: Vec<Privilege>, back: bool) -> Effect<GrantStatement> {
    let unfinished = if back { revoke(privileges) } else { grant(privileges) };
    let granted = match on.level {
        Level::Global => unfinished.on("system", [""; 0]),
        Level::Database if on.like => unfinished.on("table", ["*", "like"]),
        Level::Database => unfinished.on("table", ["*"]),
        level => unfinished.on(level.word(), [&on.name]),
    };
    let effect = granted.to(who.grantee());
    if on.level == Level::Global { effect } else { effect.within(&on.database) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_meant_is_named() {
        let who = |name: &str, host: &str| Who { name: name.into(), host: host.into() };
        let known = [who("app", "127.0.0.1"), who("app", "::1"), who("staff", ""), who("batch", "%")];
        let said = |name: &str, host: &str| nobody(&who(name, host), known.iter());
        assert_eq!(
            said("app", "%"),
            "there is no account app@%, and no spec of this plan makes it; there is app@127.0.0.1, app@::1"
        );
        assert!(said("bacth", "%").ends_with("; there is batch@%"), "{}", said("bacth", "%"));
        assert_eq!(said("staf", ""), "there is no role staf, and no spec of this plan makes it; there is staff");
        assert_eq!(said("reports", "%"), "there is no account reports@%, and no spec of this plan makes it");
    }
}
