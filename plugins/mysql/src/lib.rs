//! The provider `mysql`: databases, users, roles and privileges of a MariaDB server, 10.5 or
//! later.
//!
//! What all kinds share: each looks with one query, however many resources there are, at the
//! tables in which the server itself keeps accounts and privileges, so that what a role has
//! from another one is not taken for its own; what a spec leaves out is left alone. The server
//! ends every transaction at a statement that defines something, so each is performed by
//! itself. Their order is such that what was done before a failure is found done by the next
//! look, and nobody has more than was wanted in between: what is taken back goes first.

mod accounts;
mod database;
mod grant;
mod missing;
mod name;
mod own;
mod privileges;
mod role;
mod user;

use tidelock_sdk::{Kinds, Provider};

pub use database::{Database, DatabaseSpec};
pub use grant::{Grant, GrantSpec};
pub use role::{Role, RoleSpec};
pub use user::{User, UserSpec};

/// The provider.
pub struct MySql;

impl Provider for MySql {
    const NAME: &'static str = "mysql";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Databases, users, roles and privileges of MariaDB";

    fn kinds() -> Kinds {
        Kinds::new().with::<User>().with::<Role>().with::<Database>().with::<Grant>()
    }
}

tidelock_sdk::register_provider!(MySql);
