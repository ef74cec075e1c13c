//! What is to be taken back and granted, from what is held now, what is wanted and what was
//! granted before.

use tidelock_sdk::effect::Effect;
use tidelock_sdk::sql::statement::Grant as GrantStatement;
use tidelock_sdk::sql::{Privilege, Server, Value, grant, identity, revoke};
use tidelock_sdk::{Action, Change, Error, Machine, Proposals, Step};

use super::held::{Held, On};
use super::{GrantSpec, rights};
use crate::missing;
use crate::name::{Owns, Who};
use crate::own::Own;
use crate::privileges::{Level, OPTION, Set, difference, listed};

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
        && let Some(waits) = missing::waits(&who, held.accounts(), propose)
    {
        return Ok(waits);
    }
    if !found.grant.is_empty() && !may_come_later(&on, &found.grant) && !is_there(&on, machine)? {
        let word = on.level.word();
        return Ok(Step::Waits {
            on: identity::of(word, [&on.database, &on.name]),
            why: format!(
                "there is no {word} {} in {} yet; what is granted on it follows once it is there",
                on.name, on.database
            ),
        });
    }
    let own = Own::of(machine)?;
    if let Some(refused) = rights::refused(&own, &held, &who, &on, &found) {
        return Ok(Step::Refused(refused));
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

/// Whether the server takes privileges on a table that is not there: with the one that lets the grantee
/// make it.
fn may_come_later(on: &On, grant: &Set) -> bool {
    on.level == Level::Table && grant.contains("CREATE") && !grant.iter().any(|privilege| privilege.contains(" ("))
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
