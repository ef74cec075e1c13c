//! The provider `sqlite`: tables and indexes of a database in a file, as the SQL that makes them.
//!
//! What a text says is compared part by part with the text that the database keeps, whatever
//! the spaces, quotes and capitals. Columns are added and, where they were once in Git, dropped;
//! what SQLite cannot change in place is refused with the field.

mod index;
mod table;
mod text;

use std::rc::Rc;

use tidelock_sdk::sql::{Rows, Server};
use tidelock_sdk::{Error, Kinds, Machine, Provider};

pub use index::{Index, IndexSpec};
pub use table::{Table, TableSpec};

/// The only database of a file.
const MAIN: &str = "main";

const THINGS: &str = "SELECT lower(name) AS known, type, name, tbl_name, sql FROM sqlite_schema \
    WHERE type IN ('table', 'index') AND sql IS NOT NULL";

/// The provider.
pub struct Sqlite;

impl Provider for Sqlite {
    const NAME: &'static str = "sqlite";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Tables and indexes of SQLite";

    fn kinds() -> Kinds {
        Kinds::new().with::<Table>().with::<Index>()
    }
}

tidelock_sdk::register_provider!(Sqlite);

/// All tables and indexes that a text made, by their names in small letters; asked once per call.
fn things(machine: &Machine<'_>) -> Result<Rc<Rows>, Error> {
    Ok(Server::of(machine).home()?.query(THINGS, &[])?)
}

/// The name that an identity stands for: SQLite knows a thing by any spelling of it.
fn identity(class: &str, name: &str) -> String {
    tidelock_sdk::sql::identity::of(class, [MAIN, &name.to_ascii_lowercase()])
}
