//! `tidelock:nft/read`: looking at tables of nftables, and what nft makes of a text.

use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::Access;
use tidelock_model::network::{Object, ObjectName};
use wasmtime::Result;

use crate::bindings::nft::read::{Host, Looked, Table};
use crate::bindings::types::Error;
use crate::call::CallState;
use crate::capability::netlink_read::on_network;
use crate::convert::to_guest;

impl Host for CallState {
    async fn look(&mut self, names: Vec<String>) -> Result<Result<Vec<Looked>, Error>> {
        self.door.enter_read("nft/read.look", names.len())?;
        let looked = self.look_at("nft/read.look", names, true).await?;
        let answers = looked.into_iter().map(|looked| match looked {
            Err(fault) => Looked::Failed(to_guest(&fault)),
            Ok((seen, Some(Object::Table(table)))) => {
                Looked::Found(Table { ruleset: table.ruleset, seen, extras: vec![] })
            }
            Ok((seen, _)) => Looked::Absent(seen),
        });
        Ok(Ok(answers.collect()))
    }

    async fn normalise(&mut self, name: String, ruleset: String) -> Result<Result<String, Error>> {
        self.door.enter_read("nft/read.normalise", 1)?;
        let pass = self.pass("nft/read.normalise")?;
        let parsed = name.parse::<ObjectName>();
        let Ok(ObjectName::Table { family, name }) = parsed else {
            let fault = Fault::new("invalid", Blame::Plugin, format!("{name:?} is no table of nftables"));
            return Ok(Err(to_guest(&fault)));
        };
        // A trial touches no target, and costs time: it is for whom the table is granted to.
        let access = ObjectName::Table { family: family.clone(), name: name.clone() };
        let grant = pass.eyes.grant(&self.door.plugin);
        if let Err(fault) = self.door.decide(grant, pass.target.as_str(), Access::Network(&access)) {
            return Ok(Err(to_guest(&fault)));
        }
        let normalised = on_network(&pass, move |network| network.normalise(&family, &name, &ruleset)).await;
        Ok(normalised.and_then(|table| table).map(|table| table.ruleset).map_err(|fault| to_guest(&fault)))
    }
}
