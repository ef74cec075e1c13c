//! `tidelock:dns/propose`: updates of zones, as data. Nothing is performed here.

use std::sync::Arc;

use tidelock_model::dns::{DnsEffect, Rrset, RrsetName};
use tidelock_model::effect::{AfterCrash, EffectBody};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::Access;
use wasmtime::Result;

use crate::bindings::dns::propose::{Common, Host};
use crate::bindings::types::Error;
use crate::call::CallState;
use crate::convert::to_guest;
use crate::proposals::{Offer, There};
use crate::provider::Pass;

impl Host for CallState {
    async fn put_records(&mut self, common: Common, set: String) -> Result<Result<(), Error>> {
        let function = "dns/propose.put-records";
        let read = serde_json::from_str::<Rrset>(&set).map_err(|error| error.to_string());
        match read.and_then(DnsEffect::put) {
            Ok(effect) => self.offer_records(function, common, effect).await,
            Err(why) => Err(self.door.broken(format!("called {function} with what is no set: {why}")).into()),
        }
    }

    async fn remove_records(&mut self, common: Common, name: String) -> Result<Result<(), Error>> {
        let function = "dns/propose.remove-records";
        match name.parse::<RrsetName>() {
            Ok(rrset) => self.offer_records(function, common, DnsEffect::RemoveRecords { rrset }).await,
            Err(why) => Err(self.door.broken(format!("called {function}: {why}")).into()),
        }
    }
}

impl CallState {
    async fn offer_records(
        &mut self,
        function: &'static str,
        common: Common,
        effect: DnsEffect,
    ) -> Result<Result<(), Error>> {
        let Common { change, precondition, together, extras: _ } = common;
        let token = match precondition {
            Some(token) => Some(token),
            // What the server is to check is what was there, and only a look tells that.
            None => match self.own_look_at_records(function, effect.rrset()).await? {
                Ok(token) => token,
                Err(fault) => return Ok(Err(to_guest(&fault))),
            },
        };
        let preconditions = token.into_iter().collect();
        let body = EffectBody::Dns(effect);
        let offer = Offer { change, body, preconditions, together, after_crash: AfterCrash::Observe };
        self.offer(function, offer, no_path).await
    }

    /// A token of the host's own look; none where the grant does not open the set, which is said
    /// when the effect is offered.
    async fn own_look_at_records(
        &mut self,
        function: &'static str,
        rrset: &RrsetName,
    ) -> Result<std::result::Result<Option<String>, Fault>> {
        let pass = self.pass(function)?;
        let grant = pass.eyes.grant(&self.door.plugin);
        if grant.is_none_or(|grant| grant.decide(Access::Records(rrset)).is_err()) {
            return Ok(Ok(None));
        }
        let seen = self.look_at_records(function, vec![rrset.to_string()]).await?.pop();
        Ok(seen.map(|seen| seen.map(|(token, _)| Some(token))).unwrap_or(Ok(None)))
    }
}

/// Updates of a zone are about no path.
async fn no_path(_: Arc<Pass>, path: String) -> Result<There, Fault> {
    Err(Fault::new("invalid", Blame::Host, format!("{path} is no set of records")))
}
