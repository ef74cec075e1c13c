//! What Tidelock remembers, in one SQLite file: who owns what on which target, what
//! was about to happen and what did, plans and who said yes to them.
//!
//! Start at [`SqliteStore`]; `port.rs` lists every method of the port with the
//! durability that it needs, and the other files hold one concern each.
//!
//! **Invariants.** Each method is one transaction: after a crash at any instant a
//! method has happened or it has not. What the loop relies on before it touches a
//! target is on the disk when the method returns. A file of a newer version, or one
//! that is not ours, is not changed by a single byte. This crate decides nothing:
//! it refuses what cannot be true (a write under a lost lease, a blob under another
//! digest), and leaves the rest to the planner and the gate.

mod approvals;
mod backup;
mod claims;
mod column;
mod contents;
mod door;
mod error;
mod events;
mod flush;
mod history;
mod holds;
mod intents;
mod inventory;
mod known;
mod leases;
mod migrate;
mod modules;
mod open;
mod packed;
mod plans;
mod port;
mod process;
mod retention;
mod runs;
mod settle;
mod sources;
mod stop_file;
mod taken_back;
mod triggers;
mod undos;

pub use backup::{Backup, Restored, restore};
pub use door::SqliteStore;
pub use migrate::SCHEMA_VERSION;
