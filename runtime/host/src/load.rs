//! Plugins on their way from bytes to something that can be called: found, read
//! within limits, looked at without running them, and compiled once they are needed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tidelock_model::error::{Blame, Fault, tame};
use tidelock_model::kind::{ProviderInfo, RendererInfo};
use tidelock_model::limits::Limits;
use tidelock_model::plugin::{PluginFacts, Role};
use tidelock_model::port::Listener;
use tokio::sync::OnceCell;
use wasmtime::Store;
use wasmtime::component::{Component, Linker};

use crate::aot::AotCache;
use crate::bindings::discover::DiscoveringPre;
use crate::bindings::provider::ProviderPluginPre;
use crate::bindings::renderer::RendererPluginPre;
use crate::call::{CallState, Caller, Desk};
use crate::capability;
use crate::door::{Export, MAX_LINE};
use crate::engine::EngineRoom;
use crate::inspect::{inspect, word};
use crate::meter;

/// The interface of providers that find what is there.
const DISCOVER: &str = "tidelock:provider/discover@0.1.0";

/// How a host is set up.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Where compiled plugins are kept: a directory of its own, made 0700, with the key
    /// that vouches for them in a file of mode 0600.
    pub cache_dir: PathBuf,
    /// Limits by plugin; `default` for the rest. Memory of a place in the pool and the
    /// Wasm stack are reserved by the largest of each; the meter keeps each plugin to
    /// its own memory.
    pub limits: BTreeMap<String, Limits>,
}

/// The host of all plugins of a process: one wasmtime engine, the plugins that were
/// registered, and their compiled forms.
pub struct Host {
    engine: Arc<EngineRoom>,
    cache: Option<AotCache>,
    limits: BTreeMap<String, Limits>,
    listener: Arc<dyn Listener>,
    compiling: fn(&str),
    renderers: Linker<CallState>,
    providers: Linker<CallState>,
    plugins: Mutex<BTreeMap<String, Arc<Plugin>>>,
}

/// A registered plugin.
pub(crate) struct Plugin {
    pub(crate) facts: PluginFacts,
    pub(crate) limits: Arc<Limits>,
    pub(crate) renderer_info: OnceCell<RendererInfo>,
    pub(crate) provider_info: OnceCell<ProviderInfo>,
    bytes: Cow<'static, [u8]>,
    linked: OnceCell<Linked>,
}

/// Compiled, and joined with what it imports: an instance is microseconds away.
#[derive(Clone)]
pub(crate) enum Linked {
    Renderer(RendererPluginPre<CallState>),
    Provider(ProviderPluginPre<CallState>, Option<DiscoveringPre<CallState>>),
}

impl Plugin {
    /// Asks the plugin what it is: a call about nothing but itself. The name that it gives,
    /// which `name` takes out of the answer, must be its own.
    pub(crate) async fn describe<D>(
        &self,
        caller: &Caller,
        body: impl for<'a> FnOnce(&'a mut Store<CallState>) -> BoxFuture<'a, wasmtime::Result<D>> + Send,
        name: impl Fn(&D) -> &str,
    ) -> Result<D, Fault> {
        let (description, _) = caller.call(Export::Describe, Desk::Bare, body).await?;
        self.same_name(name(&description))?;
        Ok(description)
    }

    /// The name in a description must be the one that was locked, granted and limited.
    fn same_name(&self, described: &str) -> Result<(), Fault> {
        let name = &self.facts.plugin.name;
        if described == name {
            return Ok(());
        }
        Err(Fault::new(
            "refused",
            Blame::Plugin,
            format!(
                "{}: the plugin is named {name} in its `tidelock:plugin` section, but calls itself {:?}",
                self.facts.origin,
                tame(described, 200)
            ),
        ))
    }

    /// The fault of an answer that breaks the contract. `why` says what was given.
    pub(crate) fn nonsense(&self, export: Export, why: &str) -> Fault {
        let name = &self.facts.plugin.name;
        Fault::new(
            "invalid",
            Blame::Plugin,
            format!("plugin {name} broke the contract in `{}`: {}", export.word(), tame(why, MAX_LINE)),
        )
    }
}

impl Host {
    /// Sets up the engine and opens the cache. A cache that cannot be trusted is not
    /// used, and the log says why; plugins are then compiled on each start.
    ///
    /// # Errors
    /// The engine cannot be set up on this machine.
    pub fn new(options: HostOptions, listener: Arc<dyn Listener>) -> Result<Self, Fault> {
        let HostOptions { cache_dir, limits } = options;
        let fallback = Limits::default();
        let engine = EngineRoom::new(limits.values().chain(std::iter::once(&fallback)))?;
        let cache = AotCache::open(&cache_dir, &engine.engine)
            .inspect_err(|error| tracing::warn!("compiled plugins are not kept: {error}"))
            .ok();
        let link =
            |error: wasmtime::Error| Fault::new("io", Blame::Host, format!("cannot link capabilities: {error:#}"));
        Ok(Self {
            renderers: capability::for_renderers(&engine.engine).map_err(link)?,
            providers: capability::for_providers(&engine.engine).map_err(link)?,
            engine: Arc::new(engine),
            cache,
            limits,
            listener,
            compiling: |_| {},
            plugins: Mutex::default(),
        })
    }

    /// Has somebody told the name of each plugin whose compiling begins: it may take half a
    /// minute on a small machine, and is done once for each digest.
    #[must_use]
    pub fn telling(self, compiling: fn(&str)) -> Self {
        Self { compiling, ..self }
    }

    /// Registers every `*.wasm` of a directory, in byte order. A directory that is not
    /// there holds none.
    ///
    /// # Errors
    /// The first file that is refused, by name; see [`Host::load_bytes`].
    pub fn load_dir(&self, dir: &Path) -> Result<Vec<PluginFacts>, Fault> {
        let io = |path: &Path, error: std::io::Error| {
            Fault::new("io", Blame::Target, format!("{}: {error}", path.display()))
        };
        let mut paths = Vec::new();
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(io(dir, error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| io(dir, error))?.path();
            let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && path.extension().is_some_and(|extension| extension == "wasm") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut facts = Vec::with_capacity(paths.len());
        for path in paths {
            // The name, and with it the plugin's own limit, is known only once it was read.
            let most = self.limits.values().map(|limits| limits.component).max();
            let most = most.unwrap_or(0).max(Limits::default().component);
            let file = File::open(&path).map_err(|error| io(&path, error))?;
            let size = file.metadata().map_err(|error| io(&path, error))?.len();
            let origin = path.display().to_string();
            if size > most {
                return Err(too_large(&origin, "default", size, most));
            }
            let mut bytes = Vec::new();
            file.take(most + 1).read_to_end(&mut bytes).map_err(|error| io(&path, error))?;
            facts.push(self.load_bytes(&origin, Cow::Owned(bytes))?);
        }
        Ok(facts)
    }

    /// Registers a component. It is looked at, not compiled; that waits until it is
    /// needed and accepted.
    ///
    /// # Errors
    /// Too large; not a component; without a name; importing what is not served; or a
    /// second plugin of a name.
    pub fn load_bytes(&self, origin: &str, bytes: Cow<'static, [u8]>) -> Result<PluginFacts, Fault> {
        let facts = inspect(origin, &bytes)?;
        let name = facts.plugin.name.clone();
        let limits = self.limits_of(&name);
        if facts.size > limits.component {
            return Err(too_large(origin, &name, facts.size, limits.component));
        }
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = plugins.get(&name) {
            if other.facts.plugin.digest == facts.plugin.digest {
                return Ok(other.facts.clone());
            }
            return Err(Fault::new(
                "refused",
                Blame::Target,
                format!("two plugins are named {name}: {} and {origin}", other.facts.origin),
            )
            .hint("remove one of them from the plugins directory"));
        }
        let plugin = Plugin {
            facts: facts.clone(),
            limits: Arc::new(limits),
            renderer_info: OnceCell::new(),
            provider_info: OnceCell::new(),
            bytes,
            linked: OnceCell::new(),
        };
        plugins.insert(name, Arc::new(plugin));
        Ok(facts)
    }

    /// What can be said of each registered plugin, sorted by name.
    #[must_use]
    pub fn facts(&self) -> Vec<PluginFacts> {
        let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.values().map(|plugin| plugin.facts.clone()).collect()
    }

    /// The limits of a plugin.
    #[must_use]
    pub fn limits_of(&self, plugin: &str) -> Limits {
        self.limits.get(plugin).or_else(|| self.limits.get("default")).cloned().unwrap_or_default()
    }

    /// Whether instances come from a pool, which is faster; some machines refuse it the
    /// address space.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.engine.pooled
    }

    pub(crate) fn plugin(&self, name: &str) -> Option<Arc<Plugin>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn caller(&self, plugin: &Plugin) -> Caller {
        Caller {
            engine: Arc::clone(&self.engine),
            plugin: plugin.facts.plugin.name.as_str().into(),
            limits: Arc::clone(&plugin.limits),
            listener: Arc::clone(&self.listener),
        }
    }

    /// Compiles a plugin and links it, or takes it from the cache; once.
    pub(crate) async fn linked(self: &Arc<Self>, plugin: &Arc<Plugin>) -> Result<Linked, Fault> {
        let link = || async {
            let (host, plugin) = (Arc::clone(self), Arc::clone(plugin));
            // Compiling takes most of a second for each megabyte.
            tokio::task::spawn_blocking(move || host.link(&plugin))
                .await
                .map_err(|error| Fault::new("panic", Blame::Host, format!("compiling a plugin did not end: {error}")))?
        };
        plugin.linked.get_or_try_init(link).await.cloned()
    }

    fn link(&self, plugin: &Plugin) -> Result<Linked, Fault> {
        let facts = &plugin.facts;
        let failed = |doing: &str, error: &wasmtime::Error| {
            let said = tame(&format!("{error:#}"), MAX_LINE);
            Fault::new(
                "refused",
                Blame::Plugin,
                format!("{}: {doing} plugin {}: {said}", facts.origin, facts.plugin.name),
            )
        };
        let component = self.compile(plugin).map_err(|error| failed("cannot compile", &error))?;
        let linker = match facts.role {
            Role::Renderer => &self.renderers,
            Role::Provider => &self.providers,
        };
        let doing = "cannot link";
        let pre = linker.instantiate_pre(&component).map_err(|error| failed(doing, &error))?;
        match facts.role {
            Role::Renderer => RendererPluginPre::new(pre).map(Linked::Renderer),
            Role::Provider => {
                let exports = component.component_type();
                let discovers = exports.exports(&self.engine.engine).any(|(name, _)| name == DISCOVER);
                let discovering = discovers.then(|| DiscoveringPre::new(pre.clone())).transpose();
                discovering.and_then(|discovering| Ok(Linked::Provider(ProviderPluginPre::new(pre)?, discovering)))
            }
        }
        .map_err(|error| failed(&format!("{} {doing} as a", word(facts.role)), &error))
    }

    fn compile(&self, plugin: &Plugin) -> wasmtime::Result<Component> {
        let (engine, digest) = (&self.engine.engine, &plugin.facts.plugin.digest);
        if let Some(kept) = self.cache.as_ref().and_then(|cache| cache.load(engine, digest)) {
            return Ok(kept);
        }
        (self.compiling)(&plugin.facts.plugin.name);
        let component = Component::new(engine, &plugin.bytes)?;
        if let Some(cache) = &self.cache {
            cache.keep(&component, digest);
        }
        Ok(component)
    }
}

fn too_large(origin: &str, name: &str, size: u64, allowed: u64) -> Fault {
    let mut fault = meter::limit(name, "component", "is too large (bytes)", size, allowed);
    fault.message = format!("{origin}: the component has {size} bytes, and the limit is {allowed}");
    fault
}
