//! Asking a provider what there is on its target, page by page, where it says so at all.

use std::sync::Arc;

use futures::FutureExt;
use tidelock_model::error::Fault;
use tidelock_model::port::Found;

use crate::answers;
use crate::call::{CallState, Commands, Desk};
use crate::door::Export;
use crate::json;
use crate::provider::WasmProvider;

/// What one kind of one target may turn out to hold.
const MAX_FOUND: usize = 200_000;

/// How a plugin says that it does not look for a kind.
const UNSUPPORTED: &str = "unsupported";

impl WasmProvider {
    /// Everything of a kind; `None` where the plugin does not look for it.
    pub(crate) async fn pages(&self, kind: &str) -> Result<Option<Vec<Found>>, Fault> {
        let Some(discovering) = &self.discovering else { return Ok(None) };
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let (pre, kind, from) = (discovering.clone(), kind.to_owned(), after.clone());
            let desk = Desk::Target(Arc::clone(&self.pass), Commands::new(), None);
            let (answer, state) = self
                .caller
                .call(Export::Discover, desk, move |store| {
                    async move {
                        let guest = pre.instantiate_async(&mut *store).await?;
                        guest.tidelock_provider_discover().call_discover(store, &kind, from.as_deref()).await
                    }
                    .boxed()
                })
                .await?;
            let CallState { mut door, .. } = state;
            let page = match answer {
                Ok(page) => page,
                Err(error) if error.code == UNSUPPORTED => return Ok(None),
                Err(error) => return Err(answers::whole_call(&door, Export::Discover, error)),
            };
            self.weigh(&mut door, page.found.iter().map(|found| found.spec.as_str()))?;
            let stuck = page.next.is_some() && (page.found.is_empty() || page.next == after);
            if stuck || all.len() + page.found.len() > MAX_FOUND {
                return Err(self.nonsense(Export::Discover, "pages without an end"));
            }
            for found in page.found {
                all.push(self.sound(Export::Discover, answers::found(found))?);
            }
            let Some(next) = page.next else { return Ok(Some(all)) };
            after = Some(self.sound(Export::Discover, json::key("page", next))?);
        }
    }
}
