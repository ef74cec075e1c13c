//! What the host may look at of one target: reads alone. The one place where this crate
//! meets `tidelock-target`, narrowed to one trait per kind of system, so that no
//! capability can reach the functions that write.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tidelock_model::config::{Keeper, TargetKind};
use tidelock_model::dns::{Rrset, RrsetName};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::Grant;
use tidelock_model::name::Name;
use tidelock_model::network::{Object, ObjectName, Table};
use tidelock_model::sql::{Dialect, Reach, SqlEffect};
use tidelock_target::dns::{DnsServer, Found};
use tidelock_target::sql::guard::Judged;
use tidelock_target::sql::{Answer, Facts, Server, SqlFault};
use tidelock_target::{Ended, Machine, Network, Stat};

/// Opens a target by name for looking, with all grants on it.
pub type OpenEyes = Arc<dyn Fn(&Name) -> Result<Eyes, Fault> + Send + Sync>;

/// What can be looked at of a target, by kind of system, and who may.
#[derive(Clone)]
pub struct Eyes {
    kind: TargetKind,
    grants: Arc<BTreeMap<String, Grant>>,
    machine: Option<Arc<dyn MachineReads>>,
    sql: Option<Arc<dyn SqlReads>>,
    network: Option<Arc<dyn NetworkReads>>,
    dns: Option<Arc<dyn DnsReads>>,
}

impl Eyes {
    /// Eyes on a machine.
    #[must_use]
    pub fn on_machine(machine: Arc<Machine>) -> Self {
        let network = Some(Arc::new(machine.network().clone()) as Arc<dyn NetworkReads>);
        let grants = machine.grants();
        Self { network, machine: Some(machine), ..Self::blind(TargetKind::Machine, grants) }
    }

    /// Eyes on a database server.
    #[must_use]
    pub fn on_server(kind: TargetKind, server: Server) -> Self {
        let grants = server.grants();
        Self { sql: Some(Arc::new(server)), ..Self::blind(kind, grants) }
    }

    /// Eyes on a DNS server.
    #[must_use]
    pub fn on_dns(server: DnsServer) -> Self {
        let grants = server.grants();
        Self { dns: Some(Arc::new(server)), ..Self::blind(TargetKind::Dns, grants) }
    }

    fn blind(kind: TargetKind, grants: Arc<BTreeMap<String, Grant>>) -> Self {
        Self { kind, grants, machine: None, sql: None, network: None, dns: None }
    }

    /// What a plugin may do on the target; `None` where nothing was granted to it.
    pub(crate) fn grant(&self, plugin: &str) -> Option<&Grant> {
        self.grants.get(plugin)
    }

    /// Files and commands.
    pub(crate) fn machine(&self) -> Result<&Arc<dyn MachineReads>, Fault> {
        self.machine.as_ref().ok_or_else(|| self.lacks("files and commands"))
    }

    /// Databases.
    pub(crate) fn sql(&self) -> Result<&Arc<dyn SqlReads>, Fault> {
        self.sql.as_ref().ok_or_else(|| self.lacks("databases"))
    }

    /// Links, addresses, routes, rules, settings and tables.
    pub(crate) fn network(&self) -> Result<&Arc<dyn NetworkReads>, Fault> {
        self.network.as_ref().ok_or_else(|| self.lacks("network of its own"))
    }

    /// Records of zones.
    pub(crate) fn dns(&self) -> Result<&Arc<dyn DnsReads>, Fault> {
        self.dns.as_ref().ok_or_else(|| self.lacks("zones"))
    }

    /// Whether the target has what one of some interfaces reads or writes. A plugin may have kinds
    /// for several types of targets; of those that are for another type each call says so.
    pub(crate) fn serve<'i>(&self, imports: impl IntoIterator<Item = &'i str>) -> Result<(), Fault> {
        let mut lacks = Ok(());
        for import in imports {
            let served = match import.split_once('/').map(|(package, _)| package) {
                Some("tidelock:machine") => self.machine().map(drop),
                Some("tidelock:sql") => self.sql().map(drop),
                Some("tidelock:netlink" | "tidelock:nft") => self.network().map(drop),
                Some("tidelock:dns") => self.dns().map(drop),
                // The others are about no target.
                _ => continue,
            };
            match served {
                Ok(()) => return Ok(()),
                Err(fault) => lacks = Err(fault),
            }
        }
        lacks
    }

    fn lacks(&self, what: &str) -> Fault {
        Fault::new("invalid", Blame::Target, format!("it is a target of type {:?} and has no {what}", self.kind.word()))
            .hint("let the stack go to targets of the type that its kinds are for: `targets:` of its stack.yaml")
    }
}

/// The reads of a machine. See [`Machine`].
#[async_trait]
pub(crate) trait MachineReads: Send + Sync {
    fn stat(&self, paths: &[String], digest: bool) -> Vec<Result<Stat, Fault>>;
    fn list(&self, path: &str) -> Result<Option<Vec<String>>, Fault>;
    fn content(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, Fault>;
    fn user(&self, name_or_number: &str) -> Result<Option<String>, Fault>;
    fn group(&self, name_or_number: &str) -> Result<Option<String>, Fault>;
    async fn probe(&self, argv: &[String], timeout_ms: u32) -> Result<Ended, Fault>;
}

#[async_trait]
impl MachineReads for Machine {
    fn stat(&self, paths: &[String], digest: bool) -> Vec<Result<Stat, Fault>> {
        Machine::stat(self, paths, digest)
    }
    fn list(&self, path: &str) -> Result<Option<Vec<String>>, Fault> {
        Machine::list(self, path)
    }
    fn content(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, Fault> {
        Machine::content(self, path, max)
    }
    fn user(&self, name_or_number: &str) -> Result<Option<String>, Fault> {
        Machine::user(self, name_or_number)
    }
    fn group(&self, name_or_number: &str) -> Result<Option<String>, Fault> {
        Machine::group(self, name_or_number)
    }
    async fn probe(&self, argv: &[String], timeout_ms: u32) -> Result<Ended, Fault> {
        Machine::probe(self, argv, timeout_ms).await
    }
}

/// The reads of a database server. See [`Server`].
#[async_trait]
pub(crate) trait SqlReads: Send + Sync {
    fn maintenance(&self) -> &str;
    async fn dialect(&self) -> Result<Dialect, SqlFault>;
    fn reads_as(&self, statement: &SqlEffect) -> bool;
    async fn reach(&self) -> Result<Reach, SqlFault>;
    async fn facts(&self) -> Result<Facts, SqlFault>;
    async fn judge(&self, text: &str) -> Result<Judged, SqlFault>;
    async fn ask(
        &self,
        database: Option<&str>,
        query: &Judged,
        parameters: &[Option<String>],
    ) -> Result<Answer, SqlFault>;
}

#[async_trait]
impl SqlReads for Server {
    fn maintenance(&self) -> &str {
        Server::maintenance(self)
    }
    async fn dialect(&self) -> Result<Dialect, SqlFault> {
        Server::dialect(self).await
    }
    fn reads_as(&self, statement: &SqlEffect) -> bool {
        Server::reads_as(self, statement)
    }
    async fn reach(&self) -> Result<Reach, SqlFault> {
        Server::reach(self).await
    }
    async fn facts(&self) -> Result<Facts, SqlFault> {
        Server::facts(self).await
    }
    async fn judge(&self, text: &str) -> Result<Judged, SqlFault> {
        Server::judge(self, text).await
    }
    async fn ask(
        &self,
        database: Option<&str>,
        query: &Judged,
        parameters: &[Option<String>],
    ) -> Result<Answer, SqlFault> {
        Server::ask(self, database, query, parameters).await
    }
}

/// The reads of a network. See [`Network`].
pub(crate) trait NetworkReads: Send + Sync {
    fn keeper(&self) -> Option<Keeper>;
    fn look(&self, names: &[ObjectName]) -> Vec<Result<Option<Object>, Fault>>;
    fn normalise(&self, family: &str, name: &str, text: &str) -> Result<Table, Fault>;
}

impl NetworkReads for Network {
    fn keeper(&self) -> Option<Keeper> {
        Network::keeper(self)
    }
    fn look(&self, names: &[ObjectName]) -> Vec<Result<Option<Object>, Fault>> {
        Network::look(self, names)
    }
    fn normalise(&self, family: &str, name: &str, text: &str) -> Result<Table, Fault> {
        Network::normalise(self, family, name, text)
    }
}

/// The reads of a DNS server. See [`DnsServer`].
#[async_trait]
pub(crate) trait DnsReads: Send + Sync {
    async fn look(&self, names: &[RrsetName]) -> Vec<Result<Found, Fault>>;
    fn normalise(&self, set: Rrset) -> Result<Rrset, Fault>;
}

#[async_trait]
impl DnsReads for DnsServer {
    async fn look(&self, names: &[RrsetName]) -> Vec<Result<Found, Fault>> {
        DnsServer::look(self, names).await
    }
    fn normalise(&self, set: Rrset) -> Result<Rrset, Fault> {
        DnsServer::normalise(self, set)
    }
}
