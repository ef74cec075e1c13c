//! The room of plugins: by name, only what the operator accepted, bound to a target
//! where it is a provider.

use std::sync::Arc;

use async_trait::async_trait;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::kind::{ProviderInfo, RendererInfo};
use tidelock_model::name::Name;
use tidelock_model::plugin::Role;
use tidelock_model::port::{Plugins, Provider, Renderer};
use tokio::sync::OnceCell;

use crate::eyes::OpenEyes;
use crate::inspect::word;
use crate::load::{Host, Linked, Plugin};
use crate::lock::Lock;
use crate::provider::{self, Pass, WasmProvider};
use crate::renderer::WasmRenderer;
use crate::seen::SeenTable;

/// What a plugin says of itself.
#[derive(Debug, Clone)]
pub enum Described {
    /// A renderer.
    Renderer(RendererInfo),
    /// A provider.
    Provider(ProviderInfo),
}

impl Host {
    /// Asks a plugin what it is, about no target and no source.
    ///
    /// # Errors
    /// It is not there, the lock does not accept it, or it cannot be run or breaks the contract.
    pub async fn describe(self: &Arc<Self>, name: &str, lock: &Lock) -> Result<Described, Fault> {
        let missing = || Fault::new("not-found", Blame::Target, format!("no plugin named {name:?} is loaded"));
        let plugin = self.plugin(name).ok_or_else(missing)?;
        lock.check(&plugin.facts.plugin)?;
        let caller = self.caller(&plugin);
        match self.linked(&plugin).await? {
            Linked::Renderer(pre) => WasmRenderer { caller, plugin, pre }.describe().await.map(Described::Renderer),
            Linked::Provider(pre, _) => provider::describe(&plugin, &caller, &pre).await.map(Described::Provider),
        }
    }
}

/// The plugins of a host that a lock accepts, and eyes on the targets that they may look at.
pub struct PluginRoom {
    host: Arc<Host>,
    lock: Lock,
    eyes: OpenEyes,
}

impl PluginRoom {
    /// A room over a host.
    #[must_use]
    pub fn new(host: Arc<Host>, lock: Lock, eyes: OpenEyes) -> Self {
        Self { host, lock, eyes }
    }

    /// The plugin of a name, if it is there, accepted, and of the role.
    fn accepted(&self, name: &str, role: Role) -> Result<Arc<Plugin>, Fault> {
        let plugin = self.host.plugin(name).ok_or_else(|| self.unknown(name, role))?;
        if plugin.facts.role != role {
            let message = format!("plugin {name} is a {}, not a {}", word(plugin.facts.role), word(role));
            return Err(Fault::new("not-found", Blame::Target, message));
        }
        self.lock.check(&plugin.facts.plugin)?;
        Ok(plugin)
    }

    fn unknown(&self, name: &str, role: Role) -> Fault {
        let known: Vec<String> =
            self.host.facts().into_iter().filter(|facts| facts.role == role).map(|facts| facts.plugin.name).collect();
        let known = if known.is_empty() { "none is".to_owned() } else { format!("there are: {}", known.join(", ")) };
        Fault::new("not-found", Blame::Target, format!("no {} named {name:?} is loaded; {known}", word(role))).hint(
            "name one that is there, or put its .wasm into the directory that `plugins.dir` of tidelock.toml names",
        )
    }
}

#[async_trait]
impl Plugins for PluginRoom {
    async fn renderer(&self, name: &str) -> Result<Arc<dyn Renderer>, Fault> {
        let plugin = self.accepted(name, Role::Renderer)?;
        let Linked::Renderer(pre) = self.host.linked(&plugin).await? else {
            return Err(Fault::new("panic", Blame::Host, format!("{name} was linked in another role")));
        };
        let renderer = WasmRenderer { caller: self.host.caller(&plugin), plugin, pre };
        // Its name is held against the accepted one before anything else is asked.
        renderer.describe().await?;
        Ok(Arc::new(renderer))
    }

    async fn provider(&self, name: &str, target: &Name) -> Result<Arc<dyn Provider>, Fault> {
        let plugin = self.accepted(name, Role::Provider)?;
        let eyes = (self.eyes)(target)?;
        let imports = plugin.facts.permissions.iter().map(|permission| permission.import.as_str());
        eyes.serve(imports).map_err(|mut fault| {
            fault.message = format!("plugin {name} cannot work on {target}: {}", fault.message);
            fault
        })?;
        let Linked::Provider(pre, discovering) = self.host.linked(&plugin).await? else {
            return Err(Fault::new("panic", Blame::Host, format!("{name} was linked in another role")));
        };
        let pass = Arc::new(Pass { target: target.clone(), eyes, seen: SeenTable::new()?, reach: OnceCell::new() });
        let provider = WasmProvider { caller: self.host.caller(&plugin), plugin, pre, discovering, pass };
        provider.describe().await?;
        Ok(Arc::new(provider))
    }
}
