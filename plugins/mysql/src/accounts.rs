//! Users and roles as the server keeps them: one table for both, and one for who has which role.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::effect::Effect;
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::spec::Names;
use tidelock_sdk::sql::statement::Grant;
use tidelock_sdk::sql::{Rows, Server, Value, grant_role, revoke_role};
use tidelock_sdk::{Error, Machine, Proposals, Subject};

use crate::name::{Owns, RoleName, Who};

/// Without what changes by itself, and without privileges, which are kept there too and are
/// another kind's.
const ACCOUNTS: &str = "SELECT User, Host, several, \
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
                let several = row.get("several")?;
                let who = Who { name: row.get("User")?, host: row.get("Host")? };
                all.insert(who, Account { kept, several, is_role, member_of: BTreeMap::new() });
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

/// Proposes what brings memberships about; what is to go first.
pub(crate) fn memberships(
    who: &Who,
    wanted: &Members,
    last: Option<&Members>,
    owns: Owns,
    there: Option<&Account>,
    propose: &Proposals<'_>,
) -> Result<(), Error> {
    let nothing = BTreeMap::new();
    let there = there.map_or(&nothing, |account| &account.member_of);
    let to = |grant: Effect<Grant>, admin: bool| propose.add(grant.with_option(admin));
    for (role, admin) in there {
        let ours = owns == Owns::All || last.is_some_and(|last| last.get(role).is_some());
        match wanted.get(role) {
            None if ours => to(revoke_role(role).from(who.grantee()), false)?,
            Some(options) if *admin && !options.admin => to(revoke_role(role).from(who.grantee()), true)?,
            _ => {}
        }
    }
    for (role, options) in &wanted.0.0 {
        let held = there.get(role.as_str());
        if held.is_none() || (options.admin && held == Some(&false)) {
            to(grant_role(role.as_str()).to(who.grantee()), options.admin)?;
        }
    }
    Ok(())
}

/// What was seen, of all fields, cut down to those that somebody manages and those that name
/// the thing.
pub(crate) fn managed(subject: &Subject, naming: &[&str], all: Map<String, Json>) -> Json {
    let keep = |key: &str| naming.contains(&key) || subject.manages(&format!("/{key}"));
    Json::Object(all.into_iter().filter(|(key, _)| keep(key)).collect())
}
