//! The harness of the end-to-end cases: real Git, real servers, the real binary.
//!
//! ```text
//! environment   one throw-away folder, and programs that see nothing outside of it
//! tidelock      a call of the binary, and what came of it
//! repo          a Git repository with commits that are equal on every machine
//! keys          SSH keys that sign commits
//! redact        the words that differ from run to run, in one place
//! ```
//!
//! Everything here panics with the whole story when it fails: a case is a
//! story of what a user does, and reads best without error handling.

pub mod environment;
pub mod keys;
pub mod redact;
pub mod repo;
pub mod tidelock;

pub use environment::TestEnvironment;
pub use keys::SigningKey;
pub use redact::redact;
pub use repo::Repo;
pub use tidelock::{Ran, Tidelock};
