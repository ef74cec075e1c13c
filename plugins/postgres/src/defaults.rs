//! `postgres.default-privileges`: what a grantee gets on whatever a role makes from now on.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::{self, Grantee, Rows, Server, Value, grant, identity, revoke};
use tidelock_sdk::{
    Action, Change, Diagnostic, Error, Field, Found, Kind, Machine, Observation, Proposals, Step, Subject,
};

use crate::missing;
use crate::name::{self, Name, Owns, together};
use crate::place::{Place, by_database, opened};
use crate::privileges::{self, Class, Set, Wanted, difference, statements};

/// Of what, in the plural of people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Made {
    /// Tables and views.
    Tables,
    /// Sequences.
    Sequences,
    /// Functions and procedures.
    Functions,
    /// Types and domains.
    Types,
    /// Schemas.
    Schemas,
}

impl Made {
    fn class(self) -> Class {
        match self {
            Self::Tables => Class::Table,
            Self::Sequences => Class::Sequence,
            Self::Functions => Class::Function,
            Self::Types => Class::Type,
            Self::Schemas => Class::Schema,
        }
    }
}

/// What a `postgres.default-privileges` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefaultPrivilegesSpec {
    /// The database.
    database: Name,
    /// The role that will make things. Only what this very role makes is meant.
    owner: Name,
    /// The schema in which it will; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<Name>,
    /// What it will make.
    on: Made,
    /// Who gets privileges on it: a role, or `public` for everybody.
    role: Name,
    /// Which: `SELECT`, `ALL`.
    privileges: Vec<String>,
    /// Whether they may be granted on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    grant_option: bool,
    /// What becomes of default privileges of the same grantee that the spec does not list: left
    /// alone (`listed`), or taken back (`all`).
    #[serde(default, skip_serializing_if = "Owns::is_listed")]
    owns: Owns,
    /// Privileges, each by itself. Not written by people.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(skip)]
    granted: Map<String, Json>,
    /// All that are to be there, where the spec owns all. Not written by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    exactly: Option<Set>,
}

/// `postgres.default-privileges`.
pub struct DefaultPrivileges;

/// Default privileges of all schemas stand in place of what the server would grant by itself,
/// which therefore counts where there is no row. Those of one schema are added to them.
const DEFAULTS: &str = "SELECT o.rolname::text AS owner, x.schema, x.class, coalesce(g.rolname::text, 'public') AS grantee, \
    json_agg(json_build_array(a.privilege_type, a.is_grantable, '') ORDER BY a.privilege_type, a.is_grantable) AS privileges \
    FROM (SELECT r.oid AS owner, '' AS schema, k.class, coalesce(d.defaclacl, acldefault(CAST(k.letter AS \"char\"), r.oid)) AS acl \
        FROM pg_roles r CROSS JOIN (VALUES ('r', 'r', 'table'), ('S', 's', 'sequence'), ('f', 'f', 'function'), \
            ('T', 'T', 'type'), ('n', 'n', 'schema')) AS k (kept, letter, class) \
        LEFT JOIN pg_default_acl d ON d.defaclrole = r.oid AND d.defaclnamespace = 0 AND d.defaclobjtype::text = k.kept \
        WHERE r.rolname::text = ANY($1::text[]) \
        UNION ALL SELECT d.defaclrole, n.nspname::text, k.class, d.defaclacl \
        FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace \
        JOIN (VALUES ('r', 'table'), ('S', 'sequence'), ('f', 'function'), ('T', 'type'), ('n', 'schema')) AS k (kept, class) \
            ON d.defaclobjtype::text = k.kept) x \
    JOIN pg_roles o ON o.oid = x.owner CROSS JOIN LATERAL aclexplode(x.acl) a LEFT JOIN pg_roles g ON g.oid = a.grantee \
    WHERE o.rolname::text = ANY($1::text[]) GROUP BY 1, 2, 3, 4";

impl DefaultPrivilegesSpec {
    fn wanted(&self, version: u32) -> Result<Set, Error> {
        let wanted: Vec<Wanted> = self.privileges.iter().cloned().map(Wanted::Whole).collect();
        privileges::expand(&wanted, self.grant_option, self.on.class(), version)
    }
}

impl Kind for DefaultPrivileges {
    type Spec = DefaultPrivilegesSpec;
    const NAME: &'static str = "default-privileges";
    const DOC: &'static str = "What a role or everybody gets on whatever another role makes from now on. It says nothing of \
        what is there already; see `postgres.grant` with `all`.";
    const WHOLE_TARGET: bool = true;

    fn fields() -> Vec<Field> {
        let how = ["/database", "/owner", "/schema", "/on", "/role", "/privileges", "/grant_option", "/owns"];
        let mut fields: Vec<Field> = how.map(|path| Field::new(path).how()).into();
        fields.push(Field::new("/granted").owns_listed());
        fields
    }

    fn identity(spec: &DefaultPrivilegesSpec) -> String {
        let schema = spec.schema.as_ref().map_or("", Name::as_str);
        let class = spec.on.class().word();
        identity::of(
            "default-privileges",
            [spec.owner.as_str(), spec.database.as_str(), schema, class, spec.role.as_str()],
        )
    }

    fn requires(spec: &DefaultPrivilegesSpec) -> Vec<String> {
        let mut out = vec![name::database(spec.database.as_str()), name::role(spec.owner.as_str())];
        if spec.role.as_str() != "public" {
            out.push(name::role(spec.role.as_str()));
        }
        out.extend(spec.schema.iter().map(|schema| name::schema(spec.database.as_str(), schema.as_str())));
        out
    }

    fn check(spec: &DefaultPrivilegesSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        if spec.on == Made::Schemas && spec.schema.is_some() {
            remarks.push(Diagnostic::error("schemas lie in no schema").at("/schema").hint("leave `schema` out"));
        }
        if spec.privileges.is_empty() && spec.owns == Owns::Listed {
            let remark = Diagnostic::error("a grant of nothing that leaves everything alone does nothing");
            remarks.push(
                remark.at("/privileges").hint("list privileges, or write `owns: all` to take back what is there"),
            );
        }
        if spec.grant_option && spec.role.as_str() == "public" {
            remarks.push(Diagnostic::error("what everybody has cannot be granted on").at("/grant_option"));
        }
        remarks
    }

    fn normalise(mut spec: DefaultPrivilegesSpec, machine: &Machine<'_>) -> Result<DefaultPrivilegesSpec, Error> {
        let wanted = spec.wanted(Server::of(machine).facts()?.number)?;
        spec.granted = privileges::fields(&wanted).as_object().cloned().unwrap_or_default();
        spec.exactly = (spec.owns == Owns::All).then_some(wanted);
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        by_database(subjects, machine, 1, |_, database, places| {
            let owners = places.iter().map(|place| place.part(0).to_owned()).collect();
            let held = held(database, owners)?;
            let look = |place: &Place<'_>| {
                let key: Vec<String> = [0, 2, 3, 4].map(|at| place.part(at).to_owned()).into();
                let token: Vec<Value> = key.iter().map(Value::from).collect();
                // Of a role that is not there yet nothing is seen, and its defaults come with it.
                let known = held.sets.keys().any(|known| known[0] == key[0]);
                let seen = known.then(|| held.rows.seen(&token)).transpose()?;
                let set = held.sets.get(&key).cloned().unwrap_or_default();
                let manages = |privilege: &String| {
                    let field = format!("/granted/{}", tidelock_sdk::spec::escape(privilege));
                    place.subject.fields.contains(&field)
                };
                let present = set.iter().any(manages) || !place.subject.manages("/granted");
                let observed = json!({ "granted": privileges::fields(&set), "exactly": set });
                Ok(if present { Observation::present(observed, seen) } else { Observation::absent(seen) })
            };
            places.iter().map(look).collect()
        })
    }

    fn discover(machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        crate::discover::default_privileges(machine).map(Some)
    }

    fn steps(
        change: &Change<DefaultPrivilegesSpec>,
        machine: &Machine<'_>,
        propose: &Proposals<'_>,
    ) -> Result<Step, Error> {
        if let Some(waits) = crate::renames::first::<DefaultPrivileges>(change, machine, propose)? {
            return Ok(waits);
        }
        let rests_on = change.desired.as_ref().map(Self::requires).unwrap_or_default();
        if let Some(waits) = missing::first(change, &rests_on, machine, propose)? {
            return Ok(waits);
        }
        let last = change.last_applied();
        let gone = change.action == Action::Delete;
        let Some(spec) = (if gone { last.as_ref() } else { change.desired.as_ref() }) else {
            return Ok(Step::Proposed);
        };
        let (database, schema) = (spec.database.as_str(), spec.schema.as_ref().map(Name::as_str));
        let version = Server::of(machine).facts()?.number;
        let wanted = if gone { Set::new() } else { spec.wanted(version)? };
        let before = last.as_ref().map(|last| last.granted.keys().cloned().collect()).unwrap_or_default();
        let there = match opened(machine, database)? {
            Some(opened) => {
                let key = [spec.owner.as_str(), schema.unwrap_or_default(), spec.on.class().word(), spec.role.as_str()];
                // Asked for all changes of the call, which so share the answer.
                let others = propose.all_changes().iter().filter(|other| other.kind == "postgres.default-privileges");
                let owners = others.filter_map(|other| identity::parts(&other.identity).into_iter().next());
                let held = held(&opened, owners.chain([spec.owner.to_string()]).collect())?;
                held.sets.get(key.map(str::to_owned).as_slice()).cloned().unwrap_or_default()
            }
            // A new database has the server's own; only those of everybody matter here.
            None if schema.is_none() && spec.role.as_str() == "public" => match spec.on {
                Made::Functions => Set::from(["EXECUTE".to_owned()]),
                Made::Types => Set::from(["USAGE".to_owned()]),
                _ => Set::new(),
            },
            None => Set::new(),
        };
        let found = difference(&there, &wanted, &before, !gone && spec.owns == Owns::All);
        for (set, back) in [(&found.revoke, true), (&found.grant, false)] {
            for (with_option, privileges) in statements(set, back) {
                let unfinished = if back { revoke(privileges) } else { grant(privileges) };
                let grantee = match spec.role.as_str() {
                    "public" => Grantee::Public,
                    role => Grantee::from(role),
                };
                let effect = unfinished.by_default(spec.owner.as_str(), schema, spec.on.class().word()).to(grantee);
                propose.add(effect.with_option(with_option).within(database).together(together::within(database)))?;
            }
        }
        Ok(Step::Proposed)
    }
}

/// Default privileges by owner, schema, class and grantee.
struct Held {
    rows: Rc<Rows>,
    sets: BTreeMap<Vec<String>, Set>,
}

fn held(database: &sql::Database<'_>, mut owners: Vec<String>) -> Result<Rc<Held>, Error> {
    owners.sort();
    owners.dedup();
    database.query_as(DEFAULTS, &[Value::Texts(owners)], |rows| {
        let mut held = Held { rows: Rc::clone(rows), sets: BTreeMap::new() };
        for row in &**rows {
            let key = vec![row.get("owner")?, row.get("schema")?, row.get("class")?, row.get("grantee")?];
            held.sets.insert(key, privileges::read(row, "privileges")?);
        }
        Ok(held)
    })
}
