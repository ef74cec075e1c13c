//! Git: fetch, verify, and read trees from the object database.
//!
//! The only crate that names gix. It hands out a [`Revision`] and its files, and
//! nothing else of Git crosses the border.
//!
//! - [`GitSource`] is the port's adapter: it finds the commit, verifies it and opens its tree.
//! - Whatever speaks to a network runs in a child process ([`fetch_child`]) that its
//!   parent limits, watches and kills: a library's interrupt flag is not a guarantee.
//!   SSH is spoken by OpenSSH's client, which the child starts and the kernel ends with it.
//! - Trees are read from the object database and never checked out. Every object is
//!   hashed again when it is read, so a repository on a disk that others write to cannot
//!   put foreign content under a signed name.
//!
//! **Invariant.** Nothing of a repository is trusted: not its names, sizes, links,
//! hooks or config. Secrets reach the child over its standard input alone.
//!
//! [`Revision`]: tidelock_model::revision::Revision

pub mod allowed_signers;
mod cache;
mod child;
mod credentials;
mod declared;
mod fault;
mod fetch;
mod location;
mod proxy;
mod repository;
mod signature;
mod source;
mod ssh;
mod tree;
mod wanted;
mod watch;
mod wire;

pub use child::fetch_child;
pub use credentials::secret;
pub use declared::{Misfit, check};
pub use source::GitSource;
pub use tidelock_model::port::SourceError;
pub use watch::FetchHelper;
