//! DNS servers: which records may be seen and written.

use super::Grant;
use crate::dns::RrsetName;
use crate::error::Fault;

impl Grant {
    pub(super) fn records(&self, rrset: &RrsetName, verb: &str) -> Result<(), Fault> {
        let Err((key, value)) = self.dns.opens(rrset) else { return Ok(()) };
        let Self { plugin, target, .. } = self;
        let message = format!("plugin {plugin} may not {verb} {} {} on target {target}", rrset.name, rrset.kind);
        Err(self.denied_but_by(message, key, &value))
    }
}
