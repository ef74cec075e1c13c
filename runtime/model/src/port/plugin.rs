//! Plugins, as the loop sees them: renderers and providers.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::Tree;
use crate::effect::Effect;
use crate::error::{Diagnostic, Fault};
use crate::kind::{Checked, ProviderInfo, RendererInfo};
use crate::name::{Address, Identity, Kind, Name};
use crate::observation::{Observation, Subject};
use crate::plan::Action;
use crate::plugin::PluginRef;
use crate::reads::Read;
use crate::resource::RenderedDoc;

/// All that a render may depend on.
#[derive(Clone)]
pub struct RenderInputs {
    /// The files.
    pub tree: Arc<dyn Tree>,
    /// The module's directory.
    pub module: String,
    /// The stack's `settings:`; an object.
    pub settings: Value,
    /// The merged values.
    pub values: Value,
    /// The target's name.
    pub target: Name,
    /// The target's labels.
    pub labels: BTreeMap<String, String>,
    /// Facts that the operator's config names.
    pub facts: BTreeMap<String, Value>,
}

/// What a render gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// Resources, not yet read.
    pub docs: Vec<RenderedDoc>,
    /// Every question that was asked, once.
    pub reads: Vec<Read>,
}

/// Why a render or a plugin call gave nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PluginError {
    /// Git says something that cannot be rendered.
    #[error("{} problem(s) in the desired state", .0.len())]
    Problems(Vec<Diagnostic>),
    /// The call failed: a trap, a limit, a denial, or the plugin's own error.
    #[error("{0}")]
    Fault(Fault),
}

impl From<Fault> for PluginError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A renderer plugin.
#[async_trait]
pub trait Renderer: Send + Sync {
    /// Name, version and digest.
    fn plugin(&self) -> &PluginRef;

    /// Its description.
    ///
    /// # Errors
    /// The call failed.
    async fn describe(&self) -> Result<RendererInfo, Fault>;

    /// Renders. A pure function of `inputs`.
    ///
    /// # Errors
    /// Problems in the files, or the call failed.
    async fn render(&self, inputs: &RenderInputs) -> Result<Rendered, PluginError>;
}

/// A resource as it goes to a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// `kind/name`.
    pub address: String,
    /// The kind.
    pub kind: Kind,
    /// The spec, contents replaced and defaults filled in.
    pub spec: Value,
}

/// Something on a target that a kind is for.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// A name for it.
    pub name: String,
    /// Its spec, as a person would write it.
    pub spec: Value,
    /// What of it cannot be said in a spec.
    pub remarks: Vec<String>,
    /// Whether it is no resource, and its remarks are all that there is to it.
    pub left_out: bool,
}

/// A change that a provider finds effects for.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRequest {
    /// Where.
    pub address: Address,
    /// What it is on its target.
    pub identity: Identity,
    /// The kind.
    pub kind: Kind,
    /// What is to become of it: create, update, replace, delete, take-over or trigger.
    pub action: Action,
    /// The normalised desired spec.
    pub desired: Option<Value>,
    /// The observed spec.
    pub observed: Option<Value>,
    /// What was last applied.
    pub last: Option<Value>,
    /// The target's own id.
    pub handle: Option<String>,
    /// Fields that differ.
    pub fields: Vec<String>,
    /// Tokens that `observe` gave.
    pub seen: Vec<String>,
    /// For a trigger: what is asked.
    pub trigger: Option<String>,
    /// Identities beneath this one that may go with it: the strays that the host let through.
    pub beneath: Vec<Identity>,
}

/// What a provider says to one change.
#[derive(Debug, Clone, PartialEq)]
pub enum StepAnswer {
    /// These effects, checked against grant, change and precondition.
    Effects(Vec<Effect>),
    /// These fields can only change with a new resource.
    NeedsReplace(Vec<String>),
    /// Not yet known.
    Waits {
        /// The identity that must be there first.
        on: Identity,
        /// Why.
        why: String,
    },
    /// It cannot be done.
    Refused(Fault),
}

/// A provider plugin, bound to one target and one pass: tokens that its reads gave
/// out are good for its own `steps` alone. Lists of any length may be given; the
/// adapter splits them.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Name, version and digest.
    fn plugin(&self) -> &PluginRef;

    /// Its description.
    ///
    /// # Errors
    /// The call failed.
    async fn describe(&self) -> Result<ProviderInfo, Fault>;

    /// Identities, edges and remarks; no reads. In the order of the question.
    ///
    /// # Errors
    /// The call failed, or the answer does not fit the question.
    async fn check(&self, resources: &[Declared]) -> Result<Vec<Checked>, Fault>;

    /// Spells each spec as the target would. In the order of the question.
    ///
    /// # Errors
    /// The call failed, or the answer does not fit the question.
    async fn normalise(&self, resources: &[Declared]) -> Result<Vec<Result<Value, Fault>>, Fault>;

    /// Looks. In the order of the question.
    ///
    /// # Errors
    /// The call failed, or the answer does not fit the question.
    async fn observe(&self, subjects: &[Subject]) -> Result<Vec<Observation>, Fault>;

    /// Everything on the target that a kind (`role` of `postgres.role`) could manage; `None` where
    /// the plugin does not look for such.
    ///
    /// # Errors
    /// The call failed.
    async fn discover(&self, _kind: &str) -> Result<Option<Vec<Found>>, Fault> {
        Ok(None)
    }

    /// Proposes. In the order of the question.
    ///
    /// # Errors
    /// The call failed, a proposal was refused, or the answer does not fit the question.
    async fn steps(&self, changes: &[StepRequest]) -> Result<Vec<StepAnswer>, Fault>;
}

/// The room of plugins.
#[async_trait]
pub trait Plugins: Send + Sync {
    /// A renderer by the name that stacks use.
    ///
    /// # Errors
    /// Unknown, not accepted in the lock, or not loadable.
    async fn renderer(&self, name: &str) -> Result<Arc<dyn Renderer>, Fault>;

    /// A provider for one pass over a target.
    ///
    /// # Errors
    /// As [`Plugins::renderer`]; also where the target cannot be opened.
    async fn provider(&self, name: &str, target: &Name) -> Result<Arc<dyn Provider>, Fault>;
}
