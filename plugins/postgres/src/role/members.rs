//! The roles that a role is a member of.

use serde::{Deserialize, Serialize};
use tidelock_sdk::Error;
use tidelock_sdk::schemars::{self, JsonSchema};
use tidelock_sdk::spec::{self, Names};

use crate::name::Name;

/// What a membership allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Whether the member may make others members. Not, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) admin: Option<bool>,
    /// Whether the member has the role's privileges without SET ROLE. Since PostgreSQL 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) inherit: Option<bool>,
    /// Whether the member may SET ROLE to it. Since PostgreSQL 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) set: Option<bool>,
}

/// Memberships by role: `[staff, admins]`, or `{ staff: {}, admins: { admin: true } }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Members(pub(crate) Names<Name, Options>);

impl Members {
    pub(super) fn normalise(&mut self, version: u32) -> Result<(), Error> {
        for (role, options) in &mut self.0.0 {
            options.admin.get_or_insert(false);
            if version < 160_000 && (options.inherit.is_some() || options.set.is_some()) {
                let message =
                    format!("`inherit` and `set` of a membership need PostgreSQL 16; this is {}", version / 10_000);
                return Err(Error::target("invalid", message).at(format!("/member_of/{}", spec::escape(role.as_str()))));
            }
        }
        Ok(())
    }
}
