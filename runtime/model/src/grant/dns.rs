//! DNS servers: which records may be seen and written.

use super::{Grant, quoted};
use crate::dns::RrsetName;
use crate::error::{Blame, Fault};

impl Grant {
    pub(super) fn records(&self, rrset: &RrsetName, verb: &str) -> Result<(), Fault> {
        let Err((key, value)) = self.dns.opens(rrset) else { return Ok(()) };
        let (plugin, target) = (&self.plugin, &self.target);
        let message = format!("plugin {plugin} may not {verb} {} {} on target {target}", rrset.name, rrset.kind);
        Err(Fault::new("denied", Blame::Target, message).hint(format!(
            "grant it in tidelock.toml:\n\n[grants.{plugin}]\ntargets = [{}]\n{key} = [{}]",
            quoted(target),
            quoted(&value)
        )))
    }
}
