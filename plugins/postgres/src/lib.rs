//! The provider `postgres`: roles, databases, schemas, extensions, privileges and settings
//! of a PostgreSQL server, 13 or later.
//!
//! What all kinds share: they look with one query for each kind and database, however many
//! resources there are; what a spec leaves out is left alone; a thing in a database that is
//! not there yet is absent, and in one that cannot be looked into is a failure. Privileges
//! are read from access lists with the server's defaults filled in, so that what everybody
//! may do from the start is seen and can be taken back.

mod database;
mod defaults;
mod discover;
mod extension;
mod grant;
mod missing;
mod name;
mod place;
mod privileges;
mod renames;
mod role;
mod schema;
mod setting;
mod settings;
mod twice;
mod until;

use tidelock_sdk::provider::Declared;
use tidelock_sdk::{Diagnostic, Kinds, Provider};

pub use database::{Database, DatabaseSpec};
pub use defaults::{DefaultPrivileges, DefaultPrivilegesSpec};
pub use extension::{Extension, ExtensionSpec};
pub use grant::{Grant, GrantSpec};
pub use role::{Role, RoleSpec};
pub use schema::{Schema, SchemaSpec};
pub use setting::{Setting, SettingSpec};

/// The provider.
pub struct Postgres;

impl Provider for Postgres {
    const NAME: &'static str = "postgres";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Roles, databases, schemas, extensions, privileges and settings of PostgreSQL";

    fn kinds() -> Kinds {
        Kinds::new()
            .with::<Role>()
            .with::<Database>()
            .with::<Schema>()
            .with::<Extension>()
            .with::<Grant>()
            .with::<DefaultPrivileges>()
            .with::<Setting>()
    }

    fn check_together(resources: &[Declared]) -> Vec<(usize, Diagnostic)> {
        let mut remarks = twice::settings(resources);
        remarks.extend(grant::overlap::grants(resources));
        remarks
    }
}

tidelock_sdk::register_provider!(Postgres);

#[cfg(test)]
mod tests;
