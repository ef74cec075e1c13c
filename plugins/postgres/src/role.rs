//! `postgres.role`: roles with their attributes, memberships and settings.

mod members;
mod removal;
mod steps;

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::{Row, Rows, Secret, Server, Value, identity};
use tidelock_sdk::{
    Change, Diagnostic, Error, Field, Found, Kind, Machine, Observation, Present, Proposals, Readiness, SecretProbe,
    Step, Subject,
};

use crate::discover;
use crate::missing;
use crate::name::{self, Name, Owns};
use crate::place::managed;
use crate::settings::{Catalog, Settings};
use crate::until::{SPELLED, Until};

use members::Members;

/// What a `postgres.role` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleSpec {
    /// Its name, without quotes.
    pub(crate) name: Name,
    /// Whether it may sign in. Not, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login: Option<bool>,
    /// Whether it passes by all checks. Not, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    superuser: Option<bool>,
    /// Whether it may create databases. Not, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    createdb: Option<bool>,
    /// Whether it may create roles. Not, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    createrole: Option<bool>,
    /// Whether it has the privileges of the roles that it is a member of without SET ROLE. Left
    /// alone where absent; a new role has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inherit: Option<bool>,
    /// Whether it may start replication. Not, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replication: Option<bool>,
    /// Whether it passes by row-level security. Not, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bypassrls: Option<bool>,
    /// How many connections it may have at a time; -1 for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    connection_limit: Option<i32>,
    /// Until when its password works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    valid_until: Option<Until>,
    /// Its password, by the name of a secret: `{ $secret: app-db }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<Secret>,
    /// The roles that it is a member of: a list of names, or for each its options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member_of: Option<Members>,
    /// Settings of its sessions, in all databases. For one database see `postgres.setting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<Settings>,
    /// A comment; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    /// What becomes of memberships and settings that the spec does not list.
    #[serde(default, skip_serializing_if = "Owns::is_listed")]
    owns: Owns,
    /// The name that it had. It is renamed, never dropped and created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) renamed_from: Option<Name>,
    /// When it is deleted: who gets what it owns, in every database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reassign_owned_to: Option<Name>,
    /// When it is deleted: whether what it owns and was not given away is dropped, with its
    /// privileges, in every database.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) drop_owned: bool,
    /// All that is to be there, where the spec owns all. Not written by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    exactly: Option<Exactly>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exactly {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member_of: Option<Vec<String>>,
    /// The identities of settings that the spec does not list: none are to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<Vec<String>>,
}

/// `postgres.role`.
pub struct Role;

/// Attributes that are on or off: the field, the column, and the words that turn it on.
pub(crate) const SWITCHES: &[(&str, &str, &str)] = &[
    ("login", "rolcanlogin", "LOGIN"),
    ("superuser", "rolsuper", "SUPERUSER"),
    ("createdb", "rolcreatedb", "CREATEDB"),
    ("createrole", "rolcreaterole", "CREATEROLE"),
    ("inherit", "rolinherit", "INHERIT"),
    ("replication", "rolreplication", "REPLICATION"),
    ("bypassrls", "rolbypassrls", "BYPASSRLS"),
];

impl RoleSpec {
    fn switch(&self, field: &str) -> Option<bool> {
        match field {
            "login" => self.login,
            "superuser" => self.superuser,
            "createdb" => self.createdb,
            "createrole" => self.createrole,
            "inherit" => self.inherit,
            "replication" => self.replication,
            "bypassrls" => self.bypassrls,
            _ => None,
        }
    }
}

impl Kind for Role {
    type Spec = RoleSpec;
    const NAME: &'static str = "role";
    const DOC: &'static str = "A role: attributes, password, memberships and settings. A role that owns objects is not \
        dropped unless the spec says what becomes of them.";
    const HOLDS_DATA: bool = true;
    const WHOLE_TARGET: bool = true;

    fn fields() -> Vec<Field> {
        let off = ["/login", "/superuser", "/createdb", "/createrole", "/replication", "/bypassrls"];
        let how = ["/owns", "/renamed_from", "/reassign_owned_to", "/drop_owned"];
        let mut fields: Vec<Field> = off.map(|path| Field::new(path).default_value(false)).into();
        fields.extend(how.map(|path| Field::new(path).how()));
        fields.extend([
            Field::new("/password").sensitive(),
            Field::new("/member_of").owns_listed(),
            Field::new("/settings").owns_listed(),
            // A setting that some `postgres.setting` keeps is nobody's stray.
            Field::new("/exactly/settings").strays(),
        ]);
        fields
    }

    fn identity(spec: &RoleSpec) -> String {
        name::role(spec.name.as_str())
    }

    fn requires(spec: &RoleSpec) -> Vec<String> {
        // The old name stays in the ledger until this stands: it is released, not dropped.
        let old = spec.renamed_from.iter().map(|role| name::role(role.as_str()));
        rests_on(spec).into_iter().chain(old).collect()
    }

    fn parts(spec: &RoleSpec) -> Vec<String> {
        let settings = spec.settings.iter().flat_map(Settings::keys);
        settings.map(|name| crate::setting::of_role(spec.name.as_str(), "", &name.to_ascii_lowercase())).collect()
    }

    fn check(spec: &RoleSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        if spec.name.as_str().starts_with("pg_") {
            let remark = Diagnostic::error("names that begin with pg_ belong to the server");
            remarks.push(remark.at("/name").hint("a predefined role is granted with `member_of`, not declared"));
        }
        if matches!(spec.name.as_str(), "public" | "none") {
            remarks.push(Diagnostic::error("no role can have this name").at("/name"));
        }
        remarks.extend(name::connection_limit(spec.connection_limit));
        if spec.password.is_some() && spec.login != Some(true) {
            remarks.push(Diagnostic::warning("a password is of no use without `login: true`").at("/password"));
        }
        if spec.member_of.as_ref().is_some_and(|members| members.0.contains_key(&spec.name)) {
            remarks.push(Diagnostic::error("a role cannot be a member of itself").at("/member_of"));
        }
        remarks
    }

    fn normalise(mut spec: RoleSpec, machine: &Machine<'_>) -> Result<RoleSpec, Error> {
        if let Some(members) = &mut spec.member_of {
            members.normalise(Server::of(machine).facts()?.number)?;
        }
        if let Some(settings) = &spec.settings {
            spec.settings = Some(Catalog::of(machine)?.spell_all(settings, "/settings")?);
        }
        spec.exactly = (!spec.owns.is_listed()).then(|| Exactly {
            member_of: spec.member_of.as_ref().map(|members| members.0.keys().map(String::from).collect()),
            settings: spec.settings.as_ref().map(|_| Vec::new()),
        });
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let rows = roles(machine)?;
        let known = rows.by_key::<String>("rolname")?;
        let speaks = |subject: &Subject| subject.manages("/settings") || subject.manages("/exactly");
        let catalog = subjects.iter().any(speaks).then(|| Catalog::of(machine));
        let catalog = catalog.transpose()?;
        let look = |subject: &Subject| {
            let name = identity::parts(&subject.identity).concat();
            let seen = rows.seen(&[Value::from(&name)])?;
            match known.get(&name) {
                Some(row) => present(subject, row, catalog.as_deref(), seen),
                None => Ok(Observation::absent([seen])),
            }
        };
        subjects.iter().map(look).collect()
    }

    fn discover(machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        let rows = roles(machine)?;
        let catalog = Catalog::of(machine)?;
        let mut found = Vec::new();
        for row in rows.iter() {
            found.extend(discover::role(fields(row, Some(&catalog))?, machine)?);
        }
        Ok(Some(found))
    }

    fn steps(change: &Change<RoleSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        if let Some(waits) = crate::renames::first::<Role>(change, machine, propose)? {
            return Ok(waits);
        }
        let rests_on = change.desired.as_ref().map(rests_on).unwrap_or_default();
        if let Some(waits) = missing::first(change, &rests_on, machine, propose)? {
            return Ok(waits);
        }
        steps::steps(change, machine, propose)
    }
}

/// What must be there before a role can be as it is to be: those that it is a member of.
fn rests_on(spec: &RoleSpec) -> Vec<String> {
    let members = spec.member_of.iter().flat_map(|members| members.0.keys());
    members.map(|role| name::role(role.as_str())).collect()
}

/// All roles, one row each with all that there is to know; asked once per call.
fn roles(machine: &Machine<'_>) -> Result<Rc<Rows>, Error> {
    let server = Server::of(machine);
    let options = if server.facts()?.number >= 160_000 {
        ", 'inherit', bool_or(m.inherit_option), 'set', bool_or(m.set_option)"
    } else {
        ""
    };
    let query = format!(
        "SELECT r.rolname, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolinherit, r.rolcanlogin, r.rolreplication, \
         r.rolbypassrls, r.rolconnlimit, \
         CASE WHEN isfinite(r.rolvaliduntil) THEN to_char(r.rolvaliduntil AT TIME ZONE 'UTC', {SPELLED}) \
         ELSE 'infinity' END AS valid_until, \
         coalesce(shobj_description(r.oid, 'pg_authid'), '') AS comment, \
         (SELECT json_object_agg(o.role, o.options ORDER BY o.role) FROM ( \
             SELECT g.rolname AS role, json_build_object('admin', bool_or(m.admin_option){options}) AS options \
             FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid GROUP BY g.rolname \
         ) o) AS member_of, \
         (SELECT s.setconfig FROM pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0) AS settings \
         FROM pg_roles r"
    );
    Ok(server.home()?.query(&query, &[])?)
}

/// All fields of a role.
fn fields(row: &Row, catalog: Option<&Catalog>) -> Result<Map<String, Json>, Error> {
    let mut all = Map::new();
    all.insert("name".into(), json!(row.get::<String>("rolname")?));
    for (field, column, _) in SWITCHES {
        all.insert((*field).into(), json!(row.get::<bool>(column)?));
    }
    all.insert("connection_limit".into(), json!(row.get::<i64>("rolconnlimit")?));
    all.insert("valid_until".into(), json!(row.get::<String>("valid_until")?));
    all.insert("comment".into(), json!(row.get::<String>("comment")?));
    let members: Json = row.get::<Option<Json>>("member_of")?.unwrap_or_else(|| json!({}));
    let kept: Vec<String> = row.get::<Option<Vec<String>>>("settings")?.unwrap_or_default();
    let settings = catalog.map(|catalog| catalog.read(&kept)).unwrap_or_default();
    let mut member_names: Vec<&String> = members.as_object().into_iter().flat_map(Map::keys).collect();
    member_names.sort();
    all.insert("exactly".into(), json!({ "member_of": member_names }));
    all.insert("member_of".into(), members);
    all.insert("settings".into(), json!(settings));
    Ok(all)
}

fn present(subject: &Subject, row: &Row, catalog: Option<&Catalog>, seen: String) -> Result<Observation, Error> {
    let mut all = fields(row, catalog)?;
    let name: String = row.get("rolname")?;
    let settings = all.get("settings").and_then(Json::as_object).into_iter().flat_map(Map::keys);
    let strays = settings.filter(|setting| !subject.manages(&format!("/settings/{setting}")));
    let strays: Vec<String> = strays.map(|setting| crate::setting::of_role(&name, "", setting)).collect();
    if let Some(exactly) = all.get_mut("exactly") {
        exactly["settings"] = json!(strays);
    }
    let observed = managed(subject, &["name"], all);
    // The columns that hold verifiers are closed to us; the host compares.
    let probe = |field: &str| SecretProbe {
        field: field.to_owned(),
        method: "sql-password".to_owned(),
        material: subject.identity.clone(),
    };
    let probes = subject.manages("/password").then(|| probe("/password")).into_iter().collect();
    Ok(Observation::Present(Present {
        observed,
        unknown: Vec::new(),
        handle: None,
        readiness: Readiness::Ready,
        seen: vec![seen],
        probes,
    }))
}
