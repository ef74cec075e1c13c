//! Several machines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::name::Name;
use tidelock_model::port::{Guards, Plugins, Provider, Renderer, Target, Targets};

use super::machine::Machine;
use super::plugins::FakePlugins;

/// Several machines, each a target of its own. Looking at one that hangs never ends, and one that
/// is gone is not had at all.
#[derive(Default)]
pub(in crate::run::tests) struct Fleet {
    pub(in crate::run::tests) machines: BTreeMap<Name, Arc<Machine>>,
    pub(in crate::run::tests) hanging: Mutex<BTreeSet<Name>>,
    pub(in crate::run::tests) gone: Mutex<BTreeSet<Name>>,
    pub(in crate::run::tests) guards: Mutex<Guards>,
}

impl Targets for Fleet {
    fn target(&self, name: &Name) -> Result<Arc<dyn Target>, Fault> {
        if self.gone.lock().unwrap().contains(name) {
            return Err(Fault::new("root", Blame::Target, format!("target {name} is gone")));
        }
        Ok(self.machines[name].clone())
    }

    fn guards(&self) -> Result<Guards, Fault> {
        let Guards { known, unread } = self.guards.lock().unwrap().clone();
        let known = self.machines.values().flat_map(|machine| machine.guarded()).chain(known).collect();
        Ok(Guards { known, unread })
    }

    fn confirm(&self, target: &Name, id: &str) -> Result<bool, Fault> {
        Ok(self.machines[target].confirmed(id))
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
