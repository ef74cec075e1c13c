//! The network of the host, as a guest reaches it: each method calls one import.

use super::bindings::provider::tidelock::netlink::{propose, read};
use super::bindings::provider::tidelock::nft::{propose as nft_propose, read as nft_read};
use super::host::{MachinePort, ProposePort, error_in};
use crate::effect::Common;
use crate::effect::network as effect;
use crate::error::Error;
use crate::network::Seen;

impl MachinePort<'_> {
    pub(crate) fn keeper(self) -> Result<Option<String>, Error> {
        read::keeper().map_err(error_in)
    }

    pub(crate) fn look_network(self, names: &[String]) -> Result<Vec<Seen>, Error> {
        let looked = read::look(names).map_err(error_in)?;
        let each = |looked| match looked {
            read::Looked::Found(object) => match serde_json::from_str(&object.state) {
                Ok(state) => Seen::Found { state, seen: object.seen },
                Err(error) => Seen::Failed(Error::plugin(format!("what the host saw is not JSON: {error}"))),
            },
            read::Looked::Absent(seen) => Seen::Absent(seen),
            read::Looked::Failed(error) => Seen::Failed(error_in(error)),
        };
        Ok(looked.into_iter().map(each).collect())
    }

    pub(crate) fn look_tables(self, names: &[String]) -> Result<Vec<Seen>, Error> {
        let looked = nft_read::look(names).map_err(error_in)?;
        let each = |looked| match looked {
            nft_read::Looked::Found(table) => Seen::Found { state: table.ruleset.into(), seen: table.seen },
            nft_read::Looked::Absent(seen) => Seen::Absent(seen),
            nft_read::Looked::Failed(error) => Seen::Failed(error_in(error)),
        };
        Ok(looked.into_iter().map(each).collect())
    }

    pub(crate) fn normalise_table(self, name: &str, ruleset: &str) -> Result<String, Error> {
        nft_read::normalise(name, ruleset).map_err(error_in)
    }
}

fn common(common: Common) -> propose::Common {
    let Common { change, precondition, together, after_crash: _ } = common;
    propose::Common { change, precondition, together, extras: Vec::new() }
}

fn nft_common(common: Common) -> nft_propose::Common {
    let Common { change, precondition, together, after_crash: _ } = common;
    nft_propose::Common { change, precondition, together, extras: Vec::new() }
}

impl ProposePort<'_> {
    pub(crate) fn put_link(self, with: Common, link: effect::PutLink) -> Result<(), Error> {
        propose::put_link(&common(with), &link.object).map_err(error_in)
    }

    pub(crate) fn put_address(self, with: Common, address: effect::PutAddress) -> Result<(), Error> {
        propose::put_address(&common(with), &address.object).map_err(error_in)
    }

    pub(crate) fn put_route(self, with: Common, route: effect::PutRoute) -> Result<(), Error> {
        propose::put_route(&common(with), &route.object).map_err(error_in)
    }

    pub(crate) fn put_rule(self, with: Common, rule: effect::PutRule) -> Result<(), Error> {
        propose::put_rule(&common(with), &rule.object).map_err(error_in)
    }

    pub(crate) fn set_sysctl(self, with: Common, sysctl: effect::SetSysctl) -> Result<(), Error> {
        propose::set_sysctl(&common(with), &sysctl.object).map_err(error_in)
    }

    pub(crate) fn set_wireguard(self, with: Common, set: effect::SetWireguard) -> Result<(), Error> {
        propose::set_wireguard(&common(with), &set.object).map_err(error_in)
    }

    pub(crate) fn remove_object(self, with: Common, remove: effect::RemoveObject) -> Result<(), Error> {
        propose::remove(&common(with), &remove.name).map_err(error_in)
    }

    pub(crate) fn replace_table(self, with: Common, table: effect::ReplaceTable) -> Result<(), Error> {
        nft_propose::replace_table(&nft_common(with), &table.name, &table.ruleset).map_err(error_in)
    }

    pub(crate) fn remove_table(self, with: Common, table: effect::RemoveTable) -> Result<(), Error> {
        nft_propose::remove_table(&nft_common(with), &table.name).map_err(error_in)
    }
}
