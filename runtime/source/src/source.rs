//! [`GitSource`]: finds the commit, verifies it, decides whether it comes into force,
//! and opens its files.

mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use gix::ObjectId;
use jiff::Timestamp;
use tidelock_model::config::SourceDecl;
use tidelock_model::digest::Digest;
use tidelock_model::name::Name;
use tidelock_model::port::{Fetched, Source, SourceError, Want};
use tidelock_model::revision::{Revision, Signature, SourceNotice};

use crate::allowed_signers::{self, AllowedSigners};
use crate::cache::Cache;
use crate::location::Location;
use crate::repository::{Commit, Repository, private_ref};
use crate::tree::{Committed, Rules, Worktree, count_uncommitted};
use crate::wanted::Wanted;
use crate::watch::FetchHelper;
use crate::{declared, fault, proxy, signature};

use server::Brought;

/// What a revision's id is for a work tree.
const WORKTREE: &str = "worktree";

/// A Git repository and ref, as the operator's config declares it.
pub struct GitSource {
    inner: Arc<Inner>,
}

struct Inner {
    name: Name,
    decl: SourceDecl,
    base: PathBuf,
    location: Location,
    configured: Wanted,
    cache: Cache,
    helper: FetchHelper,
}

impl GitSource {
    /// A source. Relative paths of the config start at `base_dir`; fetched repositories
    /// are kept below `cache_dir`. Nothing is read or fetched yet.
    ///
    /// # Errors
    /// `invalid`: the declaration cannot be served; [`check`](crate::check) says which field.
    pub fn new(
        name: Name,
        decl: &SourceDecl,
        base_dir: &Path,
        cache_dir: &Path,
        helper: FetchHelper,
    ) -> Result<Self, SourceError> {
        let about = |mut error: SourceError| {
            error.message = format!("source {name}: {}", error.message);
            error
        };
        declared::check(decl).map_err(|misfit| about(misfit.error))?;
        let location = Location::parse(&decl.url, base_dir).map_err(about)?;
        let configured = Wanted::configured(decl).map_err(about)?;
        // By url too: another repository under the same name starts afresh.
        let plain: String = name
            .as_str()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
            .take(40)
            .collect();
        let key = Digest::of_parts([name.as_str().as_bytes(), decl.url.as_bytes()]);
        let cache = Cache::new(cache_dir.join("git").join(format!("{plain}-{}", key.short())));
        let inner = Inner { name, decl: decl.clone(), base: base_dir.to_owned(), location, configured, cache, helper };
        Ok(Self { inner: Arc::new(inner) })
    }
}

#[async_trait]
impl Source for GitSource {
    async fn fetch_with(&self, want: &Want, last: Option<&Revision>, tags: &[String]) -> Result<Fetched, SourceError> {
        let (inner, want, last, tags) = (Arc::clone(&self.inner), want.clone(), last.cloned(), tags.to_vec());
        // Bounded by the fetch's own clock, so a caller that goes away leaves nothing running for long.
        tokio::task::spawn_blocking(move || inner.fetch(&want, last.as_ref(), &tags))
            .await
            .map_err(|error| fault::ours(format!("the fetch was cut short: {error}")))?
            .map_err(|mut error| {
                error.message = format!("source {}: {}", self.inner.name, error.message);
                error
            })
    }

    async fn tag(&self, name: &str) -> Result<Option<String>, SourceError> {
        let (inner, name) = (Arc::clone(&self.inner), name.to_owned());
        tokio::task::spawn_blocking(move || inner.tag(&name))
            .await
            .map_err(|error| fault::ours(format!("the look at a tag was cut short: {error}")))?
            .map(|id| id.map(|id| id.to_string()))
    }

    async fn descends(&self, tip: &str, base: &str) -> Result<bool, SourceError> {
        let (inner, tip, base) = (Arc::clone(&self.inner), object_id(tip)?, object_id(base)?);
        tokio::task::spawn_blocking(move || inner.descends(tip, base))
            .await
            .map_err(|error| fault::ours(format!("the look at the history was cut short: {error}")))?
    }

    fn server(&self) -> Option<(String, u16)> {
        proxy::connected_to(&self.inner.decl, &self.inner.location)
    }
}

impl Inner {
    /// What is here, without asking anybody.
    fn here(&self) -> Result<Option<Arc<Repository>>, SourceError> {
        Ok(match &self.location {
            Location::Path(path) => Some(Arc::new(Repository::open(path, self.decl.limits.blob)?)),
            Location::Server(_) => self.cached(),
        })
    }

    fn tag(&self, name: &str) -> Result<Option<ObjectId>, SourceError> {
        let wanted = Wanted::rev(name)?;
        let Some(repository) = self.here()? else { return Ok(None) };
        match &self.location {
            Location::Path(_) => tagged(&repository, &wanted, str::to_owned),
            Location::Server(_) => tagged(&repository, &wanted, private_ref),
        }
    }

    fn descends(&self, tip: ObjectId, base: ObjectId) -> Result<bool, SourceError> {
        let repository = self.here()?;
        repository.filter(|repository| repository.has(tip)).map_or(Ok(false), |here| here.descends(tip, base))
    }

    fn fetch(&self, want: &Want, last: Option<&Revision>, tags: &[String]) -> Result<Fetched, SourceError> {
        let wanted = match want {
            Want::Configured => self.configured.clone(),
            Want::Rev(text) => Wanted::rev(text)?,
            Want::Worktree => return self.worktree(),
        };
        // A work tree is not a commit that could stay in force.
        let last = last.filter(|last| last.id != WORKTREE && last.source == self.name);
        let server = match &self.location {
            Location::Server(server) => server,
            Location::Path(path) => {
                let (repository, id) = self.find_here(path, &wanted)?;
                return self.judge(&repository, &wanted, id, last);
            }
        };
        let Brought { repository, id, turn } = match self.bring(server, &wanted, last, tags) {
            Ok(brought) => brought,
            Err(error) => return self.stay(&wanted, last, error),
        };
        // What modules are read from is needed without the server too, and need not be in the history.
        if let Some(turn) = &turn {
            for tag in tags {
                if let Some(id) = tagged(&repository, &Wanted::rev(tag)?, private_ref)? {
                    self.cache.keep(turn, &repository, id)?;
                }
            }
        }
        let fetched = self.judge(&repository, &wanted, id, last)?;
        // With the turn: the next fetch may move the branch back to before it.
        let id = &fetched.revision.id;
        if let Some(turn) = turn.filter(|_| !wanted.explicit || last.is_some_and(|last| last.id == *id)) {
            self.cache.keep(&turn, &repository, object_id(id)?)?;
        }
        Ok(fetched)
    }

    // ---- finding ------------------------------------------------------------

    /// Finds the commit in a repository on this machine.
    fn find_here(&self, path: &Path, wanted: &Wanted) -> Result<(Arc<Repository>, ObjectId), SourceError> {
        let repository = Arc::new(Repository::open(path, self.decl.limits.blob)?);
        let mut found = wanted.commit.filter(|id| repository.has(*id));
        for name in &wanted.names {
            if found.is_none() && wanted.commit.is_none() {
                found = repository.reference(name)?;
            }
        }
        let found = found.or_else(|| wanted.prefix.as_deref().and_then(|prefix| repository.parse(prefix)));
        let Some(found) = found else {
            let branches = repository.branches(5);
            let hint = match branches.as_slice() {
                [] => "it has no branches; commit something first".to_owned(),
                branches => {
                    format!("it has the branches {}; a tag or the id of a commit will do as well", branches.join(", "))
                }
            };
            return Err(SourceError::new("ref-gone", format!("{} has no {}", path.display(), wanted.text)).hint(hint));
        };
        let id = self.go_back(&repository, found, wanted)?;
        Ok((repository, id))
    }

    /// Applies `~` and `^`.
    fn go_back(&self, repository: &Repository, id: ObjectId, wanted: &Wanted) -> Result<ObjectId, SourceError> {
        if wanted.suffix.is_empty() {
            return Ok(id);
        }
        let commit = repository.commit(id)?.id;
        repository.parse(&format!("{commit}{}", wanted.suffix)).ok_or_else(|| {
            SourceError::new("ref-gone", format!("{} leads to no commit", wanted.text))
                .hint("the history is not that long")
        })
    }

    // ---- judging ------------------------------------------------------------

    /// Decides whether a commit comes into force, or `last` stays.
    fn judge(
        &self,
        repository: &Arc<Repository>,
        wanted: &Wanted,
        id: ObjectId,
        last: Option<&Revision>,
    ) -> Result<Fetched, SourceError> {
        let commit = repository.commit(id)?;
        let tip = commit.id.to_string();
        let known = last.is_some_and(|last| last.id == tip);
        let signers = self.signers()?;
        let signature = match self.verify(&commit, signers.as_ref(), !known) {
            Ok(signature) => signature,
            Err(why) => {
                let refused = || unverified(&tip, &why);
                let Some(last) = last.filter(|_| !known && !wanted.explicit) else { return Err(refused()) };
                // Only a revision that is itself good by today's list may stay in force.
                let kept = self.last(repository, last, signers.as_ref()).map_err(|_| refused())?;
                return Ok(self.open(repository, kept, vec![SourceNotice::Unverified { tip, why }]));
            }
        };
        if let Some(last) =
            last.filter(|last| !wanted.explicit && wanted.commit.is_none() && last.wanted == wanted.text)
        {
            let base = object_id(&last.id)?;
            if !repository.descends(commit.id, base)? {
                let notice = SourceNotice::Rewritten { from: last.id.clone(), to: tip.clone() };
                let kept =
                    self.last(repository, last, signers.as_ref()).map_err(|_| rewritten(&self.name, &last.id, &tip))?;
                return Ok(self.open(repository, kept, vec![notice]));
            }
        }
        let commit = InForce { commit, wanted: wanted.text.clone(), signature };
        let mut fetched = self.open(repository, commit, Vec::new());
        fetched.notices.extend(self.uncommitted(repository, id));
        Ok(fetched)
    }

    /// Out of reach: the last revision stays in force, if the cache still has it whole.
    fn stay(&self, wanted: &Wanted, last: Option<&Revision>, error: SourceError) -> Result<Fetched, SourceError> {
        let out_of_reach = matches!(error.code.as_str(), "unreachable" | "timeout");
        let Some(last) = last.filter(|_| out_of_reach && !wanted.explicit) else { return Err(error) };
        let Some(repository) = self.cached() else { return Err(error) };
        let signers = self.signers()?;
        match self.last(&repository, last, signers.as_ref()) {
            Ok(kept) => {
                let why = error.message.clone();
                Ok(self.open(&repository, kept, vec![SourceNotice::Unreachable { why }]))
            }
            Err(_) => Err(error),
        }
    }

    /// The revision in force, verified anew.
    fn last(
        &self,
        repository: &Repository,
        last: &Revision,
        signers: Option<&AllowedSigners>,
    ) -> Result<InForce, SourceError> {
        let commit = repository.commit(object_id(&last.id)?)?;
        let signature = self.verify(&commit, signers, false).map_err(|why| unverified(&last.id, &why))?;
        Ok(InForce { commit, wanted: last.wanted.clone(), signature })
    }

    fn signers(&self) -> Result<Option<AllowedSigners>, SourceError> {
        let Some(verify) = &self.decl.verify else { return Ok(None) };
        let path = self.base.join(&verify.signers);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            fault::io("cannot read the allowed signers", &path, &error).hint(
                "`verify.signers` of the source names an OpenSSH allowed_signers file; without it no commit is trusted",
            )
        })?;
        allowed_signers::parse(&text, &path.display().to_string()).map(Some)
    }

    fn verify(&self, commit: &Commit, signers: Option<&AllowedSigners>, new: bool) -> Result<Signature, String> {
        match signers {
            None => Ok(Signature::NotAsked),
            Some(signers) => signature::verify(commit, signers, new.then(Timestamp::now)),
        }
    }

    // ---- opening ------------------------------------------------------------

    fn open(&self, repository: &Arc<Repository>, kept: InForce, notices: Vec<SourceNotice>) -> Fetched {
        let InForce { commit, wanted, signature } = kept;
        let tree = Committed::files(Arc::clone(repository), commit.tree, Rules::of(&self.decl));
        let revision = Revision {
            source: self.name.clone(),
            id: commit.id.to_string(),
            wanted,
            author: commit.author,
            committer: commit.committer,
            at: commit.at,
            subject: commit.subject,
            signature,
        };
        Fetched { revision, tree: Arc::new(tree), notices }
    }

    /// Told only where it could surprise: the commit that is used is the one checked out.
    fn uncommitted(&self, repository: &Arc<Repository>, id: ObjectId) -> Option<SourceNotice> {
        let Location::Path(root) = &self.location else { return None };
        if !root.join(".git").exists() || repository.reference("HEAD").ok()?? != id {
            return None;
        }
        let tree = Committed::files(Arc::clone(repository), repository.commit(id).ok()?.tree, Rules::of(&self.decl));
        match count_uncommitted(repository, root, &tree) {
            Ok(0) => None,
            Ok(files) => Some(SourceNotice::Uncommitted { files }),
            Err(error) => {
                tracing::debug!(source = %self.name, %error, "uncommitted files are not counted");
                None
            }
        }
    }

    fn worktree(&self) -> Result<Fetched, SourceError> {
        let Location::Path(root) = &self.location else {
            return Err(SourceError::new("invalid", "only a source on this machine has a work tree")
                .hint("point the source's url, or --repo, at the folder that holds the repository"));
        };
        let repository = Arc::new(Repository::open(root, self.decl.limits.blob)?);
        if !root.join(".git").exists() {
            return Err(SourceError::new("not-found", format!("{} has no work tree", root.display()))
                .hint("name the folder that holds .git"));
        }
        let head = repository.reference("HEAD")?.map(|id| repository.commit(id)).transpose()?;
        let tree = Worktree::files(repository, root.clone(), Rules::of(&self.decl))?;
        let revision = Revision {
            source: self.name.clone(),
            id: WORKTREE.to_owned(),
            wanted: WORKTREE.to_owned(),
            author: "nobody yet".to_owned(),
            committer: "nobody yet".to_owned(),
            // Not the clock: two looks at the same files are to be equal.
            at: head.map_or(Timestamp::UNIX_EPOCH, |head| head.at),
            subject: "the work tree, committed or not".to_owned(),
            signature: Signature::Worktree,
        };
        Ok(Fetched { revision, tree: Arc::new(tree), notices: Vec::new() })
    }
}

/// The commit that a tag stands for in a repository that keeps it under the name that `kept` gives.
fn tagged(
    repository: &Repository,
    wanted: &Wanted,
    kept: impl Fn(&str) -> String,
) -> Result<Option<ObjectId>, SourceError> {
    for name in &wanted.names {
        if let Some(id) = repository.reference(&kept(name))?.filter(|id| repository.has(*id)) {
            return Ok(Some(repository.commit(id)?.id));
        }
    }
    Ok(None)
}

/// A commit that passed, with what is told of it.
struct InForce {
    commit: Commit,
    wanted: String,
    signature: Signature,
}

fn object_id(text: &str) -> Result<ObjectId, SourceError> {
    ObjectId::from_hex(text.as_bytes())
        .map_err(|_| SourceError::new("invalid", format!("the revision in force, {text:?}, is not a commit's id")))
}

fn unverified(tip: &str, why: &str) -> SourceError {
    SourceError::new("unverified", format!("commit {} is not trusted: {why}", tip.get(..12).unwrap_or(tip)))
        .hint("sign it (git commit -S, with gpg.format = ssh) by a key that verify.signers lists")
}

fn rewritten(name: &Name, from: &str, to: &str) -> SourceError {
    SourceError::new(
        "rewritten",
        format!("the history was rewritten: {to} does not descend from {from}, which was in force and cannot be read any more"),
    )
    .hint(format!("look at what changed; if it is meant, `tidelock source accept {name}`"))
}
