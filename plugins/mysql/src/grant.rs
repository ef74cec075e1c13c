//! `mysql.grant`: what a user, a role or everybody may do with everything, a database, a table
//! or a routine.
//!
//! A grant is what one grantee has on one thing. Each privilege is a field of its own, so that a
//! plan shows them one by one and what others granted beside them is left alone.

mod held;
mod rights;
mod steps;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::{Server, identity};
use tidelock_sdk::{Change, Diagnostic, Error, Field, Found, Kind, Machine, Observation, Proposals, Step, Subject};

use crate::accounts::{servers_own, understood};
use crate::name::{self, Host, Name, Owns, RoleName, UserName, Who};
use crate::privileges::{self, Level, OPTION, Set, Wanted};
use held::{Held, On};

/// What a `mysql.grant` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantSpec {
    /// Who is granted it: a user,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<UserName>,
    /// with its host; `%` unless said,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<Host>,
    /// or a role; `public` for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<RoleName>,
    /// The database that it is on, or in which the table or routine lies. Without, it is on everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    database: Option<Name>,
    /// All databases whose names are like this: `_` stands for any character, `%` for any
    /// number of them, and either is meant itself behind a backslash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    databases_like: Option<Name>,
    /// The table or view that it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<Name>,
    /// The function that it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    function: Option<Name>,
    /// The procedure that it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    procedure: Option<Name>,
    /// Privileges: `SELECT`, `ALL`, or on columns `UPDATE: [price, note]`.
    privileges: Vec<Wanted>,
    /// Whether they may be granted on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    grant_option: bool,
    /// What becomes of privileges of the same grantee on the same thing that the spec does not
    /// list: left alone (`listed`), or taken back (`all`).
    #[serde(default, skip_serializing_if = "Owns::is_listed")]
    owns: Owns,
    /// Privileges one by one. Not written by people.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(skip)]
    granted: Map<String, Json>,
    /// All privileges that are to be there, where the spec owns all. Not written by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    exactly: Option<Json>,
}

/// `mysql.grant`.
pub struct Grant;

impl GrantSpec {
    fn who(&self) -> Who {
        match (&self.user, &self.role) {
            (Some(user), _) => Who::user(user, &self.host.clone().unwrap_or_else(Host::any)),
            (None, Some(role)) => Who::role(role),
            (None, None) => Who { name: String::new(), host: "%".to_owned() },
        }
    }

    fn on(&self) -> On {
        let thing =
            [(Level::Table, &self.table), (Level::Function, &self.function), (Level::Procedure, &self.procedure)];
        let thing = thing.into_iter().find_map(|(level, name)| Some((level, name.as_ref()?.to_string())));
        let database = self.database.as_ref().map(Name::to_string).unwrap_or_default();
        match (&self.databases_like, thing) {
            (Some(like), _) => {
                On { level: Level::Database, database: like.to_string(), like: true, name: String::new() }
            }
            (None, Some((level, name))) => On { level, database, like: false, name },
            (None, None) if self.database.is_some() => {
                On { level: Level::Database, database, like: false, name: String::new() }
            }
            (None, None) => On { level: Level::Global, database, like: false, name: String::new() },
        }
    }

    fn wanted(&self, version: u32) -> Result<Set, Error> {
        privileges::expand(&self.privileges, self.grant_option, self.on().level, version)
    }

    /// What the ledger says was granted.
    fn granted(&self) -> Set {
        self.granted.keys().cloned().collect()
    }
}

impl Kind for Grant {
    type Spec = GrantSpec;
    const NAME: &'static str = "grant";
    const DOC: &'static str = "What a user, a role or everybody may do with everything, a database, a table, columns of it, \
        or a routine.";
    const WHOLE_TARGET: bool = true;

    fn fields() -> Vec<Field> {
        let how = [
            "/user",
            "/host",
            "/role",
            "/database",
            "/databases_like",
            "/table",
            "/function",
            "/procedure",
            "/privileges",
            "/grant_option",
            "/owns",
        ];
        let mut fields: Vec<Field> = how.map(|path| Field::new(path).how()).into();
        // What leaves this map is taken back; what others put there stays.
        fields.push(Field::new("/granted").owns_listed());
        fields
    }

    fn identity(spec: &GrantSpec) -> String {
        spec.on().identity(&spec.who())
    }

    fn requires(spec: &GrantSpec) -> Vec<String> {
        let mut out: Vec<String> = spec.who().identity().into_iter().collect();
        out.extend(spec.database.iter().map(|database| name::database(database.as_str())));
        let on = spec.on();
        if !on.name.is_empty() {
            out.push(identity::of(on.level.word(), [&on.database, &on.name]));
        }
        out
    }

    fn check(spec: &GrantSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        if spec.user.is_some() == spec.role.is_some() || (spec.host.is_some() && spec.user.is_none()) {
            let remark = Diagnostic::error("a grant is to either a `user`, with its `host`, or a `role`");
            remarks.push(remark.at("/user"));
        }
        let things = [&spec.table, &spec.function, &spec.procedure].into_iter().flatten().count();
        if things > 1 || (things == 1 && spec.database.is_none()) {
            let remark = Diagnostic::error("a grant is on one table, function or procedure of a `database`");
            remarks.push(remark.at("/database"));
        }
        if spec.table.as_ref().is_some_and(|table| table.as_str() == "*") {
            let remark = Diagnostic::error("a table of the name * cannot be told from all of its database");
            remarks.push(remark.at("/table").hint("leave `table` out to grant on all tables"));
        }
        if spec.databases_like.is_some() && (spec.database.is_some() || things > 0) {
            let remark = Diagnostic::error("a grant on databases by a pattern is on those alone");
            remarks.push(remark.at("/databases_like").hint("write `database` for one of them"));
        }
        if let Some(name) = spec.databases_like.as_ref().and_then(|like| name::literal(like.as_str())) {
            let remark = Diagnostic::error("this pattern is that of one database");
            remarks.push(remark.at("/databases_like").hint(format!("write `database: {name:?}`")));
        }
        if spec.privileges.is_empty() && !spec.grant_option && spec.owns == Owns::Listed {
            let remark = Diagnostic::error("a grant of nothing that leaves everything alone does nothing");
            let hint = "list privileges, or write `owns: all` to take back what is there";
            remarks.push(remark.at("/privileges").hint(hint));
        }
        if spec.grant_option && spec.who().is_public() {
            remarks.push(Diagnostic::error("what everybody has cannot be granted on").at("/grant_option"));
        }
        remarks
    }

    fn normalise(mut spec: GrantSpec, machine: &Machine<'_>) -> Result<GrantSpec, Error> {
        let wanted = spec.wanted(Server::of(machine).facts()?.number)?;
        spec.exactly = (spec.owns == Owns::All).then(|| json!(wanted));
        spec.granted = privileges::fields(&wanted).as_object().cloned().unwrap_or_default();
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        understood(machine)?;
        let held = Held::of(machine)?;
        subjects.iter().map(|subject| look(subject, &held)).collect()
    }

    fn discover(machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        understood(machine)?;
        let version = Server::of(machine).facts()?.number;
        let held = Held::of(machine)?;
        let ours = held.iter().filter(|(who, _, set)| !set.is_empty() && (who.is_public() || !servers_own(who)));
        Ok(Some(ours.map(|(who, on, set)| found(who, on, set, version)).collect()))
    }

    fn steps(change: &Change<GrantSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        steps::steps(change, machine, propose)
    }
}

/// What one grant looks like. It is there where any privilege that somebody manages is held, or
/// where the account is there and nothing but the absence of others is managed.
fn look(subject: &Subject, held: &Held) -> Result<Observation, Error> {
    let (who, on) = On::of_identity(&subject.identity)?;
    // An account that is not there has nothing to rely on later: the plan may make it first.
    let seen = held.has(&who).then(|| held.seen(&who, &on)).transpose()?;
    let set = held.get(&who, &on);
    let managed =
        |privilege: &String| subject.fields.contains(&format!("/granted/{}", tidelock_sdk::spec::escape(privilege)));
    let names_nothing = !subject.manages("/granted");
    if set.iter().any(managed) || (names_nothing && held.has(&who)) {
        return Ok(Observation::present(json!({ "granted": privileges::fields(set), "exactly": set }), seen));
    }
    Ok(Observation::absent(seen))
}

/// A grant as a person would write it.
fn found(who: &Who, on: &On, set: &Set, version: u32) -> Found {
    let mut spec = Map::new();
    let mut put = |key: &str, value: Json| {
        spec.insert(key.to_owned(), value);
    };
    match who.host.as_str() {
        "" if who.is_public() => put("role", json!("public")),
        "" => put("role", json!(who.name)),
        "%" => put("user", json!(who.name)),
        host => {
            put("user", json!(who.name));
            put("host", json!(host));
        }
    }
    match on.level {
        Level::Global => {}
        _ if on.like => put("databases_like", json!(on.database)),
        _ => put("database", json!(on.database)),
    }
    if !on.name.is_empty() {
        put(on.level.word(), json!(on.name));
    }
    put("privileges", json!(privileges::said(set, on.level, version)));
    if set.contains(OPTION) {
        put("grant_option", json!(true));
    }
    let name = [&who.to_string(), &on.database, &on.name];
    let name: Vec<&str> = name.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    Found { name: name.join("-"), spec: Json::Object(spec), remarks: Vec::new() }
}
