//! A provider plugin behind the model's port, bound to one target for one pass.
//! Splits long lists over calls, and believes no answer before it was checked.

use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tidelock_model::error::Fault;
use tidelock_model::kind::{Checked, ProviderInfo};
use tidelock_model::name::Name;
use tidelock_model::observation::{Observation, Subject, commands};
use tidelock_model::plugin::PluginRef;
use tidelock_model::port::{Declared, Found, Provider, StepAnswer, StepRequest};
use tidelock_model::sql::Reach;
use wasmtime::Store;

use crate::answers;
use crate::bindings::discover::DiscoveringPre;
use crate::bindings::provider::ProviderPluginPre;
use crate::bindings::provider::exports::tidelock::provider::provider as wit;
use crate::call::{CallState, Caller, Commands, Desk};
use crate::door::{Door, Export};
use crate::eyes::Eyes;
use crate::load::Plugin;
use crate::proposals::Proposals;
use crate::questions;
use crate::seen::SeenTable;

/// One pass over one target.
pub(crate) struct Pass {
    pub(crate) target: Name,
    pub(crate) eyes: Eyes,
    pub(crate) seen: SeenTable,
    /// What the roles of a database server reach, once that was asked for.
    pub(crate) reach: tokio::sync::OnceCell<Reach>,
}

/// A provider.
pub(crate) struct WasmProvider {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) caller: Caller,
    pub(crate) pre: ProviderPluginPre<CallState>,
    pub(crate) discovering: Option<DiscoveringPre<CallState>>,
    pub(crate) pass: Arc<Pass>,
}

/// A guest's answer to a list, with the door of the call that gave it.
struct Answered<A> {
    answers: Vec<A>,
    door: Door,
}

#[async_trait]
impl Provider for WasmProvider {
    fn plugin(&self) -> &PluginRef {
        &self.plugin.facts.plugin
    }

    async fn describe(&self) -> Result<ProviderInfo, Fault> {
        describe(&self.plugin, &self.caller, &self.pre).await
    }

    async fn check(&self, resources: &[Declared]) -> Result<Vec<Checked>, Fault> {
        let mut out = Vec::with_capacity(resources.len());
        for range in questions::split(resources, &self.caller.limits) {
            let asked = questions::declared(&resources[range]);
            let answered = self
                .list(Export::Check, Commands::new(), asked, |guest, store, asked| {
                    guest.call_check(store, asked).boxed()
                })
                .await?;
            for answer in answered.answers {
                out.push(self.sound(Export::Check, answers::checked(answer))?);
            }
        }
        Ok(out)
    }

    async fn normalise(&self, resources: &[Declared]) -> Result<Vec<Result<Value, Fault>>, Fault> {
        let mut out = Vec::with_capacity(resources.len());
        for range in questions::split(resources, &self.caller.limits) {
            let commands = resources[range.clone()].iter().flat_map(|declared| commands(&declared.spec)).collect();
            let asked = questions::declared(&resources[range]);
            let Answered { answers, mut door } = self
                .list(Export::Normalise, commands, asked, |guest, store, asked| {
                    guest.call_normalise(store, asked).boxed()
                })
                .await?;
            self.weigh(&mut door, answers.iter().flatten().map(String::as_str))?;
            for answer in answers {
                out.push(self.sound(Export::Normalise, answers::normalised(&door, answer))?);
            }
        }
        Ok(out)
    }

    async fn observe(&self, subjects: &[Subject]) -> Result<Vec<Observation>, Fault> {
        let info = self.describe().await?;
        let mut out: Vec<Option<Observation>> = subjects.iter().map(|_| None).collect();
        for places in questions::split_subjects(subjects, &info, &self.caller.limits) {
            let commands = places.iter().flat_map(|place| subjects[*place].commands.clone()).collect();
            let asked = places.iter().map(|place| questions::subject(&subjects[*place])).collect();
            let Answered { answers, mut door } = self
                .list(Export::Observe, commands, asked, |guest, store, asked| guest.call_observe(store, asked).boxed())
                .await?;
            self.weigh(&mut door, answers.iter().filter_map(answers::observed))?;
            for (place, answer) in places.into_iter().zip(answers) {
                let seen = &self.pass.seen;
                out[place] = Some(self.sound(Export::Observe, answers::observation(&door, seen, answer))?);
            }
        }
        // Every place is in exactly one call, and every call answered in full.
        Ok(out.into_iter().flatten().collect())
    }

    async fn discover(&self, kind: &str) -> Result<Option<Vec<Found>>, Fault> {
        self.pages(kind).await
    }

    async fn steps(&self, changes: &[StepRequest]) -> Result<Vec<StepAnswer>, Fault> {
        let mut out = Vec::with_capacity(changes.len());
        for range in questions::split(changes, &self.caller.limits) {
            let requests = changes[range].to_vec();
            let asked = questions::changes(&requests, requests.len() < changes.len());
            let specs = requests.iter().flat_map(|request| request.desired.iter().chain(&request.last));
            let commands = specs.flat_map(commands).collect();
            let desk = Desk::Target(Arc::clone(&self.pass), commands, Some(Proposals::new(requests)));
            let (Answered { answers, door }, desk) = self
                .list_with(Export::Steps, desk, asked, |guest, store, asked| guest.call_steps(store, asked).boxed())
                .await?;
            let mut said = Vec::with_capacity(answers.len());
            for answer in answers {
                said.push(self.sound(Export::Steps, answers::step(&door, answer))?);
            }
            if let Desk::Target(_, _, Some(proposals)) = desk {
                let settled = proposals.settle(said);
                out.append(&mut settled.map_err(|why| self.nonsense(Export::Steps, &why))?);
            }
        }
        Ok(out)
    }
}

/// What a provider says of itself, asked once. It needs no target.
pub(crate) async fn describe(
    plugin: &Plugin,
    caller: &Caller,
    pre: &ProviderPluginPre<CallState>,
) -> Result<ProviderInfo, Fault> {
    let ask = || async {
        let pre = pre.clone();
        let description = plugin
            .describe(
                caller,
                move |store| {
                    async move {
                        let guest = pre.instantiate_async(&mut *store).await?;
                        guest.tidelock_provider_provider().call_describe(store).await
                    }
                    .boxed()
                },
                |description| &description.name,
            )
            .await?;
        answers::description(&plugin.facts.plugin, description).map_err(|why| {
            let fault = plugin.nonsense(Export::Describe, &why);
            caller.tell(Export::Describe, &fault);
            fault
        })
    };
    plugin.provider_info.get_or_try_init(ask).await.cloned()
}

type Guest = wit::Guest;
type Listed<A> = wasmtime::Result<Result<Vec<A>, crate::bindings::types::Error>>;

impl WasmProvider {
    /// Asks about a list, without proposals.
    async fn list<Q, A>(
        &self,
        export: Export,
        commands: Commands,
        asked: Vec<Q>,
        ask: impl for<'a> Fn(&'a Guest, &'a mut Store<CallState>, &'a [Q]) -> BoxFuture<'a, Listed<A>> + Send + 'static,
    ) -> Result<Answered<A>, Fault>
    where
        Q: Send + Sync + 'static,
        A: Send + 'static,
    {
        let desk = Desk::Target(Arc::clone(&self.pass), commands, None);
        self.list_with(export, desk, asked, ask).await.map(|(answered, _)| answered)
    }

    /// Asks about a list, and holds the answer's length against the question's.
    async fn list_with<Q, A>(
        &self,
        export: Export,
        desk: Desk,
        asked: Vec<Q>,
        ask: impl for<'a> Fn(&'a Guest, &'a mut Store<CallState>, &'a [Q]) -> BoxFuture<'a, Listed<A>> + Send + 'static,
    ) -> Result<(Answered<A>, Desk), Fault>
    where
        Q: Send + Sync + 'static,
        A: Send + 'static,
    {
        let pre = self.pre.clone();
        let wanted = asked.len();
        let (answer, state) = self
            .caller
            .call(export, desk, move |store| {
                async move {
                    let guest = pre.instantiate_async(&mut *store).await?;
                    ask(guest.tidelock_provider_provider(), store, &asked).await
                }
                .boxed()
            })
            .await?;
        let CallState { door, desk, .. } = state;
        match answer {
            Ok(answers) if answers.len() == wanted => Ok((Answered { answers, door }, desk)),
            Ok(answers) => Err(self.nonsense(export, &format!("{} answers to {wanted} questions", answers.len()))),
            Err(error) => Err(answers::whole_call(&door, export, error)),
        }
    }

    /// Holds the JSON of an answer against the limit on output, before it is parsed.
    pub(crate) fn weigh<'a>(&self, door: &mut Door, texts: impl IntoIterator<Item = &'a str>) -> Result<(), Fault> {
        door.hand_over(answers::weight(texts)).map_err(|stop| {
            self.caller.tell(door.export, &stop.0);
            *stop.0
        })
    }

    pub(crate) fn sound<T>(&self, export: Export, answer: Result<T, String>) -> Result<T, Fault> {
        answer.map_err(|why| self.nonsense(export, &why))
    }

    /// The answer makes no sense: recorded, and the call fails.
    pub(crate) fn nonsense(&self, export: Export, why: &str) -> Fault {
        let fault = self.plugin.nonsense(export, why);
        self.caller.tell(export, &fault);
        fault
    }
}

impl questions::Question for Declared {
    fn size(&self) -> usize {
        questions::json_size(&self.spec) + self.address.len()
    }
}

impl questions::Question for StepRequest {
    fn size(&self) -> usize {
        let specs = [&self.desired, &self.observed, &self.last];
        specs.into_iter().flatten().map(questions::json_size).sum::<usize>() + self.identity.as_str().len()
    }
}

impl questions::Question for Subject {
    fn size(&self) -> usize {
        let texts = self.fields.iter().map(String::len).sum::<usize>();
        texts + self.identity.as_str().len() + self.handle.as_ref().map_or(0, String::len)
    }
}
