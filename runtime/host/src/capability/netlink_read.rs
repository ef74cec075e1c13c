//! `tidelock:netlink/read`: looking at a network, within the grant.

use std::sync::Arc;

use tidelock_model::effect::Precondition;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::Access;
use tidelock_model::network::{Object, ObjectName};
use wasmtime::Result;

use crate::bindings::netlink::read::{Host, Looked, Object as Found};
use crate::bindings::types::Error;
use crate::call::CallState;
use crate::convert::to_guest;
use crate::eyes::NetworkReads;
use crate::provider::Pass;

impl Host for CallState {
    async fn keeper(&mut self) -> Result<Result<Option<String>, Error>> {
        self.door.enter_read("netlink/read.keeper", 1)?;
        let pass = self.pass("netlink/read.keeper")?;
        // The operator's word, and nothing of the target: it is under no grant.
        let keeper = pass.eyes.network().map(|network| network.keeper());
        Ok(keeper.map(|keeper| keeper.map(|keeper| keeper.word().to_owned())).map_err(|fault| to_guest(&fault)))
    }

    async fn look(&mut self, names: Vec<String>) -> Result<Result<Vec<Looked>, Error>> {
        self.door.enter_read("netlink/read.look", names.len())?;
        let looked = self.look_at("netlink/read.look", names, false).await?;
        let mut answers = Vec::with_capacity(looked.len());
        for looked in looked {
            answers.push(match looked {
                Err(fault) => Looked::Failed(to_guest(&fault)),
                Ok((seen, None)) => Looked::Absent(seen),
                Ok((seen, Some(object))) => {
                    let mut state = serde_json::to_value(&object).unwrap_or_default();
                    if let Some(fields) = state.as_object_mut() {
                        fields.shift_remove("object");
                    }
                    Looked::Found(Found { state: state.to_string(), seen, extras: vec![] })
                }
            });
        }
        Ok(Ok(answers))
    }
}

/// What was seen of one name: a token for it, and the object where there is one.
type Seen = Result<(String, Option<Object>), Fault>;

impl CallState {
    /// Looks at objects by their names; `tables` says whether those of nftables are meant.
    pub(super) async fn look_at(
        &mut self,
        function: &'static str,
        names: Vec<String>,
        tables: bool,
    ) -> Result<Vec<Seen>> {
        let pass = self.pass(function)?;
        let mut allowed = Vec::with_capacity(names.len());
        let mut verdicts = Vec::with_capacity(names.len());
        for name in names {
            let verdict = self.may_see(&pass, &name, tables);
            verdicts.push(verdict.map(|name| allowed.push(name)));
        }
        let (allowed, answers) = match on_network(&pass, move |network| {
            let answers = network.look(&allowed);
            (allowed, answers)
        })
        .await
        {
            Ok(answered) => answered,
            Err(fault) => return Err(self.door.breach(fault).into()),
        };
        let mut answers = allowed.into_iter().zip(answers);
        let mut looked = Vec::with_capacity(verdicts.len());
        for verdict in verdicts {
            looked.push(match verdict {
                Err(fault) => Err(fault),
                Ok(()) => match answers.next() {
                    Some((network, Ok(object))) => {
                        let lasting = object.as_ref().map(Object::lasting);
                        let saw = Precondition::Network { network, object: lasting };
                        let Some(seen) = pass.seen.keep(saw) else {
                            return Err(self.door.broken("looked at more objects than one pass may").into());
                        };
                        Ok((seen, object))
                    }
                    Some((_, Err(fault))) => Err(fault),
                    None => Err(Fault::new("io", Blame::Host, "the target gave no answer")),
                },
            });
        }
        Ok(looked)
    }

    fn may_see(&mut self, pass: &Pass, name: &str, tables: bool) -> Result<ObjectName, Fault> {
        let name: ObjectName = name.parse().map_err(|why| Fault::new("invalid", Blame::Plugin, why))?;
        // Each package is a permission of its own.
        if matches!(name, ObjectName::Table { .. }) != tables {
            return Err(Fault::new("invalid", Blame::Plugin, format!("{name} is no object of this interface")));
        }
        self.door.decide(pass.eyes.grant(&self.door.plugin), pass.target.as_str(), Access::Network(&name))?;
        Ok(name)
    }
}

/// Reads away from the threads that run guests: the kernel may keep a question waiting.
pub(super) async fn on_network<T: Send + 'static>(
    pass: &Pass,
    work: impl FnOnce(&dyn NetworkReads) -> T + Send + 'static,
) -> Result<T, Fault> {
    let network = Arc::clone(pass.eyes.network()?);
    tokio::task::spawn_blocking(move || work(&*network))
        .await
        .map_err(|error| Fault::new("panic", Blame::Host, format!("a read of the target did not end: {error}")))
}
