//! A source on a server: what is asked of it, and the cache that its answers go into.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gix::ObjectId;
use tidelock_model::port::SourceError;
use tidelock_model::revision::Revision;

use super::{Inner, object_id};
use crate::cache::{Needs, Turn};
use crate::location::{Server, Way};
use crate::repository::{Repository, object_ceiling, private_ref};
use crate::wanted::Wanted;
use crate::watch::{Ended, watch};
use crate::wire::{Answer, Job, Program, Rebuild, Request};
use crate::{credentials, fault, fetch, proxy, ssh};

/// The wall clock of a fetch where the config names none, in seconds.
const TIMEOUT: u64 = 120;

/// The wall clock of a rebuild, in seconds; more where a fetch has more. Copying takes a
/// fraction of it even for gigabytes, but a disk may be slow.
const REBUILD_TIMEOUT: u64 = 600;

/// How much larger than the old packs a new one may become, in bytes: what is copied from
/// several of them may lose its deltas.
const REBUILD_ROOM: u64 = 64 << 20;

/// A commit, and where it can be read.
pub(super) struct Brought {
    pub(super) repository: Arc<Repository>,
    pub(super) id: ObjectId,
    /// There where the server was asked; nobody else asks until it is dropped.
    pub(super) turn: Option<Turn>,
}

impl Inner {
    /// Brings the commit from a server into the cache. Nothing is asked of the server for
    /// a commit that is named by its id and there already.
    pub(super) fn bring(
        &self,
        server: &Server,
        wanted: &Wanted,
        last: Option<&Revision>,
        also: &[String],
    ) -> Result<Brought, SourceError> {
        if let Some(id) = wanted.commit
            && let Some(repository) = self.cached()
            && repository.has(id)
        {
            let id = self.go_back(&repository, id, wanted)?;
            return Ok(Brought { repository, id, turn: None });
        }
        let turn = self.cache.turn(Instant::now() + Duration::from_secs(self.timeout()), &server.url)?;
        self.cache.upkeep(&turn, |needs| self.rebuild(needs));
        if let (Some(last), Some(repository)) = (last, self.cached()) {
            let last = object_id(&last.id)?;
            if repository.has(last) {
                self.cache.keep(&turn, &repository, last)?;
            }
        }
        let found = match self.run(&turn, server, wanted, also) {
            Err(error) if error.code == "ref-gone" && wanted.prefix.is_some() => {
                // Servers do not know abbreviations: the branch in force, then look it up.
                self.run(&turn, server, &self.configured, also)?;
                let prefix = wanted.prefix.as_deref().unwrap_or_default();
                self.cached().and_then(|repository| repository.parse(prefix)).ok_or(error)?
            }
            // A server that is gone keeps nobody from going back to what is here.
            Err(error) if matches!(error.code.as_str(), "unreachable" | "timeout") => {
                let prefix = wanted.prefix.as_deref().ok_or_else(|| error.clone())?;
                self.cached().and_then(|repository| repository.parse(prefix)).ok_or(error)?
            }
            other => other?,
        };
        let repository = self.cached().ok_or_else(|| fault::corrupt("the cache is gone".to_owned()))?;
        let id = self.go_back(&repository, found, wanted)?;
        Ok(Brought { repository, id, turn: Some(turn) })
    }

    fn run(&self, turn: &Turn, server: &Server, wanted: &Wanted, also: &[String]) -> Result<ObjectId, SourceError> {
        let authorization = match (&self.decl.auth, &server.way) {
            (Some(auth), Way::Http { tls }) => credentials::authorization(auth, &self.base, *tls)?,
            _ => None,
        };
        let proxy = match &server.way {
            Way::Http { tls } => proxy::resolve(&self.decl, &self.base, *tls)?,
            _ => None,
        };
        let ssh = match &server.way {
            Way::Ssh(address) => {
                let helper = Program { file: self.helper.program.clone(), args: self.helper.args.clone() };
                Some(ssh::prepare(self.decl.ssh.as_ref(), &self.base, address, helper)?)
            }
            Way::Http { .. } | Way::Git => None,
        };
        let ca = match &self.decl.ca {
            Some(file) => {
                let path = self.base.join(file);
                Some(std::fs::read_to_string(&path).map_err(|error| {
                    fault::io("cannot read the source's ca", &path, &error)
                        .hint("put the PEM file there; it is read again at the next poll")
                })?)
            }
            None => None,
        };
        let limits = &self.decl.limits;
        let request = Request {
            url: server.url.clone(),
            dir: self.cache.generation(turn)?,
            names: wanted.names.clone(),
            also: also.to_vec(),
            authorization,
            ca,
            proxy,
            ssh,
            memory: limits.memory,
            file_size: limits.pack,
            object: object_ceiling(limits.blob),
            timeout: self.timeout(),
        };
        fetch::run(turn, &self.helper, request, limits.pack).map(|brought| brought.id)
    }

    pub(super) fn cached(&self) -> Option<Arc<Repository>> {
        self.cache.open(self.decl.limits.blob).map(Arc::new)
    }

    /// Has a child copy what is needed of the cache.
    fn rebuild(&self, needs: &Needs) -> Result<(), SourceError> {
        let timeout = self.timeout().max(REBUILD_TIMEOUT);
        let job = Job::Rebuild(Rebuild {
            from: needs.from.clone(),
            into: needs.into.clone(),
            names: self.configured.names.iter().map(|name| private_ref(name)).collect(),
            kept: needs.kept.iter().map(ToString::to_string).collect(),
            memory: self.decl.limits.memory,
            file_size: needs.bytes.saturating_mul(2).saturating_add(REBUILD_ROOM),
            object: object_ceiling(self.decl.limits.blob),
            timeout,
        });
        let failed = |what: String| SourceError::new("io", format!("the rebuild of the cache {what}"));
        match watch(&self.helper, &job, Instant::now() + Duration::from_secs(timeout), || false)? {
            Ended::Answered(Answer::Rebuilt { objects }) => {
                tracing::debug!(source = %self.name, objects, "copied");
                Ok(())
            }
            Ended::Answered(Answer::Failed { code, message, hint, retryable }) => {
                Err(SourceError { code, message, hint, retryable })
            }
            Ended::Answered(Answer::Fetched { .. }) => Err(failed("was answered with something else".to_owned())),
            Ended::TimedOut => Err(failed(format!("did not finish within {timeout} s"))),
            Ended::TooLarge => Err(failed("wrote too much".to_owned())),
            Ended::Died(status) => Err(failed(format!("ended without an answer ({status})"))),
        }
    }

    fn timeout(&self) -> u64 {
        self.decl.timeout.unwrap_or(TIMEOUT)
    }
}
