//! Writes on a zone: a set of records is put as it should be, or removed.

use serde::{Deserialize, Serialize};

use super::{Rrset, RrsetName};

/// One typed write on a zone. What the zone held when it was looked at goes with it as the
/// prerequisite of the update (RFC 2136, 2.4), so the server itself refuses it once that has
/// changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum DnsEffect {
    /// Puts a set in place of the one of its name and type, or of none.
    PutRecords {
        /// What is called so.
        rrset: RrsetName,
        /// What it should be.
        set: Rrset,
    },
    /// Removes a set.
    RemoveRecords {
        /// What is called so.
        rrset: RrsetName,
    },
}

impl DnsEffect {
    /// Puts a set.
    ///
    /// # Errors
    /// As [`RrsetName::new`].
    pub fn put(set: Rrset) -> Result<Self, String> {
        Ok(Self::PutRecords { rrset: set.called()?, set })
    }

    /// What it writes.
    #[must_use]
    pub fn rrset(&self) -> &RrsetName {
        match self {
            Self::PutRecords { rrset, .. } | Self::RemoveRecords { rrset } => rrset,
        }
    }

    /// The word for it in plans.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::PutRecords { .. } => "put-records",
            Self::RemoveRecords { .. } => "remove-records",
        }
    }

    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::PutRecords { set, .. } => {
                format!("put {} {} {} {}", set.name, set.ttl, set.kind, set.values.join(", "))
            }
            Self::RemoveRecords { rrset } => format!("remove {} {}", rrset.name, rrset.kind),
        }
    }

    /// Whether performing it loses something.
    #[must_use]
    pub fn destructive(&self) -> bool {
        matches!(self, Self::RemoveRecords { .. })
    }

    /// What undoes it, given what was there. `None` where nothing does.
    #[must_use]
    pub fn inverse(&self, before: Option<&Rrset>) -> Option<Self> {
        match (self, before) {
            (_, Some(before)) => Self::put(before.clone()).ok(),
            (Self::PutRecords { rrset, .. }, None) => Some(Self::RemoveRecords { rrset: rrset.clone() }),
            (Self::RemoveRecords { .. }, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RecordType;
    use super::*;

    fn set(values: &[&str]) -> Rrset {
        let values = values.iter().map(ToString::to_string).collect();
        Rrset { zone: "example.com.".into(), name: "www.example.com.".into(), kind: RecordType::A, ttl: 300, values }
    }

    #[test]
    fn what_was_there_comes_back_and_what_was_not_goes() {
        let put = DnsEffect::put(set(&["192.0.2.1", "192.0.2.2"])).unwrap();
        assert_eq!(put.summary(), "put www.example.com. 300 A 192.0.2.1, 192.0.2.2");
        let remove = put.inverse(None).unwrap();
        assert_eq!(remove.summary(), "remove www.example.com. A");
        assert!(remove.destructive() && !put.destructive());
        let before = set(&["192.0.2.9"]);
        assert_eq!(remove.inverse(Some(&before)), DnsEffect::put(before.clone()).ok());
        assert_eq!(put.inverse(Some(&before)), DnsEffect::put(before).ok());
        assert_eq!(remove.inverse(None), None);
    }

    #[test]
    fn it_survives_being_written_down() {
        let put = DnsEffect::put(set(&["192.0.2.1"])).unwrap();
        let text = serde_json::to_string(&put).unwrap();
        assert!(text.starts_with(r#"{"do":"put-records","rrset":"rrset:example.com./www.example.com./A""#), "{text}");
        assert_eq!(serde_json::from_str::<DnsEffect>(&text).unwrap(), put);
    }
}
