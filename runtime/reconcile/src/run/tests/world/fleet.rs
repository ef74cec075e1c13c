//! Several machines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::name::Name;
use tidelock_model::port::{Guarded, Plugins, Provider, Renderer, Target, Targets};

use super::machine::Machine;
use super::plugins::FakePlugins;

/// Several machines, each a target of its own. Looking at one that hangs never ends, and one that
/// is gone is not had at all.
#[derive(Default)]
pub(in crate::run::tests) struct Fleet {
    pub(in crate::run::tests) machines: BTreeMap<Name, Arc<Machine>>,
    pub(in crate::run::tests) hanging: Mutex<BTreeSet<Name>>,
    pub(in crate::run::tests) gone: Mutex<BTreeSet<Name>>,
    pub(in crate::run::tests) guards: Mutex<Vec<Guarded>>,
}

impl Targets for Fleet {
    fn target(&self, name: &Name) -> Result<Arc<dyn Target>, Fault> {
        if self.gone.lock().unwrap().contains(name) {
            return Err(Fault::new("root", Blame::Target, format!("target {name} is gone")));
        }
        Ok(self.machines[name].clone())
    }

    fn guards(&self) -> Result<Vec<Guarded>, Fault> {
        let own = self.guards.lock().unwrap().clone();
        Ok(self.machines.values().flat_map(|machine| machine.guarded()).chain(own).collect())
    }

    fn confirm(&self, id: &str) -> Result<bool, Fault> {
        Ok(self.machines.values().any(|machine| machine.confirmed(id)))
    }
}

#[async_trait]
impl Plugins for Fleet {
    async fn renderer(&self, name: &str) -> Result<Arc<dyn Renderer>, Fault> {
        FakePlugins(Arc::default()).renderer(name).await
    }
    async fn provider(&self, name: &str, target: &Name) -> Result<Arc<dyn Provider>, Fault> {
        if self.hanging.lock().unwrap().contains(target) {
            std::future::pending::<()>().await;
        }
        FakePlugins(self.machines[target].clone()).provider(name, target).await
    }
}
