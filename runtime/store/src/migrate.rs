//! The versions of the file, and how an older one becomes the newest.
//!
//! A migration that was released never changes; what comes later is a new file.

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::Kept;
use crate::open::{self, Found};
use crate::packed;

/// Marks a SQLite file as ours: "TiLk".
pub(crate) const APPLICATION_ID: i64 = 0x5469_4c6b;

/// Each brings the file from its place in the list to the next version.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_spine.sql"),
    include_str!("../migrations/0002_loop.sql"),
    include_str!("../migrations/0003_undo.sql"),
    include_str!("../migrations/0004_modules.sql"),
    include_str!("../migrations/0005_packed.sql"),
    include_str!("../migrations/0006_standings.sql"),
    include_str!("../migrations/0007_spent.sql"),
    include_str!("../migrations/0008_taken_back.sql"),
    include_str!("../migrations/0009_troubles.sql"),
];

/// The version of the store's file that this build reads and writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// Brings a file to the newest version, in one transaction. Looks again inside it:
/// another process may have been here since the file was opened.
pub(crate) fn bring_up(connection: &mut Connection, file: &str) -> Kept<()> {
    if let Found::Ours { version: SCHEMA_VERSION } = open::identify(connection, file)? {
        return Ok(());
    }
    let packs = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("pack", 1, packs, |context| {
        let text = context.get_raw(0).as_str()?;
        packed::deflated(text.as_bytes()).map_err(|why| rusqlite::Error::UserFunctionError(why.into()))
    })?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from = match open::identify(&transaction, file)? {
        Found::Empty => 0,
        Found::Ours { version } => version,
    };
    for (version, sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > from) {
        transaction.execute_batch(sql)?;
        tracing::debug!(version, "store brought to a newer version");
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    if from == 0 {
        sign(&transaction)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Gives a new store its id: another file under the same path is another store.
fn sign(transaction: &Transaction<'_>) -> Kept<()> {
    transaction.execute("INSERT INTO meta (key, value) VALUES ('store', lower(hex(randomblob(16))))", [])?;
    transaction.execute("INSERT INTO meta (key, value) VALUES ('made_by', ?1)", [env!("CARGO_PKG_VERSION")])?;
    Ok(())
}
