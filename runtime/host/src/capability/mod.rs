//! What guests may ask of the host: one interface of `wit/` each, one file each.
//! Every function goes through the [door](crate::door) before it does anything.

mod inputs_output;
mod log;
mod machine_propose;
mod machine_read;
mod tree;

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Engine, Result};

use crate::bindings::{provider, renderer};
use crate::call::{CallState, Desk};
use crate::meter::Stop;
use crate::provider::Pass;
use crate::renderer::RenderDesk;

/// Everything that a renderer can be linked to.
pub(crate) fn for_renderers(engine: &Engine) -> Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    renderer::RendererPlugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    Ok(linker)
}

/// Everything that a provider can be linked to.
pub(crate) fn for_providers(engine: &Engine) -> Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    provider::ProviderPlugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    Ok(linker)
}

impl CallState {
    /// The render that a read or an `emit` belongs to.
    fn render(&mut self, function: &'static str) -> Result<&mut RenderDesk, Stop> {
        if !matches!(self.desk, Desk::Render(_)) {
            return Err(self.door.broken(format!("called {function} outside of `render`")));
        }
        match &mut self.desk {
            Desk::Render(desk) => Ok(desk),
            // Told apart above, where the door is free to be borrowed.
            Desk::Bare | Desk::Target(..) => unreachable!("not a render"),
        }
    }

    /// The pass over a target that a read belongs to.
    fn pass(&mut self, function: &'static str) -> Result<Arc<Pass>, Stop> {
        match &self.desk {
            Desk::Target(pass, ..) => Ok(Arc::clone(pass)),
            Desk::Bare | Desk::Render(_) => Err(self.door.broken(format!("called {function} without a target"))),
        }
    }
}
