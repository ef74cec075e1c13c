//! `postgres.grant`: what a role, or everybody, may do with a database, a schema, or things in it.
//!
//! A grant is what one grantee has on one thing, on several named things of a schema, or on
//! all of a class that a schema holds. Each privilege of each object is a field of its own, so
//! that a plan shows them one by one and what others granted beside them is left alone.

mod held;
mod others;
pub(crate) mod overlap;
mod steps;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::{Server, identity};
use tidelock_sdk::{Change, Diagnostic, Error, Field, Found, Kind, Machine, Observation, Proposals, Step, Subject};

use crate::missing;
use crate::name::{self, Name, Owns};
use crate::place::{Place, by_database};
use crate::privileges::{self, Class, Set, Wanted};
use held::Held;

/// What a `postgres.grant` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantSpec {
    /// Who is granted it: a role, or `public` for everybody.
    role: Name,
    /// The database.
    database: Name,
    /// The schema, for what lies in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<Name>,
    /// On what: `database`, `schema`, `table` (views too), `sequence`, `function`, `procedure`, `type`
    /// (domains too), `language`, `foreign-server`, `foreign-data-wrapper`.
    on: Class,
    /// The things by name; functions with the types of their arguments: `add(integer, text)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    names: Option<Vec<String>>,
    /// Whether it is on all of the class that the schema holds, also on what comes later: the
    /// next look finds it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    all: bool,
    /// Privileges: `SELECT`, `ALL`, or on columns `UPDATE: [price, note]`.
    privileges: Vec<Wanted>,
    /// Whether they may be granted on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    grant_option: bool,
    /// What becomes of privileges of the same grantee on the same things that the spec does not
    /// list: left alone (`listed`), or taken back (`all`).
    #[serde(default, skip_serializing_if = "Owns::is_listed")]
    owns: Owns,
    /// Privileges by object. Not written by people.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(skip)]
    objects: Map<String, Json>,
    /// Privileges on each object there is. Not written by people.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(skip)]
    everywhere: Map<String, Json>,
    /// All privileges that are to be there, where the spec owns all. Not written by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    exactly: Option<Json>,
}

/// `postgres.grant`.
pub struct Grant;

impl GrantSpec {
    /// The names of what it is on. Databases and schemas are named by where they are.
    fn objects(&self) -> Vec<String> {
        match (self.on, &self.names) {
            (Class::Database, _) => vec![self.database.to_string()],
            (Class::Schema, _) => self.schema.iter().map(Name::to_string).collect(),
            (Class::Function | Class::Procedure, Some(names)) => names.iter().map(|name| signature(name)).collect(),
            (_, names) => names.clone().unwrap_or_default(),
        }
    }

    fn wanted(&self, version: u32) -> Result<Set, Error> {
        privileges::expand(&self.privileges, self.grant_option, self.on, version)
    }

    /// What the ledger says was granted on an object, or on all.
    fn granted(&self, object: Option<&str>) -> Set {
        let map = match object {
            Some(object) => self.objects.get(object).and_then(Json::as_object),
            None => Some(&self.everywhere),
        };
        map.into_iter().flat_map(Map::keys).cloned().collect()
    }
}

impl Kind for Grant {
    type Spec = GrantSpec;
    const NAME: &'static str = "grant";
    const DOC: &'static str = "What a role or everybody may do with a database, a schema, or things in one. What the server \
        grants from the start is seen too, and can be taken back: `role: public`, no privileges, `owns: all`.";
    const WHOLE_TARGET: bool = true;

    fn fields() -> Vec<Field> {
        let how = ["/role", "/database", "/schema", "/on", "/names", "/all", "/privileges", "/grant_option", "/owns"];
        let mut fields: Vec<Field> = how.map(|path| Field::new(path).how()).into();
        // What leaves these maps is taken back; what others put there stays.
        fields.extend(["/objects", "/objects/*", "/everywhere"].map(|path| Field::new(path).owns_listed()));
        fields
    }

    fn identity(spec: &GrantSpec) -> String {
        let (role, database, class) = (spec.role.as_str(), spec.database.as_str(), spec.on.word());
        let mut parts = vec![role.to_owned(), database.to_owned(), class.to_owned()];
        parts.extend(spec.schema.iter().map(Name::to_string));
        if let (false, [one]) = (matches!(spec.on, Class::Database | Class::Schema), spec.objects().as_slice()) {
            parts.extend(object(spec.on, one));
        }
        identity::of("grant", parts)
    }

    fn requires(spec: &GrantSpec) -> Vec<String> {
        let database = spec.database.as_str();
        let mut out = vec![name::database(database)];
        if spec.role.as_str() != "public" {
            out.push(name::role(spec.role.as_str()));
        }
        if let Some(schema) = &spec.schema {
            out.push(name::schema(database, schema.as_str()));
            if spec.on.in_schema() {
                let things = spec.objects().into_iter().map(|thing| {
                    let parts = [database.to_owned(), schema.to_string()].into_iter().chain(object(spec.on, &thing));
                    identity::of(spec.on.word(), parts)
                });
                out.extend(things);
            }
        }
        out
    }

    fn check(spec: &GrantSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        let named = spec.names.as_ref().is_some_and(|names| !names.is_empty());
        let itself = matches!(spec.on, Class::Database | Class::Schema);
        let word = spec.on.object();
        if spec.schema.is_some() != (spec.on.in_schema() || spec.on == Class::Schema) {
            let (needs, key) = if spec.schema.is_some() {
                ("is in no schema", "leave `schema` out")
            } else {
                ("is in a schema", "say which with `schema`")
            };
            remarks.push(Diagnostic::error(format!("a {word} {needs}")).at("/schema").hint(key));
        }
        if itself && (named || spec.all) {
            let remark = Diagnostic::error(format!("a grant on a {word} is on that one alone"));
            remarks.push(remark.at("/names").hint("leave `names` and `all` out"));
        } else if !itself && named == spec.all {
            let remark =
                Diagnostic::error(format!("a grant on a {word} is on those in `names`, or on all of the schema"));
            remarks.push(remark.at("/names").hint("write either `names: [...]` or `all: true`"));
        }
        if spec.all && (!spec.on.in_schema() || spec.on == Class::Type) {
            remarks.push(Diagnostic::error(format!("there is no grant on all of a schema's {word}s")).at("/all"));
        }
        if spec.all && spec.privileges.iter().any(|wanted| matches!(wanted, Wanted::Columns(_))) {
            remarks.push(Diagnostic::error("privileges on columns need the tables by name").at("/privileges"));
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

    fn normalise(mut spec: GrantSpec, machine: &Machine<'_>) -> Result<GrantSpec, Error> {
        let wanted = spec.wanted(Server::of(machine).facts()?.number)?;
        let exactly = json!(wanted);
        let fields = privileges::fields(&wanted);
        let all = spec.owns == Owns::All;
        if spec.all {
            spec.everywhere = fields.as_object().cloned().unwrap_or_default();
            spec.exactly = all.then_some(exactly);
        } else {
            let names = spec.objects();
            spec.objects = names.iter().map(|name| (name.clone(), fields.clone())).collect();
            spec.objects.retain(|_, fields| fields.as_object().is_some_and(|fields| !fields.is_empty()));
            let each = names.into_iter().map(|name| (name, exactly.clone()));
            spec.exactly = all.then(|| Json::Object(each.collect()));
        }
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let on_databases =
            |subject: &Subject| subject.identity.matches('/').count() == 2 && subject.identity.ends_with("/database");
        let (whole, inside): (Vec<_>, Vec<_>) =
            subjects.iter().cloned().enumerate().partition(|(_, subject)| on_databases(subject));
        let mut answers: Vec<Option<Observation>> = vec![None; subjects.len()];
        if !whole.is_empty() {
            let held = Held::on_databases(machine)?;
            let databases = held::databases(machine)?;
            for (at, subject) in &whole {
                let place = Place { subject, parts: identity::parts(&subject.identity) };
                answers[*at] = Some(look(&place, &held, databases.contains(place.part(1)), machine)?);
            }
        }
        let (order, inside): (Vec<usize>, Vec<Subject>) = inside.into_iter().unzip();
        let seen = by_database(&inside, machine, 1, |_, database, places| {
            let classes = places.iter().filter_map(|place| Class::of_word(place.part(2))).collect();
            let grantees = places.iter().map(|place| place.part(0).to_owned()).collect();
            let schemas = places.iter().map(|place| place.part(3).to_owned()).collect();
            let held = Held::within(database, &classes, &grantees, &schemas)?;
            places.iter().map(|place| look(place, &held, true, machine)).collect()
        })?;
        for (at, observation) in order.into_iter().zip(seen) {
            answers[at] = Some(observation);
        }
        let unanswered = || Observation::Failed(Error::plugin("no answer for this subject"));
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(unanswered)).collect())
    }

    fn discover(machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        crate::discover::grants(machine).map(Some)
    }

    fn steps(change: &Change<GrantSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        if let Some(waits) = crate::renames::first::<Grant>(change, machine, propose)? {
            return Ok(waits);
        }
        let rests_on = change.desired.as_ref().map(Self::requires).unwrap_or_default();
        if let Some(waits) = missing::first(change, &rests_on, machine, propose)? {
            return Ok(waits);
        }
        steps::steps(change, machine, propose)
    }
}

/// What one grant looks like. It is there where any privilege that somebody manages is held, or
/// where everything is managed and the thing and the grantee are there.
fn look(place: &Place<'_>, held: &Held, there: bool, machine: &Machine<'_>) -> Result<Observation, Error> {
    let parts = &place.parts;
    let class = Class::of_word(place.part(2))
        .ok_or_else(|| Error::plugin(format!("{:?} is no grant's identity", place.subject.identity)))?;
    let (role, schema) = (place.part(0), if class.in_schema() || class == Class::Schema { place.part(3) } else { "" });
    let one = one(class, parts);
    // A database that is not there has nothing to rely on later: the plan may make it first.
    let seen = there.then(|| held.seen(role, class, schema, one.as_deref())).transpose()?;
    let whole = place.subject.manages("/everywhere") || place.subject.fields.iter().any(|field| field == "/exactly");
    let manages = |pointer: &str, set: &Set| {
        set.iter().any(|privilege| {
            let field = format!("{pointer}/{}", tidelock_sdk::spec::escape(privilege));
            place.subject.fields.contains(&field)
        })
    };
    let names_nothing = !place.subject.manages("/everywhere") && !place.subject.manages("/objects");
    let mut observed = json!({});
    let present = if whole {
        let objects = held.objects(class, schema);
        let each = || objects.iter().map(|object| held.of(role, class, schema, object));
        let anywhere: Set = each().flatten().cloned().collect();
        // Where there is nothing yet, whatever is wanted on each of it is so.
        let everywhere: Set = match objects.is_empty() {
            true => place
                .subject
                .fields
                .iter()
                .filter_map(|field| field.strip_prefix("/everywhere/"))
                .map(unescape)
                .collect(),
            false => anywhere.iter().filter(|privilege| each().all(|set| set.contains(*privilege))).cloned().collect(),
        };
        observed["exactly"] = json!(if objects.is_empty() { &everywhere } else { &anywhere });
        observed["everywhere"] = privileges::fields(&everywhere);
        let schema_there = held.has_schema(schema);
        schema_there && (names_nothing || objects.is_empty() || manages("/everywhere", &anywhere))
    } else {
        let mut objects = Map::new();
        let mut exactly = Map::new();
        let mut any = false;
        let meant = |object: &&String| one.as_ref().is_none_or(|one| one == *object);
        for object in held.objects(class, schema).iter().filter(meant) {
            let set = held.of(role, class, schema, object);
            any |= manages(&format!("/objects/{}", tidelock_sdk::spec::escape(object)), set);
            if !set.is_empty() {
                objects.insert(object.clone(), privileges::fields(set));
            }
            if place.subject.manages("/exactly") {
                exactly.insert(object.clone(), json!(set));
            }
        }
        observed["objects"] = Json::Object(objects);
        observed["exactly"] = Json::Object(exactly);
        any || (names_nothing && there)
    };
    // Nothing is granted to nobody, however little is wanted.
    let present = present && (role == "public" || held.knows(role) || missing::roles(machine)?.contains(role));
    Ok(if present { Observation::present(observed, seen) } else { Observation::absent(seen) })
}

fn unescape(pointer: &str) -> String {
    pointer.replace("~1", "/").replace("~0", "~")
}

/// The one object that an identity names, as the catalog spells it.
fn one(class: Class, parts: &[String]) -> Option<String> {
    match (class, parts) {
        (Class::Database, [_, database, _]) => Some(database.clone()),
        (Class::Schema, [_, _, _, schema]) => Some(schema.clone()),
        (Class::Function | Class::Procedure, [_, _, _, _, name, types]) => Some(format!("{name}({types})")),
        (Class::Table | Class::Sequence | Class::Type, [_, _, _, _, name]) => Some(name.clone()),
        (Class::Language | Class::ForeignServer | Class::ForeignDataWrapper, [_, _, _, name]) => Some(name.clone()),
        _ => None,
    }
}

/// The parts of an object's name below its schema.
fn object(class: Class, name: &str) -> Vec<String> {
    match class {
        Class::Function | Class::Procedure => {
            let (name, types) = name.split_once('(').unwrap_or((name, ""));
            vec![name.to_owned(), types.strip_suffix(')').unwrap_or(types).to_owned()]
        }
        _ => vec![name.to_owned()],
    }
}

/// A function with its types as the catalog spells them.
fn signature(name: &str) -> String {
    let (function, types) = name.split_once('(').unwrap_or((name, ""));
    let types = types.trim_end().strip_suffix(')').unwrap_or(types);
    let each = |name: &str| {
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        let (name, list) = match name.strip_suffix("[]") {
            Some(name) => (name.to_owned(), "[]"),
            None => (name, ""),
        };
        let known = match name.to_ascii_lowercase().as_str() {
            "int" | "int4" => "integer",
            "int8" => "bigint",
            "int2" => "smallint",
            "bool" => "boolean",
            "varchar" => "character varying",
            "char" | "bpchar" => "character",
            "float8" | "float" | "double" => "double precision",
            "float4" => "real",
            "decimal" => "numeric",
            "timestamptz" => "timestamp with time zone",
            "timestamp" => "timestamp without time zone",
            "timetz" => "time with time zone",
            "time" => "time without time zone",
            "varbit" => "bit varying",
            _ => &name,
        };
        format!("{known}{list}")
    };
    let types: Vec<String> = types.split(',').map(str::trim).filter(|name| !name.is_empty()).map(each).collect();
    format!("{}({})", function.trim(), types.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_arguments_have_one_spelling() {
        assert_eq!(signature("add(int, varchar[] ,sales.Status)"), "add(integer, character varying[], sales.Status)");
        assert_eq!(signature("now"), "now()");
        assert_eq!(signature("f( double  precision )"), "f(double precision)");
    }
}
