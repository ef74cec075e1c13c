//! `mysql.role`: roles, and the roles that they are members of.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::{create, drop};
use tidelock_sdk::{
    Action, Change, Diagnostic, Error, Field, Found, Kind, Machine, Observation, Proposals, Step, Subject,
};

use crate::accounts::{self, Account, Accounts, Members, Moves, managed};
use crate::name::{Host, Owns, RoleName, UserName, Who};
use crate::own::Own;

/// What a `mysql.role` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleSpec {
    /// Its name, without quotes.
    name: RoleName,
    /// Who may make others members when it is made: a user or a role. Without, Tidelock's own
    /// account. For whom it is later, see `member_of` of users and roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    admin: Option<Admin>,
    /// The roles that it is a member of: a list of names, or for each its options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member_of: Option<Members>,
    /// What becomes of memberships that the spec does not list.
    #[serde(default, skip_serializing_if = "Owns::is_listed")]
    owns: Owns,
    /// All memberships, where the spec owns all. Not written by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    exactly: Option<Vec<String>>,
}

/// Who may make others members of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Admin {
    /// A user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<UserName>,
    /// The user's host; `%` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<Host>,
    /// A role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<RoleName>,
}

impl Admin {
    fn who(&self) -> Option<Who> {
        match (&self.user, &self.role) {
            (Some(user), None) => Some(Who::user(user, &self.host.clone().unwrap_or_else(Host::any))),
            (None, Some(role)) if self.host.is_none() => Some(Who::role(role)),
            _ => None,
        }
    }
}

/// `mysql.role`.
pub struct Role;

impl Kind for Role {
    type Spec = RoleSpec;
    const NAME: &'static str = "role";
    const DOC: &'static str = "A role: a name for privileges, which its members have once they SET ROLE to it.";
    const WHOLE_TARGET: bool = true;

    fn fields() -> Vec<Field> {
        let mut fields: Vec<Field> = ["/owns", "/admin"].map(|path| Field::new(path).how()).into();
        fields.push(Field::new("/member_of").owns_listed());
        fields
    }

    fn identity(spec: &RoleSpec) -> String {
        format!("role:{}", Who::role(&spec.name).part())
    }

    fn requires(spec: &RoleSpec) -> Vec<String> {
        let roles = spec.member_of.iter().flat_map(Members::roles).filter_map(|role| Who::role(role).identity());
        roles.chain(spec.admin.iter().filter_map(|admin| admin.who()?.identity())).collect()
    }

    fn check(spec: &RoleSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        if Who::role(&spec.name).is_public() {
            let remark = Diagnostic::error("everybody is no role that is made; grant to `role: public`");
            remarks.push(remark.at("/name"));
        }
        if spec.member_of.as_ref().is_some_and(|members| members.roles().any(|role| *role == spec.name)) {
            remarks.push(Diagnostic::error("a role cannot be a member of itself").at("/member_of"));
        }
        if spec.admin.as_ref().is_some_and(|admin| admin.who().is_none()) {
            let remark = Diagnostic::error("an admin is either a `user`, with its `host`, or a `role`");
            remarks.push(remark.at("/admin"));
        }
        remarks
    }

    fn normalise(mut spec: RoleSpec, _: &Machine<'_>) -> Result<RoleSpec, Error> {
        spec.exactly = match spec.owns {
            Owns::All => Some(spec.member_of.as_ref().map(Members::exactly).unwrap_or_default()),
            Owns::Listed => None,
        };
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let accounts = Accounts::of(machine)?;
        let look = |subject: &Subject| {
            let who = of(&subject.identity);
            let seen = [accounts.seen(&who)?];
            Ok(match accounts.get(&who) {
                None => Observation::absent(seen),
                Some(account) => Observation::present(managed(subject, &["name"], fields(&who, account)), seen),
            })
        };
        subjects.iter().map(look).collect()
    }

    fn discover(machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        let accounts = Accounts::of(machine)?;
        let found = |(who, account): (&Who, &Account)| {
            let mut spec = Map::from_iter([("name".to_owned(), json!(who.name))]);
            spec.extend(accounts::said(account).map(|members| ("member_of".to_owned(), members)));
            Found { name: who.name.clone(), spec: Json::Object(spec), remarks: Vec::new() }
        };
        let ours = |(who, account): &(&Who, &Account)| account.is_role && !accounts::servers_own(who);
        Ok(Some(accounts.iter().filter(ours).map(found).collect()))
    }

    fn steps(change: &Change<RoleSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        let who = of(&change.identity);
        if change.action == Action::Delete {
            let own = Own::of(machine)?;
            if own.uses(&who.name) {
                return Ok(Step::Refused(own.keeps(&format!("the role {}", who.name), own.who())));
            }
            propose.add(drop("role", [who.name]))?;
            return Ok(Step::Proposed);
        }
        let spec = change.wanted()?;
        let accounts = Accounts::of(machine)?;
        let there = accounts.get(&who);
        let last = change.last_applied().and_then(|last| last.member_of);
        let moves = spec.member_of.as_ref().map(|wanted| Moves::of(wanted, last.as_ref(), spec.owns, there));
        let moves = moves.unwrap_or_default();
        if let Some(barred) = moves.barred(&who, machine, propose)? {
            return Ok(barred);
        }
        if there.is_none() {
            let made = create("role", [&who.name]);
            propose.add(match spec.admin.as_ref().and_then(Admin::who) {
                None => made,
                Some(admin) if admin.host.is_empty() => made.text("WITH ADMIN").identifier([admin.name]),
                Some(admin) => made.text("WITH ADMIN").identifier([admin.name, admin.host]),
            })?;
        }
        moves.propose(&who, propose)?;
        Ok(Step::Proposed)
    }
}

fn of(identity: &str) -> Who {
    Who::of_part(identity.strip_prefix("role:").unwrap_or_default())
}

/// All fields of a role.
fn fields(who: &Who, account: &Account) -> Map<String, Json> {
    let all = json!({
        "name": who.name,
        "member_of": accounts::held(account),
        "exactly": account.member_of.keys().collect::<Vec<_>>(),
    });
    all.as_object().cloned().unwrap_or_default()
}
