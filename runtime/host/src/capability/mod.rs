//! What guests may ask of the host: one interface of `wit/` each, one file each.
//! Every function goes through the [door](crate::door) before it does anything.

mod dns_propose;
mod dns_read;
mod inputs_output;
mod log;
mod machine_propose;
mod machine_read;
mod netlink_propose;
mod netlink_read;
mod nft_propose;
mod nft_read;
mod sql_propose;
mod sql_read;
mod tree;

use std::sync::Arc;

pub(crate) use self::sql_read::MAX_OPEN;
#[expect(unreachable_pub, reason = "the generated bindings name them in a public module")]
pub use self::sql_read::{Connection, Rows};

use tidelock_model::error::Fault;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Engine, Result};

use crate::bindings::{provider, renderer, types};
use crate::call::{CallState, Desk};
use crate::convert::to_guest;
use crate::meter::Stop;
use crate::proposals::{Offer, Refusal, There};
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
    /// Takes an effect that a guest proposes: the one way in for those of every kind. `look`
    /// sees what is at a path, where the effect is about one.
    async fn offer<L>(
        &mut self,
        function: &'static str,
        offer: Offer,
        look: impl FnOnce(Arc<Pass>, String) -> L,
    ) -> Result<std::result::Result<(), types::Error>>
    where
        L: Future<Output = std::result::Result<There, Fault>>,
    {
        self.door.enter(function, 1)?;
        let Desk::Target(pass, _, Some(proposals)) = &mut self.desk else {
            return Err(self.door.broken(format!("called {function} outside of `steps`")).into());
        };
        self.door.hand_over(serde_json::to_vec(&offer.body).map_or(0, |text| text.len()) + 256)?;
        let taken = {
            let plugin = &self.door.plugin;
            let (grant, target) = (pass.eyes.grant(plugin), pass.target.as_str());
            proposals.take(offer, grant, &pass.seen, plugin, target, |path| look(Arc::clone(pass), path)).await
        };
        match taken {
            Ok(()) => Ok(Ok(())),
            // The operator's no: this change is refused, the others go on.
            Err(Refusal::Denied(fault)) => {
                self.door.denied(&fault);
                Ok(Err(to_guest(&fault)))
            }
            Err(Refusal::Unseen(fault)) => Ok(Err(to_guest(&fault))),
            // A rule of the contract: nothing of this call counts.
            Err(Refusal::Broken(what)) => Err(self.door.broken(what).into()),
        }
    }

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
