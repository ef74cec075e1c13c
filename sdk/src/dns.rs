//! Looking at zones of a DNS server. `wit/dns` says what names and sets are.

use serde::Serialize;
use serde_json::Value;

use crate::error::{Blame, Error};
use crate::host::MachinePort;
use crate::machine::Machine;

/// The answer for one name of a set.
#[derive(Debug, Clone, PartialEq)]
pub enum Records {
    /// It was seen, or that nothing is there.
    Found {
        /// The set, an object of JSON; none where nothing is there.
        state: Option<Value>,
        /// Types of other records of the same name that cannot be beside it.
        beside: Vec<String>,
        /// Stands for this very answer; an effect's precondition.
        seen: String,
    },
    /// It could not be seen. Never to be taken for absent.
    Failed(Error),
}

/// Eyes on a DNS server. Only the reads that a plugin uses end up in its import list.
pub struct Dns<'h> {
    port: MachinePort<'h>,
}

impl<'h> Machine<'h> {
    /// Its zones, where the target is a DNS server.
    #[must_use]
    pub fn dns(&self) -> Dns<'h> {
        Dns { port: self.port() }
    }
}

impl Dns<'_> {
    /// Looks at many sets in one call; answers are in the order of the question.
    ///
    /// # Errors
    /// The call as a whole failed.
    pub fn look(&self, names: &[String]) -> Result<Vec<Records>, Error> {
        let seen = self.port.look_records(names)?;
        if seen.len() == names.len() {
            return Ok(seen);
        }
        let message = format!("asked about {} sets, the host answered for {}", names.len(), seen.len());
        Err(Error { blame: Blame::Host, ..Error::target("invalid", message) })
    }

    /// A set with its values in their one spelling. Asks no server.
    ///
    /// # Errors
    /// A value is none of its type, or the set is not granted.
    pub fn normalise(&self, set: &impl Serialize) -> Result<Value, Error> {
        let text =
            serde_json::to_string(set).map_err(|error| Error::plugin(format!("a set cannot be written: {error}")))?;
        let spelled = self.port.normalise_records(&text)?;
        serde_json::from_str(&spelled)
            .map_err(|error| Error::plugin(format!("what the host spelled is not JSON: {error}")))
    }
}
