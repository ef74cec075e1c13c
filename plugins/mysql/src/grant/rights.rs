//! Whether the account that Tidelock performs as may do what a grant takes: it gives away only what it
//! holds and may grant on, and loses nothing that it could not give back to itself.

use tidelock_sdk::Error;
use tidelock_sdk::sql::privileges::Difference;

use super::held::{Held, On};
use crate::name::{Who, like, quoted};
use crate::own::Own;
use crate::privileges::{Level, OPTION, Set};

/// Why the plan does not do it, if it does not.
pub(super) fn refused(own: &Own, held: &Held, who: &Who, on: &On, found: &Difference) -> Option<Error> {
    let lost = lost(own, held, who, on, &found.revoke);
    if !lost.is_empty() {
        let lost: Vec<&str> = lost.iter().map(String::as_str).collect();
        return Some(own.keeps(&format!("{} on {on}", lost.join(", ")), who));
    }
    // Who is none of the server's accounts is one that somebody else proves: what they may is not known.
    if !held.has(own.who()) {
        return None;
    }
    let may = may(own, held, on);
    let wanted = found.revoke.union(&found.grant).filter(|privilege| *privilege != OPTION);
    let lacks: Vec<&str> = wanted.filter(|privilege| !covers(&may, privilege)).map(String::as_str).collect();
    let (what, needs) = match (lacks.as_slice(), may.contains(OPTION)) {
        _ if found.revoke.is_empty() && found.grant.is_empty() => return None,
        ([], true) => return None,
        ([], false) => ("to grant on what it holds".to_owned(), "USAGE".to_owned()),
        (lacks, _) => (lacks.join(", "), lacks.iter().map(|one| column_last(one)).collect::<Vec<_>>().join(", ")),
    };
    let account = own.who();
    let message = format!(
        "Tidelock signs in as {account}, which lacks the right {what} on {on}, and nobody grants or takes back what they \
         may not grant on themselves; an administrator gives it with: GRANT {needs} ON {} TO {} WITH GRANT OPTION",
        on.statement(),
        account.words(),
    );
    Some(Error::target("denied", message))
}

/// What somebody of ours would lose: not what all sessions of ours hold on everything anyway.
fn lost(own: &Own, held: &Held, who: &Who, on: &On, revoke: &Set) -> Set {
    if !own.is(who) {
        return Set::new();
    }
    let others = own.all().into_iter().filter(|one| on.level != Level::Global || one != who);
    let kept: Set = others.flat_map(|one| held.get(&one, &On::everything()).clone()).collect();
    revoke.iter().filter(|privilege| !covers(&kept, privilege)).cloned().collect()
}

/// What sessions of ours may do with a thing.
fn may(own: &Own, held: &Held, on: &On) -> Set {
    let reaches = |wider: &On| match wider.level {
        Level::Global => true,
        Level::Database if wider.like && on.like => true,
        Level::Database if wider.like => like(&wider.database, &on.database),
        Level::Database => wider.database == on.database && !on.like,
        _ => wider == on,
    };
    let ours = own.all();
    let sets = held.iter().filter(|(who, wider, _)| ours.contains(who) && reaches(wider));
    sets.flat_map(|(_, _, set)| set.clone()).collect()
}

/// Whether a privilege is among a set, on the whole where it is on a column.
fn covers(set: &Set, privilege: &str) -> bool {
    set.contains(privilege) || privilege.split_once(" (").is_some_and(|(word, _)| set.contains(word))
}

/// `UPDATE (price)` as a statement has it.
fn column_last(privilege: &str) -> String {
    match privilege.split_once(" (") {
        Some((word, column)) => format!("{word} ({})", quoted('`', column.strip_suffix(')').unwrap_or(column))),
        None => privilege.to_owned(),
    }
}
