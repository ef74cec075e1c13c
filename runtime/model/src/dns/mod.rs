//! Records of the DNS: sets of them, what each is called, and typed writes on them, as data.
//!
//! A set (RRset) is all records of one name and type in a zone; it is seen, compared and
//! written as a whole. How a record is put on the wire is the target's to know.

mod effect;
mod grant;
mod name;
mod set;

pub use effect::DnsEffect;
pub use grant::DnsGrant;
pub use name::{absolute, labels, spelled};
pub use set::{RecordType, Rrset, RrsetName};
