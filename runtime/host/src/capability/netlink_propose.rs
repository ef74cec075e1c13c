//! `tidelock:netlink/propose`: effects on a network, as data. Nothing is performed here.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tidelock_model::effect::{AfterCrash, EffectBody};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::Access;
use tidelock_model::network::{Address, Link, NetworkEffect, Object, ObjectName, Route, Rule, Sysctl, Wireguard};
use wasmtime::Result;

use crate::bindings::netlink::propose::{Common, Host};
use crate::bindings::types::Error;
use crate::call::CallState;
use crate::convert::to_guest;
use crate::proposals::{Offer, There};
use crate::provider::Pass;

impl Host for CallState {
    async fn put_link(&mut self, common: Common, link: String) -> Result<Result<(), Error>> {
        self.put_json("netlink/propose.put-link", common, &link, |link: Link| Object::Link(link)).await
    }

    async fn put_address(&mut self, common: Common, address: String) -> Result<Result<(), Error>> {
        self.put_json("netlink/propose.put-address", common, &address, |address: Address| Object::Address(address))
            .await
    }

    async fn put_route(&mut self, common: Common, route: String) -> Result<Result<(), Error>> {
        self.put_json("netlink/propose.put-route", common, &route, |route: Route| Object::Route(route)).await
    }

    async fn put_rule(&mut self, common: Common, rule: String) -> Result<Result<(), Error>> {
        self.put_json("netlink/propose.put-rule", common, &rule, |rule: Rule| Object::Rule(rule)).await
    }

    async fn set_sysctl(&mut self, common: Common, sysctl: String) -> Result<Result<(), Error>> {
        self.put_json("netlink/propose.set-sysctl", common, &sysctl, |sysctl: Sysctl| Object::Sysctl(sysctl)).await
    }

    async fn set_wireguard(&mut self, common: Common, wireguard: String) -> Result<Result<(), Error>> {
        let function = "netlink/propose.set-wireguard";
        self.put_json(function, common, &wireguard, |set: Wireguard| Object::Wireguard(set)).await
    }

    async fn remove(&mut self, common: Common, name: String) -> Result<Result<(), Error>> {
        let function = "netlink/propose.remove";
        match name.parse() {
            Ok(ObjectName::Sysctl { .. } | ObjectName::Table { .. }) | Err(_) => {
                Err(self.door.broken(format!("proposed to remove {name:?}, which is nothing that this removes")).into())
            }
            Ok(object) => self.offer_network(function, shared(common), NetworkEffect::Remove { object }).await,
        }
    }
}

/// What every effect carries, of either package.
pub(super) struct Shared {
    pub(super) change: u32,
    pub(super) precondition: Option<String>,
    pub(super) together: Option<String>,
}

fn shared(common: Common) -> Shared {
    Shared { change: common.change, precondition: common.precondition, together: common.together }
}

impl CallState {
    async fn put_json<T: DeserializeOwned>(
        &mut self,
        function: &'static str,
        common: Common,
        text: &str,
        object: fn(T) -> Object,
    ) -> Result<Result<(), Error>> {
        let put: T = match serde_json::from_str(text) {
            Ok(put) => put,
            Err(error) => {
                return Err(self.door.broken(format!("called {function} with what cannot be read: {error}")).into());
            }
        };
        let object = object(put);
        // What cannot be an object's name could pass for another's.
        if let Err(why) = object.name().to_string().parse::<ObjectName>() {
            return Err(self.door.broken(format!("called {function}: {why}")).into());
        }
        if let Object::Route(Route { protocol: Some(_), .. }) | Object::Rule(Rule { protocol: Some(_), .. }) = object {
            return Err(self.door.broken(format!("called {function} with a `protocol`, which is ours to say")).into());
        }
        self.offer_network(function, shared(common), NetworkEffect::Put { object }).await
    }

    pub(super) async fn offer_network(
        &mut self,
        function: &'static str,
        shared: Shared,
        effect: NetworkEffect,
    ) -> Result<Result<(), Error>> {
        let Shared { change, precondition, together } = shared;
        let token = match precondition {
            Some(token) => Some(token),
            // What is undone one day is what was there, and only a look tells that.
            None => match self.own_look(function, effect.object()).await? {
                Ok(token) => token,
                Err(fault) => return Ok(Err(to_guest(&fault))),
            },
        };
        let preconditions = token.into_iter().collect();
        let body = EffectBody::Network(effect);
        let offer = Offer { change, body, preconditions, together, after_crash: AfterCrash::Observe };
        self.offer(function, offer, no_path).await
    }

    /// A token of the host's own look; none where the grant does not open the object, which is
    /// said when the effect is offered.
    async fn own_look(
        &mut self,
        function: &'static str,
        name: ObjectName,
    ) -> Result<std::result::Result<Option<String>, Fault>> {
        let pass = self.pass(function)?;
        let grant = pass.eyes.grant(&self.door.plugin);
        if grant.is_none_or(|grant| grant.decide(Access::Network(&name)).is_err()) {
            return Ok(Ok(None));
        }
        let tables = matches!(name, ObjectName::Table { .. });
        let seen = self.look_at(function, vec![name.to_string()], tables).await?.pop();
        Ok(seen.map(|seen| seen.map(|(token, _)| Some(token))).unwrap_or(Ok(None)))
    }
}

/// Effects of a network are about no path.
async fn no_path(_: Arc<Pass>, path: String) -> Result<There, Fault> {
    Err(Fault::new("invalid", Blame::Host, format!("{path} is no object of a network")))
}
