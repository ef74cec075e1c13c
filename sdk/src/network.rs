//! Looking at a network: links, addresses, routes, rules and settings, and tables of
//! nftables. `wit/netlink` and `wit/nft` say what their names and their JSON are.

use serde_json::Value;

use crate::error::{Blame, Error};
use crate::host::MachinePort;
use crate::machine::Machine;

/// The answer for one name.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// It is there.
    Found {
        /// What it is: an object of JSON; a string for a table's ruleset.
        state: Value,
        /// Stands for this very answer; an effect's precondition.
        seen: String,
    },
    /// Nothing is there; the token stands for that.
    Absent(String),
    /// It could not be seen. Never to be taken for absent.
    Failed(Error),
}

/// Eyes on the network of a machine. Only the reads that a plugin uses end up in its
/// import list.
pub struct Network<'h> {
    port: MachinePort<'h>,
}

impl<'h> Machine<'h> {
    /// Its network.
    #[must_use]
    pub fn network(&self) -> Network<'h> {
        Network { port: self.port() }
    }
}

impl Network<'_> {
    /// What the target's system keeps its network in, so that it is there after the next start:
    /// `networkd` or `ifupdown`; `None` where nothing is to be kept.
    ///
    /// # Errors
    /// The target has no network.
    pub fn keeper(&self) -> Result<Option<String>, Error> {
        self.port.keeper()
    }

    /// Looks at many objects in one call; answers are in the order of the question.
    ///
    /// # Errors
    /// The call as a whole failed.
    pub fn look(&self, names: &[String]) -> Result<Vec<Seen>, Error> {
        complete(names, self.port.look_network(names)?)
    }

    /// Looks at many tables of nftables: `nftables:inet/filter`.
    ///
    /// # Errors
    /// The call as a whole failed.
    pub fn tables(&self, names: &[String]) -> Result<Vec<Seen>, Error> {
        complete(names, self.port.look_tables(names)?)
    }

    /// What nft makes of a ruleset, which must be the one table of this name.
    ///
    /// # Errors
    /// It is not, or nft does not take it.
    pub fn normalise_table(&self, name: &str, ruleset: &str) -> Result<String, Error> {
        self.port.normalise_table(name, ruleset)
    }
}

fn complete(names: &[String], seen: Vec<Seen>) -> Result<Vec<Seen>, Error> {
    if seen.len() == names.len() {
        return Ok(seen);
    }
    let message = format!("asked about {} objects, the host answered for {}", names.len(), seen.len());
    Err(Error { blame: Blame::Host, ..Error::target("invalid", message) })
}
