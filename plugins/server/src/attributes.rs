//! Mode, owner and group: as people write them, as the target spells them.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidelock_sdk::effect::Attributes;
use tidelock_sdk::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use tidelock_sdk::{Change, Entry, Error, Machine};

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
        let value = tidelock_sdk::serde_json::Value::deserialize(deserializer)?;
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

/// A user as the target writes it.
pub(crate) fn normal_owner(owner: Option<String>, machine: &Machine<'_>) -> Result<Option<String>, Error> {
    normal(owner, "user", "/owner", |name| machine.user(name))
}

/// A group as the target writes it.
pub(crate) fn normal_group(group: Option<String>, machine: &Machine<'_>) -> Result<Option<String>, Error> {
    normal(group, "group", "/group", |name| machine.group(name))
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

/// The attributes that a change is about: all of the spec for something new, else those
/// that differ. What does not differ, or is ignored, is left as it is.
pub(crate) fn to_set<S>(
    change: &Change<S>,
    mode: Option<Mode>,
    owner: Option<&String>,
    group: Option<&String>,
) -> Attributes {
    let counts = |field: &str| change.makes() || change.differs(field);
    Attributes {
        mode: mode.filter(|_| counts("/mode")).map(Mode::bits),
        owner: owner.filter(|_| counts("/owner")).cloned(),
        group: group.filter(|_| counts("/group")).cloned(),
    }
}
