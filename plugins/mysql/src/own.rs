//! The account that Tidelock performs as. What is taken from it, or from a role that its sessions
//! begin with, it could not give back: nobody grants what they do not hold. So the plan refuses it.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::Value as Json;
use tidelock_sdk::sql::Server;
use tidelock_sdk::{Error, Machine};

use crate::accounts::Accounts;
use crate::name::{PUBLIC, Who};

/// The account, and the roles that its sessions have.
pub(crate) struct Own {
    who: Who,
    roles: BTreeSet<String>,
}

impl Own {
    /// As the server knows it. Asked once per call.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub(crate) fn of(machine: &Machine<'_>) -> Result<Rc<Self>, Error> {
        machine.once("own account", || {
            let acts_as = Server::of(machine).facts()?.acts_as;
            let (name, host) = acts_as.rsplit_once('@').unwrap_or((acts_as.as_str(), ""));
            let who = Who { name: name.to_owned(), host: host.to_owned() };
            let accounts = Accounts::of(machine)?;
            let begins = accounts.get(&who).and_then(|account| account.kept.get("default_role")).and_then(Json::as_str);
            let mut next: Vec<String> = begins.filter(|role| !role.is_empty()).map(str::to_owned).into_iter().collect();
            let mut roles = BTreeSet::new();
            while let Some(name) = next.pop() {
                let role = Who { name: name.clone(), host: String::new() };
                if roles.insert(name) {
                    next.extend(accounts.get(&role).into_iter().flat_map(|account| account.member_of.keys().cloned()));
                }
            }
            Ok(Self { who, roles })
        })
    }

    /// The account.
    pub(crate) fn who(&self) -> &Who {
        &self.who
    }

    /// Whether somebody is it, or a role that its sessions have.
    pub(crate) fn is(&self, who: &Who) -> bool {
        *who == self.who || (who.host.is_empty() && self.uses(&who.name))
    }

    /// Whether its sessions have a role.
    pub(crate) fn uses(&self, role: &str) -> bool {
        self.roles.contains(role)
    }

    /// All whose rights its sessions have.
    pub(crate) fn all(&self) -> Vec<Who> {
        let role = |name: &str| Who { name: name.to_owned(), host: String::new() };
        let roles = self.roles.iter().map(|name| role(name));
        std::iter::once(self.who.clone()).chain(roles).chain([role(PUBLIC)]).collect()
    }

    /// That something is not taken from somebody of [`Own::is`]. `what` says what, without a comma.
    pub(crate) fn keeps(&self, what: &str, from: &Who) -> Error {
        let from = if *from == self.who { "it".to_owned() } else { format!("its role {from}") };
        Error::target(
            "own-access",
            format!(
                "Tidelock signs in as {}, and this takes {what} from {from}, which it could not give back to itself: keep it \
                 in the spec; or take it away by hand, and Git follows",
                self.who
            ),
        )
    }
}
