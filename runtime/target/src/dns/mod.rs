//! A DNS server: what its zones hold, and updates of them.
//!
//! Start at [`DnsServer`]. `wire` speaks to the server and is the only module that believes an
//! answer, `look` shows what is there, `update` is the only one that writes, `back` takes updates
//! back, and `text` knows how records are spelled. The key stays here: no answer, error or plan holds anything of it.

mod back;
mod look;
mod text;
mod update;
mod wire;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType as WireType, TSigner};
use tidelock_model::config::{DnsDecl, DnsKeyDecl, Kept, KeyPlace};
use tidelock_model::dns::{DnsEffect, Rrset, RrsetName, absolute};
use tidelock_model::effect::{Effect, EffectBody, Precondition};
use tidelock_model::error::{Blame, Fault};
use tidelock_model::grant::Grant;
use tidelock_model::name::Name;
use tidelock_model::plan::{Group, Preview};
use tidelock_model::port::{Blobs, Guard, Secrets, Target, Until};
use tidelock_model::run::Outcome;
use tidelock_model::secret::SecretValue;

pub(crate) use self::back::Names;
pub use self::look::Found;
use self::wire::{Session, question, refusal};
use crate::blocking;
use crate::network::{self, GuardHelper};
use crate::sql::credential;

/// The port of the DNS (RFC 1035, 4.2).
const PORT: u16 = 53;

/// Bounds of what is asked. Times are milliseconds, sizes bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsLimits {
    /// Connecting.
    pub connect_ms: u32,
    /// One answer.
    pub answer_ms: u32,
    /// A zone's transfer.
    pub transfer_ms: u32,
    /// Records of a zone.
    pub records: usize,
    /// A zone as it is sent.
    pub bytes: usize,
}

/// What a server is opened with, besides what the config says of it.
#[derive(Clone, Default)]
pub struct DnsOptions {
    /// Where a key comes from that the config keeps as a secret.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// The key as it is kept, for whoever has no config: then none is read.
    pub key: Option<SecretValue>,
    /// How guards are started; without it there are none.
    pub guards: Option<GuardHelper>,
    /// Bounds.
    pub limits: DnsLimits,
}

impl Default for DnsLimits {
    fn default() -> Self {
        Self { connect_ms: 5_000, answer_ms: 10_000, transfer_ms: 30_000, records: 1_000_000, bytes: 64 << 20 }
    }
}

/// What a server says of one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneFacts {
    /// The zone.
    pub zone: String,
    /// Its serial number.
    pub serial: u32,
    /// Whether the key is let have a transfer of it.
    pub transfers: bool,
}

/// A DNS server with the grants on it. Cheap to clone; holds nothing open.
#[derive(Clone)]
pub struct DnsServer {
    inner: Arc<Inner>,
}

struct Inner {
    name: Name,
    decl: DnsDecl,
    /// In the one spelling of names.
    zones: Vec<String>,
    grants: Arc<BTreeMap<String, Grant>>,
    secrets: Option<Arc<dyn Secrets>>,
    key: Option<SecretValue>,
    guards: Option<GuardHelper>,
    limits: DnsLimits,
    /// One `perform` at a time.
    performing: tokio::sync::Mutex<()>,
}

impl DnsServer {
    /// Takes a server. Nothing is connected yet. Paths in the declaration are absolute.
    ///
    /// # Errors
    /// A zone's name that is none.
    pub fn new(name: &Name, decl: DnsDecl, grants: Vec<Grant>, options: DnsOptions) -> Result<Self, Fault> {
        let DnsOptions { secrets, key, guards, limits } = options;
        let zones = decl.zones.iter().map(|zone| absolute(zone)).collect::<Result<_, String>>();
        let zones = zones.map_err(|why| fault("invalid", format!("[targets.{name}] zones: {why}")))?;
        let grants = Arc::new(grants.into_iter().map(|grant| (grant.plugin().to_owned(), grant)).collect());
        let performing = tokio::sync::Mutex::new(());
        let inner = Inner { name: name.clone(), decl, zones, grants, secrets, key, guards, limits, performing };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// All grants on it, by plugin.
    #[must_use]
    pub fn grants(&self) -> Arc<BTreeMap<String, Grant>> {
        Arc::clone(&self.inner.grants)
    }

    fn guard_helper(&self) -> Result<GuardHelper, Fault> {
        let none = || fault("unsupported", format!("target {} has no guards", self.inner.name));
        self.inner.guards.clone().ok_or_else(none)
    }

    /// What is there under each name. The caller has decided on the grants.
    pub async fn look(&self, names: &[RrsetName]) -> Vec<Result<Found, Fault>> {
        look::look(&self.inner, names).await
    }

    /// A set in the one spelling. Asks nobody.
    ///
    /// # Errors
    /// Its zone is none of this target, or a value is none of its type; with the field.
    pub fn normalise(&self, set: Rrset) -> Result<Rrset, Fault> {
        self.inner.serves(&set.zone)?;
        text::normalise(set)
    }

    /// What the server says of each zone, and whether it takes updates of it.
    pub async fn facts(&self) -> Vec<Result<ZoneFacts, Fault>> {
        let mut all = Vec::with_capacity(self.inner.zones.len());
        for zone in &self.inner.zones {
            all.push(self.inner.facts(zone).await);
        }
        all
    }
}

impl Inner {
    /// Who it is, for errors.
    fn whom(&self) -> String {
        format!("the DNS server of target {}", self.name)
    }

    fn port(&self) -> u16 {
        self.decl.port.unwrap_or(PORT)
    }

    fn host(&self) -> Result<String, Fault> {
        let Some(host) = self.decl.host.all().first() else {
            return Err(fault("invalid", format!("target {} names no host", self.name))
                .hint(format!("add to [targets.{}]:\n\nhost = \"192.0.2.53\"", self.name)));
        };
        credential::given(host, Path::new("/"), "host")
    }

    fn key(&self) -> Result<&DnsKeyDecl, Fault> {
        self.decl.key.as_ref().ok_or_else(|| {
            fault("invalid", format!("target {} names no key", self.name)).hint(format!(
                "add to [targets.{}]:\n\nkey = {{ name = \"tidelock\", secret = {{ file = \"tsig.secret\" }} }}",
                self.name
            ))
        })
    }

    /// What signs, with the secret as it is now.
    async fn signer(&self) -> Result<TSigner, Fault> {
        let key = self.key()?;
        let secret = self.secret().await?;
        // The error would hold a part of it.
        let text = std::str::from_utf8(secret.reveal()).unwrap_or_default().trim();
        let secret = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| {
            fault("auth", format!("the key of target {} is no base64", self.name))
                .hint("the secret alone belongs there, as `tsig-keygen` prints it between the quotes")
        })?;
        if secret.is_empty() {
            return Err(fault("auth", format!("the key of target {} is empty", self.name)));
        }
        wire::signer(&key.name, key.algorithm, secret)
    }

    /// The key as it is kept.
    async fn secret(&self) -> Result<SecretValue, Fault> {
        if let Some(given) = &self.key {
            return Ok(given.clone());
        }
        let kept = match &self.key()?.secret {
            KeyPlace::Env(name) => Kept::Env(name.clone()),
            KeyPlace::File(path) => Kept::File(path.clone()),
            KeyPlace::Secret(name) => {
                let none = || fault("auth", format!("no secrets are served for the key of target {}", self.name));
                return self.secrets.as_ref().ok_or_else(none)?.own(name).await;
            }
        };
        credential::secret(&kept, Path::new("/"), "key").map(|text| SecretValue::new(text.into_bytes()))
    }

    /// Whether a zone may be looked at and written here, whatever a grant says.
    fn serves(&self, zone: &str) -> Result<(), Fault> {
        if self.zones.iter().any(|ours| ours == zone) {
            return Ok(());
        }
        let listed: Vec<String> = self.zones.iter().map(|zone| format!("{zone:?}")).collect();
        let message = format!("the zone {zone} is none that target {} may touch", self.name);
        Err(fault("denied", message).hint(format!(
            "add it in tidelock.toml:\n\n[targets.{}]\nzones = [{}]",
            self.name,
            listed.into_iter().chain([format!("{zone:?}")]).collect::<Vec<_>>().join(", ")
        )))
    }

    async fn facts(&self, zone: &str) -> Result<ZoneFacts, Fault> {
        let (serial, _) = self.start(zone).await?;
        update::may_update(self, zone).await?;
        let transfers = look::may_transfer(self, zone).await?;
        Ok(ZoneFacts { zone: zone.to_owned(), serial, transfers })
    }

    /// The serial number of a zone, and the name of its primary.
    async fn start(&self, zone: &str) -> Result<(u32, String), Fault> {
        let mut session = Session::open(self).await?;
        let answer = session.ask(question(zone, WireType::SOA)?).await.map_err(|trouble| trouble.fault)?;
        if answer.response_code != ResponseCode::NoError {
            return Err(refusal(&self.whom(), answer.response_code, true));
        }
        let soa = answer.answers.iter().find_map(|record| match &record.data {
            RData::SOA(soa) if text::is(&record.name, zone) => Some((soa.serial, text::named(&soa.mname))),
            _ => None,
        });
        match soa {
            Some(soa) if answer.authoritative => Ok(soa),
            _ => Err(fault("invalid", format!("{} does not serve the zone {zone} as its own", self.whom()))
                .hint("name the primary of the zone in `host`")),
        }
    }
}

#[async_trait]
impl Target for DnsServer {
    async fn fingerprint(&self) -> Result<String, Fault> {
        let Some(zone) = self.inner.zones.first() else {
            return Err(fault("invalid", format!("target {} names no zone", self.inner.name)));
        };
        let (_, primary) = self.inner.start(zone).await?;
        Ok(format!("dns:{zone} of {primary}"))
    }

    async fn preview(&self, effect: &Effect, _: &dyn Blobs) -> Result<Preview, Fault> {
        let EffectBody::Dns(body) = &effect.body else {
            return Err(fault("invalid", format!("`{}` is not for a DNS server", effect.body.summary())));
        };
        let before = match &effect.precondition {
            Some(Precondition::Records { records, .. }) => records.as_ref(),
            _ => None,
        };
        let after = match body {
            DnsEffect::PutRecords { set, .. } => Some(set),
            DnsEffect::RemoveRecords { .. } => None,
        };
        let lines = |set: Option<&Rrset>| set.map(|set| set.lines().collect::<Vec<_>>()).unwrap_or_default();
        let (before, after) = (lines(before), lines(after));
        let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("-{line}\n"));
        let new = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+{line}\n"));
        Ok(Preview { text: gone.chain(new).collect(), cut: false })
    }

    async fn replaced(&self, _: &Effect, _: u64) -> Result<Option<Vec<u8>>, Fault> {
        Ok(None)
    }

    async fn perform(&self, run: &str, groups: &[Group], _: &dyn Blobs, until: &Until) -> Vec<Outcome> {
        update::perform(self, run, groups, until).await
    }

    async fn arm(&self, guard: &Guard) -> Result<(), Fault> {
        let (helper, guard) = (self.guard_helper()?, guard.clone());
        let names = Names::of(&self.inner.name, &self.inner.decl, self.inner.host()?, &guard.effects);
        let key = self.inner.secret().await?;
        blocking(move || network::arm_names(&helper, names, &key, &guard)).await?
    }

    async fn call_back(&self, id: &str, why: &str) -> Result<(), Fault> {
        let (server, helper, id, why) = (self.clone(), self.guard_helper()?, id.to_owned(), why.to_owned());
        blocking(move || network::call(&helper.folder, &server.inner.name, &id, &why, Some(&server))).await?
    }

    async fn relieve(&self, id: &str) -> Result<(), Fault> {
        let (server, helper, id) = (self.clone(), self.guard_helper()?, id.to_owned());
        blocking(move || network::relieve(&helper.folder, &server.inner.name, &id, Some(&server))).await?
    }

    async fn sweep(&self, _: &[Effect]) -> Result<usize, Fault> {
        // Nothing is left beside anything: an update is done as a whole or not at all.
        Ok(0)
    }
}

/// A fault that the target, or what was said of it, is to blame for.
fn fault(code: &str, message: impl Into<String>) -> Fault {
    Fault::new(code, Blame::Target, message)
}
