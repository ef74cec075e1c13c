//! The provider `server`: files, directories, symbolic links and commands of a machine.
//!
//! What all kinds share: a path is its resource's identity (`path:/etc/motd`), a field
//! that the spec leaves out is left alone, and what stands in the way of a resource
//! and is of another sort is never replaced, but named.

mod attributes;
mod command;
mod directory;
mod file;
mod link;
mod look;
mod path;
mod strays;

use tidelock_sdk::{Kinds, Provider};

pub use command::{Command, CommandSpec};
pub use directory::{Directory, DirectorySpec};
pub use file::{File, FileSpec};
pub use link::{Link, LinkSpec};

/// The provider.
pub struct Server;

impl Provider for Server {
    const NAME: &'static str = "server";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "Files, directories, links and commands of a machine";

    fn kinds() -> Kinds {
        Kinds::new().with::<File>().with::<Directory>().with::<Link>().with::<Command>()
    }
}

tidelock_sdk::register_provider!(Server);

#[cfg(test)]
mod tests;
