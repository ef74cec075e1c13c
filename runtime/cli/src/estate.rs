//! The operator's targets: which are declared, how each kind of system is opened, and
//! what every plugin was granted on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use tidelock_host::Eyes;
use tidelock_model::config::{Config, TargetDecl, TargetKind};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::{Grant, GrantDecl, glob, within};
use tidelock_model::name::Name;
use tidelock_model::port::{Guards, Secrets, Target, Targets};
use tidelock_target::dns::{DnsOptions, DnsServer};
use tidelock_target::sql::{Limits as SqlLimits, Server};
use tidelock_target::{GuardHelper, Machine, MachineOptions};

use crate::commands::GUARD;
use crate::config::{Loaded, OwnPaths};

/// A target of any kind, opened.
#[derive(Clone)]
pub(crate) enum Opened {
    /// A machine.
    Machine(Arc<Machine>),
    /// A database server.
    Server(TargetKind, Server),
    /// A DNS server.
    Dns(DnsServer),
}

impl Opened {
    /// What plugins may look at.
    pub(crate) fn eyes(self) -> Eyes {
        match self {
            Self::Machine(machine) => Eyes::on_machine(machine),
            Self::Server(kind, server) => Eyes::on_server(kind, server),
            Self::Dns(server) => Eyes::on_dns(server),
        }
    }

    /// What performs.
    pub(crate) fn hands(self) -> Arc<dyn Target> {
        match self {
            Self::Machine(machine) => machine,
            Self::Server(_, server) => Arc::new(server),
            Self::Dns(server) => Arc::new(server),
        }
    }
}

/// The targets of the config, each opened once, with all grants on it.
pub(crate) struct Estate {
    config: Config,
    /// Where the config is: what an environment variable or a file says of a socket starts there.
    folder: PathBuf,
    own: OwnPaths,
    guards: Option<GuardHelper>,
    /// For what a target is signed in to with.
    secrets: Arc<dyn Secrets>,
    /// Where what nft makes of rulesets is kept.
    rulesets: PathBuf,
    opened: Mutex<BTreeMap<Name, Opened>>,
}

impl Estate {
    /// Opens none yet.
    pub(crate) fn new(loaded: &Loaded, secrets: Arc<dyn Secrets>) -> Self {
        let guards = std::env::current_exe().ok().map(|program| GuardHelper {
            folder: loaded.guards(),
            program,
            words: vec![GUARD.to_owned()],
        });
        let folder = loaded.dir().to_owned();
        let (config, own) = (loaded.config.clone(), OwnPaths::collect(loaded));
        let rulesets = loaded.cache().join("rulesets");
        Self { config, folder, own, guards, secrets, rulesets, opened: Mutex::default() }
    }

    /// A target by name, opened when it is first asked for.
    pub(crate) fn open(&self, name: &Name) -> Result<Opened, Fault> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = opened.get(name) {
            return Ok(target.clone());
        }
        let decl = self.config.targets.get(name).ok_or_else(|| {
            Fault::new("not-found", Blame::Target, format!("the config declares no target {name}"))
                .hint(format!("add to tidelock.toml:\n\n[targets.{name}]\ntype = \"machine\""))
        })?;
        let target = match decl.kind {
            TargetKind::Machine => {
                let root = PathBuf::from(decl.root.as_deref().unwrap_or("/"));
                let grants = self.grants(name, &root)?;
                let (guards, rulesets) = (self.guards.clone(), Some(self.rulesets.clone()));
                let options = MachineOptions { guards, rulesets, ..MachineOptions::default() };
                Opened::Machine(Machine::open(name, decl, grants, options)?)
            }
            TargetKind::Postgres => {
                let grants = self.grants(name, Path::new("/"))?;
                let server = Server::postgres(name, decl.server(), self.folder.clone(), grants, limits(decl));
                Opened::Server(decl.kind, server)
            }
            TargetKind::Mysql => {
                let grants = self.grants(name, Path::new("/"))?;
                let server = Server::mysql(name, decl.server(), self.folder.clone(), grants, limits(decl));
                Opened::Server(decl.kind, server)
            }
            TargetKind::Sqlite => {
                let file = PathBuf::from(decl.file.as_deref().unwrap_or_default());
                self.refuse_own(name, &file)?;
                let grants = self.grants(name, Path::new("/"))?;
                Opened::Server(decl.kind, Server::sqlite(name, file, grants, limits(decl)))
            }
            TargetKind::Dns => {
                let grants = self.grants(name, Path::new("/"))?;
                let secrets = Some(Arc::clone(&self.secrets));
                let options = DnsOptions { secrets, guards: self.guards.clone(), ..DnsOptions::default() };
                Opened::Dns(DnsServer::new(name, decl.dns(), grants, options)?)
            }
        };
        opened.insert(name.clone(), target.clone());
        Ok(target)
    }

    /// Our own store is a database in a file, too.
    fn refuse_own(&self, name: &Name, file: &Path) -> Result<(), Fault> {
        let real = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let ours = |path: &Path| {
            let shown = path.to_string_lossy();
            self.own.seen_from(Path::new("/")).iter().any(|own| within(&shown, own))
        };
        if !ours(file) && !ours(&real) {
            return Ok(());
        }
        let message =
            format!("target {name}: {} holds Tidelock's own files; no target can be one of them", file.display());
        Err(Fault::new("denied", Blame::Target, message).hint("name another file in `file`"))
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

/// How long a database may take. What cannot be read was refused with the config.
fn limits(decl: &TargetDecl) -> SqlLimits {
    let ms = |text: &Option<String>, or: u32| {
        let length = text.as_ref().and_then(|text| text.parse::<SignedDuration>().ok());
        length.and_then(|length| u32::try_from(length.as_millis().max(1)).ok()).unwrap_or(or)
    };
    let (given, usual) = (&decl.timeouts, SqlLimits::default());
    SqlLimits {
        statement_ms: ms(&given.statement, usual.statement_ms),
        lock_ms: ms(&given.lock, usual.lock_ms),
        write_ms: ms(&given.write, usual.write_ms),
        turn_ms: ms(&given.turn, usual.turn_ms),
        ..usual
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

impl Targets for Estate {
    fn target(&self, name: &Name) -> Result<Arc<dyn Target>, Fault> {
        Ok(self.open(name)?.hands())
    }

    fn guards(&self) -> Result<Guards, Fault> {
        self.guards.as_ref().map_or_else(|| Ok(Guards::default()), GuardHelper::listed)
    }

    fn confirm(&self, target: &Name, guard: &str) -> Result<bool, Fault> {
        self.guards.as_ref().map_or(Ok(false), |helper| helper.confirm(target, guard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelock_model::config::TimeoutsDecl;
    use tidelock_model::grant::Access;

    fn estate(dir: &Path, config: &str) -> Estate {
        let file = dir.join("tidelock.toml");
        std::fs::write(&file, config).unwrap();
        let loaded = crate::config::load(&file).unwrap();
        Estate::new(&loaded, crate::wire::secrets(&loaded))
    }

    #[test]
    fn a_time_out_is_never_none_at_all() {
        let of = |text: &str| {
            let timeouts = TimeoutsDecl { statement: Some(text.to_owned()), ..TimeoutsDecl::default() };
            limits(&TargetDecl { timeouts, ..TargetDecl::default() }).statement_ms
        };
        // Zero is no limit to a server.
        assert_eq!([of("100us"), of("3s")], [1, 3_000]);
    }

    #[test]
    fn grants_add_up_and_our_own_files_stay_shut() {
        let dir = tempfile::tempdir().unwrap();
        let estate = estate(
            dir.path(),
            "[targets.web-1]\ntype = \"machine\"\nroot = \".\"\n[[grants.server]]\ntargets = [\"web-*\"]\npaths = [\"/**\"]\n\
             [[grants.server]]\ntargets = [\"db-*\"]\nexec = [[\"/bin/true\"]]\n[grants.other]\ntargets = [\"db-*\"]\n\
             [sources.a]\nurl = \"git@host:a\"\nssh = { key = \"deploy_key\", known_hosts = \"known_hosts\" }\n\
             [sources.b]\nurl = \"https://host/b\"\nauth = { token_file = \"token\" }\nproxy = \"https://proxy\"\n\
             proxy_auth = { username = \"bot\", password_file = \"password\" }\n",
        );
        let Opened::Machine(machine) = estate.open(&Name::new("web-1").unwrap()).unwrap() else { panic!() };
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
        let fault = estate(dir.path(), "").open(&Name::new("web-1").unwrap()).err().unwrap();
        assert!(fault.hint.unwrap().contains("[targets.web-1]"));
    }
}
