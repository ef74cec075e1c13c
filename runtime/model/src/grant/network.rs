//! Networks: which objects may be seen and written.

use super::{Grant, quoted};
use crate::error::{Blame, Fault};
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
        let (plugin, target) = (&self.plugin, &self.target);
        Err(Fault::new("denied", Blame::Target, format!("plugin {plugin} may not {verb} {object} on target {target}"))
            .hint(format!(
                "grant it in tidelock.toml:\n\n[grants.{plugin}]\ntargets = [{}]\n{key} = [{}]",
                quoted(target),
                quoted(&value)
            )))
    }
}
