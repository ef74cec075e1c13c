//! One call of a plugin: a fresh store, within limits, under a clock, and thrown
//! away after use, trap, timeout or a dropped future. A store is never used twice:
//! what a guest left behind in it, and what an interrupted call left half done, ends
//! with it.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use tidelock_model::error::{Blame, Fault, tame};
use tidelock_model::limits::Limits;
use tidelock_model::port::Listener;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::capability::MAX_OPEN;
use crate::door::{Door, Export, MAX_LINE};
use crate::engine::EngineRoom;
use crate::meter::{self, Meter, Stop};
use crate::proposals::Proposals;
use crate::provider::Pass;
use crate::renderer::RenderDesk;

/// Handles of a guest's own resources. Tidelock's interfaces hand out none.
const MAX_HANDLES: usize = 10_000;

/// What the host keeps while a guest runs.
pub(crate) struct CallState {
    meter: Meter,
    /// What the guest holds of ours: connections and answers of database servers.
    pub(crate) table: ResourceTable,
    /// Memory of the answers that it holds, in bytes.
    pub(crate) answers: usize,
    pub(crate) door: Door,
    pub(crate) desk: Desk,
}

/// What the call is about.
pub(crate) enum Desk {
    /// Nothing but the plugin itself.
    Bare,
    /// A render.
    Render(Box<RenderDesk>),
    /// A look at a target, with the commands that stand in the specs of what is looked at;
    /// with proposals during `steps`.
    Target(Arc<Pass>, Commands, Option<Proposals>),
}

/// Commands, word for word.
pub(crate) type Commands = BTreeSet<Vec<String>>;

/// Who calls what.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) engine: Arc<EngineRoom>,
    pub(crate) plugin: Arc<str>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) listener: Arc<dyn Listener>,
}

impl Caller {
    /// Runs one call to its end, and gives its answer with what the host kept.
    ///
    /// # Errors
    /// A trap, a limit, the clock, a broken rule, or a fault of the host; told to the
    /// listener where the plugin is to blame.
    pub(crate) async fn call<R>(
        &self,
        export: Export,
        desk: Desk,
        body: impl for<'a> FnOnce(&'a mut Store<CallState>) -> BoxFuture<'a, wasmtime::Result<R>> + Send,
    ) -> Result<(R, CallState), Fault> {
        let gone = || Fault::new("io", Blame::Host, "the Wasm engine was shut down");
        let _place = self.engine.slots.acquire().await.map_err(|_| gone())?;
        let mut store = self.store(export, desk);
        let (ms, field) = export.clock(&self.limits);
        let clock = Duration::from_millis(ms);
        // The clock of the runtime ends waits in the host; the epoch, which yields to
        // it, ends spins in the guest.
        let ended = AssertUnwindSafe(tokio::time::timeout(clock, body(&mut store))).catch_unwind().await;
        let outcome = match ended {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => Err(self.explain(export, store.data_mut(), &error)),
            Ok(Err(_)) => Err(meter::timeout(&self.plugin, export.word(), field, ms)),
            Err(panic) => Err(self.own_panic(export, &*panic)),
        };
        let mut state = store.into_data();
        state.door.close();
        let outcome = match state.door.take_breach() {
            Some(breach) => Err(breach),
            None => outcome,
        };
        match outcome {
            Ok(answer) => Ok((answer, state)),
            Err(fault) => {
                state.door.tell_fault(&fault);
                Err(fault)
            }
        }
    }

    /// Tells the listener of a fault that came to light after the call.
    pub(crate) fn tell(&self, export: Export, fault: &Fault) {
        Door::new(&self.plugin, export, Arc::clone(&self.limits), Arc::clone(&self.listener)).tell_fault(fault);
    }

    fn store(&self, export: Export, desk: Desk) -> Store<CallState> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_OPEN);
        let state = CallState {
            table,
            answers: 0,
            meter: Meter::new(&self.plugin, &self.limits),
            door: Door::new(&self.plugin, export, Arc::clone(&self.limits), Arc::clone(&self.listener)),
            desk,
        };
        let mut store = Store::new(&self.engine.engine, state);
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(usize::try_from(self.limits.host_call).unwrap_or(usize::MAX));
        store.set_max_component_handles(MAX_HANDLES);
        store.set_epoch_deadline(1);
        let (ms, field) = export.clock(&self.limits);
        let deadline = Instant::now() + Duration::from_millis(ms);
        let plugin = Arc::clone(&self.plugin);
        store.epoch_deadline_callback(move |_| {
            if Instant::now() >= deadline {
                return Err(Stop::from(meter::timeout(&plugin, export.word(), field, ms)).into());
            }
            Ok(UpdateDeadline::Yield(1))
        });
        store
    }

    /// Says in one sentence why a call failed.
    fn explain(&self, export: Export, state: &mut CallState, error: &wasmtime::Error) -> Fault {
        let plugin = &*self.plugin;
        if let Some(Stop(fault)) = error.downcast_ref::<Stop>() {
            return (**fault).clone();
        }
        if let Some(panic) = state.door.panic() {
            return Fault::new("trap", Blame::Plugin, format!("plugin {plugin} panicked: {panic}"));
        }
        if let Some(trap) = error.downcast_ref::<Trap>() {
            let fault = |why: &str| {
                Fault::new("trap", Blame::Plugin, format!("plugin {plugin} trapped in `{}`: {why}", export.word()))
            };
            return match trap {
                Trap::StackOverflow => fault("its stack overflowed")
                    .hint(format!("raise limits.{plugin}.stack in tidelock.toml, or make the plugin nest less")),
                Trap::MemoryOutOfBounds => fault(&trap.to_string())
                    .hint("a plugin that nests too deeply ends like this too: compilers keep a stack in memory"),
                Trap::UnreachableCodeReached => fault("it aborted without a word"),
                other => fault(&other.to_string()),
            };
        }
        let text = format!("{error:#}");
        // wasmtime has no type for these two.
        if text.contains("fuel allocated for hostcalls") {
            return Fault::new(
                "limit",
                Blame::Plugin,
                format!("plugin {plugin} hands over more than {} bytes at once", self.limits.host_call),
            )
            .hint(format!(
                "raise limits.{plugin}.host_call in tidelock.toml, or make the plugin hand over less at once"
            ));
        }
        if text.contains("store handle limit exceeded") {
            return Fault::new(
                "limit",
                Blame::Plugin,
                format!("plugin {plugin} keeps more than {MAX_HANDLES} handles of its own"),
            );
        }
        // The chain holds a backtrace of offsets; its root is the sentence.
        let why = tame(&error.root_cause().to_string(), MAX_LINE);
        Fault::new("trap", Blame::Plugin, format!("plugin {plugin} broke the contract in `{}`: {why}", export.word()))
    }

    /// The host itself panicked while it served a guest. The process goes on; the
    /// call does not.
    fn own_panic(&self, export: Export, panic: &(dyn Any + Send)) -> Fault {
        let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned());
        Fault::new(
            "panic",
            Blame::Host,
            format!(
                "Tidelock panicked while it served `{}` of plugin {}: {}",
                export.word(),
                self.plugin,
                tame(&said, MAX_LINE)
            ),
        )
        .hint("this is a bug of Tidelock; please report it")
    }
}
