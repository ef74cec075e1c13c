//! A repository's object database, read with suspicion.
//!
//! Opened isolated: no config, hooks or environment but our own settings. Each object is
//! asked for its size first and hashed again when read.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use gix::ObjectId;
use gix::config::Source;
use gix::objs::{CommitRef, Kind};
use jiff::Timestamp;
use tidelock_model::error::tame;
use tidelock_model::port::SourceError;

use crate::cache::Hold;
use crate::fault::{self, chain, corrupt, limit};

/// The smallest ceiling for one object: trees of large directories and delta
/// instructions need room too, whatever the limit for files is.
const MIN_OBJECT: u64 = 64 << 20;

/// The longest commit that is read, in bytes.
const MAX_COMMIT: u64 = 1 << 20;

/// How many tags may point at tags before a commit.
const MAX_TAGS: usize = 8;

/// Where a name of a server is kept in the cache.
pub(crate) fn private_ref(name: &str) -> String {
    match name.strip_prefix("refs/") {
        Some(rest) => format!("refs/tidelock/{rest}"),
        None => format!("refs/tidelock/other/{name}"),
    }
}

/// The ceiling for one object, given the limit for files.
pub(crate) fn object_ceiling(blob: u64) -> u64 {
    MIN_OBJECT.max(blob.saturating_mul(2))
}

fn options(object: u64) -> gix::open::Options {
    gix::open::Options::isolated()
        .open_path_as_is(false)
        .strict_config(false)
        // A repository's own config could show any folder of this machine as its work tree.
        .filter_config_section(|section| !matches!(section.source, Source::Local | Source::Worktree))
        .config_overrides([
            // The other limits count what was written; this one stops a bomb before memory is taken.
            format!("gitoxide.objects.allocLimit={object}"),
            // Replacements and commit graphs are second opinions on what history says.
            "core.useReplaceRefs=false".to_owned(),
            "core.commitGraph=false".to_owned(),
            // Threads each take address space, of which the fetch child has little.
            "pack.threads=2".to_owned(),
        ])
}

/// Opens a bare repository of the cache.
pub(crate) fn open_bare(dir: &Path, object: u64) -> Result<gix::Repository, SourceError> {
    match options(object).open_path_as_is(true).open(dir) {
        Ok(repo) => Ok(repo.to_thread_local()),
        Err(error) => Err(corrupt(format!("the cache {} cannot be opened: {}", dir.display(), chain(&error)))),
    }
}

/// Opens the cache's bare repository. One that cannot be opened is made anew: a cache
/// holds nothing that cannot be fetched again.
pub(crate) fn open_or_make_bare(dir: &Path, object: u64) -> Result<gix::Repository, SourceError> {
    if dir.join("HEAD").exists() {
        match open_bare(dir, object) {
            Ok(repo) => return Ok(repo),
            Err(error) => tracing::warn!(dir = %dir.display(), %error, "the cache is made anew"),
        }
        std::fs::remove_dir_all(dir).map_err(|error| fault::io("cannot remove the broken cache", dir, &error))?;
    }
    gix::ThreadSafeRepository::init_opts(dir, gix::create::Kind::Bare, gix::create::Options::default(), options(object))
        .map(|repo| repo.to_thread_local())
        .map_err(|error| {
            let why = chain(&error);
            fault::full(dir, &why)
                .unwrap_or_else(|| SourceError::new("io", format!("cannot make the cache {}: {why}", dir.display())))
        })
}

/// A repository that many threads read.
pub(crate) struct Repository {
    shared: gix::ThreadSafeRepository,
    // A handle holds buffers and pack windows, so it is kept and lent, not made for each read.
    idle: Mutex<Vec<gix::Repository>>,
    ceiling: u64,
    // Dropped last: it keeps the files there.
    _hold: Option<Hold>,
}

/// What a commit says of itself, fit for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) id: ObjectId,
    pub(crate) tree: ObjectId,
    pub(crate) author: String,
    pub(crate) committer: String,
    pub(crate) at: Timestamp,
    pub(crate) subject: String,
    /// The object as it is hashed and signed.
    pub(crate) raw: Vec<u8>,
}

impl Repository {
    /// Opens a repository with or without a work tree.
    pub(crate) fn open(path: &Path, blob: u64) -> Result<Self, SourceError> {
        let ceiling = object_ceiling(blob);
        if !path.exists() {
            return Err(SourceError::new("unreachable", format!("there is nothing at {}", path.display()))
                .hint("check the source's url: relative paths start at the config's folder"));
        }
        let shared = options(ceiling).open(path).map_err(|error| {
            SourceError::new("not-found", format!("{} is not a Git repository: {}", path.display(), chain(&error)))
                .hint("name the repository's top folder, or make one there with `git init`")
        })?;
        Ok(Self { shared, idle: Mutex::default(), ceiling, _hold: None })
    }

    /// The same, with what keeps its files from being removed.
    pub(crate) fn held(self, hold: Hold) -> Self {
        Self { _hold: Some(hold), ..self }
    }

    /// Runs `f` with a handle of its own.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&gix::Repository) -> R) -> R {
        let lent = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let repo = lent.unwrap_or_else(|| self.shared.to_thread_local());
        let out = f(&repo);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(repo);
        out
    }

    /// Whether an object is there.
    pub(crate) fn has(&self, id: ObjectId) -> bool {
        self.with(|repo| repo.has_object(id))
    }

    /// An object's kind and size, without reading it.
    pub(crate) fn header(&self, id: ObjectId) -> Result<(Kind, u64), SourceError> {
        match self.with(|repo| repo.try_find_header(id)) {
            Ok(Some(header)) => Ok((header.kind(), header.size())),
            Ok(None) => Err(corrupt(format!("object {id} is missing"))),
            Err(error) => Err(corrupt(format!("object {id} cannot be read: {}", chain(&error)))),
        }
    }

    /// An object's content, hashed again.
    pub(crate) fn read(&self, id: ObjectId, kind: Kind) -> Result<Vec<u8>, SourceError> {
        let (found, size) = self.header(id)?;
        if found != kind {
            return Err(corrupt(format!("object {id} is a {found}, where a {kind} is expected")));
        }
        if size > self.ceiling {
            return Err(limit("too-large", &format!("object {id} has {size} bytes"), "blob", self.ceiling));
        }
        let data = self
            .with(|repo| repo.find_object(id).map(|mut object| std::mem::take(&mut object.data)))
            .map_err(|error| corrupt(format!("object {id} cannot be read: {}", chain(&error))))?;
        match gix::objs::compute_hash(id.kind(), kind, &data) {
            Ok(hash) if hash == id => Ok(data),
            _ => Err(corrupt(format!("object {id} does not hold what its name says"))),
        }
    }

    /// The commit that an object is, or that a tag stands for.
    pub(crate) fn commit(&self, mut id: ObjectId) -> Result<Commit, SourceError> {
        for _ in 0..MAX_TAGS {
            let (kind, size) = self.header(id)?;
            if size > MAX_COMMIT {
                return Err(SourceError::new(
                    "too-large",
                    format!("{kind} {id} has {size} bytes; at most {MAX_COMMIT} are read"),
                ));
            }
            match kind {
                Kind::Commit => return describe(id, self.read(id, Kind::Commit)?),
                Kind::Tag => {
                    let data = self.read(id, Kind::Tag)?;
                    id = gix::objs::TagRefIter::from_bytes(&data, id.kind())
                        .target_id()
                        .map_err(|error| corrupt(format!("tag {id} cannot be read: {}", chain(&error))))?;
                }
                other => {
                    return Err(SourceError::new("ref-gone", format!("{id} is a {other}, not a commit"))
                        .hint("name a branch, a commit, or a tag of a commit"));
                }
            }
        }
        Err(corrupt(format!("tag {id} points at tags without end")))
    }

    /// Whether `tip` is `base` or descends from it.
    pub(crate) fn descends(&self, tip: ObjectId, base: ObjectId) -> Result<bool, SourceError> {
        if tip == base {
            return Ok(true);
        }
        if !self.has(base) {
            return Ok(false);
        }
        self.with(|repo| repo.merge_base(base, tip).map(|found| found.is_some_and(|found| found == base)))
            .map_err(|error| corrupt(format!("the history between {base} and {tip} cannot be read: {}", chain(&error))))
    }

    /// What a full ref name stands for here.
    pub(crate) fn reference(&self, name: &str) -> Result<Option<ObjectId>, SourceError> {
        self.with(|repo| -> Result<_, gix::Error> {
            let Some(mut found) = repo.try_find_reference(name)? else { return Ok(None) };
            found.peel_to_id().map(|id| Some(id.detach()))
        })
        .map_err(|error| corrupt(format!("{name} cannot be read: {}", chain(&error))))
    }

    /// An abbreviated id, or one with `~` and `^` behind it.
    pub(crate) fn parse(&self, text: &str) -> Option<ObjectId> {
        self.with(|repo| repo.rev_parse_single(text).ok().map(gix::Id::detach))
    }

    /// The first branches by name, for hints.
    pub(crate) fn branches(&self, most: usize) -> Vec<String> {
        self.with(|repo| {
            let Ok(references) = repo.references() else { return Vec::new() };
            let Ok(branches) = references.local_branches() else { return Vec::new() };
            branches.flatten().take(most).map(|branch| tame(&branch.name().shorten().to_string(), 100)).collect()
        })
    }
}

fn describe(id: ObjectId, raw: Vec<u8>) -> Result<Commit, SourceError> {
    let bad = |what: &str| corrupt(format!("commit {id} has no {what} that can be read"));
    let commit = CommitRef::from_bytes(&raw, id.kind()).map_err(|_| bad("form"))?;
    let author = commit.author().map_err(|_| bad("author"))?;
    let committer = commit.committer().map_err(|_| bad("committer"))?;
    let person =
        |who: gix::actor::SignatureRef<'_>| tame(&format!("{} <{}>", who.name, who.email).replace('\n', " "), 300);
    let at =
        committer.time().ok().and_then(|time| Timestamp::from_second(time.seconds).ok()).ok_or_else(|| bad("date"))?;
    let subject = commit.message.to_string();
    let subject = subject.trim_start().lines().next().unwrap_or_default();
    let (tree, author, committer, subject) = (commit.tree(), person(author), person(committer), tame(subject, 300));
    drop(commit);
    Ok(Commit { id, tree, author, committer, at, subject, raw })
}
