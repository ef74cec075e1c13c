//! Copies what is needed of a cache into a new one, as one pack.
//!
//! Objects are copied as they are stored, deltas included, and hashed again when the new
//! pack is indexed. What nothing leads to any more stays behind.

use std::collections::HashSet;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::objs::{Kind, TreeRefIter};
use gix::parallel::{Finalize as _, InOrderIter};
use gix::progress::Discard;
use gix::refs::transaction::PreviousValue;
use gix_pack::Bundle;
use gix_pack::data::output::bytes::FromEntriesIter;
use gix_pack::data::output::{count, entry};
use tidelock_model::port::SourceError;

use crate::fault::{self, chain, corrupt};
use crate::repository;
use crate::wire::{Answer, Rebuild};

/// Threads for copying and indexing, as many as a fetch may use.
const THREADS: usize = 2;

pub(super) fn rebuild(job: &Rebuild) -> Result<Answer, SourceError> {
    let from = repository::open_bare(&job.from, job.object)?;
    let into = repository::open_or_make_bare(&job.into, job.object)?;
    let mut references = Vec::new();
    for name in &job.names {
        let found = from.try_find_reference(name.as_str()).map_err(|error| unreadable(job, &error))?;
        references.extend(found.and_then(|found| Some((name, found.target().try_id()?.to_owned()))));
    }
    let kept = job.kept.iter().filter_map(|id| ObjectId::from_hex(id.as_bytes()).ok());
    let kept = kept.filter(|id| from.has_object(*id));
    let ids = reached(&from, references.iter().map(|(_, id)| *id).chain(kept).collect())
        .map_err(|error| unreadable(job, &error))?;
    if !ids.is_empty() {
        copy(&from, &ids, job)?;
    }
    for (name, id) in references {
        into.reference(name.as_str(), id, PreviousValue::Any, "").map_err(|error| unwritable(job, &chain(&error)))?;
    }
    // Opened anew, as readers will.
    let into = repository::open_bare(&job.into, job.object)?;
    if let Some(missing) = ids.iter().find(|id| !into.has_object(**id)) {
        return Err(corrupt(format!("the copy in {} lacks object {missing}", job.into.display())));
    }
    write_out(&job.into)?;
    Ok(Answer::Rebuilt { objects: ids.len() })
}

/// Every object that commits and tags lead to. Submodules lead elsewhere.
fn reached(repo: &gix::Repository, roots: Vec<ObjectId>) -> Result<Vec<ObjectId>, gix::Error> {
    let mut seen: HashSet<ObjectId> = HashSet::new();
    let mut order = Vec::new();
    let mut left = roots;
    while let Some(id) = left.pop() {
        if !seen.insert(id) {
            continue;
        }
        order.push(id);
        let object = repo.find_object(id)?;
        match object.kind {
            Kind::Commit => {
                let commit = gix::objs::CommitRef::from_bytes(&object.data, id.kind())?;
                left.push(commit.tree());
                left.extend(commit.parents());
            }
            Kind::Tag => left.push(gix::objs::TagRefIter::from_bytes(&object.data, id.kind()).target_id()?),
            Kind::Tree => {
                for entry in TreeRefIter::from_bytes(&object.data, id.kind()) {
                    let entry = entry?;
                    let target = entry.oid.to_owned();
                    if entry.mode.is_tree() {
                        left.push(target);
                    } else if !entry.mode.is_commit() && seen.insert(target) {
                        // A file's content leads nowhere, and is not read for that.
                        order.push(target);
                    }
                }
            }
            Kind::Blob => {}
        }
    }
    Ok(order)
}

/// Writes the objects into one pack, and indexes it, at the same time.
fn copy(from: &gix::Repository, ids: &[ObjectId], job: &Rebuild) -> Result<(), SourceError> {
    let mut objects = from.objects.clone().into_inner();
    objects.prevent_pack_unload();
    objects.ignore_replacements = true;
    let objects = objects.into_arc().map_err(|error| unwritable(job, &error.to_string()))?;
    let number = u32::try_from(ids.len()).map_err(|_| unwritable(job, "there are too many objects for a pack"))?;
    let never = AtomicBool::new(false);
    let mut all = ids.iter().map(|id| Ok(*id));
    let (counts, _) =
        count::objects_unthreaded(&objects, &mut all, &Discard, &never, count::objects::ObjectExpansion::AsIs)
            .map_err(|error| unreadable(job, &error))?;
    let options = entry::iter_from_counts::Options { thread_limit: Some(THREADS), ..Default::default() };
    let entries = entry::iter_from_counts(counts, objects, Box::new(Discard), options)
        .map_err(|error| unreadable(job, &error))?;

    let (reader, writer) = std::io::pipe().map_err(|error| unwritable(job, &error.to_string()))?;
    let directory = job.into.join("objects/pack");
    let alloc_limit_bytes = usize::try_from(job.object).ok();
    let (written, indexed) = std::thread::scope(|scope| {
        let indexing = scope.spawn(|| {
            let options = gix_pack::bundle::write::Options {
                thread_limit: Some(THREADS),
                alloc_limit_bytes,
                ..Default::default()
            };
            let mut reader = BufReader::new(reader);
            Bundle::write_to_directory(
                &mut reader,
                Some(&directory),
                &mut Discard,
                &AtomicBool::new(false),
                None::<gix::odb::Handle>,
                gix::hash::Kind::Sha1,
                options,
            )
        });
        let mut in_order = InOrderIter::from(entries);
        let mut pack = FromEntriesIter::new(
            in_order.by_ref(),
            BufWriter::new(writer),
            number,
            gix_pack::data::Version::default(),
            gix::hash::Kind::Sha1,
        );
        let mut written = pack.by_ref().try_for_each(|part| part.map(|_| ()));
        // Closes the pipe, whatever came of it: the other thread reads until its end.
        let flushed = pack.into_write().flush();
        if let (true, Err(error)) = (written.is_ok(), flushed) {
            written = Err(gix::Error::from_error(error));
        }
        let missing = in_order.inner.finalize().map(|statistics| statistics.missing_objects).unwrap_or(0);
        (written.map(|()| missing), indexing.join())
    });
    // Where indexing fails, writing meets a broken pipe: the former knows why.
    match indexed {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(unwritable(job, &chain(&error))),
        Err(_) => return Err(unwritable(job, "a thread ended early")),
    }
    match written {
        Ok(0) => {}
        Ok(missing) => return Err(corrupt(format!("{} lacks {missing} objects", job.from.display()))),
        Err(error) => return Err(unwritable(job, &chain(&error))),
    }
    // It says that a pack is not to be touched until something refers to it; nobody does here.
    for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|end| end == "keep") {
            std::fs::remove_file(entry.path()).map_err(|error| unwritable(job, &error.to_string()))?;
        }
    }
    Ok(())
}

/// Sees to it that everything is on the disk before it comes into force.
fn write_out(dir: &Path) -> Result<(), SourceError> {
    let cannot = |path: &Path, error: &std::io::Error| fault::io("cannot write out", path, error);
    for entry in std::fs::read_dir(dir).map_err(|error| cannot(dir, &error))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            write_out(&path)?;
        } else {
            std::fs::File::open(&path).and_then(|file| file.sync_all()).map_err(|error| cannot(&path, &error))?;
        }
    }
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| cannot(dir, &error))
}

fn unreadable(job: &Rebuild, error: &gix::Error) -> SourceError {
    corrupt(format!("the cache {} cannot be read: {}", job.from.display(), chain(error)))
}

fn unwritable(job: &Rebuild, why: &str) -> SourceError {
    fault::full(&job.into, why)
        .unwrap_or_else(|| SourceError::new("io", format!("cannot rebuild the cache in {}: {why}", job.into.display())))
}
