//! As whom somebody can act by a statement (who signs in as a role, or becomes a member of it),
//! and what that role can do by itself and by those that it is a member of. What the server says of its
//! roles is a [`Reach`]; the operator's grant is held against it.

use std::collections::{BTreeMap, BTreeSet};

use super::leans::words;
use super::{Act, Dialect, Grant, Granted, Part, SqlEffect, Statement, Verb, identity::part};

/// What makes somebody able to sign in as a role of PostgreSQL.
const SIGNS_IN: [&str; 3] = ["LOGIN", "PASSWORD", "VALID"];
/// What makes somebody able to sign in to an account of MariaDB.
const PROVES: [&str; 3] = ["IDENTIFIED", "PASSWORD", "UNLOCK"];
/// That something is held on everything that a MariaDB server has: what gives it opens it.
pub(crate) const EVERYTHING: &str = "privileges on everything";

/// What the roles and accounts of a server have beyond what they were granted, and whom they are members
/// of. Their names are those that they have in identities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    attributes: BTreeMap<String, Vec<String>>,
    member_of: BTreeMap<String, BTreeSet<String>>,
}

impl Reach {
    /// Takes roles with what only `privileges` opens (the server's own have their own name), and pairs of a member and the role that it is in.
    pub fn new(
        attributes: impl IntoIterator<Item = (String, Vec<String>)>,
        memberships: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut member_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (member, of) in memberships {
            member_of.entry(member).or_default().insert(of);
        }
        Self { attributes: attributes.into_iter().collect(), member_of }
    }

    /// A role, and all that it is a member of, one way or another.
    #[must_use]
    pub fn of<'r>(&'r self, role: &'r str) -> Vec<&'r str> {
        let mut found = vec![role];
        let mut next = 0;
        while let Some(role) = found.get(next) {
            for of in self.member_of.get(*role).into_iter().flatten() {
                if !found.contains(&of.as_str()) {
                    found.push(of);
                }
            }
            next += 1;
        }
        found
    }

    /// Takes the accounts of MariaDB that hold something on everything.
    pub fn of_accounts(
        powerful: impl IntoIterator<Item = String>,
        memberships: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        Self::new(powerful.into_iter().map(|who| (who, vec![EVERYTHING.to_owned()])), memberships)
    }

    /// Whether a role is one of the server's own.
    pub(crate) fn predefined(&self, role: &str) -> bool {
        self.powers(role).any(|power| power == role)
    }

    /// What a role is able to do that only `privileges` opens.
    pub(crate) fn powers(&self, role: &str) -> impl Iterator<Item = &str> {
        self.attributes.get(role).into_iter().flatten().map(String::as_str)
    }
}

impl SqlEffect {
    /// The roles or accounts as which somebody can act by it who could not before, as identities name them.
    #[must_use]
    pub fn lends(&self) -> Vec<String> {
        let says = |words: &[&str]| self.words().iter().any(|word| words.contains(&word.as_str()));
        match &self.act {
            Act::Execute(Statement { verb: Verb::Create | Verb::Alter, object, .. }) => {
                let signs_in = match (self.dialect, object.class.as_str()) {
                    (Dialect::Postgres, "role") => says(&SIGNS_IN),
                    (Dialect::MariaDb | Dialect::MySql, "user") => says(&PROVES),
                    _ => false,
                };
                let name = object.name.iter().map(|name| part(name)).collect::<Vec<_>>().join("@");
                if signs_in { vec![name] } else { vec![] }
            }
            // Functions that run as their owner run as the new one.
            Act::Execute(Statement { verb: Verb::Reassign, parts, .. }) => {
                let heirs = parts.iter().filter_map(|part| match part {
                    Part::Identifier(names) => names.first(),
                    _ => None,
                });
                heirs.map(|name| part(name)).collect()
            }
            Act::Grant(Grant { revoke: false, granted: Granted::Membership(of), .. }) => vec![part(of)],
            _ => vec![],
        }
    }

    /// Whether it takes an attribute from the role that it is about.
    #[must_use]
    pub fn takes(&self, attribute: &str) -> bool {
        self.words().iter().any(|word| word.strip_prefix("NO").is_some_and(|off| off.eq_ignore_ascii_case(attribute)))
    }

    /// The names of a role before and after, where it gives one another name.
    #[must_use]
    pub fn renames_role(&self) -> Option<(&str, &str)> {
        match &self.act {
            Act::Rename { object, to } if object.class == "role" => Some((object.name.first()?, to)),
            _ => None,
        }
    }

    fn words(&self) -> Vec<String> {
        let Act::Execute(statement) = &self.act else { return vec![] };
        let texts =
            statement.parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(text) } else { None });
        texts.flat_map(|text| words(text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_role_reaches_has_an_end() {
        let pair = |member: &str, of: &str| (member.to_owned(), of.to_owned());
        let reach = Reach::new(
            [("boss", "superuser"), ("pg_monitor", "pg_monitor")].map(|(who, what)| (who.into(), vec![what.into()])),
            [pair("a", "b"), pair("b", "c"), pair("c", "a"), pair("b", "boss"), pair("c", "pg_monitor")],
        );
        assert_eq!(reach.of("a"), ["a", "b", "boss", "c", "pg_monitor"]);
        assert_eq!(reach.of("nobody"), ["nobody"]);
        assert_eq!(reach.powers("boss").collect::<Vec<_>>(), ["superuser"]);
        assert_eq!(reach.powers("pg_monitor").collect::<Vec<_>>(), ["pg_monitor"]);
    }
}
