//! Settings in the server's own spelling: `65536kB` and `64MB` are one value, and so are
//! `yes` and `on`.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::sql::{Row, Server};
use tidelock_sdk::{Error, Machine, nearest};

const CATALOG: &str = "SELECT name, vartype, unit, context, min_val, max_val, enumvals FROM pg_settings";

/// Words that the server takes for a setting without listing them: other names, and those of old.
const UNLISTED: &[&str] = &[
    "true",
    "false",
    "yes",
    "no",
    "1",
    "0",
    "on",
    "off",
    "debug",
    "info",
    "fatal",
    "panic",
    "archive",
    "hot_standby",
    "regress",
];

/// Settings that hold a list of names; the server quotes each.
const LISTS: &[&str] = &[
    "search_path",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
    "shared_preload_libraries",
    "unix_socket_directories",
];

/// Settings of sessions that the server's own list leaves out. They hold the name of a role.
pub(crate) const OF_ROLES: &[&str] = &["role", "session_authorization"];

/// Settings that may hold a password or run programs: the host tells nobody of them.
const WITHHELD: &[&str] = &[
    "primary_conninfo",
    "ssl_passphrase_command",
    "archive_command",
    "restore_command",
    "archive_cleanup_command",
    "recovery_end_command",
];

/// The value of a setting: a text, a number, a boolean, or a list of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setting {
    /// One value, as text.
    One(String),
    /// A list, such as a search path.
    List(Vec<String>),
    /// As if it had never been set.
    Unset,
}

impl Setting {
    fn parse(json: Json) -> Result<Self, String> {
        Ok(match json {
            Json::Null => Self::Unset,
            Json::Bool(value) => Self::One(if value { "on" } else { "off" }.to_owned()),
            Json::Number(number) => Self::One(number.to_string()),
            Json::String(text) => Self::One(text),
            Json::Array(items) => {
                let text = |item: Json| match item {
                    Json::String(text) => Ok(text),
                    other => Err(format!("{other} in a list of a setting; a list holds texts")),
                };
                Self::List(items.into_iter().map(text).collect::<Result<_, _>>()?)
            }
            Json::Object(_) => return Err("a setting is a text, a number, a boolean, a list of texts or null".into()),
        })
    }

    /// The values of the statement; none resets it.
    pub(crate) fn values(&self) -> Option<Vec<String>> {
        match self {
            Self::One(text) => Some(vec![text.clone()]),
            // An empty list is said as one empty name.
            Self::List(list) if list.is_empty() => Some(vec![String::new()]),
            Self::List(list) => Some(list.clone()),
            Self::Unset => None,
        }
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(text) => serializer.serialize_str(text),
            Self::List(list) => list.serialize(serializer),
            Self::Unset => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(Json::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Setting {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Setting".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A text, a number, a boolean, a list of names, or null for what the server would use",
            "type": ["string", "number", "boolean", "array", "null"],
            "items": { "type": "string" }
        })
    }
}

/// Settings by name.
pub(crate) type Settings = BTreeMap<String, Setting>;

/// What the server knows of its settings.
pub(crate) struct Catalog(BTreeMap<String, Known>);

struct Known {
    vartype: String,
    unit: Option<String>,
    context: String,
    /// The least and the most, in its unit.
    range: Option<(f64, f64)>,
    /// The words that it may be.
    words: Vec<String>,
}

impl Known {
    fn of(row: &Row) -> Result<Self, Error> {
        let number = |column: &str| -> Result<Option<f64>, Error> {
            Ok(row.get::<Option<String>>(column)?.and_then(|text| text.parse().ok()))
        };
        Ok(Self {
            vartype: row.get("vartype")?,
            unit: row.get("unit")?,
            context: row.get("context")?,
            range: number("min_val")?.zip(number("max_val")?),
            words: row.get::<Option<Vec<String>>>("enumvals")?.unwrap_or_default(),
        })
    }

    /// Whether a value is none that the server takes, and why.
    fn refuses(&self, name: &str, text: &str) -> Option<String> {
        if let Some((least, most)) = self.range {
            let real = self.vartype == "real";
            let value = in_base(text, self.unit.as_deref(), real)?;
            // The server shows six digits of a real number.
            let beyond = |bound: f64| if real { bound.abs() * 1e-5 } else { 0.0 };
            if value < least - beyond(least) || value > most + beyond(most) {
                let shown = |bound: f64| {
                    let text = if bound.abs() > 1e15 { format!("{bound:e}") } else { bound.to_string() };
                    number(&text, self.unit.as_deref(), real).filter(|_| bound.abs() <= 1e15).unwrap_or(text)
                };
                return Some(format!(
                    "{text} is out of range for {name}, which is from {} to {}",
                    shown(least),
                    shown(most)
                ));
            }
        }
        if self.words.is_empty()
            || self.words.iter().any(|word| word.eq_ignore_ascii_case(text))
            || UNLISTED.contains(&text)
        {
            return None;
        }
        Some(format!("{text:?} is none of the values of {name}: {}", self.words.join(", ")))
    }
}

/// Whose a setting is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The server's: `ALTER SYSTEM`.
    Server,
    /// That of the sessions of a role, of a database, or of both.
    Sessions,
}

/// What `ALTER SYSTEM` refuses though it could be set elsewhere: where the server finds its files is said
/// where it is started, and the others are a transaction's.
const NOT_BY_ALTER_SYSTEM: &[&str] = &[
    "allow_alter_system",
    "config_file",
    "data_directory",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
];

impl Catalog {
    /// Asks, once per call.
    pub(crate) fn of(machine: &Machine<'_>) -> Result<Rc<Self>, Error> {
        Server::of(machine).home()?.query_as(CATALOG, &[], |rows| {
            let known = rows.iter().map(|row| {
                let name: String = row.get("name")?;
                Ok((name.to_ascii_lowercase(), Known::of(row)?))
            });
            Ok(Self(known.collect::<Result<_, Error>>()?))
        })
    }

    /// Refuses a setting that nobody can give to whom it is meant for; the server would, when it is too late.
    pub(crate) fn may_be(&self, whose: Whose, name: &str) -> Result<(), Error> {
        let name = name.to_ascii_lowercase();
        let Some(known) = self.0.get(&name) else { return Ok(()) };
        let why = match (known.context.as_str(), whose) {
            ("internal", _) => format!("{name} tells how the server was built or set up, and nobody can set it"),
            (_, Whose::Server) if name.starts_with("transaction_") && NOT_BY_ALTER_SYSTEM.contains(&name.as_str()) => {
                format!("{name} is a setting of one transaction; for all of them there is default_{name}")
            }
            (_, Whose::Server) if NOT_BY_ALTER_SYSTEM.contains(&name.as_str()) => {
                format!("{name} is said where the server is started or in its own file, and ALTER SYSTEM refuses it")
            }
            ("postmaster" | "sighup", Whose::Sessions) => {
                format!(
                    "{name} is one for the whole server (its context is {}), and no session can have its own",
                    known.context
                )
            }
            ("backend" | "superuser-backend", Whose::Sessions) => format!(
                "{name} is fixed when a session begins (its context is {}), before the settings of a role or a database count",
                known.context
            ),
            (_, Whose::Sessions) if name == "transaction_deferrable" => {
                format!("{name} is a setting of one transaction; for all of them there is default_{name}")
            }
            _ => return Ok(()),
        };
        Err(Error::target("refused", why))
    }

    /// Spells all of a spec's settings, which are those of sessions. `at` is where they stand in the spec.
    pub(crate) fn spell_all(&self, settings: &Settings, at: &str) -> Result<Settings, Error> {
        let each = |(name, value): (&String, &Setting)| {
            if *value != Setting::Unset {
                self.may_be(Whose::Sessions, name).map_err(|error| error.at(format!("{at}/{name}")))?;
            }
            let spelled = self.spell_wanted(name, value).map_err(|error| error.at(format!("{at}/{name}")))?;
            Ok((name.to_ascii_lowercase(), spelled))
        };
        settings.iter().map(each).collect()
    }

    /// Spells a value that is to be, and refuses one that the server would: alone, that would be too late
    /// for the rest of the transaction.
    pub(crate) fn spell_wanted(&self, name: &str, value: &Setting) -> Result<Setting, Error> {
        let spelled = self.spell(name, value)?;
        let known = self.0.get(&name.to_ascii_lowercase());
        match (&spelled, known) {
            (Setting::One(text), Some(known)) => match known.refuses(name, text) {
                Some(why) => Err(Error::target("invalid", why)),
                None => Ok(spelled),
            },
            _ => Ok(spelled),
        }
    }

    /// Spells a value as the server would.
    pub(crate) fn spell(&self, name: &str, value: &Setting) -> Result<Setting, Error> {
        let name = name.to_ascii_lowercase();
        if LISTS.contains(&name.as_str()) {
            return Ok(match value {
                Setting::One(text) => Setting::List(split(text)),
                other => other.clone(),
            });
        }
        let text = match value {
            Setting::One(text) => text.clone(),
            Setting::List(list) => list.join(", "),
            Setting::Unset => return Ok(Setting::Unset),
        };
        let Some(known) = self.0.get(&name) else {
            // A name with a dot belongs to an extension, which may not be loaded here.
            if name.contains('.') || OF_ROLES.contains(&name.as_str()) {
                return Ok(Setting::One(text));
            }
            if WITHHELD.contains(&name.as_str()) {
                let message = format!(
                    "{name} may hold a password or a command, so Tidelock withholds it from every plugin, and none can \
                     keep it; leave it to the server's own files"
                );
                return Err(Error::target("denied", message));
            }
            let known = self.0.keys().map(String::as_str);
            let hint = nearest(&name, known).map(|other| format!("; did you mean {other}?")).unwrap_or_default();
            return Err(Error::target("invalid", format!("the server has no setting {name}{hint}")));
        };
        let spelled = match known.vartype.as_str() {
            "bool" => boolean(&text),
            "integer" | "real" => number(&text, known.unit.as_deref(), known.vartype == "real"),
            "enum" => Some(text.to_ascii_lowercase()),
            _ => Some(text.clone()),
        };
        let wrong = || {
            let unit = known.unit.as_deref().map(|unit| format!(" (its unit is {unit})")).unwrap_or_default();
            Error::target("invalid", format!("{text:?} is no {} for {name}{unit}", known.vartype))
        };
        spelled.map(Setting::One).ok_or_else(wrong)
    }

    /// Reads what the catalog keeps for a role or database: `work_mem=64MB`.
    pub(crate) fn read(&self, kept: &[String]) -> Settings {
        let each = |entry: &String| {
            let (name, value) = entry.split_once('=')?;
            let value = Setting::One(value.to_owned());
            // What cannot be spelled is shown as it is.
            Some((name.to_ascii_lowercase(), self.spell(name, &value).unwrap_or(value)))
        };
        kept.iter().filter_map(each).collect()
    }
}

/// A list of names as the server writes it: `"$user", public`.
fn split(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut chars = quoted.char_indices().peekable();
            let mut end = quoted.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                        chars.next();
                        name.push('"');
                    }
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    c => name.push(c),
                }
            }
            (name, quoted.get(end..).unwrap_or_default())
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            (rest[..end].trim().to_owned(), &rest[end..])
        };
        out.push(name);
        rest = after.trim_start().strip_prefix(',').unwrap_or_default().trim_start();
    }
    out.retain(|name| !name.is_empty());
    out
}

fn boolean(text: &str) -> Option<String> {
    let word = text.trim().to_ascii_lowercase();
    let on = match word.as_str() {
        "1" | "on" | "true" | "yes" | "t" | "y" => true,
        "0" | "off" | "false" | "no" | "f" | "n" => false,
        _ => return None,
    };
    Some(if on { "on" } else { "off" }.to_owned())
}

/// Units of memory in bytes, and of time in microseconds, largest first.
const MEMORY: &[(&str, f64)] =
    &[("TB", 1_099_511_627_776.0), ("GB", 1_073_741_824.0), ("MB", 1_048_576.0), ("kB", 1024.0), ("B", 1.0)];
const TIME: &[(&str, f64)] = &[("d", 86_400e6), ("h", 3_600e6), ("min", 60e6), ("s", 1e6), ("ms", 1e3), ("us", 1.0)];

/// A number in its base unit, as the server keeps it.
fn in_base(text: &str, base: Option<&str>, real: bool) -> Option<f64> {
    let text = text.trim();
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && matches!(c, '-' | '+'))))
        .map_or(text.len(), |(at, _)| at);
    let value: f64 = text[..end].parse().ok()?;
    let unit = text[end..].trim();
    let Some(base) = base else { return unit.is_empty().then_some(value) };
    let (family, base_factor) = unit_of(base)?;
    let factor = |name: &str| family.iter().find(|(known, _)| *known == name).map(|(_, factor)| *factor);
    let in_base = if unit.is_empty() { value } else { value * factor(unit)? / base_factor };
    Some(if real { in_base } else { in_base.round() })
}

/// The units of a base unit's kind, and what it is of their smallest.
fn unit_of(base: &str) -> Option<(&'static [(&'static str, f64)], f64)> {
    // `8kB`: blocks of so many.
    let digits = base.chars().take_while(char::is_ascii_digit).count();
    let blocks: f64 = if digits == 0 { 1.0 } else { base[..digits].parse().ok()? };
    let family = if MEMORY.iter().any(|(name, _)| *name == &base[digits..]) { MEMORY } else { TIME };
    let factor = family.iter().find(|(known, _)| *known == &base[digits..]).map(|(_, factor)| *factor)?;
    Some((family, factor * blocks))
}

/// A number in the largest unit that holds it whole, as the server shows it.
fn number(text: &str, base: Option<&str>, real: bool) -> Option<String> {
    let in_base = in_base(text, base, real)?;
    let Some(base) = base else { return Some(plain(in_base, real)) };
    let (family, base_factor) = unit_of(base)?;
    if in_base <= 0.0 {
        return Some(plain(in_base, real));
    }
    let whole = in_base * base_factor;
    let fits = |(_, factor): &&(&str, f64)| whole >= *factor && (whole / factor).fract() == 0.0;
    let largest = family.iter().find(fits);
    Some(match largest {
        Some((name, factor)) => format!("{}{name}", plain(whole / factor, real)),
        None => format!("{}{base}", plain(in_base, real)),
    })
}

fn plain(value: f64, real: bool) -> String {
    if real && value.fract() != 0.0 { format!("{value}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(vartype: &str, unit: Option<&str>) -> Known {
        Known {
            vartype: vartype.into(),
            unit: unit.map(str::to_owned),
            context: "user".into(),
            range: None,
            words: Vec::new(),
        }
    }

    fn catalog() -> Catalog {
        Catalog(BTreeMap::from([
            ("work_mem".into(), known("integer", Some("kB"))),
            ("shared_buffers".into(), known("integer", Some("8kB"))),
            ("statement_timeout".into(), known("integer", Some("ms"))),
            ("random_page_cost".into(), known("real", None)),
            ("log_connections".into(), known("bool", None)),
            ("max_connections".into(), known("integer", None)),
            ("autovacuum_vacuum_cost_delay".into(), known("real", Some("ms"))),
        ]))
    }

    fn spelled(name: &str, value: &str) -> Result<Setting, String> {
        catalog().spell(name, &Setting::One(value.to_owned())).map_err(|error| error.message)
    }

    #[test]
    fn one_value_has_one_spelling() {
        for (name, values, wanted) in [
            ("work_mem", &["64MB", "65536kB", "65536", "0.0625GB", " 64 MB "][..], "64MB"),
            ("work_mem", &["100", "100kB"], "100kB"),
            ("shared_buffers", &["16384", "128MB", "131072kB"], "128MB"),
            ("statement_timeout", &["90000", "90s", "1.5min"], "90s"),
            ("statement_timeout", &["0", "0ms"], "0"),
            ("random_page_cost", &["1.10", "1.1"], "1.1"),
            ("random_page_cost", &["4", "4.0"], "4"),
            ("log_connections", &["yes", "TRUE", "1", "on"], "on"),
            ("max_connections", &["100"], "100"),
            ("autovacuum_vacuum_cost_delay", &["2", "2ms"], "2ms"),
            ("Work_Mem", &["1TB"], "1TB"),
        ] {
            for value in values {
                assert_eq!(spelled(name, value), Ok(Setting::One(wanted.to_owned())), "{name} {value}");
            }
        }
        assert!(spelled("work_mem", "64 megabytes").is_err());
        assert!(spelled("max_connections", "1GB").is_err());
        assert!(spelled("log_connections", "maybe").is_err());
        let unknown = spelled("work_men", "1").unwrap_err();
        assert!(unknown.contains("did you mean work_mem?"), "{unknown}");
        assert_eq!(spelled("my.own", "x"), Ok(Setting::One("x".into())));
        assert_eq!(spelled("Role", "App Owner"), Ok(Setting::One("App Owner".into())), "no list of the server has it");
        let withheld = spelled("archive_command", "true").unwrap_err();
        assert!(withheld.contains("withholds it"), "{withheld}");
    }

    #[test]
    fn values_that_the_server_would_refuse_are_refused_before() {
        let ranged = |vartype: &str, unit: Option<&str>, least: f64, most: f64| Known {
            range: Some((least, most)),
            ..known(vartype, unit)
        };
        let words =
            |words: &[&str]| Known { words: words.iter().map(ToString::to_string).collect(), ..known("enum", None) };
        let catalog = Catalog(BTreeMap::from([
            ("work_mem".into(), ranged("integer", Some("kB"), 64.0, 2_147_483_647.0)),
            ("shared_buffers".into(), ranged("integer", Some("8kB"), 16.0, 1_073_741_823.0)),
            ("statement_timeout".into(), ranged("integer", Some("ms"), 0.0, 2_147_483_647.0)),
            ("log_min_duration_statement".into(), ranged("integer", Some("ms"), -1.0, 2_147_483_647.0)),
            ("seq_page_cost".into(), ranged("real", None, 0.0, 1.797_69e308)),
            ("wal_level".into(), words(&["minimal", "replica", "logical"])),
            ("synchronous_commit".into(), words(&["local", "remote_write", "remote_apply", "on", "off"])),
        ]));
        let of = |name: &str, value: &str| {
            catalog.spell_wanted(name, &Setting::One(value.to_owned())).map_err(|error| error.message)
        };
        for (name, value) in [
            ("work_mem", "64kB"),
            ("work_mem", "2147483647"),
            ("shared_buffers", "128kB"),
            ("log_min_duration_statement", "-1"),
            ("seq_page_cost", "1.5"),
            ("wal_level", "Logical"),
            ("wal_level", "hot_standby"),
            ("synchronous_commit", "true"),
        ] {
            assert!(of(name, value).is_ok(), "{name} {value}: {:?}", of(name, value));
        }
        for (name, value, says) in [
            ("work_mem", "1kB", "from 64kB to 2147483647kB"),
            ("work_mem", "4TB", "out of range"),
            ("shared_buffers", "64kB", "from 128kB to"),
            ("statement_timeout", "-5", "from 0"),
            ("seq_page_cost", "-1", "out of range"),
            ("wal_level", "lots", "minimal, replica, logical"),
        ] {
            let said = of(name, value).unwrap_err();
            assert!(said.contains(says), "{said}");
        }
    }

    #[test]
    fn what_the_server_would_refuse_is_refused_before() {
        let of = |context: &str| Known { context: context.into(), ..known("string", None) };
        let catalog = Catalog(BTreeMap::from([
            ("block_size".into(), of("internal")),
            ("data_directory".into(), of("postmaster")),
            ("shared_buffers".into(), of("postmaster")),
            ("archive_timeout".into(), of("sighup")),
            ("log_connections".into(), of("superuser-backend")),
            ("log_statement".into(), of("superuser")),
            ("work_mem".into(), of("user")),
            ("transaction_isolation".into(), of("user")),
        ]));
        let may = |name: &str| [Whose::Server, Whose::Sessions].map(|whose| catalog.may_be(whose, name).is_ok());
        for (name, wanted) in [
            ("block_size", [false, false]),
            ("Data_Directory", [false, false]),
            ("shared_buffers", [true, false]),
            ("archive_timeout", [true, false]),
            ("log_connections", [true, false]),
            ("log_statement", [true, true]),
            ("work_mem", [true, true]),
            ("transaction_isolation", [false, true]),
            ("my.own", [true, true]),
        ] {
            assert_eq!(may(name), wanted, "{name}");
        }
    }

    #[test]
    fn lists_of_names_are_taken_apart() {
        assert_eq!(split(r#""$user", public"#), ["$user", "public"]);
        assert_eq!(split(r#""a ""b"", c",d , "e""#), [r#"a "b", c"#, "d", "e"]);
        assert_eq!(split("\"\""), [""; 0]);
        let read = catalog().read(&["search_path=app, \"Two Words\"".into(), "work_mem=65536".into()]);
        assert_eq!(read["search_path"], Setting::List(vec!["app".into(), "Two Words".into()]));
        assert_eq!(read["work_mem"], Setting::One("64MB".into()));
    }
}
