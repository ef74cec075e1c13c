//! Mode, owner and group: as people write them, as the target spells them.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};
use tidelock_sdk::effect::Attributes;
use tidelock_sdk::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tidelock_sdk::{Change, Entry, Error, Machine, Subject};

const MODE: &str = "/mode";
const OWNER: &str = "/owner";
const GROUP: &str = "/group";

/// Permission bits. Written as octal digits in quotes, for YAML reads a bare `0644` as
/// the number six hundred and forty-four; spelled with four digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode(u32);

impl Mode {
    /// Permission bits of an entry.
    pub(crate) fn of(entry: &Entry) -> Self {
        Self(entry.mode & 0o7777)
    }

    /// The bits.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:04o}", self.0))
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let bad = || {
            let message = format!("the mode {value} is not three or four octal digits in quotes, such as \"0644\"");
            serde::de::Error::custom(message)
        };
        let text = value.as_str().ok_or_else(bad)?;
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        if !octal {
            return Err(bad());
        }
        u32::from_str_radix(text, 8).map(Self).map_err(|_| bad())
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-7]{3,4}$", "description": "Permission bits as octal digits in quotes, such as \"0644\"." })
    }
}

/// What a spec wants of mode, owner and group. What it leaves out is left alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) mode: Option<Mode>,
    pub(crate) owner: Option<&'a String>,
    pub(crate) group: Option<&'a String>,
}

impl Wanted<'_> {
    /// All of it.
    pub(crate) fn all(self) -> Attributes {
        self.those(|_| true)
    }

    /// What a change is about: all for something new, else what differs. What does not
    /// differ, or is ignored, is left as it is.
    pub(crate) fn changed<S>(self, change: &Change<S>) -> Attributes {
        self.those(|field| change.makes() || change.differs(field))
    }

    fn those(self, counts: impl Fn(&str) -> bool) -> Attributes {
        Attributes {
            mode: self.mode.filter(|_| counts(MODE)).map(Mode::bits),
            owner: self.owner.filter(|_| counts(OWNER)).cloned(),
            group: self.group.filter(|_| counts(GROUP)).cloned(),
        }
    }
}

/// Adds mode, owner and group to what was observed, where somebody manages them.
pub(crate) fn observe(subject: &Subject, entry: &Entry, observed: &mut Map<String, Value>) {
    let fields = [(MODE, json!(Mode::of(entry))), (OWNER, json!(entry.owner)), (GROUP, json!(entry.group))];
    for (field, value) in fields {
        if subject.manages(field) {
            observed.insert(field.trim_start_matches('/').to_owned(), value);
        }
    }
}

/// Spells user and group as the target does.
pub(crate) fn normalise(
    owner: &mut Option<String>,
    group: &mut Option<String>,
    machine: &Machine<'_>,
) -> Result<(), Error> {
    *owner = normal(owner.take(), "user", OWNER, |name| machine.user(name))?;
    *group = normal(group.take(), "group", GROUP, |name| machine.group(name))?;
    Ok(())
}

fn normal(
    name: Option<String>,
    what: &str,
    field: &str,
    ask: impl FnOnce(&str) -> Result<Option<String>, Error>,
) -> Result<Option<String>, Error> {
    let Some(name) = name else { return Ok(None) };
    match ask(&name).map_err(|error| error.at(field))? {
        Some(known) => Ok(Some(known)),
        // A number needs no name: `stat` gives the number back as it is.
        None if name.parse::<u32>().is_ok_and(|number| number.to_string() == name) => Ok(Some(name)),
        None => {
            let message = format!("there is no {what} `{name}` on the target; create it first, or give a number");
            Err(Error::target("not-found", message).at(field))
        }
    }
}
