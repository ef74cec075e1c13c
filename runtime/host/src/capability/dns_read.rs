//! `tidelock:dns/read`: looking at zones, within the grant, and how records are spelled.

use std::sync::Arc;

use tidelock_model::dns::{Rrset, RrsetName};
use tidelock_model::effect::Precondition;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::Access;
use tidelock_target::dns::Found;
use wasmtime::Result;

use crate::bindings::dns::read::{Host, Looked, Seen as Answer};
use crate::bindings::types::Error;
use crate::call::CallState;
use crate::convert::to_guest;
use crate::provider::Pass;

impl Host for CallState {
    async fn look(&mut self, names: Vec<String>) -> Result<Result<Vec<Looked>, Error>> {
        self.door.enter_read("dns/read.look", names.len())?;
        let looked = self.look_at_records("dns/read.look", names).await?;
        let each = |looked: Seen| match looked {
            Err(fault) => Looked::Failed(to_guest(&fault)),
            Ok((seen, Found { set, beside })) => {
                let state = set.map(|set| serde_json::to_string(&set).unwrap_or_default());
                Looked::Found(Answer { state, beside, seen, extras: vec![] })
            }
        };
        Ok(Ok(looked.into_iter().map(each).collect()))
    }

    async fn normalise(&mut self, set: String) -> Result<Result<String, Error>> {
        self.door.enter_read("dns/read.normalise", 1)?;
        let pass = self.pass("dns/read.normalise")?;
        let spelled = self.spelled(&pass, &set);
        Ok(spelled.map_err(|fault| to_guest(&fault)))
    }
}

/// What was seen of one name: a token for it, and what is there.
type Seen = Result<(String, Found), Fault>;

impl CallState {
    /// Looks at sets by their names.
    pub(super) async fn look_at_records(&mut self, function: &'static str, names: Vec<String>) -> Result<Vec<Seen>> {
        let pass = self.pass(function)?;
        let dns = match pass.eyes.dns() {
            Ok(dns) => Arc::clone(dns),
            Err(fault) => return Err(self.door.breach(fault).into()),
        };
        let mut allowed = Vec::with_capacity(names.len());
        let mut verdicts = Vec::with_capacity(names.len());
        for name in names {
            let verdict = self.may_see_records(&pass, &name);
            verdicts.push(verdict.map(|name| allowed.push(name)));
        }
        let answers = if allowed.is_empty() { vec![] } else { dns.look(&allowed).await };
        let mut answers = allowed.into_iter().zip(answers);
        let mut looked = Vec::with_capacity(verdicts.len());
        for verdict in verdicts {
            looked.push(match verdict {
                Err(fault) => Err(fault),
                Ok(()) => match answers.next() {
                    Some((rrset, Ok(found))) => {
                        let saw = Precondition::Records { rrset, records: found.set.clone() };
                        let Some(seen) = pass.seen.keep(saw) else {
                            return Err(self.door.broken("looked at more records than one pass may").into());
                        };
                        Ok((seen, found))
                    }
                    Some((_, Err(fault))) => Err(fault),
                    None => Err(Fault::new("io", Blame::Host, "the target gave no answer")),
                },
            });
        }
        Ok(looked)
    }

    fn may_see_records(&mut self, pass: &Pass, name: &str) -> Result<RrsetName, Fault> {
        let name: RrsetName = name.parse().map_err(|why| Fault::new("invalid", Blame::Plugin, why))?;
        self.door.decide(pass.eyes.grant(&self.door.plugin), pass.target.as_str(), Access::Records(&name))?;
        Ok(name)
    }

    fn spelled(&mut self, pass: &Pass, set: &str) -> Result<String, Fault> {
        let invalid = |why: String| Fault::new("invalid", Blame::Plugin, why);
        let set: Rrset = serde_json::from_str(set).map_err(|error| invalid(format!("this is no set: {error}")))?;
        let name = set.called().map_err(invalid)?;
        // Said here already, so that what is not granted does not get as far as a plan.
        self.door.decide(pass.eyes.grant(&self.door.plugin), pass.target.as_str(), Access::Records(&name))?;
        let spelled = pass.eyes.dns()?.normalise(set);
        if let Err(fault) = &spelled
            && fault.code == "denied"
        {
            self.door.denied(fault);
        }
        let spelled = spelled?;
        serde_json::to_string(&spelled).map_err(|error| invalid(error.to_string()))
    }
}
