//! The zones of the host, as a guest reaches them: each method calls one import.

use super::bindings::provider::tidelock::dns::{propose, read};
use super::host::{MachinePort, ProposePort, error_in};
use crate::dns::Records;
use crate::effect::Common;
use crate::effect::dns as effect;
use crate::error::Error;

impl MachinePort<'_> {
    pub(crate) fn look_records(self, names: &[String]) -> Result<Vec<Records>, Error> {
        let looked = read::look(names).map_err(error_in)?;
        let each = |looked| match looked {
            read::Looked::Found(read::Seen { state, beside, seen, extras: _ }) => {
                match state.map(|state| serde_json::from_str(&state)).transpose() {
                    Ok(state) => Records::Found { state, beside, seen },
                    Err(error) => Records::Failed(Error::plugin(format!("what the host saw is not JSON: {error}"))),
                }
            }
            read::Looked::Failed(error) => Records::Failed(error_in(error)),
        };
        Ok(looked.into_iter().map(each).collect())
    }

    pub(crate) fn normalise_records(self, set: &str) -> Result<String, Error> {
        read::normalise(set).map_err(error_in)
    }
}

fn common(common: Common) -> propose::Common {
    let Common { change, precondition, together, after_crash: _ } = common;
    propose::Common { change, precondition, together, extras: Vec::new() }
}

impl ProposePort<'_> {
    pub(crate) fn put_records(self, with: Common, put: effect::PutRecords) -> Result<(), Error> {
        propose::put_records(&common(with), &put.set).map_err(error_in)
    }

    pub(crate) fn remove_records(self, with: Common, remove: effect::RemoveRecords) -> Result<(), Error> {
        propose::remove_records(&common(with), &remove.name).map_err(error_in)
    }
}
