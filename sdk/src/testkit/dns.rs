//! Zones in memory: sets by name, with their fields as JSON. What a server would make of values
//! is the target's to test.

use serde_json::{Map, Value};

use super::host::{MachinePort, ProposePort};
use super::machine::Machine;
use super::perform::{Body, Proposal};
use crate::dns::Records;
use crate::effect::Common;
use crate::effect::dns as effect;
use crate::error::Error;
use crate::network::Seen;

impl Machine {
    pub(super) fn put_set(&self, set: &str) -> Result<(), Error> {
        let fields: Map<String, Value> =
            serde_json::from_str(set).map_err(|error| Error::plugin(format!("not an object of JSON: {error}")))?;
        let name = set_name(&fields)?;
        // As a whole: nothing of an old one is left.
        self.objects.borrow_mut().insert(name, Value::Object(fields));
        Ok(())
    }

    /// Types at a name that cannot be beside one.
    fn beside(&self, name: &str) -> Vec<String> {
        let Some((owner, kind)) = name.rsplit_once('/') else { return vec![] };
        let objects = self.objects.borrow();
        let others = objects.keys().filter_map(|other| other.rsplit_once('/'));
        others
            .filter(|(other, of)| *other == owner && *of != kind && (*of == "CNAME" || kind == "CNAME"))
            .map(|(_, of)| of.to_owned())
            .collect()
    }
}

fn set_name(fields: &Map<String, Value>) -> Result<String, Error> {
    let part = |key: &str| {
        let text = fields.get(key).and_then(Value::as_str);
        text.ok_or_else(|| Error::plugin(format!("a set without `{key}`")))
    };
    Ok(format!("rrset:{}/{}/{}", part("zone")?, part("name")?, part("type")?))
}

impl MachinePort<'_> {
    pub(crate) fn look_records(self, names: &[String]) -> Result<Vec<Records>, Error> {
        let seen = self.0.look_objects(names).into_iter().zip(names);
        let each = |(seen, name): (Seen, &String)| {
            let beside = self.0.beside(name);
            match seen {
                Seen::Found { state, seen } => Records::Found { state: Some(state), beside, seen },
                Seen::Absent(seen) => Records::Found { state: None, beside, seen },
                Seen::Failed(error) => Records::Failed(error),
            }
        };
        Ok(seen.map(each).collect())
    }

    pub(crate) fn normalise_records(self, set: &str) -> Result<String, Error> {
        let mut set: Value = serde_json::from_str(set).map_err(|error| Error::plugin(error.to_string()))?;
        let Some(values) = set.get_mut("values").and_then(Value::as_array_mut) else {
            return Err(Error::plugin("a set without values"));
        };
        values.sort_by_key(ToString::to_string);
        values.dedup();
        Ok(set.to_string())
    }
}

macro_rules! record {
    ($($call:ident: $body:ident),* $(,)?) => {
        impl ProposePort<'_> {$(
            pub(crate) fn $call(self, common: Common, body: effect::$body) -> Result<(), Error> {
                self.0.propose(Proposal { common, body: Body::$body(body) })
            }
        )*}
    };
}
record!(
    put_records: PutRecords,
    remove_records: RemoveRecords,
);
