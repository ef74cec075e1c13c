//! What stands in the way of taking back: the server takes back in the name of the owner alone, so what
//! another one granted stays; and what was granted on holds what it came from.

use std::collections::BTreeSet;

use tidelock_sdk::Error;
use tidelock_sdk::sql::{Database, Value};

use super::held::objects;
use super::{GrantSpec, object};
use crate::name::Name;
use crate::privileges::{Class, OPTION, Set};

/// So many grantees are named, then the rest is counted.
const NAMED: usize = 5;

/// A privilege that is not the owner's grant, or not ours to take back.
struct Item {
    class: String,
    schema: String,
    name: String,
    /// `SELECT`, `UPDATE (price)`.
    privilege: String,
    grantee: String,
    grantor: String,
    /// Whether a statement of ours leaves it.
    stays: bool,
    /// Whether it was granted on by somebody who had it from another one.
    passed_on: bool,
}

/// All of them, on what is of some classes and schemas.
pub(super) struct Others(Vec<Item>);

impl Others {
    /// Asks. Only what is to be taken back asks for it.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) fn of(
        database: &Database<'_>,
        classes: &BTreeSet<Class>,
        schemas: &BTreeSet<String>,
        acts_as: &str,
    ) -> Result<Self, Error> {
        let objects: Vec<String> = classes.iter().map(|class| objects(*class).0).collect();
        // For an owner whose rights we have, the server lets us act.
        let ours = |role: &str| format!("pg_has_role($2::text::name, {role}, 'USAGE')");
        let query = format!(
            "SELECT o.class, o.schema, o.name, o.col, a.privilege_type AS privilege, \
             coalesce(g.rolname::text, 'public') AS grantee, b.rolname::text AS grantor, \
             CASE WHEN {owner} THEN a.grantor <> o.owner ELSE NOT {grantor} END AS stays, \
             a.grantor <> o.owner AS passed_on \
             FROM ({}) o CROSS JOIN LATERAL aclexplode(o.acl) a JOIN pg_roles b ON b.oid = a.grantor \
             LEFT JOIN pg_roles g ON g.oid = a.grantee \
             WHERE o.schema = ANY($1::text[] || ARRAY['']) AND (a.grantor <> o.owner OR NOT {owner})",
            objects.join(" UNION ALL "),
            owner = ours("o.owner"),
            grantor = ours("a.grantor"),
        );
        let rows = database.query(&query, &[Value::Texts(schemas.iter().cloned().collect()), Value::from(acts_as)])?;
        let item = |row: &tidelock_sdk::sql::Row| -> Result<Item, Error> {
            let (word, column): (String, String) = (row.get("privilege")?, row.get("col")?);
            Ok(Item {
                class: row.get("class")?,
                schema: row.get("schema")?,
                name: row.get("name")?,
                privilege: if column.is_empty() { word } else { format!("{word} ({column})") },
                grantee: row.get("grantee")?,
                grantor: row.get("grantor")?,
                stays: row.get("stays")?,
                passed_on: row.get("passed_on")?,
            })
        };
        rows.iter().map(item).collect::<Result<_, _>>().map(Self)
    }

    /// Why a set cannot be taken back, on an object or on all of the schema.
    pub(super) fn bar(&self, spec: &GrantSpec, name: Option<&str>, revoke: &Set) -> Option<Error> {
        let role = spec.role.as_str();
        let schema = spec.schema.as_ref().filter(|_| spec.on.in_schema()).map_or("", Name::as_str);
        let on_it = |item: &&Item| {
            item.class == spec.on.word() && item.schema == schema && name.is_none_or(|name| item.name == name)
        };
        let goes = |item: &&Item| {
            revoke.iter().any(|one| {
                let bare = one.strip_suffix(OPTION).unwrap_or(one);
                // Taken back from the whole table, a privilege goes from its columns too.
                item.privilege == bare || item.privilege.starts_with(&format!("{bare} ("))
            })
        };
        let all = || self.0.iter().filter(on_it).filter(goes);
        if let Some(item) = all().find(|item| item.stays && item.grantee == role) {
            let (object, grantor) = (statement_of(spec, &item.name), &item.grantor);
            let from = if role == "public" { "PUBLIC".to_owned() } else { quoted(role) };
            return Some(Error::target(
                "refused",
                format!(
                    "{} on the {} {} was granted to {role} by {grantor}, and PostgreSQL lets {grantor} alone take it back; a \
                     superuser does it with: SET ROLE {}; REVOKE {} ON {object} FROM {from}",
                    item.privilege,
                    spec.on.object(),
                    item.name,
                    quoted(grantor),
                    words(&item.privilege),
                ),
            ));
        }
        let first = all().find(|item| item.passed_on && item.grantor == role)?;
        let same = |item: &&Item| item.passed_on && item.grantor == role && item.name == first.name;
        let to: BTreeSet<&str> = all().filter(same).map(|item| item.grantee.as_str()).collect();
        let more = if to.len() > NAMED { format!(" and {} more", to.len() - NAMED) } else { String::new() };
        let to: Vec<&str> = to.into_iter().take(NAMED).collect();
        Some(Error::target(
            "refused",
            format!(
                "{role} granted {} on the {} {} on to {}{more}, and PostgreSQL takes it back only once they have it no more; \
                 with theirs it goes by: REVOKE {} ON {} FROM {} CASCADE",
                first.privilege,
                spec.on.object(),
                first.name,
                to.join(", "),
                words(&first.privilege),
                statement_of(spec, &first.name),
                quoted(role),
            ),
        ))
    }
}

/// What a grant is on, as a person writes it in a statement.
fn statement_of(spec: &GrantSpec, name: &str) -> String {
    let word = spec.on.object().to_ascii_uppercase();
    let schema = spec.schema.as_ref().filter(|_| spec.on.in_schema());
    let schema = schema.map(|schema| quoted(schema.as_str()) + ".").unwrap_or_default();
    let name = match object(spec.on, name).as_slice() {
        [name, types] => format!("{}({types})", quoted(name)),
        _ => quoted(name),
    };
    format!("{word} {schema}{name}")
}

fn words(privilege: &str) -> String {
    match privilege.split_once(" (") {
        Some((word, column)) => format!("{word} ({})", quoted(column.strip_suffix(')').unwrap_or(column))),
        None => privilege.to_owned(),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
