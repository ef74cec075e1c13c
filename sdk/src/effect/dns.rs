//! Effects on zones. A set that is put is given as what it serialises to: `wit/dns` says which
//! fields there are, and each must stand in the change's desired spec.

use serde::Serialize;

use super::{AfterCrash, Common, Effect, Proposable, effect, sealed};
use crate::error::Error;
use crate::host::ProposePort;

/// Puts a set of records in place of the one of its name and type, or of none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRecords {
    /// The set, as JSON.
    pub set: String,
}

/// Puts a set of records in place of the one of its name and type, or of none.
pub fn put_records(set: &impl Serialize) -> Effect<PutRecords> {
    // A spec that could be read can be written.
    effect(PutRecords { set: serde_json::to_string(set).unwrap_or_default() }, AfterCrash::Observe)
}

/// Removes a set of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveRecords {
    /// `rrset:example.com./www.example.com./A`.
    pub name: String,
}

/// Removes a set of records, by its name.
pub fn remove_records(name: impl Into<String>) -> Effect<RemoveRecords> {
    effect(RemoveRecords { name: name.into() }, AfterCrash::Observe)
}

proposable! {
    PutRecords => put_records;
    RemoveRecords => remove_records;
}
