//! Puts the adapters behind the ports: Git, SQLite, machines and Wasm, as the config
//! says. The only place that knows them all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tidelock_model::config::Config;
use tidelock_model::error::{Blame, Fault};
use tidelock_model::event::RunEvent;
use tidelock_model::grant::{Grant, GrantDecl, glob};
use tidelock_model::name::{Lane, Name};
use tidelock_model::port::{Clock, Listener, Source, Store, Target, Targets};
use tidelock_reconcile::select::Siblings;
use tidelock_reconcile::{Interrupt, Runtime};
use tidelock_source::{FetchHelper, GitSource};
use tidelock_store::SqliteStore;
use tidelock_target::{Checks, Machine, MachineOptions};

use crate::commands::FETCH_CHILD;
use crate::config::{Loaded, OwnPaths};
use crate::error::{CliError, Kind};
use crate::plugins;

/// Everything that a pass runs on.
pub(crate) fn runtime(loaded: &Loaded, listener: Arc<dyn Listener>) -> Result<Runtime, CliError> {
    over(loaded, listener, Arc::new(SqliteStore::open(&loaded.store())?))
}

/// The same over a store that is open: a config that is read anew does not change it.
pub(crate) fn over(loaded: &Loaded, listener: Arc<dyn Listener>, store: Arc<dyn Store>) -> Result<Runtime, CliError> {
    let machines = Arc::new(Machines::new(loaded));
    let heard = PluginEvents { store: Arc::clone(&store), listener: Arc::clone(&listener) };
    let plugins = plugins::room(loaded, &machines, Arc::new(heard))?;
    Ok(Runtime {
        config: loaded.config.clone(),
        sources: sources(loaded)?,
        plugins,
        targets: machines,
        checks: Arc::new(Checks),
        store,
        clock: Arc::new(SystemClock),
        listener,
        interrupt: Interrupt::default(),
        looping: false,
        siblings: Siblings::default(),
    })
}

/// The sources, none of them fetched yet.
pub(crate) fn sources(loaded: &Loaded) -> Result<BTreeMap<Name, Arc<dyn Source>>, CliError> {
    let program = std::env::current_exe().map_err(|error| {
        CliError::new(Kind::Io, format!("cannot find this program, which fetches for itself: {error}"))
    })?;
    let mut sources: BTreeMap<Name, Arc<dyn Source>> = BTreeMap::new();
    for (name, decl) in &loaded.config.sources {
        let helper = FetchHelper { program: program.clone(), args: vec![FETCH_CHILD.to_owned()] };
        let source = GitSource::new(name.clone(), decl, loaded.dir(), &loaded.cache(), helper)?;
        sources.insert(name.clone(), Arc::new(source));
    }
    Ok(sources)
}

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, CliError> {
    Ok(threads()?.block_on(future))
}

/// The threads that futures run on.
pub(crate) fn threads() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Kind::Io, format!("cannot start threads: {error}")))
}

/// The machines of the config, each opened once, with all grants on it.
pub(crate) struct Machines {
    config: Config,
    own: OwnPaths,
    opened: Mutex<BTreeMap<Name, Arc<Machine>>>,
}

impl Machines {
    /// Opens none yet.
    pub(crate) fn new(loaded: &Loaded) -> Self {
        Self { config: loaded.config.clone(), own: OwnPaths::collect(loaded), opened: Mutex::default() }
    }

    /// A machine by name.
    pub(crate) fn open(&self, name: &Name) -> Result<Arc<Machine>, Fault> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(machine) = opened.get(name) {
            return Ok(Arc::clone(machine));
        }
        let decl = self.config.targets.get(name).ok_or_else(|| {
            Fault::new("not-found", Blame::Target, format!("the config declares no target {name}"))
                .hint(format!("add to tidelock.toml:\n\n[targets.{name}]\ntype = \"machine\""))
        })?;
        let root = PathBuf::from(decl.root.as_deref().unwrap_or("/"));
        let machine = Machine::open(name, decl, self.grants(name, &root)?, MachineOptions::default())?;
        opened.insert(name.clone(), Arc::clone(&machine));
        Ok(machine)
    }

    /// What every plugin may do on a target. Our own files are shut in each.
    fn grants(&self, target: &Name, root: &Path) -> Result<Vec<Grant>, Fault> {
        let own = self.own.seen_from(root);
        let mut grants = Vec::new();
        for (plugin, decls) in &self.config.grants {
            let mut here: Vec<&GrantDecl> = Vec::new();
            for decl in decls.iter() {
                if any_matches(&decl.targets, target)? {
                    here.push(decl);
                }
            }
            if !here.is_empty() {
                grants.push(Grant::new(plugin, target.as_str(), here, own.clone())?);
            }
        }
        Ok(grants)
    }
}

/// Whether a target is meant by a list of names and globs.
pub(crate) fn any_matches(patterns: &[String], target: &Name) -> Result<bool, Fault> {
    for pattern in patterns {
        if glob(pattern, false)?.is_match(target.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Targets for Machines {
    fn target(&self, name: &Name) -> Result<Arc<dyn Target>, Fault> {
        Ok(self.open(name)?)
    }
}

/// What plugins say and do wrong: stored like the events of a pass, and logged.
struct PluginEvents {
    store: Arc<dyn Store>,
    listener: Arc<dyn Listener>,
}

impl Listener for PluginEvents {
    fn event(&self, run: Option<&str>, lane: Option<&Lane>, event: &RunEvent) {
        match event {
            RunEvent::PluginLog { plugin, level, message } => tracing::info!(%plugin, %level, "{message}"),
            RunEvent::PluginFault { plugin, call, message } => tracing::warn!(%plugin, %call, "{message}"),
            _ => {}
        }
        // A debug line is for the plugin's author, who reads the log.
        let kept = !matches!(event, RunEvent::PluginLog { level, .. } if level == "debug");
        if kept && let Err(error) = self.store.put_event(Timestamp::now(), run, lane, event) {
            tracing::warn!(%error, "an event of a plugin was not stored");
        }
        self.listener.event(run, lane, event);
    }
}

/// The clock on the wall.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, ms: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(Duration::from_millis(ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_model::grant::Access;

    fn machines(dir: &Path, config: &str) -> Machines {
        let file = dir.join("tidelock.toml");
        std::fs::write(&file, config).unwrap();
        Machines::new(&crate::config::load(&file).unwrap())
    }

    #[test]
    fn grants_add_up_and_our_own_files_stay_shut() {
        let dir = tempfile::tempdir().unwrap();
        let machines = machines(
            dir.path(),
            "[targets.web-1]\ntype = \"machine\"\nroot = \".\"\n[[grants.server]]\ntargets = [\"web-*\"]\npaths = [\"/**\"]\n\
             [[grants.server]]\ntargets = [\"db-*\"]\nexec = [[\"/bin/true\"]]\n[grants.other]\ntargets = [\"db-1\"]\n\
             [sources.a]\nurl = \"git@host:a\"\nssh = { key = \"deploy_key\", known_hosts = \"known_hosts\" }\n\
             [sources.b]\nurl = \"https://host/b\"\nauth = { token_file = \"token\" }\nproxy = \"https://proxy\"\n\
             proxy_auth = { username = \"bot\", password_file = \"password\" }\n",
        );
        let machine = machines.open(&Name::new("web-1").unwrap()).unwrap();
        assert!(machine.grant("other").is_none());
        let grant = machine.grant("server").unwrap();
        assert!(grant.decide(Access::Write("/etc/motd")).is_ok());
        assert!(grant.decide(Access::Exec(&["/bin/true".to_owned()])).is_err());
        let files = ["/tidelock.toml", "/tidelock.lock", "/tidelock.db", "/tidelock.db-wal", "/cache/git/x", "/STOP"];
        let secrets = ["/deploy_key", "/known_hosts", "/token", "/password"];
        for own in files.into_iter().chain(secrets) {
            let fault = grant.decide(Access::Write(own)).unwrap_err();
            assert!(fault.message.contains("own files"), "{own}: {fault}");
        }
    }

    #[test]
    fn a_target_that_nobody_declared_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let fault = machines(dir.path(), "").open(&Name::new("web-1").unwrap()).err().unwrap();
        assert!(fault.hint.unwrap().contains("[targets.web-1]"));
    }
}
