//! Users and roles as the server keeps them: one table for both, and one for who has which role.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::spec::Names;
use tidelock_sdk::sql::{Rows, Server, Value, grant_role, revoke_role};
use tidelock_sdk::{Error, Machine, Proposals, Step, Subject};

use crate::missing;
use crate::name::{Owns, RoleName, Who, quoted};
use crate::own::Own;

/// Without what changes by itself, and without privileges, which are kept there too and are
/// another kind's.
const ACCOUNTS: &str = "SELECT User, Host, several, passwordless, \
    JSON_REMOVE(Priv, '$.access', '$.version_id', '$.password_last_changed') AS Priv FROM mysql.global_priv";

const MEMBERS: &str = "SELECT User, Host, Role, Admin_option FROM mysql.roles_mapping";

/// The number of the oldest version whose accounts are understood: 10.5.2.
const OLDEST: u32 = 100_502;

/// An account.
pub(crate) struct Account {
    /// What the server keeps of it.
    pub(crate) kept: Map<String, Json>,
    /// Whether it can be signed in to in several ways.
    pub(crate) several: bool,
    /// Whether anybody may sign in to it without a password.
    pub(crate) passwordless: bool,
    /// Whether it is a role.
    pub(crate) is_role: bool,
    /// The roles that it is a member of, and whether it may make others members.
    pub(crate) member_of: BTreeMap<String, bool>,
}

/// All accounts of a server.
pub(crate) struct Accounts {
    rows: Rc<Rows>,
    all: BTreeMap<Who, Account>,
}

impl Accounts {
    /// Asks for all, once per call.
    ///
    /// # Errors
    /// The server is none that is understood, or refuses.
    pub(crate) fn of(machine: &Machine<'_>) -> Result<Rc<Self>, Error> {
        understood(machine)?;
        let home = Server::of(machine).home()?;
        home.query_as(ACCOUNTS, &[], |rows| {
            let mut all = BTreeMap::new();
            for row in &**rows {
                let kept: Json = row.get("Priv")?;
                let kept = kept.as_object().cloned().unwrap_or_default();
                let is_role = kept.get("is_role") == Some(&json!(true));
                let (several, passwordless) = (row.get("several")?, row.get("passwordless")?);
                let who = Who { name: row.get("User")?, host: row.get("Host")? };
                all.insert(who, Account { kept, several, passwordless, is_role, member_of: BTreeMap::new() });
            }
            for row in &*home.query(MEMBERS, &[])? {
                let who = Who { name: row.get("User")?, host: row.get("Host")? };
                if let Some(account) = all.get_mut(&who) {
                    account.member_of.insert(row.get("Role")?, row.get::<String>("Admin_option")? == "Y");
                }
            }
            Ok(Self { rows: Rc::clone(rows), all })
        })
    }

    /// One of them.
    pub(crate) fn get(&self, who: &Who) -> Option<&Account> {
        self.all.get(who)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Who, &Account)> {
        self.all.iter()
    }

    /// A token for one of them, or for there being none.
    pub(crate) fn seen(&self, who: &Who) -> Result<String, Error> {
        self.rows.seen(&[Value::from(&who.name), Value::from(&who.host)])
    }
}

/// Refuses a server whose tables of accounts are others.
pub(crate) fn understood(machine: &Machine<'_>) -> Result<(), Error> {
    let facts = Server::of(machine).facts()?;
    if facts.dialect == "mariadb" && facts.number >= OLDEST {
        return Ok(());
    }
    Err(Error::target(
        "unsupported",
        format!(
            "this server is {} {}; accounts and privileges are understood of MariaDB 10.5.2 and later",
            facts.dialect, facts.version
        ),
    ))
}

/// Accounts that the server makes for itself or is set up with.
pub(crate) fn servers_own(who: &Who) -> bool {
    matches!((who.name.as_str(), who.host.as_str()), ("mariadb.sys", _) | ("root", _) | ("mysql", "localhost"))
        || who.is_public()
}

/// What a membership allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Whether the member may make others members. Not, unless said.
    #[serde(default)]
    admin: bool,
}

/// Memberships by role: `[staff, admins]`, or `{ staff: {}, admins: { admin: true } }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Members(Names<RoleName, Options>);

impl Members {
    /// The names of the roles.
    pub(crate) fn roles(&self) -> impl Iterator<Item = &RoleName> {
        self.0.0.keys()
    }

    /// The names alone, as a list.
    pub(crate) fn exactly(&self) -> Vec<String> {
        self.0.0.keys().map(ToString::to_string).collect()
    }

    fn get(&self, role: &str) -> Option<&Options> {
        self.0.0.iter().find(|(name, _)| name.as_str() == role).map(|(_, options)| options)
    }
}

/// Memberships as an observed spec has them.
pub(crate) fn held(account: &Account) -> Json {
    account
        .member_of
        .iter()
        .map(|(role, admin)| (role.clone(), json!({ "admin": admin })))
        .collect::<Map<_, _>>()
        .into()
}

/// Memberships as a person would write them.
pub(crate) fn said(account: &Account) -> Option<Json> {
    let plain = account.member_of.values().all(|admin| !admin);
    match account.member_of.len() {
        0 => None,
        _ if plain => Some(json!(account.member_of.keys().collect::<Vec<_>>())),
        _ => {
            let one = |(role, admin): (&String, &bool)| {
                (role.clone(), if *admin { json!({ "admin": true }) } else { json!({}) })
            };
            Some(account.member_of.iter().map(one).collect::<Map<_, _>>().into())
        }
    }
}

/// What brings memberships about: those to be taken back, and those to be granted, each with
/// whether it is about the admin option.
#[derive(Default)]
pub(crate) struct Moves {
    revoke: Vec<(String, bool)>,
    grant: Vec<(String, bool)>,
}

impl Moves {
    /// What lies between what is there and what is wanted.
    pub(crate) fn of(wanted: &Members, last: Option<&Members>, owns: Owns, there: Option<&Account>) -> Self {
        let nothing = BTreeMap::new();
        let there = there.map_or(&nothing, |account| &account.member_of);
        let mut moves = Self::default();
        for (role, admin) in there {
            let ours = owns == Owns::All || last.is_some_and(|last| last.get(role).is_some());
            match wanted.get(role) {
                None if ours => moves.revoke.push((role.clone(), false)),
                Some(options) if *admin && !options.admin => moves.revoke.push((role.clone(), true)),
                _ => {}
            }
        }
        for (role, options) in &wanted.0.0 {
            let held = there.get(role.as_str());
            if held.is_none() || (options.admin && held == Some(&false)) {
                moves.grant.push((role.to_string(), options.admin));
            }
        }
        moves
    }

    /// Why they cannot be performed: a role that is nowhere, one that is ours to keep, or one that
    /// is not ours to give.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub(crate) fn barred(
        &self,
        who: &Who,
        machine: &Machine<'_>,
        propose: &Proposals<'_>,
    ) -> Result<Option<Step>, Error> {
        let (accounts, own) = (Accounts::of(machine)?, Own::of(machine)?);
        let roles = || accounts.iter().filter(|(_, account)| account.is_role).map(|(role, _)| role);
        let role = |name: &str| Who { name: name.to_owned(), host: String::new() };
        for (name, _) in &self.grant {
            if let Some(waits) = missing::waits(&role(name), roles(), propose) {
                return Ok(Some(waits));
            }
        }
        if let Some((name, _)) = self.revoke.iter().find(|(name, admin)| !admin && own.is(who) && own.uses(name)) {
            return Ok(Some(Step::Refused(own.keeps(&format!("the role {name}"), who))));
        }
        let admin = |name: &str| {
            let ours = own.all().into_iter();
            ours.filter_map(|one| accounts.get(&one)).any(|one| one.member_of.get(name) == Some(&true))
        };
        // Who made a role, or is none of the server's accounts, is not known to be without it.
        let known = accounts.get(own.who()).is_some();
        let both = self.revoke.iter().chain(&self.grant);
        let mut lacks = both.filter(|(name, _)| known && accounts.get(&role(name)).is_some() && !admin(name));
        Ok(lacks.next().map(|(name, _)| {
            let account = own.who();
            let message = format!(
                "Tidelock signs in as {account}, which may make nobody a member of {name}, nor end that; an administrator \
                 lets it with: GRANT {} TO {} WITH ADMIN OPTION",
                quoted('`', name),
                account.words()
            );
            Step::Refused(Error::target("denied", message))
        }))
    }

    /// Proposes them; what is to go first.
    ///
    /// # Errors
    /// The host takes one for none.
    pub(crate) fn propose(self, who: &Who, propose: &Proposals<'_>) -> Result<(), Error> {
        for (role, admin) in self.revoke {
            propose.add(revoke_role(&role).from(who.grantee()).with_option(admin))?;
        }
        for (role, admin) in self.grant {
            propose.add(grant_role(&role).to(who.grantee()).with_option(admin))?;
        }
        Ok(())
    }
}

/// What was seen, of all fields, cut down to those that somebody manages and those that name
/// the thing.
pub(crate) fn managed(subject: &Subject, naming: &[&str], all: Map<String, Json>) -> Json {
    let keep = |key: &str| naming.contains(&key) || subject.manages(&format!("/{key}"));
    Json::Object(all.into_iter().filter(|(key, _)| keep(key)).collect())
}
