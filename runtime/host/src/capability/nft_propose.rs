//! `tidelock:nft/propose`: tables of nftables, as data. Nothing is performed here.

use tidelock_model::network::{NetworkEffect, Object, ObjectName, Table};
use wasmtime::Result;

use crate::bindings::nft::propose::{Common, Host};
use crate::bindings::types::Error;
use crate::call::CallState;
use crate::capability::netlink_propose::Shared;

impl Host for CallState {
    async fn replace_table(&mut self, common: Common, name: String, ruleset: String) -> Result<Result<(), Error>> {
        let Ok(ObjectName::Table { family, name }) = name.parse() else {
            return Err(self.door.broken(format!("proposed the table {name:?}, which is no table of nftables")).into());
        };
        let effect = NetworkEffect::Put { object: Object::Table(Table { family, name, ruleset }) };
        self.offer_network("nft/propose.replace-table", shared(common), effect).await
    }

    async fn remove_table(&mut self, common: Common, name: String) -> Result<Result<(), Error>> {
        match name.parse() {
            Ok(object @ ObjectName::Table { .. }) => {
                let effect = NetworkEffect::Remove { object };
                self.offer_network("nft/propose.remove-table", shared(common), effect).await
            }
            _ => Err(self.door.broken(format!("proposed to remove {name:?}, which is no table of nftables")).into()),
        }
    }
}

fn shared(common: Common) -> Shared {
    Shared { change: common.change, precondition: common.precondition, together: common.together }
}
