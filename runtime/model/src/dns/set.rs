//! Sets of records, and what each is called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::{absolute, labels};

/// Types of records that can be looked at and written. `SOA` and those of DNSSEC are the
/// server's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "each is the type of the same name")]
pub enum RecordType {
    A,
    Aaaa,
    Caa,
    Cname,
    Mx,
    Ns,
    Ptr,
    Srv,
    Txt,
}

impl RecordType {
    /// All of them.
    pub const ALL: [Self; 9] =
        [Self::A, Self::Aaaa, Self::Caa, Self::Cname, Self::Mx, Self::Ns, Self::Ptr, Self::Srv, Self::Txt];

    /// Its name, as in zone files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Caa => "CAA",
            Self::Cname => "CNAME",
            Self::Mx => "MX",
            Self::Ns => "NS",
            Self::Ptr => "PTR",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for RecordType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::word).join(", ");
        let found = Self::ALL.into_iter().find(|kind| kind.word() == text);
        found.ok_or_else(|| format!("{text:?} is no type of record that can be managed: {}", known()))
    }
}

/// What a set of records is called: `rrset:example.com./www.example.com./A`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RrsetName {
    /// The zone, in the one spelling of names. A name may be in two: at a cut both sides have
    /// an `NS`.
    pub zone: String,
    /// Whose records, likewise; in the zone.
    pub name: String,
    /// Their type.
    pub kind: RecordType,
}

impl RrsetName {
    /// Takes the parts, which must be in their one spelling.
    ///
    /// # Errors
    /// They are not, or the name is not in the zone; a sentence.
    pub fn new(zone: &str, name: &str, kind: RecordType) -> Result<Self, String> {
        for text in [zone, name] {
            let spelling = absolute(text)?;
            if spelling != text {
                return Err(format!("the name {text:?} is to be spelled {spelling:?}"));
            }
        }
        if !labels(name)?.ends_with(&labels(zone)?) {
            return Err(format!("{name} is not in the zone {zone}"));
        }
        // A server keeps them whatever it is told (RFC 2136, 3.4.2.4), and without them the zone is gone.
        if kind == RecordType::Ns && name == zone {
            return Err(format!(
                "the name servers of {zone} itself are the zone's own; only those of names below it can be managed"
            ));
        }
        Ok(Self { zone: zone.to_owned(), name: name.to_owned(), kind })
    }
}

impl fmt::Display for RrsetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rrset:{}/{}/{}", self.zone, self.name, self.kind)
    }
}

impl FromStr for RrsetName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Option<Vec<&str>> = text.strip_prefix("rrset:").map(|rest| rest.split('/').collect());
        match parts.as_deref() {
            Some([zone, name, kind]) => Self::new(zone, name, kind.parse()?),
            _ => Err(format!("{text:?} is no set of records, such as rrset:example.com./www.example.com./A")),
        }
    }
}

impl Serialize for RrsetName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RrsetName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// All records of one name and type in a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rrset {
    /// The zone, in the one spelling of names.
    pub zone: String,
    /// Whose records.
    pub name: String,
    /// Their type.
    #[serde(rename = "type")]
    pub kind: RecordType,
    /// How long others may keep them, in seconds.
    pub ttl: u32,
    /// What each says, as in zone files and in the target's one spelling; sorted, without doubles.
    pub values: Vec<String>,
}

impl Rrset {
    /// What it is called.
    ///
    /// # Errors
    /// As [`RrsetName::new`].
    pub fn called(&self) -> Result<RrsetName, String> {
        RrsetName::new(&self.zone, &self.name, self.kind)
    }

    /// As lines of a zone file.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.values.iter().map(|value| format!("{} {} {} {value}", self.name, self.ttl, self.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_one_name() {
        for text in [
            "rrset:example.com./www.example.com./A",
            "rrset:example.com./example.com./MX",
            "rrset:./example./NS",
            "rrset:0\\04725.2.0.192.in-addr.arpa./7.0\\04725.2.0.192.in-addr.arpa./PTR",
        ] {
            assert_eq!(text.parse::<RrsetName>().map(|name| name.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "www.example.com",
            "rrset:example.com/www.example.com/A",
            "rrset:example.com./WWW.example.com./A",
            "rrset:example.com./www.example.org./A",
            "rrset:example.com./badexample.com./A",
            "rrset:example.com./www.example.com./SOA",
            "rrset:example.com./www.example.com./a",
            "rrset:example.com./example.com./NS",
            "rrset:example.com./a/b/A",
        ] {
            assert!(text.parse::<RrsetName>().is_err(), "{text}");
        }
    }
}
