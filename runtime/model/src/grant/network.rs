//! Networks: which objects may be seen and written.

use super::Grant;
use crate::error::Fault;
use crate::network::{NetworkEffect, ObjectName};

impl Grant {
    /// The object itself, and every link that it would be joined to.
    pub(super) fn network_effect(&self, effect: &NetworkEffect) -> Result<(), Fault> {
        self.object(&effect.object(), "write")?;
        for name in effect.leans_on() {
            self.object(&ObjectName::Link { name: name.to_owned() }, "use")?;
        }
        Ok(())
    }

    pub(super) fn object(&self, object: &ObjectName, verb: &str) -> Result<(), Fault> {
        let Err((key, value)) = self.network.opens(object) else { return Ok(()) };
        let message = format!("plugin {} may not {verb} {object} on target {}", self.plugin, self.target);
        Err(self.denied_but_by(message, key, &value))
    }
}
