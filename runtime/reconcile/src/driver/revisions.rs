//! Opened revisions, shared: however many lanes, a revision is opened once, and asking
//! for one that is kept asks neither a server nor a disk.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tidelock_model::name::Name;
use tidelock_model::port::{Fetched, Source, SourceError, Want};
use tidelock_model::revision::Revision;

/// Revisions of one source that are kept open: the one in force, the one before it for
/// passes that still go on, what stacks are pinned to, and what their modules are read from.
const KEPT: usize = 8;

/// A source with its last few revisions kept open.
pub(super) struct Revisions {
    source: Arc<dyn Source>,
    kept: Mutex<VecDeque<Fetched>>,
    /// Held while a revision is opened, so that lanes that want the same one wait for it.
    opening: tokio::sync::Mutex<()>,
}

impl Revisions {
    /// Keeps nothing yet.
    pub(super) fn of(source: Arc<dyn Source>) -> Arc<Self> {
        Arc::new(Self { source, kept: Mutex::default(), opening: tokio::sync::Mutex::default() })
    }

    fn kept(&self, id: &str) -> Option<Fetched> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|fetched| fetched.revision.id == id)?;
        let found = kept.remove(at)?;
        kept.push_front(found.clone());
        Some(found)
    }

    fn keep(&self, fetched: &Fetched) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|other| other.revision.id != fetched.revision.id);
        kept.push_front(Fetched { notices: vec![], ..fetched.clone() });
        kept.truncate(KEPT);
    }
}

#[async_trait]
impl Source for Revisions {
    async fn fetch_with(&self, want: &Want, last: Option<&Revision>, tags: &[String]) -> Result<Fetched, SourceError> {
        let Want::Rev(id) = want else {
            let fetched = self.source.fetch_with(want, last, tags).await?;
            // What is kept already has its directories read.
            if self.kept(&fetched.revision.id).is_none() && *want == Want::Configured {
                self.keep(&fetched);
            }
            return Ok(fetched);
        };
        if let Some(kept) = self.kept(id) {
            return Ok(kept);
        }
        let _one = self.opening.lock().await;
        if let Some(kept) = self.kept(id) {
            return Ok(kept);
        }
        let mut fetched = self.source.fetch(want, last).await?;
        // Asked for by its id, it is still what the config names.
        if let Some(last) = last.filter(|last| last.id == fetched.revision.id) {
            fetched.revision = last.clone();
        }
        if fetched.revision.id == *id {
            self.keep(&fetched);
        }
        Ok(fetched)
    }

    async fn tag(&self, name: &str) -> Result<Option<String>, SourceError> {
        self.source.tag(name).await
    }

    async fn descends(&self, tip: &str, base: &str) -> Result<bool, SourceError> {
        self.source.descends(tip, base).await
    }

    fn server(&self) -> Option<(String, u16)> {
        self.source.server()
    }
}

/// The sources of a runtime, each with its revisions kept open.
pub(super) fn sharing(
    sources: &std::collections::BTreeMap<Name, Arc<dyn Source>>,
) -> std::collections::BTreeMap<Name, Arc<dyn Source>> {
    let shared = |(name, source): (&Name, &Arc<dyn Source>)| {
        let shared: Arc<dyn Source> = Revisions::of(Arc::clone(source));
        (name.clone(), shared)
    };
    sources.iter().map(shared).collect()
}
