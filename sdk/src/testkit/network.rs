//! A network in memory: objects by name, with their fields as JSON. What the kernel would
//! make of them is the target's to test.

use serde_json::{Map, Value};

use super::host::{MachinePort, ProposePort};
use super::machine::Machine;
use super::perform::{Body, Proposal};
use crate::effect::Common;
use crate::effect::network as effect;
use crate::error::Error;
use crate::network::Seen;

impl Machine {
    /// Puts an object of a network there, or fields of one; a string for a table.
    pub fn put_object(&self, name: &str, state: Value) {
        let mut objects = self.objects.borrow_mut();
        match (objects.get_mut(name), state) {
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
            (_, state) => {
                objects.insert(name.to_owned(), state);
            }
        }
    }

    /// Takes an object away, as somebody else would behind the plugin's back.
    pub fn remove_object(&self, name: &str) {
        self.objects.borrow_mut().remove(name);
    }

    /// What its system keeps its network in: `networkd` or `ifupdown`.
    #[must_use]
    pub fn keeps_network(self, keeper: &str) -> Self {
        self.keeper.replace(Some(keeper.to_owned()));
        self
    }

    /// An object as it is now.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<Value> {
        self.objects.borrow().get(name).cloned()
    }

    pub(super) fn look_objects(&self, names: &[String]) -> Vec<Seen> {
        let mut seen = self.seen_objects.borrow_mut();
        names
            .iter()
            .map(|name| {
                let state = self.object(name);
                let token = format!("object-{}", seen.len());
                seen.push((name.clone(), state.clone()));
                match state {
                    Some(state) => Seen::Found { state, seen: token },
                    None => Seen::Absent(token),
                }
            })
            .collect()
    }

    pub(super) fn object_promised(&self, token: &str) -> Option<(String, Option<Value>)> {
        let number: usize = token.strip_prefix("object-")?.parse().ok()?;
        self.seen_objects.borrow().get(number).cloned()
    }

    pub(super) fn put_named(&self, sort: &str, object: &str) -> Result<(), Error> {
        let fields: Map<String, Value> =
            serde_json::from_str(object).map_err(|error| Error::plugin(format!("not an object of JSON: {error}")))?;
        let text = |key: &str| fields.get(key).map(|value| value.as_str().map_or(value.to_string(), ToOwned::to_owned));
        let part = |key: &str| text(key).ok_or_else(|| Error::plugin(format!("a {sort} without `{key}`")));
        let name = match sort {
            "wireguard" => part("link")?,
            "address" => format!("{}/{}", part("link")?, part("address")?),
            "rule" => format!("{}/{}", part("family")?, part("priority")?),
            "route" => {
                let (table, to, metric) = (part("table")?, part("to")?, part("metric")?);
                let table = if table == "254" { "main".to_owned() } else { table };
                let usual = if to.contains(':') { "1024" } else { "0" };
                if metric == usual { format!("{table}/{to}") } else { format!("{table}/{to}+{metric}") }
            }
            _ => part("name")?,
        };
        self.put_object(&format!("{sort}:{name}"), Value::Object(fields));
        Ok(())
    }
}

impl MachinePort<'_> {
    pub(crate) fn keeper(self) -> Result<Option<String>, Error> {
        Ok(self.0.keeper.borrow().clone())
    }

    pub(crate) fn look_network(self, names: &[String]) -> Result<Vec<Seen>, Error> {
        Ok(self.0.look_objects(names))
    }

    pub(crate) fn look_tables(self, names: &[String]) -> Result<Vec<Seen>, Error> {
        Ok(self.0.look_objects(names))
    }

    pub(crate) fn normalise_table(self, _name: &str, ruleset: &str) -> Result<String, Error> {
        Ok(ruleset.split_whitespace().collect::<Vec<_>>().join(" "))
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
    put_link: PutLink,
    put_address: PutAddress,
    put_route: PutRoute,
    put_rule: PutRule,
    set_sysctl: SetSysctl,
    set_wireguard: SetWireguard,
    remove_object: RemoveObject,
    replace_table: ReplaceTable,
    remove_table: RemoveTable,
);
