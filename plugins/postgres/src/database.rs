//! `postgres.database`: databases. What is done to a whole database cannot be part of a
//! transaction, so its statements are performed one by one.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::{Row, Rows, Server, Value, alter, create, drop, identity, rename, reset, set, set_comment};
use tidelock_sdk::{
    Action, Change, Diagnostic, Error, Field, Found, Kind, Machine, Observation, Proposals, Step, Subject, nearest,
};

use crate::discover;
use crate::missing;
use crate::name::{self, Name};
use crate::place::managed;
use crate::settings::{Catalog, Setting, Settings};

/// What a `postgres.database` is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSpec {
    /// Its name, without quotes.
    pub(crate) name: Name,
    /// The role that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Name>,
    /// How text is stored: `UTF8`. Cannot change later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
    /// Locale of sorting and of characters: `C.UTF-8`. Cannot change later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    /// Locale of sorting, where it is another. Cannot change later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lc_collate: Option<String>,
    /// Locale of characters, where it is another. Cannot change later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lc_ctype: Option<String>,
    /// Whose locales: `libc`, `icu`, or since PostgreSQL 17 `builtin`. Cannot change later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locale_provider: Option<String>,
    /// Locale of ICU: `en-US`. Cannot change later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    icu_locale: Option<String>,
    /// What a new one is copied from. With another encoding or locale than the server's, `template0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template: Option<Name>,
    /// Where its files lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tablespace: Option<Name>,
    /// How many connections it may have at a time; -1 for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    connection_limit: Option<i32>,
    /// Whether anybody may connect, Tidelock too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    allow_connections: Option<bool>,
    /// Whether all who may create databases may copy it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    is_template: Option<bool>,
    /// Settings of its sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<Settings>,
    /// A comment; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    /// The name that it had. It is renamed, never dropped and created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) renamed_from: Option<Name>,
    /// When it is deleted: whether its sessions are ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    force: bool,
}

/// `postgres.database`.
pub struct Database;

/// What cannot change, and its words in `CREATE DATABASE`.
const FIXED: &[(&str, &str)] = &[
    ("encoding", "ENCODING"),
    ("lc_collate", "LC_COLLATE"),
    ("lc_ctype", "LC_CTYPE"),
    ("locale_provider", "LOCALE_PROVIDER"),
    ("icu_locale", "ICU_LOCALE"),
];

impl DatabaseSpec {
    fn fixed(&self, field: &str) -> Option<&String> {
        match field {
            "encoding" => self.encoding.as_ref(),
            "lc_collate" => self.lc_collate.as_ref(),
            "lc_ctype" => self.lc_ctype.as_ref(),
            "locale_provider" => self.locale_provider.as_ref(),
            "icu_locale" => self.icu_locale.as_ref(),
            _ => None,
        }
    }
}

impl Kind for Database {
    type Spec = DatabaseSpec;
    const NAME: &'static str = "database";
    const DOC: &'static str = "A database. Encoding and locale are those that it was created with.";
    const HOLDS_DATA: bool = true;
    const WHOLE_TARGET: bool = true;

    fn fields() -> Vec<Field> {
        let how = ["/locale", "/template", "/renamed_from", "/force"];
        let mut fields: Vec<Field> = how.map(|path| Field::new(path).how()).into();
        fields.push(Field::new("/settings").owns_listed());
        fields
    }

    fn identity(spec: &DatabaseSpec) -> String {
        name::database(spec.name.as_str())
    }

    fn requires(spec: &DatabaseSpec) -> Vec<String> {
        let old = spec.renamed_from.iter().map(|old| name::database(old.as_str()));
        rests_on(spec).into_iter().chain(old).collect()
    }

    fn parts(spec: &DatabaseSpec) -> Vec<String> {
        let settings = spec.settings.iter().flat_map(Settings::keys);
        settings.map(|name| crate::setting::of_database(spec.name.as_str(), &name.to_ascii_lowercase())).collect()
    }

    fn check(spec: &DatabaseSpec) -> Vec<Diagnostic> {
        let mut remarks = Vec::new();
        if matches!(spec.name.as_str(), "template0") {
            let remark = Diagnostic::error("template0 is what the server falls back on; it is not to be changed");
            remarks.push(remark.at("/name"));
        }
        remarks.extend(name::connection_limit(spec.connection_limit));
        if let Some(wrong) = spec.encoding.as_ref().filter(|name| !ENCODINGS.contains(&encoding(name).as_str())) {
            let remark = Diagnostic::error(format!("there is no encoding {wrong} for a database")).at("/encoding");
            remarks.push(match nearest(&encoding(wrong), ENCODINGS.iter().copied()) {
                Some(near) => remark.hint(format!("did you mean {near}?")),
                None => remark.hint("UTF8 is what most want"),
            });
        }
        let provider = spec.locale_provider.as_deref();
        if provider.is_some_and(|provider| !matches!(provider, "libc" | "icu" | "builtin")) {
            remarks.push(Diagnostic::error("a locale provider is libc, icu or builtin").at("/locale_provider"));
        }
        remarks
    }

    fn normalise(mut spec: DatabaseSpec, machine: &Machine<'_>) -> Result<DatabaseSpec, Error> {
        spec.encoding = spec.encoding.as_deref().map(encoding);
        for side in [&mut spec.lc_collate, &mut spec.lc_ctype] {
            *side = side.take().or_else(|| spec.locale.clone()).as_deref().map(locale);
        }
        if let Some(settings) = &spec.settings {
            spec.settings = Some(Catalog::of(machine)?.spell_all(settings, "/settings")?);
        }
        Ok(spec)
    }

    fn observe(subjects: &[Subject], machine: &Machine<'_>) -> Result<Vec<Observation>, Error> {
        let rows = databases(machine)?;
        let known = rows.by_key::<String>("datname")?;
        let catalog = subjects.iter().any(|subject| subject.manages("/settings")).then(|| Catalog::of(machine));
        let catalog = catalog.transpose()?;
        let look = |subject: &Subject| {
            let name = identity::parts(&subject.identity).concat();
            let seen = [rows.seen(&[Value::from(&name)])?];
            Ok(match known.get(&name) {
                Some(row) => Observation::present(managed(subject, &["name"], fields(row, catalog.as_deref())?), seen),
                None => Observation::absent(seen),
            })
        };
        subjects.iter().map(look).collect()
    }

    fn discover(machine: &Machine<'_>) -> Result<Option<Vec<Found>>, Error> {
        let rows = databases(machine)?;
        let catalog = Catalog::of(machine)?;
        let all = rows.iter().map(|row| fields(row, Some(&catalog))).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(all.into_iter().filter_map(discover::database).collect()))
    }

    fn steps(change: &Change<DatabaseSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
        if let Some(waits) = crate::renames::first::<Database>(change, machine, propose)? {
            return Ok(waits);
        }
        let rests_on = change.desired.as_ref().map(rests_on).unwrap_or_default();
        if let Some(waits) = missing::first(change, &rests_on, machine, propose)? {
            return Ok(waits);
        }
        if change.action == Action::Delete {
            return remove(change, machine, propose);
        }
        let spec = change.wanted()?;
        let name = [spec.name.as_str()];
        let rows = databases(machine)?;
        let known = rows.by_key::<String>("datname")?;
        let mut there = known.get(spec.name.as_str()).copied();
        let mut old_row = None;
        if let (None, Some(old)) = (there, &spec.renamed_from) {
            old_row = known.get(old.as_str()).copied();
            there = old_row;
        }
        let catalog = Catalog::of(machine)?;
        let found = there.map(|row| fields(row, Some(&catalog))).transpose()?;
        if let Some(found) = &found
            && let Some((field, _)) = FIXED.iter().find(|(field, _)| {
                spec.fixed(field).is_some_and(|wanted| found.get(*field).and_then(Json::as_str) != Some(wanted))
            })
        {
            let is = found.get(*field).and_then(Json::as_str).unwrap_or("none");
            let message = format!(
                "{field} of the database {} is {is} and cannot change; create another database and move the data",
                spec.name
            );
            return Ok(Step::Refused(Error::target("refused", message).at(format!("/{field}"))));
        }
        if let Some(refused) = no_tablespace(spec, found.as_ref(), machine)? {
            return Ok(Step::Refused(refused));
        }
        if let (Some(_), Some(old)) = (old_row, &spec.renamed_from) {
            let seen = rows.seen(&[Value::from(old.as_str())])?;
            propose.add(rename("database", [old.as_str()], spec.name.as_str()).seen(seen))?;
        }
        let empty = Map::new();
        match &found {
            None => make(spec, propose)?,
            Some(found) => change_in_place(spec, found, propose)?,
        }
        let found = found.as_ref().unwrap_or(&empty);
        let there: Settings =
            serde_json::from_value(found.get("settings").cloned().unwrap_or_default()).unwrap_or_default();
        let ours = change.last_applied().and_then(|last| last.settings).unwrap_or_default();
        if let Some(wanted) = &spec.settings {
            for (setting, value) in crate::setting::changes(wanted, &there, &ours, &[]) {
                let identity = crate::setting::of_database(spec.name.as_str(), &setting);
                let effect = match &value {
                    Setting::Unset if crate::setting::is_kept(&identity, propose) => continue,
                    Setting::Unset => reset(&setting),
                    value => set(&setting, value.values().unwrap_or_default()),
                };
                propose.add(effect.of_database(spec.name.as_str()))?;
            }
        }
        if let Some(comment) = &spec.comment
            && found.get("comment").and_then(Json::as_str).unwrap_or_default() != comment
        {
            propose.add(set_comment("database", name, Some(comment.as_str()).filter(|comment| !comment.is_empty())))?;
        }
        Ok(Step::Proposed)
    }
}

/// What must be there before a database can be as it is to be.
fn rests_on(spec: &DatabaseSpec) -> Vec<String> {
    let owner = spec.owner.iter().map(|owner| name::role(owner.as_str()));
    owner.chain(spec.template.iter().map(|template| name::database(template.as_str()))).collect()
}

/// That a database is to lie in a tablespace that the server has not.
fn no_tablespace(
    spec: &DatabaseSpec,
    found: Option<&Map<String, Json>>,
    machine: &Machine<'_>,
) -> Result<Option<Error>, Error> {
    let there = found.and_then(|found| found.get("tablespace")).and_then(Json::as_str);
    let Some(wanted) = spec.tablespace.as_ref().map(Name::as_str).filter(|wanted| there != Some(*wanted)) else {
        return Ok(None);
    };
    let rows = Server::of(machine).home()?.query("SELECT t.spcname FROM pg_tablespace t", &[])?;
    let known = rows.iter().map(|row| row.get("spcname")).collect::<Result<Vec<String>, _>>()?;
    if known.iter().any(|known| known == wanted) {
        return Ok(None);
    }
    let near = nearest(wanted, known.iter().map(String::as_str));
    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    let message = format!("the server has no tablespace {wanted}{near}");
    Ok(Some(Error::target("invalid", message).at("/tablespace")))
}

fn make(spec: &DatabaseSpec, propose: &Proposals<'_>) -> Result<(), Error> {
    let mut made = create("database", [spec.name.as_str()]);
    if let Some(owner) = &spec.owner {
        made = made.text("OWNER").identifier([owner.as_str()]);
    }
    for (field, words) in FIXED {
        if let Some(value) = spec.fixed(field) {
            made = match *field {
                // A word, not a text.
                "locale_provider" => made.text(words).identifier([value]),
                _ => made.text(words).literal(value),
            };
        }
    }
    // The default template has an encoding and locale that the new one could not leave.
    let differs = FIXED.iter().any(|(field, _)| spec.fixed(field).is_some());
    match &spec.template {
        Some(template) => made = made.text("TEMPLATE").identifier([template.as_str()]),
        None if differs => made = made.text("TEMPLATE").identifier(["template0"]),
        None => {}
    }
    if let Some(tablespace) = &spec.tablespace {
        made = made.text("TABLESPACE").identifier([tablespace.as_str()]);
    }
    if let Some(limit) = spec.connection_limit {
        made = made.text("CONNECTION LIMIT").integer(limit.into());
    }
    if let Some(allow) = spec.allow_connections {
        made = made.text("ALLOW_CONNECTIONS").text(truth(allow));
    }
    if let Some(template) = spec.is_template {
        made = made.text("IS_TEMPLATE").text(truth(template));
    }
    propose.add(made)
}

fn change_in_place(spec: &DatabaseSpec, found: &Map<String, Json>, propose: &Proposals<'_>) -> Result<(), Error> {
    let name = || [spec.name.as_str()];
    let text = |field: &str| found.get(field).and_then(Json::as_str);
    if let Some(owner) = spec.owner.as_ref().filter(|owner| text("owner") != Some(owner.as_str())) {
        propose.add(alter("database", name()).text("OWNER TO").identifier([owner.as_str()]))?;
    }
    if let Some(to) = spec.tablespace.as_ref().filter(|to| text("tablespace") != Some(to.as_str())) {
        propose.add(alter("database", name()).text("SET TABLESPACE").identifier([to.as_str()]))?;
    }
    let limit = found.get("connection_limit").and_then(Json::as_i64);
    if let Some(wanted) = spec.connection_limit.map(i64::from).filter(|wanted| limit != Some(*wanted)) {
        propose.add(alter("database", name()).text("CONNECTION LIMIT").integer(wanted))?;
    }
    let switches = [
        ("allow_connections", "ALLOW_CONNECTIONS", spec.allow_connections),
        ("is_template", "IS_TEMPLATE", spec.is_template),
    ];
    for (field, word, wanted) in switches {
        if let Some(wanted) = wanted.filter(|wanted| found.get(field).and_then(Json::as_bool) != Some(*wanted)) {
            propose.add(alter("database", name()).text(word).text(truth(wanted)))?;
        }
    }
    Ok(())
}

fn remove(change: &Change<DatabaseSpec>, machine: &Machine<'_>, propose: &Proposals<'_>) -> Result<Step, Error> {
    let name = identity::parts(&change.identity).concat();
    if Server::of(machine).facts()?.database == name {
        let message = format!(
            "{name} is the database that Tidelock itself is connected to; name another one in `database` of the target"
        );
        return Ok(Step::Refused(Error::target("refused", message)));
    }
    // It is the same database; what else is known of it may change earlier in the plan.
    let same = Server::of(machine).home()?.query("SELECT d.datname, d.oid FROM pg_database d", &[])?;
    let mut seen = Some(same.seen(&[Value::from(&name)])?);
    let rows = databases(machine)?;
    let known = rows.by_key::<String>("datname")?;
    if known.get(&name).map(|row| row.get::<bool>("datistemplate")).transpose()? == Some(true) {
        let plain = alter("database", [&name]).text("IS_TEMPLATE FALSE");
        propose.add(plain.seen(seen.take().unwrap_or_default()))?;
    }
    let mut gone = drop("database", [&name]);
    if change.last_applied().is_some_and(|last| last.force) {
        gone = gone.text("WITH (FORCE)");
    }
    propose.add(match seen {
        Some(seen) => gone.seen(seen),
        None => gone,
    })?;
    Ok(Step::Proposed)
}

/// All databases, one row each; asked once per call.
fn databases(machine: &Machine<'_>) -> Result<Rc<Rows>, Error> {
    let server = Server::of(machine);
    let version = server.facts()?.number;
    // The columns about locales got and changed their names with time.
    let locale = match version {
        170_000.. => "d.datlocprovider::text AS provider, d.datlocale AS icu_locale",
        150_000.. => "d.datlocprovider::text AS provider, d.daticulocale AS icu_locale",
        _ => "'c' AS provider, NULL::text AS icu_locale",
    };
    let query = format!(
        "SELECT d.datname, r.rolname AS owner, pg_encoding_to_char(d.encoding) AS encoding, d.datcollate, d.datctype, \
         {locale}, t.spcname AS tablespace, d.datconnlimit, d.datallowconn, d.datistemplate, \
         coalesce(shobj_description(d.oid, 'pg_database'), '') AS comment, \
         (SELECT s.setconfig FROM pg_db_role_setting s WHERE s.setdatabase = d.oid AND s.setrole = 0) AS settings \
         FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba JOIN pg_tablespace t ON t.oid = d.dattablespace"
    );
    Ok(server.home()?.query(&query, &[])?)
}

fn fields(row: &Row, catalog: Option<&Catalog>) -> Result<Map<String, Json>, Error> {
    let text = |column: &str| row.get::<String>(column);
    let kept: Vec<String> = row.get::<Option<Vec<String>>>("settings")?.unwrap_or_default();
    let provider = match text("provider")?.as_str() {
        "i" => "icu",
        "b" => "builtin",
        _ => "libc",
    };
    let all = json!({
        "name": text("datname")?,
        "owner": text("owner")?,
        "encoding": encoding(&text("encoding")?),
        "lc_collate": locale(&text("datcollate")?),
        "lc_ctype": locale(&text("datctype")?),
        "locale_provider": provider,
        "icu_locale": row.get::<Option<String>>("icu_locale")?,
        "tablespace": text("tablespace")?,
        "connection_limit": row.get::<i64>("datconnlimit")?,
        "allow_connections": row.get::<bool>("datallowconn")?,
        "is_template": row.get::<bool>("datistemplate")?,
        "comment": text("comment")?,
        "settings": catalog.map(|catalog| catalog.read(&kept)).unwrap_or_default(),
    });
    Ok(all.as_object().cloned().unwrap_or_default())
}

/// Those that a server can have, as it spells them.
const ENCODINGS: &[&str] = &[
    "EUC_CN",
    "EUC_JIS_2004",
    "EUC_JP",
    "EUC_KR",
    "EUC_TW",
    "ISO_8859_5",
    "ISO_8859_6",
    "ISO_8859_7",
    "ISO_8859_8",
    "KOI8R",
    "KOI8U",
    "LATIN1",
    "LATIN10",
    "LATIN2",
    "LATIN3",
    "LATIN4",
    "LATIN5",
    "LATIN6",
    "LATIN7",
    "LATIN8",
    "LATIN9",
    "MULE_INTERNAL",
    "SQL_ASCII",
    "UTF8",
    "WIN1250",
    "WIN1251",
    "WIN1252",
    "WIN1253",
    "WIN1254",
    "WIN1255",
    "WIN1256",
    "WIN1257",
    "WIN1258",
    "WIN866",
    "WIN874",
];

/// `utf-8` and `UTF8` are one, and so are `euc-jp` and `EUC_JP`.
fn encoding(name: &str) -> String {
    let letters = |name: &str| -> String { name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).collect() };
    let plain = letters(name).to_ascii_uppercase();
    match plain.as_str() {
        "UNICODE" => "UTF8".to_owned(),
        _ => ENCODINGS.iter().find(|known| letters(known) == plain).map_or(plain, |known| (*known).to_owned()),
    }
}

/// `en_US.UTF-8` and `en_US.utf8` are one.
fn locale(name: &str) -> String {
    match name.split_once('.') {
        Some((language, codeset)) => {
            let plain: String = codeset.chars().filter(|c| *c != '-').collect();
            format!("{language}.{}", plain.to_ascii_uppercase().replace("UTF8", "UTF-8"))
        }
        None => name.to_owned(),
    }
}

fn truth(value: bool) -> &'static str {
    if value { "TRUE" } else { "FALSE" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_and_locales_have_one_spelling() {
        assert_eq!(encoding("utf-8"), "UTF8");
        assert_eq!(encoding("latin1"), "LATIN1");
        assert_eq!(encoding("euc-jp"), "EUC_JP");
        assert_eq!(locale("en_US.utf8"), "en_US.UTF-8");
        assert_eq!(locale("C.UTF-8"), "C.UTF-8");
        assert_eq!(locale("de_DE.iso-8859-1"), "de_DE.ISO88591");
        assert_eq!(locale("C"), "C");
    }
}
