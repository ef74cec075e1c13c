//! A renderer plugin behind the model's port. Records every question that a render
//! asks, so that a later revision with the same answers need not be rendered.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use tidelock_model::digest::Digest;
use tidelock_model::error::{Blame, Diagnostic, Fault, tame};
use tidelock_model::kind::RendererInfo;
use tidelock_model::plugin::PluginRef;
use tidelock_model::port::{PluginError, RenderInputs, Rendered, Renderer, SourceError};
use tidelock_model::reads::{self, Question, Read};
use tidelock_model::resource::RenderedDoc;
use tidelock_model::snippet::{self, Hidden};

use crate::bindings::renderer::RendererPluginPre;
use crate::bindings::renderer::exports::tidelock::renderer::renderer as wit;
use crate::call::{CallState, Caller, Desk};
use crate::convert::place;
use crate::door::{Export, MAX_LINE};
use crate::json;
use crate::load::Plugin;

/// Problems of one render that are shown.
const MAX_PROBLEMS: usize = 100;
/// Columns of a line that are shown.
const MAX_SNIPPET: usize = 200;
/// A summary is one line.
pub(crate) const MAX_SUMMARY: usize = 500;

/// What a render reads and gives.
pub(crate) struct RenderDesk {
    pub(crate) inputs: RenderInputs,
    pub(crate) docs: Vec<RenderedDoc>,
    /// By question: each is recorded once, and the order of asking does not matter.
    reads: BTreeMap<Question, Digest>,
}

impl RenderDesk {
    /// Records a question, and says how many bytes that takes; 0 where it was known.
    pub(crate) fn record(&mut self, question: Question) -> Result<usize, SourceError> {
        if self.reads.contains_key(&question) {
            return Ok(0);
        }
        let answer = reads::answer(&question, &self.inputs)?;
        let text = match &question {
            Question::File(text)
            | Question::List(text)
            | Question::Glob(text)
            | Question::Values(text)
            | Question::Label(text)
            | Question::Fact(text) => text.len(),
            Question::Settings | Question::Target => 0,
        };
        self.reads.insert(question, answer);
        Ok(text + size_of::<Read>())
    }
}

/// A renderer.
pub(crate) struct WasmRenderer {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) caller: Caller,
    pub(crate) pre: RendererPluginPre<CallState>,
}

#[async_trait]
impl Renderer for WasmRenderer {
    fn plugin(&self) -> &PluginRef {
        &self.plugin.facts.plugin
    }

    async fn describe(&self) -> Result<RendererInfo, Fault> {
        self.plugin.renderer_info.get_or_try_init(|| self.ask_describe()).await.cloned()
    }

    async fn render(&self, inputs: &RenderInputs) -> Result<Rendered, PluginError> {
        let desk = RenderDesk { inputs: inputs.clone(), docs: vec![], reads: BTreeMap::new() };
        let pre = self.pre.clone();
        let (answer, state) = self
            .caller
            .call(Export::Render, Desk::Render(Box::new(desk)), move |store| {
                async move {
                    let guest = pre.instantiate_async(&mut *store).await?;
                    guest.tidelock_renderer_renderer().call_render(store).await
                }
                .boxed()
            })
            .await?;
        let Desk::Render(desk) = state.desk else {
            return Err(Fault::new("panic", Blame::Host, "a render came back without its desk").into());
        };
        match answer {
            Ok(()) => Ok(Rendered {
                docs: desk.docs,
                reads: desk.reads.into_iter().map(|(question, answer)| Read { question, answer }).collect(),
            }),
            Err(problems) if problems.is_empty() => {
                let name = &self.plugin().name;
                Err(Fault::new("render", Blame::Plugin, format!("plugin {name} failed to render, and did not say why"))
                    .into())
            }
            Err(problems) => Err(PluginError::Problems(
                problems.into_iter().take(MAX_PROBLEMS).map(|problem| shown(problem, inputs)).collect(),
            )),
        }
    }
}

impl WasmRenderer {
    async fn ask_describe(&self) -> Result<RendererInfo, Fault> {
        let pre = self.pre.clone();
        let description = self
            .plugin
            .describe(
                &self.caller,
                move |store| {
                    async move {
                        let guest = pre.instantiate_async(&mut *store).await?;
                        guest.tidelock_renderer_renderer().call_describe(store).await
                    }
                    .boxed()
                },
                |description| &description.name,
            )
            .await?;
        let settings_schema = json::object(&description.settings_schema)
            .map_err(|why| self.plugin.nonsense(Export::Describe, &format!("its settings schema is {why}")))?;
        Ok(RendererInfo {
            name: description.name,
            version: self.plugin().version.clone(),
            summary: tame(&description.summary, MAX_SUMMARY),
            settings_schema,
        })
    }
}

/// A problem as a person sees it: with the line that it is about.
fn shown(problem: wit::Problem, inputs: &RenderInputs) -> Diagnostic {
    // A place that is no path of the source helps nobody; the message still does.
    let place = problem.place.and_then(|guest| place(&inputs.module, guest).ok());
    let snippet = place.as_ref().and_then(|place| {
        let at = usize::try_from(place.line).ok()?.checked_sub(1)?;
        let content = inputs.tree.read(&place.file).ok()??;
        // Nobody knows yet of which kinds it is; what is called as secrets are is not shown.
        let line = snippet::line_of(&String::from_utf8_lossy(&content), at, &Hidden::new())?;
        Some(tame(&line, MAX_SNIPPET))
    });
    let message = tame(&problem.message, MAX_LINE);
    let mut diagnostic = Diagnostic::error(message, place);
    diagnostic.snippet = snippet;
    diagnostic.hint = problem.hint.map(|hint| tame(&hint, MAX_LINE));
    diagnostic
}
